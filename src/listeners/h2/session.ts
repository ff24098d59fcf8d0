/** What the server keeps of one HTTP/2 connection. */
import type { ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import type { Duplex } from "node:stream";
import { monotonicUs } from "../../base/clock.ts";
import { type Handle, handleOf, takenBytes, transportOf } from "../transport.ts";

/** A stream of a session, as the session's owner sees it. */
export interface SessionStream {
  /** Absolute microseconds: when the response ended, or when its reader last took a piece of it since; 0: it has not ended. */
  endedUs: number;
  /** The response has ended and may still wait for its reader: begins to look whether that reads, unless it has begun. */
  watch(): void;
  /** See `ResponseSink.isBeingRead`. */
  isBeingRead(): boolean;
  /** Cuts what is not delivered yet. */
  cut(): void;
}

/** How long a PING may take to be written, microseconds: many turns of the event loop. */
const leastMuteUs = 250_000;

export class SessionState {
  readonly session: ServerHttp2Session;
  readonly socket: Duplex;
  /** Ends the connection by TCP RST. */
  readonly resetConnection: () => void;
  /** Streams that are open. */
  readonly sinks: Set<SessionStream> = new Set();
  /** Bytes of all its responses that wait, as far as they are counted. */
  bufferedBytes = 0;
  /** Requests so far. */
  requests = 0;
  /** Absolute microseconds: when the last stream closed. Counts only while no stream is open. */
  idleSinceUs: number = monotonicUs();
  /** Requests that have not begun yet. */
  waiting = 0;
  /** It has had as many streams open as it may. */
  metStreamLimit = false;

  /** Absolute microseconds: when the unanswered PING left, or when the kernel last took bytes since; 0: no PING is out. */
  pingSentUs = 0;
  #takenAtLook = 0;
  /** Bytes given to the socket when that PING was asked for, and whether the engine has had its turn to write it. */
  #writtenAtPing = 0;
  #hadTurn = false;

  /** Streams opened in this turn of the event loop, and how many of them were reset when `FloodRules` last counted. */
  readonly opened: ServerHttp2Stream[] = [];
  resets = 0;
  /** Bytes of request heads and of bodies so far. */
  headBytes = 0;
  bodyBytes = 0;
  /** At the last look of `FloodRules`: heads and bodies together, bytes read, bytes written. */
  expectedAtLook = 0;
  bytesRead = 0;
  bytesWritten = 0;

  constructor(session: ServerHttp2Session, socket: Duplex, resetConnection: () => void) {
    this.session = session;
    this.socket = socket;
    this.resetConnection = resetConnection;
  }

  get #handle(): Handle | null {
    return handleOf(this.socket);
  }

  get #transport(): Handle | null {
    return transportOf(this.socket);
  }

  /** Bytes that the kernel has taken so far; 0 without a handle. */
  get takenBytes(): number {
    return takenBytes(this.socket);
  }

  /** Bytes that the peer has sent so far, bodies left out. */
  get receivedBytes(): number {
    return (this.#handle?.bytesRead ?? 0) - this.bodyBytes;
  }

  /** true: nothing on the connection holds a stream up, so one that does not send is held up by its own window. */
  get isClear(): boolean {
    return this.#handle?.writeQueueSize === 0 && (this.session.state.remoteWindowSize ?? 0) > 0;
  }

  /**
   * Reads again where the engine has stopped. Behind a frame that it does not forgive it sends GOAWAY and reads nothing more, so it
   * would not see its client close, and would keep the session with all its streams. What still comes it ignores.
   */
  keepReading(): void {
    // With bytes in the queue the engine does not read on purpose: acknowledgements must not pile up.
    if (this.#transport?.writeQueueSize === 0) this.#handle!.readStart();
  }

  /** Asks the engine for a PING. Throws where the session is over. */
  ping(nowUs: number): void {
    this.pingSentUs = nowUs;
    this.#writtenAtPing = this.#transport?.bytesWritten ?? 0;
    this.#hadTurn = false;
    // The process may stand still before the engine writes, right behind the JavaScript of this turn.
    setImmediate(() => {
      this.#hadTurn = true;
    });
    this.session.ping(() => {
      this.pingSentUs = 0;
    });
  }

  /** true: the engine has not written the PING though the socket is free. It does so after its GOAWAY for an error only. */
  isMute(nowUs: number): boolean {
    const transport = this.#transport;
    return (
      this.pingSentUs > 0 &&
      this.#hadTurn &&
      nowUs - this.pingSentUs > leastMuteUs &&
      transport?.writeQueueSize === 0 &&
      transport.bytesWritten === this.#writtenAtPing
    );
  }

  /** While a PING is out, bytes that leave show that the peer lives: its time starts again. */
  extendPing(nowUs: number): void {
    const taken = this.takenBytes;
    if (taken > this.#takenAtLook && this.pingSentUs > 0) this.pingSentUs = nowUs;
    this.#takenAtLook = taken;
  }
}
