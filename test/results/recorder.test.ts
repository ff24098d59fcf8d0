import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { mergeSummaries, percentileCurve, Recorder, summarize } from "../../src/results/recorder.ts";
import type { MetricSummary } from "../../src/results/types.ts";

function recorded(values: readonly number[]): MetricSummary {
  const recorder = new Recorder("us");
  for (const value of values) recorder.record(value);
  const summary = recorder.summary();
  if (summary === null) throw new Error("nothing recorded");
  return summary;
}

describe("Recorder", () => {
  it("is null, not zero, when nothing was recorded", () => {
    expect(new Recorder("us").summary()).toBeNull();
    expect(summarize([], "count")).toBeNull();
    expect(mergeSummaries([])).toBeNull();
  });

  it("keeps mean, std, min and max of the values as given, percentiles within 0.1%", () => {
    const values = Array.from({ length: 1000 }, (_, index) => 20_000.25 + index);
    const summary = recorded(values);
    expect(summary.mean).toBeCloseTo(20_499.75, 6);
    expect(summary.std).toBeCloseTo(288.8194, 3);
    expect(summary).toMatchObject({ count: 1000, min: 20_000.25, max: 20_999.25, unit: "us" });
    for (const [percentile, exact] of [
      [summary.p50, 20_499],
      [summary.p90, 20_899],
      [summary.p99, 20_989],
      [summary.p999, 20_998],
    ] as const) {
      expect(percentile).toBeGreaterThanOrEqual(exact);
      expect(percentile).toBeLessThanOrEqual(exact * 1.001 + 1);
    }
  });

  it("clamps what is negative or longer than a day, rejects what is no number, and counts both", () => {
    const recorder = new Recorder("us");
    for (const value of [-5, Number.NaN, Infinity, -Infinity, 1e12, 100]) recorder.record(value);
    expect([recorder.count, recorder.clamped, recorder.rejected]).toEqual([3, 2, 3]);
    expect(recorder.summary()).toMatchObject({ count: 3, min: 0, max: 86_400_000_000 });
    recorder.reset();
    expect([recorder.count, recorder.clamped, recorder.rejected, recorder.summary()]).toEqual([0, 0, 0, null]);
  });

  it("merges parts into exactly what one recorder would have seen", () => {
    const value = fc.double({ min: 0, max: 1e9, noNaN: true });
    fc.assert(
      fc.property(fc.array(fc.array(value, { minLength: 1, maxLength: 40 }), { minLength: 1, maxLength: 5 }), (parts) => {
        const whole = recorded(parts.flat());
        const merged = mergeSummaries(parts.map(recorded));
        if (merged === null) throw new Error("not merged");
        const { mean, std, ...rest } = merged;
        expect(rest).toEqual({
          unit: "us",
          count: whole.count,
          min: whole.min,
          max: whole.max,
          p50: whole.p50,
          p90: whole.p90,
          p95: whole.p95,
          p99: whole.p99,
          p999: whole.p999,
          histogram: whole.histogram,
        });
        const scale = Math.max(1, whole.max) * 1e-6;
        expect(Math.abs(mean - whole.mean)).toBeLessThan(scale);
        expect(Math.abs(std - whole.std)).toBeLessThan(scale);
      }),
      { numRuns: 60 },
    );
  });

  it("refuses to merge different units, broken histograms, and percentiles nobody can know", () => {
    const a = recorded([1, 2, 3]);
    expect(() => mergeSummaries([a, { ...a, unit: "bytes" }])).toThrow("cannot merge a metric in bytes with one in us");
    expect(() => mergeSummaries([a, { ...a, histogram: "nonsense" }])).toThrow("not an HDR histogram");
    expect(mergeSummaries([a, { ...a, histogram: null }])).toBeNull();
  });

  it("pools scalars over rounds by nearest rank", () => {
    const rounds = [5, 1, 4, 2, 3].map((value) => summarize([value], "1/s"));
    const merged = mergeSummaries(rounds.filter((round) => round !== null));
    expect(merged).toMatchObject({ unit: "1/s", count: 5, mean: 3, min: 1, p50: 3, p90: 5, max: 5, histogram: null });
    expect(merged?.std).toBeCloseTo(Math.sqrt(2.5), 12);
    expect(
      summarize(
        Array.from({ length: 20 }, (_, index) => index + 1),
        "count",
      )?.p95,
    ).toBe(19);
  });

  it("draws a curve that rises from the minimum to the maximum", () => {
    const summary = recorded(Array.from({ length: 5000 }, (_, index) => index));
    const curve = percentileCurve(summary) ?? [];
    expect(curve.length).toBeGreaterThan(30);
    expect(curve.every(({ value }, index) => index === 0 || value >= (curve[index - 1]?.value ?? 0))).toBe(true);
    expect(curve.at(-1)?.value).toBeGreaterThanOrEqual(4995);
    expect(percentileCurve({ ...summary, histogram: null })).toBeNull();
  });
});
