/** HTTP/3 frames, QPACK and the peer's streams, without a socket. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  codeOf,
  controlOpening,
  errorCode,
  frame,
  frameOf,
  goawayFrame,
  putVarint,
  readVarint,
  setting,
  varintLength,
} from "../../../src/wire/h3/frames.ts";
import { PeerStreams } from "../../../src/wire/h3/peer-streams.ts";
import { decodeFields, encodeFields, QpackError, type Field } from "../../../src/wire/h3/qpack.ts";
import { FrameReader } from "../../../src/wire/h3/reader.ts";

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");
const fieldsOf = (bytes: Buffer, maxBytes = 65_536): { fields: Field[]; whole: boolean } => {
  const fields: Field[] = [];
  const whole = decodeFields(bytes, 0, bytes.length, maxBytes, (name, value) => fields.push([name, value]));
  return { fields, whole };
};

test.each([
  ["25", 37],
  ["4025", 37],
  ["7bbd", 15_293],
  ["9d7f3e7d", 494_878_333],
])("RFC 9000, appendix A.1: %s is %i", (bytes, value) => {
  expect(readVarint(hex(bytes), 0, bytes.length / 2)).toBe(value);
});

test("numbers come back, in their shortest form", () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), (value) => {
      const bytes = Buffer.alloc(8);
      const end = putVarint(bytes, 0, value);
      expect([end, readVarint(bytes, 0, end), readVarint(bytes, 0, end - 1)]).toEqual([varintLength(value), value, -1]);
    }),
  );
});

describe("QPACK", () => {
  test("RFC 9204, appendix B.1: a literal with a name of the static table", () => {
    expect(fieldsOf(hex("0000 510b 2f69 6e64 6578 2e68 746d 6c"))).toEqual({ fields: [[":path", "/index.html"]], whole: true });
  });
  test("fields come back", () => {
    const text = fc.string({ unit: fc.integer({ min: 0x20, max: 0xff }).map((code) => String.fromCharCode(code)), maxLength: 200 });
    const name = fc.oneof(fc.constantFrom(":status", "content-type", "x-fakeai-clock", "vary"), fc.stringMatching(/^[a-z-]{1,40}$/));
    fc.assert(
      fc.property(fc.array(fc.tuple(name, text)), (fields) => {
        expect(fieldsOf(encodeFields(fields), 1e9)).toEqual({ fields, whole: true });
      }),
    );
  });
  test("what a few bytes stand for is told up to the bound, and no further", () => {
    // Index 46 is "content-type: application/json", 28 octets and 32 that each field counts.
    const bomb = Buffer.concat([hex("0000"), Buffer.alloc(100_000, 0xc0 | 46)]);
    const { fields, whole } = fieldsOf(bomb, 600);
    expect([fields.length, whole]).toEqual([10, false]);
  });
  test.each([
    ["a dynamic entry", "0000 80"],
    ["a name of the dynamic table", "0000 4001 61"],
    ["an entry behind the base", "0000 10"],
    ["an insert count", "0100"],
    ["an index beyond the table", "0000 ff24"],
    ["a string that ends too early", "0000 2361"],
    ["no prefix", "00"],
    ["an integer without end", "0000 ff ffffffffffff7f"],
    ["bad padding of the Huffman code", "0000 5081 00"],
  ])("%s is refused", (_what, bytes) => {
    expect(() => fieldsOf(hex(bytes))).toThrow(QpackError);
  });
});

/** What a reader tells of bytes that come in these pieces. */
function readIn(pieces: readonly Buffer[]): { frames: [number, string][]; between: boolean } {
  const frames: [number, string][] = [];
  const reader = new FrameReader({
    onFrame: (type) => {
      frames.push([type, ""]);
      return type === frame.data ? "pieces" : type === frame.headers ? "whole" : "skip";
    },
    onPiece: (bytes, start, end) => (frames.at(-1)![1] += bytes.toString("hex", start, end)),
    onWhole: (_type, bytes, start, end) => (frames.at(-1)![1] = bytes.toString("hex", start, end)),
  });
  for (const piece of pieces) reader.read(piece, 0, piece.length);
  return { frames, between: reader.isBetween };
}

test("frames are the same however their bytes are cut", () => {
  const one = fc.tuple(fc.constantFrom(0, 1, 0x21, 70_000), fc.uint8Array({ maxLength: 300 }));
  fc.assert(
    fc.property(fc.array(one, { maxLength: 8 }), fc.array(fc.nat(400)), (given, cuts) => {
      const bytes = Buffer.concat(given.map(([type, payload]) => frameOf(type, payload)));
      const at = [...new Set(cuts.filter((cut) => cut < bytes.length))].sort((a, b) => a - b);
      const pieces = [...at, bytes.length].map((end, index) => bytes.subarray(at[index - 1] ?? 0, end));
      const expected = given.map(([type, payload]) => [type, type <= 1 ? Buffer.from(payload).toString("hex") : ""]);
      expect(readIn(pieces)).toEqual({ frames: expected, between: true });
      if (bytes.length > 0) expect(readIn([bytes.subarray(0, -1)]).between).toBe(false);
    }),
  );
});

describe("streams that a peer opens", () => {
  const read = (...streams: readonly (readonly [id: number, bytes: Buffer, end?: boolean])[]): { fault: number; seen: unknown[] } => {
    const seen: unknown[] = [];
    const peer = new PeerStreams({ onSettings: (settings) => seen.push(Object.fromEntries(settings)), onGoaway: (id) => seen.push(id) });
    let fault = 0;
    for (const [id, bytes, end] of streams) fault ||= peer.read(id, bytes, end ?? false);
    return { fault, seen };
  };
  const opening = controlOpening([[setting.maxFieldSection, 16_384]]);
  test("SETTINGS, GOAWAY, in any pieces", () => {
    const bytes = Buffer.concat([opening, goawayFrame(400)]);
    const pieces = [...bytes].map((byte) => [2, Buffer.from([byte])] as const);
    expect(read(...pieces)).toEqual({ fault: 0, seen: [{ 6: 16_384 }, 400] });
  });
  test("unknown streams and frames mean nothing", () => {
    const grease = Buffer.concat([opening, frameOf(0x21, Buffer.alloc(50))]);
    expect(read([2, grease], [6, hex("21 aabbcc"), true], [10, hex("02")], [14, hex("03 40")]).fault).toBe(0);
  });
  test.each<[string, readonly (readonly [number, Buffer, boolean?])[], number]>([
    ["another frame before SETTINGS", [[2, Buffer.concat([hex("00"), goawayFrame(0)])]], errorCode.missingSettings],
    ["SETTINGS twice", [[2, Buffer.concat([opening, opening.subarray(1)])]], errorCode.frameUnexpected],
    [
      "two control streams",
      [
        [2, opening],
        [6, opening],
      ],
      errorCode.streamCreation,
    ],
    ["a control stream that ends", [[2, opening, true]], errorCode.closedCriticalStream],
    ["a push", [[2, hex("01 00")]], errorCode.streamCreation],
    ["DATA on the control stream", [[2, Buffer.concat([opening, frameOf(frame.data, hex("00"))])]], errorCode.frameUnexpected],
    ["a setting of HTTP/2", [[2, hex("00 0402 0301")]], errorCode.settings],
    ["a setting twice", [[2, hex("00 0404 0601 0601")]], errorCode.settings],
    ["SETTINGS that end in a number", [[2, hex("00 0401 06")]], errorCode.frame],
    ["SETTINGS without end", [[2, hex("00 04 80010000")]], errorCode.excessiveLoad],
    [
      "an entry for a table that has no room",
      [
        [2, opening],
        [6, hex("02 3fe11f")],
      ],
      errorCode.qpackEncoderStream,
    ],
  ])("%s", (_what, streams, fault) => {
    expect(read(...streams).fault).toBe(fault);
  });
});

test("codes of HTTP/2 say the same in HTTP/3 (RFC 9114, appendix A.4)", () => {
  expect([0, 2, 7, 8, 11, 0x1234].map(codeOf)).toEqual([
    errorCode.none,
    errorCode.internal,
    errorCode.requestRejected,
    errorCode.requestCancelled,
    errorCode.excessiveLoad,
    0x1234,
  ]);
});
