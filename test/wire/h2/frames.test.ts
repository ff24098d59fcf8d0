/** HTTP/2 framing (RFC 9113, sections 4 and 6): what is written is read, wherever the bytes are cut. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { defaultMaxFrameBytes, errorCode, flag, frame, frameFault, preface } from "../../../src/wire/h2/frames.ts";
import { HeaderBlockReader, type HeaderBlockLimits } from "../../../src/wire/h2/header-blocks.ts";
import { FrameReader } from "../../../src/wire/h2/reader.ts";
import { readSettings, setting, type Setting } from "../../../src/wire/h2/settings.ts";
import { FrameWriter } from "../../../src/wire/h2/writer.ts";
import { inPieces } from "../../support/pieces.ts";

interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  /** Of DATA: without its padding. */
  readonly payload: string;
}

/** The frames in these bytes, or how they are malformed. */
function framesOf(bytes: Buffer, cuts: readonly number[], from: "client" | "server" = "server"): { frames: Frame[]; fault: number | null } {
  const frames: Frame[] = [];
  let fault: number | null = null;
  let head = { type: 0, flags: 0, id: 0 };
  let data: Buffer[] = [];
  const reader = new FrameReader(
    {
      onFrame(type, flags, id) {
        head = { type, flags, id };
        data = [];
        return true;
      },
      onData: (bytes, start, end) => data.push(Buffer.from(bytes.subarray(start, end))),
      onFrameEnd(type, bytes, start, end) {
        expect(type).toBe(head.type);
        frames.push({ ...head, payload: Buffer.concat([...data, bytes.subarray(start, end)]).toString("hex") });
      },
      onMalformed: (code) => (fault = code),
    },
    from,
  );
  for (const [buffer, start, end] of inPieces(bytes, cuts)) reader.read(buffer, start, end);
  return { frames, fault };
}

const id = fc.integer({ min: 1, max: 0x7fff_ffff });
const word = fc.integer({ min: 0, max: 0xffff_ffff });
const bytes = (maxLength: number): fc.Arbitrary<Buffer> => fc.uint8Array({ maxLength }).map((array) => Buffer.from(array));
const number = (value: number): string => value.toString(16).padStart(8, "0");
const cuts = fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 60 });

/** A call of the writer, and the frame that it is. */
type Written = readonly [write: (writer: FrameWriter) => void, expected: Frame];

const anyFrame: fc.Arbitrary<Written> = fc.oneof(
  fc
    .tuple(id, bytes(200), fc.boolean())
    .map(([id, payload, ends]): Written => [
      (writer) => writer.data(id, payload, 0, payload.length, ends),
      { type: frame.data, flags: ends ? flag.endStream : 0, id, payload: payload.toString("hex") },
    ]),
  fc
    .tuple(id, bytes(200), fc.boolean())
    .map(([id, payload, ends]): Written => [
      (writer) => writer.headers(id, payload, ends, defaultMaxFrameBytes),
      { type: frame.headers, flags: flag.endHeaders | (ends ? flag.endStream : 0), id, payload: payload.toString("hex") },
    ]),
  fc.tuple(id, id, fc.integer({ min: 1, max: 256 }), fc.boolean()).map(([id, on, weight, exclusive]): Written => [
    (writer) => writer.priority(id, on, weight, exclusive),
    {
      type: frame.priority,
      flags: 0,
      id,
      payload: number(on + (exclusive ? 0x8000_0000 : 0)) + (weight - 1).toString(16).padStart(2, "0"),
    },
  ]),
  fc
    .tuple(id, word)
    .map(([id, code]): Written => [(writer) => writer.reset(id, code), { type: frame.reset, flags: 0, id, payload: number(code) }]),
  fc.array(fc.tuple(fc.integer({ min: 0, max: 0xffff }), word), { maxLength: 8 }).map((settings): Written => [
    (writer) => writer.settings(settings),
    {
      type: frame.settings,
      flags: 0,
      id: 0,
      payload: settings.map(([id, value]) => id.toString(16).padStart(4, "0") + number(value)).join(""),
    },
  ]),
  fc.constant<Written>([(writer) => writer.settingsAck(), { type: frame.settings, flags: flag.ack, id: 0, payload: "" }]),
  fc
    .tuple(fc.uint8Array({ minLength: 8, maxLength: 8 }), fc.boolean())
    .map(([opaque, ack]): Written => [
      (writer) => writer.ping(Buffer.from(opaque), 0, ack),
      { type: frame.ping, flags: ack ? flag.ack : 0, id: 0, payload: Buffer.from(opaque).toString("hex") },
    ]),
  fc
    .tuple(id, word, bytes(40))
    .map(([last, code, debug]): Written => [
      (writer) => writer.goaway(last, code, debug),
      { type: frame.goaway, flags: 0, id: 0, payload: number(last) + number(code) + debug.toString("hex") },
    ]),
  fc
    .tuple(fc.oneof(id, fc.constant(0)), id)
    .map(([id, increment]): Written => [
      (writer) => writer.windowUpdate(id, increment),
      { type: frame.windowUpdate, flags: 0, id, payload: number(increment) },
    ]),
  fc.tuple(id, bytes(40)).map(([prioritized, value]): Written => {
    const payload = Buffer.from(number(prioritized) + value.toString("hex"), "hex");
    return [
      (writer) => writer.frame(frame.priorityUpdate, 0, 0, payload, 0, payload.length),
      { type: frame.priorityUpdate, flags: 0, id: 0, payload: payload.toString("hex") },
    ];
  }),
  // Types that HTTP/2 does not know.
  fc
    .tuple(
      fc.integer({ min: 10, max: 255 }).filter((type) => type !== frame.priorityUpdate),
      fc.integer({ min: 0, max: 255 }),
      id,
      bytes(50),
    )
    .map(([type, flags, id, payload]): Written => [
      (writer) => writer.frame(type, flags, id, payload, 0, payload.length),
      { type, flags, id, payload: payload.toString("hex") },
    ]),
);

describe("frames", () => {
  test("written by one end are read by the other, at any cuts and in any portions", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(anyFrame, fc.boolean()), { maxLength: 40 }), cuts, fc.boolean(), (written, cuts, isClient) => {
        const writer = new FrameWriter();
        const taken: Buffer[] = [];
        if (isClient) writer.preface();
        for (const [[write], takes] of written) {
          write(writer);
          if (takes) taken.push(writer.take());
        }
        taken.push(writer.take());
        // Bytes that were taken stay what they are while later frames are written.
        const all = Buffer.concat(taken);
        expect(writer.pendingBytes).toBe(0);
        expect(writer.written.total + (isClient ? preface.length : 0)).toBe(all.length);
        const { frames, fault } = framesOf(all, cuts, isClient ? "client" : "server");
        expect(fault).toBeNull();
        expect(frames).toEqual(written.map(([[, expected]]) => expected));
        for (const { type, flags, id, payload } of frames)
          expect(frameFault(type, flags, id, payload.length / 2, defaultMaxFrameBytes)).toBe(errorCode.none);
      }),
    );
  });

  test("padding is no data, and more of it than the frame holds is a PROTOCOL_ERROR (section 6.1)", () => {
    fc.assert(
      fc.property(bytes(100), fc.integer({ min: 0, max: 255 }), fc.integer({ min: 0, max: 255 }), cuts, (data, claimed, real, cuts) => {
        const payload = Buffer.concat([Buffer.from([claimed]), data, Buffer.alloc(real)]);
        const writer = new FrameWriter();
        writer.frame(frame.data, flag.padded, 1, payload, 0, payload.length);
        writer.settingsAck();
        const { frames, fault } = framesOf(writer.take(), cuts);
        if (claimed > data.length + real) {
          expect([frames, fault]).toEqual([[], errorCode.protocol]);
        } else {
          expect(fault).toBeNull();
          expect(frames.map(({ payload }) => payload)).toEqual([payload.subarray(1, payload.length - claimed).toString("hex"), ""]);
        }
      }),
    );
  });

  test("a padded DATA frame has room for the length of its padding (section 4.2)", () => {
    const writer = new FrameWriter();
    writer.frame(frame.data, flag.padded, 1, Buffer.alloc(0), 0, 0);
    expect(framesOf(writer.take(), [])).toEqual({ frames: [], fault: errorCode.frameSize });
  });

  test("a client that begins with anything but the preface is refused at the first wrong byte", () => {
    fc.assert(
      fc.property(fc.nat(preface.length - 1), fc.integer({ min: 1, max: 255 }), cuts, (at, change, cuts) => {
        const wrong = Buffer.from(preface);
        wrong[at]! ^= change;
        expect(framesOf(wrong.subarray(0, at + 1), cuts, "client").fault).toBe(errorCode.protocol);
        expect(framesOf(wrong.subarray(0, at), cuts, "client").fault).toBeNull();
      }),
    );
  });

  test("a consumer that refuses a frame, or stops the reader, hears nothing more", () => {
    const writer = new FrameWriter();
    for (let i = 0; i < 3; i++) writer.settingsAck();
    const all = writer.take();
    for (const how of ["refuses", "stops"]) {
      const heard: string[] = [];
      const reader = new FrameReader(
        {
          onFrame: () => how === "stops" || heard.length > 0,
          onData() {},
          onFrameEnd() {
            heard.push("end");
            reader.stop();
          },
          onMalformed: () => heard.push("malformed"),
        },
        "server",
      );
      reader.read(all, 0, all.length);
      reader.read(all, 0, all.length);
      expect([how, heard]).toEqual([how, how === "stops" ? ["end"] : []]);
    }
  });

  test.each<[string, number, number, number, number, number]>([
    ["a frame above our maximum size (4.2)", frame.data, 0, 1, 16_385, errorCode.frameSize],
    ["DATA on no stream (6.1)", frame.data, 0, 0, 5, errorCode.protocol],
    ["HEADERS on no stream (6.2)", frame.headers, 0, 0, 5, errorCode.protocol],
    ["CONTINUATION on no stream (6.10)", frame.continuation, 0, 0, 5, errorCode.protocol],
    ["RST_STREAM on no stream (6.4)", frame.reset, 0, 0, 4, errorCode.protocol],
    ["RST_STREAM of 5 bytes (6.4)", frame.reset, 0, 1, 5, errorCode.frameSize],
    ["SETTINGS on a stream (6.5)", frame.settings, 0, 1, 0, errorCode.protocol],
    ["SETTINGS of 7 bytes (6.5)", frame.settings, 0, 0, 7, errorCode.frameSize],
    ["an acknowledgement with settings (6.5)", frame.settings, flag.ack, 0, 6, errorCode.frameSize],
    ["PING on a stream (6.7)", frame.ping, 0, 1, 8, errorCode.protocol],
    ["PING of 7 bytes (6.7)", frame.ping, 0, 0, 7, errorCode.frameSize],
    ["GOAWAY on a stream (6.8)", frame.goaway, 0, 1, 8, errorCode.protocol],
    ["GOAWAY of 7 bytes (6.8)", frame.goaway, 0, 0, 7, errorCode.frameSize],
    ["WINDOW_UPDATE of 3 bytes (6.9)", frame.windowUpdate, 0, 0, 3, errorCode.frameSize],
    ["PRIORITY of 4 bytes, a fault of its stream alone (6.3)", frame.priority, 0, 1, 4, errorCode.none],
    ["an unknown type (5.5)", 200, 255, 0, 1, errorCode.none],
  ])("%s", (_, type, flags, id, length, code) => {
    expect(frameFault(type, flags, id, length, defaultMaxFrameBytes)).toBe(code);
  });
});

describe("settings", () => {
  const read = (settings: readonly Setting[]): { code: number; got: Setting[] } => {
    const writer = new FrameWriter();
    writer.settings(settings);
    const got: Setting[] = [];
    const payload = writer.take().subarray(9);
    return { code: readSettings(payload, 0, payload.length, (id, value) => got.push([id, value])), got };
  };

  test("are read in their order, repeated and unknown ones too (section 6.5.3)", () => {
    const allowed = fc.oneof(
      fc.tuple(fc.constantFrom(setting.tableSize, setting.maxStreams, setting.maxHeaderList, 0, 99), word),
      fc.tuple(fc.constant(setting.enablePush), fc.integer({ min: 0, max: 1 })),
      fc.tuple(fc.constant(setting.initialWindow), fc.integer({ min: 0, max: 0x7fff_ffff })),
      fc.tuple(fc.constant(setting.maxFrame), fc.integer({ min: 16_384, max: 16_777_215 })),
    );
    fc.assert(
      fc.property(fc.array(allowed), (settings) => {
        expect(read(settings)).toEqual({ code: errorCode.none, got: settings });
      }),
    );
  });

  test.each<[string, Setting, number]>([
    ["ENABLE_PUSH 2", [setting.enablePush, 2], errorCode.protocol],
    ["INITIAL_WINDOW_SIZE 2^31", [setting.initialWindow, 2 ** 31], errorCode.flowControl],
    ["MAX_FRAME_SIZE 16,383", [setting.maxFrame, 16_383], errorCode.protocol],
    ["MAX_FRAME_SIZE 2^24", [setting.maxFrame, 2 ** 24], errorCode.protocol],
  ])("%s is refused (section 6.5.2), what stands before it is told", (_, wrong, code) => {
    expect(read([[setting.maxStreams, 5], wrong, [setting.maxStreams, 6]])).toEqual({ code, got: [[setting.maxStreams, 5]] });
  });
});

describe("header blocks", () => {
  const limits: HeaderBlockLimits = { bytes: 10_000, frames: 100 };

  /** The blocks in these bytes, and the first fault. */
  function blocksOf(
    bytes: Buffer,
    cuts: readonly number[],
    limits: HeaderBlockLimits,
  ): { blocks: [number, boolean, string][]; code: number } {
    const blocks: [number, boolean, string][] = [];
    let code: number = errorCode.none;
    let head = { flags: 0, id: 0 };
    const block = new HeaderBlockReader(limits, (id, endStream, bytes, start, end) =>
      blocks.push([id, endStream, bytes.subarray(start, end).toString("hex")]),
    );
    const reader = new FrameReader(
      {
        onFrame(type, flags, id) {
          head = { flags, id };
          if (block.allows(type, id)) return true;
          code = errorCode.protocol;
          return false;
        },
        onData() {},
        onFrameEnd(type, bytes, start, end) {
          if (type !== frame.headers && type !== frame.continuation) return;
          code = block.take(type, head.flags, head.id, bytes, start, end);
          if (code !== errorCode.none) reader.stop();
        },
        onMalformed() {},
      },
      "server",
    );
    for (const [buffer, start, end] of inPieces(bytes, cuts)) reader.read(buffer, start, end);
    return { blocks, code };
  }

  test("come out whole, however many frames and reads they take", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(id, bytes(500), fc.boolean()), { maxLength: 8 }),
        fc.integer({ min: 10, max: 600 }),
        cuts,
        (blocks, maxFrameBytes, cuts) => {
          const writer = new FrameWriter();
          for (const [id, block, ends] of blocks) writer.headers(id, block, ends, maxFrameBytes);
          expect(blocksOf(writer.take(), cuts, limits)).toEqual({
            blocks: blocks.map(([id, block, ends]) => [id, ends, block.toString("hex")]),
            code: errorCode.none,
          });
        },
      ),
    );
  });

  test("without their padding and priority (section 6.2)", () => {
    fc.assert(
      fc.property(bytes(50), fc.nat(255), fc.nat(255), fc.boolean(), (block, claimed, real, hasPriority) => {
        const payload = Buffer.concat([Buffer.from([claimed]), Buffer.alloc(hasPriority ? 5 : 0), block, Buffer.alloc(real)]);
        const flags = flag.padded | flag.endHeaders | (hasPriority ? flag.priority : 0);
        const writer = new FrameWriter();
        writer.frame(frame.headers, flags, 3, payload, 0, payload.length);
        const { blocks, code } = blocksOf(writer.take(), [], limits);
        if (claimed > block.length + real) expect([blocks, code]).toEqual([[], errorCode.protocol]);
        else
          expect(blocks[0]![2]).toBe(
            Buffer.concat([block, Buffer.alloc(real)])
              .subarray(0, block.length + real - claimed)
              .toString("hex"),
          );
      }),
    );
    for (const flags of [flag.padded, flag.priority, flag.padded | flag.priority]) {
      const writer = new FrameWriter();
      writer.frame(frame.headers, flags | flag.endHeaders, 3, Buffer.alloc(0), 0, 0);
      expect(blocksOf(writer.take(), [], limits).code).toBe(errorCode.protocol);
    }
  });

  test("let nothing pass between their frames, and no CONTINUATION elsewhere (section 6.10)", () => {
    const code = (...write: ((writer: FrameWriter) => void)[]): number => {
      const writer = new FrameWriter();
      for (const one of write) one(writer);
      return blocksOf(writer.take(), [], limits).code;
    };
    const none = Buffer.alloc(0);
    const begin = (writer: FrameWriter): void => writer.frame(frame.headers, 0, 3, none, 0, 0);
    const go = (id: number) => (writer: FrameWriter) => writer.frame(frame.continuation, flag.endHeaders, id, none, 0, 0);
    expect(code(begin, go(3))).toBe(errorCode.none);
    expect(code(begin, go(5))).toBe(errorCode.protocol);
    expect(code(begin, (writer) => writer.settingsAck())).toBe(errorCode.protocol);
    expect(code(begin, begin)).toBe(errorCode.protocol);
    expect(code(go(3))).toBe(errorCode.protocol);
    expect(code(begin, go(3), go(3))).toBe(errorCode.protocol);
  });

  test("are bounded in bytes and in frames, empty ones included", () => {
    const code = (part: number, frames: number): number => {
      const writer = new FrameWriter();
      const payload = Buffer.alloc(part);
      for (let i = 0; i < frames; i++) writer.frame(i === 0 ? frame.headers : frame.continuation, 0, 1, payload, 0, part);
      return blocksOf(writer.take(), [], limits).code;
    };
    expect([code(1000, 10), code(1001, 10)]).toEqual([errorCode.none, errorCode.enhanceYourCalm]);
    expect([code(0, 100), code(0, 101)]).toEqual([errorCode.none, errorCode.enhanceYourCalm]);
  });
});
