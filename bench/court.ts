/**
 * The transport court: its five scenarios by `fakeai bench`, the bytes of four arms by packets, and from both the verdicts and the
 * page of `results/court`.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { clockIdentity } from "../src/base/clock.ts";
import { LoaderDriver } from "../src/load/drivers/stream.ts";
import type { LoadJob } from "../src/load/job.ts";
import type { BenchResult } from "../src/results/types.ts";
import { requestsOf } from "../src/runner/plan/requests.ts";
import { scenarioNamed, variantsOf } from "../src/runner/plan/scenario.ts";
import { toolsOf } from "../src/runner/plan/sessions.ts";
import { startServerChild } from "../src/runner/processes/target.ts";
import { courtClaims, courtFolder, courtParts, type CourtResults, courtScenarios, type PacketCount, published } from "./pages/court.ts";
import { canCapture, capture } from "./replay/capture.ts";
import { withGenerated } from "./support/page.ts";
import { cliPath, root } from "./support/server.ts";

const { values, positionals } = parseArgs({
  options: {
    rounds: { type: "string", default: "4" },
    out: { type: "string", default: courtFolder },
    "keep-disturbed": { type: "boolean", default: false },
    again: { type: "boolean", default: false },
  },
  allowPositionals: true,
});

const out = resolve(root, values.out);
const fileOf = (name: string): string => join(out, `${name}.json`);
const asked = positionals.length === 0 ? [...courtScenarios, "packets"] : positionals;
/** Sessions whose packets are counted. */
const countedSessions = 4;
let missing = 0;

if (!values.again) {
  mkdirSync(out, { recursive: true });
  for (const id of asked) if (id !== "packets") run(id);
  if (asked.includes("packets")) await countPackets();
}
writePage();
if (missing > 0) process.exitCode = 1;

/** One scenario, as anyone runs it. What is published of it stays where it is when there is no result. */
function run(id: string): void {
  const place = mkdtempSync(join(tmpdir(), "fakeai-court-"));
  const flags = ["bench", "--suite", "full", "--scenario", id, "--rounds", values.rounds, "--out", place];
  if (values["keep-disturbed"]) flags.push("--keep-disturbed");
  spawnSync(process.execPath, [cliPath, ...flags], { stdio: ["ignore", "inherit", "inherit"] });
  const file = join(place, "result.json");
  if (existsSync(file)) writeFileSync(fileOf(id), `${JSON.stringify(published(JSON.parse(readFileSync(file, "utf8")) as BenchResult))}\n`);
  else missing++;
  rmSync(place, { recursive: true });
}

/** Four sessions of each arm, whose packets are counted: a load without warm-up, and a connection for each session. */
async function countPackets(): Promise<void> {
  if (!canCapture) {
    missing++;
    console.error("packets: not counted (tcpdump is missing)");
    return;
  }
  const { workload, arms } = variantsOf(scenarioNamed("court"), "full")[0]!;
  const load = { ...workload, requests: countedSessions };
  const seed = 1;
  const server = await startServerChild({
    protocols: ["h1", "ws"],
    engine: "node",
    ttft: load.ttft,
    itl: load.itl,
    outputTokens: load.outputTokens,
    maxConcurrentStreams: 256,
    seed,
    cpu: null,
  });
  const driver = new LoaderDriver("stream");
  const counts: PacketCount[] = [];
  try {
    for (const { id, protocol, history } of arms) {
      const origin = server.origins[protocol]!;
      const wording = { model: "fakeai", own: true, body: null, oneBody: false, arm: id, ...(history === undefined ? {} : { history }) };
      const job: LoadJob = {
        endpoint: { origin, protocol, path: load.path, method: "POST", headers: { "content-type": "application/json" }, tls: server.tls },
        connections: load.streams,
        reuse: "keep",
        streams: load.streams,
        tools: toolsOf(load, seed),
        mode: "closed",
        warmup: [],
        requests: requestsOf(load, wording, seed, 0, null),
        rampUs: load.rampMs * 1000,
        idleTimeoutMs: 10_000,
        requestTimeoutMs: 60_000,
        stream: true,
        detail: false,
        clock: clockIdentity,
      };
      const port = Number(new URL(origin).port);
      const capturing = await capture(port);
      const options = { signal: new AbortController().signal, cpu: null, onPhase: () => {}, onProgress: () => {} };
      const running = driver.run(job, options);
      // However it ends: else tcpdump would be left behind.
      const packets = await running.catch(() => {}).then(() => capturing.stop());
      const { requests, metrics, sessions } = await running;
      const perSession = (sum: number): number => sum / countedSessions;
      const up = packets.filter(({ to }) => to === port);
      const down = packets.filter(({ from }) => from === port);
      const payload = (those: typeof packets): number => perSession(those.reduce((sum, { bytes }) => sum + bytes, 0));
      if (sessions?.completed !== countedSessions) throw new Error(`${id}: not every session came to its end`);
      counts.push({
        arm: id,
        sessions: countedSessions,
        calls: Number(load.session!.calls),
        historyTokens: Number(load.inputTokens),
        requests: { completed: requests.completed, failed: requests.failed },
        perSession: {
          upPackets: perSession(up.length),
          upPayload: payload(up),
          downPackets: perSession(down.length),
          downPayload: payload(down),
          benchBytesSent: metrics.bytesSentPerSession!.mean,
          benchBytesReceived: metrics.bytesReceivedPerSession!.mean,
        },
      });
    }
  } finally {
    await driver.close();
    await server.close();
  }
  writeFileSync(fileOf("packets"), `${JSON.stringify(counts, null, 1)}\n`);
}

/** The claims and the page, from the files that are there. */
function writePage(): void {
  const read = (name: string): unknown => (existsSync(fileOf(name)) ? JSON.parse(readFileSync(fileOf(name), "utf8")) : undefined);
  const results = Object.fromEntries(courtScenarios.map((id) => [id, read(id)])) as CourtResults;
  const counts = (read("packets") ?? []) as readonly PacketCount[];
  writeFileSync(fileOf("claims"), `${JSON.stringify(courtClaims(results), null, 1)}\n`);
  const page = join(out, "README.md");
  const parts = courtParts(results, counts);
  if (existsSync(page)) writeFileSync(page, withGenerated(readFileSync(page, "utf8"), parts));
  else
    console.log(
      Object.values(parts)
        .map((part) => part())
        .join("\n\n"),
    );
}
