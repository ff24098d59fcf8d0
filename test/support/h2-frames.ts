/** HTTP/2 frame by frame, without a library between: what a server really sent. Cleartext, one request. */
import { connect, type Socket } from "node:net";

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export const frameTypes = { data: 0, headers: 1, rstStream: 3, settings: 4, ping: 6, goaway: 7, windowUpdate: 8 } as const;
export const endStream = 1;
const endHeaders = 4;

function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A header field without indexing, its name literal (RFC 7541, 6.2.2); texts under 127 bytes. */
function field(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.from([0, name.length]), Buffer.from(name), Buffer.from([value.length]), Buffer.from(value)]);
}

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/** What a client begins with: the preface and its settings, by default none. */
function opening(settings: Buffer = Buffer.alloc(0)): Buffer {
  return Buffer.concat([Buffer.from(preface), frame(frameTypes.settings, 0, 0, settings)]);
}

/** HEADERS of a whole header block. */
function headers(stream: number, fields: Readonly<Record<string, string>>, flags = 0): Buffer {
  return frame(
    frameTypes.headers,
    endHeaders + flags,
    stream,
    Buffer.concat(Object.entries(fields).map(([name, value]) => field(name, value))),
  );
}

/** RST_STREAM with CANCEL (8). */
const cancelling = (stream: number): Buffer => frame(frameTypes.rstStream, 0, stream, Buffer.from([0, 0, 0, 8]));

/** WINDOW_UPDATE; stream 0: the connection. */
function roomFor(stream: number, bytes: number): Buffer {
  const increment = Buffer.alloc(4);
  increment.writeUInt32BE(bytes);
  return frame(frameTypes.windowUpdate, 0, stream, increment);
}

/** Calls for each frame that arrives, after answering it where it is a PING. */
function readFrames(socket: Socket, onFrame: (got: Frame) => void): void {
  let rest = Buffer.alloc(0);
  socket.on("data", (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 9) {
      const length = rest.readUIntBE(0, 3);
      if (rest.length < 9 + length) break;
      const got = { type: rest[3]!, flags: rest[4]!, stream: rest.readUInt32BE(5), payload: Buffer.from(rest.subarray(9, 9 + length)) };
      rest = rest.subarray(9 + length);
      if (got.type === frameTypes.ping && got.flags === 0) socket.write(frame(frameTypes.ping, 1, 0, got.payload));
      onFrame(got);
    }
  });
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
      if (takes !== undefined && !socket.destroyed) for (const stream of [0, 1]) socket.write(roomFor(stream, takes.bytes));
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
    socket.write(opening());
    socket.write(headers(1, fields));
    const sent = body.subarray(0, 65_535);
    for (let at = 0; at < sent.length; at += 16_384) {
      const last = sent.length === body.length && at + 16_384 >= sent.length;
      socket.write(frame(frameTypes.data, last ? endStream : 0, 1, sent.subarray(at, at + 16_384)));
    }
    readFrames(socket, (got) => {
      frames.push(got);
      if (until(frames)) done();
    });
  });
}

export const bodyOf = (frames: readonly Frame[]): string =>
  Buffer.concat(frames.filter(({ type, stream }) => type === frameTypes.data && stream === 1).map(({ payload }) => payload)).toString();

const fieldsOf = (method: string, path: string): Record<string, string> => ({
  ":method": method,
  ":path": path,
  ":scheme": "http",
  ":authority": "x",
});

/** The bytes of so many POSTs, each reset behind its body, and of a PING behind all of them. */
export function resetRequests(path: string, body: Buffer, count: number): Buffer {
  const parts = [opening()];
  for (let id = 1; id < 2 * count; id += 2) {
    parts.push(headers(id, fieldsOf("POST", path)), frame(frameTypes.data, endStream, id, body), cancelling(id));
  }
  return Buffer.concat([...parts, frame(frameTypes.ping, 0, 0, Buffer.from("all sent"))]);
}

/** The bytes of so many GETs on a connection of their own. */
export function requests(path: string, count: number): Buffer {
  const parts = [opening()];
  for (let id = 1; id < 2 * count; id += 2) parts.push(headers(id, fieldsOf("GET", path), endStream));
  return Buffer.concat(parts);
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
    if (type === frameTypes.data) {
      bytes.set(stream, (bytes.get(stream) ?? 0) + payload.length);
      if (flags & endStream) ended.add(stream);
    } else if (type === frameTypes.rstStream) {
      reset.add(stream);
    } else if (type === frameTypes.goaway) {
      goaways.push(payload.readUInt32BE(4));
    }
  });
  const initialWindow = Buffer.alloc(6);
  initialWindow.writeUInt16BE(4, 0);
  initialWindow.writeUInt32BE(streamWindow, 2);
  socket.write(opening(initialWindow));
  return {
    bytes,
    reset,
    ended,
    goaways,
    get closed() {
      return socket.destroyed;
    },
    give(stream, room) {
      if (!socket.destroyed) socket.write(roomFor(stream, room));
    },
    open(stream, body, more = {}) {
      const fields = { ":method": "POST", ":scheme": "http", ":path": "/v1/chat/completions", ":authority": "localhost", ...more };
      socket.write(headers(stream, fields));
      socket.write(frame(frameTypes.data, endStream, stream, Buffer.from(JSON.stringify(body))));
    },
    cancel(stream) {
      socket.write(cancelling(stream));
    },
    destroy: () => socket.destroy(),
  };
}
