/** Faults on purpose: every one on every protocol and engine that can express it, seen by a client. */
import { request as httpRequest } from "node:http";
import { connect as connectH2 } from "node:http2";
import { request as httpsRequest } from "node:https";
import { connect } from "node:net";
import OpenAI, { APIError, AuthenticationError, BadRequestError, InternalServerError, NotFoundError, RateLimitError } from "openai";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { nameOfKey } from "../../src/base/keys.ts";
import { cannot, carrierOf, type FaultName, faultKinds, isHttp2, parseFaults } from "../../src/core/faults/fault.ts";
import { createServer, type FakeAiServer } from "../../src/index.ts";
import { flag, frame } from "../../src/wire/h2/frames.ts";
import { bodyOf, rawRequest } from "../support/h2-frames.ts";
import { chat, type Chunk, chunksOf, eventsOf } from "../support/chat.ts";
import { askHttp3, openHttp3 } from "../support/http3-client.ts";
import { type Answer, optionsOf, start, type Started, targets } from "../support/targets.ts";
import { eventually, sleep } from "../support/wait.ts";

const parse = (text: string): ReturnType<typeof parseFaults> => parseFaults(text, "--fault", (name) => name);

/** What a client saw. */
type Outcome =
  | { readonly kind: "answer"; readonly answer: Answer }
  | { readonly kind: "error"; readonly code: string | undefined }
  | { readonly kind: "hung" };

async function outcome(asking: Promise<Answer>, patienceMs = 4000): Promise<Outcome> {
  return Promise.race([
    asking.then(
      (answer): Outcome => ({ kind: "answer", answer }),
      (error: NodeJS.ErrnoException): Outcome => ({ kind: "error", code: error.code }),
    ),
    sleep(patienceMs).then((): Outcome => ({ kind: "hung" })),
  ]);
}

const faultsMade = ({ server }: Started): Readonly<Record<string, number>> => server.stats().faults;

const tokens = 6;
const words = "aé bé cé dé eé";
const wordsAsAscii = JSON.stringify(words).replaceAll("é", "\\u00e9");

/** One fault in a stream of six tokens: what the client gets. */
interface StreamCase {
  readonly fault: string;
  readonly more?: Readonly<Record<string, string>>;
  readonly check: (outcome: Outcome, whole: string) => void;
}

const answerOf = (outcome: Outcome): Answer => {
  if (outcome.kind !== "answer") throw new Error(`no answer, but ${JSON.stringify(outcome)}`);
  return outcome.answer;
};
const streamed = (outcome: Outcome): string => {
  const answer = answerOf(outcome);
  expect(answer.status).toBe(200);
  return answer.body;
};
const tokenEvents = (body: string): string[] => eventsOf(body).filter((event) => /"content":"[^"]/.test(event));

const streamCases: readonly StreamCase[] = [
  {
    fault: "delay(80ms)",
    check: (outcome, whole) => {
      expect(streamed(outcome)).toBe(whole);
      const { reads, startedMs } = answerOf(outcome);
      expect(reads[0]!.atMs - startedMs).toBeGreaterThanOrEqual(79);
    },
  },
  {
    fault: "burst(after=2,silence=120ms)",
    more: { "x-fakeai-itl": "10" },
    check: (outcome, whole) => {
      expect(streamed(outcome)).toBe(whole);
      const { reads } = answerOf(outcome);
      const gaps = reads.slice(1).map(({ atMs }, index) => atMs - reads[index]!.atMs);
      // A client that is late for the token before it sees less of the silence; what was sent is pinned on a fake clock.
      expect(Math.max(...gaps)).toBeGreaterThanOrEqual(60);
      // What fell due in the silence came at once.
      expect(tokenEvents(reads.at(-1)!.text).length).toBeGreaterThanOrEqual(3);
    },
  },
  {
    fault: "truncate(after=4)",
    check: (outcome, whole) => {
      const body = streamed(outcome);
      expect(whole.startsWith(body)).toBe(true);
      expect(tokenEvents(body)).toHaveLength(4);
      expect(body).not.toContain("[DONE]");
    },
  },
  { fault: "truncate", check: (outcome) => expect(streamed(outcome)).toBe("") },
  { fault: "no_done", check: (outcome, whole) => expect(`${streamed(outcome)}data: [DONE]\n\n`).toBe(whole) },
  {
    fault: "malformed(after=2)",
    check: (outcome) => {
      const events = eventsOf(streamed(outcome)).slice(0, -1);
      const bad = events.flatMap((event, index) => {
        try {
          JSON.parse(event);
          return [];
        } catch {
          return [index];
        }
      });
      // The role, two tokens, then the broken one.
      expect(bad).toEqual([3]);
    },
  },
  {
    fault: "error(after=3)",
    check: (outcome) => {
      const body = streamed(outcome);
      expect(tokenEvents(body)).toHaveLength(3);
      expect(JSON.parse(eventsOf(body).at(-1)!)).toMatchObject({ error: { type: "server_error" } });
    },
  },
  {
    fault: "split_utf8",
    check: (outcome, whole) => {
      expect(streamed(outcome)).toBe(whole);
      expect(answerOf(outcome).reads.some(({ text }) => text.includes("\uFFFD"))).toBe(true);
    },
  },
  {
    fault: "split_lines",
    check: (outcome, whole) => {
      expect(streamed(outcome)).toBe(whole);
      const { reads } = answerOf(outcome);
      expect(reads.filter(({ text }) => !text.endsWith("\n")).length).toBeGreaterThan(3);
    },
  },
  {
    fault: "duplicate(after=2)",
    check: (outcome, whole) => {
      const events = tokenEvents(streamed(outcome));
      const expected = tokenEvents(whole);
      expected.splice(2, 0, expected[2]!);
      expect(events).toEqual(expected);
    },
  },
  {
    fault: "reorder(after=2)",
    check: (outcome, whole) => {
      const expected = tokenEvents(whole);
      [expected[2], expected[3]] = [expected[3]!, expected[2]!];
      expect(tokenEvents(streamed(outcome))).toEqual(expected);
      expect(streamed(outcome).endsWith("data: [DONE]\n\n")).toBe(true);
    },
  },
  {
    fault: "comments(every=10ms),delay(65ms)",
    check: (outcome, whole) => {
      const body = streamed(outcome);
      expect(body.replaceAll(": keep-alive\n\n", "")).toBe(whole);
      expect(body.split(": keep-alive\n\n").length - 1).toBeGreaterThanOrEqual(3);
    },
  },
];

describe.each(targets)("$name", (target) => {
  const carrier = target.client === "http/1.1" ? (target.engine === "uws" ? "uws" : "node-h1") : carrierOf(target.protocol, target.engine);
  let running: Started;
  let whole: string;
  const ask = (fault: string | null, more: Readonly<Record<string, string>> = {}, body: object = {}): Promise<Answer> =>
    running.ask({
      body: chat({ stream: true, ...body }),
      headers: { "x-fakeai-seed": "3", "x-fakeai-text": wordsAsAscii, ...(fault !== null && { "x-fakeai-fault": fault }), ...more },
    });
  beforeAll(async () => {
    running = await start(target, { profile: "minimal", outputTokens: tokens });
    whole = (await ask(null)).body;
    expect(whole.endsWith("data: [DONE]\n\n")).toBe(true);
  });
  afterAll(async () => {
    await running.stop();
    await eventually(() => running.server.stats().openConnections === 0, "connections closed");
    expect(running.server.stats()).toMatchObject({ running: 0, openStreams: 0, openSessions: 0 });
  });

  test.each(streamCases)("$fault, a sibling unharmed", async ({ fault, more, check }) => {
    const before = faultsMade(running);
    const sibling = ask(null, { "x-fakeai-itl": "15" });
    const seen = await outcome(ask(fault, more));
    check(seen, whole);
    const names = parse(fault).map(({ name }) => name);
    expect(answerOf(seen).headers["x-fakeai-fault"]).toBe(names.join(", "));
    expect((await sibling).body).toBe(whole);
    expect((await sibling).headers).not.toHaveProperty("x-fakeai-fault");
    const after = faultsMade(running);
    for (const name of names) expect(after[name]).toBe((before[name] ?? 0) + 1);
  });

  test("bytewise: each read is a byte", async () => {
    const seen = await outcome(ask("bytewise", {}, { max_tokens: 1 }), 8000);
    const { body, reads } = answerOf(seen);
    expect(chunksOf(body)).toHaveLength(3);
    // A busy client may take several bytes in one read.
    expect(reads.length).toBeGreaterThan(body.length / 4);
  });

  test.each(["hang", "hang(after=2)"])("%s, a sibling unharmed; gone when its client goes", async (fault) => {
    const sibling = ask(null, { "x-fakeai-itl": "10" });
    expect(await outcome(ask(fault), 300)).toEqual({ kind: "hung" });
    expect((await sibling).body).toBe(whole);
    expect(running.server.stats().running).toBeGreaterThan(0);
    await running.stop();
    await eventually(() => running.server.stats().running === 0, "hung responses gone");
    running = await start(target, { profile: "minimal", outputTokens: tokens });
  });

  test.each([
    ["rate_limit(retry_after=2,retry_after_ms=1500)", 429, "rate_limit_exceeded"],
    ["invalid_api_key", 401, "invalid_api_key"],
    ["context_length", 400, "context_length_exceeded"],
    ["server_error", 500, null],
    ["invalid_request", 400, "invalid_value"],
    ["model_not_found", 404, "model_not_found"],
    ["status(529)", 529, null],
    ["status(418)", 418, null],
  ])("%s is the provider's error", async (fault, status, code) => {
    const answer = answerOf(await outcome(ask(fault)));
    expect(answer.status).toBe(status);
    expect(JSON.parse(answer.body)).toMatchObject({ error: { code, message: expect.any(String), type: expect.any(String) } });
    expect(answer.headers["x-fakeai-fault"]).toBe(parse(fault)[0]!.name);
    if (status === 429) expect(answer.headers).toMatchObject({ "retry-after": "2", "retry-after-ms": "1500" });
    else expect(answer.headers).not.toHaveProperty("retry-after");
  });

  test.each([
    ["rate_limit(retry_after=2)", "Please try again in 2s."],
    ["rate_limit(retry_after=2,retry_after_ms=1500)", "Please try again in 1.5s."],
    ["rate_limit(retry_after_ms=250)", "Please try again in 250ms."],
    ["rate_limit", "Please try again in 120ms."],
  ])("the text of %s names the wait that its headers name", async (fault, text) => {
    expect(answerOf(await outcome(ask(fault))).body).toContain(text);
  });

  test("delay holds an error too", async () => {
    const answer = answerOf(await outcome(ask("delay(60ms),server_error")));
    expect(answer.status).toBe(500);
    expect(answer.headers["x-fakeai-fault"]).toBe("delay, server_error");
    expect(answer.reads[0]!.atMs - answer.startedMs).toBeGreaterThanOrEqual(59);
  });

  test("a delayed error whose client has gone is forgotten", async () => {
    const other = await start(target);
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const turnsUntil = async (holds: () => boolean): Promise<boolean> => {
      for (const endMs = performance.now() + 5000; !holds() && performance.now() < endMs;)
        await new Promise((resolve) => setImmediate(resolve));
      return holds();
    };
    const headers = { "x-fakeai-fault": "delay(60s),server_error" };
    const bytes = JSON.stringify(chat());
    let leave: () => void;
    if (target.client === "h3") {
      const session = await openHttp3(other.origin);
      void askHttp3(session, other.origin, { body: chat(), headers }).catch(() => {});
      leave = () => void session.close();
    } else if (target.client === "h2") {
      const session = connectH2(other.origin, { rejectUnauthorized: false }).on("error", () => {});
      session
        .request({ ":method": "POST", ":path": "/v1/chat/completions", ...headers })
        .on("error", () => {})
        .end(bytes);
      leave = () => session.destroy();
    } else {
      const request = other.origin.startsWith("https") ? httpsRequest : httpRequest;
      const options = { method: "POST", agent: false, rejectUnauthorized: false, headers } as const;
      const call = request(`${other.origin}/v1/chat/completions`, options).on("error", () => {});
      call.end(bytes);
      leave = () => call.destroy();
    }
    const asked = await turnsUntil(() => other.server.stats().faults["server_error"] !== undefined);
    const timers = vi.getTimerCount();
    leave();
    const left = await turnsUntil(() => other.server.stats().openStreams === 0 && vi.getTimerCount() === timers - 1);
    vi.useRealTimers();
    await other.stop();
    expect([asked, left]).toEqual([true, true]);
  });

  test.each([
    ["delay(1ms),no_done", "delay, no_done", { stream: true }],
    ["split_utf8", "split_utf8", { stream: true, n: 2 }],
    ["error(after=3)", "error", { stream: true, stream_options: { include_usage: true } }],
    ["delay(1ms)", "delay", { stream: false }],
  ])("%s: each stamp names it", async (fault, named, body) => {
    const stamped = answerOf(await outcome(ask(fault, { "x-fakeai-stamps": "1" }, body)));
    const parsed = (body.stream ? eventsOf(stamped.body) : [stamped.body])
      .filter((event) => event !== "[DONE]")
      .map((event) => JSON.parse(event) as Pick<Chunk, "fakeai">)
      .filter((event) => !("error" in event));
    expect(parsed.length).toBeGreaterThanOrEqual(body.stream ? 4 : 1);
    const stamps = { due: expect.any(Number), sent: expect.any(Number), fault: named };
    expect(parsed.map(({ fakeai }) => fakeai)).toEqual(parsed.map(() => stamps));
    const plain = answerOf(await outcome(ask(null, { "x-fakeai-stamps": "1" }, body)));
    expect(plain.body).toContain('"fakeai":{"due"');
    expect(plain.body).not.toContain('"fault"');
    expect(answerOf(await outcome(ask(fault, {}, body))).body).not.toMatch(/"fakeai"|"fault"/);
  });

  test("in one piece: half a body, broken JSON", async () => {
    const unary = { stream: false };
    const good = (await ask(null, {}, unary)).body;
    const half = answerOf(await outcome(ask("truncate", {}, unary)));
    expect(good.startsWith(half.body)).toBe(true);
    expect(half.body).toHaveLength(Math.floor(Buffer.byteLength(good) / 2));
    const broken = answerOf(await outcome(ask("malformed", {}, unary)));
    expect(broken.body).toBe(good.slice(0, -1));
    expect(broken.headers["content-length"]).toBe(String(Buffer.byteLength(broken.body)));
  });

  test.runIf(carrier !== "uws").each(["reset", "reset(after=3)"])("%s: ECONNRESET", async (fault) => {
    // On HTTP/2 it takes the connection along, by nature.
    const other = await start(target, { outputTokens: tokens });
    const asking = other.ask({ body: chat({ stream: true }), headers: { "x-fakeai-fault": fault } });
    // Before any answer, node's HTTP/2 client may only see its connection gone.
    const http2Codes = fault === "reset" ? ["ECONNRESET", "CLOSED"] : ["ECONNRESET"];
    const codes = { "http/1.1": ["ECONNRESET"], h2: http2Codes, h3: ["ERR_HTTP3_SESSION_ERROR"] }[target.client];
    const seen = await outcome(asking);
    expect(seen.kind).toBe("error");
    expect(codes).toContain((seen as { readonly code?: string }).code);
    expect(other.server.stats()).toMatchObject({ running: 0, abortedStreams: 1 });
    await other.stop();
  });

  const cutStream = carrier === "quiche" ? "ERR_HTTP3_STREAM_ERROR" : "ERR_HTTP2_STREAM_ERROR";
  test.runIf(carrier === "quiche" || isHttp2(carrier)).each(["rst_stream", "rst_stream(code=11,after=3)"])(
    "%s, siblings unharmed",
    async (fault) => {
      const sibling = ask(null, { "x-fakeai-itl": "15" });
      expect(await outcome(ask(fault))).toEqual({ kind: "error", code: cutStream });
      expect((await sibling).body).toBe(whole);
    },
  );

  test.runIf(carrier !== "uws")("content_length", async () => {
    const other = await start(target, { outputTokens: tokens });
    const asking = (fault: string): Promise<Outcome> => outcome(other.ask({ body: chat(), headers: { "x-fakeai-fault": fault } }), 500);
    const seen = await asking("content_length(+10)");
    // HTTP/1.1 waits for what never comes; HTTP/2 knows that the stream has ended. quiche's client leaves it to its user to compare.
    expect(seen.kind).toBe(carrier === "quiche" ? "answer" : isHttp2(carrier) ? "error" : "hung");
    await other.stop();
  });

  test("what cannot be is refused with the reason", async () => {
    for (const name of Object.keys(faultKinds) as FaultName[]) {
      const why = cannot(name, carrier);
      if (why === null) continue;
      const answer = answerOf(await outcome(ask(name === "content_length" ? "content_length(+1)" : name)));
      expect([answer.status, answer.body]).toEqual([400, expect.stringContaining(why)]);
    }
    for (const [fault, body] of [
      ["no_done", { stream: false }],
      ["content_length(+1)", { stream: true }],
      ["nonsense", {}],
    ] as const) {
      expect(answerOf(await outcome(ask(fault, {}, body)))).toMatchObject({ status: 400 });
    }
    const options = optionsOf(target);
    const atStart = carrierOf(target.protocol, target.engine);
    for (const name of Object.keys(faultKinds) as FaultName[]) {
      const why = cannot(name, atStart);
      if (why === null) continue;
      await expect(createServer({ ...options, fault: name === "content_length" ? "content_length(+1)" : name })).rejects.toThrow(why);
    }
  });
});

describe.each(["node", "own"] as const)("frames of HTTP/2, engine %s", (h2Engine) => {
  let server: FakeAiServer;
  beforeAll(async () => {
    server = await createServer({ protocol: "h2c", h2Engine, outputTokens: tokens, profile: "minimal" });
  });
  afterAll(() => server.close(0));
  const frames = (fault: string, content = "Hello", timeoutMs = 5000): ReturnType<typeof rawRequest> =>
    rawRequest({
      port: Number(new URL(server.urls.h2c!).port),
      headers: { "x-fakeai-fault": fault },
      body: Buffer.from(JSON.stringify({ model: "m", stream: true, messages: [{ role: "user", content }] })),
      timeoutMs,
      until: (frames) =>
        frames.some(({ type, flags, stream }) => type === frame.reset || (stream === 1 && type < 2 && (flags & flag.endStream) !== 0)),
    });

  test.each([0, 2, 8, 11, 0xffff])("RST_STREAM with code %i, and no END_STREAM before it", async (code) => {
    const got = await frames(`rst_stream(code=${code},after=3)`);
    const last = got.at(-1)!;
    expect([last.type, last.payload.readUInt32BE(0)]).toEqual([frame.reset, code]);
    expect(got.some(({ type, flags }) => type < 2 && (flags & flag.endStream) !== 0)).toBe(false);
    expect(tokenEvents(bodyOf(got))).toHaveLength(3);
  });

  test("a stream that ends before its fault ends in order", async () => {
    const got = await frames("rst_stream(after=50)");
    expect(bodyOf(got)).toContain("[DONE]");
    expect(got.some(({ type }) => type === frame.reset)).toBe(false);
  });

  test("GOAWAY with code 0 lets the stream finish; with another it ends the connection", async () => {
    const kind = await frames("goaway(after=3)");
    expect(kind.some(({ type, payload }) => type === frame.goaway && payload.readUInt32BE(4) === 0)).toBe(true);
    expect(bodyOf(kind)).toContain("[DONE]");
    const hard = await frames("goaway(after=3,code=11)");
    expect(hard.filter(({ type }) => type === frame.goaway).map(({ payload }) => payload.readUInt32BE(4))).toEqual([11]);
    expect(tokenEvents(bodyOf(hard))).toHaveLength(3);
    expect(hard.some(({ type, flags }) => type === frame.data && (flags & flag.endStream) !== 0)).toBe(false);
  });

  test("goaway(requests=3): the third request of a connection, answered all the same", async () => {
    await using counted = await createServer({ protocol: "h2c", h2Engine, outputTokens: 2, fault: "goaway(requests=3)" });
    const { connect: connectHttp2 } = await import("node:http2");
    const session = connectHttp2(counted.urls.h2c!);
    const away: number[] = [];
    let answered = 0;
    session.on("error", () => {});
    session.on("goaway", () => away.push(answered));
    const said: unknown[] = [];
    for (let i = 0; i < 3; i++) {
      await new Promise<void>((resolve, reject) => {
        const stream = session.request({ ":method": "POST", ":path": "/v1/chat/completions" });
        stream.on("error", reject);
        stream.on("response", (head) => said.push(head["x-fakeai-fault"]));
        stream.resume();
        stream.on("end", () => {
          answered++;
          resolve();
        });
        stream.end(JSON.stringify(chat()));
      });
    }
    await eventually(() => session.closed, "the session closed");
    expect(away[0]).toBe(2);
    expect(answered).toBe(3);
    expect(said).toEqual([undefined, undefined, "goaway"]);
    expect(counted.stats().faults).toEqual({ goaway: 1 });
  });

  test("no WINDOW_UPDATE for the stream: a long body stalls at 65,535 bytes, a short one is answered", async () => {
    const long = await frames("no_window_update", "x".repeat(100_000), 400);
    expect(long.filter(({ type, stream }) => type === frame.windowUpdate && stream === 1)).toEqual([]);
    expect(long.some(({ type }) => type === frame.headers)).toBe(false);
    expect(bodyOf(await frames("no_window_update"))).toContain("[DONE]");
    // Without the fault the same body gets its window.
    const fed = await frames("delay(1ms)", "x".repeat(100_000), 400);
    expect(fed.some(({ type, stream }) => type === frame.windowUpdate && stream === 1)).toBe(true);
  });
});

test("content_length(-5) on HTTP/1.1: the head says five bytes less", async () => {
  await using server = await createServer({ h1Engine: "node", outputTokens: 2 });
  const raw = await new Promise<string>((resolve) => {
    const socket = connect(Number(new URL(server.urls.h1!).port), "127.0.0.1");
    const body = JSON.stringify(chat());
    let text = "";
    socket.write(
      `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-fakeai-fault: content_length(-5)\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    socket.on("data", (chunk: Buffer) => (text += chunk.toString()));
    socket.on("close", () => resolve(text));
  });
  const [head, body] = raw.split("\r\n\r\n") as [string, string];
  expect(Number(/content-length: (\d+)/.exec(head)![1])).toBe(Buffer.byteLength(body) - 5);
});

describe("which requests", () => {
  const statuses = async (server: FakeAiServer, count: number, headers: Readonly<Record<string, string>> = {}): Promise<number[]> => {
    const all: number[] = [];
    for (let i = 0; i < count; i++) {
      const response = await fetch(`${server.urls.h1}/v1/chat/completions`, { method: "POST", headers, body: JSON.stringify(chat()) });
      await response.arrayBuffer();
      all.push(response.status);
    }
    return all;
  };
  const fault = ["rate_limit@20%", "status(503)@20%"];

  test("a rate and a seed decide, and decide the same again", async () => {
    const runs: number[][] = [];
    for (const seed of [5, 5, 6]) {
      await using server = await createServer({ fault, seed, outputTokens: 1 });
      runs.push(await statuses(server, 60));
      const made = server.stats().faults;
      expect(made["rate_limit"]).toBe(runs.at(-1)!.filter((status) => status === 429).length);
    }
    expect(runs[0]).toEqual(runs[1]);
    expect(runs[0]).not.toEqual(runs[2]);
    const refused = runs[0]!.filter((status) => status !== 200).length;
    // 36% of 60 is 22; further off than 4 sigma would be another rate.
    expect(refused).toBeGreaterThan(6);
    expect(refused).toBeLessThan(37);
    expect(new Set(runs[0])).toEqual(new Set([200, 429, 503]));
  });

  test("an explicit seed decides alone", async () => {
    await using one = await createServer({ fault: "status(503)@50%", seed: 1, outputTokens: 1 });
    await using other = await createServer({ fault: "status(503)@50%", seed: 2, outputTokens: 1 });
    await statuses(other, 3);
    const seen = new Set<number>();
    for (let seed = 0; seed < 12; seed++) {
      const headers = { "x-fakeai-seed": String(seed) };
      const [status] = await statuses(one, 1, headers);
      expect(await statuses(other, 2, headers)).toEqual([status, status]);
      seen.add(status!);
    }
    expect(seen).toEqual(new Set([200, 503]));
  });

  test("by API key; the key is never shown", async () => {
    await using server = await createServer({ fault: "invalid_api_key(key=sk-bad)", outputTokens: 1, admin: true });
    expect(await statuses(server, 1, { authorization: "Bearer sk-bad" })).toEqual([401]);
    expect(await statuses(server, 1, { authorization: "Bearer sk-good" })).toEqual([200]);
    expect(await statuses(server, 1)).toEqual([200]);
    const config = await (await fetch(`${server.urls.h1}/admin/config`)).text();
    expect(config).not.toContain("sk-bad");
    expect(config).toContain(nameOfKey("sk-bad"));
  });

  test("by protocol", async () => {
    await using server = await createServer({ protocol: "h1,h2c", fault: "rst_stream(protocol=h2c)", outputTokens: 1 });
    expect(await statuses(server, 1)).toEqual([200]);
    await expect(createServer({ protocol: "h1,h2c", fault: "rst_stream" })).rejects.toThrow("limit it: rst_stream(protocol=h2c)");
  });

  test("/admin/config changes them, or says why not; operations never get one", async () => {
    await using server = await createServer({ admin: true, outputTokens: 1 });
    const change = async (fault: unknown): Promise<number> =>
      (await fetch(`${server.urls.h1}/admin/config`, { method: "POST", body: JSON.stringify({ fault }) })).status;
    expect(await change(["status(503)", "delay(1ms)"])).toBe(200);
    expect(await statuses(server, 1)).toEqual([503]);
    expect((await fetch(`${server.urls.h1}/health`)).status).toBe(200);
    const metrics = await (await fetch(`${server.urls.h1}/metrics`)).text();
    expect(metrics).toContain('fakeai_faults_total{fault="status"} 1');
    expect(metrics).toContain('fakeai_faults_total{fault="delay"} 1');
    expect(await change("rst_stream")).toBe(400);
    expect(await change("nonsense")).toBe(400);
    expect(await statuses(server, 1)).toEqual([503]);
    expect(await change(null)).toBe(200);
    expect(await statuses(server, 1)).toEqual([200]);
  });

  test("one_of takes each of its errors", async () => {
    await using server = await createServer({ fault: "one_of(rate_limit|server_error|model_not_found)", outputTokens: 1 });
    expect(new Set(await statuses(server, 40))).toEqual(new Set([429, 500, 404]));
  });
});

describe("other surfaces", () => {
  test.each([
    [
      "/v1/messages",
      { model: "c", max_tokens: 50, messages: [{ role: "user", content: "Hi" }], stream: true },
      '"type":"overloaded_error"',
    ],
    ["/v1/responses", { model: "m", input: "Hi", stream: true }, '"code":"server_error"'],
  ])("%s: an error in its own words, and no last event", async (path, body, words) => {
    await using server = await createServer({ outputTokens: 5 });
    const ask = async (fault: string): Promise<string> => {
      const headers = { "x-fakeai-fault": fault, "anthropic-version": "2023-06-01", "x-api-key": "k" };
      return (await fetch(`${server.urls.h1}${path}`, { method: "POST", headers, body: JSON.stringify(body) })).text();
    };
    const failed = await ask("error(after=3)");
    expect(failed.split("\n\n").at(-2)).toContain("event: error");
    expect(failed).toContain(words);
    expect(await ask("no_done")).not.toMatch(/message_stop|response\.completed/);
    const overloaded = JSON.parse(await ask("status(529)")) as { error: { type?: string } };
    if (path === "/v1/messages") expect(overloaded.error.type).toBe("overloaded_error");
  });
});

describe("the openai SDK", () => {
  let server: FakeAiServer;
  beforeAll(async () => {
    server = await createServer({ h1Engine: "node", outputTokens: tokens });
  });
  afterAll(() => server.close(0));

  test.each([
    ["rate_limit", RateLimitError],
    ["invalid_api_key", AuthenticationError],
    ["context_length", BadRequestError],
    ["invalid_request", BadRequestError],
    ["model_not_found", NotFoundError],
    ["server_error", InternalServerError],
    ["error(after=3)", APIError],
    ["malformed(after=2)", SyntaxError],
    ["reset(after=3)", TypeError],
  ])("%s is its %o", async (fault, expected) => {
    const client = new OpenAI({ baseURL: `${server.urls.h1}/v1`, apiKey: "k", maxRetries: 0, defaultHeaders: { "x-fakeai-fault": fault } });
    const error = await (async () => {
      const stream = await client.chat.completions.create({ model: "m", stream: true, messages: [{ role: "user", content: "Hi" }] });
      for await (const _chunk of stream);
    })().then(
      () => null,
      (error: unknown) => error,
    );
    expect(error).toBeInstanceOf(expected);
  });
});
