/** HTTP/3 (RFC 9114) frames, streams and errors: their numbers, and how they are written. */

/** Section 7.2. */
export const frame = { data: 0, headers: 1, cancelPush: 3, settings: 4, pushPromise: 5, goaway: 7, maxPushId: 13 } as const;

/** Frames of HTTP/2 that may not be sent here (section 7.2.8): PRIORITY, PING, WINDOW_UPDATE, CONTINUATION. */
const reserved: ReadonlySet<number> = new Set([2, 6, 8, 9]);

/** The first number on a unidirectional stream says what it is (section 6.2; RFC 9204, section 4.2). */
export const streamType = { control: 0, push: 1, qpackEncoder: 2, qpackDecoder: 3 } as const;

/** Section 7.2.4.1; RFC 9204, section 5. */
export const setting = { qpackTableBytes: 1, maxFieldSection: 6, qpackBlockedStreams: 7 } as const;

/** Settings of HTTP/2 that may not be sent here (section 7.2.4.1). */
const reservedSettings: ReadonlySet<number> = new Set([0, 2, 3, 4, 5]);

/** Section 8.1; RFC 9204, section 6. */
export const errorCode = {
  none: 0x100,
  generalProtocol: 0x101,
  internal: 0x102,
  streamCreation: 0x103,
  closedCriticalStream: 0x104,
  frameUnexpected: 0x105,
  frame: 0x106,
  excessiveLoad: 0x107,
  id: 0x108,
  settings: 0x109,
  missingSettings: 0x10a,
  requestRejected: 0x10b,
  requestCancelled: 0x10c,
  requestIncomplete: 0x10d,
  message: 0x10e,
  connect: 0x10f,
  versionFallback: 0x110,
  qpackDecompression: 0x200,
  qpackEncoderStream: 0x201,
  qpackDecoderStream: 0x202,
} as const;

const errorNames: ReadonlyMap<number, string> = new Map<number, string>([
  [errorCode.none, "H3_NO_ERROR"],
  [errorCode.generalProtocol, "H3_GENERAL_PROTOCOL_ERROR"],
  [errorCode.internal, "H3_INTERNAL_ERROR"],
  [errorCode.streamCreation, "H3_STREAM_CREATION_ERROR"],
  [errorCode.closedCriticalStream, "H3_CLOSED_CRITICAL_STREAM"],
  [errorCode.frameUnexpected, "H3_FRAME_UNEXPECTED"],
  [errorCode.frame, "H3_FRAME_ERROR"],
  [errorCode.excessiveLoad, "H3_EXCESSIVE_LOAD"],
  [errorCode.id, "H3_ID_ERROR"],
  [errorCode.settings, "H3_SETTINGS_ERROR"],
  [errorCode.missingSettings, "H3_MISSING_SETTINGS"],
  [errorCode.requestRejected, "H3_REQUEST_REJECTED"],
  [errorCode.requestCancelled, "H3_REQUEST_CANCELLED"],
  [errorCode.requestIncomplete, "H3_REQUEST_INCOMPLETE"],
  [errorCode.message, "H3_MESSAGE_ERROR"],
  [errorCode.connect, "H3_CONNECT_ERROR"],
  [errorCode.versionFallback, "H3_VERSION_FALLBACK"],
  [errorCode.qpackDecompression, "QPACK_DECOMPRESSION_FAILED"],
  [errorCode.qpackEncoderStream, "QPACK_ENCODER_STREAM_ERROR"],
  [errorCode.qpackDecoderStream, "QPACK_DECODER_STREAM_ERROR"],
]);

/** How RFC 9114 calls an error code; other numbers as "error 0x2a". */
export function errorName(code: number): string {
  return errorNames.get(code) ?? `error 0x${code.toString(16)}`;
}

/**
 * The code of HTTP/3 for each of HTTP/2 (RFC 9114, appendix A.4), from 0. Where that gives none, because QUIC does the work, it is
 * H3_GENERAL_PROTOCOL_ERROR.
 */
const fromHttp2: readonly number[] = [
  errorCode.none,
  errorCode.generalProtocol,
  errorCode.internal,
  errorCode.generalProtocol,
  errorCode.generalProtocol,
  errorCode.generalProtocol,
  errorCode.frame,
  errorCode.requestRejected,
  errorCode.requestCancelled,
  errorCode.qpackDecompression,
  errorCode.connect,
  errorCode.excessiveLoad,
  errorCode.generalProtocol,
  errorCode.versionFallback,
];

/** The code of HTTP/3 that says what a code of HTTP/2 says; a larger number is itself. */
export function codeOf(http2Code: number): number {
  return fromHttp2[http2Code] ?? http2Code;
}

/** Why a frame may not come on a request stream, as an error code of the connection; 0: it may. Unknown frames may (section 9). */
export function requestFrameFault(type: number): number {
  const isMisplaced = type === frame.settings || type === frame.goaway || type === frame.maxPushId || type === frame.cancelPush;
  // A client may not promise, and no client of ours allows a push (section 7.2.5).
  return isMisplaced || type === frame.pushPromise || reserved.has(type) ? errorCode.frameUnexpected : 0;
}

/** Why a frame may not come on a control stream, where its SETTINGS have come or not; 0: it may. */
export function controlFrameFault(type: number, isSettled: boolean): number {
  if (!isSettled) return type === frame.settings ? 0 : errorCode.missingSettings;
  const isMisplaced = type === frame.data || type === frame.headers || type === frame.pushPromise || type === frame.settings;
  return isMisplaced || reserved.has(type) ? errorCode.frameUnexpected : 0;
}

/** Reads the payload of SETTINGS. Returns the error of the connection; 0: none (section 7.2.4). */
export function readSettings(bytes: Buffer, start: number, end: number, onSetting: (id: number, value: number) => void): number {
  const seen = new Set<number>();
  let at = start;
  while (at < end) {
    const id = readVarint(bytes, at, end);
    const valueAt = at + varintBytes(bytes[at]!);
    const value = valueAt < end ? readVarint(bytes, valueAt, end) : -1;
    if (id < 0 || value < 0) return errorCode.frame;
    if (seen.has(id) || reservedSettings.has(id)) return errorCode.settings;
    seen.add(id);
    onSetting(id, value);
    at = valueAt + varintBytes(bytes[valueAt]!);
  }
  return 0;
}

/** Hot path. Bytes of a number, by its first byte (RFC 9000, section 16). */
export function varintBytes(first: number): number {
  return 1 << (first >> 6);
}

/** Hot path. The number at `at`; -1: it does not end before `end`. Numbers beyond 2^53 lose their last digits. */
export function readVarint(bytes: Uint8Array, at: number, end: number): number {
  const first = bytes[at]!;
  const size = 1 << (first >> 6);
  if (at + size > end) return -1;
  let value = first & 0x3f;
  for (let i = 1; i < size; i++) value = value * 256 + bytes[at + i]!;
  return value;
}

/** Bytes that a number takes, from 0 to 2^53. */
export function varintLength(value: number): number {
  return value < 0x40 ? 1 : value < 0x4000 ? 2 : value < 0x4000_0000 ? 4 : 8;
}

/** Hot path. Writes a number below 2^53 in its shortest form. Returns the index behind it. */
export function putVarint(into: Uint8Array, at: number, value: number): number {
  const size = varintLength(value);
  let rest = value;
  for (let i = size - 1; i > 0; i--) {
    into[at + i] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  // The two highest bits say the length.
  into[at] = rest | ((size === 1 ? 0 : size === 2 ? 1 : size === 4 ? 2 : 3) << 6);
  return at + size;
}

/** Hot path. Writes what stands before a frame's payload. Returns the index behind it; at most 9 bytes for our own frames. */
export function putFrameHeader(into: Uint8Array, at: number, type: number, length: number): number {
  return putVarint(into, putVarint(into, at, type), length);
}

/** A whole frame. */
export function frameOf(type: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(varintLength(type) + varintLength(payload.length) + payload.length);
  bytes.set(payload, putFrameHeader(bytes, 0, type, payload.length));
  return bytes;
}

/** What opens a control stream: its type, and SETTINGS (section 6.2.1). */
export function controlOpening(settings: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(settings.length * 16);
  let at = 0;
  for (const [id, value] of settings) at = putVarint(payload, putVarint(payload, at, id), value);
  return Buffer.concat([Buffer.from([streamType.control]), frameOf(frame.settings, payload.subarray(0, at))]);
}

/** GOAWAY: requests on this stream and beyond were not processed (section 5.2). */
export function goawayFrame(id: number): Buffer {
  const payload = Buffer.alloc(8);
  return frameOf(frame.goaway, payload.subarray(0, putVarint(payload, 0, id)));
}
