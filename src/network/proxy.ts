/**
 * A network between a client and a server: a TCP proxy in user space that adds delay, a limited rate, stalls and cuts, but no
 * congestion window. It passes bytes on unread.
 *
 * The client's TCP handshake ends at the proxy, on loopback, and takes no time. The first bytes wait in its place: those of
 * the client for one round trip (SYN, SYN-ACK), those of the server until the client's ACK would have reached it.
 */
import { createServer, type AddressInfo } from "node:net";
import { seedOf } from "../core/random/random.ts";
import { Alarms } from "./alarms.ts";
import type { Impairment } from "./impairment.ts";
import { Lateness, type LatenessSummary } from "./lateness.ts";
import type { Bounds, Ledger } from "./line.ts";
import { Link } from "./link.ts";
import { Passage, type PassageOptions, type Way } from "./passage.ts";
import { noPlant, type Plant, readsEvents } from "./plant.ts";
import { SleepingClock } from "./sleeping-clock.ts";

/** The server behind the proxy. */
export interface ProxyTarget {
  readonly host: string;
  readonly port: number;
  /** Path of a URL that named it, without a last slash; bytes go through unread, so only people are told of it. */
  readonly path?: string;
}

export interface ProxyOptions {
  readonly target: ProxyTarget;
  readonly impairment: Impairment;
  /** Seed of stalls, cuts and jitter. */
  readonly seed: number;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default 0: a free one. */
  readonly port?: number;
  /** Default 16 MB in one direction of a connection, 256 MB in all. */
  readonly bounds?: Bounds;
  /** Faults of a gateway, for tests of what judges gateways; default: none. */
  readonly plant?: Plant;
  /** Called once where they cannot be planted: another protocol than HTTP/1.1 in cleartext is spoken. */
  readonly onUnplantable?: () => void;
  /** Called when the target cannot be reached, once for each reason. */
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
  /** How late bytes left, without waits for a reader, microseconds; null before the first. */
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

/** Starts a proxy. Rejects where it cannot listen. */
export async function startProxy(options: ProxyOptions): Promise<Proxy> {
  const { host = "127.0.0.1", port = 0, plant = noPlant, onUnreachable = () => {}, onUnplantable = () => {} } = options;
  const impairment = laterBy(options.impairment, plant.delayUs);
  const clock = await SleepingClock.start();
  const alarms = new Alarms(clock);
  const lateness = new Lateness();
  const held = { heldBytes: 0, peakHeldBytes: 0 };
  const tallies = { up: new Tally(held, lateness), down: new Tally(held, lateness) };
  const counts = { connections: 0, openConnections: 0, unreachable: 0, timeCuts: 0 };
  const reasons = new Set<string>();
  let isUnplantable = false;
  const passages = new Set<Passage>();
  const shared: PassageOptions = {
    target: options.target,
    impairment,
    alarms,
    bounds: options.bounds ?? defaultBounds,
    ledgers: tallies,
    linkFor: linksOf(impairment, alarms),
    seed: seedOf(options.seed),
    plant,
    // Only who plants faults in events loads what reads them.
    tamper: readsEvents(plant) ? (await import("./tamper.ts")).Tamper : null,
  };
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    counts.openConnections++;
    const passage = new Passage(shared, client, counts.connections++, {
      onClientClose: () => counts.openConnections--,
      onClose: () => passages.delete(passage),
      onTimeCut: () => counts.timeCuts++,
      onUnreachable(reason) {
        counts.unreachable++;
        if (!reasons.has(reason)) onUnreachable(reason);
        reasons.add(reason);
      },
      onUnplantable() {
        if (!isUnplantable) onUnplantable();
        isUnplantable = true;
      },
    });
    passages.add(passage);
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
  const { up, down } = tallies;
  return {
    port: (server.address() as AddressInfo).port,
    stats: () => ({
      connections: counts.connections,
      openConnections: counts.openConnections,
      unreachable: counts.unreachable,
      cuts: up.cuts + down.cuts + counts.timeCuts,
      up: { bytes: up.bytes, stalls: up.stalls },
      down: { bytes: down.bytes, stalls: down.stalls },
      peakHeldBytes: held.peakHeldBytes,
      lateUs: lateness.summary(),
    }),
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const passage of passages) passage.destroy();
      await closed;
      await clock.close();
    },
  };
}

/** The impairment with a further delay of what goes to the client. */
function laterBy({ up, down }: Impairment, delayUs: number): Impairment {
  return { up, down: { ...down, latencyUs: down.latencyUs + delayUs } };
}

/** The link of each new line: one for all lines of a direction, or one of its own, as its bandwidth is meant. */
function linksOf(impairment: Impairment, alarms: Alarms): PassageOptions["linkFor"] {
  const create = (way: Way): Link | null => {
    const { bandwidth } = impairment[way];
    return bandwidth === null ? null : new Link(alarms, bandwidth.bytesPerSecond);
  };
  const shared = { up: create("up"), down: create("down") };
  return (way) => (impairment[way].bandwidth?.shared === false ? create(way) : shared[way]);
}
