/** Endpoints for whoever runs the server: health and Prometheus metrics (text format 0.0.4). */
import type { Histogram, Meter } from "../../core/pacing/meter.ts";
import type { ListenerCounts, Protocol, Route } from "../../core/seams.ts";
import { sendError, sendJson, sendText } from "../shared/answer.ts";

/** What the metrics show beside the meter, read on scrape. */
export interface LiveState {
  readonly running: number;
  /** null: streams are independent. */
  readonly scheduler: { readonly waiting: number; readonly cacheUsage: number } | null;
  readonly draining: boolean;
  readonly bufferedBytes: number;
  readonly listeners: readonly { readonly protocol: Protocol; readonly engine: string; readonly counts: Readonly<ListenerCounts> }[];
  readonly process: { readonly cpuSeconds: number; readonly rssBytes: number; readonly startSeconds: number };
}

/** One of several processes that share the ports. */
export interface WorkerState {
  readonly openConnections: number;
  /** Responses begun, over all its lives. */
  readonly responses: number;
}

/** Where several processes share the ports: all of them, by their numbers. */
export interface WorkersState {
  readonly workers: readonly WorkerState[];
  readonly restarts: number;
}

/** `metrics` gives the exposition text; a promise: other processes are asked. */
export function operationsRoutes(meter: Meter, live: () => Pick<LiveState, "draining">, metrics: () => string | Promise<string>): Route[] {
  const exposition = "text/plain; version=0.0.4; charset=utf-8";
  const ok = '{"status":"ok"}';
  return [
    { method: "GET", path: "/health", handle: (_request, _body, sink) => sendJson(sink, meter, 200, ok) },
    {
      method: "GET",
      path: "/health/ready",
      handle: (_request, _body, sink) => {
        if (live().draining) sendJson(sink, meter, 503, '{"status":"draining"}');
        else sendJson(sink, meter, 200, ok);
      },
    },
    {
      method: "GET",
      path: "/metrics",
      handle: (_request, _body, sink) => {
        const text = metrics();
        if (typeof text === "string") sendText(sink, meter, 200, exposition, text);
        else
          text.then(
            (text) => sendText(sink, meter, 200, exposition, text),
            (error: unknown) => sendError(sink, meter, error),
          );
      },
    },
  ];
}

type Labels = Readonly<Record<string, string>>;

/** The exposition text. Values of histograms are in seconds, as Prometheus asks. */
export function renderMetrics(meter: Meter, model: string, live: LiveState, workers: WorkersState | null = null): string {
  const lines: string[] = [];
  const sample = (name: string, labels: Labels, value: number): void => {
    const inside = Object.entries(labels).map(
      ([label, text]) => `${label}="${text.replace(/[\\"\n]/g, (c) => (c === "\n" ? "\\n" : `\\${c}`))}"`,
    );
    lines.push(`${name}${inside.length > 0 ? `{${inside.join(",")}}` : ""} ${value}`);
  };
  const family = (name: string, type: string, help: string): void => {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
  };
  const single = (name: string, type: string, help: string, value: number, labels: Labels = {}): void => {
    family(name, type, help);
    sample(name, labels, value);
  };
  /** `unit`: what a value of the histogram is divided by. */
  const histogram = (name: string, help: string, { edgesUs, counts, sumUs }: Histogram, labels: Labels, unit = 1e6): void => {
    family(name, "histogram", help);
    let total = 0;
    edgesUs.forEach((edgeUs, bucket) => {
      total += counts[bucket]!;
      sample(`${name}_bucket`, { ...labels, le: String(edgeUs / unit) }, total);
    });
    total += counts[edgesUs.length]!;
    sample(`${name}_bucket`, { ...labels, le: "+Inf" }, total);
    sample(`${name}_sum`, labels, sumUs / unit);
    sample(`${name}_count`, labels, total);
  };

  const named = { model_name: model };
  single("vllm:num_requests_running", "gauge", "Responses under way.", live.running, named);
  const { scheduler } = live;
  single(
    "vllm:num_requests_waiting",
    "gauge",
    "Requests waiting for a place; independent streams never wait.",
    scheduler?.waiting ?? 0,
    named,
  );
  if (scheduler !== null) {
    single("vllm:kv_cache_usage_perc", "gauge", "Share of the KV cache in use, 1 is all of it.", scheduler.cacheUsage, named);
    single("vllm:gpu_cache_usage_perc", "gauge", "The same, by its name before vLLM 0.10.", scheduler.cacheUsage, named);
    single("vllm:prefix_cache_queries_total", "counter", "Prompt tokens looked up in the cache.", meter.prefixCacheQueries, named);
    single("vllm:prefix_cache_hits_total", "counter", "Prompt tokens found in the cache.", meter.prefixCacheHits, named);
    single("vllm:num_preemptions_total", "counter", "Sequences that lost their place for want of memory.", meter.preemptions, named);
    histogram("vllm:iteration_tokens_total", "Tokens in each step, of prompts and decodes.", meter.iterationTokens, named, 1);
    histogram("vllm:request_queue_time_seconds", "Ready for a step to the first step of a sequence.", meter.queueTime, named);
    histogram("vllm:request_prefill_time_seconds", "First step to first token.", meter.prefillTime, named);
    histogram("vllm:request_decode_time_seconds", "First token to last token.", meter.decodeTime, named);
    histogram("vllm:request_inference_time_seconds", "First step to last token.", meter.inferenceTime, named);
  }
  single("vllm:prompt_tokens_total", "counter", "Prompt tokens received.", meter.promptTokens, named);
  single("vllm:generation_tokens_total", "counter", "Tokens handed to the transport.", meter.generationTokens, named);
  family("vllm:request_success_total", "counter", "Responses finished.");
  sample("vllm:request_success_total", { ...named, finished_reason: "stop" }, meter.finished.stop);
  sample("vllm:request_success_total", { ...named, finished_reason: "length" }, meter.finished.length);
  sample("vllm:request_success_total", { ...named, finished_reason: "abort" }, meter.abortedStreams);
  histogram("vllm:time_to_first_token_seconds", "Arrival of the request to the first frame handed to the transport.", meter.ttft, named);
  histogram("vllm:inter_token_latency_seconds", "Gap between two tokens handed to the transport.", meter.itl, named);
  histogram("vllm:request_time_per_output_token_seconds", "Mean gap between the tokens of a response.", meter.tpot, named);
  histogram("vllm:e2e_request_latency_seconds", "Arrival of the request to its last frame handed to the transport.", meter.e2e, named);
  histogram("fakeai_pacing_error_seconds", "Handed to the transport minus due, of every frame.", meter.pacingError, {});
  single("fakeai_aborted_streams_total", "counter", "Responses whose client went away or was cut before the end.", meter.abortedStreams);
  single("fakeai_aborted_tokens_sent_total", "counter", "Tokens sent on aborted responses.", meter.abortedTokensSent);
  single("fakeai_aborted_tokens_planned_total", "counter", "Tokens planned for aborted responses.", meter.abortedTokensPlanned);
  single("fakeai_stalled_streams", "gauge", "Responses whose reader does not keep up.", meter.stalledStreams);
  single("fakeai_stall_cut_streams_total", "counter", "Responses cut at the stall time-out.", meter.stallCutStreams);
  single("fakeai_held_tokens_total", "counter", "Tokens that fell due while their reader did not keep up.", meter.heldTokens);

  family("fakeai_http_responses_total", "counter", "Responses begun, by status.");
  for (const [status, count] of meter.statuses) sample("fakeai_http_responses_total", { status: String(status) }, count);
  family("fakeai_faults_total", "counter", "Faults on purpose that were made, by name.");
  for (const [fault, count] of meter.faults) sample("fakeai_faults_total", { fault }, count);
  const perListener = (name: string, type: string, help: string, pick: (counts: Readonly<ListenerCounts>) => number): void => {
    family(name, type, help);
    for (const { protocol, engine, counts } of live.listeners) sample(name, { protocol, engine }, pick(counts));
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
  if (workers !== null) {
    single("fakeai_worker_restarts_total", "counter", "Workers that ended by themselves and were started again.", workers.restarts);
    family("fakeai_worker_open_connections", "gauge", "Open TCP connections of a worker.");
    workers.workers.forEach(({ openConnections }, worker) =>
      sample("fakeai_worker_open_connections", { worker: String(worker) }, openConnections),
    );
    family("fakeai_worker_http_responses_total", "counter", "Responses begun by a worker, over all its lives.");
    workers.workers.forEach(({ responses }, worker) => sample("fakeai_worker_http_responses_total", { worker: String(worker) }, responses));
  }
  family("fakeai_bounds_met_total", "counter", "Requests, streams and connections refused or ended at a bound.");
  for (const { protocol, engine, counts } of live.listeners)
    for (const [bound, count] of Object.entries(counts.bounds)) sample("fakeai_bounds_met_total", { protocol, engine, bound }, count);
  single("fakeai_buffered_bytes", "gauge", "Bytes of responses that wait for their readers.", live.bufferedBytes);
  single("process_cpu_seconds_total", "counter", "User and system CPU time.", live.process.cpuSeconds);
  single("process_resident_memory_bytes", "gauge", "Resident memory.", live.process.rssBytes);
  single("process_start_time_seconds", "gauge", "Start of the process, seconds since 1970.", live.process.startSeconds);
  return `${lines.join("\n")}\n`;
}
