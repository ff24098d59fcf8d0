/**
 * A network between a client and a server: a TCP pass-through in user space that adds what a real one does. It shows delay,
 * rate, stalls and cuts; it does not show a congestion window. Whatever stands on TCP goes through it unread.
 *
 * The client's own TCP handshake is with the proxy, on loopback, and takes no time. In its place the first bytes wait: those
 * of the client for one round trip (SYN, SYN-ACK), those of the server until the client's ACK would have reached it.
 */
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { seedOf, seedOfRequest } from "../core/random/random.ts";
import { Alarms } from "./alarms.ts";
import type { Impairment } from "./impairment.ts";
import { Lateness, type LatenessSummary } from "./lateness.ts";
import { type Bounds, drawTime, type Ends, type Ledger, Line } from "./line.ts";
import { Link } from "./link.ts";
import { SleepingClock } from "./sleeping-clock.ts";

/** Where it leads. */
export interface ProxyTarget {
  readonly host: string;
  readonly port: number;
}

export interface ProxyOptions {
  readonly target: ProxyTarget;
  readonly impairment: Impairment;
  /** Decides stalls, cuts and jitter. */
  readonly seed: number;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default 0: a free one. */
  readonly port?: number;
  /** Default 16 MB in one direction of a connection, 256 MB in all. */
  readonly bounds?: Bounds;
  /** Told when the target cannot be reached, once for each reason. */
  readonly onUnreachable?: (reason: string) => void;
}

/** What one direction has done. */
export interface DirectionStats {
  readonly bytes: number;
  readonly stalls: number;
}

/** What a proxy has done. */
export interface ProxyStats {
  readonly connections: number;
  readonly openConnections: number;
  /** Connections to the target that failed. */
  readonly unreachable: number;
  readonly cuts: number;
  readonly up: DirectionStats;
  readonly down: DirectionStats;
  /** The most bytes that were held at once. */
  readonly peakHeldBytes: number;
  /** How much later than planned things left, waits for a reader excluded, microseconds; null before the first. */
  readonly lateUs: LatenessSummary | null;
}

export interface Proxy {
  readonly port: number;
  stats(): ProxyStats;
  /** Closes every connection. */
  close(): Promise<void>;
}

const defaultBounds: Bounds = { lineBytes: 16_777_216, totalBytes: 268_435_456 };

class Tally implements Ledger {
  bytes = 0;
  stalls = 0;
  cuts = 0;
  readonly #shared: { heldBytes: number; peakHeldBytes: number };
  readonly #lateness: Lateness;

  constructor(shared: { heldBytes: number; peakHeldBytes: number }, lateness: Lateness) {
    this.#shared = shared;
    this.#lateness = lateness;
  }

  get heldBytes(): number {
    return this.#shared.heldBytes;
  }
  set heldBytes(bytes: number) {
    this.#shared.heldBytes = bytes;
  }
  get peakHeldBytes(): number {
    return this.#shared.peakHeldBytes;
  }
  set peakHeldBytes(bytes: number) {
    this.#shared.peakHeldBytes = bytes;
  }

  late(us: number): void {
    this.#lateness.record(us);
  }
}

/** What setTimeout can count. */
const longestTimerMs = 2_147_483_647;
/** Between the last bytes and a reset. */
const resetAfterUs = 2000;

/** Starts a proxy. Rejects where it cannot listen. */
export async function startProxy(options: ProxyOptions): Promise<Proxy> {
  const { target, impairment, host = "127.0.0.1", port = 0, bounds = defaultBounds, onUnreachable = () => {} } = options;
  const clock = await SleepingClock.start();
  const alarms = new Alarms(clock);
  const lateness = new Lateness();
  const held = { heldBytes: 0, peakHeldBytes: 0 };
  const tallies = { up: new Tally(held, lateness), down: new Tally(held, lateness) };
  const linkOf = (which: "up" | "down"): Link | null => {
    const { bandwidth } = impairment[which];
    return bandwidth === null ? null : new Link(alarms, bandwidth.bytesPerSecond);
  };
  const shared = { up: linkOf("up"), down: linkOf("down") };
  const seed = seedOf(options.seed);
  const rttUs = impairment.up.latencyUs + impairment.down.latencyUs;
  const sockets = new Set<Socket>();
  const timers = new Set<NodeJS.Timeout>();
  let openConnections = 0;
  const reasons = new Set<string>();
  let connections = 0;
  let unreachable = 0;
  let timeCuts = 0;

  const later = (us: number, what: () => void): NodeJS.Timeout => {
    const timer = setTimeout(
      () => {
        timers.delete(timer);
        what();
      },
      Math.min(us / 1000, longestTimerMs),
    );
    timers.add(timer);
    return timer;
  };

  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const number = connections++;
    openConnections++;
    const acceptedUs = alarms.nowUs();
    const upstream = connect({ ...target, allowHalfOpen: true, noDelay: true });
    let reached = false;
    upstream.once("connect", () => (reached = true));
    let over = false;
    const own = new Set<NodeJS.Timeout>();
    const cut = (by: "rst" | "fin"): void => {
      if (over) return;
      over = true;
      for (const line of lines) line.drop();
      if (by === "fin") for (const socket of [client, upstream]) socket.destroySoon();
      // libuv reports data and a reset that come together as an end: its readers would not see the reset.
      else later(resetAfterUs, () => [client, upstream].forEach((socket) => socket.resetAndDestroy()));
    };
    const lineOf = (which: "up" | "down", from: Socket, to: Socket, openUs: number): Line => {
      const direction = impairment[which];
      const ends: Ends = {
        pause: () => from.pause(),
        resume: () => from.resume(),
        write: (bytes) => to.write(bytes),
        end: () => to.end(),
        cut,
      };
      const link = direction.bandwidth?.shared === false ? linkOf(which) : shared[which];
      const lineSeed = seedOfRequest(seed, number * 2 + (which === "up" ? 0 : 1));
      const line = new Line({ alarms, direction, link, seed: lineSeed, ends, ledger: tallies[which], bounds, openUs });
      if (direction.cut?.after.kind === "time") {
        const { by, after } = direction.cut;
        own.add(
          later(drawTime(lineSeed, after.us), () => {
            if (over) return;
            timeCuts++;
            cut(by);
          }),
        );
      }
      from.on("data", (bytes: Buffer) => line.take(bytes));
      from.on("end", () => line.end());
      to.on("drain", () => line.drained());
      return line;
    };
    const lines = [
      lineOf("up", client, upstream, acceptedUs + rttUs),
      lineOf("down", upstream, client, acceptedUs + rttUs + impairment.up.latencyUs),
    ];
    for (const [socket, other, direction] of [
      [client, upstream, impairment.up],
      [upstream, client, impairment.down],
    ] as const) {
      sockets.add(socket);
      let failure: string | null = null;
      socket.on("error", (error: NodeJS.ErrnoException) => {
        failure = error.code ?? error.message;
      });
      socket.on("close", () => {
        sockets.delete(socket);
        if (socket === client) openConnections--;
        if (other.destroyed) {
          for (const line of lines) line.drop();
          for (const timer of own) {
            clearTimeout(timer);
            timers.delete(timer);
          }
        }
        if (failure === null || over) return;
        const refused = socket === upstream && !reached;
        if (refused) {
          unreachable++;
          if (!reasons.has(failure)) onUnreachable(failure);
          reasons.add(failure);
        }
        // A reset travels like everything else, and takes with it what is behind it.
        later(refused ? rttUs : direction.latencyUs, () => {
          over = true;
          for (const line of lines) line.drop();
          other.resetAndDestroy();
        });
      });
    }
  });
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, host, resolve);
    });
  } catch (error) {
    await clock.close();
    throw error;
  }
  // Out of descriptors: one client is turned away, the others stay.
  server.on("error", () => {});
  return {
    port: (server.address() as AddressInfo).port,
    stats: () => ({
      connections,
      openConnections,
      unreachable,
      cuts: tallies.up.cuts + tallies.down.cuts + timeCuts,
      up: { bytes: tallies.up.bytes, stalls: tallies.up.stalls },
      down: { bytes: tallies.down.bytes, stalls: tallies.down.stalls },
      peakHeldBytes: held.peakHeldBytes,
      lateUs: lateness.summary(),
    }),
    close: async () => {
      for (const timer of timers) clearTimeout(timer);
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
      await clock.close();
    },
  };
}
