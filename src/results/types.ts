/**
 * What a bench leaves behind: `result.json`. Units are in the field names or in a `unit` beside the value.
 * A metric that a driver cannot see is null, never 0.
 */

/** What a metric is measured in. Latencies are microseconds throughout; reports show milliseconds. */
export type Unit = "us" | "1/s" | "bytes" | "count" | "ratio";

/**
 * The metrics, named as the LLM benchmarks share them. Where they disagree, ours is:
 * - ttfe: start to first event. vLLM calls this TTFT.
 * - ttft: start to first event with non-empty content (llmperf, inference-perf, genai-perf).
 * - itl: every single gap between two content events (vLLM; aiperf and guidellm call their per-request mean ITL).
 * - tpot: (e2el - ttft) / (tokens - 1) per request, requests of one token left out (vLLM).
 * - e2el: start to last content event; usage and [DONE] excluded (vLLM, aiperf).
 * "Start" is when the request was handed to the socket; the `...FromIntended` twins count from the planned send time.
 */
export type DistributionMetric =
  | "ttfe"
  | "ttft"
  | "itl"
  | "tpot"
  | "e2el"
  | "ttftFromIntended"
  | "e2elFromIntended"
  /** Actual minus intended send time of an open-loop request. */
  | "scheduleDelay"
  /** Time to a usable connection: TCP, TLS and, on HTTP/2, the peer's SETTINGS. */
  | "connect"
  /** Per token, from stamps: handed to the transport minus due. */
  | "serverLateness"
  /** Per token, from stamps: handed to the transport to the client's read callback; an upper bound, the transport's queue included. */
  | "transport"
  /** Per token: read callback to the application having the token. */
  | "client"
  /** Per request, from stamps: time to first token as planned. */
  | "plannedTtft"
  /**
   * Per request, from the server's log: TTFT as the application sees it, without the server's part (request arrived to first
   * token handed to the transport).
   */
  | "ttftAdded"
  /** Per token, from the server's log: handed to the transport to the application having the token: `transport` and `client`. */
  | "tokenAdded";

/** One value per round. */
export type ScalarMetric =
  | "requestsPerSecond"
  | "tokensPerSecond"
  | "durationUs"
  /** User and system time of the server process over the round, divided. */
  | "serverCpuUsPerRequest"
  | "serverCpuUsPerToken"
  /** The same of the proxy that stands in front of the server. */
  | "gatewayCpuUsPerRequest"
  | "gatewayCpuUsPerToken"
  | "clientCpuUsPerRequest"
  | "clientCpuUsPerToken"
  /** On the wire as the socket counts them: HTTP framing, headers, TLS records included, TCP/IP excluded. */
  | "bytesReceivedPerRequest"
  | "bytesSentPerRequest"
  | "connectionsOpened"
  /** Most streams that were under way at one time, as the server saw them. */
  | "streamsAtOnce"
  /** Resident memory of the client with all streams open, minus before, by the number of streams. */
  | "clientRssBytesPerStream"
  /** Tokens per second that were offered when the client fell behind for good. */
  | "keepsUpTokensPerSecond"
  | "serverRssBytes"
  | "clientEventLoopDelayP99Us"
  | "serverEventLoopDelayP99Us"
  /** Streams that the server refused at its limit and that were asked for again. */
  | "streamsRefused"
  /** Requests that the client gave up on purpose. */
  | "requestsAborted"
  /** Measured mean ITL over the planned one, minus 1, without its sign. */
  | "itlError"
  /** HTTP bytes both ways, without TLS, by what they are for; the parts add up to the first. */
  | "wireBytesPerToken"
  | "dataBytesPerToken"
  | "framingBytesPerToken"
  | "headBytesPerToken"
  | "requestBytesPerToken"
  | "windowUpdateBytesPerToken"
  | "settingsBytesPerToken"
  | "pingBytesPerToken"
  | "otherFrameBytesPerToken";

export type MetricName = DistributionMetric | ScalarMetric;

/** Statistics of a metric. `histogram` is an HDR histogram (V2, compressed, base64) of whole `unit`s; null for scalars. */
export interface MetricSummary {
  readonly unit: Unit;
  readonly count: number;
  readonly mean: number;
  readonly std: number;
  readonly min: number;
  readonly p50: number;
  readonly p90: number;
  readonly p95: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
  readonly histogram: string | null;
}

/** A statistic of a metric, for comparisons and requirements: "ttft.p99", "requestsPerSecond.mean". */
export type Statistic = "mean" | "std" | "min" | "p50" | "p90" | "p95" | "p99" | "p999" | "max";

export type Metrics = Readonly<Partial<Record<MetricName, MetricSummary | null>>>;

export type ProtocolName = "h1" | "h1s" | "h2c" | "h2";

/** What happened to the requests of a round. sent = completed + failed + cut. */
export interface RequestCounts {
  readonly sent: number;
  readonly completed: number;
  readonly failed: number;
  /** Failures by reason: "status 503", "timeout", "reset", "incomplete stream", "refused". */
  readonly errors: Readonly<Record<string, number>>;
  /** Requests, completed or failed, whose answer names a fault on purpose (`x-fakeai-fault`); left out where none does or a driver cannot tell. */
  readonly faulted?: number;
  /** Requests that were under way when a ramp ended, and were left; left out where none was. */
  readonly cut?: number;
}

/** One arm in one round. The round is the unit of every comparison. */
export interface RoundResult {
  readonly round: number;
  /** Place in the round's order of arms, from 0. */
  readonly position: number;
  readonly startedAt: string;
  readonly requests: RequestCounts;
  readonly metrics: Metrics;
  /** Empty when the round may be used. */
  readonly invalid: readonly string[];
}

/** How one arm talks to the server. */
export interface ArmDescription {
  readonly id: string;
  readonly protocol: ProtocolName;
  readonly engine: "uws" | "node" | "external";
  /** "protocol": decides claims; "engine": another engine, shown apart and never in a verdict about a protocol. */
  readonly role: "protocol" | "engine";
  readonly driver: "stream" | "autocannon" | "h2load" | "client";
  /** What the client is, with its version, or a command; absent for our own drivers. */
  readonly client?: string;
  /** null: as many as the client thinks right. */
  readonly connections: number | null;
  /** Streams at once over all connections. */
  readonly streams: number;
}

export interface ArmResult extends ArmDescription {
  /** Application protocol as negotiated ("http/1.1", "h2", "h2c"), proven by the client; null where the driver cannot tell. */
  readonly negotiated: string | null;
  /** "TLSv1.3 TLS_AES_128_GCM_SHA256" or null on cleartext. */
  readonly cipher: string | null;
  readonly rttMs: number;
  readonly rounds: readonly RoundResult[];
  /** Over all valid rounds: histograms added; scalars over rounds. */
  readonly metrics: Metrics;
  /** Two-sided 95% interval over the rounds, by "metric.statistic". */
  readonly intervals: Readonly<Record<string, Interval>>;
  readonly invalid: readonly string[];
}

export interface Interval {
  readonly estimate: number;
  readonly low: number;
  readonly high: number;
}

export type Verdict = "faster" | "slower" | "equivalent" | "inconclusive" | "described" | "not compared";

/** Two arms in one metric, paired by round. */
export interface Comparison {
  readonly metric: MetricName;
  readonly statistic: Statistic;
  readonly baseline: string;
  readonly candidate: string;
  /**
   * Candidate over baseline: geometric mean of the paired ratios and its 95% interval, not widened for the number of
   * comparisons (`p` is). Null where nothing could be compared, and where a round's value is 0.
   */
  readonly ratio: Interval | null;
  /** Candidate minus baseline, in the metric's unit. */
  readonly difference: Interval | null;
  readonly rounds: number;
  readonly method: "t" | "bootstrap" | null;
  /** Two-sided p before any adjustment: what the interval alone says. */
  readonly pRaw: number | null;
  /** Two-sided p, after Holm over the suite's comparisons of this kind. */
  readonly p: number | null;
  /** Relative effect that matters, and for latencies the absolute one in microseconds. */
  readonly smallestEffect: { readonly ratio: number; readonly us: number | null };
  /** "faster" means better: a lower latency, a higher rate, fewer bytes, less CPU. */
  readonly verdict: Verdict;
  /** Why there is no verdict. */
  readonly reason: string | null;
  /** Engine effects are shown apart, and what clients differ in. */
  readonly kind: "protocol" | "engine" | "client";
  /**
   * Shown with its interval beside the metrics that decide, which a scenario names before it is run: no verdict, and no
   * member of the family that Holm's adjustment runs over.
   */
  readonly described?: boolean;
}

export type ClaimVerdict = "reproduced" | "refuted" | "inconclusive" | "not compared";

export interface Claim {
  readonly text: string;
  readonly source: string;
  /** The claimed gain of the candidate as a relative improvement: 0.2 for "20% faster". */
  readonly gain: number;
}

export interface ClaimResult extends Claim {
  readonly comparison: Comparison | null;
  /** The measured gain as a relative improvement. */
  readonly measured: Interval | null;
  readonly verdict: ClaimVerdict;
  readonly reason: string | null;
}

export interface ScenarioResult {
  readonly id: string;
  readonly title: string;
  readonly isolates: string;
  /** Variant of the scenario, "1000 streams" for one of several; empty when there is one. */
  readonly variant: string;
  /** The workload as it was run. */
  readonly workload: Readonly<Record<string, string | number | boolean | null>>;
  readonly arms: readonly ArmResult[];
  readonly comparisons: readonly Comparison[];
  readonly claims: readonly ClaimResult[];
  readonly notes: readonly string[];
  /** Why it was not run, or null. */
  readonly skipped: string | null;
}

export interface Environment {
  readonly fakeai: string;
  readonly node: string;
  readonly os: string;
  readonly kernel: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly loadAverage: readonly number[];
  /** Whether server and load run on cores of their own. */
  readonly pinned: boolean;
  readonly engines: Readonly<Record<string, string>>;
  /** Versions of tools, null where missing. */
  readonly tools: Readonly<Record<string, string | null>>;
  readonly target: string;
}

/** The load that this machine's generator reproduces within 5%: beyond it a run measures the client. */
export interface Calibration {
  readonly rows: readonly {
    readonly protocol: ProtocolName;
    readonly streams: number;
    readonly tokensPerSecond: number;
    /** Measured over planned mean ITL, minus 1. */
    readonly itlError: number;
    readonly clientCpuShare: number;
    readonly ok: boolean;
  }[];
  /** Highest tokens per second that were reproduced, by protocol. */
  readonly limitTokensPerSecond: Readonly<Partial<Record<ProtocolName, number>>>;
}

export interface Requirement {
  readonly text: string;
  readonly met: boolean;
  readonly measured: readonly { readonly scenario: string; readonly arm: string; readonly value: number | null }[];
}

/** The whole of a bench run. */
export interface BenchResult {
  readonly kind: "fakeai.bench";
  readonly schemaVersion: 1;
  readonly suite: string;
  readonly command: readonly string[];
  readonly seed: number;
  readonly startedAt: string;
  readonly durationS: number;
  /** false: interrupted; what was measured is here. */
  readonly complete: boolean;
  readonly environment: Environment;
  /** Of a merged result: the environment of every run in it. */
  readonly environments?: readonly Environment[];
  readonly calibration: Calibration | null;
  readonly scenarios: readonly ScenarioResult[];
  readonly requirements: readonly Requirement[];
  /** Empty when every run is valid. */
  readonly invalid: readonly string[];
}
