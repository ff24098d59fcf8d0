/** What a failure says beside its kind: the server's own words, in the counts and in every request's detail. */
import { createServer, type Server, type Socket } from "node:net";
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from "node:zlib";
import { afterEach, describe, expect, test } from "vitest";
import { generateWithAutocannon } from "../../src/load/drivers/autocannon.ts";
import { generate } from "../../src/load/generator.ts";
import type { LoadJob, LoadReport } from "../../src/load/job.ts";
import { messageIn, oneLine, withoutSecrets } from "../../src/load/words.ts";
import { listen } from "../support/servers.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

/** Two requests to a server that answers each with these bytes. */
async function failing(
  answer: string | Buffer,
  more: Partial<LoadJob> = {},
  headers: Readonly<Record<string, string>> = {},
): Promise<LoadReport> {
  const server = createServer((socket: Socket) => {
    socket.on("error", () => {});
    socket.on("data", () => socket.end(answer));
  });
  servers.push(server);
  return reportOf(`http://127.0.0.1:${await listen(server)}`, more, headers);
}

const quietly = { signal: new AbortController().signal, onPhase: () => Promise.resolve(), onProgress() {} };

const reportOf = (origin: string, more: Partial<LoadJob> = {}, headers: Readonly<Record<string, string>> = {}): Promise<LoadReport> =>
  generate(jobAt(origin, more, headers), quietly);

function jobAt(origin: string, more: Partial<LoadJob> = {}, headers: Readonly<Record<string, string>> = {}): LoadJob {
  const tls = { ca: null, insecure: false, cipher: null };
  const request = { body: "{}", tokens: null };
  return {
    endpoint: { origin, protocol: "h1", path: "/v1/chat/completions", method: "POST", headers, tls },
    connections: 1,
    reuse: "new",
    streams: 1,
    mode: "closed",
    warmup: [],
    requests: [request, request],
    idleTimeoutMs: 2000,
    requestTimeoutMs: 5000,
    stream: true,
    detail: true,
    clock: null,
    ...more,
  };
}

const http = (status: string, headers: string, body: string | Buffer): Buffer =>
  Buffer.concat([Buffer.from(`HTTP/1.1 ${status}\r\n${headers}content-length: ${Buffer.byteLength(body)}\r\n\r\n`), Buffer.from(body)]);

const openAi = '{"error":{"message":"Unsupported parameter: \'max_tokens\'","type":"invalid_request_error"}}';
const json = "content-type: application/json\r\n";
const page = "<!doctype html><html><head><title>Sign in</title></head><body>secret</body></html>";
const sse = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

describe("an answer that is none", () => {
  test.each<[string, string | Buffer, string, string | undefined]>([
    ["a 400 in OpenAI's shape", http("400 Bad Request", json, openAi), "status 400", "Unsupported parameter: 'max_tokens'"],
    [
      "a 422 of FastAPI",
      http("422 X", json, '{"detail":[{"loc":["body","seed"],"msg":"Extra inputs"}]}'),
      "status 422",
      "body.seed: Extra inputs",
    ],
    ["a 500 in plain text", http("500 X", "content-type: text/plain\r\n", "it broke\n  badly"), "status 500", "it broke badly"],
    ["a redirect", http("307 X", "location: https://h/v1/chat\r\n", ""), "status 307", "Location: https://h/v1/chat"],
    ["a 502 with a page", http("502 X", "content-type: text/html; charset=utf-8\r\n", page), "status 502", "text/html; Sign in"],
    ["a login page with 200", http("200 OK", "content-type: text/html\r\n", page), "not a stream", "text/html; Sign in"],
    [
      "a 400 in gzip",
      http("400 X", `${json}content-encoding: gzip\r\n`, gzipSync(openAi)),
      "status 400",
      "Unsupported parameter: 'max_tokens'",
    ],
    [
      "a 400 in brotli",
      http("400 X", `${json}content-encoding: br\r\n`, brotliCompressSync(openAi)),
      "status 400",
      "Unsupported parameter: 'max_tokens'",
    ],
    [
      "a 400 in deflate",
      http("400 X", `${json}content-encoding: deflate\r\n`, deflateSync(openAi)),
      "status 400",
      "Unsupported parameter: 'max_tokens'",
    ],
    [
      "a 400 in raw deflate",
      http("400 X", `${json}content-encoding: deflate\r\n`, deflateRawSync(openAi)),
      "status 400",
      "Unsupported parameter: 'max_tokens'",
    ],
    ["a 400 in a coding that is not known", http("400 X", `${json}content-encoding: zstd\r\n`, "xx"), "status 400", "a body in zstd"],
    ["a stream in gzip", `${sse.slice(0, -2)}content-encoding: gzip\r\n\r\n`, "compressed stream", "content-encoding: gzip"],
    ["JSON in place of a stream", http("200 OK", json, '{"choices":[]}'), "not a stream", '{"choices":[]}'],
    ["an error within a stream", `${sse}data: {"error":{"message":"no memory left"}}\n\n`, "error event", "no memory left"],
    ["a body that is cut", "HTTP/1.1 500 X\r\ncontent-length: 9\r\n\r\nhalf", "connection closed", "5 bytes of its body are missing"],
    [
      "a head with LF alone",
      "HTTP/1.1 200 OK\ncontent-type: text/event-stream\n\ndata: x\n\n",
      "malformed response",
      "the lines of its head end in LF without CR",
    ],
    ["another protocol", "SSH-2.0-OpenSSH_9.2\r\n", "wrong protocol", "it begins with SSH-2.0-OpenSSH_9.2"],
    ["nothing", http("404 X", "", ""), "status 404", undefined],
  ])("%s", async (_name, answer, reason, words) => {
    const { requests, details, invalid } = await failing(answer);
    expect(requests.errors).toEqual({ [reason]: 2 });
    expect(requests.words?.[reason]).toBe(words);
    expect(details).toHaveLength(2);
    expect(details.map((detail) => [detail.error, detail.words])).toEqual(details.map(() => [reason, words ?? null]));
    // Two failed requests say nothing of the generator.
    expect(invalid.filter((fault) => fault.startsWith("client-limited"))).toEqual([]);
  });

  test("autocannon says it too", async () => {
    const server = createServer((socket) => {
      socket.on("error", () => {});
      socket.on("data", () => socket.write(http("400 Bad Request", json, openAi)));
    });
    servers.push(server);
    const origin = `http://127.0.0.1:${await listen(server)}`;
    const { requests } = await generateWithAutocannon(jobAt(origin, { stream: false, reuse: "keep" }), quietly);
    expect(requests.errors["status 400"]).toBeGreaterThan(0);
    expect(requests.words).toEqual({ "status 400": "Unsupported parameter: 'max_tokens'" });
  });

  test("no connection, in the system's words", async () => {
    const { requests } = await reportOf("http://127.0.0.1:1");
    expect(requests.words).toEqual({ "connection refused": "connect ECONNREFUSED 127.0.0.1:1" });
    const unknown = await reportOf("http://nowhere.invalid");
    expect(unknown.requests.words?.["connection failed"]).toMatch(/ENOTFOUND|EAI_AGAIN/);
  });

  test("an error in an unstreamed 200 is one", async () => {
    const { requests } = await failing(http("200 OK", json, openAi), { stream: false });
    expect(requests.errors).toEqual({ "error event": 2 });
    expect(requests.words).toEqual({ "error event": "Unsupported parameter: 'max_tokens'" });
  });

  test("an unstreamed answer in gzip is read", async () => {
    const body = gzipSync('{"choices":[{"message":{"content":"x"}}],"usage":{"completion_tokens":7}}');
    const { requests, tokens } = await failing(http("200 OK", `${json}content-encoding: gzip\r\n`, body), { stream: false });
    expect([requests.completed, tokens]).toEqual([2, 14]);
  });

  test("failures of the warm-up are told where nothing else was sent", async () => {
    const warmup = Array.from({ length: 8 }, () => ({ body: "{}", tokens: null }));
    const server = createServer((socket) => socket.on("error", () => {}));
    servers.push(server);
    const report = await reportOf(`http://127.0.0.1:${await listen(server)}`, { warmup, streams: 8, connections: 8, idleTimeoutMs: 100 });
    expect(report.details.map(({ error }) => error)).toEqual(Array(8).fill("timeout"));
  });
});

describe("foreign text", () => {
  test("is one line, without characters that move a terminal, and cut", () => {
    expect(oneLine("a\r\n\u001B[2Jb\u0007\u202Ec\uFEFF")).toBe("a \\u{1b}[2Jb\\u{7}\\u{202e}c");
    expect(oneLine("x".repeat(5000))).toHaveLength(200);
    expect(oneLine("\u001B".repeat(5000)).length).toBeLessThanOrEqual(200);
    expect(oneLine("\uD800 é 😀")).toBe("\\u{d800} é 😀");
  });

  test.each([
    ['{"error":"plain"}', "plain"],
    ['{"message":"vLLM","object":"error"}', "vLLM"],
    ['{"type":"error","error":{"type":"x","message":"Anthropic"}}', "Anthropic"],
    ['[{"error":{"message":"Google","code":400}}]', "Google"],
    ['{"error":{"message":"cut off in the mid', "cut off in the mid"],
    ["[1,2]", "[1,2]"],
    ["<p>no <b>title</b></p>", "no title"],
    ['{"error":{"code":7}}', '{"error":{"code":7}}'],
  ])("%s says %s", (text, message) => {
    expect(oneLine(messageIn(text))).toBe(message);
  });

  test("has no key that was sent", async () => {
    const headers = { authorization: "Bearer sk-very-secret", "content-type": "application/json" };
    expect(withoutSecrets("wrong key sk-very-secret for application/json", headers)).toBe("wrong key *** for application/json");
    const { requests, details } = await failing(http("401 X", json, '{"error":{"message":"key sk-very-secret"}}'), {}, headers);
    expect(JSON.stringify([requests, details])).not.toContain("very-secret");
  });
});
