/** Which use of HTTP/2 is a flood: streams that are opened and reset at once, and control frames without end. */
import type { ServerHttp2Stream } from "node:http2";
import { monotonicUs } from "../../base/clock.ts";
import type { SessionState } from "./session.ts";

/**
 * Bytes that a session may send in one interval of the watchdog beyond its heads, its bodies and as many bytes as it was sent.
 * An honest client sends less control than it gets data. PRIORITY and unknown frames are nothing but control.
 */
const controlBytes = 1_048_576;

/**
 * The least allowance of streams that a session opens and resets in one turn of the event loop, also with a small
 * `--max-concurrent-streams`: one read can bring thousands of streams. If all sessions together reset more than twice the
 * allowance in a turn, each may reset only `fewResetsPerTurn`.
 */
const leastResetsPerTurn = 128;
const fewResetsPerTurn = 32;
/** A session's resets are counted after each so many streams. */
const resetsCountedEvery = 32;
/** How often the event loop is asked whether it was held up, milliseconds. */
const beatMs = 250;

export class FloodRules {
  readonly #maxConcurrentStreams: number;
  /** Sessions that opened streams in this turn, and how many of those streams were reset. */
  readonly #openers: SessionState[] = [];
  #resets = 0;
  /** Absolute microseconds of the last beat, and for how long the event loop was held up before it. */
  #beatUs = monotonicUs();
  #pausedUs = 0;
  readonly #beat: NodeJS.Timeout;

  constructor(maxConcurrentStreams: number) {
    this.#maxConcurrentStreams = maxConcurrentStreams;
    this.#beat = setInterval(() => {
      const nowUs = monotonicUs();
      // What came during a pause may take longer to read than one beat: the allowance fades instead of ending.
      this.#pausedUs = Math.max(this.#pauseUs(nowUs), this.#pausedUs / 2);
      this.#beatUs = nowUs;
    }, beatMs);
    this.#beat.unref();
  }

  close(): void {
    clearInterval(this.#beat);
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
    const most = Math.max(leastResetsPerTurn, this.#maxConcurrentStreams);
    // After a pause of the process, one turn reads what clients reset during all of it: a second's worth for each second.
    const more = (most * Math.max(this.#pausedUs, this.#pauseUs(monotonicUs()))) / 1e6;
    return resets > (this.#resets > 2 * (most + more) ? fewResetsPerTurn : most) + more;
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

  /** Microseconds for which the event loop has not turned, beyond two beats. */
  #pauseUs(nowUs: number): number {
    return Math.max(0, nowUs - this.#beatUs - 2 * beatMs * 1000);
  }
}
