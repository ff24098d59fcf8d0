/** Names that mean this server and that it does not know: refused, with a guess, by the provider's error. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createServer, type ServerOptions } from "../../src/index.ts";
import { UsageError } from "../../src/base/usage-error.ts";
import { chat } from "../support/chat.ts";
import { start, type Started, targets } from "../support/targets.ts";

describe.each(targets)("on $name", (target) => {
  let server: Started;
  beforeAll(async () => {
    server = await start(target, { outputTokens: 1 });
  });
  afterAll(() => server.stop());

  test("a header gets OpenAI's error, with the name that was meant", async () => {
    const { status, body } = await server.ask({ headers: { "x-fakeai-ttfft": "5" }, body: chat() });
    expect([status, JSON.parse(body)]).toEqual([
      400,
      {
        error: {
          message: "x-fakeai-ttfft: there is no such header: did you mean x-fakeai-ttft?",
          type: "invalid_request_error",
          param: "x-fakeai-ttfft",
          code: "invalid_value",
        },
      },
    ]);
  });

  test("and Anthropic's on its endpoints", async () => {
    const ask = {
      path: "/v1/messages",
      headers: { "x-fakeai-zzz": "5", "anthropic-version": "2023-06-01" },
      body: chat({ max_tokens: 1 }),
    };
    const { status, body } = await server.ask(ask);
    expect([status, JSON.parse(body)]).toMatchObject([
      400,
      {
        type: "error",
        error: { type: "invalid_request_error", message: expect.stringMatching(/^x-fakeai-zzz: .* there are x-fakeai-ttft, /) as string },
      },
    ]);
  });

  test("known ones, other headers and other queries pass", async () => {
    const headers = { "x-fakeai-ttft": "0", "X-FakeAI-Seed": "1", "x-fakeairy": "1", "x-stainless-lang": "js" };
    expect((await server.ask({ path: "/v1/chat/completions?api-version=1&beta=true", headers, body: chat() })).status).toBe(200);
    for (const path of ["/health", "/health?a=%zz&x=fakeai-ttft", "/metrics"])
      expect((await server.ask({ path, headers })).status).toBe(200);
  });

  test.each(["/health", "/metrics", "/", "/admin/config", "/nowhere"])("the same by GET %s, which needs no key", async (path) => {
    const { status, body } = await server.ask({ path, headers: { "x-fakeai-ttfft": "1" } });
    expect([status, body]).toEqual([400, expect.stringMatching(/x-fakeai-ttfft: .* did you mean x-fakeai-ttft\?/) as string]);
  });

  test.each(["x-fakeai-ttft", "x-fakeai-text", "x-fakeai-stamps", "x-fakeai-fault"])("%s twice", async (name) => {
    const { status, body } = await server.ask({ path: "/v1/chat/completions", headers: { [name]: ["1", "1"] }, body: chat() });
    expect([status, body]).toEqual([400, expect.stringContaining(`${name}: sent more than once; one value is read`) as string]);
  });

  test.each([
    ["x-fakeai-ttft=5", "x-fakeai-ttft"],
    ["x-fakeai-ttfft=1", "x-fakeai-ttft"],
    ["a=b&fakeai_ttft=5", "x-fakeai-ttft"],
    ["a=%zz&x%2dfakeai%2Dsed", "x-fakeai-seed"],
  ])("the query %s", async (query, meant) => {
    for (const path of ["/v1/chat/completions", "/health"]) {
      const { status, body } = await server.ask({ path: `${path}?${query}`, ...(path !== "/health" && { body: chat() }) });
      const message = new RegExp(`: the query changes nothing here, headers do: did you mean ${meant}\\?`);
      expect([status, body]).toEqual([400, expect.stringMatching(message) as string]);
    }
  });

  test.each(["fakeai", "x-fakeai-ttft", "fakeai_ttft", "x_fakeai_seed"])("the member %s of a body", async (name) => {
    const { status, body } = await server.ask({ body: chat({ [name]: { ttft: 5 } }) });
    expect(status).toBe(400);
    expect((JSON.parse(body) as { error: object }).error).toMatchObject({
      message: `Unknown parameter: '${name}'. (HINT: a request overrides this server by headers, as in x-fakeai-ttft: 100.)`,
      param: name,
      code: "unknown_parameter",
    });
  });
});

test.each(["vllm", "openrouter", "minimal"] as const)("in the words of %s", async (profile) => {
  await using server = await createServer({ profile });
  const headers = { "x-fakeai-outputtokens": "5" };
  const answer = await fetch(`${server.urls.h1}/v1/chat/completions`, { method: "POST", headers, body: JSON.stringify(chat()) });
  expect(answer.status).toBe(400);
  const { error } = (await answer.json()) as { error: { message: string } };
  expect(error.message).toContain("did you mean x-fakeai-output-tokens?");
});

describe("an option of createServer", () => {
  test.each<[unknown, string]>([
    [{ tft: 5 }, '"tft" is not an option: did you mean ttft?'],
    [{ "output-tokens": 5 }, '"output-tokens" is not an option: did you mean outputTokens?'],
    [{ ttftMs: 5 }, '"ttftMs" is not an option: did you mean ttft?'],
    [{ servedModelName: "a" }, '"servedModelName" is not an option: did you mean model?'],
    [{ latency: 5 }, '"latency" is not an option: did you mean ttft?'],
    [{ qqqq: undefined }, '"qqqq" is not an option; options are the flags of fakeai serve, as in maxConcurrentStreams'],
    [{ constructor: 1 }, '"constructor" is not an option; options are the flags of fakeai serve, as in maxConcurrentStreams'],
    ["h1", "createServer takes an object of options, as in createServer({ ttft: 100 })"],
    [null, "createServer takes an object of options, as in createServer({ ttft: 100 })"],
  ])("%j", async (options, message) => {
    await expect(createServer(options as ServerOptions)).rejects.toThrow(new UsageError(message));
  });
});
