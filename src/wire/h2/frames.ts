/** HTTP/2 frames (RFC 9113, section 4 and 6): their layout, and how many bytes of each type went over a connection. */

export const frame = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  push: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;
export const flag = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 32 } as const;
export const setting = { tableSize: 1, enablePush: 2, maxStreams: 3, initialWindow: 4, maxFrame: 5 } as const;
export const errorCode = { refusedStream: 7, cancel: 8 } as const;

/** What a client begins with (section 3.4). */
export const preface: Buffer = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");
export const frameHeaderBytes = 9;

/** The nine bytes before a payload of `length` bytes. */
export function frameHeader(length: number, type: number, flags: number, id: number): Buffer {
  const bytes = Buffer.allocUnsafe(frameHeaderBytes);
  bytes.writeUIntBE(length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(id, 5);
  return bytes;
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

  /** Bytes of a type's payloads; padding is a part of them. */
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
