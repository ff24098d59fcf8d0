/** What a server can be told, typed for users of the library. The flags' table in server.ts has a row for each. */
import type { Encoding } from "../base/encodings.ts";
import type { TimerMode } from "../base/clock.ts";
import type { H1Engine, H2Engine } from "../core/seams.ts";
import type { ProfileName } from "../api/shared/model-settings.ts";
import type { GivenReplies } from "./replies.ts";

export type { Encoding };

export type SchedulerName = "independent" | "batched";

/** Every flag of `fakeai serve`, typed. A spec is a number of milliseconds (tokens) or a text such as "lognormal(20,0.5)". */
export interface ServerOptions extends SchedulerOptions {
  /** Any of h1, h1s, h2c, h2, h3, ws, wss, each with an optional port: "h1:8000,h2:8443" or ["h1", "ws", "h2c:0"]. */
  readonly protocol?: string | readonly string[];
  /** Adds h2 to the protocols. */
  readonly http2?: boolean;
  /** Port of h1; 0 picks a free one. */
  readonly port?: number;
  /** Address to listen on. */
  readonly host?: string;
  /** Forces the engine of h1, h1s, ws and wss. */
  readonly h1Engine?: H1Engine;
  /** The engine of h2c and h2: node's own (the default), or the fast one of this program. */
  readonly h2Engine?: H2Engine;
  /** HTTP/3: each client proves its address before a connection is made (QUIC Retry), on loopback too; beyond it each does anyway. */
  readonly quicRetry?: boolean;
  /** Answers of h1s and h2 carry `alt-svc` with the port of h3. */
  readonly altSvc?: boolean;
  /** WebSocket: compresses messages for clients that offer permessage-deflate. */
  readonly wsDeflate?: boolean;
  /** Path of a PEM certificate; with tlsKey. */
  readonly tlsCert?: string;
  /** Path of a PEM private key. */
  readonly tlsKey?: string;
  /** Processes that share the ports, a number or "auto". Of `fakeai serve` only: createServer starts one. */
  readonly workers?: string | number;
  /** Which of several servers behind one address this is: "2/3", or "*" for a place by the host's name. Requests are numbered apart. */
  readonly instance?: string;
  /** It answers itself until its code is compiled, and listens then. */
  readonly warm?: boolean;
  /** Labels of every sample of `/metrics`: "pod=a". */
  readonly metricsLabel?: string | readonly string[];
  /** Time to first token, milliseconds or a spec. */
  readonly ttft?: string | number;
  /** Inter-token latency, milliseconds or a spec. */
  readonly itl?: string | number;
  /** A published operating point: its TTFT and ITL, or its batched scheduler. Other options win over it. */
  readonly preset?: string;
  /** Path of a result.json of `fakeai bench`, or of a CSV with columns ttft_ms and itl_ms, whose latencies are drawn. */
  readonly latencyFrom?: string;
  /** Adds to each event when it was due and when it was sent. */
  readonly stamps?: boolean;
  /** How deadlines are kept: by timers (about a millisecond), or by a core that spins while streams run (microseconds). */
  readonly timer?: TimerMode;
  /** Tokens of an answer: a number or a spec. */
  readonly outputTokens?: string | number;
  /** Path of a file whose text every answer says. */
  readonly textFile?: string;
  /** Answers by rule: a list of rules, or the path of a YAML or JSON file, which is read again when it changes. */
  readonly replies?: GivenReplies;
  /** Folder of a tape that `fakeai record` made: its calls are answered as they were recorded. */
  readonly replay?: string;
  /** Times as fast as recorded, or "max": without waiting. */
  readonly replaySpeed?: string | number;
  /** What a request gets that no recorded call fits: an error, or made-up text. */
  readonly replayUnmatched?: "error" | "generate";
  /** Members of a request's body that need not be as recorded. */
  readonly replayIgnore?: string | readonly string[];
  /** Requests that are kept for `server.requests` and `/admin/requests`; by default none. */
  readonly keepRequests?: number;
  /** "random": made-up text; "echo": the prompt. */
  readonly mode?: "random" | "echo";
  /** Whose wire format OpenAI's endpoints have. */
  readonly profile?: ProfileName;
  /** Tokens in one event of a stream. */
  readonly tokensPerChunk?: number;
  /** The chunk that holds the role alone leaves at once, before the first token is there. Chat completions only. */
  readonly earlyRole?: boolean;
  /** Decides texts, lengths and latencies. */
  readonly seed?: number;
  /** Names served; by default all. */
  readonly model?: string | readonly string[];
  /** Prompt and answer together, tokens; a request for more is refused. */
  readonly maxModelLen?: number;
  /** Tokens of each image in a prompt. Default: by its size and the provider's published rules. */
  readonly imageTokens?: number;
  /** Tokens of each page of a PDF in a prompt. Default: by the provider's published rule, or a stated one. */
  readonly pageTokens?: number;
  /** Counts prompt tokens exactly in this encoding; needs the package gpt-tokenizer. */
  readonly tokenizer?: Encoding;
  /** Keys that are let in, or paths of files with one key per line. By default any key or none is welcome. */
  readonly apiKey?: string | readonly string[];
  /** Origins whose pages may read answers in a browser: "https://example.com,http://localhost:3000", or "*". By default none. */
  readonly cors?: string | readonly string[];
  /** Per key and minute: "rpm=60,tpm=10000" or one of them. */
  readonly rateLimit?: string;
  /** Faults on purpose: "rate_limit@10%", "reset(after=3)"; see core/faults/fault.ts. */
  readonly fault?: string | readonly string[];
  /** Opens /admin/config. */
  readonly admin?: boolean;
  /** The Bearer token of /admin/config; needed where the host is not loopback. */
  readonly adminToken?: string;
  /** Open connections, all protocols together. */
  readonly maxConnections?: number;
  /** HTTP/2 streams per connection. */
  readonly maxConcurrentStreams?: number;
  /** HTTP/2: SETTINGS_HEADER_TABLE_SIZE, what HPACK keeps of a connection's request headers, bytes or "4kb". */
  readonly headerTable?: string | number;
  /** Names and values of a request's head, bytes or "16kb". */
  readonly maxHead?: string | number;
  /** The largest request body, bytes or "10mb". */
  readonly maxBody?: string | number;
  /** Arrays and objects within each other in a request's JSON. */
  readonly maxJsonDepth?: number;
  /** What one streamed response may have waiting before it waits for its reader, bytes or "64kb". */
  readonly maxStreamBuffer?: string | number;
  /** What all responses may have waiting; beyond, the readers that have stalled longest are cut. */
  readonly maxBuffer?: string | number;
  /** Milliseconds a request's head may take, from the connection or the request before it. Not with uWebSockets.js. */
  readonly headTimeout?: number;
  /** Milliseconds a request's body may take after its head. */
  readonly bodyTimeout?: number;
  /** Milliseconds after which a connection without a request is closed. Not with uWebSockets.js. */
  readonly idleTimeout?: number;
  /** Milliseconds after which a response is cut whose reader takes nothing. */
  readonly stallTimeout?: number;
  /** Milliseconds after which a WebSocket is closed. */
  readonly wsLifetime?: number;
  /** Responses of a WebSocket at the same time; more wait. */
  readonly wsMaxInFlight?: number;
  /** Names of lanes of a WebSocket; others are refused. */
  readonly wsMaxLanes?: number;
  /** Responses kept for `previous_response_id`, bytes or "64mb". */
  readonly maxStored?: string | number;
  /** Milliseconds that responses get to finish when the server closes. */
  readonly grace?: number;
}

/** When tokens are there: the scheduler, and the knobs of the batched one, by vLLM's names where vLLM has one. */
export interface SchedulerOptions {
  /** "independent": streams know nothing of each other; "batched": they share the steps of a continuous-batching scheduler. */
  readonly scheduler?: SchedulerName;
  /** @deprecated Another name of `scheduler`, for programs that use it. */
  readonly engine?: SchedulerName;
  /** Sequences in one step. */
  readonly maxNumSeqs?: number;
  /** Tokens in one step, of prompts and of decodes. */
  readonly maxNumBatchedTokens?: number;
  /** Sequences that may wait; those that come when so many wait are refused. */
  readonly maxQueue?: number;
  /** Status of a request that finds the queue full. */
  readonly queueFull?: 429 | 503;
  /** What a step takes at least, milliseconds or a spec. */
  readonly stepTime?: string | number;
  /** More for each sequence that decodes, milliseconds. */
  readonly stepTimePerSeq?: string | number;
  /** More for each token of a prompt that is not in the cache, milliseconds. */
  readonly prefillTimePerToken?: string | number;
  /** From a request's arrival until it joins the queue, milliseconds. */
  readonly requestOverhead?: string | number;
  /** More of that for each token of the prompt, milliseconds. */
  readonly requestOverheadPerToken?: string | number;
  /** Tokens in a block of the KV cache. */
  readonly blockSize?: number;
  /** Blocks of the KV cache. */
  readonly numGpuBlocksOverride?: number;
  /** Prompts that begin alike are read anew each time. */
  readonly disablePrefixCaching?: boolean;
}

/** An option that has a flag: all but the other name of one. */
export type ServerKey = Exclude<keyof ServerOptions, "engine">;
