/** One request: when it left, when each token came, how it ended. */
import { OutputReader } from "./conversations.ts";
import { EventReader, newTokenEvent, scanEvent, type TokenEvent } from "./events.ts";
import type { PlannedRequest, RecordedAnswer } from "./job.ts";
import { monotonicUs } from "../base/clock.ts";
import { ForeignBody, messageIn, oneLine, plainBody } from "./words.ts";
import type { Exchange, FailureReason, ResponseHead } from "./client/connection.ts";

/** Numbers kept of each content event: microseconds after the start. */
const stride = 5;
const [arrivalAt, seenAt, dueAt, sentAt, tokensAt] = [0, 1, 2, 3, 4];
/** Bytes held of an answer that is no stream. An answer with 2,048 embeddings of 2,048 numbers takes 50 MB. */
export const maxBodyBytes = 67_108_864;
/** Content events of one answer whose times are kept: 16 MiB. Models end at some 100,000 tokens. */
const maxEvents = 1_048_576;
/** Bytes that all answers under way may hold together. */
const maxHeldBytes = 268_435_456;

/** Stands for a missing stamp. */
const none = -2_147_483_648;

/** What all requests of a run share. */
export interface AnswerContext {
  readonly stream: boolean;
  /** Whether the text of answers is kept, for a tokenizer. */
  readonly keepsText: boolean;
  /** The clock whose stamps can be compared with ours; null for none. */
  readonly clock: string | null;
  /** Another clock, of a server on another host, by its name; null: not known. Absent: no server has another. */
  readonly foreign?: (name: string) => ForeignClock | null;
  /** Bytes that answers under way hold. */
  heldBytes: number;
  /**
   * Called when the server refuses a stream without processing it (RFC 9113, section 8.7). true: the request is sent again,
   * and the answer goes on.
   */
  onRefused(answer: Answer): boolean;
  /** Called once for each answer, also for failed ones. */
  onSettled(answer: Answer): void;
}

/** A line through the offset over a run: server's clock minus ours, microseconds, at an instant of ours. */
export interface OffsetLine {
  readonly atUs: number;
  readonly offsetUs: number;
  readonly perUs: number;
}

/** The clock of a server on another host. */
export interface ForeignClock {
  readonly name: string;
  /** That clock minus ours, about: stamps are kept without it. */
  readonly offsetUs: number;
  /** The offset as it is known after the run; null: not well enough, and stamps are none. */
  line: OffsetLine | null;
}

export class Answer implements Exchange {
  readonly index: number;
  readonly planned: PlannedRequest;
  /** When it was due; microseconds of the monotonic clock, as all times here. */
  readonly intendedUs: number;
  /** When it was given to the socket; 0 before. */
  startUs = 0;
  /** When it was first given to a socket; another than `startUs` where it was refused and sent again. */
  firstSentUs = 0;
  /** When the last bytes came. */
  activeUs = 0;
  endUs = 0;
  status: number | null = null;
  error: FailureReason | null = null;
  /** What more is known of the failure; null: nothing. */
  words: string | null = null;
  /** The server says that it made a fault on purpose. */
  faulted = false;
  /** The address that it was sent to, where the endpoint names several. */
  address: string | null = null;
  settled = false;
  /** Given up on purpose, after as many tokens as planned; or broken off by the server, as it was when it was recorded. */
  aborted = false;
  /** Bytes of the body so far. */
  bodyBytes = 0;
  /** Microseconds after the start; -1: none. */
  firstEvent = -1;
  /** Content events. */
  events = 0;
  /** Reads of the socket that held content. */
  contentReads = 0;
  /** UTF-8 bytes of the content. */
  contentBytes = 0;
  /** Null where the answer names none. */
  finishReason: string | null = null;
  /** usage.completion_tokens, the last that was said; -1: none was. */
  usage = -1;
  /** usage.prompt_tokens, the last that was said; -1: none was. */
  promptTokens = -1;
  /** Of those, what the server had cached, the last that was said; -1: it did not say. */
  cachedTokens = -1;
  /** Bytes on the socket for it alone; -1: others shared its connection, or it is of no session. */
  bytesSent = -1;
  bytesReceived = -1;
  /** Of a session's turn: what its conversation goes on with. */
  readonly output: OutputReader | null;
  /** Reads of the socket that held a part of the stream. */
  #bodyReads = 0;
  /** The content, where it is kept. */
  text = "";
  /** Tokens of the text by a tokenizer; -1: it was not counted. */
  tokenized = -1;
  /** When the last read that held content was. */
  #contentUs = -1;
  #finished = false;
  /** What its error event says; null: none came. */
  #failed: string | null = null;
  #times: Int32Array;
  #readUs = 0;
  #stamped = false;
  /** Whose clock its stamps are of; null: ours. */
  #otherClock: ForeignClock | null = null;
  #reader: EventReader | null = null;
  /** Decided by the first bytes where the content type does not say. */
  #form: "stream" | "json" | "unknown" = "unknown";
  #json: Buffer[] = [];
  /** The answer where it is not the one that was asked for: its words are kept. */
  #foreign: ForeignBody | null = null;
  #contentEncoding: string | null = null;
  /** What this answer has added to the context's `heldBytes`. */
  #heldBytes = 0;
  readonly #context: AnswerContext;
  /** Gives the request up at the connection. */
  cancel: () => void = () => {};

  constructor(context: AnswerContext, index: number, planned: PlannedRequest, intendedUs: number) {
    this.#context = context;
    this.index = index;
    this.planned = planned;
    this.intendedUs = intendedUs;
    this.#times = noTimes;
    this.output = planned.turn === undefined ? null : new OutputReader(planned.turn.form);
  }

  /** Output tokens: what usage says, else one for each content event; null where the answer says nothing of tokens. */
  get tokens(): number | null {
    if (this.usage >= 0) return this.usage;
    return this.#form === "stream" ? this.events : null;
  }

  /** Whether it came as a stream of events. */
  get streamed(): boolean {
    return this.#form === "stream";
  }

  /**
   * Whether several tokens came in one read, and nothing proves that they were sent one by one, as stamps do: when the first
   * was there, and what lay between them, cannot be told. An event that alone holds all tokens does so if the whole body came
   * with it.
   */
  get inOneRead(): boolean {
    if (this.contentReads !== 1 || this.stamps(0) !== null) return false;
    return this.events > 1 || (this.usage > 1 && this.#bodyReads === 1);
  }

  /** Whether usage contradicts what came: fewer tokens than events, more than bytes of text, more than were ordered. */
  get contradicted(): boolean {
    if (this.usage < 0 || !this.streamed || this.aborted) return false;
    const most = this.planned.tokens ?? this.planned.maxTokens ?? Infinity;
    return this.usage < this.events || this.usage > Math.min(most, Math.max(1, this.contentBytes));
  }

  get stamped(): boolean {
    return this.#stamped;
  }

  /** Microseconds after the start at which content event `i` was read. */
  arrival(i: number): number {
    return this.#times[i * stride + arrivalAt]!;
  }

  /** Microseconds after the start at which content event `i` was handled. */
  seen(i: number): number {
    return this.#times[i * stride + seenAt]!;
  }

  /** Tokens up to and with content event `i`, as the usage in it says; -1 where it says nothing. */
  tokensAt(i: number): number {
    return this.#times[i * stride + tokensAt]!;
  }

  /** Stamps of content event `i` after the start, or null. */
  stamps(i: number): { due: number; sent: number } | null {
    const due = this.#times[i * stride + dueAt]!;
    if (due === none) return null;
    const sent = this.#times[i * stride + sentAt]!;
    if (this.#otherClock === null) return { due, sent };
    const { line, offsetUs } = this.#otherClock;
    if (line === null) return null;
    const shift = line.offsetUs + (this.startUs + this.arrival(i) - line.atUs) * line.perUs - offsetUs;
    return { due: due - shift, sent: sent - shift };
  }

  onResponse({ status, contentType, contentEncoding, location, clock, fault }: ResponseHead, readUs: number): void {
    this.activeUs = readUs;
    this.faulted = fault !== null;
    this.status = status;
    this.#otherClock = clock === null || clock === this.#context.clock ? null : (this.#context.foreign?.(clock) ?? null);
    this.#stamped = clock !== null && (clock === this.#context.clock || this.#otherClock !== null);
    if (contentType.includes("event-stream")) this.#form = "stream";
    else if (contentType.includes("json")) this.#form = "json";
    this.#contentEncoding = contentEncoding === "identity" ? null : contentEncoding;
    const isGood = status >= 200 && status < 300;
    const isStream = this.planned.stream ?? this.#context.stream;
    if (!isGood || (isStream && (this.#form !== "stream" || this.#contentEncoding !== null)))
      this.#foreign = new ForeignBody(contentType, contentEncoding, location);
  }

  /** Hot path. */
  onData(bytes: Buffer, start: number, end: number, readUs: number): void {
    this.activeUs = readUs;
    this.bodyBytes += end - start;
    this.#foreign?.push(bytes, start, end);
    // The text of an error is not a token.
    if (this.status !== 200 && (this.status === null || this.status > 299)) return;
    // What is recorded may be of any type: only its length is looked at.
    if (this.#form === "unknown" && this.planned.recorded !== undefined) return;
    if (this.#form === "unknown") this.#form = bytes[start] === 123 || bytes[start] === 91 ? "json" : "stream";
    if (this.#form === "json") {
      this.#hold(this.#heldBytes + end - start, maxBodyBytes);
      if (!this.settled) this.#json.push(Buffer.from(bytes.subarray(start, end)));
      return;
    }
    const reader = this.#readerAt(readUs);
    reader.push(bytes, start, end);
    if (this.settled) return;
    if (reader.isTooLong || this.events > maxEvents) this.giveUp("response too large");
    else if (reader.heldBytes !== this.#heldBytes) this.#hold(reader.heldBytes, Infinity);
  }

  /** Hot path. */
  onEvent(bytes: Buffer, start: number, end: number, readUs: number): boolean {
    this.activeUs = readUs;
    const isLast = this.#readerAt(readUs).take(bytes, start, end);
    if (!this.settled && this.events > maxEvents) this.giveUp("response too large");
    return isLast;
  }

  /** Hot path. What reads the bytes of a read. */
  #readerAt(readUs: number): EventReader {
    if (readUs !== this.#readUs) this.#bodyReads++;
    this.#readUs = readUs;
    return (this.#reader ??= new EventReader((event) => this.#onEvent(event), this.#context.keepsText));
  }

  /** This answer holds `bytes`; it is given up where that, or what all answers hold, is too much. */
  #hold(bytes: number, most: number): void {
    this.#context.heldBytes += bytes - this.#heldBytes;
    this.#heldBytes = bytes;
    if (bytes > most || this.#context.heldBytes > maxHeldBytes) this.giveUp("response too large");
  }

  /** Gives the request up at the connection, as failed. */
  giveUp(reason: FailureReason, words?: string): void {
    const { cancel } = this;
    cancel();
    this.onFail(reason, words);
  }

  onEnd(readUs: number): void {
    if (this.settled) return;
    this.endUs = readUs;
    if (this.planned.recorded !== undefined) return this.#endRecorded(this.planned.recorded);
    const { status } = this;
    if (status === null || status < 200 || status > 299) return this.onFail(`status ${status ?? 0}`);
    const isStream = this.planned.stream ?? this.#context.stream;
    if (isStream && this.#contentEncoding !== null)
      return this.onFail("compressed stream", `content-encoding: ${oneLine(this.#contentEncoding)}`);
    if (this.#form === "json") {
      const { body, unary } = this.#readJson();
      if (isStream) return this.onFail("not a stream");
      if (unary.failed) return this.onFail("error event", oneLine(messageIn(body.toString("utf8", 0, 8192))));
    } else if (this.#form === "stream") {
      if (this.#failed !== null) return this.onFail("error event", this.#failed);
      if (!this.#finished) return this.onFail(this.firstEvent < 0 && this.#foreign !== null ? "not a stream" : "incomplete stream");
    } else if (isStream) {
      return this.onFail("incomplete stream", "an empty body");
    }
    const { tokens } = this.planned;
    if (tokens !== null && this.tokens !== tokens) return this.onFail("wrong token count", `${this.tokens ?? "no"} of ${tokens}`);
    const fault = this.#faultOfEnd();
    if (fault !== null) return this.onFail(fault);
    this.#settle();
  }

  /** What an answer in one piece says of itself. */
  #readJson(): { readonly body: Buffer; readonly unary: TokenEvent } {
    const body = plainBody(Buffer.concat(this.#json), this.#contentEncoding, maxBodyBytes);
    this.#json = [];
    const unary = newTokenEvent(this.#context.keepsText);
    scanEvent(body, 0, body.length, unary);
    this.text = unary.text ?? "";
    if (unary.tokens >= 0) this.usage = unary.tokens;
    this.promptTokens = unary.promptTokens;
    this.cachedTokens = unary.cachedTokens;
    this.output?.push(body.toString("utf8"), true);
    this.contentBytes = unary.contentBytes;
    this.finishReason = unary.finishReason;
    return { body, unary };
  }

  /** The answer has ended in order: it is right where it is the recorded one, whatever that says. */
  #endRecorded({ status, bodyBytes, isCut }: RecordedAnswer): void {
    if (this.status !== status) return this.onFail(`status ${this.status ?? 0}`);
    if (this.bodyBytes !== bodyBytes) return this.onFail("not as recorded", `${this.bodyBytes} bytes of ${bodyBytes}`);
    if (isCut) return this.onFail("not as recorded", "it ended in order, and broke off when it was recorded");
    if (this.#form === "json") this.#readJson();
    this.#settle();
  }

  /** Whether an answer that breaks off is the recorded one. */
  #isCutAsRecorded(reason: FailureReason): boolean {
    const { recorded } = this.planned;
    if (recorded === undefined || !recorded.isCut || (reason !== "reset" && reason !== "connection closed")) return false;
    return this.status === recorded.status && this.bodyBytes === recorded.bodyBytes;
  }

  /** Why a stream that ended well in form is no answer to what was asked, or null. */
  #faultOfEnd(): FailureReason | null {
    const { tokens, maxTokens } = this.planned;
    if (!this.streamed || this.finishReason !== null) return null;
    if (tokens !== null) return "no finish reason";
    return maxTokens !== undefined && this.events === 0 ? "empty answer" : null;
  }

  onFail(reason: FailureReason, words?: string): void {
    if (this.settled || (reason === "refused" && this.#context.onRefused(this))) return;
    if (this.endUs === 0) this.endUs = monotonicUs();
    if (this.#isCutAsRecorded(reason)) {
      this.aborted = true;
      return this.#settle();
    }
    this.error = reason;
    this.words = words ?? this.#foreign?.words() ?? null;
    this.#settle();
  }

  #settle(): void {
    this.settled = true;
    this.#reader = null;
    this.#foreign = null;
    this.#json = [];
    this.#context.heldBytes -= this.#heldBytes;
    this.#heldBytes = 0;
    this.cancel = noop;
    this.#context.onSettled(this);
  }

  /** Ends the request on purpose, after as many tokens as planned. */
  #endEarly(): void {
    this.endUs = this.#readUs;
    this.aborted = true;
    const { cancel } = this;
    cancel();
    this.#settle();
  }

  /** Hot path. */
  #onEvent(event: TokenEvent): void {
    // The rest of the read in which the request was given up.
    if (this.settled || this.events > maxEvents) return;
    const arrival = this.#readUs - this.startUs;
    if (this.firstEvent < 0) this.firstEvent = arrival;
    if (event.finished) this.#finished = true;
    if (event.failed) this.#failed ??= oneLine(messageIn(this.#reader?.text() ?? ""));
    if (event.tokens >= 0) this.usage = event.tokens;
    if (event.promptTokens >= 0) this.promptTokens = event.promptTokens;
    if (event.cachedTokens >= 0) this.cachedTokens = event.cachedTokens;
    if (event.finishReason !== null) this.finishReason = event.finishReason;
    if (!event.content) {
      if (this.output !== null) this.output.push(this.#reader!.whole(), event.finished);
      return;
    }
    this.contentBytes += event.contentBytes;
    if (event.text !== null) this.text += event.text;
    if (this.#readUs !== this.#contentUs) {
      this.#contentUs = this.#readUs;
      this.contentReads++;
    }
    const at = this.events++ * stride;
    if (at >= this.#times.length) this.#grow();
    const times = this.#times;
    times[at + arrivalAt] = Math.round(arrival);
    times[at + seenAt] = Math.round(monotonicUs() - this.startUs);
    const isStamped = this.#stamped && event.dueUs >= 0 && event.sentUs >= 0;
    const from = this.startUs + (this.#otherClock === null ? 0 : this.#otherClock.offsetUs);
    times[at + dueAt] = isStamped ? Math.round(event.dueUs - from) : none;
    times[at + sentAt] = isStamped ? Math.round(event.sentUs - from) : none;
    times[at + tokensAt] = event.tokens;
    // Behind the clock: what it takes is none of the token's time.
    if (this.output !== null) this.output.push(this.#reader!.whole(), event.finished);
    if (this.events === this.planned.abortAfter) this.#endEarly();
  }

  #grow(): void {
    const wanted = this.#times.length === 0 ? Math.max(8, this.planned.tokens ?? 64) : (this.#times.length / stride) * 2;
    const grown = new Int32Array(wanted * stride);
    grown.set(this.#times);
    this.#times = grown;
  }
}

const noTimes = new Int32Array(0);
const noop = (): void => {};
