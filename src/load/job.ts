/** The job of a loader process, and its report. Plain JSON: both cross a process border. */
import type { Pauses } from "../base/pauses.ts";
import type { Encoding } from "../base/encodings.ts";
import { defaultWindow, type ReceiveWindows } from "../wire/h2/windows.ts";
import type { SessionTurn } from "./conversations.ts";
import type { GeneratedPrompt } from "./prompts.ts";
import type { SloTerm } from "../results/slo.ts";
import type {
  Metrics,
  ProtocolName,
  RequestCounts,
  RunSlices,
  RunTotals,
  ServerClockFit,
  ServerRound,
  SessionsRound,
  Work,
} from "../results/types.ts";

/** How TLS is spoken. It is pinned so that arms differ by their protocol alone. */
export interface TlsChoice {
  /** PEM text of the trusted certificates; null: those of the system. */
  readonly ca: string | null;
  readonly insecure: boolean;
  /** OpenSSL name of the one cipher suite; null: client and server negotiate. */
  readonly cipher: string | null;
}

/** Where requests go. */
export interface Endpoint {
  /** Origin: "http://127.0.0.1:8000". */
  readonly origin: string;
  readonly protocol: ProtocolName;
  readonly path: string;
  readonly method: "GET" | "POST";
  readonly headers: Readonly<Record<string, string>>;
  /** HTTP/2: the most that our HPACK encoder keeps, where the server allows as much. Default: 4,096 bytes, the protocol's. */
  readonly headerTableBytes?: number;
  /** WebSocket: responses under way at once on a connection, which is as many lanes; default: 16, as OpenAI makes them. */
  readonly lanes?: number;
  /** WebSocket: compression is offered (permessage-deflate); default false. */
  readonly deflates?: boolean;
  readonly tls: TlsChoice;
  /** Addresses of one service, "10.0.0.1" or "10.0.0.1:8000": connections are dealt to them in turn. Default: the origin's. */
  readonly hosts?: readonly string[];
  /** Which of them the first connection goes to, and by how many the next is further; default 0 and 1. Shards deal together. */
  readonly hostsFrom?: { readonly first: number; readonly step: number };
}

/** An answer as it was recorded: another one has failed. */
export interface RecordedAnswer {
  readonly status: number;
  /** Bytes of its body, with the stamps that our server adds. */
  readonly bodyBytes: number;
  /** Whether it breaks off in place of an end. */
  readonly isCut: boolean;
}

/** One request: what is sent and when. */
export interface PlannedRequest {
  /** Its number in the load, where the job is a part of it; default: its place in the job. */
  readonly index?: number;
  /** Body; empty for GET. */
  readonly body: string;
  /** Body that is no text, in place of `body`. */
  readonly bytes?: Uint8Array;
  /** Words that are put into the body when it is sent. */
  readonly prompt?: GeneratedPrompt;
  /** Path, where it differs from the endpoint's. */
  readonly path?: string;
  /** Upper case, where it differs from the endpoint's. */
  readonly method?: string;
  /** Open loop: microseconds after the start of the round. Of a request with `after`: not before. */
  readonly atUs?: number;
  /** The next turn of a conversation: it leaves when the request of this index, which is smaller, has ended. */
  readonly after?: number;
  /** With `after`: microseconds between that end and this request. */
  readonly delayUs?: number;
  /** With `after`: further requests, with smaller indices, that have to have ended too. */
  readonly joins?: readonly number[];
  /** A turn of a session: its history goes into the body when it is sent, and where it fails the rest of its session is not sent. */
  readonly turn?: SessionTurn;
  /** Tokens of a right answer; null: not known beforehand. */
  readonly tokens: number | null;
  /** Tokens that are asked for at most, where no exact number is ordered. */
  readonly maxTokens?: number;
  /** What is expected, in place of tokens. */
  readonly recorded?: RecordedAnswer;
  /** Whether a streamed answer is expected, where it differs from the job's. */
  readonly stream?: boolean;
  /** Sent with this request alone, names in lower case, in place of the endpoint's of the same name. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The request is given up after this many content events: by RST_STREAM; on HTTP/1.1 and WebSocket by closing the connection. */
  readonly abortAfter?: number;
}

/** Streams beside the measured ones, on the same connections where the protocol multiplexes. No metric contains them. */
export interface BackgroundLoad {
  /** One for each stream; sent again after each answer. */
  readonly requests: readonly PlannedRequest[];
  /** Answers are left unread for this many milliseconds; Infinity: for the whole run. Default: read as they come. */
  readonly unreadMs?: number;
}

/**
 * Default receive windows, bytes: the protocol's for a stream; httpcore's for a connection, which the OpenAI SDK for Python
 * uses. With the protocol's 65,535 for a connection, some hundred token streams stop and wait for it: the window is then
 * what is measured.
 */
export const defaultWindows: ReceiveWindows = { streamBytes: defaultWindow, connectionBytes: 16_777_216 };

/**
 * A load: what every driver is given. TLS sessions are never resumed: on every protocol each connection costs a full
 * handshake.
 */
export interface LoadJob {
  readonly endpoint: Endpoint;
  /** Connections to open. With "new", one for each request instead; with "grow", opened when needed, up to this many. */
  readonly connections: number;
  readonly reuse: "keep" | "new" | "grow";
  /** Requests in flight at once: the concurrency of a closed loop, the bound of an open one. */
  readonly streams: number;
  /** Closed loop: conversations at once, where each may have several requests under way; default `streams`. */
  readonly slots?: number;
  readonly mode: "closed" | "open";
  /** Sent first and thrown away. */
  readonly warmup: readonly PlannedRequest[];
  readonly requests: readonly PlannedRequest[];
  /** Sessions: JSON of the tools that every turn offers; default: none. */
  readonly tools?: string;
  /**
   * Closed loop: the first requests of the slots leave evenly over this long, so that streams do not run in step.
   * Default 0: all at once.
   */
  readonly rampUs?: number;
  /** Closed loop: the first slot's request leaves so many microseconds later; default 0. Shards share one ramp. */
  readonly rampFromUs?: number;
  /** Requests that leave in so many microseconds after the start are in no figure; default 0. */
  readonly rampUpUs?: number;
  /** Requests that leave in so many microseconds before the last one does are in no figure; default 0. */
  readonly coolDownUs?: number;
  /** What each request is held against, for the goodput; default: nothing. */
  readonly slo?: readonly SloTerm[];
  /** The run is given up once more requests than this have failed; default: never. */
  readonly maxErrors?: number;
  /** HTTP/2 receive windows; null and the default: `defaultWindows`. */
  readonly windows?: ReceiveWindows | null;
  /** HTTP/1.1: requests on a connection before the first is answered; default 1. */
  readonly pipelining?: number;
  /**
   * What happens where a server takes fewer streams on a connection than the load needs. "invalid", the default: the others
   * wait in the client, and the run is invalid. "queue": they wait, and the run counts. "race": requests leave before the
   * server's SETTINGS come; those that the server refuses are sent again, within its limit.
   */
  readonly atStreamLimit?: "invalid" | "queue" | "race";
  readonly background?: BackgroundLoad;
  /**
   * A gateway stands in front of the server. Answers that it gathers into one read keep their TTFT and ITL, since that is what
   * its users see; of other answers without stamps these are not told.
   */
  readonly gateway?: boolean;
  /** A request without a byte for this long has failed. */
  readonly idleTimeoutMs: number;
  /** A request that has not ended this long after it was sent has failed, however many bytes came. */
  readonly requestTimeoutMs: number;
  /** Whether a streamed answer is expected. */
  readonly stream: boolean;
  /** Keep every token's time: for the per-request export. */
  readonly detail: boolean;
  /** Counts the text of answers in this encoding, where they send no usage; null and the default: nothing does. */
  readonly tokenizer?: Encoding | null;
  /** The name of the clock (`x-fakeai-clock`) that this process shares; stamps of another are not used. */
  readonly clock: string | null;
  /** Path of `GET /health/clock` of a server with another clock; absent: it has ours, or none that it tells. */
  readonly clockPath?: string;
}

/** One request as it was seen, microseconds of the monotonic clock. */
export interface RequestDetail {
  readonly index: number;
  readonly intendedUs: number | null;
  readonly startUs: number;
  readonly status: number | null;
  readonly error: string | null;
  /** What more is known of the failure, in the server's words where it gave some; null: nothing, or none failed. */
  readonly words: string | null;
  readonly tokens: number;
  /** What `tokens` are: tokens by usage, or content events; null: the answer says nothing of either. */
  readonly tokensCountedBy: "usage" | "events" | null;
  readonly firstEventUs: number | null;
  readonly tokenUs: readonly number[];
  readonly dueUs: readonly number[];
  readonly sentUs: readonly number[];
  /** Tokens of the prompt, and those that the server had cached; null: the answer does not say. */
  readonly inputTokens: number | null;
  readonly cachedTokens: number | null;
  /** Of a session: which, which of its agents, and the agent's how many-eth turn, from 0; null: it is of none. */
  readonly turn: { readonly session: number; readonly agent: number; readonly turn: number } | null;
  /** Bytes on the socket for it alone, heads and framing included; null: others shared its connection, or it is of no session. */
  readonly bytesSent: number | null;
  readonly bytesReceived: number | null;
}

/** How fast tokens came, and how fast they were planned to: over the answers of a run that were streamed to their end. */
export interface PaceFacts {
  /** Answers with a first and a last token. */
  readonly answers: number;
  /** Tokens per second while all streams ran, or, where they never all did, from the first token of all to the last; null: no time passed. */
  readonly flowTokensPerSecond: number | null;
  /** Microseconds from sending a request to its last token, summed over all answers. */
  readonly measuredUs: number;
  /** Microseconds from the first token to the last as the stamps plan it, summed. */
  readonly plannedGapsUs: number;
  /** Microseconds from sending a request to its first token as planned, summed: what it waited before the server read it is in it. */
  readonly plannedTtftUs: number;
}

/** What a driver saw. A value that a driver cannot see is null (or left out of `metrics`), never 0. */
export interface LoadReport {
  readonly requests: RequestCounts;
  readonly metrics: Metrics;
  /** Output tokens read; null where the driver cannot tell. */
  readonly tokens: number | null;
  /** What the answers held; null where the driver cannot tell. */
  readonly work: Work | null;
  /** How fast tokens came beside their plan; null where the driver cannot tell, or no answer carries stamps. */
  readonly pace: PaceFacts | null;
  /** The sums behind the scalars; absent: a driver that cannot tell them. */
  readonly totals?: RunTotals;
  readonly durationUs: number;
  /** Monotonic microseconds at which the measured part began and ended. */
  readonly startedUs: number;
  readonly endedUs: number;
  /** What ALPN, the first response or a handshake proved: "http/1.1", "h2", "h2c", "websocket". */
  readonly negotiated: readonly string[];
  readonly cipher: string | null;
  readonly connectionsOpened: number | null;
  /** Connections that the other end closed, or that broke. */
  readonly connectionsLost: number | null;
  /** Open loop: requests that waited because `streams` were under way; null in a closed loop. */
  readonly heldBack: number | null;
  /** HTTP/2 flow-control windows in bytes: stream and connection, ours and the peer's; null on HTTP/1.1. */
  readonly windows: { readonly localStream: number; readonly localConnection: number; readonly remoteStream: number } | null;
  /** The peer's SETTINGS_MAX_CONCURRENT_STREAMS; null on HTTP/1.1. */
  readonly maxConcurrentStreams: number | null;
  /** Share of one core that this process used, 0 to 1 and above. */
  readonly clientCpuShare: number | null;
  /** Why the figures may not be used, beside failed requests. */
  readonly invalid: readonly string[];
  readonly details: readonly RequestDetail[];
  /** How the run went; absent where a driver cannot tell, or it was too short. */
  readonly slices?: RunSlices;
  /** The clock of a server on another host; absent: it was not asked for. */
  readonly clock?: ServerClockFit;
  /** What came from each address, where the endpoint names several; absent: it does not. */
  readonly servers?: readonly ServerRound[];
  /** Its sessions; absent: the load has none. */
  readonly sessions?: SessionsRound;
  /** When the generator did not run though it could have; absent where a tool does not say. */
  readonly pauses?: Pauses;
}

export type DriverName = "stream" | "autocannon" | "h2load";

/** How one run of a driver is attended. */
export interface RunOptions {
  readonly signal: AbortSignal;
  /** Core the load is pinned to; null: wherever the system puts it. */
  readonly cpu: number | null;
  /** Called when the measured part, without the warm-up, begins and ends: the server's CPU time is read then. */
  readonly onPhase: (phase: "begin" | "end") => void;
  /**
   * Called when connections are open and warm. The load begins at the instant of the monotonic clock that it resolves with; where it
   * rejects, the run ends with that error. Absent: the load begins at once. Only our own generator waits.
   */
  readonly meet?: () => Promise<number>;
  /** Called from time to time with the number of requests done, for the progress line. */
  readonly onProgress: (done: number) => void;
}

/** A generator of load. Never imports the server that it loads. */
export interface LoadDriver {
  readonly name: DriverName;
  /** Process of the load, where it is known before a run; null: not yet, or one for each run. */
  readonly pid: number | null;
  /** true, or in one line why this driver cannot run the job, or would run it wrongly. */
  supports(job: LoadJob): true | string;
  /** Rejects only where nothing could be measured at all (the tool is missing); all else is in the report. */
  run(job: LoadJob, options: RunOptions): Promise<LoadReport>;
  /** Ends processes that are kept between runs. */
  close(): Promise<void>;
}
