import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Real-time tests share two cores: one file at a time.
    fileParallelism: false,
    // Real-time tests on a shared machine: one pause of the host is no fault of ours, two in a row are.
    retry: process.env["CI"] === "true" ? 1 : 0,
    // Tests that ask to run side by side wait most of their time.
    maxConcurrency: 12,
    testTimeout: 30_000,
    hookTimeout: 30_000,
    reporters: ["default", ["json", { outputFile: process.env["TEST_RESULTS"] ?? "node_modules/.cache/test-results.json" }]],
  },
});
