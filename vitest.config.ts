import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

/** Rooms whose files run side by side: their tests start processes or compute, and judge no time. A new room runs alone. */
const parallel = [
  "api",
  "architecture",
  "audit",
  "base",
  "bench",
  "cli",
  "clients",
  "core",
  "docs",
  "report",
  "results",
  "runner",
  "server",
  "settings",
  "shards",
  "wire",
];

/** Rooms and files that wait most of their time, on servers of their own: alone they leave a core idle. */
const waitingRooms = ["load", "network", "tape"];
const waitingFiles = [
  "test/clients/retries.test.ts",
  "test/listeners/{backpressure,disconnect,drain,surface,upgrade,wire}.test.ts",
  "test/listeners/{realtime,websocket}*.test.ts",
  "test/server/knobs.test.ts",
  "test/settings/aliases.test.ts",
  "test/shards/slurm.test.ts",
];

/** Files of these rooms that run alone all the same. */
const alone = [
  // It builds `dist` anew, which other tests run.
  "test/cli/package.test.ts",
  // They judge how long something takes, or how much memory it holds.
  "test/bench/soak.test.ts",
  "test/runner/bench.test.ts",
  "test/server/heap.test.ts",
  "test/server/rate-limit.test.ts",
  "test/server/scheduler.test.ts",
  "test/server/warm.test.ts",
  // It judges the gaps of streams at the client.
  "test/load/stream.test.ts",
];

export default defineConfig({
  test: {
    globalSetup: "test/support/build.ts",
    // One pause of a shared machine is not fakeai's fault, two in a row are. CI names the tests that needed the second try.
    retry: process.env["CI"] === "true" ? 1 : 0,
    // Tests that ask to run side by side wait most of their time.
    maxConcurrency: 12,
    testTimeout: 30_000,
    hookTimeout: 30_000,
    reporters: ["default", ["json", { outputFile: process.env["TEST_RESULTS"] ?? "node_modules/.cache/test-results.json" }]],
    projects: [
      {
        extends: true,
        test: {
          name: "parallel",
          include: parallel.map((room) => `test/${room}/**/*.test.ts`),
          exclude: [...alone, ...waitingFiles],
          // Most of them wait: three at a time even on two cores.
          maxWorkers: Math.max(3, availableParallelism()),
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: "waiting",
          include: [...waitingRooms.map((room) => `test/${room}/**/*.test.ts`), ...waitingFiles],
          exclude: alone,
          maxWorkers: 3,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: "alone",
          include: [`test/!(${[...parallel, ...waitingRooms].join("|")})/**/*.test.ts`, ...alone],
          exclude: waitingFiles,
          // They share the cores with the servers that they start.
          maxWorkers: 1,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
