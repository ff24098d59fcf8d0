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
import type { RouteRequest } from "../src/core/seams.ts";
import { FakeClock, FakeSink } from "../test/support/fakes.ts";
import { spread } from "./support/statistics.ts";

const rounds = 9;
const streams = 1000;
const tokens = 2000;
const itlMs = 20;

const request: RouteRequest = {
  protocol: "h1",
  engine: "node",
  method: "POST",
  path: "/v1/chat/completions",
  query: "",
  ownHeaders: [],
  headerNames: () => [],
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
  const clock = new FakeClock({ us: 1_000_000 });
  // With the real clock each token pays for one reading of it, as in a server; the schedule still follows the jumps.
  if (realClock) clock.nowUs = () => (monotonicUs() > 0 ? clock.us : 0);
  const { model } = resolveConfig({ itl: itlMs, stamps }, freePorts);
  const generator = new Generator(model, "bench", () => 1_700_000_000);
  const pacer = new Pacer(clock, new Meter(), { stallTimeoutUs: 8e6 });
  for (let stream = 0; stream < streams; stream++) {
    pacer.send(generator.plan("chat", { ...request, receivedUs: clock.us + (stream % itlMs) * 1000 }, body), new FakeSink());
  }
  const turn = (): void => {
    clock.us += 1000;
    clock.wakeUs = Infinity;
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
  if (clock.wakeUs === Infinity && pacer.running > 0) throw new Error("the pacer went to sleep with streams under way");
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
