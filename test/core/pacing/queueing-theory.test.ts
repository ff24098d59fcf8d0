/**
 * The batched scheduler against queueing theory, in simulated time: with prompts that cost nothing and steps of one length, a
 * place in the batch is a server of a queue, and a sequence of k tokens a customer that is served for k steps.
 */
import { describe, expect, test } from "vitest";
import { BatchScheduler, type BatchSettings } from "../../../src/core/pacing/scheduler.ts";
import { latencyUnits, parseDistribution } from "../../../src/core/random/distribution.ts";
import { Meter } from "../../../src/core/pacing/meter.ts";
import { Random, seedOf } from "../../../src/core/random/random.ts";

const stepUs = 1000;

const settings: BatchSettings = {
  maxNumSeqs: 1,
  maxNumBatchedTokens: 1_000_000,
  maxQueue: 1_000_000,
  requestOverheadUs: 0,
  requestOverheadPerTokenUs: 0,
  stepTime: parseDistribution(stepUs / 1000, latencyUnits("step")),
  stepTimePerSeqUs: 0,
  prefillTimePerTokenUs: 0,
  blockSize: 1_000_000,
  kvBlocks: 1_000_000,
  prefixCaching: false,
};

/**
 * Mean waits, microseconds, of batches of customers that come at random (Poisson), each batch long enough to be nearly
 * independent of the one before. The first batch is left out.
 */
function waits(places: number, gapUs: number, tokens: (random: Random) => number, batches: number, size: number, seed: number): number[] {
  const meter = new Meter();
  const scheduler = new BatchScheduler({ ...settings, maxNumSeqs: places }, seedOf(seed), meter);
  const random = new Random(seedOf(seed), 77);
  const means: number[] = [];
  const observer = { onDue: (): void => {} };
  let arrivalUs = 0;
  let before = 0;
  for (let batch = 0; batch <= batches; batch++) {
    // A wait is counted when its sequence ends: all of a batch's are counted before the next begins to be.
    let count = 0;
    for (let i = 0; i < size; i++) {
      arrivalUs -= gapUs * Math.log(random.unit());
      while (scheduler.nextUs <= arrivalUs) scheduler.runUntil(scheduler.nextUs);
      const ask = { promptTokens: 1, chain: [], tokens: tokens(random), prompt: 0 };
      scheduler.answer([ask], arrivalUs, false).begin(observer);
      count++;
    }
    if (batch > 0) means.push((meter.queueTime.sumUs - before) / count);
    before = meter.queueTime.sumUs;
  }
  return means;
}

/** Student's t for a two-sided 95% interval from so many batches as are taken here (59 degrees of freedom). */
const batches = 60;
const t = 2.001;

/** Mean and the half of its 95% interval, by the method of batch means. */
function interval(means: readonly number[]): { mean: number; half: number } {
  const mean = means.reduce((sum, value) => sum + value, 0) / means.length;
  const variance = means.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (means.length - 1);
  return { mean, half: t * Math.sqrt(variance / means.length) };
}

/** The probability to wait in M/M/c (Erlang C), by the recursion of Erlang B. `load`: arrivals per service time. */
function erlangC(servers: number, load: number): number {
  let blocked = 1;
  for (let c = 1; c <= servers; c++) blocked = (load * blocked) / (c + load * blocked);
  return blocked / (1 - (load / servers) * (1 - blocked));
}

/** Mean wait in M/M/c. */
const waitMMc = (servers: number, gapUs: number, serviceUs: number): number => {
  const load = serviceUs / gapUs;
  return (erlangC(servers, load) * serviceUs) / (servers - load);
};

/** Mean wait in M/G/1 (Pollaczek and Khinchine): `squareUs` is the mean of the squares of service times. */
const waitMG1 = (gapUs: number, meanUs: number, squareUs: number): number => squareUs / (2 * gapUs * (1 - meanUs / gapUs));

/**
 * Service begins at the next step: who comes while a step is under way waits for its end, half a step on average, beyond
 * what the queue makes it wait. Who meets an idle scheduler does not.
 */
const alignUs = (busy: number): number => (busy * stepUs) / 2;

/** Geometric lengths: what exponential service becomes in whole steps. */
const geometric =
  (mean: number) =>
  (random: Random): number =>
    1 + Math.floor(Math.log(random.unit()) / Math.log(1 - 1 / mean));

/** Probability that a customer is in service in M/M/c. */
function busyMMc(servers: number, load: number): number {
  let term = 1;
  let sum = 1;
  for (let c = 1; c < servers; c++) sum += term *= load / c;
  term *= load / servers;
  return 1 - 1 / (sum + term / (1 - load / servers));
}

/** The interval has to be narrow enough to say something: this share of the theory's value to either side at most. */
const mostWidth = 0.08;

/**
 * Theory's value as a share of the half interval that lies around the mean, -1 to 1 within. The scheduler, its clock and its seed
 * are simulated: what holds once holds always. Of other seeds one in twenty may lie outside.
 */
function placeOf(means: readonly number[], theoryUs: number): number {
  const { mean, half } = interval(means);
  expect(half / theoryUs).toBeLessThan(mostWidth);
  return (theoryUs - mean) / half;
}

describe("M/M/c: Poisson arrivals, exponential lengths, c places", () => {
  test.each([
    [1, 0.5, 10_000],
    [1, 0.8, 10_000],
    [4, 0.8, 10_000],
    [16, 0.9, 20_000],
  ])("c = %i at %f of its capacity: Erlang C's wait lies within the 95% interval", (places, use, size) => {
    const tokens = 50;
    const serviceUs = tokens * stepUs;
    const gapUs = serviceUs / (places * use);
    const theory = waitMMc(places, gapUs, serviceUs) + alignUs(busyMMc(places, places * use));
    expect(Math.abs(placeOf(waits(places, gapUs, geometric(tokens), batches, size, 5), theory))).toBeLessThan(1);
  });

  test("a wrong formula is found out: the wait of M/D/1 is half of that, and outside", () => {
    const { mean, half } = interval(waits(1, 62_500, geometric(50), batches, 2000, 5));
    expect(Math.abs(mean - waitMG1(62_500, 50_000, 50_000 ** 2))).toBeGreaterThan(4 * half);
  });
});

describe("M/G/1: one place", () => {
  const meanTokens = 50;
  const gapUs = (meanTokens * stepUs) / 0.7;
  const service = {
    "M/D/1, all of one length": { draw: () => meanTokens, square: meanTokens ** 2 },
    "two lengths far apart": {
      // 25 nine times in ten, else 275.
      draw: (random: Random) => (random.unit() < 0.9 ? 25 : 275),
      square: 0.9 * 25 ** 2 + 0.1 * 275 ** 2,
    },
    "uniform from 1 to 99": { draw: (random: Random) => 1 + random.below(99), square: (100 * 199) / 6 },
  };

  test.each(Object.entries(service))("%s: the wait of Pollaczek and Khinchine lies within the 95% interval", (_name, { draw, square }) => {
    const theory = waitMG1(gapUs, meanTokens * stepUs, square * stepUs ** 2) + alignUs(0.7);
    expect(Math.abs(placeOf(waits(1, gapUs, draw, batches, 6000, 8), theory))).toBeLessThan(1);
  });
});

/** A closed loop: so many clients, each asks anew when it was answered. What came out, in simulated seconds. */
function closedLoop(
  clients: number,
  seconds: number,
  sloMs: { readonly ttft: number; readonly tpot: number },
): { throughput: number; goodput: number; ttftMs: number } {
  const scheduler = new BatchScheduler(
    {
      ...settings,
      maxNumSeqs: 64,
      maxNumBatchedTokens: 2048,
      stepTime: parseDistribution(10, latencyUnits("step")),
      stepTimePerSeqUs: 200,
      prefillTimePerTokenUs: 20,
    },
    seedOf(1),
    new Meter(),
  );
  const tokens = 50;
  let finished = 0;
  let good = 0;
  let ttftSum = 0;
  const endUs = seconds * 1e6;
  let nowUs = 0;
  const ask = (startUs: number): void => {
    const answer = scheduler.answer([{ promptTokens: 300, chain: [], tokens, prompt: 0 }], startUs, true);
    let first = -1;
    let asked = 0;
    const onDue = (): void => {
      for (let due = answer.nextDueUs(asked); due !== Infinity; due = answer.nextDueUs(asked)) {
        if (first < 0) first = due;
        if (++asked < tokens) continue;
        const tpot = (due - first) / (tokens - 1);
        // The first seconds are the way to a steady state.
        if (startUs + due > endUs / 4) {
          finished++;
          ttftSum += first;
          if (first <= sloMs.ttft * 1000 && tpot <= sloMs.tpot * 1000) good++;
        }
        ask(startUs + due);
        return;
      }
    };
    answer.begin({ onDue });
  };
  for (let client = 0; client < clients; client++) ask(client * 100);
  while (nowUs < endUs) {
    nowUs = Math.max(nowUs, scheduler.nextUs);
    scheduler.runUntil(nowUs);
  }
  const measured = 0.75 * seconds;
  return { throughput: finished / measured, goodput: good / measured, ttftMs: ttftSum / finished / 1000 };
}

test("a closed loop shows the knee, and the collapse of goodput beyond it", () => {
  const slo = { ttft: 500, tpot: 30 };
  const rows = new Map([1, 2, 4, 8, 16, 32, 64, 96, 128, 256].map((clients) => [clients, closedLoop(clients, 60, slo)] as const));
  const at = (clients: number): ReturnType<typeof closedLoop> => rows.get(clients)!;
  // Little's law: with a place for each, a client's round takes its TTFT and 49 steps.
  expect(at(1).throughput).toBeCloseTo(1000 / (16 + 49 * 10.2), 1);
  // Before the knee more clients get more done, and all of it in time.
  for (const clients of [2, 4, 8, 16, 32]) {
    expect(at(clients).throughput).toBeGreaterThan(at(clients / 2).throughput * 1.15);
    expect(at(clients).goodput).toBeCloseTo(at(clients).throughput, 5);
  }
  // Beyond it throughput stays, and what comes more only waits.
  const peak = Math.max(...Array.from(rows.values(), ({ throughput }) => throughput));
  for (const clients of [96, 128, 256]) expect(at(clients).throughput).toBeGreaterThan(0.95 * peak);
  expect(at(128).ttftMs).toBeGreaterThan(4 * at(64).ttftMs);
  expect(at(256).ttftMs).toBeGreaterThan(2.5 * at(128).ttftMs);
  // Little's law again, of those that wait: clients = throughput x (wait + service).
  const roundMs = (clients: number): number => (1000 * clients) / at(clients).throughput;
  expect(roundMs(256) - roundMs(128)).toBeCloseTo((1000 * 128) / peak, -3);
  // And of what is done, nothing is in time any more.
  expect(Math.max(...Array.from(rows.values(), ({ goodput }) => goodput))).toBeGreaterThan(0.9 * at(32).throughput);
  expect(at(256).goodput).toBe(0);
});
