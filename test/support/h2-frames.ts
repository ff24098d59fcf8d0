/** HTTP/2 frame by frame over the wire room, without a client's logic between: what a server really sent. Cleartext. */
import { connect, type Socket } from "node:net";
import { defaultMaxFrameBytes, errorCode, flag, frame } from "../../src/wire/h2/frames.ts";
import { HpackEncoder } from "../../src/wire/h2/hpack.ts";
import { FrameReader } from "../../src/wire/h2/reader.ts";
import { type Setting, setting } from "../../src/wire/h2/settings.ts";
import { FrameWriter } from "../../src/wire/h2/writer.ts";

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  /** Of DATA: without its padding. */
  readonly payload: Buffer;
}

/** The bytes of the frames that are written. */
function framesOf(write: (writer: FrameWriter) => void): Buffer {
  const writer = new FrameWriter();
  write(writer);
  return writer.take();
}

/** What a client begins with: the preface and its settings. */
function begin(writer: FrameWriter, ...settings: Setting[]): void {
  writer.preface();
  writer.settings(settings);
}

/** HEADERS of a whole block, without the dynamic table: each stands for itself. */
function headers(writer: FrameWriter, stream: number, fields: Readonly<Record<string, string>>, endStream = false): void {
  const encoder = new HpackEncoder();
  for (const [name, value] of Object.entries(fields)) encoder.field(name, value, "without");
  writer.headers(stream, encoder.take(), endStream, defaultMaxFrameBytes);
}

/** Calls for each frame that arrives, after answering it where it is a PING or SETTINGS. */
function readFrames(socket: Socket, onFrame: (got: Frame) => void): void {
  let head = { type: 0, flags: 0, stream: 0 };
  let data: Buffer[] = [];
  const reader = new FrameReader(
    {
      onFrame(type, flags, stream) {
        head = { type, flags, stream };
        data = [];
        return true;
      },
      onData: (bytes, start, end) => data.push(Buffer.from(bytes.subarray(start, end))),
      onFrameEnd(type, bytes, start, end) {
        const payload = Buffer.concat([...data, bytes.subarray(start, end)]);
        if (type === frame.ping && head.flags === 0) socket.write(framesOf((writer) => writer.ping(payload, 0, true)));
        if (type === frame.settings && head.flags === 0) socket.write(framesOf((writer) => writer.settingsAck()));
        onFrame({ ...head, payload });
      },
      onMalformed: (code) => socket.destroy(new Error(`the server's frames are malformed: ${code}`)),
    },
    "server",
  );
  socket.on("data", (chunk) => reader.read(chunk, 0, chunk.length));
}

export interface RawRequest {
  readonly port: number;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** Stops when this holds, when the connection ends, or after `timeoutMs`. */
  readonly until: (frames: readonly Frame[]) => boolean;
  readonly timeoutMs?: number;
  /** Reads so slowly: room for so many bytes more, every so often. Default: no more than the first window. */
  readonly takes?: { readonly bytes: number; readonly everyMs: number };
}

/** Sends one POST on stream 1, its body as far as the first windows allow, and returns the frames that came back. */
export function rawRequest({
  port,
  path = "/v1/chat/completions",
  headers: more = {},
  body,
  until,
  timeoutMs = 5000,
  takes,
}: RawRequest): Promise<Frame[]> {
  return new Promise((resolve) => {
    const frames: Frame[] = [];
    const socket = connect(port, "127.0.0.1");
    const reading = setInterval(() => {
      if (takes === undefined || socket.destroyed) return;
      for (const stream of [0, 1]) socket.write(framesOf((writer) => writer.windowUpdate(stream, takes.bytes)));
    }, takes?.everyMs ?? timeoutMs);
    const done = (): void => {
      clearTimeout(timer);
      clearInterval(reading);
      socket.destroy();
      resolve(frames);
    };
    const timer = setTimeout(done, timeoutMs);
    socket.on("error", () => {});
    socket.on("close", done);
    const fields = {
      ":method": "POST",
      ":scheme": "http",
      ":path": path,
      ":authority": "localhost",
      "content-length": String(body.length),
      ...more,
    };
    const sent = body.subarray(0, 65_535);
    socket.write(
      framesOf((writer) => {
        begin(writer);
        headers(writer, 1, fields);
        for (let at = 0; at < sent.length; at += defaultMaxFrameBytes) {
          const end = Math.min(sent.length, at + defaultMaxFrameBytes);
          writer.data(1, sent, at, end, end === body.length);
        }
      }),
    );
    readFrames(socket, (got) => {
      frames.push(got);
      if (until(frames)) done();
    });
  });
}

export const bodyOf = (frames: readonly Frame[]): string =>
  Buffer.concat(frames.filter(({ type, stream }) => type === frame.data && stream === 1).map(({ payload }) => payload)).toString();

const fieldsOf = (method: string, path: string): Record<string, string> => ({
  ":method": method,
  ":path": path,
  ":scheme": "http",
  ":authority": "x",
});

/** The bytes of so many POSTs, each reset behind its body, and of a PING behind all of them. */
export function resetRequests(path: string, body: Buffer, count: number): Buffer {
  return framesOf((writer) => {
    begin(writer);
    for (let id = 1; id < 2 * count; id += 2) {
      headers(writer, id, fieldsOf("POST", path));
      writer.data(id, body, 0, body.length, true);
      writer.reset(id, errorCode.cancel);
    }
    writer.ping(Buffer.from("all sent"), 0, false);
  });
}

/** The bytes of so many GETs on a connection of their own. */
export function requests(path: string, count: number): Buffer {
  return framesOf((writer) => {
    begin(writer);
    for (let id = 1; id < 2 * count; id += 2) headers(writer, id, fieldsOf("GET", path), true);
  });
}

/** A client of many streams on one connection, whose room is given by hand. */
export interface RawStreams {
  /** Bytes of DATA so far, by stream. */
  readonly bytes: ReadonlyMap<number, number>;
  /** Streams that were reset, and those that came to their end. */
  readonly reset: ReadonlySet<number>;
  readonly ended: ReadonlySet<number>;
  /** The error codes of GOAWAY frames. */
  readonly goaways: readonly number[];
  readonly closed: boolean;
  /** Room for so many bytes more on a stream, or with 0 on the connection. */
  give(stream: number, bytes: number): void;
  /** Opens a stream with a POST of this body. */
  open(stream: number, body: object, headers?: Readonly<Record<string, string>>): void;
  cancel(stream: number): void;
  destroy(): void;
}

/** The connection has the room of its beginning, 65,535 bytes, and each stream `streamWindow`. */
export function rawStreams(port: number, streamWindow: number): RawStreams {
  const socket = connect(port, "127.0.0.1");
  const bytes = new Map<number, number>();
  const reset = new Set<number>();
  const ended = new Set<number>();
  const goaways: number[] = [];
  socket.on("error", () => {});
  readFrames(socket, ({ type, flags, stream, payload }) => {
    if (type === frame.data) {
      bytes.set(stream, (bytes.get(stream) ?? 0) + payload.length);
      if (flags & flag.endStream) ended.add(stream);
    } else if (type === frame.reset) {
      reset.add(stream);
    } else if (type === frame.goaway) {
      goaways.push(payload.readUInt32BE(4));
    }
  });
  socket.write(framesOf((writer) => begin(writer, [setting.initialWindow, streamWindow])));
  return {
    bytes,
    reset,
    ended,
    goaways,
    get closed() {
      return socket.destroyed;
    },
    give(stream, room) {
      if (!socket.destroyed) socket.write(framesOf((writer) => writer.windowUpdate(stream, room)));
    },
    open(stream, body, more = {}) {
      const fields = { ":method": "POST", ":scheme": "http", ":path": "/v1/chat/completions", ":authority": "localhost", ...more };
      const sent = Buffer.from(JSON.stringify(body));
      socket.write(
        framesOf((writer) => {
          headers(writer, stream, fields);
          writer.data(stream, sent, 0, sent.length, true);
        }),
      );
    },
    cancel(stream) {
      socket.write(framesOf((writer) => writer.reset(stream, errorCode.cancel)));
    },
    destroy: () => socket.destroy(),
  };
}
