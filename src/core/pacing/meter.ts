/** Counters and histograms in preallocated numbers: recording a token allocates nothing and calls no library. */
import type { ResponsePlan } from "../seams.ts";

/** A histogram with fixed upper edges, in microseconds, or where tokens are counted in tokens. */
export class Histogram {
  readonly edgesUs: readonly number[];
  /** Observations per bucket, not cumulative; the last is above every edge. */
  readonly counts: Float64Array;
  sumUs = 0;

  constructor(edgesUs: readonly number[]) {
    this.edgesUs = edgesUs;
    this.counts = new Float64Array(edgesUs.length + 1);
  }

  /** Hot path. So many observations of one value. */
  record(us: number, times = 1): void {
    const edges = this.edgesUs;
    let bucket = 0;
    while (bucket < edges.length && us > edges[bucket]!) bucket++;
    this.counts[bucket]! += times;
    this.sumUs += us * times;
  }
}

type FinishedPlan = Pick<ResponsePlan, "finishReason" | "promptTokens" | "outputTokens">;

/** What a meter holds, as JSON carries it from process to process. */
export interface MeterSnapshot {
  readonly numbers: Readonly<Record<string, number>>;
  /** Per histogram, its counts and after them its sum. */
  readonly histograms: Readonly<Record<string, readonly number[]>>;
  readonly finished: Readonly<Record<"stop" | "length", number>>;
  readonly statuses: readonly (readonly [status: number, count: number])[];
  readonly faults: readonly (readonly [string, number])[];
}

const seconds = (edges: readonly number[]): number[] => edges.map((edge) => Math.round(edge * 1e6));

const requestEdges = [0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680];

const tokenEdges = [1, 10, 100, 1000, 10_000, 100_000].flatMap((edge) => [edge, 2 * edge, 5 * edge]).concat(1_000_000);

/** What the pacer and the surfaces count. Histogram edges are vLLM's where the metric is (vllm/v1/metrics/loggers.py). */
export class Meter {
  readonly ttft: Histogram = new Histogram(
    seconds([0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560]),
  );
  readonly itl: Histogram = new Histogram(
    seconds([0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80]),
  );
  readonly tpot: Histogram = new Histogram(
    seconds([0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80]),
  );
  readonly e2e: Histogram = new Histogram(seconds(requestEdges));
  /** Of a batched scheduler, for each sequence that ended: arrival to its first step, that to the first token, that to the last. */
  readonly queueTime: Histogram = new Histogram(seconds(requestEdges));
  readonly prefillTime: Histogram = new Histogram(seconds(requestEdges));
  readonly decodeTime: Histogram = new Histogram(seconds(requestEdges));
  /** The last two together. */
  readonly inferenceTime: Histogram = new Histogram(seconds(requestEdges));
  /** Tokens of each finished response, and of its prompt; vLLM's edges go 1, 2, 5, 10, ... */
  readonly requestPromptTokens: Histogram = new Histogram(tokenEdges);
  readonly requestGenerationTokens: Histogram = new Histogram(tokenEdges);
  /** Tokens in each step, of prompts and decodes. */
  readonly iterationTokens: Histogram = new Histogram([1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384]);
  /** Tokens of prompts that were looked up in the cache, and that were there. */
  prefixCacheQueries = 0;
  prefixCacheHits = 0;
  /** How often a sequence lost its place for want of memory. */
  preemptions = 0;
  /** Handed to the transport minus due, of every frame. */
  readonly pacingError: Histogram = new Histogram(
    seconds([0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5]),
  );
  /** Finished responses by what ended them. */
  readonly finished = { stop: 0, length: 0 };
  /** Responses whose client went away before the end. */
  abortedStreams = 0;
  abortedTokensSent = 0;
  abortedTokensPlanned = 0;
  /** Responses cut because their reader stalled. */
  stallCutStreams = 0;
  /** Responses whose reader is not keeping up at the moment. */
  stalledStreams = 0;
  /** Tokens that fell due while their reader did not keep up, and were sent when it did. */
  heldTokens = 0;
  promptTokens = 0;
  generationTokens = 0;
  /** Answers by status code. */
  readonly statuses: Map<number, number> = new Map();

  /** Faults on purpose, by name. */
  readonly faults: Map<string, number> = new Map();

  /** Hot path. */
  countFinished({ finishReason, promptTokens, outputTokens }: FinishedPlan): void {
    this.finished[finishReason]++;
    this.requestPromptTokens.record(promptTokens);
    this.requestGenerationTokens.record(outputTokens);
  }

  countFault(name: string, count: number = 1): void {
    this.faults.set(name, (this.faults.get(name) ?? 0) + count);
  }

  countStatus(status: number, count: number = 1): void {
    this.statuses.set(status, (this.statuses.get(status) ?? 0) + count);
  }

  snapshot(): MeterSnapshot {
    const numbers: Record<string, number> = {};
    const histograms: Record<string, readonly number[]> = {};
    for (const [name, value] of Object.entries(this)) {
      if (typeof value === "number") numbers[name] = value;
      else if (value instanceof Histogram) histograms[name] = [...value.counts, value.sumUs];
    }
    return { numbers, histograms, finished: { ...this.finished }, statuses: [...this.statuses], faults: [...this.faults] };
  }

  /** Adds what another process counted. */
  add({ numbers, histograms, finished, statuses, faults }: MeterSnapshot): void {
    for (const [name, value] of Object.entries(this)) {
      if (typeof value === "number") Object.assign(this, { [name]: value + (numbers[name] ?? 0) });
      else if (value instanceof Histogram) {
        const { counts } = value;
        const other = histograms[name] ?? [];
        for (let bucket = 0; bucket < counts.length; bucket++) counts[bucket]! += other[bucket] ?? 0;
        value.sumUs += other[counts.length] ?? 0;
      }
    }
    this.finished.stop += finished.stop;
    this.finished.length += finished.length;
    for (const [status, count] of statuses) this.countStatus(status, count);
    for (const [name, count] of faults) this.countFault(name, count);
  }
}
