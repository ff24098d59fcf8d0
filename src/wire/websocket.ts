/** WebSocket frames (RFC 6455, section 5) at a client: what a server sends is read, what a client sends is masked. */

export const opcode = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** Bytes of a message, all its fragments together, that are held at most: far above any event of a model. */
export const maxMessageBytes = 67_108_864;
/** Bytes that a control frame may have (section 5.5). */
const maxControlBytes = 125;

const fin = 0x80;
/** The message is compressed (RFC 7692, section 6). */
const rsv1 = 0x40;
const otherReserved = 0x30;
const mask = 0x80;
const lowBits = 0x7f;
const in16Bits = 126;
const in64Bits = 127;

const empty = Buffer.alloc(0);

/** What frames are told to. Bytes lie between `start` and `end` and are valid during the call. */
export interface FrameConsumer {
  /** Hot path. A whole message. */
  onMessage(bytes: Buffer, start: number, end: number, isText: boolean, isCompressed: boolean): void;
  /** A ping, a pong or a close frame. */
  onControl(code: number, bytes: Buffer, start: number, end: number): void;
}

/** Cuts the bytes of a server into messages. Those that come whole in one read are told where they lie: nothing is copied. */
export class ServerFrameReader {
  /** Payloads of text and binary frames, as they were on the wire. */
  payloadBytes = 0;
  /** Heads of these frames. */
  framingBytes = 0;
  /** Pings and pongs, and close frames, whole. */
  pingBytes = 0;
  closeBytes = 0;
  /** What is no WebSocket in what came, in words; null: nothing. No more is read then. */
  fault: string | null = null;
  readonly #consumer: FrameConsumer;
  readonly #takesCompressed: boolean;
  /** The beginning of a frame whose end has not come. */
  #held: Buffer = empty;
  #heldLength = 0;
  /** Fragments of an unfinished message. */
  #message: Buffer = empty;
  #messageLength = 0;
  /** What its first frame said; null: no message is unfinished. */
  #first: number | null = null;

  /** `takesCompressed`: permessage-deflate was agreed upon. */
  constructor(consumer: FrameConsumer, takesCompressed: boolean) {
    this.#consumer = consumer;
    this.#takesCompressed = takesCompressed;
  }

  /** Hot path. */
  push(bytes: Buffer, start: number, end: number): void {
    if (this.fault !== null) return;
    if (this.#heldLength === 0) {
      const at = this.#read(bytes, start, end);
      if (at < end && this.fault === null) this.#hold(bytes, at, end);
      return;
    }
    this.#hold(bytes, start, end);
    const length = this.#heldLength;
    const at = this.#read(this.#held, 0, length);
    this.#held.copyWithin(0, at, length);
    this.#heldLength = length - at;
  }

  #hold(bytes: Buffer, start: number, end: number): void {
    this.#held = grown(this.#held, this.#heldLength, end - start);
    bytes.copy(this.#held, this.#heldLength, start, end);
    this.#heldLength += end - start;
  }

  /** Hot path. Tells of the whole frames between `at` and `end`; returns where the first that is not whole begins. */
  #read(bytes: Buffer, at: number, end: number): number {
    while (end - at >= 2 && this.fault === null) {
      const first = bytes[at]!;
      const second = bytes[at + 1]!;
      let length = second & lowBits;
      let from = at + 2;
      if (length === in16Bits) {
        if (end - at < 4) break;
        length = bytes.readUInt16BE(from);
        from += 2;
      } else if (length === in64Bits) {
        if (end - at < 10) break;
        length = bytes.readUInt32BE(from) * 0x1_0000_0000 + bytes.readUInt32BE(from + 4);
        from += 8;
      }
      this.fault = this.#faultOf(first, second, length);
      if (this.fault !== null || from + length > end) break;
      if ((first & 8) === 0) this.#take(first, bytes, from, from + length, from - at);
      else this.#takeControl(first & 15, bytes, at, from, from + length);
      at = from + length;
    }
    return at;
  }

  /** Hot path. Why a frame's head is none that a server may send; null: it is one. */
  #faultOf(first: number, second: number, length: number): string | null {
    const code = first & 15;
    const isControl = (code & 8) !== 0;
    if ((second & mask) !== 0) return "a frame of the server is masked";
    if ((first & otherReserved) !== 0 || ((first & rsv1) !== 0 && (!this.#takesCompressed || isControl || code === 0)))
      return "a frame has reserved bits";
    if (isControl)
      return code > opcode.pong || (first & fin) === 0 || length > maxControlBytes
        ? "a control frame is fragmented, too long or of no known kind"
        : null;
    if (code > opcode.binary) return "a frame is of no known kind";
    if ((code === opcode.continuation) !== (this.#first !== null)) return "fragments are out of order";
    return length + this.#messageLength > maxMessageBytes ? "a message is too long" : null;
  }

  /** Hot path. */
  #take(first: number, bytes: Buffer, start: number, end: number, headBytes: number): void {
    this.framingBytes += headBytes;
    this.payloadBytes += end - start;
    if (this.#first === null && (first & fin) !== 0) {
      this.#consumer.onMessage(bytes, start, end, (first & 15) === opcode.text, (first & rsv1) !== 0);
      return;
    }
    this.#first ??= first;
    this.#message = grown(this.#message, this.#messageLength, end - start);
    bytes.copy(this.#message, this.#messageLength, start, end);
    this.#messageLength += end - start;
    if ((first & fin) === 0) return;
    const [begun, length] = [this.#first, this.#messageLength];
    this.#first = null;
    this.#messageLength = 0;
    this.#consumer.onMessage(this.#message, 0, length, (begun & 15) === opcode.text, (begun & rsv1) !== 0);
  }

  #takeControl(code: number, bytes: Buffer, at: number, start: number, end: number): void {
    if (code === opcode.close) this.closeBytes += end - at;
    else this.pingBytes += end - at;
    this.#consumer.onControl(code, bytes, start, end);
  }
}

/** The bytes with room for so many more behind the first `length`. */
function grown(bytes: Buffer, length: number, more: number): Buffer {
  if (length + more <= bytes.length) return bytes;
  const larger = Buffer.allocUnsafe(Math.max(4096, 2 * (length + more)));
  bytes.copy(larger, 0, 0, length);
  return larger;
}

/** A whole message, or a control frame, as a client sends it: masked (section 5.3). `payload` is left as it is. */
export function clientFrame(code: number, payload: Uint8Array, isCompressed = false): Buffer {
  const { length } = payload;
  const headBytes = (length < in16Bits ? 2 : length < 65_536 ? 4 : 10) + 4;
  // The payload begins on a word: it is masked four bytes at a time.
  const padding = (4 - (headBytes % 4)) % 4;
  const words = new Uint32Array(Math.ceil((padding + headBytes + length) / 4));
  const frame = Buffer.from(words.buffer, padding, headBytes + length);
  frame[0] = fin | (isCompressed ? rsv1 : 0) | code;
  if (length < in16Bits) frame[1] = mask | length;
  else if (length < 65_536) {
    frame[1] = mask | in16Bits;
    frame.writeUInt16BE(length, 2);
  } else {
    frame[1] = mask | in64Bits;
    frame.writeUInt32BE(Math.floor(length / 0x1_0000_0000), 2);
    frame.writeUInt32BE(length % 0x1_0000_0000, 6);
  }
  frame.set(payload, headBytes);
  // Random, so that no page can choose the bytes on the wire: a proxy between could take them for HTTP (section 10.3).
  const key = crypto.getRandomValues(new Uint32Array(1))[0]!;
  const first = (padding + headBytes) / 4;
  words[first - 1] = key;
  for (let word = first; word < words.length; word++) words[word]! ^= key;
  return frame;
}
