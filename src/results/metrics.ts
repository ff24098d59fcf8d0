/**
 * Every metric that a result may hold: its name, and in `metricFacts` its unit, direction and meaning. A new metric is a
 * name in one of the two lists, a row in the table below them, and a place in `effects.ts`; the published schema, `--require` and the reports follow.
 *
 * Where the LLM benchmarks disagree about a name, ours means:
 * - ttfe: start to first event. vLLM calls this TTFT.
 * - ttft: start to first event with non-empty content (llmperf, inference-perf, genai-perf).
 * - itl: every single gap between two content events (vLLM; aiperf and guidellm call their mean per request ITL).
 * - itlPerToken: itl over the tokens of the event, where each event says how many it holds (genai-perf's ITL).
 * - tpot: (e2el - ttft) / (tokens - 1) per request; requests of one token are left out (vLLM).
 * - e2el: start to last content event; usage and [DONE] are excluded (vLLM, aiperf).
 *
 * "Start" is when the request was handed to the socket; the `...FromIntended` metrics count from the planned send time.
 */

/** What a metric is measured in. Latencies are microseconds throughout; reports show milliseconds. */
export type Unit = "us" | "1/s" | "bytes" | "count" | "ratio";

/** Distributions over requests or tokens. */
export type DistributionMetric =
  | "ttfe"
  | "ttft"
  | "itl"
  | "itlPerToken"
  | "tpot"
  | "e2el"
  | "ttftFromIntended"
  | "e2elFromIntended"
  | "scheduleDelay"
  | "connect"
  | "serverLateness"
  | "transport"
  | "client"
  | "plannedTtft"
  | "ttftFirst"
  | "ttftLater"
  | "sessionE2el"
  | "sessionWait"
  | "ttftAdded"
  | "tokenAdded";

/** Metrics with one value per round. */
type ScalarMetric =
  | "requestsPerSecond"
  | "goodRequestsPerSecond"
  | "achievedShare"
  | "tokensPerSecond"
  | "inputTokensPerSecond"
  | "eventsPerSecond"
  | "durationUs"
  | "serverCpuUsPerRequest"
  | "serverCpuUsPerToken"
  | "gatewayCpuUsPerRequest"
  | "gatewayCpuUsPerToken"
  | "clientCpuUsPerRequest"
  | "clientCpuUsPerToken"
  | "bytesReceivedPerRequest"
  | "bytesSentPerRequest"
  | "bytesReceivedPerSession"
  | "bytesSentPerSession"
  | "serverCpuUsPerSession"
  | "clientCpuUsPerSession"
  | "cachedShare"
  | "connectionsOpened"
  | "streamsAtOnce"
  | "clientRssBytesPerStream"
  | "keepsUpTokensPerSecond"
  | "serverRssBytes"
  | "clientEventLoopDelayP99Us"
  | "serverEventLoopDelayP99Us"
  | "streamsRefused"
  | "requestsAborted"
  | "itlError"
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

export const statisticNames = ["mean", "std", "min", "p50", "p90", "p95", "p99", "p999", "max"] as const;

/** A statistic of a metric, for comparisons and requirements: "ttft.p99", "requestsPerSecond.mean". */
export type Statistic = (typeof statisticNames)[number];

/** One metric. */
export interface MetricFacts {
  readonly unit: Unit;
  /** One value per round, rather than a distribution over requests or tokens. */
  readonly perRound: boolean;
  /** Which of two values is the better one. */
  readonly better: "lower" | "higher";
  /** What tables and charts call it. */
  readonly label: string;
  /** One line, as the published schema has it. */
  readonly description: string;
}

function latency(label: string, description: string): MetricFacts {
  return { unit: "us", perRound: false, better: "lower", label, description };
}

function scalar(label: string, unit: Unit, description: string, better: MetricFacts["better"] = "lower"): MetricFacts {
  return { unit, perRound: true, better, label, description };
}

/** Every metric that a result may have. */
export const metricFacts: Readonly<Record<MetricName, MetricFacts>> = {
  ttfe: latency("TTFE", "Time to first event: request handed to the socket to the first event of any kind (vLLM's TTFT)"),
  ttft: latency("TTFT", "Time to first token: request handed to the socket to the first event with content (llmperf, inference-perf)"),
  itl: latency("ITL", "Inter-token latency: every gap between two content events (vLLM's ITL, aiperf's ICL)"),
  itlPerToken: latency(
    "ITL per token",
    "Inter-token latency where events hold several tokens and say how many: the gap before an event over its tokens, once for each of them (genai-perf)",
  ),
  tpot: latency("TPOT", "Time per output token, per request: (e2el - ttft) / (tokens - 1) (vLLM's TPOT)"),
  e2el: latency("E2E latency", "End-to-end latency: request handed to the socket to the last content event"),
  ttftFromIntended: latency(
    "TTFT from planned start",
    "Time to first token from the planned send time: waiting for a free stream included",
  ),
  e2elFromIntended: latency("E2E latency from planned start", "End-to-end latency from the planned send time"),
  scheduleDelay: latency("schedule delay", "Actual minus planned send time of an open-loop request"),
  connect: latency("connect", "Time to a usable connection: TCP, TLS and, on HTTP/2, the peer's SETTINGS"),
  serverLateness: latency("server lateness", "Per token, from stamps: handed to the server's transport, minus due"),
  transport: latency(
    "transport",
    "Per token, from stamps: handed to the server's transport, to the client's read callback; an upper bound, as the transport's queue is in it",
  ),
  client: latency("client", "Per token: the client's read callback to the application having the token"),
  plannedTtft: latency("planned TTFT", "Per request, from stamps: time to first token as planned"),
  ttftFirst: latency("TTFT of first turns", "Time to first token of the first turn of each conversation"),
  ttftLater: latency("TTFT of later turns", "Time to first token of the turns after the first of each conversation"),
  sessionE2el: latency(
    "session latency",
    "Per whole session: its first request handed to the socket, to the end of its last answer; pauses of users and tools included",
  ),
  sessionWait: latency(
    "session's wait",
    "Per whole session: the end-to-end times of its answers added up, without pauses; those of sub-agents that ran at once each count",
  ),
  ttftAdded: latency(
    "added to TTFT",
    "Per request, from the server's log: time to first token at the application, without the server's part (request arrived to first token handed to the transport)",
  ),
  tokenAdded: latency(
    "added to a token",
    "Per token, from the server's log: handed to the server's transport, to the application having it (transport and client together)",
  ),
  requestsPerSecond: scalar("requests/s", "1/s", "Completed requests by the measured time", "higher"),
  goodRequestsPerSecond: scalar(
    "good requests/s",
    "1/s",
    "Requests that kept all of --slo each by itself, by the measured time (vLLM's request_goodput)",
    "higher",
  ),
  achievedShare: scalar(
    "achieved of the rate",
    "ratio",
    "Open loop: completed requests a second, from the first end to the last, by sent ones a second, from the first planned send to the last",
    "higher",
  ),
  inputTokensPerSecond: scalar(
    "input tokens/s",
    "1/s",
    "Prompt tokens of completed requests by the measured time, as usage counts them",
    "higher",
  ),
  tokensPerSecond: scalar("tokens/s", "1/s", "Output tokens by the measured time, as usage or a tokenizer counts them", "higher"),
  eventsPerSecond: scalar("events/s", "1/s", "Content events by the measured time, where nothing says how many tokens they hold", "higher"),
  durationUs: scalar("wall time", "us", "Measured time of a round"),
  serverCpuUsPerRequest: scalar("server CPU/request", "us", "User and system time of the server process for each completed request"),
  serverCpuUsPerToken: scalar("server CPU/token", "us", "User and system time of the server process for each output token"),
  gatewayCpuUsPerRequest: scalar(
    "proxy CPU/request",
    "us",
    "User and system time of the proxy in front of the server for each completed request",
  ),
  gatewayCpuUsPerToken: scalar("proxy CPU/token", "us", "User and system time of the proxy in front of the server for each output token"),
  clientCpuUsPerRequest: scalar("client CPU/request", "us", "User and system time of the load generator for each completed request"),
  clientCpuUsPerToken: scalar("client CPU/token", "us", "User and system time of the load generator for each output token"),
  bytesReceivedPerRequest: scalar(
    "bytes received/request",
    "bytes",
    "Bytes received on the socket for each request: headers, framing and TLS records included",
  ),
  bytesSentPerRequest: scalar(
    "bytes sent/request",
    "bytes",
    "Bytes sent on the socket for each request: headers, framing and TLS records included",
  ),
  bytesReceivedPerSession: scalar(
    "bytes received/session",
    "bytes",
    "Bytes received on all sockets for each whole session: headers, framing and TLS records included",
  ),
  bytesSentPerSession: scalar(
    "bytes sent/session",
    "bytes",
    "Bytes sent on all sockets for each whole session: headers, framing and TLS records included",
  ),
  serverCpuUsPerSession: scalar("server CPU/session", "us", "User and system time of the server process for each whole session"),
  clientCpuUsPerSession: scalar("client CPU/session", "us", "User and system time of the load generator for each whole session"),
  cachedShare: scalar(
    "cached of the prompts",
    "ratio",
    "Prompt tokens that the server had in its prefix cache, by all prompt tokens, as usage counts them",
    "higher",
  ),
  connectionsOpened: scalar("connections opened", "count", "Connections opened in a round"),
  streamsAtOnce: scalar("streams at once", "count", "Most streams under way at one time, as the server saw them", "higher"),
  clientRssBytesPerStream: scalar(
    "client memory/stream",
    "bytes",
    "Resident memory of the client with all streams open, minus before, for each stream",
  ),
  keepsUpTokensPerSecond: scalar(
    "tokens/s at which it falls behind",
    "1/s",
    "Tokens per second that were offered when the client fell behind for good",
    "higher",
  ),
  serverRssBytes: scalar("server memory", "bytes", "Resident memory of the server process"),
  clientEventLoopDelayP99Us: scalar("client event-loop delay", "us", "99th percentile of the load generator's event-loop delay"),
  serverEventLoopDelayP99Us: scalar("server event-loop delay", "us", "99th percentile of the server's event-loop delay"),
  streamsRefused: scalar("streams refused", "count", "Streams that the server refused at its limit and that were asked for again"),
  requestsAborted: scalar(
    "requests given up",
    "count",
    "Requests that the client gave up on purpose, after some tokens; they count as completed",
  ),
  itlError: scalar("ITL error", "ratio", "Measured mean ITL over the mean ITL that the stamps say was planned, minus 1, without its sign"),
  wireBytesPerToken: scalar(
    "wire bytes/token",
    "bytes",
    "HTTP bytes both ways, without TLS, for each output token: the sum of the parts below",
  ),
  dataBytesPerToken: scalar("body bytes/token", "bytes", "Received for each output token: bodies"),
  framingBytesPerToken: scalar(
    "framing bytes/token",
    "bytes",
    "Received for each output token: headers of DATA frames, or sizes and ends of chunks",
  ),
  headBytesPerToken: scalar(
    "head bytes/token",
    "bytes",
    "Received for each output token: HEADERS and CONTINUATION frames, or status lines and fields",
  ),
  requestBytesPerToken: scalar("request bytes/token", "bytes", "Sent for each output token: requests with their heads, bodies and framing"),
  windowUpdateBytesPerToken: scalar("WINDOW_UPDATE bytes/token", "bytes", "WINDOW_UPDATE frames both ways for each output token"),
  settingsBytesPerToken: scalar("SETTINGS bytes/token", "bytes", "SETTINGS frames both ways for each output token"),
  pingBytesPerToken: scalar("PING bytes/token", "bytes", "PING frames both ways for each output token"),
  otherFrameBytesPerToken: scalar(
    "other frame bytes/token",
    "bytes",
    "The preface and frames of other types both ways for each output token",
  ),
};
