/**
 * Bun and Deno run the library and `fakeai serve` on node's engines, without a flag. They are no dependencies: where one is not on the PATH
 * its tests say so, and are left out.
 */
import { connect } from "node:http2";
import { spawnSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";
import { root, runCli } from "../support/process.ts";

const program = `
import { createServer } from ${JSON.stringify(pathToFileURL(join(root, "dist/index.js")).href)};
const server = await createServer({ protocol: "h1", ttft: 5, outputTokens: 3  });
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

/** Starts `fakeai serve` without a word about engines, and asks it on each protocol. Gives its standard output. */
async function serveAndAsk(protocols: readonly string[], node: string, nodeArgs: readonly string[]): Promise<string> {
  const server = runCli(["serve", "--output-tokens", "3", "--protocol", protocols.map((name) => `${name}:0`).join(",")], {
    node,
    nodeArgs,
  });
  let printed = "";
  server.child.stdout.on("data", (chunk: Buffer) => (printed += chunk.toString()));
  await expect.poll(() => printed, { timeout: 20_000 }).toMatch(/^note /m);
  const urls = new Map([...printed.matchAll(/^(h\w+) +(https?:\S+) +(?:node|own) /gm)].map(([, name, url]) => [name!, url!]));
  expect([...urls.keys()]).toEqual(protocols);
  const body = JSON.stringify({ model: "m", stream: true, messages: [{ role: "user", content: "Hi" }] });
  for (const [name, url] of urls) {
    const path = "/v1/chat/completions";
    const text = name.startsWith("h2") ? await askHttp2(url, path, body) : await (await fetch(url + path, { method: "POST", body })).text();
    expect([name, text.endsWith("data: [DONE]\n\n")]).toEqual([name, true]);
  }
  server.child.kill("SIGINT");
  const { code, stdout } = await server.ended;
  expect(code).toBe(0);
  return stdout;
}

async function askHttp2(url: string, path: string, body: string): Promise<string> {
  const session = connect(url, { rejectUnauthorized: false });
  try {
    const stream = session.request({ ":method": "POST", ":path": path });
    stream.end(body);
    return Buffer.concat(await stream.toArray()).toString();
  } finally {
    session.close();
  }
}

test("where uWebSockets.js does not run, a server starts on node's engine and says why in one line", async () => {
  const asBun = "Object.defineProperty(process, 'versions', { value: { ...process.versions, bun: '1.4.5' } })";
  const printed = await serveAndAsk(["h1"], process.execPath, ["--import", `data:text/javascript,${encodeURIComponent(asBun)}`]);
  const notes = printed.split("\n").filter((line) => line.startsWith("note"));
  expect(notes).toEqual([
    "note h1 and h1s run on node:http, which takes more CPU time: uWebSockets.js runs in Node only, and this is bun 1.4.5",
  ]);
});

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

  test("serves each protocol without a flag", async ({ skip }) => {
    if (spawnSync(name, ["--version"]).status !== 0) skip(`${name} is not on the PATH (npm install --global ${name})`);
    const printed = await serveAndAsk(["h1", "h2c", "h2"], name, args);
    expect(printed).toMatch(new RegExp(`^note .*uWebSockets.js runs in Node only, and this is ${name} \\d`, "m"));
  }, 40_000);
});
