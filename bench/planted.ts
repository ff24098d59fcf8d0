/**
 * Whether half a millisecond that is planted is found: a proxy that adds 0.5 ms to what goes to the client, beside one that adds
 * nothing, both paired with direct runs by the frontier of `fakeai gateway certify`. The difference of the two is what is judged:
 * what any proxy adds is in both. A median with its interval by order statistics: on a busy machine single batches are off by
 * seconds. What is planted is 0.5 ms and what the proxy itself is late with it, which it tells: at most its p99. Fails where the interval of the way of
 * a token does not reach that range, or reaches 0.
 */
import { loadavg } from "node:os";
import { clockIdentity } from "../src/base/clock.ts";
import type { Endpoint } from "../src/load/job.ts";
import { LoaderDriver } from "../src/load/drivers/stream.ts";
import { type LevelPlan, runLevel, type Way } from "../src/runner/gateways/frontier.ts";
import { startServerChild } from "../src/runner/processes/target.ts";
import { noPlant } from "../src/network/plant.ts";
import { startProxy } from "../src/network/proxy.ts";

const plantedUs = 500;
/** The third of 12 from either end bounds the median in 96.1% of samples (binomial). */
const batches = 12;
const rank = 3;
const streams = 8;
const plan: LevelPlan = {
  ttftMs: 50,
  itlMs: 20,
  outputTokens: 10,
  runS: 1.5,
  rounds: 2,
  boundMs: 1000,
  seed: 1,
  model: "fakeai",
  clock: clockIdentity,
};

const server = await startServerChild({
  protocols: ["h1"],
  engine: "node",
  ttft: plan.ttftMs,
  itl: plan.itlMs,
  outputTokens: plan.outputTokens,
  maxConcurrentStreams: 256,
  seed: 1,
  cpu: null,
});
const driver = new LoaderDriver("stream");
const idle = { latencyUs: 0, jitterUs: null, bandwidth: null, stall: null, cut: null, loss: 0 };
const target = { host: "127.0.0.1", port: Number(new URL(server.origins.h1!).port) };
const impairment = { up: idle, down: idle };
const plain = await startProxy({ target, impairment, seed: 1 });
const late = await startProxy({ target, impairment, seed: 1, plant: { ...noPlant, delayUs: plantedUs } });

const endpoint = (origin: string): Endpoint => ({
  origin,
  protocol: "h1",
  path: "/v1/chat/completions",
  method: "POST",
  headers: { "content-type": "application/json" },
  tls: server.tls,
});
const way = (id: string, origin: string, isDirect: boolean): Way => ({
  id,
  endpoint: endpoint(origin),
  gateway: isDirect ? null : { usage: () => null, died: null },
  server,
});
const direct = way("direct", server.origins.h1!, true);
const ways = [way("plain", `http://127.0.0.1:${plain.port}`, false), way("late", `http://127.0.0.1:${late.port}`, false)];

const figures = { ttft: [] as number[], token: [] as number[] };
console.log(
  `planted: ${plantedUs} us; ${streams} streams; load ${loadavg()
    .map((load) => load.toFixed(1))
    .join(" ")}`,
);
// The first batch warms up, and is thrown away.
for (let batch = 0; batch <= batches; batch++) {
  const context = { driver, signal: new AbortController().signal, progress: () => {} };
  const levels = await runLevel(direct, ways, streams, { ...plan, seed: plan.seed + batch }, context);
  const [one, other] = [levels.get("plain")!, levels.get("late")!];
  const row = {
    ttft: (other.addedTtftP50?.estimateUs ?? Number.NaN) - (one.addedTtftP50?.estimateUs ?? Number.NaN),
    token: (other.addedTokenP50?.estimateUs ?? Number.NaN) - (one.addedTokenP50?.estimateUs ?? Number.NaN),
  };
  if (batch === 0) continue;
  figures.ttft.push(row.ttft);
  figures.token.push(row.token);
  console.log(`batch ${batch}: TTFT p50 ${row.ttft.toFixed(0)} us more, the way of a token ${row.token.toFixed(0)} us more`);
}
const lateness = late.stats().lateUs;
const lateUs = lateness?.p99 ?? 0;
await Promise.all([plain.close(), late.close(), driver.close()]);
await server.close();

console.log(
  `the proxy itself was ${lateness?.p50 ?? 0} us late at p50, ${lateUs} at p99: planted are ${plantedUs} to ${plantedUs + lateUs} us`,
);
for (const [name, values] of Object.entries(figures)) {
  const sorted = values.toSorted((a, b) => a - b);
  const [low, high] = [sorted[rank - 1]!, sorted[batches - rank]!];
  const median = (sorted[batches / 2 - 1]! + sorted[batches / 2]!) / 2;
  const isFound = low > 0 && low <= plantedUs + lateUs && high >= plantedUs;
  console.log(`${name}: ${median.toFixed(0)} us (${low.toFixed(0)} to ${high.toFixed(0)}), ${isFound ? "found" : "NOT found"}`);
  // TTFT has the turns of two more event loops in it: it is told, and the way of a token decides.
  if (name === "token" && !isFound) process.exitCode = 1;
}
console.log(
  `load after ${loadavg()
    .map((load) => load.toFixed(1))
    .join(" ")}`,
);
