/** Clients that leave, and neighbours on the same connection that stay. */
import { request as httpRequest } from "node:http";
import { connect } from "node:http2";
import { request as httpsRequest } from "node:https";
import { describe, expect, test } from "vitest";
import type { StreamRecord } from "../../src/base/parent-channel.ts";
import { chat, chunksOf } from "../support/chat.ts";
import { openHttp3 } from "../support/http3-client.ts";
import { start, type Started, targets } from "../support/targets.ts";
import { eventually, sleep } from "../support/wait.ts";

const plannedBase = 10_000;
const itlUs = 10_000;
/** H3_REQUEST_CANCELLED (RFC 9114, section 8.1). */
const requestCancelled = 0x10c;

/** Opens a stream; `onToken` is told how many tokens were read, and may cut. Resolves with the body when it is over. */
type Open = (headers: Readonly<Record<string, string>>, onToken: (read: number, cut: () => void) => void) => Promise<string>;

function opener(running: Started): { readonly open: Open; readonly close: () => void } {
  const { origin, target } = running;
  const body = JSON.stringify(chat({ stream: true }));
  const counting = (onToken: Parameters<Open>[1], cut: () => void): ((chunk: Buffer) => string) => {
    let text = "";
    return (chunk) => {
      text += chunk.toString();
      onToken(text.split('"content":"').length - 2, cut);
      return text;
    };
  };
  if (target.client === "h2") {
    const session = connect(origin, { rejectUnauthorized: false });
    session.on("error", () => {});
    return {
      open: (headers, onToken) =>
        new Promise((resolve) => {
          const stream = session.request({ ":method": "POST", ":path": "/v1/chat/completions", ...headers });
          let text = "";
          const count = counting(onToken, () => stream.close(8));
          stream.on("error", () => {});
          stream.on("data", (chunk: Buffer) => (text = count(chunk)));
          stream.on("close", () => resolve(text));
          stream.end(body);
        }),
      close: () => session.destroy(),
    };
  }
  if (target.client === "h3") {
    const session = openHttp3(origin);
    return {
      open: async (headers, onToken) => {
        const opened = await session;
        return new Promise((resolve) => {
          const stream = opened.request({
            ":method": "POST",
            ":scheme": "https",
            ":authority": "localhost",
            ":path": "/v1/chat/completions",
            ...headers,
          });
          let text = "";
          const count = counting(onToken, () => stream.close(requestCancelled));
          stream.on("error", () => {});
          stream.on("data", (chunk: Buffer) => (text = count(chunk)));
          stream.on("close", () => resolve(text));
          stream.end(body);
        });
      },
      close: () => void session.then((opened) => opened.close()),
    };
  }
  const send = origin.startsWith("https:") ? httpsRequest : httpRequest;
  return {
    open: (headers, onToken) =>
      new Promise((resolve) => {
        let text = "";
        const request = send(
          `${origin}/v1/chat/completions`,
          { method: "POST", headers, agent: false, rejectUnauthorized: false },
          (response) => {
            const count = counting(onToken, () => request.destroy());
            response.on("error", () => {});
            response.on("data", (chunk: Buffer) => (text = count(chunk)));
            response.on("close", () => resolve(text));
          },
        );
        request.on("error", () => {});
        request.end(body);
      }),
    close: () => {},
  };
}

describe.each(targets)("$name", (target) => {
  test("tokens read <= tokens counted, none early and none after the abort was noticed; who stays is not disturbed", async () => {
    const running = await start(target, { ttft: 20, itl: itlUs / 1000 });
    const { streamLog } = running.server;
    streamLog.begin();
    const { open, close } = opener(running);
    const read: number[] = [];
    const leaving = Array.from({ length: 30 }, (_, client) =>
      open({ "x-fakeai-output-tokens": String(plannedBase + client), "x-client-request-id": String(client) }, (tokens, cut) => {
        // The chunk that reaches the token may hold more; afterwards nothing is read.
        if (read[client] !== undefined || tokens < 1 + ((client * 7) % 25)) return;
        read[client] = tokens;
        cut();
      }),
    );
    const staying = Array.from({ length: 10 }, () => open({ "x-fakeai-output-tokens": "60" }, () => {}));
    for (const body of await Promise.all(staying)) expect(chunksOf(body)).toHaveLength(62);
    await Promise.all(leaving);
    await eventually(() => running.server.stats().abortedStreams === 30, "every abort is noticed");
    const left = (): readonly StreamRecord[] => streamLog.read()!.streams.filter(({ key }) => key !== null);
    const noticed = left();
    expect(noticed).toHaveLength(30);
    let sent = 0;
    for (const { key, planned, dueUs, sentUs } of noticed) {
      expect(planned).toBe(plannedBase + Number(key));
      expect(read[Number(key)]).toBeLessThanOrEqual(sentUs.length);
      expect(sentUs.every((us, token) => us >= dueUs[token]!)).toBe(true);
      sent += sentUs.length;
    }
    await sleep((10 * itlUs) / 1000);
    expect(left().map(({ sentUs }) => sentUs.length)).toEqual(noticed.map(({ sentUs }) => sentUs.length));
    const { body } = await running.ask({ path: "/metrics" });
    expect(body).toContain(`\nfakeai_aborted_tokens_sent_total ${sent}\n`);
    expect(body).toContain(`\nfakeai_aborted_tokens_planned_total ${30 * plannedBase + (29 * 30) / 2}\n`);
    expect(running.server.stats()).toMatchObject({ abortedStreams: 30, finishedStreams: 10, running: 0 });
    close();
    await running.stop();
  });

  test("a request that fails leaves its connection and its neighbours alone", async () => {
    const running = await start(target, { itl: 10, outputTokens: 30, maxJsonDepth: 16, maxBody: 5000 });
    const { open, close } = opener(running);
    const staying = Array.from({ length: 4 }, () => open({}, () => {}));
    const statuses: number[] = [];
    for (const body of [{}, "{", "x".repeat(6000), "[".repeat(50), chat({ stream: 1 })])
      statuses.push((await running.ask({ body })).status);
    statuses.push((await running.ask({ path: "/nowhere" })).status, (await running.ask({ body: chat() })).status);
    expect(statuses).toEqual([400, 400, 413, 400, 400, 404, 200]);
    for (const body of await Promise.all(staying)) expect(chunksOf(body)).toHaveLength(32);
    close();
    await running.stop();
  });
});

const h2cTargets = targets.filter(({ protocol }) => protocol === "h2c");
test.each(h2cTargets)("beyond --max-buffer the streams of $name that have waited longest are cut, and nobody else", async (h2c) => {
  const running = await start(h2c, { maxBuffer: "400kb", outputTokens: 20_000, stallTimeout: 20_000 });
  const session = connect(running.origin, { settings: { initialWindowSize: 0 } });
  session.on("error", () => {});
  const stalled = Array.from({ length: 12 }, () => {
    const stream = session.request({ ":method": "POST", ":path": "/v1/chat/completions" });
    stream.on("error", () => {});
    stream.end(JSON.stringify(chat({ stream: true })));
    return stream;
  });
  await eventually(() => running.server.stats().abortedStreams > 0, "some are cut");
  const other = await running.ask({ body: chat({ stream: true }) });
  expect(chunksOf(other.body)).toHaveLength(20_002);
  const { abortedStreams } = running.server.stats();
  expect(abortedStreams).toBeLessThan(12);
  const { body } = await running.ask({ path: "/metrics" });
  expect(Number(/bound="buffers-full"} (\d+)/.exec(body)![1])).toBe(abortedStreams);
  expect(Number(/^fakeai_buffered_bytes (\d+)/m.exec(body)![1])).toBeLessThanOrEqual(400 * 1024);
  expect(stalled.slice(0, abortedStreams).every((stream) => stream.destroyed || stream.closed)).toBe(true);
  session.destroy();
  await running.stop();
});
