/**
 * A round-trip time on loopback: a TCP pass-through that holds every byte for half of it in each direction. Bytes are
 * never reordered and the rate is not limited; what it cannot show is a congestion window or a lost segment.
 */
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { monotonicUs } from "../clock.ts";

/** Bytes that one direction may hold before its source has to wait; far above any bandwidth-delay product here. */
const heldBytesLimit = 67_108_864;

export interface DelayProxyOptions {
  readonly target: { readonly host: string; readonly port: number };
  /** Milliseconds there and back, 0 or more. Timers tick at 1 ms: each direction may take up to that longer. */
  readonly rttMs: number;
}

export interface DelayProxy {
  /** Port on 127.0.0.1. */
  readonly port: number;
  /** Connections that were accepted so far. */
  readonly connections: number;
  close(): Promise<void>;
}

/** One direction of one connection: bytes, then the end, each `delayUs` after it came in. */
class Line {
  readonly #delayUs: number;
  /** Nothing passes earlier: the TCP handshake takes a round trip too. */
  readonly #openUs: number;
  readonly #from: Socket;
  readonly #to: Socket;
  #items: { readonly dueUs: number; readonly bytes: Buffer | null }[] = [];
  #head = 0;
  #held = 0;
  #timer: NodeJS.Timeout | null = null;
  #blocked = false;

  constructor(from: Socket, to: Socket, delayUs: number, openUs: number) {
    this.#from = from;
    this.#to = to;
    this.#delayUs = delayUs;
    this.#openUs = openUs;
    from.on("data", (bytes: Buffer) => this.#take(bytes));
    from.on("end", () => this.#take(null));
    to.on("drain", () => {
      this.#blocked = false;
      this.#pass();
    });
  }

  /** Forgets what is held. */
  drop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#items = [];
    this.#head = 0;
  }

  #take(bytes: Buffer | null): void {
    this.#items.push({ dueUs: Math.max(monotonicUs(), this.#openUs) + this.#delayUs, bytes });
    this.#held += bytes?.length ?? 0;
    if (this.#held > heldBytesLimit) this.#from.pause();
    if (this.#timer === null) this.#pass();
  }

  #pass(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    while (this.#head < this.#items.length && !this.#blocked) {
      const { dueUs, bytes } = this.#items[this.#head]!;
      const waitUs = dueUs - monotonicUs();
      if (waitUs > 0) {
        this.#timer = setTimeout(() => this.#pass(), Math.ceil(waitUs / 1000));
        break;
      }
      this.#head++;
      if (bytes === null) this.#to.end();
      else {
        this.#held -= bytes.length;
        this.#blocked = !this.#to.write(bytes);
      }
    }
    if (this.#head > 0 && this.#head === this.#items.length) {
      this.#items = [];
      this.#head = 0;
    } else if (this.#head > 4096) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    if (this.#held <= heldBytesLimit / 2 && this.#from.isPaused()) this.#from.resume();
  }
}

/** Starts the proxy on a free port of 127.0.0.1. Rejects where none can be had. */
export async function startDelayProxy({ target, rttMs }: DelayProxyOptions): Promise<DelayProxy> {
  if (!(rttMs >= 0 && rttMs <= 60_000)) throw new RangeError(`a round trip is 0 to 60000 ms, not ${rttMs}`);
  const delayUs = rttMs * 500;
  const sockets = new Set<Socket>();
  let connections = 0;
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    connections++;
    const upstream = connect({ ...target, allowHalfOpen: true, noDelay: true });
    const lines = [new Line(client, upstream, delayUs, monotonicUs() + 2 * delayUs), new Line(upstream, client, delayUs, 0)];
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket);
      let failed = false;
      socket.on("error", () => {
        failed = true;
      });
      socket.on("close", () => {
        sockets.delete(socket);
        if (!failed || other.destroyed) return;
        // A reset travels like everything else, and takes with it what is behind it.
        setTimeout(() => {
          for (const line of lines) line.drop();
          other.resetAndDestroy();
        }, delayUs / 1000);
      });
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return connections;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
