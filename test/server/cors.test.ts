/** What pages of other origins may read: headers of answers, errors and preflights, on every engine. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { UsageError } from "../../src/base/usage-error.ts";
import type { ServerOptions } from "../../src/index.ts";
import { freePorts, resolveConfig } from "../../src/settings/server.ts";
import { chat, chunksOf } from "../support/chat.ts";
import { type Answer, type Ask, start, type Started, targets } from "../support/targets.ts";

const page = "https://app.example";
const preflight: Ask = {
  method: "OPTIONS",
  headers: {
    origin: page,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,x-fakeai-ttft,x-stainless-lang",
  },
};
const message = (more: object = {}): object => ({ model: "claude", max_tokens: 2, messages: [{ role: "user", content: "x" }], ...more });

function corsOf({ headers }: Answer): Record<string, unknown> {
  const names = Object.keys(headers).filter((name) => name.startsWith("access-control-") || name === "vary");
  return Object.fromEntries(names.map((name) => [name, headers[name]]));
}

const open = { "access-control-allow-origin": "*", "access-control-expose-headers": "*" };
const own = { "access-control-allow-origin": page, "access-control-expose-headers": "*", vary: "Origin" };

describe.each(targets)("on $name", (target) => {
  describe("--cors *", () => {
    const options: ServerOptions = { cors: "*", apiKey: "k", outputTokens: 3, admin: true, rateLimit: "rpm=100", ttft: 1, maxBody: 2000 };
    let server: Started;
    beforeAll(async () => {
      server = await start(target, options);
    });
    afterAll(() => server.stop());
    const ask = (more: Ask): Promise<Answer> =>
      server.ask({ ...more, headers: { origin: page, authorization: "Bearer k", ...more.headers } });

    test("a preflight needs no key, counts for no limit, and has fixed bytes", async () => {
      for (const path of ["/v1/chat/completions", "/v1/messages", "/v1/no-such-thing"]) {
        const answer = await server.ask({ ...preflight, path });
        expect([answer.status, answer.body, answer.headers["content-length"]]).toEqual([200, "", "0"]);
        expect(corsOf(answer)).toEqual({
          "access-control-allow-origin": "*",
          "access-control-allow-methods": "GET, HEAD, POST, DELETE",
          "access-control-allow-headers": "authorization, *",
          "access-control-max-age": "7200",
        });
      }
      const near = await server.ask({ ...preflight, headers: { ...preflight.headers, "access-control-request-private-network": "true" } });
      expect(near.headers["access-control-allow-private-network"]).toBe("true");
      expect((await ask({ body: chat() })).headers["x-ratelimit-remaining-requests"]).toBe("99");
    });

    test("answers and streams of both providers, and health", async () => {
      const unary = await ask({ body: chat() });
      expect([unary.status, corsOf(unary)]).toEqual([200, open]);
      const streamed = await ask({ body: chat({ stream: true }) });
      expect(chunksOf(streamed.body)).toHaveLength(5);
      expect(corsOf(streamed)).toEqual(open);
      const anthropic: Ask = { path: "/v1/messages", headers: { "x-api-key": "k", "anthropic-version": "2023-06-01" } };
      for (const stream of [false, true]) expect(corsOf(await ask({ ...anthropic, body: message({ stream }) }))).toEqual(open);
      for (const path of ["/v1/models", "/health"]) expect(corsOf(await ask({ path }))).toEqual(open);
    });

    test.each<[number, Ask]>([
      [400, { body: "{" }],
      [400, { path: "/v1/messages", body: message() }],
      [401, { body: chat(), headers: { authorization: "Bearer wrong" } }],
      [404, { path: "/v1/no-such-thing" }],
      [405, { path: "/v1/chat/completions" }],
      [405, { method: "OPTIONS" }],
      [413, { body: "x".repeat(3000) }],
      [429, { body: chat(), headers: { "x-fakeai-fault": "rate_limit(retry_after=1)" } }],
      [500, { body: chat(), headers: { "x-fakeai-fault": "server_error" } }],
      [200, { body: chat({ stream: true }), headers: { "x-fakeai-fault": "error" } }],
    ])("%i: %j", async (status, request) => {
      const answer = await ask(request);
      expect([answer.status, corsOf(answer)]).toEqual([status, open]);
    });

    test("never what an operator reads", async () => {
      for (const path of ["/admin/config", "/metrics"]) {
        expect(corsOf(await ask({ path }))).toEqual({});
        const refused = await server.ask({ ...preflight, path });
        expect([refused.status, corsOf(refused)]).toEqual([405, {}]);
      }
    });
  });

  test("--cors with origins: each is told itself, another nothing, and caches know why", async () => {
    const server = await start(target, { cors: `http://localhost:3000,${page}`, outputTokens: 1, apiKey: "k" });
    const headers = { authorization: "Bearer k" };
    expect(corsOf(await server.ask({ body: chat(), headers: { ...headers, origin: page } }))).toEqual(own);
    expect(corsOf(await server.ask({ body: chat(), headers: { origin: page } }))).toEqual(own);
    for (const origin of ["https://app.example.evil", "https://APP.example", "null", "http://localhost:3001"]) {
      const answer = await server.ask({ body: chat(), headers: { ...headers, origin } });
      expect([answer.status, corsOf(answer)]).toEqual([200, { vary: "Origin" }]);
    }
    expect(corsOf(await server.ask({ body: chat(), headers }))).toEqual({ vary: "Origin" });
    const granted = await server.ask(preflight);
    expect([granted.status, corsOf(granted)]).toMatchObject([200, { "access-control-allow-origin": page, vary: "Origin" }]);
    const refused = await server.ask({ ...preflight, headers: { ...preflight.headers, origin: "https://evil.example" } });
    expect([refused.status, corsOf(refused)]).toEqual([403, { vary: "Origin" }]);
    expect(refused.body).toContain("start it with --cors https://evil.example");
    await server.stop();
  });

  test("without --cors nothing is sent, whoever asks", async () => {
    const server = await start(target, { outputTokens: 1 });
    for (const request of [
      { body: chat(), headers: { origin: page } },
      { body: chat({ stream: true }) },
      { path: "/v1/x", headers: { origin: page } },
    ])
      expect(corsOf(await server.ask(request))).toEqual({});
    const refused = await server.ask(preflight);
    expect([refused.status, corsOf(refused)]).toEqual([405, {}]);
    await server.stop();
  });
});

describe("--cors", () => {
  const corsOfOptions = (cors: string | readonly string[]): unknown => resolveConfig({ cors }, freePorts).cors;

  test("takes origins as browsers write them", () => {
    expect(resolveConfig({}, freePorts).cors).toBeNull();
    expect(corsOfOptions("*")).toBe("*");
    expect(corsOfOptions(["*"])).toBe("*");
    expect(corsOfOptions("HTTPS://App.Example:443, http://[::1]:80,http://localhost:3000")).toEqual([
      page,
      "http://[::1]",
      "http://localhost:3000",
    ]);
    expect(corsOfOptions(["https://bücher.example", "capacitor://localhost", "chrome-extension://abc"])).toEqual([
      "https://xn--bcher-kva.example",
      "capacitor://localhost",
      "chrome-extension://abc",
    ]);
  });

  test.each([
    ["example.com", '"example.com" is no origin (for example https://example.com or http://localhost:3000)'],
    ["localhost:3000", '"localhost:3000" is no origin (for example https://example.com or http://localhost:3000)'],
    ["https://a.example/", '"https://a.example/" is more than an origin: write https://a.example'],
    ["https://a.example/app?x", '"https://a.example/app?x" is more than an origin: write https://a.example'],
    ["https://*.example", '"https://*.example" is no origin: * stands alone, else name each (for example https://example.com)'],
    ["*,https://a.example", '"*" is no origin: * stands alone, else name each (for example https://example.com)'],
    ["null", '"null" is the origin of files and of every sandboxed frame; only * allows them'],
    ["https://u:p@a.example", '"https://u:p@a.example" is more than an origin: write https://a.example'],
    ["x://a\r\nset-cookie:1", '"x://a??set-cookie:1" is no origin (for example https://example.com or http://localhost:3000)'],
    ["x://ä", '"x://ä" holds characters that no header can carry'],
    ["", '"" is no origin (for example https://example.com or http://localhost:3000)'],
  ])("%j is refused", (origin, why) => {
    expect(() => corsOfOptions(origin)).toThrow(new UsageError(`--cors: ${why}`));
  });
});
