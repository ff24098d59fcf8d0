/** A load in parts: the union is the same whatever their number, and whole runs of several processes end as one. */
import { once } from "node:events";
import { createServer } from "node:net";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { createServer as createFake } from "../../src/index.ts";
import { sentBody } from "../../src/load/prompts.ts";
import { checkResult } from "../../src/results/store.ts";
import type { BenchResult } from "../../src/results/types.ts";
import { resolveBench } from "../../src/runner/plan/options.ts";
import { takesEverything, type Wording } from "../../src/runner/plan/body.ts";
import { requestsOf } from "../../src/runner/plan/requests.ts";
import { defaultWorkload, type Workload } from "../../src/runner/plan/scenario.ts";
import { runCli } from "../support/process.ts";

const wording: Wording = { model: "m", own: true, accepted: takesEverything, body: null, oneBody: false };

/** What every shard sends, in the order of the whole. */
function union(workload: Workload, of: number, rate: number | null): unknown[] {
  const all = Array.from({ length: of }, (_, i) => {
    const own = requestsOf(workload, wording, 5, 2, rate, 0, { share: { shard: i + 1, of }, most: Infinity });
    expect(own.length).toBeGreaterThan(0);
    return own.map((request) => ({
      index: request.index,
      body: sentBody(request),
      atUs: request.atUs,
      path: request.path,
      after: request.after === undefined ? undefined : own[request.after]!.index,
      delayUs: request.delayUs,
      abortAfter: request.abortAfter,
    }));
  });
  return all.flat().toSorted((a, b) => a.index! - b.index!);
}

const open: Workload = { ...defaultWorkload, mode: "open", requests: 400, streams: 50, abort: { share: 0.1, afterTokens: 2 } };
const turns: Workload = {
  ...defaultWorkload,
  mode: "open",
  trace: { file: "conversations.jsonl", speed: 1, seconds: null, limit: null },
};
const page: Workload = {
  ...defaultWorkload,
  page: [
    { count: 30, method: "GET", path: "/v1/models" },
    { count: 11, method: "POST", path: "/v1/embeddings" },
  ],
};

test.each([
  ["an open loop", open, 200],
  ["a closed loop", { ...defaultWorkload, requests: 37, streams: 9, inputTokens: "lognormal(40,0.5)" }, null],
  ["a page", page, null],
])("%s: the union is the same whatever the number of shards", (_, workload, rate) => {
  const whole = union(workload, 1, rate);
  const plain = requestsOf(workload, wording, 5, 2, rate).map((request) => [sentBody(request), request.atUs]);
  expect(whole.map((one) => [(one as { body: string }).body, (one as { atUs?: number }).atUs])).toEqual(plain);
  for (const of of [2, 3, 7]) expect(union(workload, of, rate)).toEqual(whole);
});

test("conversations stay whole", () => {
  const rows = Array.from({ length: 12 }, (_, i) =>
    JSON.stringify({ timestamp: i * 100, session_id: `s${i % 4}`, input_length: 20, output_length: 4, hash_ids: [] }),
  );
  const directory = mkdtempSync(join(tmpdir(), "fakeai-test-"));
  const file = join(directory, "trace.jsonl");
  try {
    writeFileSync(file, `${rows.join("\n")}\n`);
    const workload = { ...turns, trace: { file, speed: 1, seconds: null, limit: null } as never };
    const whole = union(workload, 1, null);
    expect(union(workload, 3, null)).toEqual(whole);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

const given = { shard: "1/2", rendezvous: "127.0.0.1:1", url: "http://127.0.0.1:1/v1", scenario: ["stream"] };

test.each([
  [{ url: undefined }, "name the server with --url"],
  [{ scenario: undefined }, "name what is run with --scenario"],
  [{ rendezvous: undefined }, "with --rendezvous host:port"],
  [{ rendezvous: "127.0.0.1:0" }, "127.0.0.1:0 is no place that others find"],
  [{ rendezvous: "0.0.0.0:7700" }, "0.0.0.0:7700 is no place that others find"],
  [{ rendezvous: "[::]:7700" }, "[::]:7700 is no place that others find"],
  [{ driver: "h2load" }, "h2load cannot begin together with others"],
  [{ coolDown: "1" }, "--cool-down"],
  [{ sweep: "load" }, "--sweep"],
  [{ shard: undefined }, "--rendezvous belongs to --shard"],
])("%j is refused", (more, reason) => {
  expect(() => resolveBench({ ...given, ...more } as never)).toThrow(reason);
});

describe("processes", () => {
  const directory = mkdtempSync(join(tmpdir(), "fakeai-shards-"));
  const closing: (() => Promise<unknown>)[] = [];
  afterAll(async () => {
    await Promise.all(closing.map((close) => close()));
    rmSync(directory, { recursive: true, force: true });
  });
  const freePort = (): Promise<number> =>
    new Promise((resolve) => {
      const server = createServer().listen(0, "127.0.0.1", () => {
        const { port } = server.address() as { port: number };
        server.close(() => resolve(port));
      });
    });
  async function target(): Promise<string> {
    const server = await createFake({ protocol: ["h1"], port: 0, ttft: 5, itl: 1 });
    closing.push(() => server.close());
    return `${server.urls.h1}/v1`;
  }
  const bench = async (shard: string, url: string, port: number, ...more: string[]) =>
    runCli(
      [
        "bench",
        "--shard",
        shard,
        "--rendezvous",
        `127.0.0.1:${port}`,
        "--url",
        url,
        "--protocol",
        "h1",
        "--scenario",
        "stream",
        "--streams",
        "4",
        "--keep-disturbed",
      ].concat(["--requests", "8", "--rounds", "2", "--rendezvous-timeout", "25", "--out", join(directory, "run"), ...more]),
      { env: { FAKEAI_RENDEZVOUS_TOKEN: "" } },
    );

  test("two shards make one load, and shard 1 merges it exactly", async () => {
    const [url, port] = [await target(), await freePort()];
    const [one, two] = await Promise.all([bench("1/2", url, port), bench("2/2", url, port)]);
    const ends = await Promise.all([one.ended, two.ended]);
    const read = (path: string): BenchResult =>
      checkResult(JSON.parse(readFileSync(join(directory, "run", path, "result.json"), "utf8")), path);
    expect(ends[0].stderr).toContain("all 2 shards are here");
    const merged = read("");
    const parts = [read("shard-1"), read("shard-2")];
    for (const [index, round] of merged.scenarios[0]!.arms[0]!.rounds.entries()) {
      expect(round.requests.completed).toBe(8);
      expect(round.shards!.map(({ requests }) => requests.completed)).toEqual([4, 4]);
      const own = parts.map((part) => part.scenarios[0]!.arms[0]!.rounds[index]!);
      // They began together, on a clock that both know.
      expect(Math.abs(own[0]!.beginUs! - own[1]!.beginUs!)).toBeLessThan(20_000);
      expect(round.metrics.ttft!.count).toBe(own.reduce((sum, { metrics }) => sum + metrics.ttft!.count, 0));
    }
    expect(merged.shards!.members.map(({ shard }) => shard)).toEqual([1, 2]);
    const again = await runCli([
      "merge",
      "--shards",
      ...[1, 2].map((k) => join(directory, "run", `shard-${k}`)),
      "--out",
      join(directory, "again"),
      "--json",
    ]).ended;
    const offline = JSON.parse(again.stdout) as BenchResult;
    const figures = (result: BenchResult): unknown =>
      result.scenarios[0]!.arms[0]!.rounds.map(({ metrics, requests }) => ({ metrics, requests }));
    expect(figures(offline)).toEqual(figures(JSON.parse(JSON.stringify(merged)) as BenchResult));
    const asRounds = await runCli(["merge", ...[1, 2].map((k) => join(directory, "run", `shard-${k}`)), "--out", join(directory, "no")])
      .ended;
    expect([asRounds.code, asRounds.stderr]).toEqual([2, expect.stringContaining("fakeai merge --shards")]);
  }, 90_000);

  test("shards with other flags are refused by the flag's name", async () => {
    const [url, port] = [await target(), await freePort()];
    const [one, two] = await Promise.all([bench("1/2", url, port), bench("2/2", url, port, "--seed", "9")]);
    const ends = await Promise.all([one.ended, two.ended]);
    expect(ends.map(({ code }) => code)).toEqual([2, 2]);
    expect(ends.map(({ stderr }) => stderr).join("")).toMatch(/does not fit the others: --seed is \d/);
  }, 60_000);

  test("a server of --target-hosts that is not there is named before anything is measured", async () => {
    const url = await target();
    const flags = ["--protocol", "h1", "--scenario", "stream", "--requests", "4", "--rounds", "1", "--out", join(directory, "lost")];
    const hosts = `${new URL(url).host},127.0.0.1:1`;
    const { code, stderr } = await runCli(["bench", "--url", url, "--target-hosts", hosts, ...flags]).ended;
    expect([code, stderr]).toEqual([3, expect.stringContaining("--target-hosts: 127.0.0.1:1 on h1: connect ECONNREFUSED")]);
    expect(stderr).not.toContain("warm-up");
  }, 60_000);

  test("a rendezvous whose port is taken says so, and how it goes on", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    closing.push(async () => server.close());
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    const { code, stderr } = await runCli(["rendezvous", "--shards", "2", "--listen", `127.0.0.1:${port}`, "--out", join(directory, "p")])
      .ended;
    expect([code, stderr]).toEqual([2, expect.stringContaining("(EADDRINUSE): another program has it: give another port")]);
  });

  test("a rendezvous that others reach asks for a token", async () => {
    const { code, stderr } = await runCli(["rendezvous", "--shards", "2", "--listen", "0.0.0.0:0", "--out", join(directory, "t")]).ended;
    expect([code, stderr]).toEqual([2, expect.stringContaining("--rendezvous-token")]);
  });
});
