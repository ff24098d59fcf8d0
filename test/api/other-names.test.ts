/** Other names of the same endpoints: Azure's, by its SDK's own client; moderations; and what vLLM's server has beside them. */
import OpenAI, { AzureOpenAI } from "openai";
import { expect, test } from "vitest";
import { createServer, type FakeAiServer } from "../../src/index.ts";

const messages = [{ role: "user" as const, content: "Hi there" }];
const azure = (server: FakeAiServer, more: object = {}): AzureOpenAI =>
  new AzureOpenAI({ endpoint: server.urls.h1!, apiKey: "k", apiVersion: "2024-10-21", maxRetries: 0, ...more });

test.each(["uws", "node"] as const)("Azure's client asks its deployments, on %s", async (h1Engine) => {
  await using server = await createServer({ ttft: 0, itl: 0, outputTokens: 5, h1Engine, apiKey: ["k"] });
  const client = azure(server);
  const stream = await client.chat.completions.create({ model: "gpt-4o", messages, stream: true });
  let text = "";
  for await (const { choices } of stream) text += choices[0]?.delta.content ?? "";
  expect(text.length).toBeGreaterThan(5);
  expect(await client.completions.create({ model: "davinci", prompt: "x" })).toMatchObject({ model: "davinci", object: "text_completion" });
  expect((await client.embeddings.create({ model: "ada", input: "x", dimensions: 8 })).data[0]!.embedding).toHaveLength(8);
  await expect(azure(server, { apiKey: "wrong" }).completions.create({ model: "m", prompt: "x" })).rejects.toMatchObject({ status: 401 });
});

test.each(["uws", "node"] as const)(
  "Azure's client asks what no deployment has, with and without one of its own, on %s",
  async (h1Engine) => {
    const replies = [{ match: { endpoint: "responses" as const, user: "By rule?" }, reply: { text: "By rule." } }];
    await using server = await createServer({ ttft: 0, itl: 0, outputTokens: 5, h1Engine, apiKey: ["k"], replies });
    for (const client of [azure(server), azure(server, { deployment: "mine" })]) {
      const { id, output_text, model } = await client.responses.create({ model: "gpt-5", input: "Hi" });
      expect([output_text.length > 5, model]).toEqual([true, "gpt-5"]);
      expect((await client.responses.retrieve(id)).id).toBe(id);
      expect((await client.responses.inputItems.list(id)).data).toHaveLength(1);
      expect(await client.responses.inputTokens.count({ model: "gpt-5", input: "abcdefgh" })).toMatchObject({ input_tokens: 2 });
      await client.responses.delete(id);
      await expect(client.responses.retrieve(id)).rejects.toMatchObject({ status: 404 });
      let streamed = "";
      for await (const event of await client.responses.create({ model: "gpt-5", input: "By rule?", stream: true }))
        if (event.type === "response.output_text.delta") streamed += event.delta;
      expect(streamed).toBe("By rule.");
      expect((await client.models.list()).data.length).toBeGreaterThan(2);
      expect((await client.models.retrieve("gpt-5")).id).toBe("gpt-5");
      expect((await client.moderations.create({ input: "x" })).results).toHaveLength(1);
      await expect(client.files.list()).rejects.toMatchObject({ status: 404 });
    }
  },
);

test("a deployment of the client stands in its path, and for a model that is not named", async () => {
  await using server = await createServer({ ttft: 0, itl: 0, keepRequests: 10 });
  const client = azure(server, { deployment: "my-own" });
  expect((await client.chat.completions.create({ model: "", messages })).model).toBe("my-own");
  expect((await client.completions.create({ model: "", prompt: "x" })).model).toBe("my-own");
  expect((await client.embeddings.create({ model: "", input: "x", dimensions: 2 })).model).toBe("my-own");
  const within = new AzureOpenAI({ baseURL: `${server.urls.h1!}/openai/deployments/other`, apiKey: "k", apiVersion: "1", maxRetries: 0 });
  expect((await within.chat.completions.create({ model: "", messages })).model).toBe("other");
  expect(server.requests.all().map(({ path }) => path.split("/")[3])).toEqual(["my-own", "my-own", "my-own", "other"]);
});

test("a fault inside of a stream of responses has their form under every name", async () => {
  await using server = await createServer({ ttft: 0, itl: 0, fault: ["error(after=2)"] });
  const body = JSON.stringify({ model: "m", input: "Hi", stream: true });
  for (const path of ["/v1/responses", "/openai/v1/responses", "/openai/responses?api-version=1"]) {
    const text = await (await fetch(server.urls.h1! + path, { method: "POST", body })).text();
    expect([path, text.trim().split("\n\n").at(-1)]).toEqual([path, expect.stringMatching(/^event: error\n.*"sequence_number"/) as string]);
  }
});

test("the path names the model where the body names none; an API version has to be there", async () => {
  await using server = await createServer({ ttft: 0, itl: 0 });
  const post = async (path: string, body: object): Promise<[number, Record<string, unknown>]> => {
    const response = await fetch(server.urls.h1! + path, { method: "POST", body: JSON.stringify(body) });
    return [response.status, (await response.json()) as Record<string, unknown>];
  };
  expect(await post("/openai/deployments/my%20own/chat/completions?api-version=2024-10-21", { messages })).toMatchObject([
    200,
    { model: "my own" },
  ]);
  expect(await post("/openai/deployments/mine/chat/completions", { messages })).toMatchObject([404, { error: { code: "404" } }]);
  expect(await post("/openai/deployments/mine/nothing?api-version=1", { messages })).toMatchObject([404, {}]);
  expect(await post("/openai/deployments/mine/responses?api-version=1", { input: "x" })).toMatchObject([404, {}]);
  expect(await post("/openai/responses", { model: "m", input: "x" })).toMatchObject([404, { error: { code: "404" } }]);
  expect(await post("/openai/messages?api-version=1", { model: "m", max_tokens: 1, messages })).toMatchObject([404, {}]);
  expect(await post("/openai/v1/nothing", {})).toMatchObject([404, {}]);
});

test("rules meet Azure's names too, and the model that only the path names", async () => {
  const replies = [{ match: { endpoint: "chat" as const, model: "mine" }, reply: { text: "By rule." } }];
  await using server = await createServer({ replies: { unmatched: "error", replies } });
  const post = async (path: string, body: object): Promise<unknown> =>
    (await fetch(server.urls.h1! + path, { method: "POST", body: JSON.stringify({ messages, ...body }) })).json();
  const said = { choices: [{ message: { content: "By rule." } }] };
  expect(await post("/openai/deployments/mine/chat/completions?api-version=1", {})).toMatchObject(said);
  expect(await post("/openai/v1/chat/completions", { model: "mine" })).toMatchObject(said);
  expect(await post("/openai/v1/chat/completions", { model: "other" })).toMatchObject({ error: { code: "no_reply" } });
});

test("/openai/v1 is /v1, stored responses and all", async () => {
  await using server = await createServer({ ttft: 0, itl: 0 });
  const client = new OpenAI({ apiKey: "k", baseURL: `${server.urls.h1!}/openai/v1`, maxRetries: 0 });
  const { id } = await client.responses.create({ model: "m", input: "x" });
  expect((await client.responses.retrieve(id)).id).toBe(id);
  await client.responses.delete(id);
  await expect(client.responses.retrieve(id)).rejects.toMatchObject({ status: 404 });
  expect((await client.models.list()).data.length).toBeGreaterThan(2);
  const text = (await client.chat.completions.create({ model: "m", messages })).choices[0]!.message.content!;
  expect(text.length).toBeGreaterThan(5);
});

test("moderations: a result for each text, one for the parts of one input, none flagged", async () => {
  await using server = await createServer();
  const client = new OpenAI({ apiKey: "k", baseURL: `${server.urls.h1!}/v1`, maxRetries: 0 });
  const two = await client.moderations.create({ input: ["one", "two"] });
  expect(two.results).toHaveLength(2);
  expect(two.results[0]!.category_scores).not.toEqual(two.results[1]!.category_scores);
  expect((await client.moderations.create({ input: "one" })).results[0]).toEqual(two.results[0]);
  for (const { flagged, category_scores } of two.results) {
    expect(flagged).toBe(false);
    expect(Math.max(...Object.values(category_scores))).toBeLessThan(1e-4);
  }
  const image = { type: "image_url" as const, image_url: { url: "https://example.com/a.png" } };
  const { results } = await client.moderations.create({ input: [{ type: "text", text: "one" }, image] });
  expect(results).toHaveLength(1);
  expect(results[0]!.category_applied_input_types.violence).toEqual(["text", "image"]);
  await expect(client.moderations.create({ input: [] })).rejects.toMatchObject({ status: 400, param: "input" });
});

test("vLLM's server says its version, its load and what ids mean", async () => {
  await using server = await createServer({ ttft: 5000, itl: 0, tokenizer: "o200k_base" });
  const get = async (path: string, body?: object): Promise<unknown> =>
    (await fetch(server.urls.h1! + path, body && { method: "POST", body: JSON.stringify(body) })).json();
  expect(await get("/version")).toEqual({ version: expect.stringMatching(/^\d+\.\d+\.\d+\+fakeai$/) as string });
  expect((await fetch(`${server.urls.h1!}/ping`)).status).toBe(200);
  const { tokens } = (await get("/tokenize", { prompt: "Grüße, 世界!" })) as { tokens: number[] };
  expect(await get("/detokenize", { model: "m", tokens })).toEqual({ prompt: "Grüße, 世界!" });
  expect(await get("/detokenize", { tokens: "x" })).toMatchObject({ error: { param: "tokens" } });
  expect(await get("/load")).toEqual({ server_load: 0 });
  const leaving = new AbortController();
  const waiting = fetch(`${server.urls.h1!}/v1/chat/completions`, {
    method: "POST",
    body: JSON.stringify({ model: "m", messages }),
    signal: leaving.signal,
  }).catch(() => {});
  await expect.poll(() => get("/load")).toEqual({ server_load: 1 });
  leaving.abort();
  await waiting;
});

test("without a tokenizer ids mean nothing, and finished responses are counted by their tokens", async () => {
  await using server = await createServer({ ttft: 0, itl: 0, outputTokens: 7 });
  const post = (path: string, body: object): Promise<Response> =>
    fetch(server.urls.h1! + path, { method: "POST", body: JSON.stringify(body) });
  expect(await (await post("/detokenize", { tokens: [1, 2] })).json()).toMatchObject({
    error: { message: expect.stringContaining("--tokenizer") as string },
  });
  for (const stream of [true, false]) await (await post("/v1/chat/completions", { model: "m", messages, stream })).text();
  const metrics = await (await fetch(`${server.urls.h1!}/metrics`)).text();
  const value = (name: string): string | undefined => new RegExp(`^vllm:request_${name}(?:\\{| ).*? (\\S+)$`, "m").exec(metrics)?.[1];
  expect([value("generation_tokens_sum"), value("generation_tokens_count"), value("prompt_tokens_sum")]).toEqual(["14", "2", "4"]);
});
