/** The knobs of the batched scheduler: vLLM's names where vLLM has one. */
import { type BatchSettings, leastStepUs } from "../core/pacing/scheduler.ts";
import { latencyUnits } from "../core/random/distribution.ts";
import { UsageError } from "../base/usage-error.ts";
import { distribution, type FlagSpec, integer, oneOf } from "./values.ts";

export type SchedulerName = "independent" | "batched";

export interface SchedulerOptions {
  /** "independent": streams know nothing of each other; "batched": they share the steps of a continuous-batching scheduler. */
  readonly scheduler?: SchedulerName;
  /** @deprecated Another name of `scheduler`, from when it was called so. */
  readonly engine?: SchedulerName;
  /** Sequences in one step. */
  readonly maxNumSeqs?: number;
  /** Tokens in one step, of prompts and of decodes. */
  readonly maxNumBatchedTokens?: number;
  /** Sequences that may wait; what comes then is refused. */
  readonly maxQueue?: number;
  /** Status of what finds the queue full. */
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

export const schedulerFlags: readonly FlagSpec<Exclude<keyof SchedulerOptions, "engine">>[] = [
  {
    key: "scheduler",
    kind: "text",
    takes: "name",
    help: "independent: each stream keeps its own TTFT and ITL; batched: they share the steps of a batching scheduler (default independent)",
  },
  { key: "maxNumSeqs", kind: "integer", takes: "n", help: "batched: sequences in one step (default 256)" },
  { key: "maxNumBatchedTokens", kind: "integer", takes: "n", help: "batched: tokens in one step, prompts and decodes (default 2048)" },
  { key: "maxQueue", kind: "integer", takes: "n", help: "batched: sequences that may wait; others are refused (default 1000)" },
  { key: "queueFull", kind: "integer", takes: "status", help: "batched: 429 or 503 for those (default 429, profile vllm 503)" },
  { key: "stepTime", kind: "text", takes: "spec", help: "batched: what a step takes at least (default 10)" },
  { key: "stepTimePerSeq", kind: "text", takes: "ms", help: "batched: more for each sequence that decodes (default 0.05)" },
  { key: "prefillTimePerToken", kind: "text", takes: "ms", help: "batched: more for each prompt token not in the cache (default 0.05)" },
  { key: "requestOverhead", kind: "text", takes: "ms", help: "batched: from arrival to the queue, in which steps go on (default 0)" },
  { key: "requestOverheadPerToken", kind: "text", takes: "ms", help: "batched: more of that for each prompt token (default 0)" },
  { key: "blockSize", kind: "integer", takes: "n", help: "batched: tokens in a block of the KV cache (default 16)" },
  { key: "numGpuBlocksOverride", kind: "integer", takes: "n", help: "batched: blocks of the KV cache (default 16384)" },
  { key: "disablePrefixCaching", kind: "boolean", help: "batched: read prompts that begin alike anew each time" },
];

const flagNames: Record<Exclude<keyof SchedulerOptions, "scheduler" | "engine">, string> = {
  maxNumSeqs: "--max-num-seqs",
  maxNumBatchedTokens: "--max-num-batched-tokens",
  maxQueue: "--max-queue",
  queueFull: "--queue-full",
  stepTime: "--step-time",
  stepTimePerSeq: "--step-time-per-seq",
  prefillTimePerToken: "--prefill-time-per-token",
  requestOverhead: "--request-overhead",
  requestOverheadPerToken: "--request-overhead-per-token",
  blockSize: "--block-size",
  numGpuBlocksOverride: "--num-gpu-blocks-override",
  disablePrefixCaching: "--disable-prefix-caching",
};

const schedulerNames: readonly SchedulerName[] = ["independent", "batched"];

/** The options with `engine` under its name `scheduler`. Throws UsageError where they contradict each other. */
export function withSchedulerName<Options extends SchedulerOptions>(given: Options): Omit<Options, "engine"> {
  const { engine, ...options } = given;
  if (engine === undefined) return options;
  if (options.scheduler !== undefined && options.scheduler !== engine)
    throw new UsageError("--engine and --scheduler are two names of one option: give --scheduler");
  return { ...options, scheduler: oneOf("--engine", engine, schedulerNames) };
}

/** The scheduler that the options ask for; null: streams are independent. Throws UsageError. */
export function resolveScheduler(options: SchedulerOptions & { readonly ttft?: unknown; readonly itl?: unknown }): BatchSettings | null {
  const scheduler = oneOf("--scheduler", options.scheduler ?? "independent", schedulerNames);
  if (scheduler === "independent") {
    for (const [key, name] of Object.entries(flagNames)) {
      if (options[key as keyof SchedulerOptions] !== undefined)
        throw new UsageError(`${name} is a knob of --scheduler batched: give that too`);
    }
    return null;
  }
  for (const key of ["ttft", "itl"] as const) {
    if (options[key] === undefined) continue;
    throw new UsageError(
      `--${key}: with --scheduler batched latencies follow from the batch; set --step-time and --prefill-time-per-token`,
    );
  }
  const most = 1_000_000_000;
  const maxNumSeqs = integer("--max-num-seqs", options.maxNumSeqs ?? 256, 1, 1_000_000);
  const maxNumBatchedTokens = integer("--max-num-batched-tokens", options.maxNumBatchedTokens ?? 2048, 1, most);
  if (maxNumBatchedTokens < maxNumSeqs) {
    throw new UsageError(`--max-num-batched-tokens: ${maxNumBatchedTokens} is less than --max-num-seqs ${maxNumSeqs}, one token of each`);
  }
  const stepTime = distribution(options.stepTime ?? 10, latencyUnits("--step-time"));
  if (stepTime.constant !== null && stepTime.constant < leastStepUs) {
    throw new UsageError(`--step-time: a step takes at least ${leastStepUs}us`);
  }
  return {
    maxNumSeqs,
    maxNumBatchedTokens,
    maxQueue: integer("--max-queue", options.maxQueue ?? 1000, 0, 1_000_000),
    requestOverheadUs: constantUs("--request-overhead", options.requestOverhead ?? 0),
    requestOverheadPerTokenUs: constantUs("--request-overhead-per-token", options.requestOverheadPerToken ?? 0),
    stepTime,
    stepTimePerSeqUs: constantUs("--step-time-per-seq", options.stepTimePerSeq ?? 0.05),
    prefillTimePerTokenUs: constantUs("--prefill-time-per-token", options.prefillTimePerToken ?? 0.05),
    blockSize: integer("--block-size", options.blockSize ?? 16, 1, 65_536),
    kvBlocks: integer("--num-gpu-blocks-override", options.numGpuBlocksOverride ?? 16_384, 1, 10_000_000),
    prefixCaching: options.disablePrefixCaching !== true,
  };
}

/** The status of what finds the queue full: 429, which clients of OpenAI know to mean "later"; with the profile vllm 503. */
export function queueFullStatus({ queueFull }: SchedulerOptions, profile: string): 429 | 503 {
  if (queueFull === undefined) return profile === "vllm" ? 503 : 429;
  if (queueFull !== 429 && queueFull !== 503) throw new UsageError(`--queue-full: ${String(queueFull)} is neither 429 nor 503`);
  return queueFull;
}

function constantUs(name: string, value: string | number): number {
  const { constant } = distribution(value, { ...latencyUnits(name), example: "0.05, 50us or 2ms" });
  if (constant === null) throw new UsageError(`${name}: "${String(value).slice(0, 60)}" is not a single time (for example 0.05 or 50us)`);
  return constant;
}
