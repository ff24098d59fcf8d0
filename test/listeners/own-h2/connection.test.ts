/** The own engine's protocol, frame by frame, without a socket. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ByteQueue } from "../../../src/listeners/own-h2/byte-queue.ts";
import { BlockPool, hugeBlockBytes, largeBlockBytes, Output, smallBlockBytes } from "../../../src/listeners/own-h2/output.ts";
import { mostPendingBytes, mostTurnBytes } from "../../../src/listeners/own-h2/sender.ts";
import { ResponseHeads } from "../../../src/listeners/own-h2/response-heads.ts";
import { errorCode, flag, frame } from "../../../src/wire/h2/frames.ts";
import { HpackDecoder } from "../../../src/wire/h2/hpack.ts";
import { setting } from "../../../src/wire/h2/settings.ts";
import { limits, Peer, post, type Told } from "./frames.ts";

const ok = { status: 200, headers: { "content-type": "text/plain" }, streamed: true } as const;

/** Answers with a head and so many bytes. */
const answering =
  (peer: Peer, bytes: number) =>
  ({ stream }: Told): void => {
    peer.connection.sender.sendHead(stream, ok, -1, false);
    stream.send(Buffer.alloc(bytes, "a"), true);
  };

/** Of the frames sent, DATA by stream and length. */
const dataOf = (peer: Peer): [number, number][] =>
  peer.sent.filter(({ type }) => type === frame.data).map(({ id, payload }) => [id, payload.length]);

describe("requests", () => {
  test.each([1, 2, 3, 7, 9, 100, Infinity])("come whole, in reads of %i bytes", (pieceBytes) => {
    const peer = new Peer();
    peer.head(1, { ...post, "content-length": "10", cookie: "a=1", "x-fakeai-seed": "3" }, false);
    peer.data(1, "hello", false);
    peer.data(1, "world", true);
    peer.head(3);
    peer.exchange(pieceBytes);
    const [first, second] = peer.requests;
    expect([first!.body, first!.ended, second!.ended]).toEqual(["helloworld", true, true]);
    expect(first!.head).toMatchObject({
      method: "POST",
      path: "/x",
      query: "y",
      authority: "a",
      contentLength: 10,
      ownHeaders: ["x-fakeai-seed"],
    });
    expect(peer.failure).toBeNull();
  });

  test("of the same bytes share a head, and not with another table", () => {
    const peer = new Peer();
    for (const id of [1, 3, 5]) peer.head(id);
    peer.exchange();
    const [first, second, third] = peer.requests.map(({ head }) => head);
    expect(third).toBe(second);
    expect(second).toEqual(first);
    peer.head(7, { ...post, "x-a": "b" });
    peer.head(9);
    peer.exchange();
    expect(peer.requests[3]!.head.fields.get("x-a")).toBe("b");
    expect(peer.requests[4]!.head).toEqual(first);
  });

  test("fields of one name are joined; octets stay octets", () => {
    const peer = new Peer();
    for (const [name, value] of [...Object.entries(post), ["x-a", "1"], ["x-a", "2"], ["cookie", "a"], ["cookie", "b"]] as const)
      peer.encoder.field(name, value, "never");
    peer.writer.headers(1, peer.encoder.take(), true, 16_384);
    peer.exchange();
    expect(Object.fromEntries(peer.requests[0]!.head.fields)).toEqual({ "x-a": "1, 2", cookie: "a; b" });
  });

  test.each<[string, Record<string, string>]>([
    ["a capital", { ...post, "X-A": "b" }],
    ["an empty name", { ...post, "": "b" }],
    ["a line end", { ...post, "x-a": "b\r\nc" }],
    ["NUL", { ...post, "x-a": "\0" }],
    ["a space around a value", { ...post, "x-a": " b" }],
    ["a field of HTTP/1.1", { ...post, connection: "close" }],
    ["another TE than trailers", { ...post, te: "gzip" }],
    ["an unknown pseudo-header", { ...post, ":x": "b" }],
    ["a pseudo-header of responses", { ...post, ":status": "200" }],
    ["a pseudo-header behind a field", { ":method": "GET", "x-a": "b", ":scheme": "http", ":path": "/" }],
    ["no method", { ":scheme": "http", ":path": "/" }],
    ["no scheme", { ":method": "GET", ":path": "/" }],
    ["no path", { ":method": "GET", ":scheme": "http" }],
    ["an empty path", { ...post, ":path": "" }],
    ["a path that is none", { ...post, ":path": "x" }],
    ["a path with a space", { ...post, ":path": "/v1 HTTP/1.1" }],
    ["a path with a tab", { ...post, ":path": "/v1\tx" }],
    ["an authority with a space", { ...post, ":authority": "a b" }],
    ["CONNECT with a path", { ...post, ":method": "CONNECT" }],
    ["a length that is none", { ...post, "content-length": "-1" }],
    ["a length of what does not come", { ...post, "content-length": "1" }],
  ])("%s: RST_STREAM PROTOCOL_ERROR, and the connection goes on", (_what, fields) => {
    const peer = new Peer();
    peer.head(1, fields);
    peer.head(3);
    peer.exchange();
    expect(peer.resets(1)).toEqual([errorCode.protocol]);
    expect(peer.requests.map(({ stream }) => stream.id)).toEqual([3]);
  });

  test("two fields host: RST_STREAM PROTOCOL_ERROR", () => {
    const peer = new Peer();
    for (const [name, value] of [...Object.entries(post), ["host", "a"], ["host", "b"]] as const) peer.encoder.field(name, value, "never");
    peer.writer.headers(1, peer.encoder.take(), true, 16_384);
    peer.exchange();
    expect(peer.resets(1)).toEqual([errorCode.protocol]);
  });

  test.each([
    ["too short", "5", "abcd"],
    ["too long", "3", "abcd"],
  ])("a body that is %s for its content-length", (_what, length, body) => {
    const peer = new Peer();
    peer.head(1, { ...post, "content-length": length }, false);
    peer.data(1, body, true);
    peer.exchange();
    expect([peer.resets(1), peer.requests[0]!.delivered]).toEqual([[errorCode.protocol], false]);
  });

  test("trailers end a request; with pseudo-headers, or without the end, they break it", () => {
    const peer = new Peer();
    for (const id of [1, 3, 5]) peer.head(id, post, false);
    peer.head(1, { "x-trailer": "1" });
    peer.head(3, { ":path": "/" });
    peer.head(5, { "x-trailer": "1" }, false);
    peer.exchange();
    expect(peer.requests.map(({ ended }) => ended)).toEqual([true, false, false]);
    expect([peer.resets(1), peer.resets(3), peer.resets(5)]).toEqual([[], [errorCode.protocol], [errorCode.protocol]]);
  });

  test("one too many is refused, its head is decoded all the same, and what follows on it is ignored", () => {
    const peer = new Peer({ ...limits, maxConcurrentStreams: 2 });
    for (const id of [1, 3]) peer.head(id, post, false);
    peer.head(5, { ...post, "x-new": "in the table" }, false);
    peer.data(5, "late", true);
    peer.writer.reset(5, errorCode.cancel);
    peer.data(1, "", true);
    peer.exchange();
    expect([peer.resets(5), peer.streamLimits, peer.failure]).toEqual([[errorCode.refusedStream], 1, null]);
    peer.answer = answering(peer, 1);
    peer.requests[0]!.stream.reset(errorCode.internal);
    peer.head(7, { ...post, "x-new": "in the table" });
    peer.exchange();
    expect(peer.requests.at(-1)!.head.fields.get("x-new")).toBe("in the table");
  });
});

describe("windows", () => {
  test("of a stream and of the connection are kept, also below zero", () => {
    const peer = new Peer(limits, [setting.initialWindow, 10]);
    peer.answer = answering(peer, 100);
    peer.head(1);
    peer.exchange();
    expect(dataOf(peer)).toEqual([[1, 10]]);
    peer.writer.settings([[setting.initialWindow, 4]]);
    peer.exchange();
    peer.writer.windowUpdate(1, 6);
    peer.exchange();
    expect(dataOf(peer)).toEqual([[1, 10]]);
    peer.writer.windowUpdate(1, 5);
    peer.exchange();
    expect(dataOf(peer).at(-1)).toEqual([1, 5]);
    peer.writer.settings([[setting.initialWindow, 1000]]);
    peer.exchange();
    expect([peer.body(1).length, peer.hasEnded(1)]).toEqual([100, true]);
    // ACK before what the new window allows.
    const ack = peer.sent.findLastIndex(({ type, flags }) => type === frame.settings && flags === flag.ack);
    const last = peer.sent.findLastIndex(({ type }) => type === frame.data);
    expect(ack).toBeLessThan(last);
  });

  test("streams that wait for the connection take turns of a frame", () => {
    const peer = new Peer(limits, [setting.initialWindow, 1_000_000]);
    peer.answer = answering(peer, 50_000);
    for (const id of [1, 3, 5]) peer.head(id);
    peer.exchange();
    for (let i = 0; i < 20; i++) {
      peer.writer.windowUpdate(0, 16_384);
      peer.exchange();
    }
    const order = dataOf(peer).map(([id]) => id);
    expect([1, 3, 5].map((id) => peer.body(id).length)).toEqual([50_000, 50_000, 50_000]);
    // The first had the first window to itself; from there on all that are left alternate.
    expect(new Set(order.slice(4, 7)).size).toBeGreaterThan(1);
    expect(peer.connection.sender.queuedBytes).toBe(0);
  });

  test("priority: u=0 overtakes u=7, by the field and by PRIORITY_UPDATE, also before the stream is there", () => {
    const peer = new Peer(limits, [setting.initialWindow, 1_000_000]);
    peer.answer = answering(peer, 100_000);
    peer.writer.frame(frame.priorityUpdate, 0, 0, Buffer.from("\0\0\0\u0005u=1", "latin1"), 0, 7);
    peer.head(1, { ...post, priority: "u=7" });
    peer.head(3, { ...post, priority: "u=0" });
    peer.head(5, { ...post, priority: "u=7" });
    peer.exchange();
    const before = dataOf(peer).length;
    for (let i = 0; i < 13; i++) {
      peer.writer.windowUpdate(0, 16_384);
      peer.exchange();
    }
    // 3 is served whole, then 5, whose frame said so, and 1 is last.
    const order = dataOf(peer)
      .slice(before)
      .map(([id]) => id);
    expect(order.lastIndexOf(3)).toBeLessThan(order.indexOf(5));
    expect([peer.body(3).length, peer.body(5).length]).toEqual([100_000, 100_000]);
    peer.writer.frame(frame.priorityUpdate, 0, 0, Buffer.from("\0\0\0\u0001u=0, i", "latin1"), 0, 10);
    peer.exchange();
    expect(peer.requests[0]!.stream).toMatchObject({ urgency: 0, incremental: true });
  });

  test("no more is made ready for a socket that takes nothing than its bound, and the rest follows when it does", () => {
    const peer = new Peer(limits, [setting.initialWindow, 10_000_000]);
    peer.writer.windowUpdate(0, 10_000_000);
    peer.answer = answering(peer, 3_000_000);
    peer.head(1);
    peer.exchange();
    const { sender } = peer.connection;
    let inFlight = dataOf(peer).reduce((sum, [, bytes]) => sum + bytes, 0);
    expect(inFlight).toBeLessThan(mostPendingBytes + 20_000);
    for (let i = 0; i < 100 && !peer.hasEnded(1); i++) {
      sender.inFlightBytes = inFlight;
      sender.onTaken(inFlight);
      const before = peer.body(1).length;
      peer.receive();
      inFlight = peer.body(1).length - before;
    }
    expect(peer.body(1).length).toBe(3_000_000);
  });

  test("answers of one turn leave in that turn where the socket takes all, and wait in their streams where it does not", () => {
    const bytes = 30_000;
    const open = (inFlightBytes: number): Peer => {
      const peer = new Peer(limits, [setting.initialWindow, 10_000_000]);
      peer.writer.windowUpdate(0, 10_000_000);
      peer.answer = answering(peer, bytes);
      peer.exchange();
      peer.connection.sender.inFlightBytes = inFlightBytes;
      for (let id = 1; id < 80; id += 2) peer.head(id);
      peer.exchange();
      return peer;
    };
    const free = open(0);
    const leaves = Math.floor(mostTurnBytes / (bytes + 18));
    const ended = Array.from({ length: 40 }, (_, at) => free.hasEnded(1 + 2 * at)).filter(Boolean).length;
    expect(ended).toBeGreaterThanOrEqual(leaves - 1);
    expect(free.connection.sender.queuedBytes).toBeLessThanOrEqual((41 - leaves) * bytes);
    expect(free.connection.sender.queuedBytes).toBeGreaterThan(0);
    const busy = open(1);
    expect(dataOf(busy).reduce((sum, [, length]) => sum + length, 0)).toBeLessThan(mostPendingBytes + 20_000);
  });

  test("a turn that follows a large one is one piece, however small its first frame is", () => {
    const output = new Output(new BlockPool(), () => {});
    const turn = (): number[] => {
      for (let i = 0; i < 20; i++) output.data(1, Buffer.alloc(i === 0 ? 10 : 12_000), 0, i === 0 ? 10 : 12_000, false);
      return output.take().map(({ block }) => block.length);
    };
    expect(turn()).toEqual([smallBlockBytes, ...Array.from({ length: 4 }, () => largeBlockBytes)]);
    expect(turn()).toEqual([hugeBlockBytes]);
    output.data(1, Buffer.alloc(10), 0, 10, false);
    expect(output.take().map(({ block }) => block.length)).toEqual([hugeBlockBytes]);
    output.data(1, Buffer.alloc(10), 0, 10, false);
    expect(output.take().map(({ block }) => block.length)).toEqual([smallBlockBytes]);
  });

  test("what is received is credited, with its padding; a body that is not read is not, and its connection is", () => {
    const peer = new Peer();
    peer.answer = ({ stream }) => (stream.isRead = stream.id !== 3);
    peer.head(1, post, false);
    peer.head(3, post, false);
    const padded = Buffer.concat([Buffer.from([200]), Buffer.alloc(10_000)]);
    for (let i = 0; i < 4; i++) {
      peer.writer.frame(frame.data, flag.padded, 1, padded, 0, padded.length);
      peer.data(3, "x".repeat(10_000), false);
    }
    peer.exchange();
    const updates = peer.sent.filter(({ type }) => type === frame.windowUpdate).map(({ id, payload }) => [id, payload.readUInt32BE(0)]);
    expect(updates.filter(([id]) => id === 1)).toEqual([[1, 4 * 10_001]]);
    expect(updates.filter(([id]) => id === 3)).toEqual([]);
    expect(updates.some(([id]) => id === 0)).toBe(true);
    peer.connection.resumeBody(peer.requests[1]!.stream);
    peer.receive();
    expect(peer.sent.at(-1)).toMatchObject({ type: frame.windowUpdate, id: 3 });
  });

  test("a sender that passes a window: FLOW_CONTROL_ERROR", () => {
    const peer = new Peer();
    peer.answer = ({ stream }) => (stream.isRead = false);
    peer.head(1, post, false);
    for (let i = 0; i < 5; i++) peer.data(1, "x".repeat(16_000), false);
    peer.exchange();
    expect(peer.failure?.code).toBe(errorCode.flowControl);
  });
});

describe("the end", () => {
  test("in two steps: between them streams are served, behind them not", () => {
    const peer = new Peer();
    peer.answer = answering(peer, 3);
    peer.head(1);
    peer.exchange();
    peer.connection.announceEnd();
    peer.head(3);
    peer.exchange();
    peer.connection.refuseNew();
    peer.head(5);
    peer.exchange();
    const away = peer.sent
      .filter(({ type }) => type === frame.goaway)
      .map(({ payload }) => [payload.readUInt32BE(0), payload.readUInt32BE(4)]);
    expect(away).toEqual([
      [0x7fff_ffff, 0],
      [3, 0],
    ]);
    expect([peer.hasEnded(3), peer.hasEnded(5), peer.requests.length]).toEqual([true, false, 2]);
  });

  test("an answer that ends before its request tells the client to stop, and what still comes is ignored", () => {
    const peer = new Peer();
    peer.answer = answering(peer, 3);
    peer.head(1, post, false);
    peer.exchange();
    peer.data(1, "late", true);
    peer.exchange();
    expect([peer.resets(1), peer.hasEnded(1), peer.failure]).toEqual([[errorCode.none], true, null]);
  });
});

describe("floods", () => {
  const floods: [string, (peer: Peer) => void][] = [
    ["SETTINGS", (peer) => Array.from({ length: 1100 }, () => peer.writer.settings([]))],
    ["empty DATA", (peer) => (peer.head(1, post, false), Array.from({ length: 1100 }, () => peer.data(1, "", false)))],
    ["PING", (peer) => Array.from({ length: 70_000 }, () => peer.writer.ping(Buffer.alloc(8), 0, false))],
    ["unknown frames", (peer) => Array.from({ length: 70_000 }, () => peer.writer.frame(0xee, 0, 0, Buffer.alloc(8), 0, 8))],
    ["malformed requests", (peer) => Array.from({ length: 110 }, (_, i) => peer.head(2 * i + 1, { ":method": "GET" }))],
    [
      "CONTINUATION",
      (peer) => {
        peer.writer.frame(frame.headers, 0, 1, Buffer.from([0x82]), 0, 1);
        for (let i = 0; i < 20; i++) peer.writer.frame(frame.continuation, 0, 1, Buffer.alloc(0), 0, 0);
      },
    ],
  ];
  test.each(floods)("%s: ENHANCE_YOUR_CALM", (_what, write) => {
    const peer = new Peer();
    write(peer);
    peer.exchange();
    expect(peer.failure).toEqual({ code: errorCode.enhanceYourCalm, isFlood: true });
    expect(peer.requests.every(({ delivered }) => delivered === false)).toBe(true);
  });

  test("a table of HPACK stays below its size, whatever is put in", () => {
    const peer = new Peer({ ...limits, headerTableBytes: 0 });
    peer.writer.settingsAck();
    peer.head(1);
    peer.exchange();
    expect(peer.failure?.code).toBe(errorCode.compression);
  });
});

test("whatever comes, nothing throws, what leaves is well-formed, and streams that are over are told of once", () => {
  const payload = fc.uint8Array({ maxLength: 40 });
  const anyFrame = fc.record({
    do: fc.constant("frame" as const),
    type: fc.integer({ min: 0, max: 17 }),
    flags: fc.integer({ min: 0, max: 255 }),
    id: fc.integer({ min: 0, max: 12 }),
    payload,
  });
  const step = fc.oneof(
    anyFrame,
    fc.record({ do: fc.constant("request" as const), id: fc.integer({ min: 1, max: 30 }), ends: fc.boolean() }),
    fc.record({
      do: fc.constant("data" as const),
      id: fc.integer({ min: 1, max: 30 }),
      bytes: fc.integer({ min: 0, max: 20_000 }),
      ends: fc.boolean(),
    }),
    fc.record({ do: fc.constant("window" as const), id: fc.integer({ min: 0, max: 30 }), bytes: fc.integer({ min: 1, max: 100_000 }) }),
    fc.record({ do: fc.constant("settings" as const), window: fc.integer({ min: 0, max: 200_000 }) }),
    fc.record({ do: fc.constant("answer" as const), bytes: fc.integer({ min: 0, max: 100_000 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), fc.integer({ min: 1, max: 500 }), (steps, pieceBytes) => {
      const peer = new Peer();
      for (const each of steps) {
        if (each.do === "frame") peer.writer.frame(each.type, each.flags, each.id, Buffer.from(each.payload), 0, each.payload.length);
        else if (each.do === "request") peer.head(2 * each.id - 1, post, each.ends);
        else if (each.do === "data") peer.data(2 * each.id - 1, "x".repeat(Math.min(each.bytes, 16_384)), each.ends);
        else if (each.do === "window") peer.writer.windowUpdate(each.id === 0 ? 0 : 2 * each.id - 1, each.bytes);
        else if (each.do === "settings") peer.writer.settings([[setting.initialWindow, each.window]]);
        else
          for (const told of peer.requests)
            if (told.delivered === undefined && !told.stream.endsAfterQueue) answering(peer, each.bytes)(told);
        peer.exchange(pieceBytes);
      }
      expect(peer.refused).toEqual([]);
      // A window that was passed would show here: no stream sends more than it was given.
      expect(peer.connection.sender.queuedBytes).toBe(
        [...peer.connection.streams.values()].reduce((sum, { queuedBytes }) => sum + queuedBytes, 0),
      );
      const open = peer.requests.filter(({ delivered }) => delivered === undefined).length;
      expect(open).toBe(peer.connection.streams.size);
      if (peer.failure !== null) expect(open).toBe(0);
    }),
    { seed: 9113, numRuns: 300 },
  );
});

describe("parts", () => {
  test("heads of responses come back as they were, with any table, and short when they are known", () => {
    const head = fc.record({
      status: fc.constantFrom(200, 404, 429, 503),
      id: fc.string({ minLength: 0, maxLength: 300 }).map((text) => text.replace(/[^ -~]/g, "x")),
      type: fc.constantFrom("application/json", "text/event-stream"),
      length: fc.integer({ min: -1, max: 1e6 }),
      table: fc.option(fc.integer({ min: 0, max: 5000 }), { freq: 5 }),
    });
    fc.assert(
      fc.property(fc.array(head, { minLength: 1, maxLength: 20 }), (steps) => {
        const heads = new ResponseHeads(4096);
        const decoder = new HpackDecoder();
        for (const { status, id, type, length, table } of steps) {
          if (table !== null) {
            heads.limitTable(table);
            decoder.limitTable(table);
          }
          const headers = { "content-type": type, "x-request-id": id, server: "s".repeat(40) };
          const bytes = heads.encode({ status, headers, streamed: length < 0 }, length);
          const got: [string, string][] = [];
          decoder.decode(heads.bytes, 0, bytes, (name, value) => void got.push([name, value]));
          const expected = [
            [":status", String(status)],
            ...Object.entries(headers),
            ...(length < 0 ? [] : [["content-length", String(length)]]),
          ];
          expect(got).toEqual(expected);
        }
      }),
      { seed: 7541, numRuns: 200 },
    );
    const heads = new ResponseHeads(4096);
    for (let i = 0; i < 3; i++)
      heads.encode({ status: 200, headers: { "content-type": "application/json", server: "x" }, streamed: true }, -1);
    expect(heads.encode({ status: 200, headers: { "content-type": "application/json", server: "x" }, streamed: true }, -1)).toBe(3);
  });

  test("a queue gives back what was put in, in any pieces", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.uint8Array({ minLength: 1, maxLength: 9000 }), fc.integer({ min: 1, max: 20_000 })), { maxLength: 60 }),
        (steps) => {
          const queue = new ByteQueue();
          let expected = Buffer.alloc(0);
          for (const step of steps) {
            if (typeof step !== "number") {
              queue.push(step);
              expected = Buffer.concat([expected, step]);
              continue;
            }
            const bytes = Math.min(step, expected.length);
            const into = Buffer.alloc(bytes + 3);
            if (bytes > 0) queue.moveTo(into, 3, bytes);
            expect(into.subarray(3).equals(expected.subarray(0, bytes))).toBe(true);
            expected = expected.subarray(bytes);
          }
          expect(queue.length).toBe(expected.length);
        },
      ),
      { seed: 1, numRuns: 100 },
    );
  });
});
