/** Levels that an interruption breaks off: what has no whole round tells of no limit. */
import { expect, test } from "vitest";
import type { LoadDriver, LoadReport } from "../../../src/load/job.ts";
import { type LevelPlan, runLevel, type Way } from "../../../src/runner/gateways/frontier.ts";

const plan: LevelPlan = {
  ttftMs: 50,
  itlMs: 20,
  outputTokens: 10,
  runS: 1,
  rounds: 2,
  boundMs: 10,
  seed: 1,
  model: "fakeai",
  clock: null,
};
const endpoint: Way["endpoint"] = {
  origin: "http://127.0.0.1:1",
  protocol: "h1",
  path: "/v1/chat/completions",
  method: "POST",
  headers: {},
  tls: { ca: null, insecure: false, cipher: null },
};
const way = (id: string, gateway: Way["gateway"]): Way => ({ id, endpoint, gateway, server: { pid: null } });

/** Interrupted within the run of this number, whose requests fail by that. */
function interrupted(at: number): Promise<Awaited<ReturnType<typeof runLevel>>> {
  const controller = new AbortController();
  let runs = 0;
  const driver = {
    name: "stream",
    pid: null,
    supports: () => true,
    close: () => Promise.resolve(),
    run: () => {
      runs++;
      if (runs === at) controller.abort();
      const failed = runs === at ? 16 : 0;
      return Promise.resolve({
        requests: { sent: 20, completed: 20 - failed, failed },
        metrics: { achievedShare: { mean: failed > 0 ? 0.2 : 1 } },
        clientCpuShare: 0.1,
        durationUs: 1e6,
      } as unknown as LoadReport);
    },
  } as unknown as LoadDriver;
  const through = way("nginx-h1", { usage: () => null, died: null });
  return runLevel(way("direct-h1", null), [through], 16, plan, { driver, signal: controller.signal, progress: () => {} });
}

test("in the first round nothing is told of the level, nor of the measurement's own reach where nothing ran direct", async () => {
  for (const at of [1, 2]) {
    const { own, levels } = await interrupted(at);
    expect([...levels.keys()]).toEqual([]);
    expect(own === null || own.reason === null).toBe(true);
  }
  expect((await interrupted(1)).own).toBeNull();
});

test("in a later round the rounds before it stand, without a limit", async () => {
  for (const at of [3, 4]) {
    const { own, levels } = await interrupted(at);
    expect(levels.get("nginx-h1")).toMatchObject({ rounds: 1, limit: null, through: { failed: 0 }, direct: { failed: 0 } });
    expect(own?.reason).toBeNull();
  }
});
