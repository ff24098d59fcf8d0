/** How much a client asks of the server without asking for anything: frames that carry no request, and what they make it do. */
import { flag, frame } from "../../wire/h2/frames.ts";
import { mostRefusals } from "../multiplexed.ts";

/** The bounds of one interval of the watchdog. */
const mostBytes = 1_048_576;
/** Each takes a look at every open stream. */
const mostSettings = 1000;
const mostEmptyData = 1000;
/** Streams that break the protocol. An honest client has none; a test of a client may have some. */
const mostStreamErrors = 100;

export class ControlFrames {
  /** Bytes of control frames that a client may send beyond `mostBytes`: as many as it is sent. */
  allowance = 0;
  #bytes = 0;
  #settings = 0;
  #emptyData = 0;
  #streamErrors = 0;
  #refusals = 0;

  /** An interval begins. */
  begin(): void {
    this.allowance = this.#bytes = this.#settings = this.#emptyData = this.#streamErrors = this.#refusals = 0;
  }

  /** Hot path. Counts a frame; true: it is one too many. */
  count(type: number, flags: number, length: number): boolean {
    if (type === frame.data) return length === 0 && (flags & flag.endStream) === 0 && ++this.#emptyData > mostEmptyData;
    if (type === frame.headers || type === frame.continuation) return false;
    this.#bytes += 9 + length;
    if (type === frame.settings && ++this.#settings > mostSettings) return true;
    return this.#bytes > mostBytes + this.allowance;
  }

  /** Counts a stream that was reset for a fault of the client's; true: it is one too many. */
  countStreamError(): boolean {
    return ++this.#streamErrors > mostStreamErrors;
  }

  /** Counts a stream that was refused for their number; true: it is one too many. */
  countRefusal(maxConcurrentStreams: number): boolean {
    return ++this.#refusals > mostRefusals(maxConcurrentStreams);
  }
}
