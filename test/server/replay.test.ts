/** Recording a server that nothing here made, and its tape as a server: on every protocol, to the byte and with its times. */
import { mkdtempSync, readFileSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createServer, type FakeAiServer, type Protocol } from "../../src/index.ts";
import { type Recorder, type RecorderStats, startRecorder } from "../../src/server/recorder.ts";
import { ReplayDesk } from "../../src/server/replay-desk.ts";
import { freePorts, resolveConfig } from "../../src/settings/server.ts";
import type { TapeCall } from "../../src/tape/form.ts";
import { root } from "../support/process.ts";
import { listen } from "../support/servers.ts";

const protocols = ["h1", "h1s", "h2c", "h2"] as const satisfies readonly Protocol[];
const key = "sk-origin-0123456789abcdef";
const event = (data: string): string => `data: ${data}\n\n`;
const delta = (content: string): string => event(JSON.stringify({ choices: [{ index: 0, delta: { content } }] }));
const usage = event('{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5}}');
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
/** Half a character, and bytes that are no UTF-8. */
const odd = Buffer.from([0xe2, 0x82, 0xff, 0x00, 0x0d, 0x0a]);

/** What the origin writes, and how long it waits before each write. */
const scripts: Readonly<Record<string, { readonly type: string; readonly writes: readonly (readonly [number, string | Buffer])[] }>> = {
  stream: {
    type: "text/event-stream",
    writes: [
      [40, delta("a") + delta("b")],
      [60, delta("c").slice(0, 20)],
      [40, delta("c").slice(20)],
      [80, `: comment\r\n\r\n${delta("\u20ac")}`],
      [20, usage + event("[DONE]")],
    ],
  },
  odd: {
    type: "application/octet-stream",
    writes: [
      [10, odd],
      [30, odd],
    ],
  },
  lines: {
    type: "application/x-ndjson",
    writes: [
      [10, '{"response":"a"}\n{"response":"b"}\n'],
      [40, '{"done":true,"eval_count":2}\n'],
    ],
  },
};

let origin: http.Server;
let originUrl: string;
let heard: http.IncomingHttpHeaders[] = [];
let recorder: Recorder;
let stats: RecorderStats;
let replayed: FakeAiServer;
let replayedByOwn: FakeAiServer;
let lines: TapeCall[];
const folder = mkdtempSync(join(tmpdir(), "fakeai-record-"));

interface Got {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: Buffer;
  /** Milliseconds from the request to the head, and to each read. */
  readonly headMs: number;
  readonly atMs: readonly number[];
  readonly isWhole: boolean;
}

/** One request, whatever the protocol, with the times of its reads. */
function ask(
  server: Pick<FakeAiServer, "ca"> & { urls: Partial<Record<Protocol, string>> },
  protocol: Protocol,
  path: string,
  body: object | null,
): Promise<Got> {
  const url = new URL(server.urls[protocol]!);
  const text = body === null ? "" : JSON.stringify(body);
  const headers = { "content-type": "application/json", authorization: `Bearer ${key}`, cookie: "session=abcdefghijkl" };
  const method = body === null ? "GET" : "POST";
  const trust = server.ca === null ? {} : { ca: server.ca };
  return new Promise((resolve, reject) => {
    const startMs = performance.now();
    const atMs: number[] = [];
    const parts: Buffer[] = [];
    let headMs = Infinity;
    const read = (bytes: Buffer): void => {
      atMs.push(performance.now() - startMs);
      parts.push(bytes);
    };
    if (protocol === "h1" || protocol === "h1s") {
      const request = (protocol === "h1" ? http : https).request(
        new URL(path, url),
        { method, headers: { ...headers, ...(text !== "" && { "content-length": Buffer.byteLength(text) }) }, ...trust },
        (response) => {
          headMs = performance.now() - startMs;
          response.on("data", read);
          response.on("error", () => {});
          response.on("close", () =>
            resolve({
              status: response.statusCode!,
              headers: response.headers,
              body: Buffer.concat(parts),
              headMs,
              atMs,
              isWhole: response.complete,
            }),
          );
        },
      );
      request.on("error", reject);
      request.end(text);
      return;
    }
    const session = http2.connect(url, trust);
    session.on("error", reject);
    const stream = session.request({ ":path": path, ":method": method, ...headers });
    let status = 0;
    let got: http2.IncomingHttpHeaders = {};
    stream.on("response", (head) => {
      headMs = performance.now() - startMs;
      status = head[":status"]!;
      got = head;
    });
    stream.on("data", read);
    stream.on("error", () => {});
    stream.on("close", () => {
      session.close();
      resolve({ status, headers: got, body: Buffer.concat(parts), headMs, atMs, isWhole: stream.rstCode === 0 });
    });
    stream.end(text);
  });
}

const originals = new Map<string, Got>();

beforeAll(async () => {
  origin = http.createServer((request, response) => {
    heard.push(request.headers);
    const parts: Buffer[] = [];
    request.on("data", (bytes: Buffer) => parts.push(bytes));
    request.on("end", () => {
      const { pathname, searchParams } = new URL(request.url!, "http://x");
      const asked = pathname.slice("/api/v1/".length);
      response.setHeader("x-request-id", "req-of-a-person");
      response.setHeader("set-cookie", "session=secret-of-a-person");
      if (asked === "json") {
        response.setHeader("retry-after", "3");
        response.writeHead(Number(searchParams.get("status") ?? 200), { "content-type": "application/json" });
        response.end(JSON.stringify({ said: Buffer.concat(parts).toString("utf8"), authorization: request.headers.authorization }));
        return;
      }
      if (asked === "whole") {
        response.writeHead(200, { "content-type": "application/json", "content-length": 9 });
        response.write('{"a":');
        setTimeout(() => response.end("123}"), 30);
        return;
      }
      if (asked === "early") {
        response.writeHead(200, { "content-type": "text/event-stream" });
        response.flushHeaders();
        setTimeout(() => response.end(delta("late")), 200);
        return;
      }
      const { type, writes } = scripts[asked === "cut" ? "stream" : asked]!;
      response.writeHead(200, { "content-type": type });
      void (async () => {
        for (const [ms, bytes] of asked === "cut" ? writes.slice(0, 2) : writes) {
          await pause(ms);
          response.write(bytes);
        }
        if (asked === "cut") setTimeout(() => response.destroy(), 30);
        else response.end();
      })();
    });
  });
  originUrl = `http://127.0.0.1:${await listen(origin)}`;
  const tell = (line: string): void => expect(line).toBe("nothing is told");
  recorder = await startRecorder(
    resolveConfig({ protocol: "h1,h1s,h2c,h2", h1Engine: "node" }, freePorts),
    {
      upstream: { origin: originUrl, protocol: "h1", ca: null, insecure: false, timeoutMs: 5000 },
      base: "/api/v1",
      out: folder,
      bounds: { calls: 100, bytes: 10_000_000 },
      keepHeaders: new Set(),
      version: "0",
    },
    tell,
  );
  const through = { ca: recorder.ca, urls: Object.fromEntries(recorder.listening.map(({ protocol, url }) => [protocol, url])) };
  const calls: [string, Protocol, string, object | null][] = [
    ...protocols.map((protocol): [string, Protocol, string, object] => [`stream ${protocol}`, protocol, "/v1/stream", { ask: protocol }]),
    ["odd", "h2", "/v1/odd", { ask: 1 }],
    ["lines", "h1", "/v1/lines", { ask: 1 }],
    ["json", "h2c", "/v1/json?key=a-secret-key&alt=sse", { b: [1, { a: 2 }], api_key: "secret-in-a-body", note: `it is ${key}` }],
    ["failed", "h1", "/v1/json?status=429&api-version=1", { ask: 1 }],
    ["whole", "h1s", "/api/v1/whole", null],
    ["cut", "h1", "/v1/cut", { ask: 1 }],
    ["early", "h2c", "/v1/early", { ask: 1 }],
    ["first", "h1", "/v1/json", { user: "one", ask: "twice" }],
    ["second", "h1", "/v1/json", { ask: "twice", user: "one" }],
  ];
  await Promise.all(calls.slice(0, -1).map(async ([name, ...call]) => originals.set(name, await ask(through, ...call))));
  originals.set("second", await ask(through, ...(calls.at(-1)!.slice(1) as [Protocol, string, object])));
  stats = await recorder.close(1000);
  lines = readFileSync(join(folder, "tape.jsonl"), "utf8")
    .trim()
    .split("\n")
    .slice(1)
    .map((line) => JSON.parse(line) as TapeCall);
  replayed = await createServer({ protocol: "h1,h1s,h2c,h2", replay: folder, replayIgnore: "user" });
  replayedByOwn = await createServer({ protocol: "h2c,h2", h2Engine: "own", replay: folder });
});
afterAll(async () => {
  await Promise.all([replayed.close(0), replayedByOwn.close(0)]);
  origin.closeAllConnections();
  origin.close();
});

const taped = (path: string, ask?: string): TapeCall =>
  lines.find(({ request }) => request.path === path && (ask === undefined || request.body?.text?.includes(ask)))!;

test("the server hears what the client said, and the client gets what the server sent", () => {
  expect(stats).toMatchObject({ recorded: 13, leftOut: 0, aborted: 0, failed: 0 });
  const [first] = heard;
  expect(first).toMatchObject({ authorization: `Bearer ${key}`, cookie: "session=abcdefghijkl", host: originUrl.slice("http://".length) });
  const whole = scripts["stream"]!.writes.map(([, bytes]) => bytes).join("");
  for (const protocol of protocols) {
    const { body, headers } = originals.get(`stream ${protocol}`)!;
    expect(body.toString("utf8")).toBe(whole);
    expect(headers).toMatchObject({ "content-type": "text/event-stream", "x-request-id": "req-of-a-person" });
  }
  expect(originals.get("odd")!.body).toEqual(Buffer.concat([odd, odd]));
  expect(originals.get("whole")!.headers["content-length"]).toBe("9");
  expect(originals.get("cut")!.isWhole).toBe(false);
});

test("no key, cookie or name of a person is on the tape", () => {
  const text = readFileSync(join(folder, "tape.jsonl"), "utf8");
  for (const secret of [key, "secret", "abcdefghijkl", "person", "a-secret-key"]) expect(text).not.toContain(secret);
  const { request, response } = taped("/v1/json", "note");
  expect(request.query).toBe("alt=sse&key=[redacted]");
  expect(request.headers).toContainEqual(["authorization", "[redacted]"]);
  expect(JSON.parse(request.body!.text!)).toMatchObject({ api_key: "[redacted]", note: `it is ${"*".repeat(key.length)}` });
  expect(response.headers).toContainEqual(["set-cookie", "[redacted]"]);
});

test("each event has the time at which it was there", () => {
  const { pieces } = taped("/v1/stream", '"h1"').response;
  expect(pieces.map(({ text }) => text)).toEqual([
    delta("a"),
    delta("b"),
    delta("c").slice(0, 20),
    delta("c").slice(20),
    ": comment\r\n\r\n",
    delta("\u20ac"),
    usage,
    event("[DONE]"),
  ]);
  const us = pieces.map((piece) => piece.us);
  // Those of one write have one time. How long a write takes on a busy machine is not bounded from above.
  expect([us[0], us[4], us[6]]).toEqual([us[1], us[5], us[7]]);
  expect(us[0]).toBeGreaterThan(35_000);
  expect(us[2]! - us[0]!).toBeGreaterThan(40_000);
  expect(us[4]! - us[3]!).toBeGreaterThan(50_000);
});

describe.each(protocols)("replayed over %s", (protocol) => {
  test("the same bytes, whatever the protocol they were recorded over", async () => {
    const got = await Promise.all(protocols.map((recorded) => ask(replayed, protocol, "/v1/stream", { ask: recorded })));
    for (const [index, recorded] of protocols.entries()) {
      const original = originals.get(`stream ${recorded}`)!;
      expect(got[index]!.body).toEqual(original.body);
      expect(got[index]!.headers["date"]).toBe(original.headers["date"]);
    }
    expect((await ask(replayed, protocol, "/v1/odd", { ask: 1 })).body).toEqual(Buffer.concat([odd, odd]));
  });

  test("no event comes before its recorded time", async () => {
    const { pieces } = taped("/v1/stream", '"h2"').response;
    const { atMs, body } = await ask(replayed, protocol, "/v1/stream", { ask: "h2" });
    expect(body.length).toBeGreaterThan(0);
    expect(atMs[0]! * 1000).toBeGreaterThan(pieces[0]!.us - 1000);
    expect(atMs.at(-1)! * 1000).toBeGreaterThan(pieces.at(-1)!.us - 1000);
  });

  test("heads, errors, and answers that broke off", async () => {
    const failed = await ask(replayed, protocol, "/v1/json?api-version=1&status=429", { ask: 1 });
    expect([failed.status, failed.headers["retry-after"], failed.headers["x-request-id"], failed.headers["set-cookie"]]).toEqual([
      429,
      "3",
      "[redacted]",
      undefined,
    ]);
    expect((await ask(replayed, protocol, "/api/v1/whole", null)).headers["content-length"]).toBe("9");
    const cut = await ask(replayed, protocol, "/v1/cut", { ask: 1 });
    expect(cut.isWhole).toBe(false);
    // node's HTTP/2 client may drop what it has not handed on when the stream is reset.
    const whole = originals.get("cut")!.body;
    if (protocol === "h1" || protocol === "h1s") expect(cut.body).toEqual(whole);
    else expect(whole.subarray(0, cut.body.length)).toEqual(cut.body);
  });
});

test("a head leaves when it came, before its first bytes, from the recorder and on each engine", async () => {
  const { headUs, pieces } = taped("/v1/early").response;
  expect(pieces[0]!.us - headUs).toBeGreaterThan(150_000);
  const asked = [
    ...protocols.map((protocol) => [`${protocol}, node`, replayed, protocol] as const),
    ["h2c, own", replayedByOwn, "h2c"] as const,
    ["h2, own", replayedByOwn, "h2"] as const,
  ];
  const got = await Promise.all(
    asked.map(async ([name, server, protocol]) => [name, await ask(server, protocol, "/v1/early", { ask: 1 })] as const),
  );
  for (const [name, { headMs, atMs, body }] of [["recorder", originals.get("early")!] as const, ...got]) {
    expect([name, body.toString("utf8")]).toEqual([name, delta("late")]);
    // By a machine that is busy both are late.
    expect([name, atMs[0]! - headMs > 100]).toEqual([name, true]);
  }
});

test("order of members, keys, and members that are left out make no difference", async () => {
  // The key of the headers is in the body too: covered on the tape, and here.
  for (const note of [`it is ${"*".repeat(key.length)}`, `it is ${key}`]) {
    const body = { note, api_key: "another key", b: [1, { a: 2 }], user: "somebody" };
    expect((await ask(replayed, "h1", "/v1/json?alt=sse&key=other", body)).status).toBe(200);
  }
});

test("a request that several calls answer gets one after the other", async () => {
  const asked = { ask: "twice", user: "two" };
  const bodies: string[] = [];
  for (let i = 0; i < 3; i++) bodies.push((await ask(replayed, "h1", "/v1/json", asked)).body.toString("utf8"));
  expect(JSON.parse(bodies[0]!)).toMatchObject({ said: '{"user":"one","ask":"twice"}' });
  expect(JSON.parse(bodies[1]!)).toMatchObject({ said: '{"ask":"twice","user":"one"}' });
  expect(bodies[2]).toBe(bodies[0]);
});

test("a call is asked for by its number, among those that fit", async () => {
  const [first, second] = lines.filter(({ request }) => request.path === "/v1/json" && request.body?.text?.includes("twice"));
  const by = async (call: number, server = replayed): Promise<readonly [number, string]> => {
    const headers = { "x-fakeai-call": String(call) };
    const answer = await fetch(`${server.urls.h1!}/v1/json`, { method: "POST", headers, body: JSON.stringify({ ask: "twice" }) });
    return [answer.status, await answer.text()];
  };
  // Whatever others have asked for in between.
  for (const { call, response } of [second!, first!, first!]) expect(await by(call)).toEqual([200, response.pieces[0]!.text]);
  expect(await by(999)).toEqual([400, expect.stringContaining("call 999 of the tape is no answer to this POST /v1/json") as string]);
  await using plain = await createServer();
  expect(await by(1, plain)).toEqual([400, expect.stringContaining("no tape is replayed here") as string]);
});

test("what is not on the tape gets an error that says what is near", async () => {
  const message = async (path: string, body: object): Promise<unknown> => {
    const { status, body: bytes } = await ask(replayed, "h1", path, body);
    expect(status).toBe(404);
    return (JSON.parse(bytes.toString("utf8")) as { error: { message: string } }).error.message;
  };
  expect(await message("/v1/stream", { ask: "h3" })).toMatch(
    /^No recorded call fits this POST \/v1\/stream: of 4 recorded calls of it the nearest differs at ask\. /,
  );
  expect(await message("/v1/nothing", {})).toMatch(/: the tape has calls of POST \/v1\/stream, /);
  expect(await message("/v1/json?key=1", { ask: 1 })).toMatch(/ of it had another query\. /);
  expect((await ask(replayed, "h1", "/health", null)).status).toBe(200);
});

test("made-up text where it is asked for, at another speed, with stamps and metrics", async () => {
  await using server = await createServer({ replay: folder, replaySpeed: "max", replayUnmatched: "generate", outputTokens: 3 });
  expect(server.notices.join()).toMatch(/13 calls of .* are answered without waiting; other requests get made-up text/);
  const chat = { model: "m", messages: [{ role: "user", content: "a" }] };
  expect((await ask(server, "h1", "/v1/chat/completions", chat)).status).toBe(200);
  const before = server.stats();
  const response = await fetch(`${server.urls.h1!}/v1/stream`, {
    method: "POST",
    headers: { "x-fakeai-stamps": "1" },
    body: JSON.stringify({ ask: "h1" }),
  });
  const text = await response.text();
  expect(response.headers.get("x-fakeai-clock")).toMatch(/^monotonic/);
  const stamped = [...text.matchAll(/,"fakeai":\{"due": *(\d+),"sent": *(\d+)\}\}\n\n/g)];
  // The event in two pieces has no place for stamps.
  expect(stamped).toHaveLength(4);
  expect(text.replaceAll(/,"fakeai":\{[^}]*\}/g, "")).toBe(originals.get("stream h1")!.body.toString("utf8"));
  const after = server.stats();
  expect([after.generationTokens - before.generationTokens, after.promptTokens - before.promptTokens]).toEqual([5, 7]);
  const refused = await fetch(`${server.urls.h1!}/v1/stream`, { method: "POST", headers: { "x-fakeai-ttft": "1" }, body: '{"ask":"h1"}' });
  expect([refused.status, await refused.text()]).toEqual([400, expect.stringContaining("--replay-speed") as string]);
});

test("options that a tape leaves nothing to are refused", async () => {
  for (const [options, message] of [
    [{ replaySpeed: 2 }, /^--replay-speed does nothing without --replay$/],
    [{ replay: folder, ttft: 5 }, /^--ttft: a tape decides/],
    [{ replay: folder, replaySpeed: "fast" }, /^--replay-speed: "fast" is neither a factor/],
    [{ replay: folder, scheduler: "batched" }, /^--replay: a tape has its own times/],
  ] as const)
    await expect(createServer(options)).rejects.toThrow(message);
});

test("several processes answer from a tape that needs no count of one", async () => {
  const settings = { tape: folder, speed: 1, unmatched: "error", ignore: [] } as const;
  const desk = await ReplayDesk.of({ ...settings, tape: `${root}test/fixtures/tape.jsonl` }, true);
  expect([desk.calls, desk.sequences]).toEqual([1, 0]);
  await expect(ReplayDesk.of(settings, true)).rejects.toThrow(
    /^--replay: one request of the tape has several answers, whose order one process counts: leave out --workers$/,
  );
});

test("a tape is written once, within its bounds, and a server that is not there is told", async () => {
  const upstream = { origin: "http://127.0.0.1:9", protocol: "h1", ca: null, insecure: false, timeoutMs: 5000 } as const;
  const config = resolveConfig({ h1Engine: "node" }, freePorts);
  const start = (out: string, to = upstream as { origin: string } & typeof upstream): Promise<Recorder> =>
    startRecorder(
      config,
      { upstream: to, base: "/api/v1", out, bounds: { calls: 1, bytes: 100_000 }, keepHeaders: new Set(["x-request-id"]), version: "0" },
      (line) => told.push(line),
    );
  const told: string[] = [];
  await expect(start(folder)).rejects.toThrow(/^--out: there is a tape in .* already/);
  const other = await start(join(folder, "other"));
  const through = { ca: null, urls: { h1: other.listening[0]!.url } };
  const failed = await ask(through, "h1", "/v1/json", {});
  expect([failed.status, failed.body.toString("utf8")]).toEqual([
    502,
    expect.stringContaining("no answer from the server (ECONNREFUSED)") as string,
  ]);
  expect(await other.close(0)).toMatchObject({ recorded: 0, failed: 1 });
  const full = await start(join(folder, "full"), { ...upstream, origin: originUrl as typeof upstream.origin });
  for (let i = 0; i < 3; i++) await ask({ ca: null, urls: { h1: full.listening[0]!.url } }, "h1", "/v1/json", { i });
  expect(await full.close(0)).toMatchObject({ recorded: 1, leftOut: 2 });
  expect(told).toEqual([expect.stringMatching(/^the tape is full \(--max-calls, --max-tape\)/)]);
  expect(readFileSync(join(folder, "full", "tape.jsonl"), "utf8")).toContain("req-of-a-person");
});
