/** Bun and Deno run the library on node's engines. They are no dependencies: where one is not on the PATH its test says so, and is left out. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";
import { root } from "../support/process.ts";

const program = `
import { createServer } from ${JSON.stringify(pathToFileURL(join(root, "dist/index.js")).href)};
const server = await createServer({ protocol: "h1", ttft: 5, outputTokens: 3, h1Engine: "node" });
const ask = async (stream) => {
  const body = JSON.stringify({ model: "m", stream, messages: [{ role: "user", content: "Hi" }] });
  return (await fetch(server.urls.h1 + "/v1/chat/completions", { method: "POST", body })).text();
};
const whole = JSON.parse(await ask(false));
const events = (await ask(true)).split("\\n\\n").filter((event) => event.startsWith("data: "));
console.log(JSON.stringify({ tokens: whole.usage.completion_tokens, last: events.at(-1), events: events.length }));
await server.close(0);
process.exit(0);
`;

const runtimes = { bun: ["run"], deno: ["run", "--allow-all"] } as const;

describe.each(Object.entries(runtimes))("%s", (name, args) => {
  test("answers, streamed and not", ({ skip }) => {
    if (spawnSync(name, ["--version"]).status !== 0) skip(`${name} is not on the PATH (npm install --global ${name})`);
    const file = join(mkdtempSync(join(tmpdir(), "fakeai-runtime-")), "program.mjs");
    writeFileSync(file, program);
    const { stdout, stderr } = spawnSync(name, [...args, file], { timeout: 30_000 });
    expect(stderr.toString()).not.toMatch(/error/i);
    const { tokens, last, events } = JSON.parse(stdout.toString().trim().split("\n").at(-1)!) as {
      tokens: number;
      last: string;
      events: number;
    };
    expect([tokens, last, events > 4]).toEqual([3, "data: [DONE]", true]);
  }, 40_000);
});
