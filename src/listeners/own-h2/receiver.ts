/** What the streams of a connection receive: bodies of requests, and the room that they have (RFC 9113, section 6.9). */
import { defaultWindow, ReceiveCredit } from "../../wire/h2/windows.ts";
import type { Output } from "./output.ts";
import type { Stream } from "./stream.ts";

export class Receiver {
  readonly #output: Output;
  readonly #onMismatch: (stream: Stream) => void;
  readonly #credit = new ReceiveCredit({ streamBytes: defaultWindow, connectionBytes: defaultWindow });
  /** Of the DATA frame that is being read. */
  #stream: Stream | undefined;
  /** DATA that was read and not handed on: with the end of its frame it may be the whole body. */
  #data: Buffer | null = null;
  #start = 0;
  #end = 0;

  /** `onMismatch`: a request has ended, and its body is not as long as it was said to be (section 8.1.1). */
  constructor(output: Output, onMismatch: (stream: Stream) => void) {
    this.#output = output;
    this.#onMismatch = onMismatch;
  }

  /** A DATA frame begins. It counts against the windows before its bytes come (section 6.9.1). false: it passes one of them. */
  begin(stream: Stream | undefined, length: number): boolean {
    this.#stream = stream;
    return this.#credit.received(length, stream);
  }

  /** DATA of that frame. */
  take(bytes: Buffer, start: number, end: number): void {
    this.handOn();
    this.#data = bytes;
    this.#start = start;
    this.#end = end;
  }

  /** Hands on DATA whose frame has not ended, or is not the last. */
  handOn(): void {
    const bytes = this.#data;
    if (bytes === null) return;
    this.#data = null;
    const stream = this.#stream;
    if (stream === undefined || stream.closed) return;
    stream.bodyBytes += this.#end - this.#start;
    stream.owner?.onBody(bytes, this.#start, this.#end);
  }

  /** The frame has ended, and with `isLast` the request. Returns the stream that goes on. */
  end(isLast: boolean): Stream | undefined {
    const stream = this.#stream;
    if (!isLast) {
      this.handOn();
      return stream;
    }
    const bytes = this.#data;
    this.#data = null;
    if (stream !== undefined && !stream.closed) {
      if (bytes === null) this.endRequest(stream, nothing, 0, 0);
      else {
        stream.bodyBytes += this.#end - this.#start;
        this.endRequest(stream, bytes, this.#start, this.#end);
      }
    }
    return undefined;
  }

  /** The request has ended, with a last part of its body. */
  endRequest(stream: Stream, bytes: Buffer, start: number, end: number): void {
    if (stream.announcedBytes >= 0 && stream.announcedBytes !== stream.bodyBytes) {
      this.#onMismatch(stream);
      return;
    }
    stream.remoteEnded = true;
    stream.owner?.onBodyEnd(bytes, start, end);
  }

  /** Gives back the room that was used, of the connection and of a stream. */
  credit(stream: Stream | undefined): void {
    if (stream !== undefined && !stream.closed) {
      const owed = this.#credit.forStream(stream);
      if (owed > 0) this.#output.windowUpdate(stream.id, owed);
    }
    const owed = this.#credit.forConnection();
    if (owed > 0) this.#output.windowUpdate(0, owed);
  }

  /** The stream is over. */
  release(stream: Stream): void {
    this.#credit.release(stream);
  }
}

const nothing = Buffer.alloc(0);
