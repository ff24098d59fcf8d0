/** Which use of HTTP/2 is a flood: streams that are opened and reset at once, and control frames without end. */
import type { ServerHttp2Stream } from "node:http2";
import { ResetAllowance } from "../resets.ts";
import type { SessionState } from "./session.ts";

/**
 * Bytes that a session may send in one interval of the watchdog beyond its heads, its bodies and as many bytes as it was sent.
 * An honest client sends less control than it gets data. PRIORITY and unknown frames are nothing but control.
 */
const controlBytes = 1_048_576;

/** A session's resets are counted after each so many streams. */
const resetsCountedEvery = 32;

export class FloodRules {
  readonly #allowance: ResetAllowance;
  /** Sessions that opened streams in this turn, and how many of those streams were reset. */
  readonly #openers: SessionState[] = [];
  #resets = 0;

  constructor(maxConcurrentStreams: number) {
    this.#allowance = new ResetAllowance(maxConcurrentStreams);
  }

  close(): void {
    this.#allowance.close();
  }

  /** Counts a stream that the session has opened. true: it has reset too many in this turn, right after it opened them. */
  resetsTooMany(state: SessionState, stream: ServerHttp2Stream): boolean {
    const { opened } = state;
    if (opened.length === 0) this.#openers.push(state);
    if (opened.push(stream) % resetsCountedEvery !== 0) return false;
    let resets = 0;
    // `aborted` leaves out streams that were answered in the same turn.
    for (const each of opened) if (each.aborted) resets++;
    this.#resets += resets - state.resets;
    state.resets = resets;
    return this.#allowance.isTooMuch(resets, this.#resets);
  }

  /** Ends the counts of a turn. */
  endTurn(): void {
    for (const state of this.#openers) {
      state.opened.length = 0;
      state.resets = 0;
    }
    this.#openers.length = 0;
    this.#resets = 0;
  }

  /** Asked once in an interval of the watchdog: whether more control frames came since than any use of HTTP/2 needs. */
  sendsTooMuchControl(state: SessionState): boolean {
    const { socket } = state.session;
    if (!socket) return false;
    const read = socket.bytesRead - state.bytesRead;
    const written = socket.bytesWritten - state.bytesWritten;
    const expected = state.headBytes + state.bodyBytes;
    const control = read - written - (expected - state.expectedAtLook);
    state.bytesRead += read;
    state.bytesWritten += written;
    state.expectedAtLook = expected;
    return control > controlBytes;
  }
}
