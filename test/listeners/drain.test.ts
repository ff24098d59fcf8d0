/** SIGTERM under 1,000 streams on all four protocols at once: what can finish does, the rest is cut so that clients see it. */
import { readFileSync } from "node:fs";
import { Agent as HttpAgent, request as httpRequest } from "node:http";
import { type ClientHttp2Session, connect as connectH2, constants } from "node:http2";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { describe, expect, test } from "vitest";
import { loadUws } from "../../src/listeners/uws/module.ts";
import { serve, type Serving } from "../support/process.ts";
import { chat, chunksOf } from "../support/chat.ts";
import { eventually } from "../support/wait.ts";

/** An engine of HTTP/1.1 beside one of HTTP/2. */
const engines = [
  { h1: (await loadUws()) === null ? "node" : "uws", h2: "own" },
  { h1: "node", h2: "node" },
];

/** Of each protocol; half of them end by themselves within the grace. */
const streams = 250;
const streamsPerSession = 25;
const graceMs = 4000;
const tokens = 20;
const short = { "x-fakeai-ttft": "2000", "x-fakeai-itl": "10", "x-fakeai-output-tokens": String(tokens) };
const long = { "x-fakeai-itl": "200", "x-fakeai-output-tokens": "10000" };

/** How a stream ended: `end` as its protocol has it, or the error that its client saw. */
interface Ending {
  readonly how: string;
  readonly body: string;
}

/** Opens one stream after another, on connections of their own (h1), or by 25 on each. */
function openerOf(server: Serving, protocol: string): (headers: Readonly<Record<string, string>>) => Promise<Ending> {
  const { url } = server.listening.find((listening) => listening.protocol === protocol)!;
  const tls = server.caPath !== null && url.startsWith("https") ? { ca: readFileSync(server.caPath) } : {};
  const body = JSON.stringify(chat({ stream: true }));
  if (!protocol.startsWith("h2")) {
    const agent = url.startsWith("https") ? new HttpsAgent({ maxCachedSessions: 100 }) : new HttpAgent();
    return (headers) =>
      new Promise((resolve) => {
        let text = "";
        const request = url.startsWith("https") ? httpsRequest : httpRequest;
        request(`${url}/v1/chat/completions`, { method: "POST", agent, headers, ...tls }, (response) => {
          response.on("data", (chunk: Buffer) => (text += chunk.toString()));
          response.on("end", () => resolve({ how: "end", body: text }));
          response.on("error", ({ message }) => resolve({ how: message, body: text }));
        })
          .on("error", ({ message }) => resolve({ how: `no head: ${message}`, body: text }))
          .end(body);
      });
  }
  let session: ClientHttp2Session;
  let opened = 0;
  return (headers) =>
    new Promise((resolve) => {
      if (opened++ % streamsPerSession === 0) session = connectH2(url, tls).on("error", () => {});
      const stream = session.request({ ":method": "POST", ":path": "/v1/chat/completions", ...headers });
      let text = "";
      stream.on("data", (chunk: Buffer) => (text += chunk.toString()));
      stream.on("error", () => {});
      stream.on("close", () => resolve({ how: stream.rstCode === 0 ? "end" : `reset by ${stream.rstCode}`, body: text }));
      stream.end(body);
    });
}

const isWhole = ({ body }: Ending): boolean => body.endsWith("[DONE]\n\n") && chunksOf(body).length === tokens + 2;

/** Streams that were begun, those that have ended by now too. */
async function begunOf(server: Serving): Promise<number> {
  const { url } = server.listening.find(({ protocol }) => protocol === "h1")!;
  const text = await (await fetch(`${url}/metrics`)).text();
  let begun = 0;
  for (const [, value] of text.matchAll(/^(?:vllm:num_requests_running|vllm:request_success_total)\{.*\} (\d+)$/gm)) begun += Number(value);
  return begun;
}

describe.each(engines.flatMap(({ h1, h2 }) => ["1", "2"].map((workers) => ({ h1, h2, workers }))))(
  "h1 on $h1, h2 on $h2, $workers worker(s)",
  ({ h1, h2, workers }) => {
    test("SIGTERM under 1,000 streams: 500 finish, 500 are cut as their protocol has it, exit 0", { timeout: 60_000 }, async () => {
      const server = await serve([
        "--protocol",
        "h1:0,h1s:0,h2c:0,h2:0",
        "--h1-engine",
        h1,
        "--h2-engine",
        h2,
        "--workers",
        workers,
        "--grace",
        String(graceMs),
      ]);
      const endings = server.listening.map(({ protocol }) => {
        const open = openerOf(server, protocol);
        return Promise.all(Array.from({ length: streams }, (_, index) => open(index % 2 === 0 ? short : long)));
      });
      await eventually(async () => (await begunOf(server)) === 4 * streams, "all are begun", 30_000);
      const beganMs = performance.now();
      const { code, signal, stderr } = await server.stop();
      const tookMs = performance.now() - beganMs;
      for (const [index, { protocol }] of server.listening.entries()) {
        const seen: Record<string, number> = {};
        for (const [at, ending] of (await endings[index]!).entries()) {
          const key = `${at % 2 === 0 ? "short" : "long"}: ${isWhole(ending) ? "whole, " : ""}${ending.how}`;
          seen[key] = (seen[key] ?? 0) + 1;
        }
        const cut = protocol.startsWith("h2") ? `reset by ${constants.NGHTTP2_INTERNAL_ERROR}` : "aborted";
        expect([protocol, seen]).toEqual([protocol, { "short: whole, end": streams / 2, [`long: ${cut}`]: streams / 2 }]);
      }
      expect([code, signal, stderr]).toEqual([0, null, ""]);
      expect(tookMs).toBeGreaterThan(graceMs - 100);
      expect(tookMs).toBeLessThan(graceMs + 3000);
    });
  },
);
