/** Responses on uWebSockets.js, and the request bodies that come before them: how writes are corked, and what is counted. */
import type { HttpResponse } from "uWebSockets.js";
import type { ListenerCounts, Refusal, ResponseHead } from "../../core/seams.ts";
import type { AwaitedBody, BodyDeadlines, Bounds, Waiting } from "../bounds.ts";
import { BaseSink, discardBytes } from "../sink.ts";
import type { UwsRequest } from "./request.ts";

/** What a sink needs of its listener. */
export interface SinkOwner {
  readonly counts: ListenerCounts;
  readonly bounds: Bounds;
  readonly deadlines: BodyDeadlines;
  /** true: each answer is the last on its connection. */
  readonly closing: boolean;
  /** Hands a whole request to the handler. */
  deliver(request: UwsRequest, body: Uint8Array, sink: UwsSink): void;
  /** Refuses a body that is too large. */
  refuseBody(request: UwsRequest, sink: UwsSink): void;
  /** Refuses a request and closes its connection. */
  refuse(reason: Refusal, request: UwsRequest, sink: UwsSink): void;
}

/** Status lines by code. A status without its reason phrase makes h2load count the answer as failed. */
const statusLines: string[] = [];

function statusLine(status: number): string {
  // Of this module nothing else is needed, and of most answers not even that.
  return (statusLines[status] ??= `${status} ${process.getBuiltinModule("node:http").STATUS_CODES[status] ?? "Unknown"}`);
}

/**
 * The most of a frame that is written at once. The engine gathers the writes of a cork in 16 kB (`LoopData::CORK_BUFFER_SIZE`).
 * A write that no longer fits flushes what was gathered; where the socket does not take all of that, the write is dropped
 * (`AsyncSocket::uncork` returns without it), and a size line stands there without its chunk. So everything in a cork has to
 * fit, with 2 kB for the head, the size line and the end. While the engine calls us it has corked already, and all pieces go
 * into that cork; what it flushes then is less than 16 kB, on a socket that a client without pipelining has emptied.
 */
const pieceBytes = 14_336;

const lineFeed = 10;
/** Two empty lines: between two events of a stream they mean nothing (WHATWG HTML, section 9.2.6). */
const emptyLines = Uint8Array.of(lineFeed, lineFeed);

/**
 * Hot path, called within a cork. The engine writes the CRLF that ends a chunk with the next chunk: alone, an event would be whole
 * for a client that waits for whole chunks (`requests`, `urllib3`) only when the next event is due. So a chunk of empty lines
 * follows each event in the same cork; what waits is the CRLF of that chunk. Two lines, because a client that splits the body at
 * blank lines then finds an empty piece and not an event that begins with a line end. Returns false when the socket has not taken
 * all of the writes before.
 */
function writeEvent(response: HttpResponse, frame: Uint8Array): boolean {
  const ok = response.write(frame);
  const last = frame.length - 1;
  return frame[last] === lineFeed && frame[last - 1] === lineFeed ? response.write(emptyLines) : ok;
}

/** What the functions below are about to do; module-wide, so that corking needs no closure for each write. */
let corkedSink: UwsSink;
let corkedResponse: HttpResponse;
let corkedFrame: Uint8Array | undefined;
let corkedLast = false;
let corkedOk = true;
const setCorked = (sink: UwsSink, frame: Uint8Array | undefined, last: boolean): void => {
  corkedSink = sink;
  corkedFrame = frame;
  corkedLast = last;
};
const flush = (): void => {
  corkedOk = corkedSink.flush(corkedFrame, corkedLast);
};
const nothing = (): void => {};
const flushFrame = (): void => {
  corkedOk = writeEvent(corkedResponse, corkedFrame!);
};

/** The head that was joined last. */
let joinedHead: ResponseHead | null = null;
let joinedName = "";
let joinedLines = "";
/** Its names and values, and its lines up to the value of the last: that is the id, where a provider gives each answer one. */
let joinedNames: string[] = [];
let joinedValues: string[] = [];
let linesBeforeLast = "";
let joinedStem: object | undefined;

/** Joins all headers into one. uWebSockets.js takes a value as it is, line ends included: one call for the head, not one for each header. */
function joinHead(head: ResponseHead): void {
  const { headers } = head;
  joinedHead = head;
  if (head.stem !== undefined && head.stem === joinedStem) {
    joinedLines = linesBeforeLast + headers[joinedNames[joinedNames.length - 1]!]!;
    return;
  }
  joinedStem = head.stem;
  let count = 0;
  let equal = 0;
  let lastName = "";
  for (const name in headers) {
    if (equal === count && joinedNames[count] === name && joinedValues[count] === headers[name]) equal++;
    count++;
    lastName = name;
  }
  const last = joinedNames.length - 1;
  if (last > 0 && count === last + 1 && equal >= last && joinedNames[last] === lastName) {
    joinedValues[last] = headers[lastName]!;
    joinedLines = linesBeforeLast + headers[lastName]!;
    return;
  }
  joinedNames = Object.keys(headers);
  joinedValues = Object.values(headers);
  joinedName = joinedNames[0] ?? "";
  // A name other than the first stands in the value of the first.
  const lines = joinedValues.map((value, index) => (index === 0 ? value : `\r\n${joinedNames[index]!}: ${value}`));
  joinedLines = lines.join("");
  linesBeforeLast = joinedLines.slice(0, joinedLines.length - (joinedValues.at(-1)?.length ?? 0));
}

export class UwsSink extends BaseSink implements Waiting, AwaitedBody {
  // What each token touches comes first.
  readonly #response: HttpResponse;
  readonly #headOnly: boolean;
  #headSent = false;
  #waiting = false;
  /** The most bytes that the engine can keep of what was written. A write that it takes whole tells that nothing before is left. */
  #heldBytes = 0;
  readonly carrier = "uws";
  /** The engine does not tell. */
  readonly bufferedBytes = 0;
  readonly #owner: SinkOwner;
  /** null once it was handed on: each waiting stream holds what its sink holds. */
  #request: UwsRequest | null;
  #drainAttached = false;
  /** Pieces of a body that comes in several reads. */
  #parts: Buffer[] | null = null;
  #bodyBytes = 0;
  /** Closes the connection with the answer, for a client that sends a refused body without end. */
  lastOnConnection = false;

  constructor(owner: SinkOwner, response: HttpResponse, request: UwsRequest) {
    super();
    this.#owner = owner;
    this.#response = response;
    this.#request = request;
    this.#headOnly = request.method === "HEAD";
    owner.counts.streams++;
    // Without this listener uWebSockets.js ends the process when a handler throws or returns without an answer.
    response.onAborted(() => {
      if (!this.closed) owner.counts.streams--;
      owner.deadlines.delete(this);
      this.#caughtUp();
      this.aborted();
    });
  }

  /** Hot path. Corked, because outside a cork each call is a system call. */
  write(frame: Uint8Array): boolean {
    if (this.closed) return false;
    // The engine ends a head with the first bytes behind it.
    if (frame.length === 0) return true;
    if (frame.length > pieceBytes) {
      // Attached before: no write may follow that tells whether the last piece was taken, and without this listener the engine
      // waits for the reader for 10 s only.
      this.#attachDrain();
      const last = this.#writePieces(frame);
      const ok = corkedOk;
      this.#cork(last, false);
      corkedOk &&= ok;
    } else if (this.#headSent && !this.#headOnly) {
      corkedResponse = this.#response;
      corkedFrame = frame;
      corkedResponse.cork(flushFrame);
      this.#heldBytes = frame.length + (corkedOk ? 0 : this.#heldBytes);
    } else {
      this.#cork(frame, false);
    }
    if (!corkedOk) this.#wait();
    else if (this.#waiting) this.#caughtUp();
    return corkedOk;
  }

  /** Writes all pieces of a long frame but the last, and returns the last. */
  #writePieces(frame: Uint8Array): Uint8Array {
    let at = 0;
    let ok = true;
    for (; at + pieceBytes < frame.length; at += pieceBytes) {
      this.#cork(frame.subarray(at, at + pieceBytes), false);
      ok &&= corkedOk;
    }
    corkedOk = ok;
    return frame.subarray(at);
  }

  /**
   * The engine keeps what the socket did not take; a write returns false when it could not send all of the write before.
   * Nothing else is written before the engine says that there is room. It does not say how much, so the count stays until a
   * write is taken.
   */
  #wait(): void {
    this.#waiting = true;
    this.#owner.bounds.setWaiting(this, this.#heldBytes, this.#owner.counts);
    this.#attachDrain();
  }

  #attachDrain(): void {
    if (this.#drainAttached) return;
    this.#drainAttached = true;
    this.#response.onWritable(() => {
      // With this listener the engine sends what it keeps only with the next write, which may not be due for long.
      this.#response.cork(nothing);
      if (this.#waiting) this.#waitAgain();
      this.observer?.onDrain();
      return true;
    });
  }

  /** Goes to the end of those that wait: its reader has just read, so others have waited longer. */
  #waitAgain(): void {
    const { bounds, counts } = this.#owner;
    bounds.setWaiting(this, 0, counts);
    bounds.setWaiting(this, this.#heldBytes, counts);
  }

  #caughtUp(): void {
    if (!this.#waiting) return;
    this.#waiting = false;
    this.#owner.bounds.setWaiting(this, 0, this.#owner.counts);
  }

  expire(reason: Refusal = "body-timeout"): void {
    const request = this.#request;
    this.#request = null;
    this.#parts = null;
    if (!this.closed && request !== null) this.#owner.refuse(reason, request, this);
  }

  /** Takes a piece of the request's body. The chunk is valid during this call only; so a handler may not keep it either. */
  receive(chunk: ArrayBuffer, isLast: boolean): void {
    if (isLast) this.#owner.deadlines.delete(this);
    const request = this.#request;
    if (this.closed || request === null) return;
    const { maxBodyBytes } = this.#owner.bounds.limits;
    this.#bodyBytes += chunk.byteLength;
    if (this.#bodyBytes > maxBodyBytes) {
      this.#parts = null;
      if (!isLast && this.#bodyBytes <= maxBodyBytes + discardBytes) return;
      this.#request = null;
      this.lastOnConnection = !isLast;
      if (this.#answersLater(request)) setImmediate(() => this.closed || this.#owner.refuseBody(request, this));
      else this.#owner.refuseBody(request, this);
    } else if (isLast) {
      const parts = this.#parts;
      this.#request = null;
      this.#parts = null;
      const last = new Uint8Array(chunk);
      if (this.#answersLater(request)) {
        const body = Buffer.concat([...(parts ?? []), last]);
        setImmediate(() => this.closed || this.#owner.deliver(request, body, this));
      } else {
        this.#owner.deliver(request, parts === null ? last : Buffer.concat([...parts, last]), this);
      }
    } else {
      (this.#parts ??= []).push(Buffer.from(new Uint8Array(chunk)));
    }
  }

  /**
   * Whether the answer, the last on its connection, has to wait for the next turn. After such an answer at once the engine shuts
   * the connection down and still takes a request that came in the same read, hears no more of the client, and writes to memory
   * that it has freed when its timer ends the connection. While an answer is out it closes the connection instead.
   */
  #answersLater(request: UwsRequest): boolean {
    return request.closes || this.#owner.closing;
  }

  shed(): void {
    if (this.closed) return;
    const { observer } = this;
    this.reset();
    observer?.onAbort();
  }

  end(frame?: Uint8Array): void {
    if (this.closed) return;
    const isLong = frame !== undefined && frame.length > pieceBytes && this.head!.streamed;
    this.#cork(isLong ? this.#writePieces(frame) : frame, true);
    this.#close();
  }

  reset(): void {
    if (this.closed) return;
    this.#close();
    this.#response.close();
  }

  /** The connection becomes another protocol's, without an answer here. false: it is gone, or has its answer. */
  leave(): boolean {
    if (this.closed) return false;
    this.#close();
    return true;
  }

  #cork(frame: Uint8Array | undefined, last: boolean): void {
    setCorked(this, frame, last);
    this.#response.cork(flush);
    this.#heldBytes = (frame?.length ?? 0) + (corkedOk ? 0 : this.#heldBytes);
  }

  /** Writes what a cork holds; called by the engine, from within `#cork`. */
  flush(frame: Uint8Array | undefined, last: boolean): boolean {
    const response = this.#response;
    const closing = this.#owner.closing || this.lastOnConnection;
    const { streamed } = this.head!;
    if (!this.#headSent) this.#writeHead(this.head!, closing && streamed);
    if (this.#headOnly) {
      if (last) {
        if (!streamed) response.writeHeader("content-length", String(frame?.length ?? 0));
        response.endWithoutBody();
      }
      return true;
    }
    if (!last) return writeEvent(response, frame!);
    if (streamed) {
      // `end` of a response that had no `write` announces a length. With its second argument it writes a "Connection: close"
      // line wherever it stands, into the body too. A stream must have neither.
      if (frame !== undefined) response.write(frame);
      response.end();
    } else {
      response.end(frame, closing);
    }
    return true;
  }

  #writeHead(head: ResponseHead, sayClose: boolean): void {
    this.#headSent = true;
    const response = this.#response;
    // uWebSockets.js writes "200 OK" by itself.
    if (head.status !== 200) response.writeStatus(statusLine(head.status));
    if (joinedHead !== head) joinHead(head);
    if (joinedName !== "") response.writeHeader(joinedName, joinedLines);
    if (sayClose) response.writeHeader("connection", "close");
  }

  #close(): void {
    this.closed = true;
    this.#caughtUp();
    this.observer = null;
    this.#owner.counts.streams--;
  }
}
