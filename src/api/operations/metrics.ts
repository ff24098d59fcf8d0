/** `GET /metrics`: Prometheus metrics (text format 0.0.4). vLLM's names where vLLM has them, `fakeai_*` for the rest. */
import type { Histogram, Meter } from "../../core/pacing/meter.ts";
import type { ListenerCounts, Protocol, Route } from "../../core/seams.ts";
import { sendText } from "../shared/answer.ts";

/** What the metrics show beside the meter, read at each scrape. */
export interface LiveState {
  readonly running: number;
  /** null: streams are independent. */
  readonly scheduler: { readonly waiting: number; readonly cacheUsage: number } | null;
  readonly draining: boolean;
  readonly bufferedBytes: number;
  readonly listeners: readonly { readonly protocol: Protocol; readonly engine: string; readonly counts: Readonly<ListenerCounts> }[];
  readonly process: { readonly cpuSeconds: number; readonly rssBytes: number | null; readonly startSeconds: number };
}

/** One of several processes that share the ports. */
export interface WorkerState {
  /** false: dead, stopped or stuck. Its other figures are those that it told last. */
  readonly isAnswering: boolean;
  readonly openConnections: number;
  /** Responses begun, over all its lives. */
  readonly responses: number;
}

/** All processes that share the ports, by their numbers. */
export interface WorkersState {
  readonly workers: readonly WorkerState[];
  readonly restarts: number;
}

/** `metrics` gives the exposition text; a promise: other processes are asked. */
export function metricsRoute(meter: Meter, metrics: () => string | Promise<string>): Route {
  return {
    method: "GET",
    path: "/metrics",
    handle: (_request, _body, sink) => {
      const send = (text: string): void => sendText(sink, meter, 200, "text/plain; version=0.0.4; charset=utf-8", text);
      const text = metrics();
      return typeof text === "string" ? send(text) : text.then(send);
    },
  };
}

type Labels = Readonly<Record<string, string>>;

/** The lines of an exposition, family by family. */
class Exposition {
  readonly #lines: string[] = [];
  readonly #common: Labels;

  /** `common`: labels of every sample. */
  constructor(common: Labels) {
    this.#common = common;
  }

  /** A family's head; its samples follow. */
  family(name: string, type: "counter" | "gauge" | "histogram", help: string): void {
    this.#lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
  }

  sample(name: string, labels: Labels, value: number): void {
    const inside = Object.entries({ ...this.#common, ...labels }).map(
      ([label, text]) => `${label}="${text.replace(/[\\"\n]/g, (c) => (c === "\n" ? "\\n" : `\\${c}`))}"`,
    );
    this.#lines.push(`${name}${inside.length > 0 ? `{${inside.join(",")}}` : ""} ${value}`);
  }

  /** A family of one sample. */
  single(name: string, type: "counter" | "gauge", help: string, value: number, labels: Labels = {}): void {
    this.family(name, type, help);
    this.sample(name, labels, value);
  }

  /** A family with one sample for each entry; `label` takes the entry's name. */
  each(name: string, type: "counter" | "gauge", help: string, label: string, values: Iterable<readonly [string | number, number]>): void {
    this.family(name, type, help);
    for (const [key, value] of values) this.sample(name, { [label]: String(key) }, value);
  }

  /** `unit`: what a value of the histogram is divided by. */
  histogram(name: string, help: string, { edgesUs, counts, sumUs }: Histogram, labels: Labels, unit = 1e6): void {
    this.family(name, "histogram", help);
    let total = 0;
    edgesUs.forEach((edgeUs, bucket) => {
      total += counts[bucket]!;
      this.sample(`${name}_bucket`, { ...labels, le: String(edgeUs / unit) }, total);
    });
    total += counts[edgesUs.length]!;
    this.sample(`${name}_bucket`, { ...labels, le: "+Inf" }, total);
    this.sample(`${name}_sum`, labels, sumUs / unit);
    this.sample(`${name}_count`, labels, total);
  }

  get text(): string {
    return `${this.#lines.join("\n")}\n`;
  }
}

/** Of which server an exposition is. */
export interface Shown {
  readonly model: string;
  /** Labels of every sample. */
  readonly labels: Labels;
}

/** What is shown of a configuration's server. */
export function shownOf(config: { readonly model: { readonly models: readonly string[] | null }; readonly metricsLabels: Labels }): Shown {
  return { model: config.model.models?.[0] ?? "fakeai", labels: config.metricsLabels };
}

/** The exposition text. Values of histograms are in seconds, as Prometheus asks. */
export function renderMetrics(meter: Meter, { model, labels }: Shown, live: LiveState, workers: WorkersState | null = null): string {
  const out = new Exposition(labels);
  addEngine(out, meter, live, { model_name: model });
  addPacing(out, meter);
  out.each("fakeai_http_responses_total", "counter", "Responses begun, by status.", "status", meter.statuses);
  out.each("fakeai_faults_total", "counter", "Faults on purpose that were made, by name.", "fault", meter.faults);
  addListeners(out, live);
  if (workers !== null) addWorkers(out, workers);
  addBounds(out, live);
  addProcess(out, live);
  return out.text;
}

/** What vLLM's server shows, by its names. */
function addEngine(out: Exposition, meter: Meter, { running, scheduler }: LiveState, named: Labels): void {
  out.single("vllm:num_requests_running", "gauge", "Responses under way.", running, named);
  out.single(
    "vllm:num_requests_waiting",
    "gauge",
    "Requests waiting for a place; independent streams never wait.",
    scheduler?.waiting ?? 0,
    named,
  );
  if (scheduler !== null) addBatching(out, meter, scheduler.cacheUsage, named);
  out.single("vllm:prompt_tokens_total", "counter", "Prompt tokens received.", meter.promptTokens, named);
  out.single("vllm:generation_tokens_total", "counter", "Tokens handed to the transport.", meter.generationTokens, named);
  out.family("vllm:request_success_total", "counter", "Responses finished.");
  out.sample("vllm:request_success_total", { ...named, finished_reason: "stop" }, meter.finished.stop);
  out.sample("vllm:request_success_total", { ...named, finished_reason: "length" }, meter.finished.length);
  out.sample("vllm:request_success_total", { ...named, finished_reason: "abort" }, meter.abortedStreams);
  out.histogram("vllm:request_prompt_tokens", "Prompt tokens of a finished response.", meter.requestPromptTokens, named, 1);
  out.histogram("vllm:request_generation_tokens", "Tokens of a finished response.", meter.requestGenerationTokens, named, 1);
  out.histogram(
    "vllm:time_to_first_token_seconds",
    "Arrival of the request to the first frame handed to the transport.",
    meter.ttft,
    named,
  );
  out.histogram("vllm:inter_token_latency_seconds", "Gap between two tokens handed to the transport.", meter.itl, named);
  out.histogram("vllm:request_time_per_output_token_seconds", "Mean gap between the tokens of a response.", meter.tpot, named);
  out.histogram("vllm:e2e_request_latency_seconds", "Arrival of the request to its last frame handed to the transport.", meter.e2e, named);
}

/** What only a batched scheduler has. `cacheUsage`: 1 is all of the KV cache. */
function addBatching(out: Exposition, meter: Meter, cacheUsage: number, named: Labels): void {
  out.single("vllm:kv_cache_usage_perc", "gauge", "Share of the KV cache in use, 1 is all of it.", cacheUsage, named);
  out.single("vllm:gpu_cache_usage_perc", "gauge", "The same, by its name before vLLM 0.10.", cacheUsage, named);
  out.single("vllm:prefix_cache_queries_total", "counter", "Prompt tokens looked up in the cache.", meter.prefixCacheQueries, named);
  out.single("vllm:prefix_cache_hits_total", "counter", "Prompt tokens found in the cache.", meter.prefixCacheHits, named);
  out.single("vllm:num_preemptions_total", "counter", "Sequences that lost their place for want of memory.", meter.preemptions, named);
  out.histogram("vllm:iteration_tokens_total", "Tokens in each step, of prompts and decodes.", meter.iterationTokens, named, 1);
  out.histogram("vllm:request_queue_time_seconds", "Ready for a step to the first step of a sequence.", meter.queueTime, named);
  out.histogram("vllm:request_prefill_time_seconds", "First step to first token.", meter.prefillTime, named);
  out.histogram("vllm:request_decode_time_seconds", "First token to last token.", meter.decodeTime, named);
  out.histogram("vllm:request_inference_time_seconds", "First step to last token.", meter.inferenceTime, named);
}

function addPacing(out: Exposition, meter: Meter): void {
  out.histogram("fakeai_pacing_error_seconds", "Handed to the transport minus due, of every frame.", meter.pacingError, {});
  out.single(
    "fakeai_aborted_streams_total",
    "counter",
    "Responses whose client went away or was cut before the end.",
    meter.abortedStreams,
  );
  out.single("fakeai_aborted_tokens_sent_total", "counter", "Tokens sent on aborted responses.", meter.abortedTokensSent);
  out.single("fakeai_aborted_tokens_planned_total", "counter", "Tokens planned for aborted responses.", meter.abortedTokensPlanned);
  out.single("fakeai_stalled_streams", "gauge", "Responses whose reader does not keep up.", meter.stalledStreams);
  out.single("fakeai_stall_cut_streams_total", "counter", "Responses cut at the stall time-out.", meter.stallCutStreams);
  out.single(
    "fakeai_held_tokens_total",
    "counter",
    "Tokens that fell due while their reader did not keep up, and were sent when it did.",
    meter.heldTokens,
  );
}

function addListeners(out: Exposition, { listeners }: LiveState): void {
  const perListener = (name: string, type: "counter" | "gauge", help: string, pick: (counts: Readonly<ListenerCounts>) => number): void => {
    out.family(name, type, help);
    for (const { protocol, engine, counts } of listeners) out.sample(name, { protocol, engine }, pick(counts));
  };
  perListener("fakeai_open_connections", "gauge", "Open TCP connections.", (counts) => counts.connections);
  perListener("fakeai_open_sessions", "gauge", "Open HTTP/2 sessions.", (counts) => counts.sessions);
  perListener("fakeai_open_streams", "gauge", "Requests whose response is not finished.", (counts) => counts.streams);
  perListener(
    "fakeai_sessions_reaped_total",
    "counter",
    "HTTP/2 sessions ended because PING went unanswered.",
    (counts) => counts.sessionsReaped,
  );
}

function addWorkers(out: Exposition, { workers, restarts }: WorkersState): void {
  out.single("fakeai_worker_restarts_total", "counter", "Workers that ended by themselves and were started again.", restarts);
  const answering = workers.map(({ isAnswering }, worker) => [worker, isAnswering ? 1 : 0] as const);
  out.each("fakeai_worker_answers", "gauge", "0: the worker is dead, stopped or stuck; its figures are its last.", "worker", answering);
  const connections = workers.map(({ openConnections }, worker) => [worker, openConnections] as const);
  out.each("fakeai_worker_open_connections", "gauge", "Open TCP connections of a worker.", "worker", connections);
  const responses = workers.map(({ responses }, worker) => [worker, responses] as const);
  out.each("fakeai_worker_http_responses_total", "counter", "Responses begun by a worker, over all its lives.", "worker", responses);
}

function addBounds(out: Exposition, { listeners, bufferedBytes }: LiveState): void {
  out.family("fakeai_bounds_met_total", "counter", "Requests, streams and connections that met a bound: most are refused or ended there.");
  for (const { protocol, engine, counts } of listeners) {
    for (const [bound, count] of Object.entries(counts.bounds)) out.sample("fakeai_bounds_met_total", { protocol, engine, bound }, count);
  }
  out.single("fakeai_buffered_bytes", "gauge", "Bytes of responses that wait for their readers.", bufferedBytes);
}

function addProcess(out: Exposition, { process }: LiveState): void {
  out.single("process_cpu_seconds_total", "counter", "User and system CPU time.", process.cpuSeconds);
  if (process.rssBytes !== null) out.single("process_resident_memory_bytes", "gauge", "Resident memory.", process.rssBytes);
  out.single("process_start_time_seconds", "gauge", "Start of the process, seconds since 1970.", process.startSeconds);
}
