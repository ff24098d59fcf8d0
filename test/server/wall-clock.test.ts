/**
 * A wall clock that jumps by days and runs ten times as fast (libfaketime, of Debian's package faketime): nothing that waits,
 * paces, limits or measures depends on it.
 */
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, onTestFinished, test } from "vitest";
import type { BenchResult } from "../../src/results/types.ts";
import { chat, chunksOf } from "../support/chat.ts";
import { runCli, serve } from "../support/process.ts";

const libraries = ["x86_64-linux-gnu", "aarch64-linux-gnu"].map((machine) => `/usr/lib/${machine}/faketime/libfaketimeMT.so.1`);
const library = libraries.find((path) => existsSync(path));
if (library === undefined && process.env["CI"] === "true") throw new Error("faketime is missing: CI has to install it");
if (library === undefined) console.warn("faketime is not installed: the tests of a clock that jumps are skipped");

const folder = mkdtempSync(join(tmpdir(), "fakeai-clock-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = join(folder, "time");

/** Sets the wall clock of the processes under test: "+1d" is a day ahead, "+0 x10" ten times as fast. */
function setClock(text: string): void {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

/** Has the clock jump until the test ends. */
function jump(): void {
  const places = ["-1d", "+0 x10", "+1d", "+0"];
  let at = 0;
  const timer = setInterval(() => setClock(places[at++ % places.length]!), 150);
  onTestFinished(() => clearInterval(timer));
}

/** Certificates are made by the clock that jumps. */
const env = {
  LD_PRELOAD: library ?? "",
  FAKETIME_TIMESTAMP_FILE: file,
  FAKETIME_NO_CACHE: "1",
  FAKETIME_DONT_FAKE_MONOTONIC: "1",
  DONT_FAKE_MONOTONIC: "1",
  XDG_CACHE_HOME: join(folder, "cache"),
  // h2load's allocator and libfaketime wait for each other.
  PATH: folder,
};

test.runIf(library !== undefined)("the clock of a process under test does jump", async () => {
  setClock("+1d");
  const { ended } = runCli(["-e", "console.log(Date.now())"], { env, script: "--no-warnings" });
  const aheadMs = Number((await ended).stdout) - Date.now();
  expect(Math.abs(aheadMs - 86_400_000)).toBeLessThan(60_000);
});

test.runIf(library !== undefined)("a server keeps its plan", async () => {
  setClock("+1d");
  const server = await serve(["--port", "0", "--workers", "2", "--stamps", "--ttft", "200", "--itl", "40"], { env });
  jump();
  const startMs = performance.now();
  const { url } = server.listening[0]!;
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    body: JSON.stringify(chat({ stream: true, max_tokens: 51 })),
  });
  const tokens = chunksOf(await response.text()).filter(({ choices }) => choices[0]?.delta?.content);
  const stamps = tokens.flatMap(({ fakeai }) => fakeai ?? []);
  const elapsedMs = performance.now() - startMs;
  expect(stamps).toHaveLength(51);
  expect(stamps.at(-1)!.due - stamps[0]!.due).toBeCloseTo(2_000_000, -4);
  expect(stamps.filter(({ due, sent }) => sent < due)).toEqual([]);
  // A busy machine is late, and not by hours.
  expect(elapsedMs).toBeGreaterThan(2190);
  expect(elapsedMs).toBeLessThan(12_000);
  expect((await server.stop()).code).toBe(0);
});

test.runIf(library !== undefined)("a minute of a rate limit is a minute", async () => {
  setClock("+0");
  const server = await serve(["--port", "0", "--rate-limit", "rpm=3"], { env });
  const ask = async (): Promise<Response> => {
    const { url } = server.listening[0]!;
    const response = await fetch(`${url}/v1/chat/completions`, { method: "POST", body: JSON.stringify(chat({ max_tokens: 1 })) });
    await response.text();
    return response;
  };
  const statuses: number[] = [];
  const waits: number[] = [];
  for (const place of ["+0", "-1d", "+1d", "+1d", "-1d", "+0 x10"]) {
    setClock(place);
    const response = await ask();
    statuses.push(response.status);
    if (response.status === 429) waits.push(Number(response.headers.get("retry-after")));
  }
  expect(statuses).toEqual([200, 200, 200, 429, 429, 429]);
  expect(Math.max(...waits)).toBeLessThanOrEqual(60);
  expect(Math.min(...waits)).toBeGreaterThan(0);
  expect((await server.stop()).code).toBe(0);
});

test.runIf(library !== undefined)("a bench measures what it would have measured, over TLS", { timeout: 120_000 }, async () => {
  setClock("+1d");
  const out = join(folder, "run");
  const load = ["--scenario", "stream", "--protocol", "h2", "--streams", "4", "--requests", "16", "--rounds", "2", "--keep-disturbed"];
  const plan = ["--ttft", "100", "--itl", "50", "--output-tokens", "10"];
  const startMs = performance.now();
  const running = runCli(["bench", ...load, ...plan, "--out", out], { env });
  jump();
  const { code, stderr } = await running.ended;
  const elapsedS = (performance.now() - startMs) / 1000;
  expect(code === 0 || code === 3 ? "" : stderr).toBe("");
  const result = JSON.parse(readFileSync(join(out, "result.json"), "utf8")) as BenchResult;
  expect(result.durationS).toBeGreaterThan(elapsedS / 2);
  expect(result.durationS).toBeLessThan(elapsedS);
  const { arms } = result.scenarios[0]!;
  expect(arms.map(({ id }) => id)).toEqual(["h2"]);
  for (const { rounds } of arms) {
    expect(rounds.map(({ requests }) => requests.failed)).toEqual([0, 0]);
    for (const { metrics } of rounds) {
      expect(metrics["ttft"]!.p50).toBeGreaterThan(99_000);
      expect(metrics["ttft"]!.p50).toBeLessThan(1_000_000);
      expect(metrics["tpot"]!.p50).toBeGreaterThan(25_000);
      expect(metrics["tpot"]!.p50).toBeLessThan(500_000);
    }
  }
});
