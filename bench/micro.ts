/**
 * What a token costs in our own code: the wheel, the plan, the frame and the meter, with a sink that does nothing.
 * Prints nanoseconds and heap bytes per token, the median and the spread over rounds.
 */
import { PerformanceObserver } from "node:perf_hooks";
import { Generator } from "../src/api/openai/generate.ts";
import { monotonicUs } from "../src/base/clock.ts";
import { resolveConfig, freePorts } from "../src/settings/server.ts";
import { Meter } from "../src/core/pacing/meter.ts";
import { Pacer } from "../src/core/pacing/pacer.ts";
import type { Clock, ResponseSink, RouteRequest } from "../src/core/seams.ts";
import { spread } from "./support/statistics.ts";

const rounds = 9;
const streams = 1000;
const tokens = 2000;
const itlMs = 20;

class NullSink implements ResponseSink {
  closed = false;
  observer: ResponseSink["observer"] = null;
  bytes = 0;
  isBeingRead(): boolean {
    return true;
  }
  start(): void {}
  write(frame: Uint8Array): boolean {
    this.bytes += frame.length;
    return true;
  }
  end(frame?: Uint8Array): void {
    this.bytes += frame?.length ?? 0;
    this.closed = true;
  }
  reset(): void {
    this.closed = true;
  }
}

const request: RouteRequest = {
  protocol: "h1",
  engine: "node",
  method: "POST",
  path: "/v1/chat/completions",
  query: "",
  header: () => undefined,
  receivedUs: 0,
};

const body = new TextEncoder().encode(
  JSON.stringify({ model: "bench", stream: true, max_tokens: tokens, ignore_eos: true, messages: [{ role: "user", content: "hi" }] }),
);

interface Round {
  readonly nsPerToken: number;
  readonly heapBytesPerToken: number;
}

/** One round: all streams from first to last token, on a clock that jumps a millisecond a turn. */
function round(stamps: boolean, realClock: boolean): Round {
  let nowUs = 1_000_000;
  let woken = false;
  // With the real clock each token pays for one reading of it, as in a server; the schedule still follows the jumps.
  const clock: Clock = {
    nowUs: realClock ? () => (monotonicUs() > 0 ? nowUs : 0) : () => nowUs,
    wakeAfter: () => {
      woken = true;
    },
    onWake: () => {},
  };
  const { model } = resolveConfig({ itl: itlMs, stamps }, freePorts);
  const generator = new Generator(model, "bench", () => 1_700_000_000);
  const pacer = new Pacer(clock, new Meter(), { stallTimeoutUs: 8e6 });
  for (let stream = 0; stream < streams; stream++) {
    pacer.send(generator.plan("chat", { ...request, receivedUs: nowUs + (stream % itlMs) * 1000 }, body), new NullSink());
  }
  const turn = (): void => {
    nowUs += 1000;
    woken = false;
    clock.onWake();
  };
  for (let warmUp = 0; warmUp < 200 * itlMs; warmUp++) turn();
  globalThis.gc!();
  gcRuns = 0;
  const heapBefore = process.memoryUsage().heapUsed;
  const startedMs = performance.now();
  let turns = 0;
  while (pacer.running === streams) {
    turn();
    turns++;
  }
  const elapsedMs = performance.now() - startedMs;
  const heapBytes = process.memoryUsage().heapUsed - heapBefore;
  if (!woken && pacer.running > 0) throw new Error("the pacer went to sleep with streams under way");
  const written = (turns / itlMs) * streams;
  return { nsPerToken: (elapsedMs * 1e6) / written, heapBytesPerToken: gcRuns === 0 ? heapBytes / written : Number.NaN };
}

let gcRuns = 0;
new PerformanceObserver((list) => {
  gcRuns += list.getEntries().length;
}).observe({ entryTypes: ["gc"] });

const show = (values: readonly number[], digits: number): string => {
  const measured = values.filter((value) => !Number.isNaN(value));
  return measured.length === 0 ? "n/a (a collection ran)" : spread(measured, digits);
};

console.log(`${streams} streams, ${tokens} tokens each, ${rounds} rounds: median (min to max) per token`);
for (const [name, stamps, realClock] of [
  ["plain, free clock", false, false],
  ["plain, real clock", false, true],
  ["stamped, real clock", true, true],
] as const) {
  const results: Round[] = [];
  for (let i = 0; i < rounds; i++) {
    results.push(round(stamps, realClock));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  console.log(
    `${name.padEnd(20)} ${show(
      results.map((result) => result.nsPerToken),
      1,
    )} ns   ${show(
      results.map((result) => result.heapBytesPerToken),
      2,
    )} heap bytes`,
  );
}
