/** Every error, byte for byte, of each profile and of Anthropic's endpoints, as a raw connection sees it. */
import { once } from "node:events";
import { connect } from "node:net";
import { describe, expect, test } from "vitest";
import { createServer, type FakeAiServer, type ServerOptions } from "../../src/index.ts";
import { golden } from "../support/golden.ts";
import { eventually } from "../support/wait.ts";

const key = "sk-good-0123456789abcdef";
const profiles = ["openai", "vllm", "openrouter", "minimal"] as const;
type Profile = (typeof profiles)[number];

interface Ask {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: object | string;
}

/** The whole response to one request on a connection of its own. */
async function raw(
  server: FakeAiServer,
  { method = "POST", path = "/v1/chat/completions", headers = {}, body = {} }: Ask,
): Promise<string> {
  const socket = connect(Number(new URL(server.urls.h1!).port), "127.0.0.1");
  const text = method !== "POST" ? "" : typeof body === "string" ? body : JSON.stringify(body);
  const lines = Object.entries({ host: "x", connection: "close", "content-length": String(text.length), ...headers });
  let answer = "";
  socket.setEncoding("latin1").on("data", (chunk: string) => (answer += chunk));
  socket.write(`${method} ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n${text}`);
  await once(socket, "close");
  return answer;
}

const bodyOf = (response: string): string => response.slice(response.indexOf("\r\n\r\n") + 4);
const statusOf = (response: string): number => Number(response.split(" ")[1]);

/** The chunks of a body joined: how many there are is a matter of time. */
function dechunked(response: string): string {
  const at = response.indexOf("\r\n\r\n") + 4;
  if (!/^transfer-encoding: chunked\r$/im.test(response.slice(0, at))) return response;
  let body = "";
  for (let from = at; ;) {
    const end = response.indexOf("\r\n", from);
    const length = Number.parseInt(response.slice(from, end), 16);
    if (length === 0) return response.slice(0, at) + body;
    body += response.slice(end + 2, end + 2 + length);
    from = end + 4 + length;
  }
}

/** What differs from run to run is masked, the reason phrase of node's version among it. */
const masked = (response: string): string =>
  dechunked(response)
    .replaceAll("\r\n", "\n")
    .replace(/^(HTTP\/1.1 \d+) .*$/m, "$1")
    .replaceAll(/req_[0-9a-f]{32}/g, "req_*")
    .replaceAll(/^(date|content-length): .*\n/gim, "")
    .replaceAll(/^(retry-after(?:-ms)?|(?:x|anthropic)-ratelimit-\S*reset\S*): .*$/gim, "$1: *")
    // Gemini's body says the same wait.
    .replaceAll(/("retryDelay": )"[0-9.]+s"/g, '$1"*"')
    .replaceAll(/try again in [0-9.a-z]+?(?=\.? )/g, "try again in *")
    .replaceAll(/"X-RateLimit-Reset":"\d+"/g, '"X-RateLimit-Reset":"*"');

const open = (options: ServerOptions): Promise<FakeAiServer> =>
  createServer({ protocol: "h1", h1Engine: "node", outputTokens: 4, ...options });

/** One response for each status that a server can refuse with, by the path's provider and the profile. */
async function everyError(profile: Profile, path: string): Promise<{ what: string; response: string }[]> {
  const anthropic = path === "/v1/messages";
  const gemini = path.startsWith("/v1beta/");
  const headers = { authorization: `Bearer ${key}`, ...(anthropic && { "anthropic-version": "2023-06-01" }) };
  const body = gemini
    ? { contents: [{ role: "user", parts: [{ text: "Hi" }] }], generationConfig: { maxOutputTokens: 4 } }
    : { model: "m", messages: [{ role: "user", content: "Hi" }], max_tokens: 4, ...(path === "/api/chat" && { stream: false }) };
  const answers: { what: string; response: string }[] = [];
  const add = async (what: string, server: FakeAiServer, ask: Ask): Promise<void> => {
    const response = await raw(server, { path, headers, body, ...ask });
    const length = /^content-length: (\d+)\r$/im.exec(response)?.[1];
    if (length !== undefined) expect(bodyOf(response)).toHaveLength(Number(length));
    answers.push({ what, response });
  };
  {
    await using server = await open({ profile, apiKey: key, model: "m", maxBody: 2000 });
    await add("400 a parameter is missing", server, { body: path === "/api/chat" ? {} : { model: "m" } });
    await add("400 no JSON", server, { body: "{" });
    await add("400 no HTTP", server, { headers: { ...headers, "content-length": "1, 2" } });
    await add("401 no key", server, { headers: {} });
    await add("401 a wrong key", server, { headers: { authorization: "Bearer sk-bad-0123456789abcdef" } });
    await add("404 no such model", server, gemini ? { path: path.replace("/m:", "/other:") } : { body: { ...body, model: "other" } });
    await add("404 no such path", server, { path: gemini ? "/v1beta/nothing" : `${path}/nothing` });
    await add("405", server, { method: "GET" });
    await add("413", server, { body: { ...body, user: "x".repeat(2000) } });
    await add("429 by a fault", server, { headers: { ...headers, "x-fakeai-fault": "rate_limit(retry_after=2)" } });
    await add("500", server, { headers: { ...headers, "x-fakeai-fault": "server_error" } });
    await add("503 by a fault", server, { headers: { ...headers, "x-fakeai-fault": "status(503)" } });
    const streamed = { ...headers, "x-fakeai-fault": "error(after=1)", "x-fakeai-seed": "8" };
    const inStream = gemini ? { path: `${path.replace("generate", "streamGenerate")}?alt=sse` } : { body: { ...body, stream: true } };
    await add("an error inside of a stream", server, { headers: streamed, ...inStream });
  }
  {
    await using server = await open({ profile, rateLimit: "rpm=1" });
    await raw(server, { path, headers, body });
    await add("429 over the limit of requests", server, {});
  }
  {
    await using server = await open({
      profile,
      scheduler: "batched",
      maxNumSeqs: 1,
      maxQueue: 1,
      queueFull: 503,
      stepTime: 20,
      outputTokens: 200,
    });
    const long = gemini ? { ...body, generationConfig: {} } : { ...body, max_tokens: 200 };
    const held = [1, 2].map(() => raw(server, { path, headers, body: long }));
    await eventually(() => server.stats().openStreams === 2, "two requests to be there");
    await add("503 the queue is full", server, {});
    await server.close(0);
    await Promise.all(held);
  }
  return answers;
}

/** Paths of the providers that have errors of their own with every profile. */
const own = { anthropic: "/v1/messages", gemini: "/v1beta/models/m:generateContent", ollama: "/api/chat" } as const;

describe.each([...profiles, "anthropic", "gemini", "ollama"] as const)("%s", (name) => {
  test("every error has the bytes of its file", async () => {
    const answers = await (name in own
      ? everyError("openai", own[name as keyof typeof own])
      : everyError(name as Profile, "/v1/chat/completions"));
    const bytes = answers.map(({ what, response }) => `### ${what}\n${masked(response)}\n`).join("\n");
    expect(bytes).toBe(golden(`${name}-errors`, bytes));
  });
});

describe("what passes by the gate has the profile's words", () => {
  test("vllm: 401", async () => {
    await using server = await open({ profile: "vllm", apiKey: key });
    for (const headers of [{}, { authorization: "Bearer wrong" }]) {
      const response = await raw(server, { headers });
      expect([statusOf(response), bodyOf(response)]).toEqual([401, '{"error":"Unauthorized"}']);
      expect(response).not.toMatch(/^(www-authenticate|x-request-id):/im);
    }
  });

  test("vllm: 404 and 405 are FastAPI's", async () => {
    await using server = await open({ profile: "vllm" });
    expect(bodyOf(await raw(server, { path: "/v1/nothing" }))).toBe('{"detail":"Not Found"}');
    const response = await raw(server, { method: "GET" });
    expect(bodyOf(response)).toBe('{"detail":"Method Not Allowed"}');
    expect(response).toMatch(/^allow: POST\r$/im);
  });

  test("openrouter: 401", async () => {
    await using server = await open({ profile: "openrouter", apiKey: key });
    const ask = async (headers: Record<string, string>): Promise<unknown> => JSON.parse(bodyOf(await raw(server, { headers })));
    expect(await ask({})).toEqual({ error: { message: "Missing Authentication header", code: 401 } });
    expect(await ask({ authorization: "Bearer wrong" })).toEqual({ error: { message: "User not found.", code: 401 } });
  });

  test.each(["vllm", "openrouter"] as const)("%s: 429 has its shape, and OpenAI's rate headers are not there", async (profile) => {
    await using server = await open({ profile, rateLimit: "rpm=1" });
    const body = { model: "m", messages: [{ role: "user", content: "Hi" }] };
    expect(await raw(server, { body })).not.toMatch(/^x-ratelimit/im);
    const response = await raw(server, { body });
    const { error } = JSON.parse(bodyOf(response)) as { error: { code: unknown; type?: string; metadata?: object } };
    expect([statusOf(response), error.code]).toEqual([429, 429]);
    expect(response).toMatch(/^retry-after: \d+\r$/im);
    expect(response).not.toMatch(/^x-ratelimit/im);
    if (profile === "vllm") expect(error.type).toBe("Too Many Requests");
    else expect(error.metadata).toMatchObject({ headers: { "X-RateLimit-Limit": "1", "X-RateLimit-Remaining": "0" } });
  });

  test("openrouter: the status is the code of the body, for a model that is not there too", async () => {
    await using server = await open({ profile: "openrouter", model: "m" });
    const response = await raw(server, { body: { model: "x", messages: [{ role: "user", content: "Hi" }] } });
    expect(statusOf(response)).toBe(400);
    expect(JSON.parse(bodyOf(response))).toMatchObject({ error: { message: "x is not a valid model ID", code: 400 } });
  });
});

test.each(profiles)("%s: what only the server's own routes refuse has the profile's shape", async (profile) => {
  await using server = await open({ profile, admin: true, adminToken: "token-0123456789" });
  const refused = await raw(server, { method: "GET", path: "/admin/config" });
  expect(statusOf(refused)).toBe(401);
  const { error } = JSON.parse(bodyOf(refused)) as { error: { message: string; code: unknown } };
  expect(error.message).toContain("admin token");
  expect(error.code).toBe(profile === "vllm" || profile === "openrouter" ? 401 : "invalid_admin_token");
});
