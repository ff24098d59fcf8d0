/** Published operating points. Every number has a source; what was measured, and what follows from it, is said with it. */
import { flagName } from "./flags.ts";
import { didYouMean } from "../base/guess.ts";
import type { SchedulerOptions, ServerOptions } from "./options.ts";
import { UsageError } from "../base/usage-error.ts";

export interface Preset {
  readonly name: string;
  /** Model, hardware and software. */
  readonly of: string;
  /** What was measured, by whom, and how the numbers here follow from it. */
  readonly measured: string;
  readonly source: string;
  /** Distributions of independent streams, or a batched scheduler. */
  readonly options: SchedulerOptions & { readonly ttft?: string; readonly itl?: string };
}

const blis = "https://github.com/inference-sim/inference-sim/blob/1a6eb353412e981dba604fccd5096da4e8aee6da/defaults.yaml";
const blisMeasured =
  "step and overhead coefficients that BLIS fitted to TTFT, ITL and E2E (mean and p90) of this vLLM server (its docs/approach.md); " +
  "step time = beta0 + alpha2, per sequence = beta2, per prompt token = beta1, before the queue = alpha0 + alpha1 a prompt token";

/** Microseconds as milliseconds, to the nanosecond. */
const ms = (us: number): string => `${Number((us / 1000).toFixed(6))}ms`;

/** A row of BLIS's table: what it calls alpha and beta, in microseconds, and the blocks of the KV cache. */
function fitted(
  name: string,
  of: string,
  alpha: readonly [number, number, number],
  beta: readonly [number, number, number],
  blocks: number,
): Preset {
  return {
    name,
    of: `${of}, vLLM 0.8.4`,
    measured: blisMeasured,
    source: blis,
    options: {
      scheduler: "batched",
      requestOverhead: ms(alpha[0]),
      requestOverheadPerToken: ms(alpha[1]),
      stepTime: ms(beta[0] + alpha[2]),
      prefillTimePerToken: ms(beta[1]),
      stepTimePerSeq: ms(beta[2]),
      numGpuBlocksOverride: blocks,
    },
  };
}

/**
 * A service as LLMPerf's leaderboard saw it: quantiles of TTFT, seconds, at 25, 50, 75, 90, 95 and 99%; means of TTFT and of
 * the whole, seconds, and of output tokens. Its inter-token latency is E2E by tokens, of each request, and not taken.
 */
function hosted(
  name: string,
  of: string,
  when: string,
  file: string,
  quantiles: readonly number[],
  means: readonly [number, number, number],
): Preset {
  const [ttft, whole, tokens] = means;
  const points = [25, 50, 75, 90, 95, 99].map((percent, index) => `p${percent}=${ms(quantiles[index]! * 1e6)}`);
  return {
    name,
    of,
    measured:
      `TTFT by LLMPerf over the internet, ${when}: 150 requests, 5 at once, 550 prompt tokens, 150 output tokens asked for; ` +
      "ITL is one number, (mean E2E - mean TTFT) / (mean tokens - 1): the spread from token to token was not published " +
      "(the summary's inter-token latencies are one for each request, its TTFT in it)",
    source: `https://github.com/ray-project/llmperf-leaderboard/blob/main/raw_data/summary/${file}`,
    options: { ttft: `percentiles(${points.join(",")})`, itl: ms(((whole - ttft) / (tokens - 1)) * 1e6) },
  };
}

export const presets: readonly Preset[] = [
  fitted(
    "llama-3.1-8b-h100",
    "Llama 3.1 8B Instruct on one H100",
    [232.46191091038054, 1.752360364195244, 3357.4400353290152],
    [5752.705191348184, 17.25086436834028, 5.999143920128404],
    29_205,
  ),
  fitted(
    "llama-3.1-8b-a100",
    "Llama 3.1 8B Instruct on one A100 80 GB",
    [7739.7334212001515, 2.308926798943791, 6276.246189076296],
    [16441.531547147923, 47.837412108198656, 18.20560632171683],
    29_205,
  ),
  fitted(
    "llama-3.3-70b-4xh100",
    "Llama 3.3 70B Instruct on four H100, tensor parallel",
    [2597.3171308592136, 9.950912552989394, 11511.44254521247],
    [12601.271149123822, 76.42284100369776, 66.84396200500741],
    128_273,
  ),
  hosted(
    "groq-llama-2-70b",
    "Llama 2 70B Chat at Groq",
    "2024-01-10",
    "groq_70b.json",
    [0.1860195565968752, 0.2218883791938424, 0.24066938273608685, 0.298818383552134, 0.30373927168548104, 0.3500269545800982],
    [0.22786034579078357, 0.8151081097126007, 150],
  ),
  hosted(
    "together-llama-2-70b",
    "Llama 2 70B Chat at Together AI",
    "2023-12-19",
    "together_70b.json",
    [0.5462764004998917, 0.6352748079999628, 0.6742352802500022, 0.7336474150000185, 0.7701076469499295, 0.8708675934700044],
    [0.622329721273333, 2.4906428459, 158.59333333333333],
  ),
  hosted(
    "anyscale-llama-2-70b",
    "Llama 2 70B Chat at Anyscale Endpoints",
    "2023-12-21",
    "anyscale_70b.json",
    [0.19300258649997204, 0.21282956000001718, 0.297314017250045, 0.3212247440000169, 0.3620083771999928, 0.4745305190600024],
    [0.24890269464666667, 2.3546667737533324, 146.94666666666666],
  ),
];

/** @throws UsageError where there is none of that name. */
function presetNamed(name: string): Preset {
  const found = presets.find((preset) => preset.name === name);
  if (found !== undefined) return found;
  const names = presets.map((preset) => preset.name);
  throw new UsageError(`--preset: "${name.slice(0, 60)}" is not one of ${names.join(", ")} (or list)${didYouMean(name, names)}`);
}

/**
 * The options with what their preset says, where nothing else was given. `hasRecording`: latencies are drawn from a recording.
 * Throws UsageError where two options both say how fast.
 */
export function withPreset(given: ServerOptions, hasRecording: boolean): ServerOptions {
  if (hasRecording && given.scheduler === "batched")
    throw new UsageError("--latency-from: with --scheduler batched latencies follow from the batch");
  if (given.preset === undefined) return given;
  if (hasRecording) throw new UsageError("--preset and --latency-from both say how fast: give one of them");
  const { name, options } = presetNamed(given.preset);
  const scheduler = options.ttft === undefined ? "batched" : "independent";
  if (given.scheduler !== undefined && given.scheduler !== scheduler) {
    throw new UsageError(`--preset ${name} is of --scheduler ${scheduler}, not ${given.scheduler}`);
  }
  const asked = Object.entries(given).filter(([, value]) => value !== undefined);
  return { ...options, ...Object.fromEntries(asked) };
}

/** All of them, for people to read. */
export function describePresets(): string {
  return presets
    .map(({ name, of, measured, source, options }) => {
      const knobs = Object.entries(options).map(([key, value]) => `--${flagName(key)} ${value}`);
      return `${name}\n  ${of}\n  ${knobs.join(" ")}\n  measured: ${measured}\n  source: ${source}\n`;
    })
    .join("\n");
}
