/** Which part of a load a shard has. */
import { expect, test } from "vitest";
import { uniform } from "../../src/load/arrivals.ts";
import { shareSpec, hostAndPort } from "../../src/settings/shards.ts";
import { isDealt, partOf, shareOf, thinned } from "../../src/shards/share.ts";

test.each([
  ["2/4", {}, { shard: 2, of: 4 }],
  ["*/4", { JOB_COMPLETION_INDEX: "0" }, { shard: 1, of: 4 }],
  ["*", { SLURM_ARRAY_TASK_ID: "3", SLURM_ARRAY_TASK_COUNT: "4", SLURM_ARRAY_TASK_MIN: "1" }, { shard: 3, of: 4 }],
  // --array=0-6:2
  [
    "*/*",
    { SLURM_ARRAY_TASK_ID: "6", SLURM_ARRAY_TASK_COUNT: "4", SLURM_ARRAY_TASK_MIN: "0", SLURM_ARRAY_TASK_STEP: "2" },
    { shard: 4, of: 4 },
  ],
  ["*", { OMPI_COMM_WORLD_RANK: "1", OMPI_COMM_WORLD_SIZE: "2", SLURM_ARRAY_TASK_ID: "9" }, { shard: 2, of: 2 }],
])("%s with %j", (text, environment, share) => {
  expect(shareOf(shareSpec(text), environment)).toEqual(share);
});

test.each([
  ["*", {}, "none is set: give K/N"],
  ["*", { JOB_COMPLETION_INDEX: "1" }, "give */N"],
  ["*/2", { JOB_COMPLETION_INDEX: "" }, "none is set: give K/N"],
  ["*/2", { JOB_COMPLETION_INDEX: "two" }, 'JOB_COMPLETION_INDEX is "two", and no number'],
  ["*/2", { OMPI_COMM_WORLD_RANK: "-1", SLURM_ARRAY_TASK_ID: "1" }, 'OMPI_COMM_WORLD_RANK is "-1", and no number'],
  ["*/2", { JOB_COMPLETION_INDEX: "2" }, "there is no shard 3 of 2 (JOB_COMPLETION_INDEX is 2)"],
])("%s with %j is refused", (text, environment, reason) => {
  expect(() => shareOf(shareSpec(text), environment)).toThrow(reason);
});

test.each(["", "2", "0/4", "5/4", "1/0", "a/b", "1/2/3", "-1/4"])("--shard %j is refused", (text) => {
  expect(() => shareSpec(text)).toThrow("--shard");
});

test.each(["host", "host:", "host:70000", "http://host:1", "::1:80"])("%j is no host:port", (text) => {
  expect(() => hostAndPort(text, "--rendezvous")).toThrow("--rendezvous");
});

test("parts are as even as can be, and their sum is the whole", () => {
  for (const of of [1, 2, 3, 7]) {
    const parts = Array.from({ length: of }, (_, i) => partOf(100, { shard: i + 1, of }));
    expect(parts.reduce((a, b) => a + b)).toBe(100);
    expect(Math.max(...parts) - Math.min(...parts)).toBeLessThanOrEqual(1);
    for (let index = 0; index < 20; index++)
      expect(Array.from({ length: of }, (_, i) => isDealt(index, { shard: i + 1, of })).filter(Boolean)).toHaveLength(1);
  }
});

test("a thinned process goes to each shard equally often, each arrival by itself, and leaves none without", () => {
  const count = 20_000;
  const shards = thinned(count, 4, uniform(7));
  const held = [1, 2, 3, 4].map((shard) => shards.filter((one) => one === shard).length);
  // Five standard deviations of a binomial count.
  for (const one of held) expect(Math.abs(one - count / 4)).toBeLessThan(5 * Math.sqrt(count * 0.25 * 0.75));
  // Independent: a shard follows itself in a quarter of all cases, which dealing in turn never does.
  const repeats = shards.filter((one, i) => i > 0 && one === shards[i - 1]).length;
  expect(Math.abs(repeats - count / 4)).toBeLessThan(5 * Math.sqrt(count * 0.25 * 0.75));
  expect(new Set(thinned(5, 5, () => 0))).toEqual(new Set([1, 2, 3, 4, 5]));
});
