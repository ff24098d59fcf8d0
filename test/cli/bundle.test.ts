/** `fakeai serve` as one file, and the compiled code that it keeps from start to start. */
import { chmodSync, mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { chat } from "../support/chat.ts";
import { serve } from "../support/process.ts";

/** Starts a server that keeps its code in this folder, has an answer of it, and returns what is kept. */
async function start(cache: string, env: Record<string, string> = {}, args: readonly string[] = []): Promise<Record<string, Buffer>> {
  const server = await serve(["--port", "0", "--output-tokens", "2", ...args], { env: { XDG_CACHE_HOME: cache, ...env } });
  const answer = await fetch(`${server.listening[0]!.url}/v1/chat/completions`, { method: "POST", body: JSON.stringify(chat()) });
  expect([answer.status, (await answer.text()).includes('"completion_tokens"')]).toEqual([200, true]);
  expect((await server.stop()).stderr).toBe("");
  const folder = join(cache, "fakeai", "code");
  try {
    return Object.fromEntries(readdirSync(folder).map((name) => [join(folder, name), readFileSync(join(folder, name))]));
  } catch {
    return {};
  }
}

test("the code of the first start serves the next, and only what this user wrote is used", async () => {
  const cache = mkdtempSync(join(tmpdir(), "fakeai-code-"));
  const [[path, code], ...more] = Object.entries(await start(cache)) as [[string, Buffer]];
  expect(more).toEqual([]);
  expect(path).toMatch(new RegExp(`serve-${process.version}-${process.arch}-.*-ended$`));
  expect(code.length).toBeGreaterThan(100_000);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const { mtimeMs } = statSync(path);
  await start(cache);
  // What V8 had refused would have been written anew.
  expect(statSync(path).mtimeMs).toBe(mtimeMs);
  chmodSync(path, 0o660);
  await start(cache);
  expect([statSync(path).mtimeMs === mtimeMs, statSync(path).mode & 0o777]).toEqual([false, 0o600]);
  writeFileSync(path, "no code");
  expect((await start(cache))[path]!.length).toBeGreaterThan(100_000);
}, 30_000);

test("workers keep theirs, and without a place or with Node's own variable there is none", async () => {
  const cache = mkdtempSync(join(tmpdir(), "fakeai-code-"));
  expect(await start(cache, { NODE_DISABLE_COMPILE_CACHE: "1" })).toEqual({});
  const file = join(cache, "file");
  writeFileSync(file, "");
  expect(await start(file)).toEqual({});
  const names = Object.keys(await start(cache, {}, ["--workers", "2"])).map((path) => /code\/(\w+)/.exec(path)?.[1]);
  expect(names).toEqual(["serve", "worker"]);
}, 30_000);
