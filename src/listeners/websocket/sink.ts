/** One answer on a WebSocket: the events of its stream as messages. */
import type { MessageAnswer, MessageForm, WireFault } from "../../core/seams.ts";
import { BaseSink } from "../sink.ts";

const lineFeed = 10;
const closingBrace = 125;
/** How the line of an event begins that holds its data. Providers' streams have one such line in each event. */
const data = new TextEncoder().encode("data: ");
const errorEvent = new TextEncoder().encode("event: error\n");

/** Where messages with members of their own are put together; sockets keep nothing that they are given. */
let scratch = Buffer.allocUnsafe(65_536);

/** Hot path. Whether these bytes stand there. */
function standsAt(bytes: Uint8Array, at: number, wanted: Uint8Array): boolean {
  if (at + wanted.length > bytes.length) return false;
  for (let index = 0; index < wanted.length; index++) if (bytes[at + index] !== wanted[index]) return false;
  return true;
}

/** What the answers of a connection need of it. */
export interface SinkConnection {
  readonly carrier: "uws-ws" | "node-ws";
  readonly bufferedBytes: number;
  /** Bytes that left, of all answers. */
  readonly takenBytes: number;
  /** true: no answer may go on before the reader has caught up. */
  readonly isFull: boolean;
  sendText(text: string): void;
  sendBytes(message: Uint8Array): void;
  /** Sends one message in fragments, one after the other and nothing between. */
  sendFragments(parts: readonly Uint8Array[]): void;
  cork(action: () => void): void;
  /** Calls `drained` when the reader has caught up. */
  wait(sink: MessageSink): void;
  forget(sink: MessageSink): void;
  close(code: number, reason: string): void;
  fail(): void;
  resetConnection(): void;
}

export class MessageSink extends BaseSink implements MessageAnswer {
  readonly carrier: "uws-ws" | "node-ws";
  readonly requestOnConnection: number;
  readonly #connection: SinkConnection;
  readonly #form: MessageForm;
  /** Pieces of events whose end has not come: a fault cuts them. */
  #pieces: Uint8Array[] = [];
  /** Bytes that the peer had taken at the last look. */
  #takenBytes = 0;

  constructor(connection: SinkConnection, form: MessageForm, requestOnConnection: number) {
    super();
    this.carrier = connection.carrier;
    this.requestOnConnection = requestOnConnection;
    this.#connection = connection;
    this.#form = form;
  }

  get connection(): object {
    return this.#connection;
  }

  get bufferedBytes(): number {
    return this.#connection.bufferedBytes;
  }

  /** Messages of all answers of a connection leave in one order, so what others had taken before counts for this one. */
  override isBeingRead(): boolean {
    const before = this.#takenBytes;
    this.#takenBytes = this.#connection.takenBytes;
    return this.#takenBytes > before;
  }

  /** Hot path. */
  write(frame: Uint8Array): boolean {
    if (this.closed) return false;
    this.#sendEvents(frame);
    // What was sent may have found that the connection is gone.
    if (this.closed) return false;
    if (!this.#connection.isFull) return true;
    this.#takenBytes = this.#connection.takenBytes;
    this.#connection.wait(this);
    return false;
  }

  /** Hot path. */
  #sendEvents(frame: Uint8Array): void {
    const end = frame.length;
    if (end === 0) return;
    if (this.#pieces.length > 0 || frame[end - 1] !== lineFeed || frame[end - 2] !== lineFeed) return this.#addPiece(frame);
    const lineEnd = frame.indexOf(lineFeed);
    // Most frames are one event of two lines: its type, which its data repeats, and its data.
    const dataAt = standsAt(frame, 0, data) ? 0 : lineEnd + 1;
    const dataEnd = dataAt === 0 ? lineEnd : frame.indexOf(lineFeed, dataAt);
    if (dataEnd === end - 2 && standsAt(frame, dataAt, data)) {
      this.#sendData(frame, dataAt, dataEnd, dataAt > 0 && standsAt(frame, 0, errorEvent));
    } else {
      this.#connection.cork(() => this.#sendLines(frame));
    }
  }

  /** A fault cuts events: each goes when it is whole, its message in fragments where it was cut. */
  #addPiece(piece: Uint8Array): void {
    const pieces = this.#pieces;
    pieces.push(piece.slice());
    const last = pieces.at(-1)!;
    const before = last.length > 1 ? last.at(-2) : pieces.at(-2)?.at(-1);
    if (last.at(-1) !== lineFeed || before !== lineFeed) return;
    this.#pieces = [];
    const whole = Buffer.concat(pieces);
    const cuts: number[] = [];
    for (let at = 0, index = 0; index < pieces.length - 1; index++) cuts.push((at += pieces[index]!.length));
    let isError = false;
    for (let at = 0; at < whole.length;) {
      const lineEnd = whole.indexOf(lineFeed, at);
      if (standsAt(whole, at, errorEvent)) isError = true;
      else if (standsAt(whole, at, data) && isError) this.#sendData(whole, at, lineEnd, true);
      else if (standsAt(whole, at, data)) this.#sendCut(whole, at + data.length, lineEnd, cuts);
      at = lineEnd + 1;
    }
  }

  /** Sends the data between two places as a message, cut where cuts fall into it. */
  #sendCut(whole: Uint8Array, from: number, end: number, cuts: readonly number[]): void {
    const { members } = this.#form;
    const isObject = whole[end - 1] === closingBrace;
    const bounds = [from, ...cuts.filter((cut) => cut > from && cut < end), end];
    const parts = bounds.slice(1).map((to, index) => whole.subarray(bounds[index], to));
    if (members.length > 0 && isObject)
      parts.splice(-1, 1, Buffer.concat([parts.at(-1)!.subarray(0, -1), members, Uint8Array.of(closingBrace)]));
    this.#connection.sendFragments(parts);
  }

  /** The messages of a frame of any lines. */
  #sendLines(frame: Uint8Array): void {
    let isError = false;
    for (let at = 0; at < frame.length;) {
      const found = frame.indexOf(lineFeed, at);
      const lineEnd = found < 0 ? frame.length : found;
      if (lineEnd === at) isError = false;
      else if (standsAt(frame, at, errorEvent)) isError = true;
      else if (standsAt(frame, at, data)) this.#sendData(frame, at, lineEnd, isError);
      at = lineEnd + 1;
    }
  }

  /** Hot path. Sends the data of one event, from the line that holds it. */
  #sendData(frame: Uint8Array, lineAt: number, lineEnd: number, isError: boolean): void {
    const at = lineAt + data.length;
    if (isError) {
      this.#connection.sendText(this.#form.errorOf(Buffer.from(frame.subarray(at, lineEnd)).toString("utf8")));
      return;
    }
    const { members } = this.#form;
    // What a fault has broken has no brace at its end.
    if (members.length === 0 || frame[lineEnd - 1] !== closingBrace) {
      this.#connection.sendBytes(frame.subarray(at, lineEnd));
      return;
    }
    const length = lineEnd - at + members.length;
    if (length > scratch.length) scratch = Buffer.allocUnsafe(2 * length);
    scratch.set(frame.subarray(at, lineEnd - 1), 0);
    scratch.set(members, lineEnd - 1 - at);
    scratch[length - 1] = closingBrace;
    this.#connection.sendBytes(scratch.subarray(0, length));
  }

  end(frame?: Uint8Array): void {
    if (this.closed) return;
    const head = this.head!;
    if (frame !== undefined) {
      if (head.streamed) this.#sendEvents(frame);
      else this.#connection.sendText(this.#form.messageOf(head, frame));
    }
    this.#over();
  }

  /** Nothing tells a client that one answer of several was cut: the connection ends. */
  reset(): void {
    if (this.closed) return;
    this.#over();
    this.#connection.fail();
  }

  inject(fault: WireFault): void {
    if (this.closed || (fault.kind !== "reset" && fault.kind !== "close")) return;
    this.#over();
    if (fault.kind === "close") this.#connection.close(fault.code, "");
    else this.#connection.resetConnection();
  }

  endEarly(events: Uint8Array): void {
    if (this.closed) return;
    this.#sendEvents(events);
    this.abort();
  }

  /** The connection is gone, or nothing more of the answer is wanted. */
  abort(): void {
    if (this.closed) return;
    this.aborted();
    this.#connection.forget(this);
    this.#form.over();
  }

  /** The peer reads again. */
  drained(): void {
    this.observer?.onDrain();
  }

  #over(): void {
    this.closed = true;
    this.observer = null;
    this.#connection.forget(this);
    this.#form.over();
  }
}
