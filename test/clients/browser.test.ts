/** The providers' SDKs in a page of another origin: what `--cors` is for, in a browser that keeps the rules. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer as createHttpServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join, normalize } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createServer, type FakeAiServer } from "../../src/index.ts";
import { loadUws } from "../../src/listeners/uws/module.ts";
import { chromium, chromiumFlags, hasChromium } from "../support/chromium.ts";
import { root } from "../support/process.ts";
import { listen } from "../support/servers.ts";

/** What the page saw of one server. */
interface Seen {
  readonly name: string;
  readonly openai: {
    readonly tokens: number;
    readonly overMs: number;
    readonly requestId: string | null;
    readonly remaining: string | null;
  };
  readonly anthropic: { readonly text: number; readonly requestId: string | null };
  readonly wrongKey: string;
  readonly limited: { readonly status: number; readonly retryAfter: string | null; readonly fault: string | null };
}

const tokens = 5;
const itlMs = 100;

/** Runs in the page. */
const script = `
let OpenAI, Anthropic;
const browser = { dangerouslyAllowBrowser: true, maxRetries: 0 };
const ask = { model: "gpt-4o", messages: [{ role: "user", content: "Hello" }] };
const failure = (error) => ({ name: error.constructor.name, status: error.status, headers: error.headers });
async function look({ name, url }) {
  const openai = new OpenAI({ baseURL: url + "/v1", apiKey: "k", ...browser });
  const { data: stream, response } = await openai.chat.completions.create({ ...ask, stream: true }, { headers: { "x-fakeai-seed": "1" } }).withResponse();
  const times = [];
  for await (const { choices } of stream) if (choices[0]?.delta.content) times.push(performance.now());
  const anthropic = new Anthropic({ baseURL: url, apiKey: "k", ...browser });
  const message = await anthropic.messages.create({ ...ask, max_tokens: 9, stream: true }).withResponse();
  let text = 0;
  for await (const event of message.data) if (event.type === "content_block_delta") text++;
  const wrong = new OpenAI({ baseURL: url + "/v1", apiKey: "wrong", ...browser });
  const wrongKey = await wrong.chat.completions.create(ask).catch(failure);
  const limited = await openai.chat.completions.create(ask, { headers: { "x-fakeai-fault": "rate_limit(retry_after=7)" } }).catch(failure);
  return {
    name,
    openai: {
      tokens: times.length,
      overMs: times.at(-1) - times[0],
      requestId: response.headers.get("x-request-id"),
      remaining: response.headers.get("x-ratelimit-remaining-requests"),
    },
    anthropic: { text, requestId: message.response.headers.get("request-id") },
    wrongKey: wrongKey.name + " " + wrongKey.status,
    limited: { status: limited.status, retryAfter: limited.headers?.get("retry-after") ?? null, fault: limited.headers?.get("x-fakeai-fault") ?? null },
  };
}
let told;
try {
  ({ default: OpenAI } = await import("/node_modules/openai/index.mjs"));
  ({ default: Anthropic } = await import("/node_modules/@anthropic-ai/sdk/index.mjs"));
  const { allowing, others } = await (await fetch("/servers")).json();
  const seen = [];
  for (const server of allowing) seen.push(await look(server));
  const refused = [];
  for (const url of others) {
    const openai = new OpenAI({ baseURL: url + "/v1", apiKey: "k", ...browser });
    refused.push(await openai.chat.completions.create(ask).then(() => "answered", (error) => error.constructor.name));
  }
  told = { seen, refused };
} catch (error) {
  told = { error: String(error?.stack ?? error) };
}
await fetch("/told", { method: "POST", body: JSON.stringify(told) });
`;

interface Told {
  readonly seen?: readonly Seen[];
  readonly refused?: readonly string[];
  readonly error?: string;
}

/** What a bundler would do for Anthropic's SDK, which names two packages. Webhooks are none of a page's. */
const importMap = JSON.stringify({
  imports: {
    "@opentelemetry/api": "/node_modules/@opentelemetry/api/dist/index.mjs",
    standardwebhooks: "data:text/javascript,export class Webhook {}",
    // Of Node alone; openai's package.json names another for browsers, which it takes where this one has no members.
    "/node_modules/openai/internal/auth/x509-transport-state.js": "data:text/javascript,",
  },
});

/** Serves the page and the SDKs; `onTold` gets what the page found out. */
function pageServer(servers: () => object, onTold: (told: Told) => void): Server {
  return createHttpServer((request, response) => {
    const path = normalize(request.url ?? "/");
    const send = (type: string, body: string | Buffer): unknown => response.writeHead(200, { "content-type": type }).end(body);
    if (path === "/")
      send("text/html", `<!doctype html><script type="importmap">${importMap}</script><script type="module">${script}</script>`);
    else if (path === "/servers") send("application/json", JSON.stringify(servers()));
    else if (path === "/told") {
      let text = "";
      request.on("data", (chunk: Buffer) => (text += chunk.toString()));
      request.on("end", () => {
        send("text/plain", "");
        onTold(JSON.parse(text) as Told);
      });
    } else if (/^\/node_modules\/(openai|@anthropic-ai\/sdk|@opentelemetry\/api)\/[\w/.-]+\.mjs$/.test(path)) {
      readFile(join(root, path)).then(
        (body) => send("text/javascript", body),
        () => response.writeHead(404).end(),
      );
    } else response.writeHead(404).end();
  });
}

describe.skipIf(!hasChromium)("in a page of another origin", () => {
  const running: FakeAiServer[] = [];
  let folder: string;
  let page: Server;
  let browser: ChildProcess;
  let told: Told;
  const names = ["h1", "h1s", "h2"];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "fakeai-page-"));
    let servers: object = {};
    let resolve: (told: Told) => void = () => {};
    const answer = new Promise<Told>((done) => (resolve = done));
    page = pageServer(
      () => servers,
      (found) => resolve(found),
    );
    const cors = `http://127.0.0.1:${await listen(page)}`;
    const options = { protocol: "h1,h1s,h2", outputTokens: tokens, itl: itlMs, apiKey: "k", rateLimit: "rpm=1000" } as const;
    const engines = (await loadUws()) === null ? (["node"] as const) : (["uws", "node"] as const);
    const allowing: { name: string; url: string | undefined }[] = [];
    for (const h1Engine of engines) {
      const server = await createServer({ ...options, h1Engine, cors });
      running.push(server);
      allowing.push(...names.map((name) => ({ name: `${name} ${h1Engine}`, url: server.urls[name as "h1"] })));
    }
    const [closed, other] = [await createServer(options), await createServer({ ...options, cors: "http://localhost:3000" })];
    running.push(closed, other);
    servers = { allowing, others: [closed.urls.h1, other.urls.h1, other.urls.h2] };
    browser = spawn(chromium, [...chromiumFlags(join(folder, "profile")), "--ignore-certificate-errors", `${cors}/`], {
      stdio: "ignore",
      detached: true,
    });
    const died = new Promise<Told>((done) => browser.once("exit", (code) => done({ error: `chromium ended: ${code}` })));
    told = await Promise.race([answer, died]);
  }, 60_000);

  afterAll(async () => {
    // With its helpers.
    if (browser?.pid !== undefined && browser.exitCode === null) process.kill(-browser.pid, "SIGKILL");
    page.close();
    await Promise.all(running.map((server) => server.close(0)));
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });

  test("both SDKs stream, read headers and understand errors, over every engine", () => {
    expect(told.error).toBeUndefined();
    expect(told.seen).toHaveLength(names.length * (running.length - 2));
    for (const seen of told.seen!) {
      expect(seen).toMatchObject({
        openai: { tokens, requestId: expect.stringMatching(/^req_/) as string, remaining: expect.stringMatching(/^99\d$/) as string },
        anthropic: { text: tokens, requestId: expect.stringMatching(/^req_/) as string },
        wrongKey: "AuthenticationError 401",
        limited: { status: 429, retryAfter: "7", fault: "rate_limit" },
      });
      // 400 ms as planned; a busy browser reads late, and an answer that came whole would come at once.
      expect(seen.openai.overMs).toBeGreaterThan(itlMs / 2);
    }
  });

  test("a server that allows no page, or another, is out of reach", () => {
    expect(told.refused).toEqual(["APIConnectionError", "APIConnectionError", "APIConnectionError"]);
  });
});
