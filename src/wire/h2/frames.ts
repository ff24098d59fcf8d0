/**
 * HTTP/2 frames (RFC 9113, sections 4 and 6, and RFC 9218, section 7.1): their numbers and layout, and which of them both ends must
 * refuse.
 */

export const frame = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  push: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
  priorityUpdate: 16,
} as const;
export const flag = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 32 } as const;
/** Section 7. `none` also stands for "no error" where a function returns a code. */
export const errorCode = {
  none: 0,
  protocol: 1,
  internal: 2,
  flowControl: 3,
  settingsTimeout: 4,
  streamClosed: 5,
  frameSize: 6,
  refusedStream: 7,
  cancel: 8,
  compression: 9,
  connect: 10,
  enhanceYourCalm: 11,
  inadequateSecurity: 12,
  http11Required: 13,
} as const;

/** The names of the codes (section 7), each at its number. */
const errorNames = [
  "NO_ERROR",
  "PROTOCOL_ERROR",
  "INTERNAL_ERROR",
  "FLOW_CONTROL_ERROR",
  "SETTINGS_TIMEOUT",
  "STREAM_CLOSED",
  "FRAME_SIZE_ERROR",
  "REFUSED_STREAM",
  "CANCEL",
  "COMPRESSION_ERROR",
  "CONNECT_ERROR",
  "ENHANCE_YOUR_CALM",
  "INADEQUATE_SECURITY",
  "HTTP_1_1_REQUIRED",
] as const;

/** How section 7 calls an error code; other numbers as "error 0x2a". */
export function errorName(code: number): string {
  return errorNames[code] ?? `error 0x${code.toString(16)}`;
}

/** The 24 bytes a client begins with (section 3.4). */
export const preface: Buffer = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");
export const frameHeaderBytes = 9;
/** SETTINGS_MAX_FRAME_SIZE until the receiver announces another (section 6.5.2). */
export const defaultMaxFrameBytes = 16_384;

/** Hot path. Puts the nine bytes before a payload of `length` bytes at `at`. Returns where the payload begins. */
export function putFrameHeader(into: Buffer, at: number, length: number, type: number, flags: number, id: number): number {
  into[at] = length >>> 16;
  into[at + 1] = length >>> 8;
  into[at + 2] = length;
  into[at + 3] = type;
  into[at + 4] = flags;
  into[at + 5] = id >>> 24;
  into[at + 6] = id >>> 16;
  into[at + 7] = id >>> 8;
  into[at + 8] = id;
  return at + frameHeaderBytes;
}

/**
 * Hot path. The connection error that a frame's header alone shows, or `errorCode.none`: its length against our
 * SETTINGS_MAX_FRAME_SIZE and the lengths of section 6, and whether its type belongs to a stream. A PRIORITY of a wrong
 * length is an error of its stream only (section 6.3), so it is no fault here.
 */
export function frameFault(type: number, flags: number, id: number, length: number, maxFrameBytes: number): number {
  if (length > maxFrameBytes) return errorCode.frameSize;
  switch (type) {
    case frame.data:
    case frame.headers:
    case frame.priority:
    case frame.push:
    case frame.continuation:
      return id === 0 ? errorCode.protocol : errorCode.none;
    case frame.reset:
      if (id === 0) return errorCode.protocol;
      return length === 4 ? errorCode.none : errorCode.frameSize;
    case frame.settings:
      if (id !== 0) return errorCode.protocol;
      return (flags & flag.ack ? length : length % 6) === 0 ? errorCode.none : errorCode.frameSize;
    case frame.ping:
      if (id !== 0) return errorCode.protocol;
      return length === 8 ? errorCode.none : errorCode.frameSize;
    case frame.goaway:
      if (id !== 0) return errorCode.protocol;
      return length >= 8 ? errorCode.none : errorCode.frameSize;
    case frame.windowUpdate:
      return length === 4 ? errorCode.none : errorCode.frameSize;
    case frame.priorityUpdate:
      if (id !== 0) return errorCode.protocol;
      return length >= 4 ? errorCode.none : errorCode.frameSize;
    default:
      // Unknown types are ignored, on any stream (section 5.5).
      return errorCode.none;
  }
}

/** All types above CONTINUATION are counted as one. */
const unknownType = 10;

/** Bytes of frames in one direction, by type. */
export class FrameBytes {
  readonly #payload = new Float64Array(unknownType + 1);
  readonly #frames = new Float64Array(unknownType + 1);

  /** Hot path. A frame whose payload has `length` bytes. */
  count(type: number, length: number): void {
    const place = type < unknownType ? type : unknownType;
    this.#payload[place]! += length;
    this.#frames[place]!++;
  }

  /** Bytes of a type's payloads, padding included. */
  payload(type: number): number {
    return this.#payload[type]!;
  }

  /** Bytes of a type's frame headers. */
  overhead(type: number): number {
    return this.#frames[type]! * frameHeaderBytes;
  }

  /** Bytes of the frames of these types, headers and payloads. */
  of(...types: readonly number[]): number {
    return types.reduce((sum, type) => sum + this.payload(type) + this.overhead(type), 0);
  }

  /** Bytes of all frames. */
  get total(): number {
    let sum = 0;
    for (let type = 0; type <= unknownType; type++) sum += this.of(type);
    return sum;
  }
}
