/**
 * Every knob of the server, as its clients measure it: what is set is in force, and the command line wins over the
 * environment, which wins over the file. Rows share a server where they do not get in each other's way.
 */
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, writeFileSync } from "node:fs";
import { createSocket } from "node:dgram";
import type { IncomingHttpHeaders } from "node:http";
import { connect as connectH2 } from "node:http2";
import { get as httpsGet } from "node:https";
import { connect as connectTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { countTokens as countCl100k } from "gpt-tokenizer/encoding/cl100k_base";
import { countTokens as countO200k } from "gpt-tokenizer/encoding/o200k_base";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import { localhostCertificate } from "../../src/base/certificate.ts";
import { loadQuic } from "../../src/base/quic.ts";
import { environmentName, flagName } from "../../src/settings/flags.ts";
import type { ServerKey } from "../../src/settings/options.ts";
import { serverFlags } from "../../src/settings/server.ts";
import { loadUws } from "../../src/listeners/uws/module.ts";
import { createServer } from "../../src/index.ts";
import { openHttp3 } from "../support/http3-client.ts";
import { SocketClient } from "../support/sockets.ts";
import { type Serving, serve } from "../support/process.ts";
import { chat, type Chunk, chunksOf } from "../support/chat.ts";
import { sleep } from "../support/wait.ts";
import { freePort } from "../support/servers.ts";

const folder = mkdtempSync(join(tmpdir(), "fakeai-knobs-"));
const hasUws = (await loadUws()) !== null;

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

/** Where a value is given; the later wins. */
const sources = ["file", "environment", "command line"] as const;
type Source = (typeof sources)[number];

type Value = string | number | boolean | readonly string[];

interface Row {
  readonly key: ServerKey;
  /** One for the file, one for the environment, one for the command line; each is told from the others by `seen`. */
  readonly values: readonly [Value, Value, Value];
  /** What a client sees of the knob. */
  readonly seen: (server: Serving) => Promise<unknown>;
  /** What it sees with each of the values. */
  readonly expected: readonly [unknown, unknown, unknown];
}

/** Rows that run on one server, with what they need beside, by flag: the same for each source, or one for each. */
interface Group {
  readonly name: string;
  readonly fixed: Readonly<Record<string, string | readonly [string, string, string]>>;
  readonly rows: readonly Row[];
}

const origin = (server: Serving, protocol = "h1"): string => server.listening.find((one) => one.protocol === protocol)!.url;
const key = "good-key";
const headers = { authorization: `Bearer ${key}` };
const post = (server: Serving, more: object = {}, own: Record<string, string> = {}): Promise<Response> =>
  fetch(`${origin(server)}/v1/chat/completions`, { method: "POST", headers: { ...headers, ...own }, body: JSON.stringify(chat(more)) });

interface Completion {
  readonly choices: readonly { readonly message: { readonly content: string } }[];
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number };
  readonly fakeai?: object;
}
const completion = async (server: Serving, more: object = {}): Promise<Completion> =>
  (await (await post(server, more)).json()) as Completion;

/** The tokens of a stream, with their stamps. */
async function stamped(server: Serving, own: Record<string, string>): Promise<Chunk[]> {
  const text = await (await post(server, { stream: true, max_tokens: 3 }, { "x-fakeai-stamps": "1", ...own })).text();
  return chunksOf(text).filter(({ choices }) => choices[0]?.delta?.content);
}

/** The largest step that the faster of two answers took: never less than the time that was set. */
async function ttftAtLeast(server: Serving, steps: readonly number[]): Promise<number> {
  const took: number[] = [];
  for (let round = 0; round < 2; round++) {
    const startedMs = performance.now();
    await (await post(server, { max_tokens: 1 })).text();
    took.push(performance.now() - startedMs);
  }
  return steps.findLast((step) => Math.min(...took) >= step - 1) ?? 0;
}

/** Milliseconds, of the steps the largest that passed, until a reader that takes nothing is cut. */
async function cutAfter(server: Serving, steps: readonly number[]): Promise<number> {
  const socket = connectTcp(Number(new URL(origin(server)).port), new URL(origin(server)).hostname);
  socket.on("error", () => {});
  const text = JSON.stringify(chat({ stream: true }));
  const more = "x-fakeai-output-tokens: 200000\r\nx-fakeai-itl: 0\r\nx-fakeai-ttft: 0\r\n";
  socket.write(
    `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${key}\r\n${more}Content-Length: ${text.length}\r\n\r\n${text}`,
  );
  socket.pause();
  const cuts = async (): Promise<number> =>
    Number(/^fakeai_stall_cut_streams_total (\d+)/m.exec(await (await fetch(`${origin(server)}/metrics`)).text())![1]);
  const before = await cuts();
  const startedMs = performance.now();
  while ((await cuts()) === before) {
    if (performance.now() - startedMs > 10_000) return Infinity;
    await sleep(20);
  }
  const took = performance.now() - startedMs;
  socket.destroy();
  return steps.findLast((step) => took >= step - 50) ?? 0;
}

/** How many requests of a key of its own are let in until one is refused. */
async function admitted(server: Serving): Promise<number> {
  const own = { authorization: "Bearer limited" };
  for (let count = 0; count < 20; count++) if ((await post(server, { max_tokens: 1 }, own)).status === 429) return count;
  return Infinity;
}

/** One of the settings that an HTTP/2 server announces. */
const announced = (server: Serving, name: "maxConcurrentStreams" | "headerTableSize"): Promise<number | undefined> =>
  new Promise((resolve, reject) => {
    const session = connectH2(origin(server, "h2c"));
    session.on("error", reject);
    session.on("remoteSettings", (settings) => {
      session.destroy();
      resolve(settings[name]);
    });
  });

/** What names the certificate that a port shows. */
const fingerprint = (server: Serving): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connectTls({ port: Number(new URL(origin(server, "h1s")).port), host: "127.0.0.1", rejectUnauthorized: false });
    socket.on("error", reject);
    socket.on("secureConnect", () => {
      resolve(socket.getPeerX509Certificate()!.fingerprint256);
      socket.destroy();
    });
  });

/** Milliseconds that a stream without end lives on after SIGTERM, as steps. Ends the server. */
async function graceOf(server: Serving, steps: readonly number[]): Promise<number> {
  const response = await post(server, { stream: true }, { "x-fakeai-output-tokens": "100000", "x-fakeai-itl": "10", "x-fakeai-ttft": "0" });
  const startedMs = performance.now();
  const ended = server.stop();
  await response.text().catch(() => "");
  const took = performance.now() - startedMs;
  expect((await ended).code).toBe(0);
  return steps.findLast((step) => took >= step - 20) ?? 0;
}

/** Milliseconds, of the steps the largest that passed, until a connection that has said `said` and then nothing is closed. */
function closedAfter(server: Serving, said: string, steps: readonly number[]): Promise<number> {
  return new Promise((resolve) => {
    const startedMs = performance.now();
    const socket = connectTcp(Number(new URL(origin(server)).port), "127.0.0.1");
    socket.on("error", () => {});
    socket.on("close", () => resolve(steps.findLast((step) => performance.now() - startedMs >= step - 50) ?? 0));
    socket.resume();
    socket.write(said);
  });
}

/** How many connections are taken until one is refused. */
async function connectionsTaken(server: Serving): Promise<number> {
  const sockets: ReturnType<typeof connectTcp>[] = [];
  const taken = (): Promise<boolean> =>
    new Promise((resolve) => {
      const socket = connectTcp(Number(new URL(origin(server)).port), "127.0.0.1");
      sockets.push(socket);
      socket.on("error", () => resolve(false));
      socket.on("data", (bytes) => resolve(String(bytes).startsWith("HTTP/1.1 200")));
      socket.on("close", () => resolve(false));
      socket.write("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    });
  let count = 0;
  while (count < 50 && (await taken())) count++;
  for (const socket of sockets) socket.destroy();
  return count;
}

/** Bytes that wait for a reader that takes nothing, of the steps the largest. */
async function waitingBytes(server: Serving, steps: readonly number[]): Promise<number> {
  const socket = connectTcp(Number(new URL(origin(server)).port), "127.0.0.1");
  socket.on("error", () => {});
  const text = JSON.stringify(chat({ stream: true }));
  socket.write(
    `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nx-fakeai-output-tokens: 200000\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
  );
  socket.pause();
  const bytes = async (): Promise<number> =>
    Number(/^fakeai_buffered_bytes (\d+)/m.exec(await (await fetch(`${origin(server)}/metrics`)).text())![1]);
  let before = -1;
  let now = 0;
  for (let round = 0; round < 100 && (now === 0 || now !== before); round++) {
    before = now;
    await sleep(50);
    now = await bytes();
  }
  socket.destroy();
  return steps.findLast((step) => now >= step * 0.75) ?? 0;
}

/** The value of a sample in the metrics; 0: it is not there. */
async function sampleOf(server: Serving, name: string): Promise<number> {
  const text = await (await fetch(`${origin(server)}/metrics`)).text();
  return Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "m").exec(text)?.[1] ?? 0);
}

/** By how much a sample grows with a request, and what its answer says. The prompt is new to the cache. */
let prompts = 0;
async function grows(server: Serving, name: string, characters: number, more: object = {}): Promise<{ by: number; promptTokens: number }> {
  const before = await sampleOf(server, name);
  const content = `${prompts++} `.padEnd(characters, "All happy families are alike. ");
  const { usage } = await completion(server, { messages: [{ role: "user", content }], ...more });
  return { by: (await sampleOf(server, name)) - before, promptTokens: usage.prompt_tokens };
}

/** What a request that meets an idle scheduler takes beside its steps, and the tokens of its prompt. */
async function overheadSeconds(server: Serving, characters: number): Promise<{ by: number; promptTokens: number }> {
  const before = await sampleOf(server, "vllm:request_inference_time_seconds_sum");
  const { by, promptTokens } = await grows(server, "vllm:time_to_first_token_seconds_sum", characters, { max_tokens: 1 });
  return { by: by - (await sampleOf(server, "vllm:request_inference_time_seconds_sum")) + before, promptTokens };
}

/** Milliseconds between two tokens of a stream that has the scheduler for itself, to a hundredth: stamps are whole microseconds. */
async function stepMs(server: Serving): Promise<number> {
  const tokens = await stamped(server, {});
  return Math.round((tokens.at(-1)!.fakeai!.due - tokens[0]!.fakeai!.due) / (tokens.length - 1) / 10) / 100;
}

/** Tokens found in the cache when a prompt of 120 tokens comes again. */
async function foundAgain(server: Serving): Promise<number> {
  const content = `${prompts++} `.padEnd(480, "All happy families are alike. ");
  let found = 0;
  for (let round = 0; round < 2; round++) {
    const before = await sampleOf(server, "vllm:prefix_cache_hits_total");
    await completion(server, { messages: [{ role: "user", content }], max_tokens: 1 });
    found = (await sampleOf(server, "vllm:prefix_cache_hits_total")) - before;
  }
  return found;
}

/** The headers of an answer over TLS. */
const headersOf = (server: Serving): Promise<IncomingHttpHeaders> =>
  new Promise((resolve, reject) => {
    const asked = httpsGet(`${origin(server, "h1s")}/health`, { rejectUnauthorized: false, agent: false }, (response) => {
      response.resume();
      resolve(response.headers);
    });
    asked.on("error", reject);
  });

/** Whether the first packet of the server is a Retry (RFC 9000, section 17.2.5): seen by a relay between client and server. */
async function asksForProof(server: Serving): Promise<boolean> {
  const port = Number(new URL(origin(server, "h3")).port);
  const [front, back] = [createSocket("udp4"), createSocket("udp4")];
  let client = 0;
  const first = new Promise<number>((resolve) => {
    back.on("message", (packet) => {
      resolve(packet[0]!);
      front.send(packet, client, "127.0.0.1");
    });
  });
  front.on("message", (packet, from) => {
    client = from.port;
    back.send(packet, port, "127.0.0.1");
  });
  front.bind(0, "127.0.0.1");
  await once(front, "listening");
  const session = await openHttp3(`https://127.0.0.1:${front.address().port}`);
  const type = await first;
  await session.close();
  front.close();
  back.close();
  return (type & 0xf0) === 0xf0;
}

/** A WebSocket to a server in another process, for one look. */
async function onSocket<T>(server: Serving, look: (client: SocketClient) => Promise<T>): Promise<T> {
  const socket = new WebSocket(`${origin(server, "ws").replace("http:", "ws:")}/v1/responses`, { perMessageDeflate: true });
  const client = new SocketClient(socket);
  await once(socket, "open");
  const seen = await look(client);
  socket.terminate();
  return seen;
}

const hanging = { metadata: { "x-fakeai-fault": "hang(after=1)" } };

/** Names of lanes that are taken until one is refused. */
async function lanesTaken(client: SocketClient): Promise<number> {
  for (let lane = 0; lane < 8; lane++) client.create({ ...hanging, stream_id: `l${lane}` });
  const refused = await client.next(({ error }) => error?.code === "websocket_stream_limit_reached");
  return Number(refused.stream_id!.slice(1));
}

/** Responses that have begun once everything that was asked for before a message with an error has been read. */
async function startedAtOnce(client: SocketClient): Promise<number> {
  client.create(hanging);
  client.create({ ...hanging, stream_id: "a" });
  client.send("no JSON");
  await client.next(({ type }) => type === "error");
  return client.messages.filter(({ type }) => type === "response.created").length;
}

/** Milliseconds, of the lifetimes the largest that passed, until a connection is closed. */
async function livedFor(client: SocketClient): Promise<number> {
  const startedMs = performance.now();
  await client.closing(10_000);
  const took = performance.now() - startedMs;
  return lifetimes.findLast((step) => took >= step - 50) ?? 0;
}

/** Whether a response can be gone on from. */
async function isKept(server: Serving): Promise<boolean> {
  const ask = (more: object): Promise<Response> =>
    fetch(`${origin(server)}/v1/responses`, { method: "POST", body: JSON.stringify({ model: "m", input: "x", ...more }) });
  const { id } = (await (await ask({})).json()) as { id: string };
  return (await ask({ previous_response_id: id })).status === 200;
}

const protocolsOf = (server: Serving): Promise<string> => Promise.resolve(server.listening.map(({ protocol }) => protocol).join());
const portOf = (server: Serving): Promise<number> => Promise.resolve(Number(new URL(origin(server)).port));
const engineOf = (server: Serving): Promise<string> => Promise.resolve(server.listening[0]!.engine);
const statusOf = async (server: Serving, path: string, token: string): Promise<number> =>
  (await fetch(`${origin(server)}${path}`, { headers: { authorization: `Bearer ${token}` } })).status;
/** Of some tokens, those that get in. */
const welcome = async (server: Serving, path: string, tokens: readonly string[]): Promise<string> => {
  const statuses = await Promise.all(tokens.map((token) => statusOf(server, path, token)));
  return tokens.filter((_token, index) => statuses[index] === 200).join();
};

const pairs = await Promise.all(["one", "two", "three"].map((name) => localhostCertificate(join(folder, name))));
const certPaths = pairs.map(({ files }) => files!.certPath) as [string, string, string];
const keyPaths = pairs.map(({ files }) => files!.keyPath) as [string, string, string];
const prints = pairs.map(({ cert }) => new X509Certificate(cert).fingerprint256) as [string, string, string];
const engines = ["node", hasUws ? "uws" : "node", "node"] as const;
const ports = await Promise.all([freePort(), freePort(), freePort()]);
const texts = ["Said by the file.", "Said by the environment.", "Said by the command line."] as const;
const bodies = [20_000, 40_000, 80_000] as const;
// Far apart, so that a slow day does not make one look like another.
const waits = [150, 600, 1500] as const;
const heads = [2048, 4096, 8192] as const;
const depths = [10, 20, 40] as const;
const buffers = [65_536, 524_288, 2_097_152] as const;
const idles = [150, 1800, 3600] as const;
const stalls = [200, 1500, 4000] as const;
const lifetimes = [200, 1500, 3000] as const;
const graces = [200, 1500, 3500] as const;
const seeds = [11, 12, 13] as const;
const russian = "Привет, как дела у тебя сегодня? ".repeat(20);

/** What the first request to a server says, by its seed. */
async function firstWords(seed: number): Promise<string> {
  await using server = await createServer({ seed, outputTokens: 3 });
  const response = await fetch(`${server.urls.h1}/v1/chat/completions`, { method: "POST", body: JSON.stringify(chat()) });
  return ((await response.json()) as Completion).choices[0]!.message.content;
}
const words = (await Promise.all(seeds.map(firstWords))) as [string, string, string];

const groups: readonly Group[] = [
  {
    name: "answers",
    fixed: { protocol: "h1:0,h2c:0" },
    rows: [
      {
        // First: the words follow the seed and the number of the request.
        key: "seed",
        values: seeds,
        seen: async (server) => (await completion(server, { max_tokens: 3 })).choices[0]!.message.content,
        expected: words,
      },
      { key: "ttft", values: [waits[0], waits[1], waits[2]], seen: (server) => ttftAtLeast(server, waits), expected: waits },
      {
        key: "itl",
        values: ["5ms", "1500us", "0.01s"],
        seen: async (server) => {
          const tokens = await stamped(server, { "x-fakeai-ttft": "0" });
          return Math.round((tokens.at(-1)!.fakeai!.due - tokens[0]!.fakeai!.due) / 100) / 10 / (tokens.length - 1);
        },
        expected: [5, 1.5, 10],
      },
      {
        key: "outputTokens",
        values: [3, "4", 5],
        seen: async (server) => (await completion(server)).usage.completion_tokens,
        expected: [3, 4, 5],
      },
      {
        key: "stamps",
        values: [true, false, true],
        seen: async (server) => (await completion(server)).fakeai !== undefined,
        expected: [true, false, true],
      },
      {
        key: "maxConcurrentStreams",
        values: [100, 101, 102],
        seen: (server) => announced(server, "maxConcurrentStreams"),
        expected: [100, 101, 102],
      },
      {
        key: "h2Engine",
        values: ["own", "node", "own"],
        seen: (server) => Promise.resolve(server.listening.find(({ protocol }) => protocol === "h2c")!.engine),
        expected: ["own", "node", "own"],
      },
      {
        key: "headerTable",
        values: ["8kb", 16_384, "32kb"],
        seen: (server) => announced(server, "headerTableSize"),
        expected: [8192, 16_384, 32_768],
      },
      {
        key: "maxBody",
        values: bodies,
        seen: async (server) => {
          const statuses = await Promise.all(bodies.map(async (bytes) => (await post(server, { user: "x".repeat(bytes - 1000) })).status));
          return bodies.findLast((_bytes, index) => statuses[index] === 200);
        },
        expected: bodies,
      },
      {
        key: "maxModelLen",
        values: [500, 600, 700],
        seen: async (server) => {
          const { error } = (await (await post(server, { max_tokens: 5000 })).json()) as { error: { message: string } };
          return Number(/maximum context length is (\d+)/.exec(error.message)![1]);
        },
        expected: [500, 600, 700],
      },
      {
        key: "apiKey",
        values: [
          ["a", key],
          ["b", key],
          ["c", key],
        ],
        seen: (server) => welcome(server, "/v1/models", ["a", "b", "c"]),
        expected: ["a", "b", "c"],
      },
      {
        key: "admin",
        values: [true, false, true],
        seen: async (server) => (await statusOf(server, "/admin/config", key)) !== 404,
        expected: [true, false, true],
      },
      { key: "grace", values: graces, seen: (server) => graceOf(server, graces), expected: graces },
    ],
  },
  {
    name: "names, texts, tokens",
    fixed: { port: "0", admin: "true" },
    rows: [
      {
        key: "textFile",
        values: [file("a.txt", texts[0]), file("b.txt", texts[1]), file("c.txt", texts[2])],
        seen: async (server) => (await completion(server, { model: "gpt-4o" })).choices[0]?.message.content,
        expected: texts,
      },
      {
        key: "model",
        values: [
          ["a", "gpt-4o"],
          ["b", "gpt-4o"],
          ["c", "gpt-4o"],
        ],
        seen: async (server) => {
          const { data } = (await (await fetch(`${origin(server)}/v1/models`)).json()) as { data: { id: string }[] };
          return data[0]!.id;
        },
        expected: ["a", "b", "c"],
      },
      {
        key: "adminToken",
        values: ["token-a", "token-b", "token-c"],
        seen: (server) => welcome(server, "/admin/config", ["token-a", "token-b", "token-c"]),
        expected: ["token-a", "token-b", "token-c"],
      },
      {
        key: "tokenizer",
        values: ["cl100k_base", "o200k_base", "cl100k_base"],
        seen: async (server) => {
          const { usage } = await completion(server, { messages: [{ role: "user", content: russian }] });
          const distance = (count: (text: string) => number): number => Math.abs(usage.prompt_tokens - count(russian));
          return distance(countCl100k) < distance(countO200k) ? "cl100k_base" : "o200k_base";
        },
        expected: ["cl100k_base", "o200k_base", "cl100k_base"],
      },
      { key: "rateLimit", values: ["rpm=5", "rpm=6", "rpm=7"], seen: admitted, expected: [5, 6, 7] },
    ],
  },
  {
    name: "addresses and engines",
    fixed: {},
    rows: [
      { key: "port", values: ports, seen: portOf, expected: ports },
      {
        key: "host",
        values: ["127.0.0.2", "127.0.0.3", "127.0.0.4"],
        seen: async (server) => {
          expect((await fetch(`${origin(server)}/health`)).status).toBe(200);
          return new URL(origin(server)).hostname;
        },
        expected: ["127.0.0.2", "127.0.0.3", "127.0.0.4"],
      },
      { key: "h1Engine", values: engines, seen: engineOf, expected: engines },
    ],
  },
  {
    name: "protocols",
    fixed: {},
    rows: [{ key: "protocol", values: ["h1:0", "h2c:0", "h1:0,h2c:0"], seen: protocolsOf, expected: ["h1", "h2c", "h1,h2c"] }],
  },
  {
    name: "h2 beside, stalls",
    // Its port is a standard one, which is likely to be free on an address that is not in use.
    fixed: { protocol: "h1:0", host: ["127.0.0.29", "127.0.0.30", "127.0.0.31"] },
    rows: [
      { key: "http2", values: [true, false, true], seen: protocolsOf, expected: ["h1,h2", "h1", "h1,h2"] },
      { key: "stallTimeout", values: stalls, seen: (server) => cutAfter(server, stalls), expected: stalls },
    ],
  },
  {
    name: "forms of answers",
    fixed: { port: "0" },
    rows: [
      {
        key: "mode",
        values: ["echo", "random", "echo"],
        seen: async (server) => (await completion(server)).choices[0]!.message.content === "Hello there",
        expected: [true, false, true],
      },
      {
        key: "profile",
        values: ["openrouter", "minimal", "vllm"],
        seen: async (server) => {
          const members = Object.keys(await completion(server));
          return members.includes("provider") ? "openrouter" : members.includes("prompt_logprobs") ? "vllm" : "minimal";
        },
        expected: ["openrouter", "minimal", "vllm"],
      },
      {
        key: "tokensPerChunk",
        values: [2, 3, 4],
        seen: async (server) => {
          const text = await (await post(server, { stream: true }, { "x-fakeai-text": "a b c d e f g h i j k l" })).text();
          return 12 / chunksOf(text).filter(({ choices }) => choices[0]?.delta?.content).length;
        },
        expected: [2, 3, 4],
      },
    ],
  },
  {
    name: "bounds",
    fixed: { port: "0", "h1-engine": "node", "stall-timeout": "20000" },
    rows: [
      {
        key: "maxHead",
        values: ["2kb", "4kb", "8kb"],
        seen: async (server) => {
          const statuses = await Promise.all(
            heads.map(async (bytes) => (await post(server, {}, { "x-pad": "x".repeat(bytes - 500) })).status),
          );
          return heads.findLast((_bytes, index) => statuses[index] === 200);
        },
        expected: heads,
      },
      {
        key: "maxJsonDepth",
        values: depths,
        seen: async (server) => {
          const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)]);
          const statuses = await Promise.all(depths.map(async (depth) => (await post(server, { extra: nested(depth - 1) })).status));
          return depths.findLast((_depth, index) => statuses[index] === 200);
        },
        expected: depths,
      },
      { key: "headTimeout", values: waits, seen: (server) => closedAfter(server, "GET / HTTP/1.1\r\n", waits), expected: waits },
      {
        key: "bodyTimeout",
        values: waits,
        seen: (server) => closedAfter(server, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", waits),
        expected: waits,
      },
      {
        key: "idleTimeout",
        // node:http grants a second more than it was told.
        values: idles,
        seen: (server) => closedAfter(server, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n", idles),
        expected: idles,
      },
      { key: "maxStreamBuffer", values: buffers, seen: (server) => waitingBytes(server, buffers), expected: buffers },
    ],
  },
  {
    name: "connections",
    fixed: { port: "0", "h1-engine": "node" },
    rows: [{ key: "maxConnections", values: [3, 5, 7], seen: connectionsTaken, expected: [3, 5, 7] }],
  },
  {
    name: "certificates",
    fixed: { protocol: "h1s:0" },
    rows: [
      { key: "tlsCert", values: certPaths, seen: fingerprint, expected: prints },
      { key: "tlsKey", values: keyPaths, seen: fingerprint, expected: prints },
    ],
  },
  {
    name: "a scheduler or none",
    fixed: { port: "0" },
    rows: [
      {
        key: "scheduler",
        values: ["batched", "independent", "batched"],
        seen: async (server) => (await (await fetch(`${origin(server)}/metrics`)).text()).includes("vllm:kv_cache_usage_perc"),
        expected: [true, false, true],
      },
    ],
  },
  {
    name: "a preset",
    fixed: { port: "0" },
    rows: [
      {
        key: "preset",
        values: ["groq-llama-2-70b", "together-llama-2-70b", "anyscale-llama-2-70b"],
        seen: stepMs,
        expected: [3.94, 11.86, 14.43],
      },
    ],
  },
  {
    name: "a recording",
    fixed: { port: "0" },
    rows: [
      {
        key: "latencyFrom",
        values: [20, 40, 60].map((itl) => file(`${itl}.csv`, `ttft_ms,itl_ms\n5,${itl}\n`)) as [string, string, string],
        seen: stepMs,
        expected: [20, 40, 60],
      },
    ],
  },
  {
    name: "the batched scheduler",
    fixed: { port: "0", scheduler: "batched" },
    rows: [
      {
        key: "stepTime",
        values: [20, "30ms", 40],
        seen: async (server) => Math.floor((await stepMs(server)) / 10) * 10,
        expected: [20, 30, 40],
      },
      { key: "stepTimePerSeq", values: [1, "2ms", "3000us"], seen: async (server) => (await stepMs(server)) % 10, expected: [1, 2, 3] },
      {
        key: "prefillTimePerToken",
        values: ["0.1", "200us", 0.3],
        seen: async (server) => {
          // One prompt is longer than the other, and takes no step more.
          const short = await grows(server, "vllm:request_prefill_time_seconds_sum", 200, { max_tokens: 1 });
          const long = await grows(server, "vllm:request_prefill_time_seconds_sum", 600, { max_tokens: 1 });
          return Math.round((10_000 * (long.by - short.by)) / (long.promptTokens - short.promptTokens)) / 10;
        },
        expected: [0.1, 0.2, 0.3],
      },
      {
        key: "requestOverhead",
        values: [5, "15ms", 25],
        seen: async (server) => {
          const took = [await overheadSeconds(server, 8), await overheadSeconds(server, 8)].map(({ by }) => 1000 * by);
          return [5, 15, 25].findLast((ms) => Math.min(...took) >= ms);
        },
        expected: [5, 15, 25],
      },
      {
        key: "requestOverheadPerToken",
        values: ["100us", "0.2", "0.3ms"],
        seen: async (server) => {
          const short = await overheadSeconds(server, 200);
          const long = await overheadSeconds(server, 2600);
          return Math.round((10_000 * (long.by - short.by)) / (long.promptTokens - short.promptTokens)) / 10;
        },
        expected: [0.1, 0.2, 0.3],
      },
      {
        key: "maxNumBatchedTokens",
        values: [300, 400, 600],
        seen: async (server) => 1200 / (await grows(server, "vllm:iteration_tokens_total_count", 4800, { max_tokens: 1 })).by,
        expected: [300, 400, 600],
      },
      {
        // Six choices of three tokens each.
        key: "maxNumSeqs",
        values: [1, 2, 3],
        seen: async (server) => 18 / (await grows(server, "vllm:iteration_tokens_total_count", 10, { n: 6, max_tokens: 3 })).by,
        expected: [1, 2, 3],
      },
      {
        // Beside as many as have a place in the batch.
        key: "maxQueue",
        values: [6, 6, 7],
        seen: async (server) => {
          let most = 0;
          for (let n = 7; n <= 11; n++) if ((await post(server, { n, max_tokens: 1 })).status === 200) most = n;
          return most;
        },
        expected: [7, 8, 10],
      },
      {
        key: "queueFull",
        values: [429, 503, 429],
        seen: async (server) => (await post(server, { n: 50, max_tokens: 1 })).status,
        expected: [429, 503, 429],
      },
      { key: "blockSize", values: [16, 32, 64], seen: foundAgain, expected: [112, 96, 64] },
      {
        key: "numGpuBlocksOverride",
        values: [1000, 2000, 3000],
        seen: async (server) => {
          const { error } = (await (await post(server, { max_tokens: 1_000_000, ignore_eos: true, stream: true })).json()) as {
            error: { message: string };
          };
          return Number(/holds (\d+) tokens/.exec(error.message)![1]);
        },
        expected: [16_000, 64_000, 192_000],
      },
    ],
  },
  {
    name: "the cache of prefixes",
    fixed: { port: "0", scheduler: "batched" },
    rows: [
      {
        key: "disablePrefixCaching",
        values: [true, false, true],
        seen: async (server) => (await foundAgain(server)) > 0,
        expected: [false, true, false],
      },
    ],
  },
  {
    name: "QUIC",
    fixed: { protocol: "h1s:0,h3:0" },
    rows: [
      {
        key: "altSvc",
        values: [true, false, true],
        seen: async (server) => (await headersOf(server))["alt-svc"] !== undefined,
        expected: [true, false, true],
      },
      { key: "quicRetry", values: [true, false, true], seen: asksForProof, expected: [true, false, true] },
    ],
  },
  {
    name: "WebSocket",
    fixed: { protocol: "h1:0,ws:0", ttft: "0" },
    rows: [
      {
        key: "wsMaxLanes",
        values: [1, 2, 3],
        seen: (server) => onSocket(server, (client) => lanesTaken(client)),
        expected: [1, 2, 3],
      },
      {
        key: "wsMaxInFlight",
        values: [2, 1, 2],
        seen: (server) => onSocket(server, (client) => startedAtOnce(client)),
        expected: [2, 1, 2],
      },
      {
        key: "wsDeflate",
        values: [true, false, true],
        seen: (server) => onSocket(server, ({ socket }) => Promise.resolve(socket.extensions)),
        expected: ["permessage-deflate", "", "permessage-deflate"],
      },
      { key: "maxStored", values: ["0", "1mb", "0"], seen: isKept, expected: [false, true, false] },
      {
        key: "wsLifetime",
        values: lifetimes,
        seen: (server) => onSocket(server, (client) => livedFor(client)),
        expected: lifetimes,
      },
    ],
  },
];

/** A value of a row, as an argument or a variable takes it. */
const textOf = (value: Value): string => (Array.isArray(value) ? value.join(",") : String(value));

function start({ name, fixed, rows }: Group, source: Source): Promise<Serving> {
  const last = sources.indexOf(source);
  const settings = Object.fromEntries(rows.map(({ key, values }) => [flagName(key), values[0]]));
  // JSON is YAML.
  const args = ["--config", file(`${name}.yaml`, JSON.stringify(settings))];
  for (const [flag, given] of Object.entries(fixed)) {
    const value = typeof given === "string" ? given : given[last]!;
    args.push(value === "true" ? `--${flag}` : `--${flag}=${value}`);
  }
  const env: Record<string, string> = {};
  for (const { key, values } of rows) {
    if (last >= 1) env[environmentName(flagName(key))] = textOf(values[1]);
    if (last >= 2) args.push(values[2] === true ? `--${flagName(key)}` : `--${flagName(key)}=${textOf(values[2])}`);
  }
  return serve(args, { env });
}

/** HTTP/3 needs an optional package: without it, this group is left out where CI does not run. */
const runnable = groups.filter(({ name }) => name !== "QUIC" || process.env["CI"] === "true" || loadQuic() !== null);

describe.each(runnable)("given in the file, up to the environment, and up to the command line: $name", (group) => {
  let servers: readonly Serving[] = [];
  beforeAll(async () => {
    const started = await Promise.allSettled(sources.map((source) => start(group, source)));
    servers = started.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    for (const one of started) if (one.status === "rejected") throw one.reason as Error;
  });
  afterAll(() => Promise.all(servers.map((server) => server.stop())));

  // All three at once: most of a row is waiting.
  test.each(group.rows)("$key", async ({ seen, expected }) => {
    expect(await Promise.all(servers.map(seen))).toEqual(expected);
  });
});

/** Knobs whose effect needs a test of its own, and where that is. */
const elsewhere: readonly ServerKey[] = [
  "fault", // faults.test.ts
  "workers", // workers.test.ts
  "timer", // clock.test.ts
  "maxBuffer", // disconnect.test.ts
  "cors", // cors.test.ts
  "imageTokens", // test/api/media.test.ts
  "pageTokens", // test/api/media.test.ts
  "keepRequests", // requests.test.ts
  "replies", // replies.test.ts
  "earlyRole", // received.test.ts
  "instance", // replicas.test.ts
  "metricsLabel", // replicas.test.ts
  "warm", // warm.test.ts
  "replay", // replay.test.ts, like the three after it
  "replayIgnore",
  "replaySpeed",
  "replayUnmatched",
];

test("no flag is without a row", () => {
  const rows = groups.flatMap((group) => group.rows.map(({ key }) => key));
  expect([...rows, ...elsewhere].sort()).toEqual(serverFlags.map(({ key }) => key).sort());
});
