/**
 * RFC 6455 frame by frame, on both engines: the cases of Autobahn's list that concern text (its own program is for Python 2). Cases
 * are named by their numbers there. What breaks the protocol ends the connection: on node's sockets with the code of section 7.4.1,
 * on uWebSockets.js, which ends the TCP connection, also without one.
 */
import { once } from "node:events";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startEcho } from "../support/echo.ts";
import { runnableTargets } from "../support/sockets.ts";

const text = 1;
const closing = 8;
const ping = 9;
const pong = 10;

interface Frame {
  readonly opcode: number;
  readonly payload: Buffer;
}

interface Options {
  readonly fin?: boolean;
  readonly rsv?: number;
  readonly masked?: boolean;
}

/** A client's frame (RFC 6455, section 5.2). */
function frame(opcode: number, payload: string | Buffer = "", { fin = true, rsv = 0, masked = true }: Options = {}): Buffer {
  const bytes = Buffer.from(payload);
  const first = (fin ? 128 : 0) | (rsv << 4) | opcode;
  const bit = masked ? 128 : 0;
  const { length } = bytes;
  const head =
    length < 126
      ? Buffer.from([first, bit | length])
      : length < 65_536
        ? Buffer.from([first, bit | 126, length >> 8, length & 255])
        : Buffer.from([first, bit | 127, 0, 0, 0, 0, (length >> 24) & 255, (length >> 16) & 255, (length >> 8) & 255, length & 255]);
  if (!masked) return Buffer.concat([head, bytes]);
  const mask = Buffer.from([1, 2, 3, 4]);
  return Buffer.concat([head, mask, bytes.map((byte, index) => byte ^ mask[index % 4]!)]);
}

const part = (opcode: number, payload: string | Buffer): Buffer => frame(opcode, payload, { fin: false });
const close = (code: number, reason: string | Buffer = ""): Buffer =>
  frame(closing, Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]));

function framesIn(bytes: Buffer): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at + 2 <= bytes.length;) {
    const short = bytes[at + 1]! & 127;
    const [length, head] =
      short < 126 ? [short, 2] : short === 126 ? [bytes.readUInt16BE(at + 2), 4] : [Number(bytes.readBigUInt64BE(at + 2)), 10];
    if (at + head + length > bytes.length) break;
    frames.push({ opcode: bytes[at]! & 15, payload: bytes.subarray(at + head, at + head + length) });
    at += head + length;
  }
  return frames;
}

/** Sends pieces, each in a write of its own, and collects frames until the server ends the connection or `enough` is there. */
async function exchange(
  port: number,
  pieces: readonly Buffer[],
  enough: (frames: readonly Frame[]) => boolean,
): Promise<{ frames: Frame[]; ended: boolean }> {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  socket.on("error", () => {});
  let got = Buffer.alloc(0);
  let headEnd = -1;
  let ended = false;
  let wake = (): void => {};
  socket.on("data", (chunk: Buffer) => {
    got = Buffer.concat([got, chunk]);
    if (headEnd < 0) headEnd = got.indexOf("\r\n\r\n");
    wake();
  });
  socket.on("close", () => {
    ended = true;
    wake();
  });
  socket.on("end", () => wake());
  const until = async (done: () => boolean): Promise<void> => {
    const deadlineMs = performance.now() + 4000;
    const isOver = (): boolean => ended || done();
    while (!isOver()) {
      if (performance.now() > deadlineMs)
        throw new Error(
          `nothing more: ${got
            .subarray(headEnd + 4)
            .toString("hex")
            .slice(0, 100)}`,
        );
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 100);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  };
  await once(socket, "connect");
  socket.write(
    "GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
  );
  await until(() => headEnd >= 0);
  expect(got.toString("latin1")).toMatch(/^HTTP\/1\.1 101 [\s\S]*sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=/i);
  for (const piece of pieces) socket.write(piece);
  const frames = (): Frame[] => framesIn(got.subarray(headEnd + 4));
  await until(() => enough(frames()));
  socket.destroy();
  return { frames: frames(), ended };
}

const bytewise = (bytes: Buffer): Buffer[] => Array.from({ length: bytes.length }, (_, at) => bytes.subarray(at, at + 1));
const mark = "\u03ba\u1f79\u03c3\u03bc\u03b5 \u{1f600}";
const marked = Buffer.from(mark);

/** What is sent, and the texts that come back. */
const echoed: readonly [string, Buffer[], string[]][] = [
  ["1.1.1 an empty message", [frame(text)], [""]],
  ...[125, 126, 127, 128, 65_535, 65_536].map((length): [string, Buffer[], string[]] => [
    `1.1 ${length} bytes`,
    [frame(text, "*".repeat(length))],
    ["*".repeat(length)],
  ]),
  [
    "1.1.8 65,536 bytes in pieces",
    Array.from({ length: 66 }, (_, at) => frame(text, "*".repeat(65_536)).subarray(at * 997, (at + 1) * 997)),
    ["*".repeat(65_536)],
  ],
  ["2.7 a pong that was not asked for", [frame(pong), frame(text, "a")], ["a"]],
  ["2.8 one with a payload", [frame(pong, "unsolicited"), frame(text, "a")], ["a"]],
  ["5.3 two fragments", [part(text, "one "), frame(0, "two")], ["one two"]],
  ["5.4 in one write", [Buffer.concat([part(text, "one "), frame(0, "two")])], ["one two"]],
  ["5.5 byte by byte", bytewise(Buffer.concat([part(text, "one "), frame(0, "two")])), ["one two"]],
  ["5.6 a ping between fragments", [part(text, "one "), frame(ping, "p"), frame(0, "two")], ["one two"]],
  [
    "5.19 pings between five fragments",
    [part(text, "1"), part(0, "2"), frame(ping, "p"), part(0, "3"), part(0, "4"), frame(ping, "q"), frame(0, "5")],
    ["12345"],
  ],
  ["6.1.1 an empty fragment alone", [part(text, ""), part(0, ""), frame(0, "")], [""]],
  ["6.2.1 text beyond ASCII", [frame(text, mark)], [mark]],
  ["6.2.3 a fragment for each byte", [...bytewise(marked).map((byte, at) => part(at === 0 ? text : 0, byte)), frame(0, "")], [mark]],
  [
    "6.5 the first and last code points of each length",
    [frame(text, "\u0000\u007f\u0080\u07ff\u0800\uffff\u{10000}\u{10ffff}")],
    ["\u0000\u007f\u0080\u07ff\u0800\uffff\u{10000}\u{10ffff}"],
  ],
];

/** Closing handshakes, and the code that comes back; null: none. */
const handshakes: readonly [string, Buffer, number | null][] = [
  ["7.1.1 with a code", close(1000, "bye"), 1000],
  ["7.3.1 without one", frame(closing), null],
  ["7.3.5 with the longest reason", close(1000, "*".repeat(123)), 1000],
  ...[1001, 1002, 1003, 1007, 1011, 3000, 4999].map((code): [string, Buffer, number | null] => [`7.7 ${code}`, close(code), code]),
];

/** What ends the connection, and the code of it. */
const broken: readonly [string, Buffer[], number][] = [
  ["2.5 a ping of 126 bytes", [frame(ping, "*".repeat(126))], 1002],
  ["3.1 a reserved bit", [frame(text, "a", { rsv: 1 })], 1002],
  ["3.2 another one after a message", [frame(text, "a"), frame(text, "b", { rsv: 2 })], 1002],
  ["3.7 all of them in a close", [frame(closing, "", { rsv: 7 })], 1002],
  ...[3, 4, 5, 6, 7].map((opcode): [string, Buffer[], number] => [`4.1 opcode ${opcode}`, [frame(opcode, "a")], 1002]),
  ...[11, 12, 13, 14, 15].map((opcode): [string, Buffer[], number] => [`4.2 opcode ${opcode}`, [frame(opcode)], 1002]),
  ["5.1 a ping in fragments", [part(ping, "a"), frame(0, "b")], 1002],
  ["5.2 a pong in fragments", [part(pong, "a"), frame(0, "b")], 1002],
  ["5.9 a continuation of nothing", [frame(0, "a"), frame(text, "b")], 1002],
  ["5.11 after a message", [frame(text, "a"), part(0, "b")], 1002],
  ["5.18 a new message among fragments", [part(text, "a"), frame(text, "b")], 1002],
  ["6.3.1 no UTF-8", [frame(text, Buffer.concat([marked, Buffer.from([0xed, 0xa0, 0x80]), Buffer.from("edited")]))], 1007],
  ["6.3.2 in fragments", [part(text, marked), frame(0, Buffer.from([0xed, 0xa0, 0x80]))], 1007],
  ...["f8888080", "c0af", "e080af", "eda080", "f4908080", "80", "ff", "ce"].map((hex): [string, Buffer[], number] => [
    `6 ${hex}`,
    [frame(text, Buffer.from(hex, "hex"))],
    1007,
  ]),
  ["7.3.2 a close of one byte", [frame(closing, "a")], 1002],
  ["7.3.6 a reason that is too long", [close(1000, "*".repeat(124))], 1002],
  ["7.5.1 a reason that is no UTF-8", [close(1000, Buffer.from([0xce, 0xba, 0xed, 0xa0, 0x80]))], 1007],
  ...[0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535].map((code): [string, Buffer[], number] => [
    `7.9 code ${code}`,
    [close(code)],
    1002,
  ]),
  ["a frame without a mask (section 5.1)", [frame(text, "a", { masked: false })], 1002],
];

const textsOf = (frames: readonly Frame[]): string[] =>
  frames.filter(({ opcode }) => opcode === text).map(({ payload }) => payload.toString());

describe.each(runnableTargets.filter(({ protocol }) => protocol === "ws"))("$engine", ({ engine }) => {
  let server: Awaited<ReturnType<typeof startEcho>>;
  beforeAll(async () => {
    server = await startEcho(engine, false);
  });
  afterAll(() => server.close());

  test.each(echoed)("%s", async (_name, pieces, texts) => {
    const { frames } = await exchange(server.port, pieces, (found) => textsOf(found).length === texts.length);
    expect(textsOf(frames)).toEqual(texts);
  });

  test.each([0, 1, 125])("2 a ping of %d bytes gets its pong", async (length) => {
    const payload = Buffer.alloc(length, 0xfe);
    const { frames } = await exchange(server.port, [frame(ping, payload)], (found) => found.length === 1);
    expect(frames).toEqual([{ opcode: pong, payload }]);
  });

  test("2.10 ten pings, ten pongs in their order", async () => {
    const payloads = Array.from({ length: 10 }, (_, index) => `ping ${index}`);
    const { frames } = await exchange(
      server.port,
      [Buffer.concat(payloads.map((payload) => frame(ping, payload)))],
      (found) => found.length === 10,
    );
    expect(frames.map(({ opcode, payload }) => [opcode, payload.toString()])).toEqual(payloads.map((payload) => [pong, payload]));
  });

  test.each(handshakes)("%s", async (_name, sent, code) => {
    const { frames } = await exchange(server.port, [frame(text, "a"), sent, frame(text, "ignored")], () => false);
    expect(textsOf(frames)).toEqual(["a"]);
    const last = frames.at(-1)!;
    expect(last.opcode).toBe(closing);
    // uWebSockets.js takes codes from 1012 to 3999 for none.
    const answered = engine === "uws" && code === 3000 ? null : code;
    expect(last.payload.length === 0 ? null : last.payload.readUInt16BE(0)).toBe(answered);
  });

  test.each(broken)("%s", async (_name, pieces, code) => {
    const { frames, ended } = await exchange(server.port, [...pieces, frame(text, "after")], () => false);
    expect(ended).toBe(true);
    expect(textsOf(frames)).not.toContain("after");
    const last = frames.find(({ opcode }) => opcode === closing);
    if (engine === "node") expect(last?.payload.readUInt16BE(0)).toBe(code);
    else if (last !== undefined && last.payload.length > 0) expect([code, 1002, 1006]).toContain(last.payload.readUInt16BE(0));
  });
});
