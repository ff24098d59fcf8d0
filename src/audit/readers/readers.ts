/** Every reader, and how the one for an output is found. */
import type { Report } from "../types.ts";
import { aiperf } from "./aiperf.ts";
import { autocannon } from "./autocannon.ts";
import { fakeai } from "./fakeai.ts";
import { guidellm } from "./guidellm.ts";
import { h2load } from "./h2load.ts";
import { hey } from "./hey.ts";
import { inferencePerf } from "./inference-perf.ts";
import { k6 } from "./k6.ts";
import { llmperf } from "./llmperf.ts";
import { locust } from "./locust.ts";
import { oha } from "./oha.ts";
import type { Output, Reader } from "./reader.ts";
import { vegeta } from "./vegeta.ts";
import { sglang, vllm } from "./vllm.ts";
import { wrk } from "./wrk.ts";

export const readers: readonly Reader[] = [
  guidellm,
  aiperf,
  vllm,
  sglang,
  llmperf,
  inferencePerf,
  k6,
  locust,
  oha,
  vegeta,
  autocannon,
  h2load,
  hey,
  wrk,
  fakeai,
];

/** What a reader makes of an output; null: none of them knows it. Throws Error for a report that a reader knows and cannot read. */
export function reportIn(output: Output): { readonly reader: Reader; readonly report: Report } | null {
  for (const reader of readers) {
    const report = reader.read(output);
    if (report !== null) return { reader, report };
  }
  return null;
}
