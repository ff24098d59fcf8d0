/**
 * A network between a client and a server that speak UDP, as QUIC does: it delays datagrams and loses some, unread. There is nothing to
 * open or to close: what comes from an address is a flow, until nothing has passed for a while.
 */
import { createSocket, type Socket } from "node:dgram";
import { isIPv6 } from "node:net";
import { addressOf } from "../base/host.ts";
import { seedOf, seedOfRequest } from "../core/random/random.ts";
import { Alarms } from "./alarms.ts";
import { type DatagramLedger, DatagramLine } from "./datagrams.ts";
import type { Impairment } from "./impairment.ts";
import { Lateness, type LatenessSummary } from "./lateness.ts";
import type { Bounds } from "./line.ts";
import type { ProxyTarget } from "./proxy.ts";
import { SleepingClock } from "./sleeping-clock.ts";

export interface UdpProxyOptions {
  readonly target: ProxyTarget;
  /** Of each direction latency, jitter and loss count. */
  readonly impairment: Impairment;
  readonly seed: number;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default 0: a free one. */
  readonly port?: number;
  /** Default 4 MB in one direction of a flow, 64 MB in all. What comes beyond is dropped, as a full router does. */
  readonly bounds?: Bounds;
  /** Flows at once; default 4096. Datagrams of further ones are dropped. */
  readonly maxFlows?: number;
  /** Default two minutes: longer than QUIC's idle time-outs. */
  readonly flowTimeoutMs?: number;
  /** Called when the target is not there, once for each reason. */
  readonly onUnreachable?: (reason: string) => void;
}

/** What one direction has done. */
export interface DatagramStats {
  readonly bytes: number;
  /** That came, lost ones too. */
  readonly datagrams: number;
  /** By the network, on purpose. */
  readonly lost: number;
  /** For want of room. */
  readonly dropped: number;
}

/** What a proxy of datagrams has done. */
export interface UdpProxyStats {
  readonly flows: number;
  readonly openFlows: number;
  readonly up: DatagramStats;
  readonly down: DatagramStats;
  /** The most bytes that were held at once. */
  readonly peakHeldBytes: number;
  /** How late datagrams left, microseconds; null before the first. */
  readonly lateUs: LatenessSummary | null;
}

export interface UdpProxy {
  readonly port: number;
  stats(): UdpProxyStats;
  close(): Promise<void>;
}

const defaultBounds: Bounds = { lineBytes: 4_194_304, totalBytes: 67_108_864 };
/** Of each socket: bursts wait there, bytes. The system may give less. */
const socketBufferBytes = 4_194_304;
/** What the system has not taken of one socket, beyond which datagrams are dropped, bytes. */
const mostUnsentBytes = 1_048_576;
/** Datagrams of a flow that wait until its socket knows its peer. */
const mostEarly = 256;

interface Flow {
  readonly upstream: Socket;
  readonly lines: Readonly<Record<"up" | "down", DatagramLine>>;
  /** Absolute microseconds: when something passed last. */
  heardUs: number;
  /** What came before its socket knew its peer, which takes a turn of the event loop; null: it knows it. */
  early: Buffer[] | null;
}

/** Starts a proxy. Rejects where it cannot listen, or cannot find the target's address. */
export async function startUdpProxy(options: UdpProxyOptions): Promise<UdpProxy> {
  const { target, impairment, host = "127.0.0.1", port = 0, bounds = defaultBounds, maxFlows = 4096, onUnreachable = () => {} } = options;
  const flowTimeoutUs = (options.flowTimeoutMs ?? 120_000) * 1000;
  const seed = seedOf(options.seed);
  const address = await addressOf(target.host);
  const family = isIPv6(address) ? "udp6" : "udp4";
  const front = createSocket({
    type: isIPv6(host) ? "udp6" : "udp4",
    recvBufferSize: socketBufferBytes,
    sendBufferSize: socketBufferBytes,
  });
  await new Promise<void>((resolve, reject) => {
    front.once("error", reject);
    front.bind({ address: host, port, exclusive: true }, resolve);
  });
  front.on("error", () => {});
  const clock = await SleepingClock.start();
  const alarms = new Alarms(clock);
  const lateness = new Lateness();
  const held = { bytes: 0, peak: 0 };
  const ledgers = { up: ledgerOf(held, lateness), down: ledgerOf(held, lateness) };
  const flows = new Map<string, Flow>();
  const reasons = new Set<string>();
  let count = 0;

  const end = (name: string, { upstream, lines }: Flow): void => {
    if (!flows.delete(name)) return;
    lines.up.drop();
    lines.down.drop();
    upstream.close();
  };
  const open = (name: string, client: { readonly address: string; readonly port: number }): Flow => {
    const upstream = createSocket({ type: family, recvBufferSize: socketBufferBytes, sendBufferSize: socketBufferBytes });
    const number = count++;
    const line = (way: "up" | "down", send: (bytes: Uint8Array) => void, socket: Socket): DatagramLine =>
      new DatagramLine({
        alarms,
        direction: impairment[way],
        seed: seedOfRequest(seed, number * 2 + (way === "up" ? 0 : 1)),
        send(bytes) {
          if (socket.getSendQueueSize() > mostUnsentBytes) return false;
          send(bytes);
          return true;
        },
        ledger: ledgers[way],
        bounds,
      });
    const onError = (error: NodeJS.ErrnoException): void => {
      const reason = error.code ?? error.message;
      if (!reasons.has(reason)) onUnreachable(reason);
      reasons.add(reason);
    };
    // A datagram that the target's system refuses is lost, as one of a network is: its sender hears nothing.
    const flow: Flow = {
      upstream,
      lines: {
        up: line("up", (bytes) => upstream.send(bytes, (error) => error !== null && onError(error)), upstream),
        down: line("down", (bytes) => front.send(bytes, client.port, client.address, () => {}), front),
      },
      heardUs: clock.nowUs(),
      early: [],
    };
    upstream.on("error", onError);
    upstream.connect(target.port, address, () => {
      const early = flow.early!;
      flow.early = null;
      for (const bytes of early) flow.lines.up.take(bytes);
    });
    upstream.on("message", (bytes) => {
      flow.heardUs = clock.nowUs();
      flow.lines.down.take(bytes);
    });
    flows.set(name, flow);
    return flow;
  };

  front.on("message", (bytes, client) => {
    const name = `${client.address} ${client.port}`;
    let flow = flows.get(name);
    if (flow === undefined) {
      if (flows.size >= maxFlows) {
        ledgers.up.dropped++;
        return;
      }
      flow = open(name, client);
    }
    flow.heardUs = clock.nowUs();
    if (flow.early === null) flow.lines.up.take(bytes);
    else if (flow.early.length < mostEarly) flow.early.push(bytes);
    else ledgers.up.dropped++;
  });
  const sweep = setInterval(
    () => {
      for (const [name, flow] of flows) if (clock.nowUs() - flow.heardUs > flowTimeoutUs) end(name, flow);
    },
    Math.max(10, flowTimeoutUs / 4000),
  ).unref();
  const statsOf = ({ bytes, datagrams, lost, dropped }: DatagramLedger): DatagramStats => ({ bytes, datagrams, lost, dropped });
  return {
    port: front.address().port,
    stats: () => ({
      flows: count,
      openFlows: flows.size,
      up: statsOf(ledgers.up),
      down: statsOf(ledgers.down),
      peakHeldBytes: held.peak,
      lateUs: lateness.summary(),
    }),
    async close() {
      clearInterval(sweep);
      for (const [name, flow] of flows) end(name, flow);
      await new Promise<void>((resolve) => front.close(() => resolve()));
      await clock.close();
    },
  };
}

function ledgerOf(held: { bytes: number; peak: number }, lateness: Lateness): DatagramLedger {
  return {
    bytes: 0,
    datagrams: 0,
    lost: 0,
    dropped: 0,
    get heldBytes() {
      return held.bytes;
    },
    set heldBytes(bytes: number) {
      held.bytes = bytes;
    },
    get peakHeldBytes() {
      return held.peak;
    },
    set peakHeldBytes(bytes: number) {
      held.peak = bytes;
    },
    late: (us) => lateness.record(us),
  };
}
