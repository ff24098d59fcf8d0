/** One suite over every protocol and engine. */
import { request as httpRequest } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { connect as connectTcp, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { connect as connectTls } from "node:tls";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { StridedCounter } from "../../src/api/shared/model-settings.ts";
import { LocalRateLimiter, noRateLimits } from "../../src/core/limits/rate-limit.ts";
import { localhostCertificate } from "../../src/base/certificate.ts";
import type { Siblings } from "../../src/server/server.ts";
import { chat, type Chunk, chunksOf, eventsOf, textOf } from "../support/chat.ts";
import { openHttp3 } from "../support/http3-client.ts";
import { start, type Started, targets } from "../support/targets.ts";
import { eventually, sleep } from "../support/wait.ts";

interface ErrorBody {
  readonly error: { readonly message: string; readonly type: string; readonly param: string | null; readonly code: string | null };
}
interface Completion {
  readonly id: string;
  readonly object: string;
  readonly created: number;
  readonly choices: readonly { readonly message?: { content: string }; readonly text?: string; readonly finish_reason: string }[];
  readonly usage: { prompt_tokens: number; completion_tokens: number; total_tokens: number };
  readonly fakeai?: { due: number; sent: number };
}

const certificate = await localhostCertificate();

/** What siblings share, with two faults in the numbering of requests, which planning asks for, and one in the metrics. */
function faultySiblings(): Siblings {
  const counter = new StridedCounter();
  let faults = 2;
  const next = (): number => {
    if (faults-- > 0) throw new TypeError("a fault of ours");
    return counter.next();
  };
  return {
    certificate,
    newCounter: () => ({ next }),
    limiter: new LocalRateLimiter(noRateLimits, () => 0),
    metrics: () => Promise.reject(new TypeError("a fault of ours")),
    change: () => Promise.resolve(),
  };
}

/** A plain connection to the port of an origin, TLS where its scheme says so. */
function connectTo(origin: string): Socket {
  const { port, protocol } = new URL(origin);
  const to = { port: Number(port), host: "127.0.0.1" };
  return protocol === "https:" ? connectTls({ ...to, rejectUnauthorized: false, ALPNProtocols: ["http/1.1"] }) : connectTcp(to);
}

/** All that comes back on a connection of its own. */
function raw(origin: string, text: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = "";
    const socket = connectTo(origin);
    socket.on("data", (chunk: Buffer) => (answer += chunk.toString()));
    socket.on("error", () => {});
    socket.on("close", () => resolve(answer));
    socket.write(text);
  });
}

interface Refused {
  /** null: no answer came. */
  readonly status: number | null;
  readonly code: string | null;
  /** Whether the server closed the connection, or ended the stream without an error. */
  readonly ended: boolean;
}

/** What a client gets that sends 150 MB of an announced gigabyte unless it is stopped. */
const endlessChunk = Buffer.alloc(1_048_576, "x");
const endlessChunks = 150;

async function pour(into: Duplex): Promise<string> {
  const seen = { answer: "", closed: false, wake: () => {} };
  into.on("data", (chunk: Buffer) => (seen.answer += chunk.toString()));
  into.on("error", () => {});
  into.on("drain", () => seen.wake());
  into.on("close", () => {
    seen.closed = true;
    seen.wake();
  });
  for (let sent = 0; sent < endlessChunks && !seen.closed && seen.answer === ""; sent++) {
    if (into.write(endlessChunk)) continue;
    await new Promise<void>((resolve) => (seen.wake = resolve));
  }
  await eventually(() => seen.closed, "the server ends it");
  return seen.answer;
}

async function endlessH1(origin: string): Promise<Refused> {
  const socket = connectTo(origin);
  socket.write("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n");
  const [head, body] = (await pour(socket)).split("\r\n\r\n");
  if (body === undefined) return { status: null, code: null, ended: true };
  return {
    status: Number(head!.split(" ")[1]),
    code: (JSON.parse(body) as ErrorBody).error.code,
    ended: /^connection: close$/im.test(head!),
  };
}

async function endlessH2(origin: string): Promise<Refused> {
  const session = connectHttp2(origin, { rejectUnauthorized: false });
  session.on("error", () => {});
  const stream = session.request({ ":method": "POST", ":path": "/v1/chat/completions", "content-length": 1_073_741_824 });
  let status: number | null = null;
  stream.on("response", (headers) => (status = headers[":status"]!));
  const answer = await pour(stream);
  session.destroy();
  return { status, code: answer === "" ? null : (JSON.parse(answer) as ErrorBody).error.code, ended: stream.rstCode === 0 };
}

/**
 * The package's client may write to a stream that quiche has just given up, since it has all of the answer and was asked to stop: the
 * stream then fails with the answer unread. Such a try says nothing about the server, and is made again.
 */
async function endlessH3(origin: string): Promise<Refused> {
  for (let tries = 0; tries < 5; tries++) {
    const session = await openHttp3(origin);
    const stream = session.request({
      ":method": "POST",
      ":scheme": "https",
      ":authority": new URL(origin).host,
      ":path": "/v1/chat/completions",
      "content-length": "1073741824",
    });
    const seen = { status: null as number | null, answer: "", ended: false, over: false, wake: () => {} };
    const over = () => {
      seen.over = true;
      seen.wake();
    };
    stream.on("response", (headers: Readonly<Record<string, string>>) => (seen.status = Number(headers[":status"])));
    stream.on("data", (chunk: Buffer) => (seen.answer += chunk.toString()));
    stream.on("end", () => {
      seen.ended = true;
      over();
    });
    stream.on("drain", () => seen.wake());
    stream.on("error", over);
    stream.on("close", over);
    for (let sent = 0; sent < endlessChunks && !seen.over && seen.status === null; sent++) {
      if (stream.write(endlessChunk)) continue;
      await new Promise<void>((resolve) => (seen.wake = resolve));
    }
    await eventually(() => seen.over, "the server ends it");
    await session.close();
    if (seen.ended) return { status: seen.status, code: (JSON.parse(seen.answer) as ErrorBody).error.code, ended: true };
  }
  return { status: null, code: null, ended: false };
}

describe.each(targets)("$name", (target) => {
  let running: Started;
  beforeAll(async () => {
    running = await start(target, { outputTokens: 8, maxBody: 200_000 });
  });
  afterAll(async () => {
    await running.stop();
    await eventually(() => running.server.stats().openConnections === 0, "connections closed");
    expect(running.server.stats()).toMatchObject({ running: 0, openStreams: 0, openSessions: 0, openConnections: 0 });
  });

  test("speaks the protocol it says", async () => {
    const answer = await running.ask({ path: "/health" });
    expect(answer.httpVersion).toBe({ "http/1.1": "1.1", h2: "2.0", h3: "3.0" }[target.client]);
    const { listening, status } = JSON.parse(answer.body) as { listening: { protocol: string; port: number }[]; status: string };
    expect(status).toBe("ok");
    const ports = running.server.listening.map(({ protocol, url }) => ({ protocol, port: Number(new URL(url).port) }));
    expect(listening).toEqual(ports);
  });

  describe("chat", () => {
    test("streams role, tokens, finish and [DONE]", async () => {
      const answer = await running.ask({ body: chat({ stream: true }) });
      expect(answer.status).toBe(200);
      expect(answer.headers["content-type"]).toBe("text/event-stream; charset=utf-8");
      expect(answer.headers["content-length"]).toBeUndefined();
      const chunks = chunksOf(answer.body);
      expect(chunks).toHaveLength(10);
      expect(chunks[0]!.choices[0]!.delta).toEqual({ role: "assistant", content: "", refusal: null });
      for (const chunk of chunks.slice(1, -1)) expect(chunk.choices[0]!.delta!.content).toMatch(/[\s\S]/);
      expect(chunks.at(-1)!.choices[0]).toEqual({ index: 0, delta: {}, logprobs: null, finish_reason: "stop" });
      expect(new Set(chunks.map(({ id, created, model, object }) => [id, created, model, object].join()))).toHaveProperty("size", 1);
      expect(chunks[0]).toMatchObject({ object: "chat.completion.chunk", model: "gpt-4o" });
      expect(chunks[0]!.id).toMatch(/^chatcmpl-[0-9A-Za-z]{29}$/);
      expect(chunks[0]!.created).toBeGreaterThan(Date.now() / 1000 - 10);
      expect(chunks.every((chunk) => !("usage" in chunk))).toBe(true);
    });

    test("answers in one piece", async () => {
      const answer = await running.ask({ body: chat() });
      expect(answer.headers["content-type"]).toBe("application/json");
      expect(answer.headers["content-length"]).toBe(String(Buffer.byteLength(answer.body)));
      const completion = JSON.parse(answer.body) as Completion;
      expect(completion.object).toBe("chat.completion");
      expect(completion.choices[0]!.finish_reason).toBe("stop");
      expect(completion.choices[0]!.message!.content.length).toBeGreaterThan(8);
      expect(completion.usage.completion_tokens).toBe(8);
      expect(completion.usage.total_tokens).toBe(completion.usage.prompt_tokens + 8);
    });

    test("include_usage: null on each chunk, then a last one without choices", async () => {
      const answer = await running.ask({ body: chat({ stream: true, stream_options: { include_usage: true } }) });
      const chunks = chunksOf(answer.body);
      expect(chunks.slice(0, -1).every(({ usage }) => usage === null)).toBe(true);
      expect(chunks.at(-1)!.choices).toEqual([]);
      expect(chunks.at(-1)!.usage).toMatchObject({ completion_tokens: 8 });
      expect(chunks.filter(({ choices }) => choices[0]?.delta?.content)).toHaveLength(8);
    });

    test.each([
      ["max_tokens cuts", { max_tokens: 3 }, 3, "length"],
      ["max_completion_tokens cuts", { max_completion_tokens: 5 }, 5, "length"],
      ["the smaller of both cuts", { max_completion_tokens: 5, max_tokens: 4 }, 4, "length"],
      ["a limit at the length does not cut", { max_tokens: 8 }, 8, "stop"],
      ["ignore_eos goes on to the limit", { max_tokens: 20, ignore_eos: true }, 20, "length"],
      ["min_tokens makes it longer", { min_tokens: 30, max_tokens: 40 }, 30, "stop"],
      ["min_tokens at the limit", { min_tokens: 12, max_tokens: 12 }, 12, "stop"],
    ])("%s", async (_what, more, tokens, finish) => {
      const chunks = chunksOf((await running.ask({ body: chat({ stream: true, ...more }) })).body);
      expect(chunks.filter(({ choices }) => choices[0]?.delta?.content)).toHaveLength(tokens);
      expect(chunks.at(-1)!.choices[0]!.finish_reason).toBe(finish);
      const unary = JSON.parse((await running.ask({ body: chat(more) })).body) as Completion;
      expect(unary.usage.completion_tokens).toBe(tokens);
      expect(unary.choices[0]!.finish_reason).toBe(finish);
    });

    test("role and first token leave together at TTFT, gaps follow, the end comes with the last token", async () => {
      const headers = { "x-fakeai-ttft": "80", "x-fakeai-itl": "30ms" };
      const answer = await running.ask({ body: chat({ stream: true, max_tokens: 4 }), headers });
      const { startedMs } = answer;
      const reads = answer.reads.filter(({ text }) => text.trim() !== "");
      expect(reads[0]!.atMs - startedMs).toBeGreaterThanOrEqual(79);
      expect(reads[0]!.atMs - startedMs).toBeLessThan(400);
      expect(eventsOf(reads[0]!.text).length).toBeGreaterThanOrEqual(2);
      // A slow day may bring two tokens in one read, never one token in two.
      expect(reads.length).toBeGreaterThanOrEqual(2);
      expect(reads.length).toBeLessThanOrEqual(4);
      expect(reads.at(-1)!.atMs - startedMs).toBeGreaterThanOrEqual(169);
      expect(reads.at(-1)!.text).toContain("[DONE]");
    });

    test("the response ends at once after [DONE]", async () => {
      const before = performance.now();
      await running.ask({ body: chat({ stream: true }) });
      expect(performance.now() - before).toBeLessThan(500);
    });

    test("an unstreamed answer takes as long as its stream", async () => {
      const { startedMs, reads } = await running.ask({
        body: chat({ max_tokens: 5 }),
        headers: { "x-fakeai-ttft": "40", "x-fakeai-itl": "20" },
      });
      expect(reads[0]!.atMs - startedMs).toBeGreaterThanOrEqual(119);
    });
  });

  describe("legacy completions", () => {
    test("stream", async () => {
      const answer = await running.ask({ path: "/v1/completions", body: { model: "davinci", prompt: "Once", stream: true } });
      const chunks = chunksOf(answer.body);
      expect(chunks).toHaveLength(9);
      expect(chunks.every(({ object, id }) => object === "text_completion" && /^cmpl-[0-9A-Za-z]{29}$/.test(id))).toBe(true);
      expect(chunks.at(-1)!.choices[0]).toMatchObject({ text: "", finish_reason: "stop" });
    });
    test("in one piece, also with no tokens at all", async () => {
      const answer = await running.ask({ path: "/v1/completions", body: { model: "davinci", prompt: ["Once"], max_tokens: 0 } });
      const completion = JSON.parse(answer.body) as Completion;
      expect(completion).toMatchObject({
        object: "text_completion",
        choices: [{ text: "", finish_reason: "length" }],
        usage: { completion_tokens: 0 },
      });
      const stream = await running.ask({
        path: "/v1/completions",
        body: { model: "davinci", prompt: "Once", max_tokens: 0, stream: true },
      });
      expect(chunksOf(stream.body)).toHaveLength(1);
    });
  });

  describe("seeds and texts", () => {
    test("a header's seed beats the body's", async () => {
      const byBody = await running.ask({ body: chat({ stream: true, seed: 7 }) });
      const byHeader = await running.ask({ body: chat({ stream: true, seed: 8 }), headers: { "x-fakeai-seed": "7" } });
      const other = await running.ask({ body: chat({ stream: true, seed: 8 }) });
      expect(byHeader.body).toBe(byBody.body);
      expect(other.body).not.toBe(byBody.body);
    });
    test("without a seed ids are unique", async () => {
      const ids = await Promise.all(
        Array.from({ length: 20 }, async () => (JSON.parse((await running.ask({ body: chat() })).body) as Completion).id),
      );
      expect(new Set(ids).size).toBe(20);
    });
    test.each([
      ["plain", "Grüße, 世界 👩‍👩‍👧!", "Grüße, 世界 👩‍👩‍👧!"],
      ["no ASCII but its quotation marks", '"日本語"', "日本語"],
      ["a JSON string", JSON.stringify('two\nlines "quoted" \u2028 end'), 'two\nlines "quoted" \u2028 end'],
    ])("x-fakeai-text, %s", async (_what, header, text) => {
      const headers = { "x-fakeai-text": Buffer.from(header).toString("latin1") };
      const streamed = await running.ask({ body: chat({ stream: true }), headers });
      expect(textOf(chunksOf(streamed.body))).toBe(text);
      const whole = JSON.parse((await running.ask({ body: chat(), headers })).body) as Completion;
      expect(whole.choices[0]!.message!.content).toBe(text);
      expect(whole.usage.completion_tokens).toBe(chunksOf(streamed.body).filter(({ choices }) => choices[0]?.delta?.content).length);
    });
    test("a text that is not ASCII arrives, or is refused with what to send instead", async () => {
      const answer = await running.ask({ body: chat(), headers: { "x-fakeai-text": Buffer.from("日本語").toString("latin1") } });
      if (target.engine === "uws") expect(answer.body).toMatch(/send it in quotation marks, as a JSON string .* --h1-engine node/);
      else expect((JSON.parse(answer.body) as Completion).choices[0]!.message!.content).toBe("日本語");
    });
    test("an empty text has no tokens, whatever is asked for", async () => {
      const headers = { "x-fakeai-text": '""', "x-fakeai-output-tokens": "5", "x-fakeai-ttft": "5" };
      const streamed = await running.ask({ body: chat({ stream: true, min_tokens: 3 }), headers });
      expect(chunksOf(streamed.body).map(({ choices }) => choices[0]!.finish_reason)).toEqual([null, "stop"]);
      const whole = JSON.parse((await running.ask({ body: chat(), headers })).body) as Completion;
      expect(whole).toMatchObject({ choices: [{ message: { content: "" } }], usage: { completion_tokens: 0 } });
    });
    test("x-fakeai-output-tokens decides the length, max_tokens still cuts", async () => {
      const headers = { "x-fakeai-output-tokens": "11" };
      expect((JSON.parse((await running.ask({ body: chat(), headers })).body) as Completion).usage.completion_tokens).toBe(11);
      expect((JSON.parse((await running.ask({ body: chat({ max_tokens: 6 }), headers })).body) as Completion).usage.completion_tokens).toBe(
        6,
      );
    });
  });

  test("stamps are the last member of each event, of constant width, and keep the plan", async () => {
    const headers = { "x-fakeai-stamps": "1", "x-fakeai-ttft": "20", "x-fakeai-itl": "3" };
    const answer = await running.ask({ body: chat({ stream: true, stream_options: { include_usage: true } }), headers });
    expect(answer.headers["x-fakeai-clock"]).toMatch(/^monotonic; /);
    const events = eventsOf(answer.body).slice(0, -1);
    for (const event of events) expect(event).toMatch(/,"fakeai":\{"due":[ \d]{15}\d,"sent":[ \d]{15}\d\}\}$/);
    const tokens = chunksOf(answer.body).filter(({ choices }) => choices[0]?.delta?.content);
    tokens.forEach(({ fakeai }, index) => {
      expect(fakeai!.sent).toBeGreaterThanOrEqual(fakeai!.due);
      // Each time is rounded to a microsecond by itself.
      expect(Math.abs(fakeai!.due - tokens[0]!.fakeai!.due - index * 3000)).toBeLessThanOrEqual(1);
    });
    const unary = await running.ask({ body: chat(), headers });
    expect((JSON.parse(unary.body) as Completion).fakeai!.sent).toBeGreaterThan(0);
    const plain = await running.ask({ body: chat({ stream: true }) });
    expect(plain.body).not.toContain('"fakeai"');
    expect(plain.headers["x-fakeai-clock"]).toBeUndefined();
  });

  describe("other endpoints", () => {
    test("models", async () => {
      const list = JSON.parse((await running.ask({ path: "/v1/models" })).body) as { object: string; data: { id: string }[] };
      expect(list.object).toBe("list");
      expect(list.data.length).toBeGreaterThan(1);
      const one = JSON.parse((await running.ask({ path: "/v1/models/any%2Fname" })).body) as { id: string };
      expect(one.id).toBe("any/name");
    });
    test("health and readiness", async () => {
      expect((await running.ask({ path: "/health/ready" })).status).toBe(200);
    });
    test("HEAD has the head of GET and no body", async () => {
      const get = await running.ask({ path: "/v1/models" });
      const head = await running.ask({ path: "/v1/models", method: "HEAD" });
      expect(head.status).toBe(200);
      expect(head.body).toBe("");
      expect(head.headers["content-length"]).toBe(get.headers["content-length"]);
      expect((await running.ask({ path: "/health" })).status).toBe(200);
    });
    test("metrics", async () => {
      const { body, headers } = await running.ask({ path: "/metrics" });
      expect(headers["content-type"]).toContain("text/plain");
      for (const line of body.trimEnd().split("\n")) expect(line).toMatch(/^(# (HELP|TYPE) [\w:]+ .+|[\w:]+(\{[^}]*\})? -?[\d.e+-]+)$/);
      for (const name of [
        "vllm:num_requests_running",
        "vllm:time_to_first_token_seconds_bucket",
        "vllm:inter_token_latency_seconds_sum",
        "vllm:generation_tokens_total",
        "fakeai_pacing_error_seconds_count",
        "fakeai_open_connections",
        "fakeai_open_sessions",
        "fakeai_open_streams",
        "fakeai_aborted_streams_total",
      ]) {
        expect(body).toMatch(new RegExp(`^${name}[{ ]`, "m"));
      }
    });
  });

  describe("bad input", () => {
    const error = async (
      ask: Parameters<Started["ask"]>[0],
    ): Promise<{ status: number; error: ErrorBody["error"]; headers: Record<string, unknown> }> => {
      const answer = await running.ask(ask);
      expect(answer.headers["content-type"]).toBe("application/json");
      return { status: answer.status, error: (JSON.parse(answer.body) as ErrorBody).error, headers: answer.headers };
    };

    test.each<[string, string | object, string | null]>([
      ["not JSON", "{", null],
      ["an empty body", "", null],
      ["an array", "[]", "body"],
      ["no model", { messages: [] }, "model"],
      ["a model of the wrong type", chat({ model: 3 }), "model"],
      ["no messages", { model: "m" }, "messages"],
      ["messages of the wrong type", chat({ messages: "hi" }), "messages"],
      ["empty messages", chat({ messages: [] }), "messages"],
      ["a message that is no object", chat({ messages: [1] }), "messages[0]"],
      ["a message without a role", chat({ messages: [{ content: "x" }] }), "messages[0].role"],
      ["an unknown role", chat({ messages: [{ role: "boss", content: "x" }] }), "messages[0].role"],
      ["content of the wrong type", chat({ messages: [{ role: "user", content: 5 }] }), "messages[0].content"],
      ["max_tokens 0", chat({ max_tokens: 0 }), "max_tokens"],
      ["max_tokens below 0", chat({ max_completion_tokens: -1 }), "max_completion_tokens"],
      ["max_tokens far too high", chat({ max_tokens: 1e12 }), "max_tokens"],
      ["max_tokens not whole", chat({ max_tokens: 1.5 }), "max_tokens"],
      ["min_tokens above max_tokens", chat({ min_tokens: 9, max_tokens: 4 }), "min_tokens"],
      ["stream of the wrong type", chat({ stream: "yes" }), "stream"],
      ["stream_options without stream", chat({ stream_options: { include_usage: true } }), "stream_options"],
      ["a temperature out of range", chat({ temperature: 3 }), "temperature"],
      ["a seed that is no number", chat({ seed: "x" }), "seed"],
    ])("%s", async (_what, body, param) => {
      const answer = await error({ body });
      expect(answer.status).toBe(400);
      expect(answer.error).toMatchObject({ type: "invalid_request_error", param });
      expect(answer.error.message).toMatch(/\S/);
    });

    test.each([
      ["x-fakeai-ttft", "-5"],
      ["x-fakeai-itl", "fast"],
      ["x-fakeai-output-tokens", "uniform(5)"],
      ["x-fakeai-seed", "1.5"],
      ["x-fakeai-stamps", "maybe"],
      ["x-fakeai-text", '"open'],
      ["x-fakeai-text", ""],
      ["x-fakeai-text", "\u00e9"],
      ["x-fakeai-text", "caf\u00e9 au lait"],
      ["x-fakeai-text", '"caf\u00e9"'],
    ])("header %s: %s", async (name, value) => {
      const answer = await error({ body: chat(), headers: { [name]: value } });
      expect(answer).toMatchObject({ status: 400, error: { param: name } });
    });

    // uWebSockets.js itself answers 505 before any handler is asked.
    test.runIf(target.client === "http/1.1" && target.engine === "node")(
      "a target in absolute form, as a proxy's client sends it",
      async () => {
        for (const absolute of ["http://example.com/health?x=1", "HTTPS://example.com:8443/health", `${running.origin}/health`]) {
          expect(await raw(running.origin, `GET ${absolute} HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n`)).toMatch(
            /^HTTP\/1\.1 200 OK\r\n[\s\S]*\{"status":"ok"[,}]/,
          );
        }
        const lacksPath = await raw(running.origin, "GET http://example.com HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n");
        expect(lacksPath).toMatch(/^HTTP\/1\.1 200 OK\r\n[\s\S]*"endpoints"/);
      },
    );

    test("unknown path and wrong method", async () => {
      expect(await error({ path: "/v1/nothing" })).toMatchObject({ status: 404, error: { type: "invalid_request_error" } });
      expect(await error({ path: "/v1/models/" })).toMatchObject({ status: 404 });
      const wrong = await error({ path: "/v1/chat/completions", method: "GET" });
      expect(wrong).toMatchObject({ status: 405, headers: { allow: "POST" } });
      expect(await error({ path: "/health", method: "DELETE" })).toMatchObject({ status: 405, headers: { allow: "GET, HEAD" } });
    });

    test.each([false, true])("a body over the limit, chunked: %s; the connection stays usable", async (chunked) => {
      const before = running.server.stats().openConnections;
      const answer = await error({ body: Buffer.alloc(300_000, "x"), chunked });
      expect(answer.status).toBe(413);
      expect((await running.ask({ path: "/health" })).status).toBe(200);
      expect(running.server.stats().openConnections).toBe(before);
    });

    test("a body that goes on far beyond the limit has its 413 before its end", async () => {
      const { origin } = running;
      const endless = { "http/1.1": endlessH1, h2: endlessH2, h3: endlessH3 }[target.client];
      const answer = await endless(origin);
      // uWebSockets.js resets a TLS connection that it closes while the client writes: the answer may be lost on its way.
      const mayBeLost = target.protocol === "h1s" && target.engine === "uws" && answer.status === null;
      if (!mayBeLost) expect(answer).toEqual({ status: 413, code: "request_too_large", ended: true });
      expect((await running.ask({ path: "/health" })).status).toBe(200);
    });

    test("a handler's fault is a 500 and ends nothing", async () => {
      const warnings = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
      const faulty = await start(target, { outputTokens: 4 }, faultySiblings());
      for (const ask of [{ body: chat({ stream: true }) }, { body: chat() }, { path: "/metrics" }]) {
        const answer = await faulty.ask(ask);
        expect(answer.status).toBe(500);
        expect(JSON.parse(answer.body)).toMatchObject({ error: { type: "server_error" } });
        expect(answer.body).not.toContain("fault of ours");
      }
      expect(warnings.mock.calls.map(([error]) => String(error))).toEqual(Array(3).fill("TypeError: a fault of ours"));
      warnings.mockRestore();
      // The third request is planned.
      expect(chunksOf((await faulty.ask({ body: chat({ stream: true }) })).body)).toHaveLength(6);
      await faulty.stop();
    });

    test("what a client sends never becomes a header", async () => {
      const answer = await running.ask({
        path: "/v1/chat/completions?x=%0d%0aX-Injected:%201",
        body: chat({ model: "a\r\nX-Injected: 1", stream: true }),
        headers: { "x-fakeai-text": '"\\r\\nX-Injected: 1"', "x-request-id": "evil" },
      });
      expect(answer.status).toBe(200);
      expect(answer.headers["x-injected"]).toBeUndefined();
      expect(chunksOf(answer.body)[0]!.model).toBe("a\r\nX-Injected: 1");
    });
  });
});

test("an explicit seed gives the same bytes on every protocol and engine", async () => {
  const bodies = new Map<string, string>();
  for (const target of targets) {
    // Another server seed and other requests before: neither may matter.
    const running = await start(target, { seed: targets.indexOf(target), outputTokens: "lognormal(20,0.5)", ttft: 0, itl: 0 });
    await running.ask({ body: chat() });
    const streamed = await running.ask({ body: chat({ stream: true, seed: 42, stream_options: { include_usage: true } }) });
    const whole = await running.ask({ body: chat({ seed: 42 }) });
    bodies.set(target.name, `${streamed.body}\n${whole.body}`);
    await running.stop();
  }
  expect(new Set(bodies.values()).size).toBe(1);
  expect(bodies.size).toBe(targets.length);
});

test("without a seed the server's seed and the request's number decide", async () => {
  const texts = async (seed: number): Promise<string[]> => {
    const running = await start(targets[0]!, { seed, outputTokens: 30 });
    const result: string[] = [];
    for (let i = 0; i < 3; i++) result.push(textOf(chunksOf((await running.ask({ body: chat({ stream: true }) })).body)));
    await running.stop();
    return result;
  };
  const [first, again, other] = [await texts(5), await texts(5), await texts(6)];
  expect(again).toEqual(first);
  expect(other).not.toEqual(first);
  expect(new Set(first).size).toBe(3);
});

test("only the models that were named are served", async () => {
  const running = await start(
    targets.find(({ name }) => name === "h2c")!,
    { model: ["a", "b"] },
  );
  expect((await running.ask({ body: chat({ model: "a" }) })).status).toBe(200);
  const unknown = await running.ask({ body: chat({ model: "c" }) });
  expect(unknown.status).toBe(404);
  expect((JSON.parse(unknown.body) as ErrorBody).error.code).toBe("model_not_found");
  expect((await running.ask({ path: "/v1/models/c" })).status).toBe(404);
  expect((JSON.parse((await running.ask({ path: "/v1/models" })).body) as { data: { id: string }[] }).data.map(({ id }) => id)).toEqual([
    "a",
    "b",
  ]);
  await running.stop();
});

describe("clients that go away", () => {
  test("an aborted h1 stream is counted: tokens sent against planned", async () => {
    for (const target of targets.filter(({ protocol }) => protocol === "h1")) {
      const running = await start(target, { itl: 10, outputTokens: 500 });
      const request = httpRequest(`${running.origin}/v1/chat/completions`, { method: "POST" });
      request.on("error", () => {});
      const seen = await new Promise<number>((resolve) => {
        request.on("response", (response) => {
          let tokens = 0;
          response.on("error", () => {});
          response.on("data", (chunk: Buffer) => {
            tokens += chunk.toString().split('"content":"').length - 1;
            if (tokens > 5) {
              request.destroy();
              resolve(tokens);
            }
          });
        });
        request.end(JSON.stringify(chat({ stream: true })));
      });
      await eventually(() => running.server.stats().abortedStreams === 1, "the abort is noticed");
      const { body } = await running.ask({ path: "/metrics" });
      const value = (name: string): number => Number(new RegExp(`^${name} (\\d+)`, "m").exec(body)![1]);
      expect(value("fakeai_aborted_tokens_planned_total")).toBe(500);
      expect(value("fakeai_aborted_tokens_sent_total")).toBeGreaterThanOrEqual(seen - 1);
      expect(value("fakeai_aborted_tokens_sent_total")).toBeLessThan(400);
      expect(running.server.stats().running).toBe(0);
      await running.stop();
    }
  });

  test.each(targets.filter(({ protocol }) => protocol === "h2c"))("a reset stream of $name leaves its siblings alone", async (h2c) => {
    const running = await start(h2c, { itl: 5, outputTokens: 40 });
    const session = connectHttp2(running.origin);
    const open = (): Promise<string> & { stream: ReturnType<typeof session.request> } => {
      const stream = session.request({ ":method": "POST", ":path": "/v1/chat/completions" });
      stream.on("error", () => {});
      let body = "";
      stream.on("data", (chunk: Buffer) => (body += chunk.toString()));
      stream.end(JSON.stringify(chat({ stream: true })));
      return Object.assign(new Promise<string>((resolve) => stream.on("close", () => resolve(body))), { stream });
    };
    const streams = Array.from({ length: 6 }, open);
    await sleep(60);
    streams[0]!.stream.close(8);
    streams[3]!.stream.destroy();
    const bodies = await Promise.all(streams);
    for (const index of [1, 2, 4, 5])
      expect(chunksOf(bodies[index]!).filter(({ choices }: Chunk) => choices[0]?.delta?.content)).toHaveLength(40);
    expect(running.server.stats()).toMatchObject({ abortedStreams: 2, openSessions: 2, finishedStreams: 4 });
    session.destroy();
    await running.stop();
  });
});
