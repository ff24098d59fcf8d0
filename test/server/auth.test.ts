/** Keys: who is let in, and what everybody else is told. */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Anthropic from "@anthropic-ai/sdk";
import fc from "fast-check";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { KeyRing } from "../../src/base/keys.ts";
import { keyOf } from "../../src/server/gate.ts";
import { maskKey } from "../../src/api/errors/answers.ts";
import type { RouteRequest } from "../../src/core/seams.ts";
import { createServer } from "../../src/index.ts";
import { runCli } from "../support/process.ts";
import { chat } from "../support/chat.ts";
import { type Answer, start, type Started, targets } from "../support/targets.ts";

const good = "sk-good-0123456789abcdef";
const bad = "sk-bad-0123456789abcdefghijk";
const bearer = (key: string): Record<string, string> => ({ authorization: `Bearer ${key}` });
const errorOf = (answer: Answer): { message: string; type: string; param: null; code: string | null } =>
  (JSON.parse(answer.body) as { error: { message: string; type: string; param: null; code: string | null } }).error;

describe.each(targets)("$name", (target) => {
  let running: Started;
  beforeAll(async () => {
    running = await start(target, { outputTokens: 2, apiKey: [good, "second-key"], maxBody: 20_000 });
  });
  afterAll(() => running.stop());

  test("the right key is let in: Bearer, x-api-key, or the password of Basic", async () => {
    const ways = [
      bearer(good),
      { authorization: `bearer   ${good}` },
      bearer("second-key"),
      { "x-api-key": good },
      { ...bearer(good), "x-api-key": bad },
      { authorization: `Basic ${Buffer.from(`:${good}`).toString("base64")}` },
    ];
    for (const headers of ways) expect((await running.ask({ body: chat(), headers })).status).toBe(200);
  });

  test("no key: OpenAI's words", async () => {
    // A value that ends with a space is malformed in HTTP/2 (RFC 9113, section 8.2.1); our own engine resets its stream.
    const empty = target.engine === "own" ? "Bearer" : "Bearer ";
    for (const headers of [{}, { authorization: "" }, { authorization: empty }, { authorization: good }]) {
      const answer = await running.ask({ body: chat(), headers });
      expect(answer.status).toBe(401);
      expect(answer.headers["content-type"]).toBe("application/json");
      expect(answer.headers["www-authenticate"]).toBe('Basic realm="OpenAI API"');
      expect(answer.headers["x-request-id"]).toMatch(/^req_[0-9a-f]{32}$/);
      expect(errorOf(answer)).toEqual({
        message:
          "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY), or as the password field (with blank username) if you're accessing the API from your browser and are prompted for a username and password. You can obtain an API key from https://platform.openai.com/account/api-keys.",
        type: "invalid_request_error",
        param: null,
        code: null,
      });
    }
  });

  test("a wrong key: OpenAI's words, the key masked", async () => {
    const answer = await running.ask({ body: chat({ stream: true }), headers: bearer(bad) });
    expect(answer.status).toBe(401);
    expect(errorOf(answer)).toEqual({
      message:
        "Incorrect API key provided: sk-bad-0****************hijk. You can find your API key at https://platform.openai.com/account/api-keys.",
      type: "invalid_request_error",
      param: null,
      code: "invalid_api_key",
    });
    for (const close of [good.slice(0, -1), `${good}x`, good.toUpperCase(), "x"]) {
      const refused = await running.ask({ body: chat(), headers: bearer(close) });
      expect(refused.status).toBe(401);
      expect(refused.body).not.toContain(`: ${close}.`);
    }
  });

  test("Anthropic's paths answer in Anthropic's words", async () => {
    const ask = (headers: Record<string, string>): Promise<Answer> => running.ask({ path: "/v1/messages", body: {}, headers });
    const missing = await ask({});
    expect(missing.status).toBe(401);
    const id = missing.headers["request-id"];
    expect(JSON.parse(missing.body)).toEqual({
      type: "error",
      error: { type: "authentication_error", message: "x-api-key header is required" },
      request_id: id,
    });
    expect(JSON.parse((await ask({ "x-api-key": bad })).body)).toMatchObject({ error: { message: "invalid x-api-key" } });
    expect((await ask({ "x-api-key": good })).status).not.toBe(401);
  });

  test("health and metrics stay open, everything else is behind the key", async () => {
    for (const path of ["/health", "/health/ready", "/metrics"]) expect((await running.ask({ path })).status).toBe(200);
    for (const path of ["/v1/models", "/v1/models/gpt-4o", "/nothing", "/v1/nothing"]) {
      expect((await running.ask({ path })).status).toBe(401);
      expect((await running.ask({ path, headers: bearer(good) })).status).not.toBe(401);
    }
    const large = { body: Buffer.alloc(30_000, " ") };
    expect((await running.ask(large)).status).toBe(401);
    expect((await running.ask({ ...large, headers: bearer(good) })).status).toBe(413);
  });
});

test("without keys any key or none is welcome", async () => {
  await using server = await createServer({ outputTokens: 1 });
  for (const headers of [{}, bearer("anything")]) {
    expect((await fetch(`${server.urls.h1}/v1/models`, { headers })).status).toBe(200);
  }
});

test("a file of keys", async () => {
  const path = join(mkdtempSync(join(tmpdir(), "fakeai-")), "keys");
  writeFileSync(path, `# ours\r\n${good}\n\n  second-key  \n`);
  await using server = await createServer({ apiKey: [path, "third-key"] });
  const status = async (key: string): Promise<number> => (await fetch(`${server.urls.h1}/v1/models`, { headers: bearer(key) })).status;
  expect(await Promise.all([good, "second-key", "third-key", "# ours", path].map(status))).toEqual([200, 200, 200, 401, 401]);
  expect(server.config.apiKeys).toEqual([good, "second-key", "third-key"]);
});

test.each([
  ["an empty key", { apiKey: "" }, /^--api-key: an empty key/],
  ["a path that is no file", { apiKey: "/no/such/file" }, /^--api-key: what looks like a path/],
  ["a key that no header carries", { apiKey: "sk-ä" }, /^--api-key: a key holds visible ASCII/],
])("%s is refused, and not shown", async (_what, options, message) => {
  const error = await createServer(options).then(
    () => null,
    (error: Error) => error.message,
  );
  expect(error).toMatch(message);
  if (options.apiKey !== "") expect(error).not.toContain(options.apiKey);
});

test("a key longer than any file's name is a key", async () => {
  // Longer than a name may be (255 bytes), shorter than a head that uWebSockets.js takes by default (4,096 bytes).
  const key = "k".repeat(3000);
  await using server = await createServer({ apiKey: key });
  expect((await fetch(`${server.urls.h1}/v1/models`, { headers: bearer(key) })).status).toBe(200);
});

test("no key is printed, whatever happens", async () => {
  const path = join(mkdtempSync(join(tmpdir(), "fakeai-")), "keys");
  writeFileSync(path, good);
  const running = runCli(["serve", "--port", "0", "--api-key", path, "--admin", "--admin-token", "admin-secret-123"]);
  const url = /http:\/\/\S+/.exec(await running.firstLine)![0];
  const seen: string[] = [];
  for (const key of [good, bad, "admin-secret-123"]) {
    for (const where of ["/v1/models", "/metrics", "/admin/config", "/nothing"]) {
      seen.push(await (await fetch(`${url}${where}`, { headers: bearer(key) })).text());
    }
  }
  running.child.kill("SIGTERM");
  const { stdout, stderr, code } = await running.ended;
  expect([code, stderr]).toEqual([0, ""]);
  for (const secret of [good, bad, "admin-secret-123"]) expect([stdout, ...seen].join("\n")).not.toContain(secret);
});

test("real clients see their own error classes", async () => {
  await using server = await createServer({ apiKey: good });
  const openai = new OpenAI({ baseURL: `${server.urls.h1}/v1`, apiKey: bad });
  await expect(openai.models.list()).rejects.toThrow(OpenAI.AuthenticationError);
  await expect(openai.models.list()).rejects.toMatchObject({ status: 401, code: "invalid_api_key" });
  const anthropic = new Anthropic({ baseURL: server.urls.h1!, apiKey: bad });
  const message = { model: "claude", max_tokens: 1, messages: [{ role: "user" as const, content: "Hi" }] };
  await expect(anthropic.messages.create(message)).rejects.toThrow(Anthropic.AuthenticationError);
});

test("whatever a client shows as authorization, it is a key or none", () => {
  const shown = fc.oneof(
    fc.string(),
    fc.string({ unit: "binary" }),
    fc.string().map((text) => `Bearer ${text}`),
    fc.string().map((text) => `Basic ${text}`),
  );
  const ring = new KeyRing([good]);
  fc.assert(
    fc.property(shown, fc.option(shown, { nil: undefined }), (authorization, direct) => {
      const request = { header: (name: string) => (name === "authorization" ? authorization : direct) } as RouteRequest;
      for (const provider of ["openai", "anthropic"] as const) {
        const key = keyOf(request, provider);
        if (key !== null) {
          expect(key).not.toBe("");
          expect(ring.find(key)).toBe(-1);
        }
      }
    }),
  );
});

test("no mask shows a whole key", () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1, maxLength: 80 }), (key) => {
      const masked = maskKey(key);
      expect(masked).toHaveLength(key.length);
      expect(masked).toMatch(key.length > 12 ? /^.{8}\*+.{4}$/s : /^.{0,2}\*+$/s);
    }),
  );
});
