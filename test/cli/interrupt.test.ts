/** `fakeai bench`, interrupted: what was measured is written and marked incomplete, whatever was going on, and no process stays. */
import { mkdtempSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import type { BenchResult } from "../../src/results/types.ts";
import { available, type Ended, runCli, type Running } from "../support/process.ts";
import { eventually } from "../support/wait.ts";
import { listen } from "../support/servers.ts";

// A busy machine takes its time until a run is as far as a test wants it.
const untilThereMs = 40_000;
vi.setConfig({ testTimeout: untilThereMs + 40_000 });

const folder = mkdtempSync(join(tmpdir(), "fakeai-interrupt-"));
let runs = 0;

interface Interrupted extends Ended {
  /** Null where none was written. */
  readonly result: BenchResult | null;
  /** Processes that the bench had started and that outlived it. */
  readonly left: readonly number[];
}

/** Starts a bench, lets `act` do with it what it wants once its progress says `when`, and waits for its end. */
async function interrupted(args: readonly string[], when: RegExp, act: (run: Running) => unknown, detached = false): Promise<Interrupted> {
  const directory = join(folder, String(runs++));
  const run = runCli(["bench", "--keep-disturbed", "--out", directory, ...args], { detached });
  let text = "";
  run.child.stderr.on("data", (chunk: Buffer) => (text += chunk.toString()));
  await eventually(() => when.test(text), `${when}`, untilThereMs);
  const before = childrenOf(run.child.pid!);
  await act(run);
  const children = [...new Set([...before, ...childrenOf(run.child.pid!)])];
  const ended = await run.ended;
  let result: BenchResult | null = null;
  try {
    result = JSON.parse(readFileSync(join(directory, "result.json"), "utf8")) as BenchResult;
  } catch {
    // There is none: the test says what that means.
  }
  // What was killed may be a zombie for a moment.
  await eventually(() => !children.some(alive), "all have ended", 3000).catch(() => {});
  return { ...ended, result, left: children.filter(alive) };
}

/** Linux alone tells. */
function childrenOf(pid: number): number[] {
  try {
    const own = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").trim();
    return own === "" ? [] : own.split(" ").map(Number);
  } catch {
    return [];
  }
}

/** What Linux says of a process; empty where there is none. */
function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, "latin1");
  } catch {
    return "";
  }
}

function alive(pid: number): boolean {
  const status = statusOf(pid);
  return status !== "" && !/^State:\s+Z/m.test(status);
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Many rounds, each of them short. */
const long = ["--scenario", "stream", "--protocol", "h1", "--streams", "4", "--requests", "8", "--rounds", "500"];
const paced = ["--ttft", "50", "--itl", "5", "--output-tokens", "5"];

test("in the middle of the rounds: those that were whole are in the result", async () => {
  const { code, result, stdout, stderr, left } = await interrupted([...long, ...paced], /round (?!1 )\d+ of 500/, ({ child }) =>
    child.kill("SIGINT"),
  );
  expect(stderr).toMatch(/interrupted: writing what was measured/);
  expect(stdout).toMatch(/^Report +.*report\.html$/m);
  expect([code, result!.complete, left]).toEqual([130, false, []]);
  const { rounds } = result!.scenarios[0]!.arms[0]!;
  expect(rounds.length).toBeGreaterThan(0);
  expect(rounds.length).toBeLessThan(500);
  // That a busy machine did not keep the plan is no fault of these rounds.
  const faults = (invalid: readonly string[]): string[] => invalid.filter((reason) => !/^(?:server|client)-limited: /.test(reason));
  for (const { requests, invalid } of rounds) expect([requests.completed, faults(invalid)]).toEqual([8, []]);
});

test.each([
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const)("%s while it calibrates: nothing was measured, and the result says so", async (signal, expected) => {
  const { code, result, stdout, left } = await interrupted(long, /calibration/, ({ child }) => child.kill(signal));
  expect([code, result?.complete, left]).toEqual([expected, false, []]);
  expect(result!.invalid).toEqual([]);
  expect(result!.scenarios.map(({ id, skipped, arms }) => [id, skipped, arms.length])).toEqual([
    ["stream", "interrupted before it had a result", 0],
  ]);
  expect(stdout).toMatch(/^Report +.*report\.html$/m);
});

test("Ctrl-C under npm run: the whole group is told, and npm passes it on once more", async () => {
  const { code, result, left } = await interrupted(
    long,
    /calibration/,
    async ({ child }) => {
      process.kill(-child.pid!, "SIGINT");
      await pause(30);
      child.kill("SIGINT");
    },
    true,
  );
  expect([code, result?.complete, left]).toEqual([130, false, []]);
});

test("Ctrl-C with a pipe that ends at once, as tee does: the result is written", async () => {
  const { code, result, left } = await interrupted(long, /calibration/, async ({ child }) => {
    child.stdout.destroy();
    child.stderr.destroy();
    await pause(30);
    child.kill("SIGINT");
  });
  expect([code, result?.complete, left]).toEqual([130, false, []]);
});

(available("h2load") ? test : test.skip)("while h2load runs: it ends too", async () => {
  const args = ["--scenario", "unary", "--protocol", "h1", "--requests", "300000", "--rounds", "2"];
  const { code, result, left } = await interrupted(args, /unary/, async ({ child }) => {
    const runs = (pid: number): boolean => /^Name:\s+h2load$/m.test(statusOf(pid));
    if (process.platform === "linux") await eventually(() => childrenOf(child.pid!).some(runs), "h2load runs", 15_000);
    else await pause(3000);
    child.kill("SIGINT");
  });
  expect([code, result?.complete, left]).toEqual([130, false, []]);
});

/** Takes connections and never says a word. */
async function silent(): Promise<{ url: string; close: () => void }> {
  const server = createServer(() => {});
  const port = await listen(server);
  return { url: `http://127.0.0.1:${port}`, close: () => server.close() };
}

test("who does not answer is not waited for", async () => {
  const { url, close } = await silent();
  const { code, result } = await interrupted(["--url", url, "--scenario", "stream"], /asking/, ({ child }) => child.kill("SIGINT"));
  close();
  expect([code, result?.complete]).toEqual([130, false]);
});

test("a second signal, later, ends it at once", async () => {
  const { url, close } = await silent();
  const { code, stderr } = await interrupted(["--url", url, "--scenario", "stream"], /asking/, async ({ child }) => {
    child.kill("SIGINT");
    await pause(1200);
    child.kill("SIGINT");
  });
  close();
  expect(code).toBe(130);
  expect(stderr).toMatch(/ended at once: no result was written/);
});
