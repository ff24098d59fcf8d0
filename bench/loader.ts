/**
 * How much can one loader process read and still tell the truth? Streams are added until the mean ITL that it sees is
 * off by more than 5% from the plan, on h1 (uWebSockets.js) and h2c.
 *
 * The server runs on core 0 and the loader on core 1 where taskset is installed. ITL 20 ms, streams started evenly over
 * a second; a row is valid when every request is complete and the loader itself does not call it client-limited.
 * `late` is the server's lateness by its stamps, `transport` from its write to our read callback: the first shows a
 * server at its end, the second a loader at its.
 */
import { clockIdentity } from "../src/base/clock.ts";
import { driverNamed } from "../src/load/drivers/drivers.ts";
import type { LoadReport } from "../src/load/job.ts";
import { canPin, serveFakeai } from "./support/server.ts";

const itlMs = 20;
const tokens = 100;
const steps: Readonly<Record<"h1" | "h2c", readonly number[]>> = {
  h1: [1000, 1500, 2000, 2500, 3000],
  h2c: [1000, 2000, 3000, 4000, 5000],
};
/** Streams of one HTTP/2 connection. */
const perConnection = 250;
const errorLimit = 0.05;

function startServer(protocol: string): ReturnType<typeof serveFakeai> {
  const flags = ["--protocol", `${protocol}:0`, "--stamps", "--ttft", "100", "--itl", String(itlMs)];
  return serveFakeai([...flags, "--output-tokens", String(tokens), "--max-concurrent-streams", "1000"], canPin ? 0 : null);
}

const driver = driverNamed("stream");

async function measure(protocol: "h1" | "h2c", url: string, streams: number): Promise<LoadReport> {
  const body = JSON.stringify({ model: "m", stream: true, messages: [{ role: "user", content: "Hello there" }] });
  const requests = (count: number): { body: string; tokens: number }[] => Array.from({ length: count }, () => ({ body, tokens }));
  return driver.run(
    {
      endpoint: {
        origin: url,
        protocol,
        path: "/v1/chat/completions",
        method: "POST",
        headers: { "content-type": "application/json" },
        tls: { ca: null, insecure: false, cipher: null },
      },
      connections: protocol === "h1" ? streams : Math.ceil(streams / perConnection),
      reuse: "keep",
      streams,
      mode: "closed",
      warmup: requests(Math.min(streams, 500)),
      requests: requests(streams * 3),
      rampUs: 1_000_000,
      idleTimeoutMs: 10_000,
      requestTimeoutMs: 300_000,
      stream: true,
      detail: false,
      clock: clockIdentity,
    },
    { signal: new AbortController().signal, cpu: canPin ? 1 : null, onPhase() {}, onProgress() {} },
  );
}

const only = process.argv[2];
console.error(`node ${process.versions.node}, ${canPin ? "server on core 0, loader on core 1" : "not pinned"}, ITL ${itlMs} ms`);
const table: Record<string, Record<string, string>> = {};
for (const protocol of ["h1", "h2c"] as const) {
  if (only !== undefined && only !== protocol) continue;
  const server = await startServer(protocol);
  try {
    for (const streams of steps[protocol]) {
      const { requests, metrics, invalid, clientCpuShare } = await measure(protocol, server.url, streams);
      const milliseconds = (us: number | undefined): string => (us === undefined ? "-" : (us / 1000).toFixed(2));
      const error = (metrics.itl?.mean ?? Number.NaN) / (itlMs * 1000) - 1;
      // Between the ramps all streams run at once: what matters is the rate then.
      const peak = (streams * 1e6) / (metrics.itl?.mean ?? Number.NaN);
      const ok = requests.failed === 0 && Math.abs(error) <= errorLimit && invalid.length === 0;
      table[`${protocol} ${streams}`] = {
        "tokens/s": peak.toFixed(0),
        "ITL error": `${(error * 100).toFixed(2)}%`,
        "ITL p99": milliseconds(metrics.itl?.p99),
        "late p99": milliseconds(metrics.serverLateness?.p99),
        "transport p50": milliseconds(metrics.transport?.p50),
        "transport p99": milliseconds(metrics.transport?.p99),
        CPU: `${((clientCpuShare ?? 0) * 100).toFixed(0)}%`,
        "CPU us/token": (metrics.clientCpuUsPerToken?.mean ?? Number.NaN).toFixed(2),
        loop: milliseconds(metrics.clientEventLoopDelayP99Us?.mean),
        ok: ok ? "yes" : `no: ${invalid.join("; ") || `${requests.failed} failed`}`,
      };
      console.error(`${protocol} ${streams} streams: ${JSON.stringify(table[`${protocol} ${streams}`])}`);
      if (Math.abs(error) > errorLimit) break;
    }
  } finally {
    await server.stop();
  }
}
await driver.close();
console.table(table);
