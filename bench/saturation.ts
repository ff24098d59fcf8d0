/**
 * The batched scheduler with real sockets, and what `--latency-from` makes of it.
 *
 * First a closed loop over rising concurrency in front of `--preset llama-3.1-8b-h100 --max-num-seqs 32`: throughput, and
 * goodput, the requests per second of which TTFT and TPOT are within the bounds below. Then the latencies of 16 clients
 * with prompts of many lengths are written as a CSV, a second server imitates them, and a two-sample Kolmogorov-Smirnov distance compares what it planned
 * with what was recorded; beside it the same distance for a constant TTFT and ITL of the same medians.
 */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { clockIdentity } from "../src/base/clock.ts";
import { driverNamed } from "../src/load/drivers/drivers.ts";
import type { LoadReport, RequestDetail } from "../src/load/job.ts";
import { serveFakeai } from "./support/server.ts";
import { median } from "./support/statistics.ts";
import { ksDistance, ksP } from "../test/support/kolmogorov.ts";

const tokens = 100;
/** About 1,000 tokens, at four characters each. */
const promptCharacters = 4000;
const slo = { ttftMs: 500, tpotMs: 20 };
const clients = [1, 2, 4, 8, 16, 32, 48, 64, 128];

function startServer(flags: readonly string[]): ReturnType<typeof serveFakeai> {
  return serveFakeai(["--port", "0", "--h1-engine", "node", "--stamps", "--output-tokens", String(tokens), ...flags], null);
}

const driver = driverNamed("stream");
let prompts = 0;

function measure(url: string, streams: number, count: number, varied = false): Promise<LoadReport> {
  // No prompt begins like another: none is in the cache.
  const request = (): { body: string; tokens: number } => ({
    body: JSON.stringify({
      model: "m",
      stream: true,
      messages: [
        {
          role: "user",
          content: `${prompts++} `.padEnd(varied ? 200 + ((prompts * 7919) % 16_000) : promptCharacters, "All happy families are alike. "),
        },
      ],
    }),
    tokens,
  });
  return driver.run(
    {
      endpoint: {
        origin: url,
        protocol: "h1",
        path: "/v1/chat/completions",
        method: "POST",
        headers: { "content-type": "application/json" },
        tls: { ca: null, insecure: false, cipher: null },
      },
      connections: streams,
      reuse: "keep",
      streams,
      mode: "closed",
      warmup: Array.from({ length: streams }, request),
      requests: Array.from({ length: count }, request),
      idleTimeoutMs: 60_000,
      requestTimeoutMs: 300_000,
      stream: true,
      detail: true,
      clock: clockIdentity,
    },
    { signal: new AbortController().signal, cpu: null, onPhase() {}, onProgress() {} },
  );
}

/** Gaps between the times at which tokens were due, microseconds. */
const gapsOf = ({ dueUs }: RequestDetail): number[] => dueUs.slice(1).map((due, index) => due - dueUs[index]!);
/** As planned, from when the client began. */
const ttftOf = ({ dueUs, startUs }: RequestDetail): number => dueUs[0]! - startUs;
const ms = (us: number): string => (us / 1000).toFixed(1);

const table: Record<string, Record<string, string>> = {};
const recorded = { ttft: [] as number[], itl: [] as number[] };
const server = await startServer(["--preset", "llama-3.1-8b-h100", "--max-num-seqs", "32"]);
try {
  for (const streams of process.argv[2] === "imitation" ? [] : clients) {
    const { requests, durationUs, details, metrics, invalid } = await measure(server.url, streams, Math.max(8, streams * 3));
    const good = details.filter((detail) => {
      const { tokenUs, startUs, error } = detail;
      const tpot = (tokenUs.at(-1)! - tokenUs[0]!) / (tokenUs.length - 1);
      return error === null && tokenUs[0]! - startUs <= slo.ttftMs * 1000 && tpot <= slo.tpotMs * 1000;
    });
    table[`${streams} clients`] = {
      "requests/s": ((requests.completed * 1e6) / durationUs).toFixed(2),
      "goodput/s": ((good.length * 1e6) / durationUs).toFixed(2),
      "TTFT p50": ms(metrics.ttft!.p50),
      "TTFT p99": ms(metrics.ttft!.p99),
      "TPOT p50": ms(metrics.tpot!.p50),
      "late p99": ms(metrics.serverLateness!.p99),
      ok: requests.failed === 0 && invalid.length === 0 ? "yes" : `no: ${invalid.join("; ") || `${requests.failed} failed`}`,
    };
    console.error(`${streams} clients: ${JSON.stringify(table[`${streams} clients`])}`);
  }
  const { details } = await measure(server.url, 16, 320, true);
  for (const detail of details) {
    recorded.ttft.push(ttftOf(detail));
    recorded.itl.push(...gapsOf(detail));
  }
} finally {
  await server.stop();
}
console.table(table);

const csv = join(mkdtempSync(join(tmpdir(), "fakeai-saturation-")), "recorded.csv");
const row = (itl: number, index: number): string => `${index < recorded.ttft.length ? recorded.ttft[index]! / 1000 : ""},${itl / 1000}`;
writeFileSync(csv, `ttft_ms,itl_ms\n${recorded.itl.map(row).join("\n")}\n`);
const imitations = {
  "--latency-from": ["--latency-from", csv],
  "constant medians": ["--ttft", ms(median(recorded.ttft)), "--itl", ms(median(recorded.itl))],
};
const compared: Record<string, Record<string, string>> = {};
for (const [name, flags] of Object.entries(imitations)) {
  const imitating = await startServer([...flags, "--seed", "5"]);
  try {
    const { details } = await measure(imitating.url, 16, 320, true);
    // The way to the server is in what was recorded, and comes on top of what is planned from it.
    const seen = { ttft: details.map(ttftOf), itl: details.flatMap(gapsOf) };
    for (const metric of ["ttft", "itl"] as const) {
      const distance = ksDistance(seen[metric], recorded[metric]);
      compared[`${name}, ${metric}`] = {
        "recorded p50": ms(median(recorded[metric])),
        "imitated p50": ms(median(seen[metric])),
        "K-S distance": distance.toFixed(4),
        p: ksP(distance, seen[metric].length, recorded[metric].length).toPrecision(2),
      };
    }
  } finally {
    await imitating.stop();
  }
}
await driver.close();
console.table(compared);
