/** Shards beside each other, and servers. */
import { expect, test } from "vitest";
import { partsTables } from "../../src/report/parts.ts";
import type { ArmResult, ShardRound } from "../../src/results/types.ts";

function shard(number: number, ttftP50Us: number | null): ShardRound {
  return {
    shard: number,
    requests: { sent: 5, completed: 5, failed: 0, errors: {} },
    lateUs: number * 100,
    durationUs: 1e6,
    requestsPerSecond: 5,
    tokensPerSecond: null,
    ttftP50Us,
    ttftP99Us: null,
    itlP99Us: null,
    cpuUs: 1e4,
    cpuShare: 0.01,
    bytesReceived: 1e6,
    bytesSent: 0,
    invalid: [],
  };
}

function arm(rounds: readonly { readonly invalid?: readonly string[]; readonly shards: readonly ShardRound[] }[]): ArmResult {
  return { id: "h1", rounds: rounds.map(({ invalid = [], shards }) => ({ invalid, shards })) } as unknown as ArmResult;
}

test("each shard over the valid rounds: counts added, percentiles as a range, what nobody saw as a dash", () => {
  const gone = { invalid: ["shard 2 of 2: gone in the round"], shards: [shard(1, 9e6)] };
  const [table] = partsTables(arm([{ shards: [shard(1, 10_000), shard(2, null)] }, { shards: [shard(1, 12_000), shard(2, null)] }, gone]));
  expect(table!.title).toBe("h1 by shard, over its valid rounds");
  expect(table!.rows.map(([name, requests, , ttft]) => [name, requests, ttft])).toEqual([
    ["1 of 2", "10", "10.00 to 12.00"],
    ["2 of 2", "10", "–"],
  ]);
});

test("a thousand shards: those that a screen has room for, and how many there are", () => {
  const [table] = partsTables(arm([{ shards: Array.from({ length: 1000 }, (_, i) => shard(i + 1, 10_000)) }]));
  expect(table!.rows).toHaveLength(64);
  expect(table!.title).toBe("h1 by shard, over its valid rounds (64 of 1,000: result.json has all)");
});
