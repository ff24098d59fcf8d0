/** Clients that people really use, against each protocol that they can speak. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import OpenAI, { BadRequestError, NotFoundError } from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Agent, fetch as undiciFetch, H2CClient, type Dispatcher } from "undici";
import { createServer, type FakeAiServer } from "../../src/index.ts";
import { available } from "../support/process.ts";
import { chunksOf } from "../support/chat.ts";
import { eventually } from "../support/wait.ts";

let server: FakeAiServer;
/** HTTP/2 on our own engine. */
let own: FakeAiServer;
beforeAll(async () => {
  await mkdir(new URL("../../node_modules/.cache/", import.meta.url), { recursive: true });
  const options = { outputTokens: 12, itl: 1, maxConcurrentStreams: 1000 };
  server = await createServer({ protocol: "h1,h1s,h2c,h2", ...options });
  own = await createServer({ protocol: "h2c,h2", h2Engine: "own", ...options });
});
afterAll(async () => {
  await server.close(0);
  await own.close(0);
});

const ca = (): string => readFileSync(server.caPath!, "utf8");

function sdk(origin: string, dispatcher?: Dispatcher): OpenAI {
  const fetch = dispatcher && ((url: string | URL, init?: object) => undiciFetch(url, { ...init, dispatcher }));
  return new OpenAI({
    baseURL: `${origin}/v1`,
    apiKey: "any",
    maxRetries: 0,
    ...(fetch && { fetch: fetch as unknown as typeof globalThis.fetch }),
  });
}

describe.each<[string, () => { client: OpenAI; dispatcher?: Dispatcher; isH2: boolean; on?: FakeAiServer }]>([
  ["h1", () => ({ client: sdk(server.urls.h1!), isH2: false })],
  [
    "h2 (undici Agent with allowH2)",
    () => {
      const dispatcher = new Agent({ allowH2: true, connections: 1, pipelining: 100, connect: { ca: ca() } });
      return { client: sdk(server.urls.h2!, dispatcher), dispatcher, isH2: true };
    },
  ],
  [
    "h2c (undici H2CClient)",
    () => {
      const dispatcher = new H2CClient(server.urls.h2c!);
      return { client: sdk(server.urls.h2c!, dispatcher), dispatcher, isH2: true };
    },
  ],
  [
    "h2 on our own engine",
    () => {
      const dispatcher = new Agent({ allowH2: true, connections: 1, pipelining: 100, connect: { ca: ca() } });
      return { client: sdk(own.urls.h2!, dispatcher), dispatcher, isH2: true, on: own };
    },
  ],
  [
    "h2c on our own engine",
    () => {
      const dispatcher = new H2CClient(own.urls.h2c!);
      return { client: sdk(own.urls.h2c!, dispatcher), dispatcher, isH2: true, on: own };
    },
  ],
  [
    "http/1.1 on the h2 port",
    () => {
      const dispatcher = new Agent({ allowH2: false, connect: { ca: ca() } });
      return { client: sdk(server.urls.h2!, dispatcher), dispatcher, isH2: false };
    },
  ],
])("openai over %s", (_name, connect) => {
  let client: OpenAI;
  let dispatcher: Dispatcher | undefined;
  let isH2: boolean;
  let asked: FakeAiServer;
  beforeAll(() => {
    ({ client, dispatcher, isH2, on: asked = server } = connect());
  });
  afterAll(() => dispatcher?.destroy());
  const request = { model: "gpt-4o", messages: [{ role: "user" as const, content: "Hello" }] };

  test("streams, with usage", async () => {
    const stream = await client.chat.completions.create({ ...request, stream: true, stream_options: { include_usage: true } });
    let text = "";
    let finish: string | null = null;
    let usage = 0;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      finish = chunk.choices[0]?.finish_reason ?? finish;
      usage = chunk.usage?.completion_tokens ?? usage;
    }
    expect(text.length).toBeGreaterThan(12);
    expect([finish, usage]).toEqual(["stop", 12]);
    expect(asked.stats().openSessions > 0).toBe(isH2);
  });

  test("answers in one piece", async () => {
    const completion = await client.chat.completions.create({ ...request, max_tokens: 5, seed: 3 });
    expect(completion.usage!.completion_tokens).toBe(5);
    expect(completion.choices[0]!.finish_reason).toBe("length");
    expect((await client.completions.create({ model: "davinci", prompt: "Hi" })).choices[0]!.text.length).toBeGreaterThan(5);
    expect((await client.models.list()).data.length).toBeGreaterThan(1);
    expect((await client.models.retrieve("gpt-4o")).id).toBe("gpt-4o");
  });

  test("many at once", async () => {
    const answers = await Promise.all(Array.from({ length: 40 }, () => client.chat.completions.create(request)));
    expect(new Set(answers.map(({ id }) => id)).size).toBe(40);
  });

  test("errors have their class", async () => {
    await expect(client.chat.completions.create({ ...request, max_tokens: 0 })).rejects.toBeInstanceOf(BadRequestError);
    await expect(client.post("/nothing", { body: {} })).rejects.toBeInstanceOf(NotFoundError);
  });

  test("an abort is noticed", async () => {
    const before = asked.stats().abortedStreams;
    const stream = await client.chat.completions.create({ ...request, stream: true }, { headers: { "x-fakeai-output-tokens": "5000" } });
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break;
    stream.controller.abort();
    await eventually(() => asked.stats().abortedStreams === before + 1, "the abort is noticed");
  });
});

/** Runs a tool; the server lives in this process, so nothing may block it. */
function run(command: string, args: readonly string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
}

const body = JSON.stringify({ model: "m", stream: true, messages: [{ role: "user", content: "Hello" }] });
const path = "/v1/chat/completions";

describe.runIf(available("curl"))("curl", () => {
  test.each<[string, string[], () => string, string]>([
    ["--http1.1 on h1", ["--http1.1"], () => server.urls.h1!, "1.1"],
    ["--http2-prior-knowledge on h2c", ["--http2-prior-knowledge"], () => server.urls.h2c!, "2"],
    ["--http2 on h2", ["--http2"], () => server.urls.h2!, "2"],
    ["--http2-prior-knowledge on our own h2c", ["--http2-prior-knowledge"], () => own.urls.h2c!, "2"],
    ["--http2 on our own h2", ["--http2"], () => own.urls.h2!, "2"],
    ["--http1.1 on h2", ["--http1.1"], () => server.urls.h2!, "1.1"],
    ["--http2 on h1s, which has no HTTP/2", ["--http2"], () => server.urls.h1s!, "1.1"],
    ["--http2 on h1: an upgrade that is not taken", ["--http2"], () => server.urls.h1!, "1.1"],
  ])("%s", async (_name, flags, origin, version) => {
    const args = ["-sS", "-N", "-w", "\n%{http_version} %{http_code}", "-d", body, `${origin()}${path}`, ...flags];
    const { code, stdout, stderr } = await run("curl", server.caPath === null ? args : ["--cacert", server.caPath, ...args]);
    expect(stderr).toBe("");
    expect(code).toBe(0);
    const end = stdout.lastIndexOf("\n");
    expect(stdout.slice(end + 1)).toBe(`${version} 200`);
    expect(chunksOf(stdout.slice(0, end))).toHaveLength(14);
  });
});

describe.runIf(available("h2load"))("h2load", () => {
  const counts = (stdout: string): number[] =>
    /requests: (\d+) total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed/.exec(stdout)!.slice(1).map(Number);

  test.each<[string, string[], () => string, string]>([
    ["h1", ["--h1"], () => server.urls.h1!, "http/1.1"],
    ["h1s", ["--h1"], () => server.urls.h1s!, "http/1.1"],
    ["h2c", [], () => server.urls.h2c!, "h2c"],
    ["h2", [], () => server.urls.h2!, "h2"],
    ["our own h2c", [], () => own.urls.h2c!, "h2c"],
    ["our own h2", [], () => own.urls.h2!, "h2"],
    ["http/1.1 on the h2 port", ["--npn-list=http/1.1"], () => server.urls.h2!, "http/1.1"],
  ])("%s: 0 failed", async (_name, flags, origin, negotiated) => {
    const file = new URL(`../../node_modules/.cache/h2load-body.json`, import.meta.url).pathname;
    await writeFile(file, body);
    const { stdout } = await run("h2load", ["-n", "200", "-c", "10", "-m", "1", "-d", file, ...flags, `${origin()}${path}`]);
    expect(stdout).toContain(`Application protocol: ${negotiated}`);
    expect(counts(stdout)).toEqual([200, 200, 200, 0]);
  });

  test.each(["node", "own"] as const)("900 unpaced streams of 100 tokens on one connection: 0 failed, engine %s", async (h2Engine) => {
    const unpaced = await createServer({ protocol: "h2c", h2Engine, outputTokens: 100, maxConcurrentStreams: 1000 });
    const file = new URL(`../../node_modules/.cache/h2load-body.json`, import.meta.url).pathname;
    await writeFile(file, body);
    const { stdout } = await run("h2load", ["-n", "2700", "-c", "1", "-m", "900", "-d", file, `${unpaced.urls.h2c!}${path}`]);
    expect(counts(stdout)).toEqual([2700, 2700, 2700, 0]);
    expect(unpaced.stats().generationTokens).toBe(270_000);
    await unpaced.close(0);
  });
});

test.runIf(available("nghttp"))("nghttp on our own h2c and h2: requests that end by trailers, and some that are given up", async () => {
  const file = new URL(`../../node_modules/.cache/nghttp-body.json`, import.meta.url).pathname;
  await writeFile(file, body);
  // It does not know our certificate, and says so.
  const nghttp = async (protocol: "h2c" | "h2", ...more: string[]): Promise<string> =>
    (await run("nghttp", ["--no-verify-peer", "--no-dep", "-d", file, ...more, `${own.urls[protocol]!}${path}`])).stdout;
  const before = own.stats().abortedStreams;
  const [first, second] = await Promise.all([
    nghttp("h2c", "--trailer", "x-checksum: 1"),
    nghttp("h2", "--trailer", "x-checksum: 1"),
    nghttp("h2c", "-t", "1", "-H", "x-fakeai-itl: 5000"),
    nghttp("h2", "-t", "1", "-H", "x-fakeai-itl: 5000"),
  ]);
  for (const stdout of [first, second]) expect(chunksOf(stdout)).toHaveLength(14);
  await eventually(() => own.stats().abortedStreams === before + 2, "the aborts are noticed");
});
