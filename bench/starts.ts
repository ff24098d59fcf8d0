/** How long servers of a test suite take to start and to give their first answer, one after the other in one process. */
import { createServer } from "../dist/index.js";

const rounds = 5;
const servers = 20;
const body = JSON.stringify({ model: "any", messages: [{ role: "user", content: "Hi" }] });

/** Milliseconds from `createServer` to the whole of the first answer, and those that closing takes. */
async function startOne(h1Engine: "uws" | "node"): Promise<{ startMs: number; closeMs: number }> {
  const startedMs = performance.now();
  const server = await createServer({ h1Engine, outputTokens: 3 });
  const answer = await fetch(`${server.urls.h1}/v1/chat/completions`, { method: "POST", body });
  if (!(await answer.text()).includes('"completion_tokens": 3')) throw new Error(`a wrong answer: ${answer.status}`);
  const answeredMs = performance.now();
  await server.close(0);
  return { startMs: answeredMs - startedMs, closeMs: performance.now() - answeredMs };
}

const sorted = (values: readonly number[]): number[] => values.toSorted((a, b) => a - b);
const shown = (values: readonly number[], part: number): string =>
  sorted(values)[Math.min(values.length - 1, Math.floor(values.length * part))]!.toFixed(1);

console.log(
  "| engine | first of all, ms | CPU of each later one with its client, ms | start to first answer, ms: p50 / max | close, ms: p50 / max | RSS after the first and the last, MB |",
);
console.log("| --- | --- | --- | --- | --- | --- |");
for (const engine of ["uws", "node"] as const) {
  const starts: number[] = [];
  const closes: number[] = [];
  let firstMs = 0;
  let firstRss = 0;
  let cpu = process.cpuUsage();
  for (let i = 0; i < rounds * servers; i++) {
    const { startMs, closeMs } = await startOne(engine);
    if (i === 0) {
      firstMs = startMs;
      firstRss = process.memoryUsage.rss();
      cpu = process.cpuUsage();
      continue;
    }
    starts.push(startMs);
    closes.push(closeMs);
  }
  const { user, system } = process.cpuUsage(cpu);
  const cpuMs = (user + system) / 1000 / starts.length;
  const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(0);
  const memory = `${megabytes(firstRss)}, ${megabytes(process.memoryUsage.rss())}`;
  console.log(
    `| ${engine} | ${firstMs.toFixed(1)} | ${cpuMs.toFixed(1)} | ${shown(starts, 0.5)} / ${shown(starts, 1)} | ${shown(closes, 0.5)} / ${shown(closes, 1)} | ${memory} |`,
  );
}
