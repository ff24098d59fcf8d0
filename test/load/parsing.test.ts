/** Reading bytes: token events, chunks in any cut, and what h2load prints. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Endpoint } from "../../src/load/job.ts";
import { H1Connection, type H1Socket } from "../../src/load/client/h1.ts";
import { EventReader, newTokenEvent, scanEvent, type TokenEvent } from "../../src/load/events.ts";
import { parseH2load, parseH2loadFile, parseH2loadLog, writesJson } from "../../src/load/drivers/h2load-output.ts";

const scan = (json: string): TokenEvent => {
  const event = { ...newTokenEvent(true), content: true, finished: true, failed: true, tokens: 0, promptTokens: 0, dueUs: 0, sentUs: 0 };
  const bytes = Buffer.from(json);
  scanEvent(bytes, 0, bytes.length, event);
  return event;
};

/** Events of a text that is pushed in pieces ending at `cuts`. */
function read(bytes: Buffer, cuts: readonly number[]): TokenEvent[] {
  const events: TokenEvent[] = [];
  const reader = new EventReader((event) => events.push({ ...event }));
  let from = 0;
  for (const to of [...cuts, bytes.length]) {
    // As from a socket: at an offset of a larger buffer that is used again.
    const buffer = Buffer.concat([Buffer.from("data: {}\n"), bytes.subarray(from, to), Buffer.from("\n\ndata: [DONE]\n\n")]);
    reader.push(buffer, 9, 9 + to - from);
    buffer.fill(0);
    from = to;
  }
  return events;
}

describe("a token event", () => {
  const nothing = { content: false, finished: false, failed: false, tokens: -1, dueUs: -1, sentUs: -1 };

  test.each<[string, string, Partial<TokenEvent>]>([
    ["role chunk", '{"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"finish_reason":null}]}', {}],
    ["token", '{"choices":[{"delta":{"content":" the"},"finish_reason":null}],"usage":null}', { content: true }],
    [
      "spaces as Python writes them",
      '{"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]}',
      { content: true, finished: true },
    ],
    ["escaped quotes in the text", '{"choices":[{"delta":{"content":"\\",\\"finish_reason\\":\\"stop\\""}}]}', { content: true }],
    [
      "a backslash before the closing quote",
      '{"choices":[{"delta":{"content":"\\\\"},"finish_reason":"stop"}]}',
      { content: true, finished: true },
    ],
    ["a key's name as text", '{"choices":[{"delta":{"content":""}}],"a":"content","b":["content","x"]}', {}],
    ["reasoning", '{"choices":[{"delta":{"reasoning_content":"Hm"}}]}', { content: true }],
    ["legacy completion", '{"choices":[{"text":"A","index":0,"logprobs":null,"finish_reason":null}]}', { content: true }],
    ["logprobs are no content", '{"choices":[{"delta":{"content":""},"logprobs":{"content":[{"token":"A"}]}}]}', {}],
    ["usage", '{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":128,"total_tokens":137}}', { tokens: 128 }],
    ["done", "[DONE]", { finished: true }],
    ["error", '{"error":{"message":"overloaded","code":null}}', { failed: true }],
    ["error inside a text", '{"choices":[{"delta":{"content":"{\\"error\\":{}}"}}],"error":null}', { content: true }],
    [
      "stamps",
      '{"choices":[{"delta":{"content":"x"}}],"fakeai":{"due":       803131269,"sent":       803133226}}',
      { content: true, dueUs: 803_131_269, sentUs: 803_133_226 },
    ],
    ["due elsewhere", '{"due":5,"sent":6,"choices":[]}', {}],
    ["responses delta", '{"type":"response.output_text.delta","sequence_number":4,"delta":"Hi","logprobs":[]}', { content: true }],
    ["responses done repeats the text", '{"type":"response.output_text.done","text":"Hi there"}', {}],
    [
      "responses completed",
      '{"type":"response.completed","response":{"output":[{"content":[{"text":"Hi"}]}],"usage":{"input_tokens":4,"output_tokens":7}}}',
      { finished: true, tokens: 7 },
    ],
    ["responses failed", '{"type":"response.failed","response":{}}', { failed: true }],
    ["anthropic delta", '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}', { content: true }],
    [
      "anthropic end",
      '{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":3}}',
      { finished: true, tokens: 3 },
    ],
    [
      "unstreamed",
      '{"choices":[{"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"completion_tokens":2}}',
      { content: true, finished: true, tokens: 2 },
    ],
    ["broken JSON", '{"choices":[{"delta":{"conte', {}],
    ["nothing", "", {}],
  ])("%s", (_, json, expected) => {
    expect(scan(json)).toMatchObject({ ...nothing, ...expected });
  });

  test.each<[string, string, Pick<TokenEvent, "contentBytes" | "text" | "finishReason">]>([
    ["a role alone", '{"choices":[{"delta":{"role":"assistant","content":""}}]}', { contentBytes: 0, text: "", finishReason: null }],
    ["a token", '{"choices":[{"delta":{"content":" é"},"finish_reason":null}]}', { contentBytes: 3, text: " é", finishReason: null }],
    [
      "escapes, a pair of surrogates among them",
      '{"choices":[{"delta":{"content":"\\n\\u00e9\\ud83d\\ude00\\""},"finish_reason":"length"}]}',
      { contentBytes: 8, text: '\né😀"', finishReason: "length" },
    ],
    [
      "reasoning and text in one event",
      '{"choices":[{"delta":{"reasoning_content":"ab","content":"c"}}]}',
      { contentBytes: 3, text: "abc", finishReason: null },
    ],
    [
      "the finish reason before vLLM's stop_reason",
      '{"choices":[{"finish_reason":"stop","stop_reason":"</s>"}]}',
      { contentBytes: 0, text: "", finishReason: "stop" },
    ],
    [
      "a reason with an escape for terminals",
      '{"choices":[{"finish_reason":"\\u001b[2J"}]}',
      { contentBytes: 0, text: "", finishReason: "other" },
    ],
    [
      "a reason that is too long",
      `{"choices":[{"finish_reason":"${"a".repeat(40)}"}]}`,
      { contentBytes: 0, text: "", finishReason: "other" },
    ],
    ["a delta of Responses", '{"type":"response.output_text.delta","delta":"Hi"}', { contentBytes: 2, text: "Hi", finishReason: null }],
    [
      "the end of Responses, which repeats the text",
      '{"type":"response.incomplete","response":{"output":[{"content":[{"text":"Hi"}]}]}}',
      { contentBytes: 0, text: "", finishReason: "incomplete" },
    ],
  ])("holds: %s", (_, json, expected) => {
    expect(scan(json)).toMatchObject(expected);
  });

  test("says what JSON.parse says, whatever the text", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "binary" }),
        fc.boolean(),
        fc.option(fc.record({ completion_tokens: fc.nat(), prompt_tokens: fc.nat() }), { nil: null }),
        fc.option(fc.record({ due: fc.nat(9e15), sent: fc.nat(9e15) }), { nil: undefined }),
        fc.integer({ min: 0, max: 2 }),
        (content, finished, usage, fakeai, indent) => {
          const chunk = {
            id: content,
            choices: [{ delta: { content }, logprobs: null, finish_reason: finished ? "stop" : null }],
            usage,
            fakeai,
          };
          expect(scan(JSON.stringify(chunk, null, indent))).toEqual({
            content: content !== "",
            contentBytes: Buffer.byteLength(content),
            text: content,
            finished,
            finishReason: finished ? "stop" : null,
            failed: false,
            tokens: usage?.completion_tokens ?? -1,
            promptTokens: usage?.prompt_tokens ?? -1,
            cachedTokens: -1,
            dueUs: fakeai?.due ?? -1,
            sentUs: fakeai?.sent ?? -1,
          });
        },
      ),
    );
  });
});

describe("an event stream", () => {
  const token = fc.record({ content: fc.string(), due: fc.nat(), sent: fc.nat() });
  const separator = fc.constantFrom("\n", "\r\n");
  const between = fc.constantFrom("", ": ping\n\n", ":\n", "event: message\n", "id: 7\nretry: 100\n", "\n\n");

  test("gives the same events for every cut of its bytes", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(token, separator, between, fc.constantFrom("data: ", "data:"), fc.boolean()), { minLength: 1, maxLength: 12 }),
        fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 30 }),
        (events, cuts) => {
          const text = `${events
            .map(([{ content, due, sent }, lineEnd, filler, field, split]) => {
              const json = JSON.stringify({ choices: [{ delta: { content } }], fakeai: { due, sent } });
              // An event of two lines is one event, joined by a line feed.
              const data = split ? json.replace(',"fakeai"', `,${lineEnd}${field}"fakeai"`) : json;
              return `${filler}${field}${data}${lineEnd}${lineEnd}`;
            })
            .join("")}data: [DONE]\n\n`;
          const bytes = Buffer.from(text);
          const at = cuts.map((share) => Math.floor(share * bytes.length)).sort((a, b) => a - b);
          const expected = events.map(([{ content, due, sent }]) => ({
            content: content !== "",
            contentBytes: expect.any(Number),
            text: null,
            finished: false,
            finishReason: null,
            failed: false,
            tokens: -1,
            promptTokens: -1,
            cachedTokens: -1,
            dueUs: due,
            sentUs: sent,
          }));
          const got = read(bytes, at);
          expect(got.slice(0, -1)).toEqual(expected);
          expect(got.at(-1)!.finished).toBe(true);
        },
      ),
    );
  });

  test("byte by byte", () => {
    const bytes = Buffer.from('data: {"choices":[{"delta":{"content":"é"}}]}\r\n\r\n: ping\n\ndata: [DONE]\n\n');
    const events = read(
      bytes,
      Array.from({ length: bytes.length }, (_, i) => i),
    );
    expect(events.map(({ content, finished }) => [content, finished])).toEqual([
      [true, false],
      [false, true],
    ]);
  });

  test("an event without its blank line is not told", () => {
    expect(read(Buffer.from("data: [DONE]\n"), [])).toEqual([]);
  });
});

describe("h2load's output", () => {
  const fixture = (name: string): string => readFileSync(new URL(`../fixtures/h2load-${name}.txt`, import.meta.url), "utf8");

  test("1.52", () => {
    expect(parseH2load(fixture("1.52-h2"))).toEqual({
      negotiated: "h2",
      cipher: "TLSv1.3 TLS_AES_128_GCM_SHA256",
      requests: { total: 20, started: 20, done: 20, succeeded: 20, failed: 0, errored: 0, timeout: 0 },
      bytes: { total: 12_710, headers: 833, data: 11_469 },
      connectUs: null,
    });
  });

  test("1.70: the same lines, and the file that it writes", () => {
    const printed = fixture("1.70-h2c");
    const output = parseH2load(printed);
    expect(output.negotiated).toBe("h2c");
    expect(output.bytes.data).toBe(56_116_060);
    // As write_result in nghttp2's src/h2load.cc has it: seconds, samples in ascending order.
    const file = readFileSync(new URL("../fixtures/h2load-1.70.json", import.meta.url), "utf8");
    expect(parseH2loadFile(file, printed)).toEqual({ ...output, connectUs: [78, 97] });
  });

  test("a file of another format is refused", () => {
    expect(() => parseH2loadFile('{"version":"v2"}', "")).toThrow('version "v2", not "v1"');
    expect(() => parseH2loadFile("", "")).toThrow("JSON");
  });

  test("which versions write it", () => {
    expect(["1.52.0", "1.68.1", "1.69.0", "1.70.0-DEV", "2.0.0"].map(writesJson)).toEqual([false, false, true, true, true]);
  });

  test("failures, which end with exit code 0 as well", () => {
    expect(parseH2load(fixture("1.52-refused")).requests).toMatchObject({ total: 20, started: 0, failed: 20, errored: 20 });
    expect(parseH2load(fixture("1.52-refused")).negotiated).toBeNull();
    expect(parseH2load(fixture("1.52-404"))).toMatchObject({ requests: { succeeded: 0, failed: 20 } });
    // The protocol is named though not a single answer came in it.
    expect(parseH2load(fixture("1.52-wrong-protocol"))).toMatchObject({ negotiated: "h2c", requests: { done: 0 } });
  });

  test("an output that was cut off is refused", () => {
    expect(() => parseH2load("starting benchmark...\n")).toThrow(/printed no result/);
  });

  test("the log: tabs, and -1 for a failed stream", () => {
    expect(parseH2loadLog("1795565795076567\t200\t6728\n1795565795083356\t-1\t783\n")).toEqual([
      { startUs: 1_795_565_795_076_567, status: 200, durationUs: 6728 },
      { startUs: 1_795_565_795_083_356, status: -1, durationUs: 783 },
    ]);
  });

  test("the options that are used exist in the h2load that is installed", () => {
    const { status, stdout } = spawnSync("h2load", ["--help"]);
    if (status !== 0) {
      if (process.env["CI"] === "true") throw new Error("h2load is not installed");
      console.warn("h2load is not installed: nothing was checked");
      return;
    }
    for (const option of ["--log-file", "--tls13-ciphers", "--h1", "--connection-inactivity-timeout", "--connection-window-bits"])
      expect(stdout.toString()).toContain(option);
  });
});

describe("chunks of HTTP/1.1", () => {
  /** A connection with a request under way, and what it reads. */
  function reading(): { socket: H1Socket; heard: string[]; body: () => Buffer } {
    const socket: H1Socket = {
      onBytes: () => {},
      onEnd: () => {},
      onClose: () => {},
      cipher: null,
      bytesRead: 0,
      bytesWritten: 0,
      write: () => {},
      pause: () => {},
      resume: () => {},
      end: () => {},
      destroy: () => {},
    };
    const endpoint: Endpoint = {
      origin: "http://x",
      protocol: "h1",
      path: "/",
      method: "POST",
      headers: {},
      tls: { ca: null, insecure: false, cipher: null },
    };
    const heard: string[] = [];
    const parts: Buffer[] = [];
    new H1Connection(socket, endpoint, 0, 1).send(
      { method: "POST", path: "/", body: "" },
      {
        onResponse: ({ status }) => heard.push(`status ${status}`),
        onData: (bytes, start, end) => parts.push(Buffer.from(bytes.subarray(start, end))),
        onEnd: () => heard.push("end"),
        onFail: (reason) => heard.push(reason),
      },
    );
    return { socket, heard, body: () => Buffer.concat(parts) };
  }

  test("however they are cut, by the server and on the way, the same bytes come out", () => {
    const chunk = fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 300 }), fc.constantFrom("", ";a=b", " ;x"), fc.boolean());
    fc.assert(
      fc.property(fc.array(chunk, { maxLength: 20 }), fc.array(fc.integer({ min: 1, max: 400 }), { maxLength: 40 }), (chunks, cuts) => {
        const wire = Buffer.concat([
          Buffer.from("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
          ...chunks.flatMap(([bytes, extension, isUpper]) => {
            const size = bytes.length.toString(16);
            return [Buffer.from(`${isUpper ? size.toUpperCase() : size}${extension}\r\n`), bytes, Buffer.from("\r\n")];
          }),
          Buffer.from("0\r\n\r\n"),
        ]);
        const { socket, heard, body } = reading();
        let at = 0;
        for (const cut of [...cuts, wire.length]) {
          const part = wire.subarray(at, at + cut);
          socket.onBytes(part, part.length, 0);
          at += part.length;
        }
        expect(heard).toEqual(["status 200", "end"]);
        expect(body().equals(Buffer.concat(chunks.map(([bytes]) => bytes)))).toBe(true);
      }),
    );
  });
});
