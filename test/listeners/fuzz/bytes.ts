/** Bytes of whole connections: good ones in which something was changed, below what a client library lets through. */
import { flag, frame, preface } from "../../../src/wire/h2/frames.ts";
import { HpackEncoder } from "../../../src/wire/h2/hpack.ts";
import type { Dice } from "./dice.ts";
import { injectedHeader } from "./values.ts";

/** What a connection speaks. */
export type Wire = "http/1.1" | "h2" | "ws";

/** What is written to a connection of its own, which is then cut. */
export interface BytesCase {
  readonly kind: "bytes";
  readonly category: "connections";
  readonly endpoint: "connections";
  /** Written one after the other, with a turn of the event loop between. */
  bytes(wire: Wire): readonly Buffer[];
}

const body = JSON.stringify({ model: "gpt-4o", messages: [{ role: "user", content: "Hello there" }], stream: true });
const post = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
const requests: readonly string[] = [
  "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
  `${post}Content-Length: ${body.length}\r\n\r\n${body}`,
  `${post}Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
  `${post}Content-Length: ${body.length}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n${body}`,
  "HEAD /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n",
];
const tokens: readonly string[] = [
  "\r\n", "\n", "\r", "\0", " ", "\t", ":", ";", "\r\n\r\n", "\r\n ", "Transfer-Encoding: chunked\r\n", "Transfer-Encoding: gzip, chunked\r\n", "Content-Length: 5\r\n",
  "Content-Length: -1\r\n", "Content-Length: 99999999999999999999\r\n", "Host: a\r\n", "Connection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\n", "Upgrade: websocket\r\n", "0\r\n\r\n", "ffffffffffffffff\r\n",
  "1;a=b\r\n", "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1.1 HTTP/1.1", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET ", "CONNECT ", "a".repeat(20_000), `a: ${"b".repeat(15_000)}\r\n`, "a: b\r\n".repeat(300),
  `${injectedHeader}: 1\r\n`, "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", "\xff\xff\xff\xff", "%00", "http://x/", "*",
]; // oxfmt-ignore

/** Changes one place, in one of the ways in which bytes go wrong. */
function mutated(dice: Dice, bytes: Buffer): Buffer {
  const at = dice.below(bytes.length + 1);
  const to = Math.min(bytes.length, at + dice.size(1, Math.max(2, bytes.length)));
  switch (dice.below(7)) {
    case 0: {
      const copy = Buffer.from(bytes);
      if (copy.length > 0) copy[Math.min(at, copy.length - 1)] = dice.below(256);
      return copy;
    }
    case 1:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(to)]);
    case 2:
      return Buffer.concat([bytes.subarray(0, to), bytes.subarray(at)]);
    case 3:
      return bytes.subarray(0, at);
    case 4: {
      const copy = Buffer.from(bytes);
      if (copy.length > 0) copy[Math.min(at, copy.length - 1)]! ^= 1 << dice.below(8);
      return copy;
    }
    default:
      return Buffer.concat([bytes.subarray(0, at), Buffer.from(dice.pick(tokens), "latin1"), bytes.subarray(dice.oneIn(2) ? at : to)]);
  }
}

function h1Connection(dice: Dice): Buffer {
  let bytes = Buffer.from(Array.from({ length: dice.pick([1, 1, 2, 3]) }, () => dice.pick(requests)).join(""), "latin1");
  for (let times = dice.between(1, 6); times > 0; times--) bytes = Buffer.from(mutated(dice, bytes));
  return bytes;
}

function frameOf(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream >>> 0, 5);
  return Buffer.concat([head, payload]);
}

function headerBlock(fields: readonly (readonly [string, string])[]): Buffer {
  const encoder = new HpackEncoder();
  for (const [name, value] of fields) encoder.field(name, value, "without");
  return Buffer.from(encoder.take());
}

const pseudo = (method: string, path: string): (readonly [string, string])[] => [
  [":method", method],
  [":scheme", "http"],
  [":authority", "localhost"],
  [":path", path],
];
const uint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
};

/** A session that asks twice, frame by frame. */
function goodFrames(dice: Dice): Buffer[] {
  const stream = (n: number): number => n * 2 + 1;
  const ask = (id: number): Buffer[] => [
    frameOf(
      frame.headers,
      flag.endHeaders,
      id,
      headerBlock([...pseudo("POST", "/v1/chat/completions"), ["x-fakeai-itl", dice.pick(["0", "1", "20"])]]),
    ),
    frameOf(frame.data, flag.endStream, id, Buffer.from(body)),
  ];
  const first = [
    frameOf(frame.settings, 0, 0, Buffer.concat([Buffer.from([0, 4]), uint32(dice.pick([65_535, 0, 1, 2 ** 31 - 1]))])),
    ...ask(stream(0)),
  ];
  const extras = [
    () => frameOf(frame.headers, flag.endHeaders | flag.endStream, stream(2), headerBlock(pseudo("GET", "/v1/models"))),
    () => frameOf(frame.ping, 0, 0, Buffer.alloc(8)),
    () => frameOf(frame.windowUpdate, 0, dice.pick([0, 1, 3]), uint32(dice.pick([0, 1, 65_535, 2 ** 31 - 1, 2 ** 32 - 1]))),
    () => frameOf(frame.reset, 0, stream(dice.below(3)), uint32(dice.pick([0, 8, 2, 0xffffffff]))),
    () => frameOf(frame.priority, 0, 1, Buffer.from([0, 0, 0, dice.below(4), 16])),
    () =>
      frameOf(
        frame.settings,
        dice.pick([0, flag.ack]),
        0,
        dice.oneIn(2)
          ? Buffer.alloc(0)
          : Buffer.concat([Buffer.from([0, dice.between(0, 9)]), uint32(dice.pick([0, 1, 100, 16_384, 2 ** 24, 2 ** 32 - 1]))]),
      ),
    () => frameOf(frame.goaway, 0, 0, Buffer.concat([uint32(0), uint32(0)])),
    () => frameOf(frame.continuation, flag.endHeaders, 1, headerBlock([["a", "b"]])),
    () =>
      frameOf(
        frame.data,
        dice.pick([0, flag.endStream, flag.padded]),
        stream(dice.below(4)),
        Buffer.from(body.slice(0, dice.below(body.length))),
      ),
    () => frameOf(dice.below(256), dice.below(256), dice.below(2 ** 31), Buffer.alloc(dice.size(1, 2000), dice.below(256))),
    () =>
      frameOf(
        frame.headers,
        flag.endHeaders,
        dice.pick([2, 0, 0x7fff_ffff, stream(3)]),
        headerBlock([
          ...pseudo(dice.pick(["GET", "POST", "CONNECT", ""]), dice.pick(["/health", "", "*", "/v1/chat/completions"])),
          [
            dice.pick(["a", "A", "", "connection", "te", "content-length", ":path", "cookie"]),
            dice.pick(["", "b", "\0", "a\r\nb", "x".repeat(20_000)]),
          ],
        ]),
      ),
    () => Buffer.concat(ask(stream(dice.between(1, 5)))),
  ];
  return [...first, ...Array.from({ length: dice.between(0, 8) }, () => dice.pick(extras)())];
}

function h2Connection(dice: Dice): Buffer[] {
  const frames = goodFrames(dice);
  for (let times = dice.between(0, 4); times > 0; times--) {
    const at = dice.below(frames.length);
    switch (dice.below(5)) {
      case 0:
        frames.splice(at, 1);
        break;
      case 1:
        frames.splice(at, 0, frames[dice.below(Math.max(1, frames.length))] ?? Buffer.alloc(0));
        break;
      case 2:
        frames.push(...frames.splice(at, 1));
        break;
      case 3: {
        // A byte of the frame's head, or of the rest.
        const copy = Buffer.from(frames[at] ?? Buffer.alloc(9));
        copy[dice.below(dice.oneIn(2) ? Math.min(9, copy.length) : copy.length)] = dice.below(256);
        frames[at] = copy;
        break;
      }
      default:
        frames[at] = Buffer.from(mutated(dice, frames[at] ?? Buffer.alloc(0)));
    }
    if (frames.length === 0) break;
  }
  const all = [dice.oneIn(12) ? Buffer.from(mutated(dice, preface)) : preface, ...frames];
  return dice.oneIn(2) ? [Buffer.concat(all)] : all;
}

const handshake =
  "GET /v1/responses HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const create = JSON.stringify({ type: "response.create", model: "gpt-4o", input: "Hello there" });

/** A frame of a client (RFC 6455, section 5.2); most are sane. */
function webSocketFrame(dice: Dice): Buffer {
  const payload = Buffer.from(
    dice.pick([
      create,
      create,
      "",
      "{",
      create.slice(0, dice.below(create.length)),
      "\x03\xe8bye",
      "x".repeat(dice.size(1, 70_000)),
      '{"type":"response.cancel"}',
    ]),
    "latin1",
  );
  const first = dice.oneIn(4) ? dice.below(256) : 0x80 | dice.pick([1, 1, 1, 2, 8, 9, 10]);
  const length = dice.oneIn(8) ? dice.size(1, 2 ** 31) : payload.length;
  const masked = dice.oneIn(8) ? 0 : 0x80;
  const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  head[0] = first;
  head[1] = masked | (length < 126 ? length : length < 65_536 ? 126 : 127);
  if (head.length === 4) head.writeUInt16BE(length, 2);
  else if (head.length === 10) head.writeBigUInt64BE(dice.oneIn(8) ? 2n ** 63n : BigInt(length), 2);
  // A mask of zeros leaves the payload as it is.
  return Buffer.concat([head, Buffer.alloc(masked === 0 ? 0 : 4), payload]);
}

function webSocketConnection(dice: Dice): Buffer[] {
  const frames = Array.from({ length: dice.between(1, 6) }, () => webSocketFrame(dice));
  const at = dice.below(frames.length);
  if (dice.oneIn(2)) frames[at] = mutated(dice, frames[at]!);
  const first = Buffer.from(handshake);
  return [dice.oneIn(12) ? mutated(dice, first) : first, ...(dice.oneIn(2) ? [Buffer.concat(frames)] : frames)];
}

export function hostileBytes(dice: Dice): BytesCase {
  return {
    kind: "bytes",
    category: "connections",
    endpoint: "connections",
    bytes: (wire) => {
      if (wire === "h2") return h2Connection(dice);
      if (wire === "ws") return webSocketConnection(dice);
      const bytes = h1Connection(dice);
      const cut = dice.below(bytes.length + 1);
      return dice.oneIn(2) ? [bytes] : [bytes.subarray(0, cut), bytes.subarray(cut)];
    },
  };
}
