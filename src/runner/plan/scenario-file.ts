/**
 * A scenario as its file says it: one experiment as data.
 *
 * This file is the only description of its shape. `scenarios/schema.json` is made of it by `npm run generate`: comments become
 * descriptions and tags ranges, and a member that is not here is refused. What a file leaves out is in `defaultWorkload` and
 * `armOf`; what types cannot say, such as that a pair names arms that exist, `checkScenario` checks.
 */
import type { History } from "../../load/conversations.ts";
import type { DriverName } from "../../load/job.ts";
import type { GatewayName } from "../../network/gateways/catalogue.ts";
import type { NetworkInput } from "../../network/impairment.ts";
import type { MetricName, ProtocolName, Statistic, WorkPart } from "../../results/types.ts";
import type { ReceiveWindows } from "../../wire/h2/windows.ts";
import type { SuiteName } from "../../settings/bench.ts";
import type { ViaSpec } from "../processes/gateway.ts";

// Texts and numbers with their ranges. They are not exported, so that the schema has each in its place.

/** @minLength 1 */
type Text = string;
/**
 * @minLength 1
 * @maxLength 60
 */
type Question = string;
/** @pattern ^[a-z0-9-]{1,40}$ */
type Id = string;
/** @pattern ^/ */
type Path = string;
/**
 * @asType integer
 * @minimum 1
 * @maximum 1000000
 */
type Tokens = number;
/**
 * @asType integer
 * @minimum 5
 * @maximum 1000
 */
type Rounds = number;
/**
 * @asType integer
 * @minimum 1
 * @maximum 1000
 */
type Times = number;
/**
 * @asType integer
 * @minimum 1
 * @maximum 100000
 */
type Connections = number;
/**
 * @minimum 0
 * @maximum 3600000
 */
type Milliseconds = number;
/** @exclusiveMinimum 0 */
type Positive = number;
/**
 * @asType integer
 * @minimum 1
 */
type PositiveInteger = number;
/**
 * @minimum 0
 * @minLength 1
 */
type Latency = number | string;

/**
 * @minimum 0
 * @minLength 1
 */
type CountOrNone = number | string;

/** Measured where clients are compared, and in no scenario. */
type ClientMetric = "ttftAdded" | "tokenAdded" | "streamsAtOnce" | "clientRssBytesPerStream" | "keepsUpTokensPerSecond";

/** A metric and its statistic: "ttft.p99". */
export type MetricText = `${Exclude<MetricName, ClientMetric>}.${Statistic}`;

/** One call of a page: `count` of them go out at once with all others. */
export interface PageCall {
  /** Calls of this kind. */
  readonly count: Times;
  /** Method of the request. */
  readonly method: "GET" | "POST";
  /** Path of the request. */
  readonly path: Path;
  /** Tokens of the answer to a POST. */
  readonly outputTokens?: Tokens;
}

/** Settings of our own server that differ from its defaults. With --url the scenario is refused. */
export interface ServerSettings {
  /**
   * Streams on one HTTP/2 connection; by default as many as the workload has.
   * @asType integer
   * @minimum 1
   * @maximum 1000000
   */
  readonly maxConcurrentStreams?: number;
  /**
   * HTTP/2: HPACK's table for request headers (SETTINGS_HEADER_TABLE_SIZE), bytes; 4,096 unless said.
   * @asType integer
   * @minimum 0
   * @maximum 1048576
   */
  readonly headerTableBytes?: number;
  /**
   * Flags of its batched scheduler, by their names; the workload's ttft and itl are then rough guesses for the bench alone.
   * @propertyNames { "pattern": "^[a-z-]+$" }
   */
  readonly batching?: Readonly<Record<string, string | number>>;
}

/** Streams beside the measured ones, on the same connections where these carry several. They are in no metric. */
export interface BackgroundSpec {
  /**
   * Streams at once.
   * @asType integer
   * @minimum 1
   * @maximum 10000
   */
  readonly streams: number;
  /** Tokens of each answer. */
  readonly outputTokens: Tokens;
  /** Inter-token latency of our own server, as the workload's. */
  readonly itl: Latency;
  /** Milliseconds in which nothing of them is read, or "never" until the load ends. Without it they are read as they come. */
  readonly unreadMs?: Milliseconds | "never";
}

/** Requests that the client gives up: by RST_STREAM on HTTP/2, by closing the connection on HTTP/1.1. They count as completed. */
export interface AbortSpec {
  /**
   * Share of all requests, spread evenly.
   * @exclusiveMinimum 0
   * @maximum 1
   */
  readonly share: number;
  /** Content events that are read first. */
  readonly afterTokens: Tokens;
}

/** Arrivals and lengths out of a file. Where it has no times, its requests run in a closed loop. */
export interface TraceSpec {
  /** A path, or the name of a file in scenarios/traces. */
  readonly file: Text;
  /** Times as fast as recorded. */
  readonly speed: Positive;
  /** Seconds of the trace that are replayed; null: all. */
  readonly seconds: Positive | null;
  /** Requests of the trace that are replayed; null: all. */
  readonly limit: PositiveInteger | null;
  /** What a plain number among its times means; that of its format unless said. */
  readonly unit?: "s" | "ms" | "us";
  /** Tokens of a block in its hash_ids; that of its format unless said. */
  readonly blockTokens?: Tokens;
  /** Tokens of every prompt, in place of those recorded: a number or a distribution. */
  readonly inputTokens?: Tokens | Text;
  /** Tokens of every answer, in place of those recorded. */
  readonly outputTokens?: Tokens;
}

/** Prompts out of a file. */
export interface DatasetSpec {
  /** A path. */
  readonly file: Text;
  /** Tokens of every answer, in place of those that the file says. */
  readonly outputTokens?: Tokens;
}

/** Sub-agents that the last call before an answer sends out, all at once; the answer waits for the last of them. */
export interface SubAgents {
  /**
   * How many.
   * @asType integer
   * @minimum 1
   * @maximum 64
   */
  readonly count: number;
  /** Calls of tools that each makes before its own answer: a number, or a distribution; none unless said. */
  readonly calls?: CountOrNone;
  /** Tokens that each begins with; addedTokens unless said. */
  readonly inputTokens?: Tokens | Text;
}

/**
 * Sessions of agents: a user asks, the agent calls tools, answers, and is asked again. `requests` are then sessions, `streams`
 * those at once, and `inputTokens` what the first question says.
 */
export interface SessionSpec {
  /** Questions of a session: a number, or a distribution such as "uniform(2,8)". */
  readonly turns: Tokens | Text;
  /** Milliseconds before each question after the first: a number, or a distribution as --ttft takes it; none unless said. */
  readonly thinkTime?: Latency;
  /** Calls of tools before each answer: a number, or a distribution; none unless said. */
  readonly calls?: CountOrNone;
  /** Milliseconds that a tool takes; none unless said. */
  readonly toolTime?: Latency;
  /** Tokens of each result of a tool, and of each question after the first; 64 unless said. */
  readonly addedTokens?: Tokens | Text;
  /** Tokens of the tools' definitions, about, which every request of a session with calls has; 100 unless said. */
  readonly toolTokens?: Tokens;
  /** Sub-agents; none unless said. */
  readonly agents?: SubAgents;
}

/** What is asked of the server, the same in every arm. */
export interface WorkloadFile {
  /** Method of the requests. */
  readonly method?: "GET" | "POST";
  /** Path of the requests. */
  readonly path?: Path;
  /** Whether answers are streamed. */
  readonly stream?: boolean;
  /** Time to first token of our own server: milliseconds, or a distribution as `fakeai serve --ttft` takes it: "lognormal(200,0.5)". */
  readonly ttft?: Latency;
  /** Inter-token latency of our own server, in the same forms. */
  readonly itl?: Latency;
  /** Tokens of an event of our own server; one unless said. */
  readonly tokensPerChunk?: Times;
  /** Tokens of each prompt: a number, or a distribution as --input-tokens takes it: "lognormal(512,0.5)". */
  readonly inputTokens?: Tokens | Text;
  /** Tokens before each prompt that are the same in all. */
  readonly sharedPrefix?: Tokens;
  /** Prompts of each arm and round begin with words of their own, so that no arm finds those of another in the server's cache. */
  readonly cacheBust?: boolean;
  /** Prompts out of a file, in place of words. */
  readonly dataset?: DatasetSpec;
  /** Tokens of each answer. */
  readonly outputTokens?: Tokens;
  /** closed: a request follows an answer. open: requests leave on a schedule, whatever the answers do. */
  readonly mode?: "closed" | "open";
  /** Requests in flight at once; in an open loop their bound. */
  readonly streams?: Connections;
  /**
   * Closed loop, milliseconds: the first requests leave evenly over this long, so that streams do not run in step; 0: all at once.
   * @minimum 0
   * @maximum 60000
   */
  readonly rampMs?: number;
  /**
   * Requests of a round.
   * @asType integer
   * @minimum 1
   * @maximum 10000000
   */
  readonly requests?: number;
  /**
   * Requests before each round that are thrown away.
   * @asType integer
   * @minimum 0
   * @maximum 1000000
   */
  readonly warmup?: number;
  /** Requests per second of an open loop. */
  readonly rate?: Positive;
  /**
   * The rate as a share of what the first arm manages in a closed loop, measured before the rounds.
   * @exclusiveMinimum 0
   * @maximum 10
   */
  readonly rateOfCapacity?: number;
  /** How requests of an open loop are spaced. */
  readonly arrivals?: "constant" | "poisson";
  /**
   * Extra bytes of request headers, as cookies and tracing put there.
   * @asType integer
   * @minimum 0
   * @maximum 16000
   */
  readonly headerBytes?: number;
  /** Whether the extra bytes differ from request to request, as signatures and trace ids do; by default they are the same. */
  readonly headerBytesDiffer?: boolean;
  /**
   * Milliseconds, short for network.rtt.
   * @minimum 0
   * @maximum 10000
   */
  readonly rttMs?: number;
  /** What is put between client and server. A variant overrides the scenario setting by setting. */
  readonly network?: NetworkInput;
  /** Times that the load is run in a round, each on new connections; the round's wall time is their mean. */
  readonly repeat?: Times;
  /** What the client has to do (handshakes) is part of what is compared: a generator that uses its whole core for it is no fault. */
  readonly clientWork?: boolean;
  /**
   * A page of calls in place of `requests` equal ones.
   * @minItems 1
   */
  readonly page?: readonly PageCall[];
  /** A trace in place of `requests` equal ones. */
  readonly trace?: TraceSpec;
  /** Sessions of agents in place of `requests` equal ones. */
  readonly session?: SessionSpec;
  /**
   * Asks for the usage at the end of a stream; true unless said. Without it events are counted, and nothing is said of tokens.
   */
  readonly includeUsage?: boolean;
  /** Settings of our own server. */
  readonly server?: ServerSettings;
  /** Requests that the client gives up. */
  readonly abort?: AbortSpec;
  /** Long answers beside the measured ones. */
  readonly background?: BackgroundSpec;
}

/** HTTP/2: our receive windows. Default 65,535 for a stream and 16,777,216 for a connection. */
export interface WindowsFile extends ReceiveWindows {
  /**
   * Bytes of a stream's window.
   * @asType integer
   * @minimum 1
   * @maximum 2147483647
   */
  readonly streamBytes: number;
  /**
   * Bytes of a connection's window.
   * @asType integer
   * @minimum 65535
   * @maximum 2147483647
   */
  readonly connectionBytes: number;
  /**
   * When a byte no longer counts against the connection's window. arrival: when it has come; read: when the reader of its
   * stream has taken it. arrival unless said.
   */
  readonly connectionCredit?: "arrival" | "read";
}

/** A proxy that ends the arm's protocol in front of the server, which then speaks h1. */
export interface ViaFile extends ViaSpec {
  /** Which one. */
  readonly proxy: GatewayName;
}

/** One way of doing the workload. */
export interface ArmFile {
  /** Name within the scenario. */
  readonly id: Id;
  /** What the client speaks. */
  readonly protocol: ProtocolName;
  /** Engine of the server; node unless said. uws is for HTTP/1.1, own for HTTP/2, quiche for h3. */
  readonly engine?: "node" | "uws" | "own" | "quiche";
  /** engine: shown apart, never in a verdict about a protocol. */
  readonly role?: "protocol" | "engine";
  /** What generates the load. */
  readonly driver?: DriverName;
  /** Connections that carry the streams; "streams": one for each. */
  readonly connections: Connections | "streams";
  /** new: a connection for each request; grow: opened when needed. */
  readonly reuse?: "keep" | "new" | "grow";
  /**
   * Sessions: how a turn says what was said before. full: it sends all of it. previous: it names the response before it, as the
   * Responses API takes it. full unless said.
   */
  readonly history?: History;
  /** Sent with every request of this arm, over the others. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent with the streams beside the measured ones, over all others; names in lower case. */
  readonly backgroundHeaders?: Readonly<Record<string, string>>;
  /** HTTP/2: our receive windows. */
  readonly windows?: WindowsFile;
  /**
   * HTTP/2: the most that our HPACK encoder keeps of the request headers, bytes, where the server allows as much; 4,096 unless
   * said.
   * @asType integer
   * @minimum 0
   * @maximum 1048576
   */
  readonly headerTableBytes?: number;
  /** WebSocket: messages are compressed (permessage-deflate), at both ends. */
  readonly deflates?: boolean;
  /** HTTP/1.1: requests on a connection before the first is answered. */
  readonly pipelining?: Times;
  /**
   * HTTP/2, where the server takes fewer streams than the workload has. queue: requests wait in the client; race: they leave
   * before the server's SETTINGS have come, and those that it refuses are sent again. Unless said, such a run is invalid.
   * With reuse grow further connections are opened.
   */
  readonly atStreamLimit?: "queue" | "race";
  /** Setting by setting over the workload's. */
  readonly network?: NetworkInput;
  /** A proxy in front of the server: a name, or with settings. */
  readonly via?: GatewayName | ViaFile;
}

/** Two arms that are compared, by their ids. */
export interface PairFile {
  /** The arm compared with. */
  readonly baseline: string;
  /** The arm compared. */
  readonly candidate: string;
  /** What differs between them; protocol unless said. */
  readonly kind?: "protocol" | "engine";
  /**
   * What decides about this pair, in place of the scenario's metrics.
   * @minItems 1
   */
  readonly metrics?: readonly MetricText[];
}

/** A claim that the scenario tests. */
export interface ClaimFile {
  /** The claim, in the words of those who make it. */
  readonly text: Text;
  /** Who makes it. */
  readonly source: Text;
  /** The claimed relative gain at its lower end: 0.2 for 20% faster. */
  readonly gain: Positive;
  /**
   * Why this gain. The rule: reproduced if the measured interval lies at or above it, refuted if its upper end is below, else
   * inconclusive.
   */
  readonly threshold: Text;
  /**
   * What it is tested with, as a phrase: "a client without connections, full handshakes". The verdict says it. What a report
   * knows of the load is not repeated: protocols, TLS, round trip, streams, pace, tokens, stalls.
   */
  readonly conditions: Text;
  /** What the claim is about. */
  readonly metric: MetricText;
  /** Id of the arm compared with. */
  readonly baseline: string;
  /** Id of the arm of which the claim says that it is better. */
  readonly candidate: string;
  /** Where the claim is tested; everywhere unless said. */
  readonly variants?: readonly string[];
}

/**
 * One variant: the scenario, changed in what is said here.
 * @dependentRequired { "described": ["metrics"] }
 */
export interface VariantFile {
  /** What it is called: "1000 streams". */
  readonly name: string;
  /** In place of the scenario's question. */
  readonly question?: Question;
  /** In place of the scenario's decides. */
  readonly decides?: MetricText;
  /** What its verdicts hold for, as a phrase, and with them those of the claims; what a report knows of the load is not repeated. */
  readonly conditions?: Text;
  /** Suites that it belongs to; none: it is run by the scenario's name alone. */
  readonly suites: readonly SuiteName[];
  /** Member by member over the scenario's. */
  readonly workload?: WorkloadFile;
  /**
   * Ids of the arms that are run; all unless said.
   * @minItems 1
   */
  readonly arms?: readonly string[];
  /**
   * In place of the scenario's metrics and described.
   * @minItems 1
   */
  readonly metrics?: readonly MetricText[];
  /**
   * In place of the scenario's, and only with metrics.
   * @minItems 1
   */
  readonly described?: readonly MetricText[];
  /** Rounds; those of the scenario unless said. */
  readonly rounds?: Rounds;
}

/**
 * A scenario.
 * @title A fakeai scenario
 */
export interface ScenarioFile {
  /** For editors. */
  readonly $schema?: string;
  /** Name of the scenario: that of its file. */
  readonly id: Id;
  /** Title for people. */
  readonly title: Text;
  /**
   * The question that each pair answers, in a few plain words: "{streams} paced streams". A workload's number stands in braces
   * by its name, and {variant} for the variant's name, so that the words are those of the load as it was run. Without {variant}
   * it is added for a scenario with several, unless the variant has a question of its own.
   */
  readonly question?: Question;
  /** The metric that answers it, one of the metrics; unless said all of them do. */
  readonly decides?: MetricText;
  /** What differs between the arms, and what does not. */
  readonly isolates: Text;
  /** What is asked of the server. */
  readonly workload: WorkloadFile;
  /**
   * Ways of doing it, which are compared.
   * @minItems 1
   */
  readonly arms: readonly ArmFile[];
  /**
   * What decides, settled before the run. Each gets a verdict, and all of a suite share one Holm family.
   * @minItems 1
   */
  readonly metrics: readonly MetricText[];
  /**
   * What is shown beside them with an interval and without a verdict, for pairs without metrics of their own.
   * @minItems 1
   */
  readonly described?: readonly MetricText[];
  /**
   * What the arms' work may differ in, because the scenario varies it on purpose: tokens or events of an answer, bytes of its
   * content, its finish reason, or whether it comes in one read. Arms that differ in anything else are not compared, and the
   * run is invalid.
   * @minItems 1
   * @uniqueItems
   */
  readonly varies?: readonly WorkPart[];
  /** Pairs of arms that are compared. */
  readonly compare: readonly PairFile[];
  /** Claims that it tests. */
  readonly claims?: readonly ClaimFile[];
  /** Rounds of each variant; 5 unless said. */
  readonly rounds?: Rounds;
  /**
   * What is run, each a change of the scenario.
   * @minItems 1
   */
  readonly variants: readonly VariantFile[];
}
