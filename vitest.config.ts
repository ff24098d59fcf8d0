import { defineConfig } from "vitest/config";

/** Rooms whose tests judge no time: their files run side by side. A new room runs alone until it is listed here. */
const parallel = ["api", "architecture", "base", "bench", "cli", "clients", "core", "docs", "report", "results", "settings"];

/** Files of these rooms that run alone all the same. */
const alone = [
  // Its pacing is judged.
  "test/bench/soak.test.ts",
  // It builds `dist` anew, which other tests run.
  "test/cli/package.test.ts",
  // They judge how long clients, limits and latencies take.
  "test/clients/retries.test.ts",
  "test/core/rate-limit.test.ts",
  "test/settings/aliases.test.ts",
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
          exclude: alone,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: "alone",
          include: [`test/!(${parallel.join("|")})/**/*.test.ts`, ...alone],
          // They share the cores with the servers that they start.
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
