/** The server in a process that can say how much heap is left after a collection. Each line on stdin asks for a report. */
import { PerformanceObserver } from "node:perf_hooks";
import { createInterface } from "node:readline";
import { createServer } from "../../src/index.ts";

export interface HeapReport {
  readonly heapUsed: number;
  readonly external: number;
  readonly rss: number;
  readonly tokens: number;
  readonly longestPauseMs: number;
}

let longestPauseMs = 0;
let forced = false;
new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) if (!forced) longestPauseMs = Math.max(longestPauseMs, duration);
}).observe({ entryTypes: ["gc"] });

const server = await createServer({ protocol: "h1,h2c", maxConcurrentStreams: 1000, outputTokens: 100 });
process.stdout.write(`${JSON.stringify({ listening: server.listening })}\n`);

createInterface({ input: process.stdin }).on("line", () => {
  forced = true;
  for (let i = 0; i < 4; i++) globalThis.gc!();
  const { heapUsed, external, rss } = process.memoryUsage();
  const report: HeapReport = { heapUsed, external, rss, tokens: server.stats().generationTokens, longestPauseMs };
  process.stdout.write(`${JSON.stringify(report)}\n`);
  // The observer hears of collections later than they are.
  setTimeout(() => {
    forced = false;
  }, 100);
});
