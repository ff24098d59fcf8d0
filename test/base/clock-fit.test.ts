/** The estimate of another clock beside the truth, which the test makes. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { ClockFitter } from "../../src/base/clock-fit.ts";

interface Truth {
  readonly offsetUs: number;
  readonly driftPpm: number;
  /** Least time of the ways there and back. */
  readonly ways: readonly [number, number];
  /** Added to each way. */
  readonly delays: readonly (readonly [number, number])[];
  readonly everyUs: number;
}

function fitOf({ offsetUs, driftPpm, ways, delays, everyUs }: Truth) {
  const theirs = (us: number): number => us + offsetUs + (us * driftPpm) / 1e6;
  const fitter = new ClockFitter();
  for (const [i, [there, back]] of delays.entries()) {
    const t1 = i * everyUs;
    const received = t1 + ways[0] + there;
    const t4 = received + 5 + ways[1] + back;
    fitter.add({ t1, t2: theirs(received), t3: theirs(received + 5), t4 });
  }
  return { fit: fitter.fit()!, error: (us: number) => fitter.fit()!.at(us).offsetUs - (theirs(us) - us) };
}

test("the truth lies within the bound, however unequal the ways and whatever the drift", () => {
  const truth = fc.record({
    offsetUs: fc.double({ min: -5e9, max: 5e9, noNaN: true }),
    driftPpm: fc.double({ min: -200, max: 200, noNaN: true }),
    ways: fc.tuple(fc.integer({ min: 20, max: 2000 }), fc.integer({ min: 20, max: 2000 })),
    delays: fc.array(fc.tuple(fc.integer({ min: 0, max: 3000 }), fc.integer({ min: 0, max: 3000 })), { minLength: 3, maxLength: 40 }),
    everyUs: fc.integer({ min: 10_000, max: 2_000_000 }),
  });
  fc.assert(
    fc.property(truth, (given) => {
      const { fit, error } = fitOf(given);
      const endUs = given.delays.length * given.everyUs;
      for (const us of [0, endUs / 2, endUs]) expect(Math.abs(error(us))).toBeLessThanOrEqual(fit.at(us).boundUs + 2);
    }),
    { numRuns: 200 },
  );
});

test("5,000 s apart and 80 ppm of drift: known to the half of a round trip", () => {
  const delays = Array.from({ length: 60 }, (_, i): [number, number] => [(i * 37) % 400, (i * 53) % 300]);
  const { fit, error } = fitOf({ offsetUs: 5e9, driftPpm: 80, ways: [60, 60], delays, everyUs: 500_000 });
  for (const us of [0, 15e6, 30e6]) {
    expect(Math.abs(error(us))).toBeLessThan(100);
    expect(fit.at(us).boundUs).toBeLessThan(150);
  }
  expect(fit.driftPpm!).toBeCloseTo(80, -1);
});

test("far from the exchanges the bound grows, and a drift that cannot be told is null", () => {
  const { fit } = fitOf({
    offsetUs: 10,
    driftPpm: 0,
    ways: [100, 100],
    delays: [
      [0, 0],
      [0, 0],
    ],
    everyUs: 1000,
  });
  expect(fit.driftPpm).toBeNull();
  expect(fit.at(10e6).boundUs).toBeGreaterThan(1000);
});

test("a clock whose rate jumps leaves no line, and the bound says so", () => {
  const fitter = new ClockFitter();
  const theirs = (us: number): number => (us < 10e6 ? us : us + (us - 10e6) * 0.002);
  for (let us = 0; us < 20e6; us += 500_000) fitter.add({ t1: us, t2: theirs(us + 50), t3: theirs(us + 50), t4: us + 100 });
  const fit = fitter.fit()!;
  for (const us of [0, 10e6, 19e6]) {
    const { offsetUs, boundUs } = fit.at(us);
    expect(Math.abs(offsetUs - (theirs(us) - us))).toBeLessThanOrEqual(boundUs + 2);
    expect(boundUs).toBeGreaterThan(500);
  }
});

test("exchanges that cannot be are left out, and many are thinned out to the shortest", () => {
  const fitter = new ClockFitter();
  fitter.add({ t1: 100, t2: 0, t3: 0, t4: 50 });
  fitter.add({ t1: 0, t2: Number.NaN, t3: 0, t4: 50 });
  expect(fitter.fit()).toBeNull();
  for (let i = 0; i < 1000; i++)
    fitter.add({ t1: i * 1000, t2: i * 1000 + 50, t3: i * 1000 + 50, t4: i * 1000 + (i % 2 === 0 ? 100 : 900) });
  expect(fitter.exchanges).toBeLessThanOrEqual(256);
  expect(fitter.fit()!.at(500_000).boundUs).toBeLessThan(60);
});
