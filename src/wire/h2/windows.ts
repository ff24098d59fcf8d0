/** Flow control (RFC 9113, sections 5.2 and 6.9), as a sender and as a receiver of DATA keep it. */

/** The first window of every stream and connection (section 6.9.2). */
export const defaultWindow = 65_535;
/** No window may grow beyond it (section 6.9.1). */
export const maxWindow = 2_147_483_647;

/** What may still be sent on a stream or on a connection. */
export class SendWindow {
  #bytes: number;

  constructor(bytes: number = defaultWindow) {
    this.#bytes = bytes;
  }

  /** Bytes that may be sent. Below 0 after the peer has lowered SETTINGS_INITIAL_WINDOW_SIZE (section 6.9.2). */
  get bytes(): number {
    return this.#bytes;
  }

  /** Hot path. The payload of a DATA frame was sent, padding included. */
  spend(bytes: number): void {
    this.#bytes -= bytes;
  }

  /**
   * A WINDOW_UPDATE, or the difference that a new SETTINGS_INITIAL_WINDOW_SIZE makes. false: the window would pass its
   * maximum, a FLOW_CONTROL_ERROR.
   */
  grow(bytes: number): boolean {
    this.#bytes += bytes;
    return this.#bytes <= maxWindow;
  }
}

/** Our receive windows, bytes; that of the connection cannot be below 65,535. */
export interface ReceiveWindows {
  readonly streamBytes: number;
  readonly connectionBytes: number;
  /**
   * When a byte no longer counts against the connection's window. "arrival": when it has come, as in node and Go.
   * "read": when the reader of its stream has taken it, so that one unread stream holds up all others. Default "arrival".
   */
  readonly connectionCredit?: "arrival" | "read";
}

/** What one stream has received. */
export class StreamCredit {
  /** Bytes since its last WINDOW_UPDATE. */
  unacknowledged = 0;
  /** Bytes that its reader has not taken and that count against the connection's window. */
  held = 0;
  /** Whether its reader takes what comes. */
  isRead = true;
}

/** What a receiver owes the sender of a connection. A window is renewed when more than half of it is used. */
export class ReceiveCredit {
  readonly windows: ReceiveWindows;
  /** Bytes taken since the connection's last WINDOW_UPDATE. */
  #unacknowledged = 0;
  /** Bytes that count against the connection's window until the readers of their streams take them. */
  #held = 0;

  constructor(windows: ReceiveWindows) {
    this.windows = windows;
  }

  /**
   * Hot path. The payload of a DATA frame, padding included, for a stream; undefined: for one that is gone, which counts
   * against the connection all the same. false: the sender has passed a window, a FLOW_CONTROL_ERROR (section 6.9.1),
   * once it has acknowledged the SETTINGS with these windows.
   */
  received(bytes: number, stream: StreamCredit | undefined): boolean {
    const isHeld = stream !== undefined && !stream.isRead && this.windows.connectionCredit === "read";
    if (isHeld) {
      stream.held += bytes;
      this.#held += bytes;
    } else {
      this.#unacknowledged += bytes;
    }
    if (stream !== undefined) stream.unacknowledged += bytes;
    const fits = this.#unacknowledged + this.#held <= this.windows.connectionBytes;
    return fits && (stream === undefined || stream.unacknowledged <= this.windows.streamBytes);
  }

  /** Hot path. The WINDOW_UPDATE that a stream is owed, in bytes; 0: none. */
  forStream(stream: StreamCredit): number {
    if (!stream.isRead || stream.unacknowledged <= this.windows.streamBytes / 2) return 0;
    const bytes = stream.unacknowledged;
    stream.unacknowledged = 0;
    return bytes;
  }

  /** Hot path. The WINDOW_UPDATE that the connection is owed, in bytes; 0: none. */
  forConnection(): number {
    if (this.#unacknowledged <= this.windows.connectionBytes / 2) return 0;
    const bytes = this.#unacknowledged;
    this.#unacknowledged = 0;
    return bytes;
  }

  /** A stream's reader has taken everything that was kept for it, or the stream is gone. */
  release(stream: StreamCredit): void {
    stream.isRead = true;
    this.#unacknowledged += stream.held;
    this.#held -= stream.held;
    stream.held = 0;
  }
}
