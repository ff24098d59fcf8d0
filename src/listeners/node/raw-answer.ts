/** An HTTP/1.1 answer written by hand, for connections that no HTTP engine has taken, or whose parser has given up. */
import { STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { BaseSink } from "../sink.ts";

/** How long the peer may go on sending, milliseconds. Unread bytes would make the close a TCP RST, and the answer would be lost. */
const lingerAfterAnswerMs = 500;

/** Answers once, says `Connection: close`, and closes. */
export class RawAnswerSink extends BaseSink {
  readonly bufferedBytes = 0;
  readonly #socket: Duplex;

  constructor(socket: Duplex) {
    super();
    this.#socket = socket;
  }

  /** Never called: refusals have one frame, and it comes with `end`. */
  write(): boolean {
    return false;
  }

  end(frame?: Uint8Array): void {
    if (this.closed) return;
    this.closed = true;
    const socket = this.#socket;
    const { status, headers } = this.head!;
    const connection = headers["connection"] === undefined ? "close" : `${headers["connection"]}, close`;
    const lines = Object.entries({ ...headers, "content-length": String(frame?.length ?? 0), connection });
    socket.on("error", () => {});
    socket.end(
      Buffer.concat([
        Buffer.from(
          `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`,
          "latin1",
        ),
        frame ?? Buffer.alloc(0),
      ]),
    );
    socket.resume();
    const timer = setTimeout(() => socket.destroy(), lingerAfterAnswerMs);
    socket.once("close", () => clearTimeout(timer));
  }

  reset(): void {
    this.closed = true;
    this.#socket.destroy();
  }
}
