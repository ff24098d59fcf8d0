/**
 * What `fakeai gateway certify` leaves behind: `gateway.json`. Units are in the names of members. What was not seen is null,
 * never 0. `results/gateways/schema.json` is made of this file, as that of a bench is of its types.
 */
import type { Environment, ProtocolName } from "../types.ts";
import type { Bytes, Count, Microseconds, Milliseconds, PerSecond, Processes, Ratio, Seconds, Seed } from "../units.ts";

/**
 * Paired differences of rounds, through the gateway minus direct: their median with its two-sided 95% interval by order statistics,
 * which one round that the machine held up does not move; below six rounds the mean with Student's t.
 */
export interface Added {
  /** The median, below six rounds the mean. */
  readonly estimateUs: Microseconds;
  /** Lower end of the interval. */
  readonly lowUs: Microseconds;
  /** Upper end of the interval. */
  readonly highUs: Microseconds;
}

/** What became of the events of streamed answers on their way, each compared with what the server sends for the same request. */
export interface Fidelity {
  /** Answers that were compared. */
  readonly answers: Count;
  /** Events that the server sends in them. */
  readonly sent: Count;
  /** Events that came. */
  readonly received: Count;
  /** Events whose bytes came as they were sent. */
  readonly identical: Count;
  /** Events with the same text in other bytes: read, and written anew. */
  readonly rewritten: Count;
  /** Events with text that did not come. */
  readonly lost: Count;
  /** Events with text that came more than once; each further time counts. */
  readonly repeated: Count;
  /** Events with text that came behind one that was sent later. */
  readonly reordered: Count;
  /** Events whose text is none that was sent. */
  readonly changed: Count;
  /** Answers whose whole text came in other pieces: none of it is lost. */
  readonly resplit: Count;
  /** Answers that kept their finish_reason. */
  readonly finished: Count;
  /** Answers that kept their usage. */
  readonly withUsage: Count;
  /** Answers that kept their [DONE]. */
  readonly withDone: Count;
  /** Answers that did not come whole: failed, or cut. */
  readonly broken: Count;
}

/** What is looked at beside the speed. */
export const checkIds = [
  "events",
  "bytes",
  "end",
  "held",
  "head",
  "abort",
  "errors",
  "retries",
  "stall",
  "cut",
  "stream-limit",
  "http2",
  "delay",
] as const;

export type CheckId = (typeof checkIds)[number];

/**
 * "kept": as without the gateway. "changed": another way than without it, which a client may mind or not. "fault": what a client
 * is told is wrong, or what it asks for is not done. "unknown": it could not be seen, and `seen` says why.
 */
export type CheckVerdict = "kept" | "changed" | "fault" | "unknown";

/** One check. */
export interface Check {
  /** What was looked at. */
  readonly id: CheckId;
  /** What came of it. */
  readonly verdict: CheckVerdict;
  /** What was seen, in a sentence with its figures. */
  readonly seen: string;
}

/** One side of a level, over all of its rounds. */
export interface LevelSide {
  /** Requests sent. */
  readonly sent: Count;
  /** Requests answered in full. */
  readonly completed: Count;
  /** Requests that failed. */
  readonly failed: Count;
  /** Median of TTFT, the mean over the rounds, from when the request was due. */
  readonly ttftP50Us: Microseconds | null;
  /** 99th percentile of TTFT, the mean over the rounds. */
  readonly ttftP99Us: Microseconds | null;
  /** Median gap between tokens, the mean over the rounds. */
  readonly itlP50Us: Microseconds | null;
  /** 99th percentile of the gaps, the mean over the rounds. */
  readonly itlP99Us: Microseconds | null;
  /** Served rate by offered rate, the mean over the rounds. */
  readonly achievedShare: Ratio | null;
  /** Reads of the socket that held tokens, by the tokens. */
  readonly readsPerEvent: Ratio | null;
}

/** One rate, offered to the server directly and through the gateway in turns. */
export interface Level {
  /** Streams that are under way at once where nothing adds to the plan. */
  readonly streams: Count;
  /** Requests offered. */
  readonly requestsPerSecond: PerSecond;
  /** Rounds, each with a run direct and one through the gateway. */
  readonly rounds: Count;
  /** What came direct. */
  readonly direct: LevelSide;
  /** What came through the gateway. */
  readonly through: LevelSide;
  /** Added to the median TTFT; null: fewer than two rounds tell. */
  readonly addedTtftP50: Added | null;
  /** Added to the 99th percentile of TTFT. */
  readonly addedTtftP99: Added | null;
  /** Added to the way of a token from the server's hand to the client's read, median: by stamps; null where they do not come through. */
  readonly addedTokenP50: Added | null;
  /** The same, 99th percentile. */
  readonly addedTokenP99: Added | null;
  /** Added to the 99th percentile of the gap between tokens. */
  readonly addedItlP99: Added | null;
  /** CPU time of the gateway's processes for a request; null: it was not started here. */
  readonly gatewayCpuUsPerRequest: Microseconds | null;
  /** CPU time of the gateway's processes for a token. */
  readonly gatewayCpuUsPerToken: Microseconds | null;
  /** Memory of the gateway's processes after the level. */
  readonly gatewayRssBytes: Bytes | null;
  /** Share of a core that the measuring client took, the most of the runs; a client near 1 measures itself. */
  readonly clientCpuShare: Ratio | null;
  /** Longest time that the measuring client stood still in a run. */
  readonly clientPauseUs: Microseconds | null;
  /** Runs during which other processes disturbed the machine, by the rule of the bench. */
  readonly disturbedRuns: Count;
  /** Whose limit was met: then its figures tell of that. null: none was. */
  readonly limit: "gateway" | "client or server" | null;
  /** Why, in words, or what a reader of the figures has to know where no limit was met; null: nothing. */
  readonly reason: string | null;
}

/** What the measurement itself keeps up with on one protocol, without any gateway: no figure of a gateway reaches further. */
export interface OwnLimit {
  /** From the client. */
  readonly protocol: ProtocolName;
  /** The highest rate at which direct runs kept up; null: they did at none. */
  readonly keptPerSecond: PerSecond | null;
  /** The rate at which they did not; null: at all that were offered they did. */
  readonly passedPerSecond: PerSecond | null;
  /** Why they did not; null: they did. */
  readonly reason: string | null;
  /** Share of a core that the client took at the highest rate that was offered. */
  readonly clientCpuShare: Ratio | null;
}

/** HTTP version in which a server is asked. */
export type UpstreamProtocol = "HTTP/1.0" | "HTTP/1.1" | "HTTP/2";

/** A gateway on one protocol. */
export interface Certificate {
  /** "nginx-h1". */
  readonly id: string;
  /** Its name, with how it was asked for: "haproxy:buffering". */
  readonly gateway: string;
  /** Towards the client. */
  readonly protocol: ProtocolName;
  /** HTTP version towards the server that the server saw; null: it did not. */
  readonly upstreamHttp: UpstreamProtocol | null;
  /** null: it was not started here, or does not say. */
  readonly version: string | null;
  /** SPDX name; null: it was not started here. */
  readonly licence: string | null;
  /** The configuration that it ran with; null: it was not started here. Empty: it takes arguments alone. */
  readonly config: string | null;
  /** What became of events; null: none could be compared. */
  readonly fidelity: Fidelity | null;
  /** All that was looked at. */
  readonly checks: readonly Check[];
  /** From few streams to saturation. */
  readonly levels: readonly Level[];
  /** The highest rate at which the added p99 of TTFT kept the bound with its whole interval; null: none did. */
  readonly keptPerSecond: PerSecond | null;
  /** The lowest rate at which it passed the bound with its whole interval, or the gateway was at its limit; null: none was found. */
  readonly passedPerSecond: PerSecond | null;
  /** Why nothing was measured; null: it was. */
  readonly leftOut: string | null;
}

/** What is claimed of a gateway in public. */
export interface PublishedClaim {
  /** Name of the gateway. */
  readonly gateway: string;
  /** The claim, close to its words. */
  readonly text: string;
  /** Where it is published. */
  readonly source: string;
  /** What the number was taken with. */
  readonly conditions: string;
  /** What the number leaves out, or why it says little; empty: nothing is known. */
  readonly leavesOut: string;
  /** The number, where it is one of added latency. */
  readonly limitMs: Milliseconds | null;
  /** Which percentile it is of; null: it does not say. */
  readonly statistic: "p50" | "p99" | null;
  /** At which rate; null: it does not say. */
  readonly atPerSecond: PerSecond | null;
  /** What a run would need to be comparable that no run of ours has; null: nothing. */
  readonly needs: string | null;
}

/** A claim, held against a run. */
export interface ClaimOutcome {
  /** What is claimed. */
  readonly claim: PublishedClaim;
  /** "reproduced": the whole interval keeps the number. "refuted": the whole interval is above it. */
  readonly verdict: "reproduced" | "refuted" | "not comparable";
  /** What was measured, or why it cannot be compared. */
  readonly measured: string;
}

/** The whole result. */
export interface GatewayResult {
  /** What this file is. */
  readonly kind: "fakeai.gateway";
  /** Version of this form. */
  readonly schemaVersion: 1;
  /** The command line, secrets blotted out. */
  readonly command: readonly string[];
  /** Decides requests and the order of runs. */
  readonly seed: Seed;
  /** When it began, ISO 8601 in UTC. */
  readonly startedAt: string;
  /** How long it took. */
  readonly durationS: Seconds;
  /** false: it was interrupted. */
  readonly complete: boolean;
  /** The machine. */
  readonly environment: Environment;
  /** Load average at the end, over 1, 5 and 15 minutes: runnable processes. */
  readonly loadAverageAfter: readonly Processes[];
  /** Planned TTFT of the levels. */
  readonly ttftMs: Milliseconds;
  /** Planned gap between tokens of the levels. */
  readonly itlMs: Milliseconds;
  /** Tokens of an answer in the levels. */
  readonly outputTokens: Count;
  /** What the 99th percentile of TTFT may be higher through a gateway. */
  readonly boundMs: Milliseconds;
  /** What a gateway may add to TTFT and to the way of a token, at the median; absent in files of earlier runs. */
  readonly delayBoundMs?: Milliseconds;
  /** Length of a run. */
  readonly runS: Seconds;
  /** Each gateway on each protocol. */
  readonly certificates: readonly Certificate[];
  /** What server and client reach without a gateway, protocol by protocol; absent in files of earlier runs. */
  readonly ownLimits?: readonly OwnLimit[];
  /** Published claims of the gateways in it, and of some that cannot be started. */
  readonly claims: readonly ClaimOutcome[];
  /** Why figures may not be used. */
  readonly invalid: readonly string[];
}
