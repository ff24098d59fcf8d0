/**
 * Flow control as a receiver has it (RFC 9113, section 5.2): what was received, what of it was taken, and when the sender
 * is told that it may go on. A window is renewed when half of it is used.
 */

/** Of every stream and connection until told otherwise (RFC 9113, section 6.9.2). */
export const defaultWindow = 65_535;

/** Our receive windows, bytes; that of the connection cannot be below 65,535. */
export interface ReceiveWindows {
  readonly streamBytes: number;
  readonly connectionBytes: number;
  /**
   * When a byte no longer counts against the connection's window: as soon as it has come, as node and Go have it, or when
   * the reader of its stream has taken it, so that one stream that nobody reads holds up all others. Default "arrival".
   */
  readonly connectionCredit?: "arrival" | "read";
}

export const defaultWindows: ReceiveWindows = { streamBytes: defaultWindow, connectionBytes: 16_777_216 };

/** What one stream has received. */
export class StreamCredit {
  /** Bytes since its last WINDOW_UPDATE. */
  unacknowledged = 0;
  /** Bytes that nobody has taken and that the connection's window still holds. */
  held = 0;
  /** Whether its reader takes what comes. */
  isRead = true;
}

export class ReceiveCredit {
  readonly windows: ReceiveWindows;
  /** Bytes taken since the connection's last WINDOW_UPDATE. */
  #unacknowledged = 0;

  constructor(windows: ReceiveWindows) {
    this.windows = windows;
  }

  /** Hot path. Bytes of a DATA frame that come for a stream, or for one that is gone. */
  received(bytes: number, stream: StreamCredit | undefined): void {
    if (stream !== undefined) {
      stream.unacknowledged += bytes;
      if (!stream.isRead && this.windows.connectionCredit === "read") {
        stream.held += bytes;
        return;
      }
    }
    this.#unacknowledged += bytes;
  }

  /** Hot path. What to tell the sender about a stream now, in bytes; 0: nothing. */
  forStream(stream: StreamCredit): number {
    if (!stream.isRead || stream.unacknowledged <= this.windows.streamBytes / 2) return 0;
    const bytes = stream.unacknowledged;
    stream.unacknowledged = 0;
    return bytes;
  }

  /** Hot path. What to tell the sender about the connection now, in bytes; 0: nothing. */
  forConnection(): number {
    if (this.#unacknowledged <= this.windows.connectionBytes / 2) return 0;
    const bytes = this.#unacknowledged;
    this.#unacknowledged = 0;
    return bytes;
  }

  /** A stream's reader takes everything that was kept for it, or the stream is gone and nobody will. */
  release(stream: StreamCredit): void {
    stream.isRead = true;
    this.#unacknowledged += stream.held;
    stream.held = 0;
  }
}
