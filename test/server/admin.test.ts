/** Changing knobs while the server runs. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ServerOptions } from "../../src/settings/options.ts";
import { resolveConfig, freePorts } from "../../src/settings/server.ts";
import { createServer, UsageError } from "../../src/index.ts";
import { changedConfig, runtimeKnobs, showKnobs } from "../../src/server/knobs.ts";
import { chat, chunksOf } from "../support/chat.ts";
import { type Answer, start, type Started, targets } from "../support/targets.ts";
import { eventually } from "../support/wait.ts";

const path = "/admin/config";
const errorOf = (answer: Answer): { message: string; param: string | null; code: string } =>
  (JSON.parse(answer.body) as { error: { message: string; param: string | null; code: string } }).error;

describe.each(targets)("$name", (target) => {
  let running: Started;
  beforeAll(async () => {
    running = await start(target, { admin: true, outputTokens: 4 });
  });
  afterAll(() => running.stop());

  test("shows what is in force, takes the same back", async () => {
    const shown = await running.ask({ path });
    expect([shown.status, shown.headers["cache-control"]]).toEqual([200, "no-store"]);
    expect(JSON.parse(shown.body)).toEqual({
      ttft: "0",
      itl: "0",
      "output-tokens": "4",
      seed: 1,
      model: null,
      stamps: false,
      mode: "random",
      profile: "openai",
      "early-role": false,
      "tokens-per-chunk": 1,
      "max-model-len": null,
      "rate-limit": null,
      fault: null,
      grace: 10_000,
    });
    expect(await running.ask({ path, body: shown.body })).toMatchObject({ status: 200, body: shown.body });
  });

  test("a change acts at once; a stream under way keeps its plan", async () => {
    await running.ask({ path, body: { itl: 40, "output-tokens": 15 } });
    let ended = false;
    const before = running.ask({ body: chat({ stream: true }) }).finally(() => {
      ended = true;
    });
    await eventually(() => running.server.stats().running === 1, "the first stream runs");
    const answer = await running.ask({ path, body: { itl: 0, "output-tokens": 3, model: ["other"], stamps: true } });
    expect(ended).toBe(false);
    expect(JSON.parse(answer.body)).toMatchObject({ itl: "0", "output-tokens": "3", model: ["other"], stamps: true });
    expect((await running.ask({ body: chat() })).status).toBe(404);
    const after = chunksOf((await running.ask({ body: chat({ stream: true, model: "other" }) })).body);
    expect(after.filter(({ choices }) => choices[0]?.delta?.content)).toHaveLength(3);
    expect(after[0]!.fakeai).toBeDefined();

    const { body, reads, startedMs } = await before;
    const kept = chunksOf(body);
    expect(kept.filter(({ choices }) => choices[0]?.delta?.content)).toHaveLength(15);
    expect(kept[0]!.fakeai).toBeUndefined();
    expect(reads.at(-1)!.atMs - startedMs).toBeGreaterThan(14 * 40 - 1);
    expect((await running.ask({ path: "/metrics" })).body).toContain('vllm:num_requests_running{model_name="other"} 0');

    await running.ask({ path, body: { itl: null, "output-tokens": 4, model: null, stamps: false } });
    expect((await running.ask({ body: chat() })).status).toBe(200);
  });

  test("all of it or nothing, and the error names the knob", async () => {
    const before = (await running.ask({ path })).body;
    const refused = async (body: object | string): Promise<ReturnType<typeof errorOf>> => {
      const answer = await running.ask({ path, body });
      expect(answer.status).toBe(400);
      expect((await running.ask({ path })).body).toBe(before);
      return errorOf(answer);
    };
    expect(await refused({ ttft: 50, itl: "soon" })).toEqual({
      message: 'itl: cannot read "soon" (for example 20, 20ms, 500us, 20:10 or lognormal(20,0.5))',
      type: "invalid_request_error",
      param: "itl",
      code: "invalid_value",
    });
    expect(await refused({ seed: 5, "output-tokens": -1 })).toMatchObject({ param: "output-tokens" });
    expect(await refused({ seed: 1.5 })).toMatchObject({ param: "seed", message: "'seed' must be a whole number" });
    expect(await refused({ stamps: "yes" })).toMatchObject({ param: "stamps" });
    expect(await refused({ model: [1] })).toMatchObject({ param: "model" });
    expect(await refused({ "rate-limit": "rps=4" })).toMatchObject({ param: "rate-limit" });
    expect(await refused({ "max-model-len": 0 })).toMatchObject({ param: "max-model-len" });
    expect(await refused({ ttft: 1, nonsense: 2 })).toMatchObject({ param: "nonsense", message: expect.stringMatching(/is not a knob/) });
    expect(await refused({ tft: 1 })).toMatchObject({ param: "tft", message: "'tft' is not a knob: did you mean ttft?" });
    expect(await refused('{"ttft":1,"__proto__":{"itl":5}}')).toMatchObject({ param: "__proto__" });
    expect(await refused({ ttft: 1, port: 99 })).toMatchObject({ param: "port", message: expect.stringMatching(/cannot change/) });
    expect(await refused({ "text-file": "/etc/passwd" })).toMatchObject({ param: "text-file" });
    expect(await refused({ "api-key": "mine" })).toMatchObject({ param: "api-key" });
    expect(await refused({ ttft: 1, "ttft-ms": 2 })).toMatchObject({ param: "ttft" });
    expect(await refused([])).toMatchObject({ param: "body" });
    await refused("{");
  });

  test("aliases work here too", async () => {
    const change = async (body: object): Promise<unknown> => JSON.parse((await running.ask({ path, body })).body);
    expect(await change({ "ttft-ms": 5, "ttft-ms-std": 2, "rate-limit-rpm": 10_000 })).toMatchObject({
      ttft: "normal(5,2)",
      "rate-limit": "rpm=10000",
    });
    expect(await change({ ttft: 3, "rate-limit-tpm": 5000 })).toMatchObject({ ttft: "3", "rate-limit": "rpm=10000,tpm=5000" });
    expect(await change({ "ttft-ms-std": 1, "rate-limit-rpm": 9000 })).toMatchObject({
      ttft: "normal(3,1)",
      "rate-limit": "rpm=9000,tpm=5000",
    });
    await change({ ttft: null, "rate-limit": null });
  });

  test("neither a page in a browser nor a proxy may ask", async () => {
    for (const headers of [
      { origin: "http://evil.example" },
      { origin: "null" },
      { "x-forwarded-for": "192.0.2.7" },
      { host: "evil.example:8000" },
    ]) {
      // Our HTTP/2 client sends no host beside :authority, and node's TLS client checks the certificate against it.
      if ("host" in headers && target.protocol !== "h1") continue;
      for (const body of [undefined, { ttft: 9 }]) {
        const answer = await running.ask({ path, headers, ...(body && { body }) });
        expect(answer.status).toBe(403);
      }
    }
    expect(JSON.parse((await running.ask({ path })).body)).toMatchObject({ ttft: "0" });
  });

  test("only GET and POST", async () => {
    expect((await running.ask({ path, method: "DELETE" })).status).toBe(405);
  });
});

test("off unless asked for", async () => {
  await using server = await createServer();
  expect((await fetch(`${server.urls.h1}${path}`)).status).toBe(404);
});

test("never open beyond loopback without a token", async () => {
  for (const host of ["0.0.0.0", "::", "192.0.2.1", "example.com", "127.0.0.1.example.com"]) {
    expect(() => resolveConfig({ admin: true, host }, freePorts)).toThrow(UsageError);
    expect(() => resolveConfig({ admin: true, host }, freePorts)).toThrow(/^--admin on .* give --admin-token, or listen on 127\.0\.0\.1$/);
    expect(resolveConfig({ admin: true, host, adminToken: "t" }, freePorts).admin).toEqual({ token: "t" });
  }
  for (const host of ["127.0.0.1", "127.9.9.9", "localhost", "::1"]) {
    expect(resolveConfig({ admin: true, host }, freePorts).admin).toEqual({ token: null });
  }
  expect(() => resolveConfig({ adminToken: "t" }, freePorts)).toThrow(/--admin-token does nothing without --admin/);
});

test("with a token every caller needs it, with or without API keys", async () => {
  await using server = await createServer({ admin: true, adminToken: "let-me", host: "0.0.0.0", apiKey: "sk-user" });
  const url = `http://127.0.0.1:${new URL(server.urls.h1!).port}${path}`;
  const status = async (authorization?: string, method = "GET"): Promise<number> => {
    const headers = authorization === undefined ? {} : { authorization };
    return (await fetch(url, { method, headers, ...(method === "POST" && { body: '{"ttft":7}' }) })).status;
  };
  for (const method of ["GET", "POST"]) {
    expect(await status(undefined, method)).toBe(401);
    expect(await status("Bearer sk-user", method)).toBe(401);
    expect(await status("Bearer let-m", method)).toBe(401);
    expect(await status("let-me", method)).toBe(401);
  }
  expect(server.config.model.ttft.constant).toBe(0);
  expect(await status("Bearer let-me", "POST")).toBe(200);
  expect(server.config.model.ttft.constant).toBe(7000);
});

test("a change touches nothing that was not asked for", async () => {
  const folder = mkdtempSync(join(tmpdir(), "fakeai-"));
  const [text, keys] = [join(folder, "text"), join(folder, "keys")];
  writeFileSync(text, "as it was");
  writeFileSync(keys, "sk-first");
  const config = resolveConfig({ admin: true, textFile: text, apiKey: keys, protocol: "h1:8123", host: "127.0.0.1" }, freePorts);
  writeFileSync(text, "as it is");
  rmSync(keys);
  const changed = changedConfig(config, { ttft: 5 });
  expect(changed).toMatchObject({ endpoints: [{ port: 8123 }], apiKeys: ["sk-first"], model: { text: "as it was" } });
  const { ttft, ...others } = changed.model;
  expect(ttft.constant).toBe(5000);
  expect(JSON.stringify({ ...changed, model: others, options: 0 })).toBe(
    JSON.stringify({ ...config, model: { ...config.model, ttft: undefined }, options: 0 }),
  );
  // And so does the next one, which begins from this one's options.
  expect(changedConfig(changed, { itl: 1 })).toMatchObject({ apiKeys: ["sk-first"], model: { text: "as it was" } });
});

test("requests see one configuration or the other, never a mixture; their numbers go on", async () => {
  await using server = await createServer({ admin: true, outputTokens: 3 });
  const url = server.urls.h1!;
  const post = (where: string, body: object): Promise<Response> => fetch(`${url}${where}`, { method: "POST", body: JSON.stringify(body) });
  interface Body {
    readonly id: string;
    readonly usage: { readonly completion_tokens: number };
    readonly choices: readonly { readonly message: { readonly content: string } }[];
    readonly fakeai?: object;
  }
  const first = (await (await post("/v1/chat/completions", chat())).json()) as Body;
  const seen = new Set<string>();
  const ids = new Set([first.id]);
  const flipping = { on: true };
  const flips = (async () => {
    for (let i = 0; flipping.on; i++) {
      const answer = await post(path, i % 2 === 0 ? { "output-tokens": 7, stamps: true } : { "output-tokens": 3, stamps: false });
      expect(answer.status).toBe(200);
    }
  })();
  for (let round = 0; round < 20; round++) {
    const answers = await Promise.all(
      Array.from({ length: 10 }, async () => (await (await post("/v1/chat/completions", chat())).json()) as Body),
    );
    for (const { id, usage, fakeai } of answers) {
      seen.add(`${usage.completion_tokens} ${fakeai === undefined ? "plain" : "stamped"}`);
      ids.add(id);
    }
  }
  flipping.on = false;
  await flips;
  expect([...seen].sort()).toEqual(["3 plain", "7 stamped"]);
  expect(ids.size).toBe(201);
  await post(path, { "output-tokens": 3, stamps: false });
  // Begun anew, the numbers would give the first text again.
  const next = (await (await post("/v1/chat/completions", chat())).json()) as Body;
  expect(next.choices[0]!.message.content).not.toBe(first.choices[0]!.message.content);
});

test("property: what is shown can be set, and setting it changes nothing", () => {
  const spec = fc.oneof(
    fc.nat(1000).map(String),
    fc.tuple(fc.nat(1000), fc.nat(100)).map(([mean, spread]) => `${mean}:${spread}`),
    fc.tuple(fc.integer({ min: 1, max: 500 }), fc.nat(90)).map(([mean, std]) => `normal(${mean},${std})`),
  );
  const options: fc.Arbitrary<ServerOptions> = fc.record(
    {
      ttft: spec,
      itl: spec,
      outputTokens: spec,
      seed: fc.integer(),
      model: fc.array(fc.constantFrom("a", "b", "c"), { minLength: 1 }),
      stamps: fc.boolean(),
      maxModelLen: fc.integer({ min: 1, max: 1e9 }),
      rateLimit: fc
        .tuple(fc.integer({ min: 1, max: 1000 }), fc.integer({ min: 1, max: 1000 }))
        .map(([rpm, tpm]) => `rpm=${rpm},tpm=${tpm}`),
      fault: fc.subarray(["rate_limit@0.25", "delay(for=20ms)", "hang(after=3,key=sk-one)", "one_of(of=rate_limit|server_error)@10%"]),
      grace: fc.nat(5000),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(options, options, (from, to) => {
      const target = showKnobs(resolveConfig(to, freePorts));
      const changed = changedConfig(
        resolveConfig(from, freePorts),
        JSON.parse(JSON.stringify(target)) as object as Record<string, unknown>,
      );
      expect(showKnobs(changed)).toEqual(target);
    }),
  );
  expect(runtimeKnobs.length).toBe(Object.keys(showKnobs(resolveConfig({}, freePorts))).length);
});
