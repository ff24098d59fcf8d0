/** `fakeai bench --tape` as a user meets it: the calls of a tape on two protocols, each answer held against its own. */
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { BenchResult } from "../../src/results/types.ts";
import { resolveBench } from "../../src/runner/plan/options.ts";
import type { TapeCall } from "../../src/tape/form.ts";
import { runCli } from "../support/process.ts";

const folder = mkdtempSync(join(tmpdir(), "fakeai-bench-tape-"));
const head = { fakeaiTape: 1, to: "http://127.0.0.1:9000/v1", recordedAt: "2026-01-01T00:00:00.000Z", fakeai: "0.1.0", upstream: "h1" };
const json = ["content-type", "application/json"] as const;
const stream = ["content-type", "text/event-stream"] as const;
const event = (data: string): string => `data: ${data}\n\n`;
const delta = (content: string): string => event(JSON.stringify({ choices: [{ index: 0, delta: { content } }] }));

type Answered = Partial<TapeCall["response"]>;
type Pieces = TapeCall["response"]["pieces"];

/** A call that left 3 ms after the one before it. */
function callOf(call: number, asked: Partial<TapeCall["request"]>, answered: Answered): TapeCall {
  const request = { protocol: "h1", method: "POST", path: "/v1/chat/completions", query: "", headers: [json], ...asked } as const;
  const response = { status: 200, headers: [json], headUs: 1000, endUs: 30_000, end: "finished", pieces: [], ...answered } as const;
  return { call, atUs: call * 3000, connectUs: null, heldBack: false, request: { body: { text: "{}" }, ...request }, response };
}

const paced = (texts: readonly string[]): Pieces => texts.map((text, index) => ({ us: 5000 * (index + 1), text }));
const whole = paced([delta("a"), delta("b"), event('{"choices":[{"delta":{},"finish_reason":"stop"}]}'), event("[DONE]")]);

/** Runs a bench on a tape of these calls. */
async function bench(
  name: string,
  calls: readonly TapeCall[],
  ...flags: readonly string[]
): Promise<{ code: number | null; result: BenchResult }> {
  const tape = join(folder, name);
  const out = join(folder, `${name}-out`);
  mkdirSync(tape);
  writeFileSync(join(tape, "tape.jsonl"), [head, ...calls].map((line) => JSON.stringify(line)).join("\n"));
  const { code } = await runCli(["bench", "--tape", tape, "--keep-disturbed", "--out", out, ...flags]).ended;
  return { code, result: JSON.parse(readFileSync(join(out, "result.json"), "utf8")) as BenchResult };
}

test("each call gets its own answer on each protocol: streams, errors, odd methods and bodies, what broke off", async () => {
  const { result } = await bench(
    "all",
    [
      callOf(1, {}, { headers: [stream], pieces: whole }),
      // The same request again, and another answer.
      callOf(2, {}, { headers: [stream], pieces: [...whole.slice(0, 1), ...whole] }),
      callOf(3, { path: "/v1/embeddings", body: { base64: "/w==" } }, { pieces: paced(['{"usage":{"prompt_tokens":3}}']) }),
      callOf(4, { query: "key=[redacted]" }, { status: 429, pieces: paced(['{"error":{"message":"slow down"}}']) }),
      callOf(5, { method: "DELETE", path: "/v1/responses/r", body: null }, { status: 204 }),
      callOf(6, { path: "/v1/cut" }, { headers: [stream], pieces: whole.slice(0, 2), end: "cut" }),
    ],
    "--protocol",
    "h1,h2c",
    "--rounds",
    "1",
  );
  const [scenario] = result.scenarios;
  expect([scenario!.id, scenario!.variant, scenario!.arms.map(({ id }) => id)]).toEqual(["tape", "all", ["h1", "h2c"]]);
  for (const { rounds } of scenario!.arms) {
    expect(rounds.map(({ requests }) => requests)).toEqual([{ sent: 6, completed: 6, failed: 0, errors: {} }]);
    // Two and three tokens, and one that broke off behind two.
    expect([rounds[0]!.work!.events, rounds[0]!.work!.finishReasons]).toEqual([7, { stop: 2, "broken off": 1 }]);
  }
  expect(new Set(scenario!.arms.map(({ rounds }) => rounds[0]!.work!.bodyBytes)).size).toBe(1);
  expect(scenario!.comparisons.some(({ metric }) => metric === "e2elFromIntended")).toBe(true);
  expect(scenario!.notes.join()).toContain("the tape: 6 calls to http://127.0.0.1:9000/v1");
  expect(result.invalid.filter((reason) => !reason.includes("-limited"))).toEqual([]);
}, 20_000);

test("a call that finds no answer of the tape makes the run invalid", async () => {
  // What is asked of the server itself never comes from a tape.
  const odd = callOf(1, { method: "GET", path: "/health", body: null }, { pieces: paced(["fine"]) });
  const { code, result } = await bench("odd", [odd], "--protocol", "h1", "--rounds", "1", "--streams", "1");
  expect(code).toBe(3);
  expect(result.invalid.join()).toMatch(/1 of 1 requests failed: not as recorded \(\d+ bytes of 4\)|not as recorded/);
}, 20_000);

test("what a tape decides is not given beside it", () => {
  for (const [given, message] of [
    [{ url: "http://127.0.0.1:1" }, /^--tape has its calls and their answers: --url does not apply$/],
    [{ rate: "5" }, /: --rate does not apply \(--speed and --streams say how its calls are sent\)$/],
    [{ itl: "5" }, /: --itl does not apply$/],
    [{ protocol: "h1,ws" }, /^--tape holds calls over HTTP, .*: leave ws and wss out of --protocol$/],
    [{ streams: "1,2" }, /^--streams: a sweep does not go with --tape$/],
  ] as const)
    expect(() => resolveBench({ tape: "t", ...given })).toThrow(message);
  expect(() => resolveBench({ speed: "2" })).toThrow(/^--speed and --limit belong to --trace and --tape$/);
  expect(resolveBench({ tape: "t", speed: "2", requests: "3" }).tape).toEqual({ folder: "t", speed: 2, limit: 3 });
});
