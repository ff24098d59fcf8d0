/** Each event is whole on the wire when its stamp says so: the chunk that holds it has ended too. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { connect as connectTls } from "node:tls";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { monotonicUs } from "../../src/base/clock.ts";
import { chat, type Chunk, eventsOf, withoutEmptyLines } from "../support/chat.ts";
import { start, type Started, targets } from "../support/targets.ts";
import { eventually } from "../support/wait.ts";

const run = promisify(execFile);
/** Debian's, which has its python3-requests. */
const python = "/usr/bin/python3";

/** How late an event may come after its stamp, milliseconds: far below the gaps, far above what a busy machine adds. */
const lateMs = 60;

interface Seen {
  /** Chunks that were whole after a read, with the time of that read. */
  readonly chunks: readonly { readonly text: string; readonly atUs: number }[];
}

/** Asks over a socket of its own. A chunk counts when the CRLF behind it has come. */
async function readRaw({ origin }: Started, request: object): Promise<Seen> {
  const { port, protocol } = new URL(origin);
  const to = { port: Number(port), host: "127.0.0.1" };
  const socket = protocol === "https:" ? connectTls({ ...to, rejectUnauthorized: false, ALPNProtocols: ["http/1.1"] }) : connectTcp(to);
  const chunks: { text: string; atUs: number }[] = [];
  let rest = "";
  let inBody = false;
  let over = false;
  socket.on("data", (bytes: Buffer) => {
    const atUs = monotonicUs();
    rest += bytes.toString("latin1");
    if (!inBody) {
      const end = rest.indexOf("\r\n\r\n");
      if (end < 0) return;
      inBody = true;
      rest = rest.slice(end + 4);
    }
    for (;;) {
      const lineEnd = rest.indexOf("\r\n");
      if (lineEnd < 0) return;
      const size = Number.parseInt(rest, 16);
      const end = lineEnd + 2 + size + 2;
      if (rest.length < end) return;
      expect(rest.slice(end - 2, end)).toBe("\r\n");
      if (size === 0) over = true;
      else chunks.push({ text: rest.slice(lineEnd + 2, end - 2), atUs });
      rest = rest.slice(end);
    }
  });
  const text = JSON.stringify(request);
  socket.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
  await eventually(() => over, "the answer ends");
  socket.destroy();
  return { chunks };
}

const stamped = (events: readonly string[]): Chunk[] => events.filter((data) => data !== "[DONE]").map((data) => JSON.parse(data) as Chunk);

/** A program that prints for each event the milliseconds from its stamp to its line, as each client sees it. */
const readers = `
import json, sys, time
import requests, urllib3
url, body = sys.argv[1], json.loads(sys.argv[2])
def late(line, at):
    return (at - json.loads(line[6:])["fakeai"]["sent"]) / 1000
def lines(name, source):
    seen = [(line, time.monotonic_ns() / 1000) for line in source if line.startswith(b"data: {")]
    print(json.dumps({"client": name, "late": [late(line, at) for line, at in seen]}))
with requests.post(url, json=body, stream=True) as answer:
    lines("requests", answer.iter_lines())
def split(pieces):
    rest = b""
    for piece in pieces:
        rest += piece
        while b"\\n" in rest:
            line, rest = rest.split(b"\\n", 1)
            yield line
answer = urllib3.PoolManager().request("POST", url, body=json.dumps(body), headers={"content-type": "application/json"}, preload_content=False)
lines("urllib3", split(answer.stream()))
`;

const outputTokens = 6;
const h1Targets = targets.filter(({ client }) => client === "http/1.1");

describe.each(h1Targets)("$name", (target) => {
  test("a chunk has ended when its event is sent", async () => {
    const running = await start(target, { ttft: 20, itl: 200, outputTokens, stamps: true });
    const { chunks } = await readRaw(running, chat({ stream: true }));
    await running.stop();
    const events = chunks.flatMap(({ text, atUs }) => stamped(eventsOf(text)).map((chunk) => ({ chunk, atUs })));
    expect(events.length).toBeGreaterThan(outputTokens);
    for (const { chunk, atUs } of events) expect(atUs - chunk.fakeai!.sent).toBeLessThan(lateMs * 1000);
  });
});

test("one seed is one sequence of bytes on every protocol and engine, empty lines on uws aside", async () => {
  const bodies = await Promise.all(
    targets.map(async (target) => {
      const running = await start(target, { ttft: 0, itl: 40, outputTokens });
      const body = { ...chat({ stream: true }), seed: 7 };
      const isH1 = target.client === "http/1.1";
      const text = isH1 ? (await readRaw(running, body)).chunks.map((chunk) => chunk.text).join("") : (await running.ask({ body })).body;
      await running.stop();
      return { target, text };
    }),
  );
  const { text: expected } = bodies.find(({ target }) => target.engine === "node")!;
  expect(expected).toMatch(/^(?:data: [^\n]+\n\n)+$/);
  for (const { target, text } of bodies) {
    expect({ target: target.name, text: withoutEmptyLines(text) }).toEqual({ target: target.name, text: expected });
    const longer = text.length - expected.length;
    // Two lines after each write but the last; a busy machine may write several events at once.
    if (target.engine === "uws") expect([2, 4, 6, 8, 10]).toContain(longer);
    else expect(longer).toBe(0);
  }
});

const h2cTargets = targets.filter(({ protocol }) => protocol === "h2c");
test.each(h2cTargets)("on $name all that a turn writes is stamped with the time at which the turn sends it", async (h2c) => {
  const running = await start(h2c, { ttft: 100, itl: 40, outputTokens: 4, stamps: true });
  const asked = Array.from({ length: 150 }, () => running.ask({ body: chat({ stream: true }) }));
  const answers = await Promise.all(asked);
  await running.stop();
  const sent = answers.flatMap(({ body }) => stamped(eventsOf(body)).map((chunk) => chunk.fakeai!.sent));
  expect(sent.length).toBeGreaterThan(150 * 4);
  // A turn takes a millisecond or more, and writes many streams, fewer where a busy machine spreads their requests. Stamped one by one, no
  // two of them would agree.
  expect(new Set(sent).size).toBeLessThan(sent.length / 2);
});

const h1 = h1Targets.filter(({ protocol }) => protocol === "h1");
const hasRequests = existsSync(python) && (await run(python, ["-c", "import requests, urllib3"]).then(Boolean, () => false));
if (!hasRequests && process.env["CI"] === undefined) console.warn("python3-requests is not installed: its tests are left out");

describe.skipIf(!hasRequests && process.env["CI"] === undefined).each(h1)("requests and urllib3 on $name", (target) => {
  test.each([200, 20])("see each event when it is sent, ITL %i ms", async (itl) => {
    const running = await start(target, { ttft: 20, itl, outputTokens: 10, stamps: true });
    const { stdout } = await run(python, ["-c", readers, `${running.origin}/v1/chat/completions`, JSON.stringify(chat({ stream: true }))]);
    await running.stop();
    const seen = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { client: string; late: number[] });
    expect(seen.map(({ client }) => client)).toEqual(["requests", "urllib3"]);
    for (const { client, late } of seen) {
      expect(late.length).toBeGreaterThan(10);
      late.sort((a, b) => a - b);
      // The median: one pause of a busy machine must not look like a gap of the server.
      const isLate = late[late.length >> 1]! > itl / 2;
      expect({ client, late: isLate ? late : [] }).toEqual({ client, late: [] });
    }
  });
});
