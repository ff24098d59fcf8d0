/** Clients of HTTP/2 that do anything and then leave: the server must not count them any more. */
import { connect, type Socket } from "node:net";
import { connect as connectHttp2 } from "node:http2";
import { connect as connectTls } from "node:tls";
import { describe, expect, test } from "vitest";
import { createServer } from "../../src/index.ts";
import { errorCode, frame } from "../../src/wire/h2/frames.ts";
import { FrameReader } from "../../src/wire/h2/reader.ts";
import { FrameWriter } from "../../src/wire/h2/writer.ts";
import { eventually } from "../support/wait.ts";
import { type Http2Protocol, isNothing, leftBehind, leftOn } from "./sessions/play.ts";
import { shrunk } from "./sessions/shrink.ts";
import { bytesOf, endings, paths, randomSession, type Session, type Step } from "./sessions/steps.ts";

const request: Step = { do: "request", id: 1, method: "POST", path: 0, headers: { "x-fakeai-ttft": "60000" }, ends: false, continued: 0 };
const body: Step = { do: "body", id: 1, from: 0, to: 1, ends: true, pads: 0 };
/** DATA on a stream that was never opened: a connection error (RFC 9113, section 5.1). */
const dataOnIdleStream: Step = { do: "data", id: 99, bytes: 1, ends: true };
const protocols: readonly Http2Protocol[] = ["h2c", "h2"];

describe.each(protocols.flatMap((protocol) => (["node", "own"] as const).map((h2Engine) => [protocol, h2Engine] as const)))(
  "%s on %s",
  (protocol, h2Engine) => {
    // Found by the sessions at random, and shrunk: the engine sent GOAWAY and read no more, so that it never saw the client leave.
    test.each(endings)("a stream beside a frame that ends the session, then %s", async (ending) => {
      const session: Session = { steps: [request, body, dataOnIdleStream], ending, atOnce: false };
      expect(await leftBehind([session, { ...session, steps: [dataOnIdleStream] }], protocol, h2Engine)).toBeNull();
    });

    test("sessions at random", { timeout: 60_000 }, async () => {
      const sessions = Array.from({ length: 180 }, (_, index) => randomSession(2000 + index));
      for (let from = 0; from < sessions.length; from += 60) {
        expect(
          await leftBehind(sessions.slice(from, from + 60), protocol, h2Engine),
          `sessions of seeds ${2000 + from} to ${2059 + from}`,
        ).toBeNull();
      }
    });

    test("a session that the engine has ended is closed, also while its client stays", async () => {
      await using server = await createServer({ protocol: `${protocol}:0`, h2Engine, ttft: 60_000 });
      const port = Number(new URL(server.urls[protocol]!).port);
      const socket: Socket =
        protocol === "h2" ? connectTls({ port, rejectUnauthorized: false, ALPNProtocols: ["h2"] }) : connect(port, "127.0.0.1");
      const writer = new FrameWriter();
      writer.preface();
      writer.settings([]);
      socket.on("error", () => {});
      const closed = new Promise((resolve) => socket.once("close", resolve));
      socket.write(Buffer.concat([writer.take(), ...[request, body, dataOnIdleStream].map((step) => bytesOf(step, Buffer.alloc(0)))]));
      socket.resume();
      const beganMs = performance.now();
      await closed;
      // A PING leaves every two seconds, and is missed half a second later. Without that, the stall time-out of 8 s ends it.
      expect(performance.now() - beganMs).toBeLessThan(5000);
      await eventually(() => isNothing(leftOn(server)), "nothing is counted");
      expect(server.stats().abortedStreams).toBe(1);
    });
  },
);

describe("a frame behind the end of its request, in a TLS record of its own", () => {
  const late: readonly Step[] = [
    { do: "data", id: 1, bytes: 1, ends: true },
    { do: "trailers", id: 1, ends: true },
  ];
  // The request fills the first record. As h2spec has it in 5.1/5, 5.1/6 and 6.1/2.
  const answered = late.flatMap((step) => [3, 4].map((path) => ({ step, path, what: step.do, where: paths[path]! })));
  test.each(answered)("$what behind $where: STREAM_CLOSED or the end of the connection", async ({ step, path }) => {
    await using server = await createServer({ protocol: "h2:0" });
    const port = Number(new URL(server.urls.h2!).port);
    const socket = connectTls({ port, rejectUnauthorized: false, ALPNProtocols: ["h2"] });
    socket.on("error", () => {});
    await new Promise((resolve) => socket.once("secureConnect", resolve));
    let type = 0;
    const isRefused = new Promise<boolean>((resolve) => {
      const reader = new FrameReader(
        {
          onFrame: (kind) => {
            type = kind;
            return true;
          },
          onData: () => {},
          onMalformed: () => {},
          onFrameEnd: (_type, bytes, start) => {
            if (type === frame.reset) resolve(bytes.readUInt32BE(start) === errorCode.streamClosed);
            else if (type === frame.goaway) resolve(bytes.readUInt32BE(start + 4) === errorCode.streamClosed);
          },
        },
        "server",
      );
      socket.on("data", (chunk) => reader.read(chunk, 0, chunk.length));
      socket.once("close", () => resolve(true));
      setTimeout(() => resolve(false), 1000);
    });
    const writer = new FrameWriter();
    writer.preface();
    writer.settings([]);
    const nothing = Buffer.alloc(0);
    const head: Step = { do: "request", id: 1, method: "GET", path, headers: { "x-fill": "" }, ends: true, continued: 0 };
    const opening = writer.take();
    const recordBytes = 512;
    // Two more bytes tell the length of a value as long as this, whose characters take eight bits each in Huffman's code too.
    const fill = recordBytes - opening.length - bytesOf(head, nothing).length - 2;
    const filled = bytesOf({ ...head, headers: { "x-fill": "Z".repeat(fill) } }, nothing);
    socket.setMaxSendFragment(recordBytes);
    expect(opening.length + filled.length).toBe(recordBytes);
    socket.write(Buffer.concat([opening, filled, bytesOf(step, nothing)]));
    expect(await isRefused).toBe(true);
    socket.destroy();
  });
});

test("a failing session is shrunk to what makes it fail", async () => {
  const session: Session = {
    steps: [
      { do: "ping", ack: false },
      { ...request, headers: { "x-fakeai-itl": "1" }, continued: 3 },
      body,
      dataOnIdleStream,
      body,
      { do: "settings-ack" },
    ],
    ending: "end",
    atOnce: false,
  };
  const smallest = await shrunk(session, ({ steps }) =>
    Promise.resolve(steps.some((step) => step.do === "request") && steps.includes(dataOnIdleStream)),
  );
  expect(smallest.steps).toEqual([{ ...request, headers: {} }, dataOnIdleStream]);
});

describe("the first bytes on a cleartext port", () => {
  const answerTo = async (first: readonly string[]): Promise<string> => {
    await using server = await createServer({ protocol: "h2c:0" });
    const socket = connect(Number(new URL(server.urls.h2c!).port), "127.0.0.1");
    socket.setNoDelay(true);
    socket.on("error", () => {});
    let answer = "";
    socket.on("data", (chunk) => (answer += chunk.toString("latin1")));
    const closed = new Promise((resolve) => socket.once("close", resolve));
    for (const part of first) {
      socket.write(part);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await closed;
    return answer.split("\r\n")[0]!;
  };

  test.each([
    [["GET / HTTP/1.1\r\nHost: x\r\n\r\n"], "HTTP/1.1 505 HTTP Version Not Supported"],
    [["POST /v1/chat/comple", "tions HTTP/1.0\r\n\r\n"], "HTTP/1.1 505 HTTP Version Not Supported"],
    // As h2spec has it in 3.5/2: a preface that is not right is no request of HTTP/1.
    [["INVALID CONNECTION PREFACE\r\n\r\n"], ""],
    [["\u0000\u0001"], ""],
  ])("%j", async (first, answer) => {
    expect(await answerTo(first)).toBe(answer);
  });
});

describe("no count is taken from a client's numbers", () => {
  const ask = (session: ReturnType<typeof connectHttp2>, more: Readonly<Record<string, string>> = {}): Promise<number> =>
    new Promise((resolve, reject) => {
      const stream = session.request({ ":path": "/health", ...more });
      stream.on("response", ({ ":status": status }) => resolve(status!));
      stream.on("error", reject);
      stream.resume();
    });
  const boundsMet = async (origin: string): Promise<string[]> =>
    (await (await fetch(`${origin}/metrics`)).text()).split("\n").filter((line) => /^fakeai_bounds_met_total.* [1-9]/.test(line));

  test("a client may leave out ids of streams", async () => {
    await using server = await createServer({ protocol: ["h1:0", "h2c:0"] });
    const session = connectHttp2(server.urls.h2c!);
    await ask(session);
    // Not in the types of node.
    (session as typeof session & { setNextStreamID(id: number): void }).setNextStreamID(0x7ffffffd);
    expect(await ask(session)).toBe(200);
    session.close();
    expect(await boundsMet(server.urls.h1!)).toEqual([]);
  });

  test("a connection that has all the streams that it may have counts once", async () => {
    await using server = await createServer({ protocol: ["h1:0", "h2c:0"], maxConcurrentStreams: 2, ttft: 60_000 });
    const session = connectHttp2(server.urls.h2c!);
    await new Promise((resolve) => session.once("remoteSettings", resolve));
    for (let round = 0; round < 3; round++) await ask(session);
    expect(await boundsMet(server.urls.h1!)).toEqual([]);
    const hanging = session.request({ ":path": "/v1/chat/completions", ":method": "POST" });
    hanging.on("error", () => {});
    for (let round = 0; round < 3; round++) await ask(session);
    expect(await boundsMet(server.urls.h1!)).toEqual(['fakeai_bounds_met_total{protocol="h2c",engine="node",bound="stream-limit"} 1']);
    session.destroy();
  });
});
