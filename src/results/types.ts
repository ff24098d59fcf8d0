/**
 * What a bench leaves behind: `result.json`. Units are in the field names or in a `unit` beside the value. A metric that a
 * driver cannot see is null, never 0.
 *
 * This file is the only description of a result. `results/schema.json` is made of it and published: the comment of a member
 * is its description there, the types below give numbers their unit and range, and members that the schema does not name are
 * allowed, so that a reader of this version reads what a later one adds.
 *
 * To add a member: write it here, with a comment and a type that has a unit, and run `npm run generate`. Make it optional, with
 * a comment that says what its absence means: files of earlier runs lack it and are still read. A metric is added in
 * `metrics.ts` in the same way.
 */
import type { SmallestEffect } from "./effects.ts";
import type { DistributionMetric, MetricName, Statistic, Unit } from "./metrics.ts";
import type { SweepPlace, SweepResult } from "./sweep.ts";
import type {
  Bytes,
  Count,
  MeanCount,
  Microseconds,
  Milliseconds,
  PerSecond,
  Probability,
  Processes,
  Ratio,
  Seconds,
  Seed,
  Tokens,
} from "./units.ts";

export type { DistributionMetric, MetricName, Statistic, Unit };

/** @unit the metric's unit */
type InMetricUnit = number;

/** Statistics of one metric. */
export interface MetricSummary {
  /** Unit of all values but count: microseconds, per second, bytes, count, or a share of 1. */
  readonly unit: Unit;
  /** Values behind the statistics. */
  readonly count: Count;
  /** Arithmetic mean of the values as measured. */
  readonly mean: InMetricUnit;
  /** Sample standard deviation (n - 1); 0 for one value. */
  readonly std: InMetricUnit;
  /** Least value. */
  readonly min: InMetricUnit;
  /** Median, by nearest rank. */
  readonly p50: InMetricUnit;
  /** 90th percentile, by nearest rank. */
  readonly p90: InMetricUnit;
  /** 95th percentile, by nearest rank. */
  readonly p95: InMetricUnit;
  /** 99th percentile, by nearest rank. */
  readonly p99: InMetricUnit;
  /** 99.9th percentile, by nearest rank. */
  readonly p999: InMetricUnit;
  /** Greatest value. */
  readonly max: InMetricUnit;
  /** HDR histogram of whole units, 3 significant digits: V2, compressed, base64; null for scalars. */
  readonly histogram: string | null;
}

/** Statistics by metric. null, or absent: the driver cannot see it. */
export type Metrics = Readonly<Partial<Record<MetricName, MetricSummary | null>>>;

export const protocolNames = ["h1", "h1s", "h2c", "h2", "h3", "ws", "wss"] as const;

/** h1: HTTP/1.1; h1s: over TLS; h2c: HTTP/2 in cleartext; h2: over TLS; h3: HTTP/3, over QUIC; ws: WebSocket; wss: over TLS. */
export type ProtocolName = (typeof protocolNames)[number];

/** What happened to the requests of a round; sent = completed + failed + cut. */
export interface RequestCounts {
  /** Requests sent. */
  readonly sent: Count;
  /** Requests answered in full. */
  readonly completed: Count;
  /** Requests that failed. */
  readonly failed: Count;
  /** Failures by reason: "status 503", "timeout", "reset", "incomplete stream", "refused". */
  readonly errors: Readonly<Record<string, Count>>;
  /** First words that were given for a reason: a server's text, a redirect's Location; cut, on one line. Absent: none were. */
  readonly words?: Readonly<Record<string, string>>;
  /** Requests, completed or failed, whose answer names a fault on purpose (`x-fakeai-fault`); absent: none does, or the driver cannot tell. */
  readonly faulted?: Count;
  /** Requests that were under way when a ramp ended, and were left; absent: none was. */
  readonly cut?: Count;
  /** Requests that were completed and left in the ramp-up or the cool-down: they are in no latency and no rate; absent: none did. */
  readonly outside?: Count;
}

/**
 * How a run went, in slices of equal length from its begin on (the last may be shorter): columns of a chart, with one value for
 * each slice. null in a column of latencies: nothing of it fell into the slice.
 */
export interface RunSlices {
  /** Length of a slice. */
  readonly everyUs: Microseconds;
  /** Requests that were completed, by the second. */
  readonly requestsPerSecond: readonly PerSecond[];
  /** Requests that failed, by the second. */
  readonly failedPerSecond: readonly PerSecond[];
  /** Output tokens that came, by the second; null: tokens were not counted. */
  readonly tokensPerSecond: readonly PerSecond[] | null;
  /** Content events that came, by the second. */
  readonly eventsPerSecond: readonly PerSecond[];
  /** Requests under way, on average over the slice. */
  readonly underWay: readonly MeanCount[];
  /** Median TTFT of the requests that left in it. */
  readonly ttftP50Us: readonly (Microseconds | null)[];
  /** Median gap between content events that came in it. */
  readonly itlP50Us: readonly (Microseconds | null)[];
  /** Median time to the end of the answer, of the requests that left in it. */
  readonly e2elP50Us: readonly (Microseconds | null)[];
}

/** usage: what the server says. tokenizer: what `--tokenizer` makes of the text. events: content events, which are not tokens. */
export type TokenCounting = "usage" | "tokenizer" | "events";

/**
 * What two arms must have in common before they are compared; a scenario names those that it varies on purpose. reads: whether
 * answers come in one read.
 */
export type WorkPart = "tokens" | "events" | "contentBytes" | "finishReasons" | "reads";

/**
 * The work behind the figures of a round: what its answers held, those that the client gave up among them. Failed requests are
 * not in it. Sums over all answers, so that arms are compared a request.
 */
export interface Work {
  /** Answers that were completed. */
  readonly answers: Count;
  /** What was counted as tokens; null: nothing, as for answers that are no text. */
  readonly tokensCountedBy: TokenCounting | null;
  /** Output tokens; null: the driver cannot tell, or only events were counted. */
  readonly tokens: Count | null;
  /** Events with content; null: the driver cannot tell. */
  readonly events: Count | null;
  /** UTF-8 bytes of the text in them; null: the driver cannot tell. */
  readonly contentBytes: Bytes | null;
  /** Bytes of the bodies, where a driver sees neither tokens nor text; null: it does. */
  readonly bodyBytes: Bytes | null;
  /** Answers by their finish reason; "none": it had none. "given up": the client left. null: the driver cannot tell. */
  readonly finishReasons: Readonly<Record<string, Count>> | null;
  /** true: an exact number of tokens was ordered, from a server that takes the order. */
  readonly exact: boolean;
  /** Answers with fewer tokens than were asked for. */
  readonly short: Count;
  /** Answers without any content, to requests for text. */
  readonly withoutToken: Count;
  /** Streamed answers that ended without a finish reason. */
  readonly withoutFinishReason: Count;
  /** Streamed answers whose several tokens came in one read and without stamps: their TTFT and ITL are not measured. */
  readonly inOneRead: Count;
  /** Reads of a socket that held content, over all streamed answers; null: the driver cannot tell. */
  readonly contentReads: Count | null;
  /** Answers whose usage contradicts what came: fewer tokens than events, more than bytes, or more than were ordered. */
  readonly contradicted: Count;
}

/** Who fell behind the plan, and by what measure. */
export interface Behind {
  /** unknown: answers took longer than planned, and neither the server's stamps nor the generator's limits show why. */
  readonly who: "server" | "generator" | "unknown";
  /** The measure and its bound, in one line. */
  readonly reason: string;
}

/** How a round kept its plan. */
export interface Pace {
  /** Tokens that the streams under way would have carried, had each answer kept its plan; null: no stamps. */
  readonly plannedTokensPerSecond: PerSecond | null;
  /** Tokens that they carried; null: no stamps. */
  readonly reachedTokensPerSecond: PerSecond | null;
  /** Who fell behind by more than a bound; empty: the plan was kept. */
  readonly behind: readonly Behind[];
}

/** What else the machine did during a round. null: the system does not say (no /proc), or it cannot be told apart. */
export interface MachineLoad {
  /** How long the machine was watched: the measured part of the round; of several runs in one round, the longest. */
  readonly watchedUs: Microseconds | null;
  /** CPU time of processes that are not the bench's, over the round's time on all cores; null also with a server of this machine at --url. */
  readonly othersCpuShare: Ratio | null;
  /** CPU time that the hypervisor gave to other machines, over the round's time on all cores. */
  readonly stealShare: Ratio | null;
  /** Time that the server was ready to run and waited for a core, over the round's time. */
  readonly serverWaitShare: Ratio | null;
  /** The same of the load generator. */
  readonly loadWaitShare: Ratio | null;
  /** Longest time in which the server did not run and that its own CPU time does not explain. */
  readonly serverPauseUs: Microseconds | null;
  /** All such times, over the round's time. */
  readonly serverPausedShare: Ratio | null;
  /** The same of the load generator. */
  readonly loadPauseUs: Microseconds | null;
  /** All of them, over the round's time. */
  readonly loadPausedShare: Ratio | null;
  /** Why the round counts as disturbed, by the rule in docs/bench.md; empty: it does not. */
  readonly disturbed: readonly string[];
  /** Whether it is left out for that. */
  readonly leftOut: boolean;
}

/** Bytes of HTTP by what they are for. null: the driver cannot tell them apart. */
export interface WireTotals {
  /** Content of DATA frames, or of bodies without their chunks' framing. */
  readonly data: Bytes;
  /** Frame heads, padding, and the framing of chunks. */
  readonly framing: Bytes;
  /** Response heads. */
  readonly head: Bytes;
  /** Requests, heads and bodies. */
  readonly request: Bytes;
  /** WINDOW_UPDATE frames. */
  readonly windowUpdate: Bytes | null;
  /** SETTINGS frames. */
  readonly settings: Bytes | null;
  /** PING frames. */
  readonly ping: Bytes | null;
  /** All other frames. */
  readonly other: Bytes | null;
}

/**
 * The sums behind the scalars of one run: what several shards are added by, so that no rate and no share is ever averaged. Instants are
 * microseconds of the session's clock in a result, and of the process's monotonic clock before.
 */
export interface RunTotals {
  /** When the measured part began. */
  readonly fromUs: Microseconds;
  /** When it ended: the last answer, or where the cool-down begins. */
  readonly untilUs: Microseconds;
  /** How long after the instant that it was to begin at it began: of several shards the greatest; absent: there was none. */
  readonly lateUs?: Microseconds;
  /** Requests that were completed. */
  readonly completed: Count;
  /** Those and the failed ones. */
  readonly ended: Count;
  /** Answers that ended in the measured part. */
  readonly partRequests: Count;
  /** Content events that came in it; null: tokens are counted by something better. */
  readonly partEvents: Count | null;
  /** Tokens that came in it; null: they were not counted. */
  readonly partTokens: Tokens | null;
  /** Requests that kept the objective of `--slo`; null: there is none, or it cannot be told. */
  readonly good: Count | null;
  /** Tokens of the prompts that count; null: usage does not say. */
  readonly inputTokens: Tokens | null;
  /** Sessions of which every turn was completed; absent: the load has none. */
  readonly sessions?: Count;
  /** Tokens of these prompts that the server had in its prefix cache; null: an answer does not say. Absent: none does. */
  readonly cachedTokens?: Tokens | null;
  /** Output tokens of all answers; null: they were not counted. */
  readonly tokens: Tokens | null;
  /** CPU time of the generator. */
  readonly cpuUs: Microseconds;
  /** Bytes read from the sockets; null: those of other streams are among them. */
  readonly bytesReceived: Bytes | null;
  /** Bytes written to them. */
  readonly bytesSent: Bytes | null;
  /** Bytes by what they are for; null: it cannot be told. */
  readonly wire: WireTotals | null;
  /** Connections that were opened. */
  readonly connectionsOpened: Count;
  /** Requests that were given up on purpose; null: none was to be. */
  readonly aborted: Count | null;
  /** Streams that were refused and sent again; null: refused ones are not sent again. */
  readonly refused: Count | null;
  /** From first to last token, as it was seen, summed over all answers with stamps. */
  readonly gapsMeasuredUs: Microseconds;
  /** The same as the stamps plan it. */
  readonly gapsPlannedUs: Microseconds;
  /** 99th percentile of the generator's event-loop delay: of several shards the greatest. */
  readonly eventLoopDelayP99Us: Microseconds;
  /** Open loop: what `achievedShare` is made of; null: a closed loop, or nothing was sent. */
  readonly open: {
    /** Requests of the plan, or more where turns followed. */
    readonly planned: Count;
    /** First planned send. */
    readonly plannedFromUs: Microseconds;
    /** Last planned send. */
    readonly plannedUntilUs: Microseconds;
    /** First end of a completed request; null: none was completed. */
    readonly endedFromUs: Microseconds | null;
    /** Last one. */
    readonly endedUntilUs: Microseconds | null;
  } | null;
  /** How long answers took beside their plan; null: no answer carries stamps. */
  readonly pace: {
    /** From sending to the last token, summed. */
    readonly measuredUs: Microseconds;
    /** The same as planned. */
    readonly plannedUs: Microseconds;
  } | null;
}

/** What one shard of a load did in a round, beside the others. */
export interface ShardRound {
  /** Number of the shard, from 1. */
  readonly shard: Count;
  /** Counts of requests. */
  readonly requests: RequestCounts;
  /** How long after the common instant it began; null: it did not begin. */
  readonly lateUs: Microseconds | null;
  /** How long its load took; null: nothing was measured. */
  readonly durationUs: Microseconds | null;
  /** Requests that it completed, by the second of its own time. */
  readonly requestsPerSecond: PerSecond | null;
  /** Tokens, by the second of its own time. */
  readonly tokensPerSecond: PerSecond | null;
  /** Median TTFT of its requests. */
  readonly ttftP50Us: Microseconds | null;
  /** 99th percentile of their TTFT. */
  readonly ttftP99Us: Microseconds | null;
  /** 99th percentile of their ITL. */
  readonly itlP99Us: Microseconds | null;
  /** CPU time of its generator. */
  readonly cpuUs: Microseconds | null;
  /** The same by elapsed time: 1 is one core. */
  readonly cpuShare: Ratio | null;
  /** Bytes that it read. */
  readonly bytesReceived: Bytes | null;
  /** Bytes that it wrote. */
  readonly bytesSent: Bytes | null;
  /** Why the round may not be used for its sake, each reason in one line; empty: it may. */
  readonly invalid: readonly string[];
}

/** What came from one of several servers in a round. */
export interface ServerRound {
  /** Its address, as given. */
  readonly address: string;
  /** Its clock; absent: it is the generator's own, or was not asked for. */
  readonly clock?: ServerClockFit;
  /** Connections that were opened to it. */
  readonly connections: Count;
  /** Requests that it completed. */
  readonly completed: Count;
  /** Requests that failed there. */
  readonly failed: Count;
  /** TTFT of its answers; null: none was seen. */
  readonly ttft: MetricSummary | null;
  /** ITL of its answers. */
  readonly itl: MetricSummary | null;
}

/** Which part of a load a result holds. */
export interface ShardPlace {
  /** Number of the shard, from 1. */
  readonly shard: Count;
  /** Shards of the load. */
  readonly of: Count;
  /** What the shards of one run have in common. */
  readonly session: string;
  /** The shard's clock beside the session's. */
  readonly clock: ClockFit | null;
}

/** How far two clocks are apart, by two-way exchanges (NTP, RFC 5905, section 8). */
export interface ClockFit {
  /** Other clock minus own, at the middle of the exchanges. */
  readonly offsetUs: Microseconds;
  /** How much faster the other clock runs, parts per million; null: the exchanges span too little time to tell. */
  readonly driftPpm: Ratio | null;
  /** The offset is off by no more than this: half of the shortest round trip, and what the drift may add. */
  readonly boundUs: Microseconds;
  /** Exchanges behind it. */
  readonly exchanges: Count;
}

/** A server's clock beside the generator's, where they are on different hosts. */
export interface ServerClockFit {
  /** Server's clock minus ours when the run began; null: it told no time, or there are several clocks. */
  readonly offsetUs: Microseconds | null;
  /** How much faster it runs, parts per million; null: it cannot be told, or there are several clocks. */
  readonly driftPpm: Ratio | null;
  /** The offset was off by no more than this during the run; null: it is not known. Of several shards, or servers that are compared, the greatest. */
  readonly boundUs: Microseconds | null;
  /** Exchanges of times behind it. */
  readonly exchanges: Count;
  /** Why stamps, of several servers those of the ones named, are not compared with the generator's times; null: all are. */
  readonly reason: string | null;
}

/** A shard of a merged result. */
export interface ShardMember {
  /** Number of the shard, from 1. */
  readonly shard: Count;
  /** The shard's clock beside the session's. */
  readonly clock: ClockFit | null;
  /** Where it ran. */
  readonly environment: Environment;
  /** When it began, ISO 8601. */
  readonly startedAt: string;
}

/** The shards that a result was merged of: they ran at once, each with its part of one load. */
export interface ShardedRun {
  /** Shards of the load. */
  readonly of: Count;
  /** What they have in common. */
  readonly session: string;
  /** Each of them, by its number. */
  readonly members: readonly ShardMember[];
}

/**
 * The turns of sessions by their place in a conversation: columns with one value for each place, from the first. Means over the
 * answers, so that rounds and shards add up. null: one of the answers does not tell it.
 */
export interface SessionTurns {
  /** Answers that were completed. */
  readonly answers: readonly Count[];
  /** Time to first token. */
  readonly ttftMeanUs: readonly (Microseconds | null)[];
  /** Time to the end of the answer. */
  readonly e2elMeanUs: readonly (Microseconds | null)[];
  /** Bytes sent on the socket for the turn alone; null too where others shared its connection. */
  readonly bytesSentMean: readonly (Bytes | null)[];
  /** Bytes received on it. */
  readonly bytesReceivedMean: readonly (Bytes | null)[];
  /** Tokens of the prompt, as usage counts them. */
  readonly inputTokensMean: readonly (Tokens | null)[];
  /** Those of them that the server had in its prefix cache. */
  readonly cachedTokensMean: readonly (Tokens | null)[];
}

/** Sessions of a round: turns that follow each other, of an agent and its sub-agents. */
export interface SessionsRound {
  /** Sessions that began. */
  readonly started: Count;
  /** Those of which every turn was completed. */
  readonly completed: Count;
  /** Those of which a turn failed: the turns after it were not sent, and count as failed. */
  readonly failed: Count;
  /** Their turns. */
  readonly turns: SessionTurns;
}

/** One arm in one round, the unit of every comparison. */
export interface RoundResult {
  /** Number of the round; arms are paired by it. */
  readonly round: Count;
  /** Place in the round's order of arms, from 0. */
  readonly position: Count;
  /** When it began, ISO 8601. */
  readonly startedAt: string;
  /** Counts of requests. */
  readonly requests: RequestCounts;
  /** What was measured in this round. */
  readonly metrics: Metrics;
  /** The work that was done; absent: an earlier run, or the driver cannot tell. */
  readonly work?: Work;
  /** Why the round may not be used, each reason in one line; empty: it may. */
  readonly invalid: readonly string[];
  /** How it kept its plan; null: there is no plan, or it cannot be seen. Absent in files of earlier runs. */
  readonly pace?: Pace | null;
  /** What else the machine did; absent: an earlier version, or nothing was measured. */
  readonly machine?: MachineLoad;
  /** How it went from begin to end; absent: it was shorter than 2 s, of several runs or of several shards, or the driver cannot tell. */
  readonly slices?: RunSlices;
  /** Its sessions; absent: the load has none. */
  readonly sessions?: SessionsRound;
  /** The sums behind its scalars, one for each run in it; absent: it is no part of a sharded load. */
  readonly totals?: readonly RunTotals[];
  /** The common instant of its first run, microseconds of the session's clock; absent: it is no part of a sharded load, or it did not begin. */
  readonly beginUs?: Microseconds;
  /** The server's clock, over several servers what holds for all; absent: it is the generator's own, or was not asked for. */
  readonly clock?: ServerClockFit;
  /** What came from each of the servers of `--target-hosts`; absent: the address of --url alone was asked. */
  readonly servers?: readonly ServerRound[];
  /** Of a merged load: what each shard did; absent: it was not sharded. */
  readonly shards?: readonly ShardRound[];
}

/** How one arm talks to the server. */
export interface ArmDescription {
  /** Name within the scenario. */
  readonly id: string;
  /** The protocol that it speaks. */
  readonly protocol: ProtocolName;
  /** What serves: uWebSockets.js, node's own modules, fakeai's own HTTP/2, quiche for HTTP/3, or a server that fakeai did not start. */
  readonly engine: "uws" | "node" | "own" | "quiche" | "external";
  /** protocol: decides about protocols; engine: another engine, shown apart and never in a verdict about a protocol. */
  readonly role: "protocol" | "engine";
  /** What generates the load. */
  readonly driver: "stream" | "autocannon" | "h2load" | "client";
  /** The client library with its version, or the command; absent for our own drivers. */
  readonly client?: string;
  /** Connections; null: as many as the client thinks right. */
  readonly connections: Count | null;
  /** Streams at once over all connections. */
  readonly streams: Count;
}

/** One way of talking to the server, and what was measured. */
export interface ArmResult extends ArmDescription {
  /** Application protocol as negotiated ("http/1.1", "h2", "h2c", "h3", "websocket"), proven by the client; null: the driver cannot tell. */
  readonly negotiated: string | null;
  /** TLS version and cipher suite, "TLSv1.3 TLS_AES_128_GCM_SHA256"; null on cleartext. */
  readonly cipher: string | null;
  /** Round-trip time that is put between client and server. */
  readonly rttMs: Milliseconds;
  /** All rounds, invalid ones too. */
  readonly rounds: readonly RoundResult[];
  /** All valid rounds together: histograms added, scalars pooled. */
  readonly metrics: Metrics;
  /** The work of all valid rounds; absent: an earlier run, or the driver cannot tell. */
  readonly work?: Work;
  /** What tokens and everything per token were counted by; absent: an earlier run, or no tokens were counted. */
  readonly tokensCountedBy?: TokenCounting;
  /** Interval over the rounds, by "metric.statistic". */
  readonly intervals: Readonly<Record<string, Interval>>;
  /** Why the arm may not be used, each reason in one line; empty: it may. */
  readonly invalid: readonly string[];
}

/** Two-sided 95% interval. */
export interface Interval {
  /** Estimate over the rounds. */
  readonly estimate: InMetricUnit;
  /** Lower end. */
  readonly low: InMetricUnit;
  /** Upper end. */
  readonly high: InMetricUnit;
}

/** faster: the candidate is better (lower latency, higher rate, fewer bytes, less CPU). */
export type Verdict = "faster" | "slower" | "equivalent" | "inconclusive" | "described" | "not compared";

/** Two arms in one metric, paired by round. */
export interface Comparison {
  /** Name of the metric. */
  readonly metric: MetricName;
  /** Statistic of the metric. */
  readonly statistic: Statistic;
  /** Id of the arm compared with. */
  readonly baseline: string;
  /** Id of the arm compared. */
  readonly candidate: string;
  /**
   * Candidate over baseline: geometric mean of the rounds' ratios and its 95% interval, not widened for the number of
   * comparisons (`p` is). null: not compared, or a round's value is 0.
   * @unit ratio
   */
  readonly ratio: Interval | null;
  /** Candidate minus baseline, in the metric's unit; null: not compared. */
  readonly difference: Interval | null;
  /** Rounds that were paired. */
  readonly rounds: Count;
  /** t-interval, or studentised bootstrap from 20 rounds; null: not compared. */
  readonly method: "t" | "bootstrap" | null;
  /** Two-sided p of this comparison alone, before any adjustment: what the interval says. */
  readonly pRaw: Probability | null;
  /** Two-sided p after Holm's adjustment over the suite's comparisons of this kind. */
  readonly p: Probability | null;
  /** Smallest effect of interest. */
  readonly smallestEffect: SmallestEffect;
  /** What the interval, p and the smallest effect say: `verdict.ts` has the rule. */
  readonly verdict: Verdict;
  /** Why there is no verdict; null: there is one. */
  readonly reason: string | null;
  /** What differs between the arms: protocols, engines (shown apart) or clients. */
  readonly kind: "protocol" | "engine" | "client";
  /**
   * true: shown with its interval and without a verdict, beside the metrics that decide; no member of the family that
   * Holm's adjustment runs over. Absent: it decides.
   */
  readonly described?: boolean;
  /** What the arms' work may differ in: the scenario varies it, or a gateway stands in front of one. Absent: nothing. */
  readonly varies?: readonly WorkPart[];
  /** true: the arms did unequal work, so that nothing may be concluded and the run is invalid. Absent: none that was seen. */
  readonly unequalWork?: boolean;
}

/** What the interval says of the claimed gain. */
export type ClaimVerdict = "reproduced" | "refuted" | "inconclusive" | "not compared";

/** A claim about protocols, as its source makes it. */
export interface Claim {
  /** The claim. */
  readonly text: string;
  /** Who made it. */
  readonly source: string;
  /** The claimed gain of the candidate as a relative improvement, at its lower end: 0.2 for "20% faster". */
  readonly gain: Ratio;
  /** What it was tested with, beside the load: its verdict holds for that and no more; absent in files of earlier runs. */
  readonly conditions?: string;
}

/** A claim and what became of it. */
export interface ClaimResult extends Claim {
  /** The comparison that decides it; null: its arms were not run. */
  readonly comparison: Comparison | null;
  /**
   * Measured gain as a relative improvement: time saved, or rate added; null: not compared.
   * @unit ratio
   */
  readonly measured: Interval | null;
  /** What became of it. */
  readonly verdict: ClaimVerdict;
  /** Why it is not decided; null: it is. */
  readonly reason: string | null;
}

/** What prompts were sent in a round: the same in every arm, where `cacheBust` is null. */
export interface PromptsSent {
  /** Where they come from. words: made of a seed. */
  readonly source: "words" | "dataset" | "trace";
  /** Name of the file that they, or their lengths, come from; null: none. */
  readonly file: string | null;
  /** Seed that decides them. */
  readonly seed: Seed;
  /** Requests with a prompt in the first round. */
  readonly requests: Count;
  /** Different prompts among them. */
  readonly distinct: Count;
  /** Tokens of a prompt, without what a chat template puts around it. */
  readonly tokens: {
    /** Mean. */
    readonly mean: Tokens;
    /** Median: half of the prompts have at most so many. */
    readonly p50: Tokens;
    /** The longest. */
    readonly max: Tokens;
  };
  /** words: exact by OpenAI's o200k_base and cl100k_base. characters: estimated as four characters each. */
  readonly tokensCountedBy: "words" | "characters";
  /** Tokens that all prompts begin with. */
  readonly sharedPrefix: Count;
  /** Number that decides the words before the prompts of each arm and round; null: there are none. */
  readonly cacheBust: Count | null;
}

/** One scenario in one variant. */
export interface ScenarioResult {
  /** Name of the scenario. */
  readonly id: string;
  /** Title. */
  readonly title: string;
  /** What it isolates. */
  readonly isolates: string;
  /** Variant of the scenario, "1000 streams" for one of several; empty where there is one. */
  readonly variant: string;
  /** The question that it answers, in plain words and with the figures of the load as it was run; absent: an earlier run, or it names none. */
  readonly question?: string;
  /** The metric that answers the question, such as "ttft.p50"; absent: all that are compared do, by the rule in `answers.ts`. */
  readonly decides?: string;
  /** What the verdicts of this variant hold for, beside the load and the arms; absent: nothing more. */
  readonly conditions?: string;
  /** Its values in a sweep, by axis; absent: it is no point of one. */
  readonly point?: SweepPlace;
  /** The workload as it was run. */
  readonly workload: Readonly<Record<string, string | number | boolean | null>>;
  /** The prompts of a round; null: none were sent, or those of --body. Missing in results of earlier versions. */
  readonly prompts?: PromptsSent | null;
  /** Arms. */
  readonly arms: readonly ArmResult[];
  /** Comparisons. */
  readonly comparisons: readonly Comparison[];
  /** Claims. */
  readonly claims: readonly ClaimResult[];
  /** Unequal work that is no fault but what the experiment found, each in one line; absent: none. */
  readonly findings?: readonly string[];
  /** What a reader should know, each note in one line. */
  readonly notes: readonly string[];
  /** Why it was not run; null: it was. */
  readonly skipped: string | null;
}

/** The machine and its software. */
export interface Environment {
  /** Version of fakeai. */
  readonly fakeai: string;
  /** Version of Node. */
  readonly node: string;
  /** Operating system. */
  readonly os: string;
  /** Kernel. */
  readonly kernel: string;
  /** CPU model. */
  readonly cpu: string;
  /** Logical cores. */
  readonly cores: Count;
  /** Memory. */
  readonly memoryBytes: Bytes;
  /** Load average over 1, 5 and 15 minutes before the run: runnable processes. */
  readonly loadAverage: readonly Processes[];
  /** Whether server and load run on cores of their own. */
  readonly pinned: boolean;
  /** Version by engine. */
  readonly engines: Readonly<Record<string, string>>;
  /** Version by tool; null: missing. */
  readonly tools: Readonly<Record<string, string | null>>;
  /** What is loaded. */
  readonly target: string;
}

/** One load that calibration tried. */
export interface CalibrationRow {
  /** The protocol. */
  readonly protocol: ProtocolName;
  /** Streams at once. */
  readonly streams: Count;
  /** Tokens read per second while all streams ran. In files without `offeredTokensPerSecond`, what was offered. */
  readonly tokensPerSecond: PerSecond;
  /** Streams by the planned ITL: what the load would be, if all of it kept its plan at once. */
  readonly offeredTokensPerSecond?: PerSecond;
  /** Server lateness by stamps, 99th percentile. */
  readonly serverLatenessP99Us?: Microseconds;
  /** Measured over planned mean ITL, minus 1. */
  readonly itlError: Ratio;
  /** CPU time of the load process by elapsed time: 1 is one core. */
  readonly clientCpuShare: Ratio;
  /** Whether the mean ITL is within 5% of the plan, 90% of what was offered was read, and no request failed. */
  readonly ok: boolean;
  /** Who fell behind the plan; absent in files of earlier runs. */
  readonly behind?: readonly Behind[];
}

/** What this machine's generator reads with a mean ITL within 5% of the plan. A load beyond what was tried may measure the client. */
export interface Calibration {
  /** Loads tried. */
  readonly rows: readonly CalibrationRow[];
  /** Highest tokens per second that were read in a load that is ok, by protocol; 0: none is. */
  readonly limitTokensPerSecond: Readonly<Record<string, PerSecond>>;
}

/** What one arm has of a requirement. */
export interface RequirementValue {
  /** The scenario, with its variant. */
  readonly scenario: string;
  /** Id of the arm. */
  readonly arm: string;
  /** Value; null: not measured. */
  readonly value: InMetricUnit | null;
}

/** What became of a requirement. */
export type RequirementOutcome = "met" | "violated" | "not measured";

/** A requirement and whether it was met. */
export interface Requirement {
  /** As given. */
  readonly text: string;
  /** Met in every arm it means. */
  readonly met: boolean;
  /** violated: a value is beyond the limit; not measured: none is, and an arm that it means has no value; absent in files of earlier runs. */
  readonly outcome?: RequirementOutcome;
  /** What was measured. */
  readonly measured: readonly RequirementValue[];
}

/**
 * The whole of a bench run.
 * @title fakeai bench result
 */
export interface BenchResult {
  /** What this file is. */
  readonly kind: "fakeai.bench";
  /** Version of this schema. */
  readonly schemaVersion: 1;
  /** Suite: quick, full, or custom. */
  readonly suite: string;
  /** Command line as given, secrets left out. */
  readonly command: readonly string[];
  /** Seed of workloads and of the order of arms. */
  readonly seed: Seed;
  /** When it began, ISO 8601. */
  readonly startedAt: string;
  /** How long it took. */
  readonly durationS: Seconds;
  /** false: interrupted; what was measured is here. */
  readonly complete: boolean;
  /** Where it ran; of a merged result, the first run's. */
  readonly environment: Environment;
  /** Of a merged result: where every run in it ran. */
  readonly environments?: readonly Environment[];
  /** Which part of a load this is; absent: all of it. */
  readonly shard?: ShardPlace;
  /** The shards whose parts make up the load, which ran at once; absent: one process made it. */
  readonly shards?: ShardedRun;
  /** The generator's own limit; null: not calibrated. */
  readonly calibration: Calibration | null;
  /** Scenarios, one for each variant. */
  readonly scenarios: readonly ScenarioResult[];
  /** Sweeps, whose points are among the scenarios; absent: nothing was varied. */
  readonly sweeps?: readonly SweepResult[];
  /** What every figure is to be read with, each in one line, such as engines that differ beside protocols; absent: nothing. */
  readonly caveats?: readonly string[];
  /** Requirements. */
  readonly requirements: readonly Requirement[];
  /** Why the run may not be used, each reason in one line; empty: it may. */
  readonly invalid: readonly string[];
}
