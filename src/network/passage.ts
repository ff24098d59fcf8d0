/** One connection through a proxy: the client's socket, one to the target, and a line for each direction. */
import { connect, type Socket } from "node:net";
import { type Seed, seedOfRequest } from "../core/random/random.ts";
import type { Alarms } from "./alarms.ts";
import type { Impairment } from "./impairment.ts";
import { type Bounds, drawTime, type Ledger, Line } from "./line.ts";
import type { Link } from "./link.ts";
import type { Plant } from "./plant.ts";
import type { Tamper } from "./tamper.ts";

/** Between the last bytes and a reset: libuv reports both together as an end, and their reader would not see the reset. */
const resetAfterUs = 2000;
/** How long a server's connection is kept whose client has left, where that is not told. */
const keptMs = 60_000;
/** The longest delay of setTimeout. */
const longestTimerMs = 2_147_483_647;

export type Way = "up" | "down";

/** What all connections of a proxy share. */
export interface PassageOptions {
  readonly target: { readonly host: string; readonly port: number };
  readonly impairment: Impairment;
  readonly alarms: Alarms;
  readonly bounds: Bounds;
  readonly ledgers: Readonly<Record<Way, Ledger>>;
  /** The link of a new line; null where the bandwidth is not limited. */
  readonly linkFor: (way: Way) => Link | null;
  readonly seed: Seed;
  /** Faults of a gateway; `noPlant`: none. */
  readonly plant: Plant;
  /** What does to events what `plant` asks for; null: it asks for nothing. */
  readonly tamper: typeof Tamper | null;
}

/** What happens to one connection. */
export interface PassageEvents {
  /** The client's socket is closed. */
  onClientClose(): void;
  /** Both sockets are closed. May be called twice. */
  onClose(): void;
  /** The network has cut the connection at a time that was set. */
  onTimeCut(): void;
  /** The target does not take the connection. */
  onUnreachable(reason: string): void;
  /** Faults were to be planted, and another protocol than HTTP/1.1 in cleartext is spoken: the connection is reset. */
  onUnplantable(): void;
}

export class Passage {
  readonly #options: PassageOptions;
  readonly #events: PassageEvents;
  readonly #client: Socket;
  readonly #upstream: Socket;
  readonly #lines: readonly Line[];
  readonly #timers = new Set<NodeJS.Timeout>();
  #isReached = false;
  /** Cut or reset: nothing more passes. */
  #isOver = false;

  /** `number` counts the connections of the proxy: with the seed it decides what the network does to this one. */
  constructor(options: PassageOptions, client: Socket, number: number, events: PassageEvents) {
    const { target, impairment, alarms } = options;
    this.#options = options;
    this.#events = events;
    this.#client = client;
    // Loopback's handshake takes no time: SYN and SYN-ACK are waited for here, and then the ACK.
    const openUs = alarms.nowUs() + this.#roundTripUs;
    // Not the target as it is: to node a path is that of a local socket.
    this.#upstream = connect({ host: target.host, port: target.port, allowHalfOpen: true, noDelay: true });
    this.#upstream.once("connect", () => (this.#isReached = true));
    this.#lines = [
      this.#lineOf("up", client, this.#upstream, openUs, number * 2),
      this.#lineOf("down", this.#upstream, client, openUs + impairment.up.latencyUs, number * 2 + 1),
    ];
    this.#watch(client, this.#upstream, impairment.up.latencyUs);
    this.#watch(this.#upstream, client, impairment.down.latencyUs);
  }

  /** Closes both sockets; what is under way is lost. */
  destroy(): void {
    this.#client.destroy();
    this.#upstream.destroy();
  }

  get #roundTripUs(): number {
    const { up, down } = this.#options.impairment;
    return up.latencyUs + down.latencyUs;
  }

  #lineOf(way: Way, from: Socket, to: Socket, openUs: number, number: number): Line {
    const { alarms, bounds, impairment, ledgers, linkFor } = this.#options;
    const direction = impairment[way];
    const seed = seedOfRequest(this.#options.seed, number);
    const ends = {
      pause: () => from.pause(),
      resume: () => from.resume(),
      write: (bytes: Uint8Array) => to.write(bytes),
      end: () => to.end(),
      cut: (by: "rst" | "fin") => this.#cut(by),
    };
    const line = new Line({ alarms, direction, link: linkFor(way), seed, ends, ledger: ledgers[way], bounds, openUs });
    if (direction.cut?.after.kind === "time") {
      const { by, after } = direction.cut;
      this.#later(drawTime(seed, after.us), () => {
        if (this.#isOver) return;
        this.#events.onTimeCut();
        this.#cut(by);
      });
    }
    const { plant, tamper: Tampering } = this.#options;
    const tamper = way === "down" && Tampering !== null ? new Tampering(plant, seed, (bytes) => line.take(bytes)) : null;
    from.on("data", (bytes: Buffer) => {
      if (tamper === null) line.take(bytes);
      else if (!tamper.take(bytes)) this.#refuse();
    });
    from.on("end", () => {
      // The server is not to notice.
      if (way === "up" && plant.swallowAbort) return;
      tamper?.end();
      line.end();
    });
    to.on("drain", () => line.drained());
    return line;
  }

  /** How one of the two sockets ends reaches the other. */
  #watch(socket: Socket, other: Socket, latencyUs: number): void {
    let failure: string | null = null;
    socket.on("error", (error: NodeJS.ErrnoException) => {
      failure = error.code ?? error.message;
    });
    socket.on("close", () => {
      if (socket === this.#client) this.#events.onClientClose();
      if (socket === this.#client && this.#options.plant.swallowAbort && !other.destroyed) return this.#keepUpstream();
      if (failure !== null && !this.#isOver) this.#passReset(socket, other, failure, latencyUs);
      if (other.destroyed) this.#finish();
    });
  }

  /** A reset travels like everything else, and takes with it what is behind it. */
  #passReset(socket: Socket, other: Socket, failure: string, latencyUs: number): void {
    const isRefused = socket === this.#upstream && !this.#isReached;
    if (isRefused) this.#events.onUnreachable(failure);
    this.#later(isRefused ? this.#roundTripUs : latencyUs, () => {
      this.#isOver = true;
      this.#drop();
      other.resetAndDestroy();
    });
  }

  /** The client has gone, and the server is read on as if it had not. */
  #keepUpstream(): void {
    this.#isOver = true;
    this.#drop();
    this.#upstream.resume();
    this.#later(keptMs * 1000, () => this.#upstream.destroy());
  }

  #refuse(): void {
    if (this.#isOver) return;
    this.#events.onUnplantable();
    this.#cut("rst");
  }

  #cut(by: "rst" | "fin"): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#drop();
    const sockets = [this.#client, this.#upstream];
    if (by === "fin") for (const socket of sockets) socket.destroySoon();
    else this.#later(resetAfterUs, () => sockets.forEach((socket) => socket.resetAndDestroy()));
  }

  #drop(): void {
    for (const line of this.#lines) line.drop();
  }

  #finish(): void {
    this.#drop();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.#events.onClose();
  }

  #later(us: number, what: () => void): void {
    const timer = setTimeout(
      () => {
        this.#timers.delete(timer);
        what();
      },
      Math.min(us / 1000, longestTimerMs),
    );
    this.#timers.add(timer);
  }
}
