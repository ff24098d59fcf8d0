/** What a load is made from: arrivals and traces. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { constantArrivalsUs, poissonArrivalsUs } from "../../src/load/arrivals.ts";
import { readTrace } from "../../src/load/trace.ts";

describe("arrivals", () => {
  test("a constant rate has equal gaps from 0", () => {
    expect([...constantArrivalsUs(200, 4)]).toEqual([0, 5000, 10_000, 15_000]);
    expect(() => constantArrivalsUs(0, 1)).toThrow(RangeError);
    expect(() => poissonArrivalsUs(Number.NaN, 1, 1)).toThrow(RangeError);
  });

  test("Poisson gaps are exponential with the mean of the rate, the same for the same seed", () => {
    const count = 100_000;
    const at = poissonArrivalsUs(1000, count, 7);
    expect(at).toEqual(poissonArrivalsUs(1000, count, 7));
    expect(at).not.toEqual(poissonArrivalsUs(1000, count, 8));
    const gaps = at.map((us, i) => us - (at[i - 1] ?? 0));
    const mean = at[count - 1]! / count;
    const variance = gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / count;
    // 5 standard errors: 1/sqrt(n) of the mean, and of an exponential's deviation sqrt(2/n) of it.
    expect(Math.abs(mean / 1000 - 1)).toBeLessThan(5 / Math.sqrt(count));
    expect(Math.abs(Math.sqrt(variance) / 1000 - 1)).toBeLessThan(5 * Math.sqrt(2 / count));
    const overMean = gaps.filter((gap) => gap > 1000).length / count;
    expect(Math.abs(overMean - Math.exp(-1))).toBeLessThan(0.01);
    expect(Math.min(...gaps.slice(0, 1000))).toBeGreaterThan(0);
  });
});

describe("traces", () => {
  const directory = mkdtempSync(join(tmpdir(), "fakeai-trace-"));
  afterAll(() => rmSync(directory, { recursive: true }));
  const file = (text: string): string => {
    const path = join(directory, "trace");
    writeFileSync(path, text);
    return path;
  };

  test("Azure's CSV: seven fractional digits, no newline at the end", () => {
    const text = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46.6805900,374,44\r\n2023-11-16 18:15:50.9951690,396,109";
    const requests = readTrace(file(text));
    expect(requests.map(({ inputTokens, outputTokens }) => [inputTokens, outputTokens])).toEqual([
      [374, 44],
      [396, 109],
    ]);
    expect(requests[0]!.atMs).toBe(0);
    expect(requests[1]!.atMs).toBeCloseTo(4314.579, 3);
  });

  test("Azure's 2024 form, with offsets and out of order", () => {
    const text = "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:01.5+00:00,2,3\n2024-05-10 01:00:00.000000+01:00,1,1\n";
    expect(readTrace(file(text))).toEqual([
      { atMs: 0, inputTokens: 1, outputTokens: 1 },
      { atMs: 1500, inputTokens: 2, outputTokens: 3 },
    ]);
  });

  test("Mooncake's JSONL", () => {
    const text =
      '{"timestamp": 27000, "input_length": 10, "output_length": 5, "hash_ids": [0]}\n{"timestamp": 30000, "input_length": 1, "output_length": 2}\n';
    expect(readTrace(file(text))).toEqual([
      { atMs: 0, inputTokens: 10, outputTokens: 5 },
      { atMs: 3000, inputTokens: 1, outputTokens: 2 },
    ]);
  });

  test.each([
    ["", /no trace/],
    ["a,b,c\n1,2,3\n", /no trace: expected a header/],
    ["TIMESTAMP,ContextTokens,GeneratedTokens\n", /holds no requests/],
    ["TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,1\n", /line 2: "yesterday" is not a time/],
    ["TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,1\n", /line 2: "GeneratedTokens"/],
    ["TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,-1,2\n", /line 2: "ContextTokens"/],
    ['{"timestamp":0,"input_length":1,"output_length":1}\n{broken\n', /line 2: not JSON/],
    ['{"timestamp":"0","input_length":1,"output_length":1}\n', /line 1: "timestamp"/],
    ['{"timestamp":0,"output_length":1}\n', /line 1: "input_length"/],
  ])("%j is refused in one line", (text, message) => {
    const path = file(text);
    expect(() => readTrace(path)).toThrow(message);
    expect(() => readTrace(path)).toThrow(/^[^\n]+$/);
  });

  test("a file that is not there", () => {
    expect(() => readTrace(join(directory, "none"))).toThrow(/cannot read the trace .*ENOENT/);
  });
});
