/** A handshake of WebSocket where none is spoken: 426 at once, as RFC 9110 wants it, and the connection goes on. */
import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import { connect as connectTls } from "node:tls";
import { describe, expect, test } from "vitest";
import type { ServerOptions } from "../../src/index.ts";
import { start, type Target, targets } from "../support/targets.ts";

const handshake = [
  "Host: x",
  "Connection: keep-alive, Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Sends requests one after the other on one connection, each after the answer to the one before. */
async function exchange(target: Target, options: ServerOptions, requests: readonly string[]): Promise<Answer[]> {
  const started = await start(target, options);
  const { port, protocol } = new URL(started.origin);
  const to = { port: Number(port), host: "127.0.0.1" };
  const socket = protocol === "https:" ? connectTls({ ...to, rejectUnauthorized: false, ALPNProtocols: ["http/1.1"] }) : connectTcp(to);
  const answers: Answer[] = [];
  try {
    let got = Buffer.alloc(0);
    for (const request of requests) {
      socket.write(request);
      for (;;) {
        const text = got.toString("latin1");
        const end = text.indexOf("\r\n\r\n");
        const length = Number(/\r\ncontent-length: (\d+)\r\n/i.exec(text)?.[1] ?? 0);
        if (end >= 0 && got.length >= end + 4 + length) {
          const [first, ...lines] = text.slice(0, end).split("\r\n");
          const headers = Object.fromEntries(lines.map((line) => [line.split(": ")[0]!.toLowerCase(), line.slice(line.indexOf(": ") + 2)]));
          answers.push({ status: Number(first!.split(" ")[1]), headers, body: text.slice(end + 4, end + 4 + length) });
          got = got.subarray(end + 4 + length);
          break;
        }
        const [chunk] = (await once(socket, "data", { signal: AbortSignal.timeout(5000) })) as [Buffer];
        got = Buffer.concat([got, chunk]);
      }
    }
  } finally {
    socket.destroy();
    await started.stop();
  }
  return answers;
}

const get = (path: string, lines: readonly string[], version = "1.1"): string =>
  `GET ${path} HTTP/${version}\r\n${lines.join("\r\n")}\r\n\r\n`;

const without = (name: string): string[] => handshake.filter((line) => !line.startsWith(name));

describe.each(targets.filter(({ client }) => client === "http/1.1"))("$name", (target) => {
  test.each([
    ["/v1/responses", "Send the request by HTTP, or start fakeai serve --protocol h1,ws."],
    ["/v1/realtime?model=x", "Start fakeai serve --protocol h1,ws."],
    ["/health", "Send the request by HTTP."],
    ["/nothing", "Send the request by HTTP."],
  ])("%s", async (path, hint) => {
    const [refused, next] = await exchange(target, { apiKey: "secret" }, [get(path, handshake), get("/health", ["Host: x"])]);
    expect(refused!.status).toBe(426);
    // RFC 9110, section 15.5.22: what would do; section 7.8: the name of the header in Connection.
    expect(refused!.headers["upgrade"]).toBe("HTTP/1.1");
    expect(refused!.headers["connection"]).toMatch(/\bupgrade\b/i);
    expect(refused!.headers["content-type"]).toMatch(/^application\/json/);
    expect(JSON.parse(refused!.body)).toEqual({
      error: {
        message: `This endpoint does not speak WebSocket here. (HINT: ${hint})`,
        type: "invalid_request_error",
        param: null,
        code: "websocket_not_supported",
      },
    });
    expect(next!.status).toBe(200);
  });

  test("in the form of each provider", async () => {
    const [vllm] = await exchange(target, { profile: "vllm" }, [get("/v1/responses", handshake)]);
    expect([vllm!.status, JSON.parse(vllm!.body)]).toMatchObject([426, { error: { type: "Upgrade Required", code: 426 } }]);
    const [anthropic] = await exchange(target, {}, [get("/v1/messages", handshake)]);
    expect([anthropic!.status, JSON.parse(anthropic!.body)]).toMatchObject([
      426,
      { type: "error", error: { type: "invalid_request_error" } },
    ]);
  });

  test("what is no handshake is answered as if Upgrade were not there", async () => {
    const [h2c, farther] = await exchange(target, {}, [
      // curl --http2 asks so, and takes any answer.
      get("/health", ["Host: x", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"]),
      get("/health", without("Connection")),
    ]);
    expect([h2c!.status, farther!.status]).toEqual([200, 200]);
  });

  test.runIf(target.engine === "node")("HTTP/1.0 has no Upgrade", async () => {
    const [old] = await exchange(target, {}, [get("/health", handshake, "1.0")]);
    expect(old!.status).toBe(200);
  });
});
