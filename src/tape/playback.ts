/** Recorded calls as plans: the same head, the same bytes, each when it came. */
import { eventEnd, restampEvents, stampMember, writeStamps } from "../core/frames/frames.ts";
import type { FrameSource, ResponseHead, ResponsePlan, Schedule } from "../core/seams.ts";
import { bytesOf, redacted, type TapeCall, type TapeHeader } from "./form.ts";
import { cuttingOf, dealTokens, jsonOf, saysText, type Told, toldBy } from "./events.ts";
import { isOfConnection } from "./redact.ts";

/** Bytes of what is sent in one piece at most; a longer body goes as it came. */
const mostWholeBytes = 1_048_576;

/** What was written gets this long to leave before it is cut. */
const cutAfterUs = 10_000;

/** A head leaves by itself where its first bytes come this much later: nearer ones are of one turn of the pacer. */
const aloneUs = 1000;

/** Cuts a response that was cut when it was recorded. */
export type Cut = () => void;

/** A recorded call, ready to be sent any number of times. */
export interface Playable {
  readonly status: number;
  /** Without those of the connection, and without the body's length. */
  readonly headers: Readonly<Record<string, string>>;
  /** The length that the head announces; null: none. */
  readonly announced: string | null;
  readonly hasBody: boolean;
  readonly pieces: readonly Uint8Array[];
  /** When each piece came, and the head and the end, microseconds after the request. */
  readonly timesUs: readonly number[];
  readonly headUs: number;
  readonly endUs: number;
  /** Output tokens in each piece. */
  readonly tokens: Uint32Array;
  readonly isStream: boolean;
  readonly isCut: boolean;
  /** What the answer tells, or its events show. */
  readonly outputTokens: number;
  readonly promptTokens: number;
  readonly finishReason: "stop" | "length";
}

/** Headers as they are sent again. Cookies are those of a person, and are left out. */
function sentHeaders(headers: readonly TapeHeader[]): Record<string, string> {
  const sent: Record<string, string> = {};
  for (const [name, value] of headers as readonly (readonly [string, string])[]) {
    if (name === "content-length" || isOfConnection(name) || (name === "set-cookie" && value === redacted)) continue;
    sent[name] = name in sent ? `${sent[name]!}, ${value}` : value;
  }
  return sent;
}

/** Reads a call once. */
export function playableOf({ request, response }: TapeCall): Playable {
  const { status, headers, pieces: taped, end, headUs, endUs } = response;
  const header = (name: string): string | null => headers.find(([known]) => known === name)?.[1] ?? null;
  const isStream = cuttingOf(header("content-type") ?? "", header("content-encoding")) !== "none";
  const pieces: Uint8Array[] = taped.map(bytesOf);
  const events = isStream
    ? pieces.map((piece) => jsonOf(Buffer.from(piece).toString("utf8")))
    : [jsonOf(Buffer.concat(pieces).toString("utf8"))];
  const told = events.reduce<Told>(
    (sum, event) => {
      if (event === null) return sum;
      const more = toldBy(event);
      return {
        promptTokens: more.promptTokens ?? sum.promptTokens,
        outputTokens: more.outputTokens ?? sum.outputTokens,
        isCut: more.isCut || sum.isCut,
      };
    },
    { promptTokens: null, outputTokens: null, isCut: false },
  );
  const says = isStream
    ? events.map((event) => event !== null && saysText(event))
    : pieces.map((_, index) => index === pieces.length - 1 && (told.outputTokens ?? 0) > 0);
  const tokens = dealTokens(says, isStream || told.outputTokens !== null ? told.outputTokens : 0);
  return {
    status,
    headers: sentHeaders(headers),
    announced: header("content-length"),
    hasBody: request.method !== "HEAD",
    pieces,
    timesUs: taped.map(({ us }) => us),
    headUs,
    endUs,
    tokens,
    isStream,
    isCut: end === "cut",
    outputTokens: tokens.reduce((sum, count) => sum + count, 0),
    promptTokens: told.promptTokens ?? 0,
    finishReason: told.isCut ? "length" : "stop",
  };
}

/** The writes of a call. */
interface Writes {
  readonly head: ResponseHead;
  /** The first is empty where the head leaves by itself. */
  readonly pieces: readonly Uint8Array[];
  /** When each is due, microseconds after the request; of a call that was cut one more, when it broke. */
  readonly dueUs: readonly number[];
  readonly tokens: ArrayLike<number>;
  /** Index of the piece that is a whole body, and may carry stamps; -1: none is. */
  readonly bodyAt: number;
}

/**
 * Settles how a call is sent. `headAlone`: the engine can send a head before its first bytes. A body whose length is announced goes in one
 * piece where it carries stamps, or where the engine cannot.
 */
function writesOf(call: Playable, headAlone: boolean, stamped: boolean): Writes {
  const { status, headers, announced, hasBody, isStream, isCut, headUs, endUs } = call;
  let { pieces, timesUs: dueUs }: { pieces: readonly Uint8Array[]; timesUs: readonly number[] } = call;
  let tokens: ArrayLike<number> = call.tokens;
  const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const isEarly = headAlone && hasBody && (pieces.length > 0 ? headUs + aloneUs <= dueUs[0]! : isCut);
  const isAnnounced = announced !== null && !isCut && !isStream && bytes <= mostWholeBytes;
  const isEmpty = !isCut && bytes === 0;
  if (isEmpty || (isAnnounced && (stamped || !headAlone))) {
    dueUs = [dueUs.at(-1) ?? endUs];
    pieces = [Buffer.concat(pieces)];
    tokens = [call.outputTokens];
  }
  const bodyAt = isStream || isCut || pieces.length !== 1 || bytes === 0 ? -1 : 0;
  const isWhole = isEmpty || (isAnnounced && pieces.length === 1 && !isEarly);
  const length = bytes + (stamped && bodyAt === 0 ? stampedBody(pieces[0]!, 0, 0).length - bytes : 0);
  // Stamps make an event longer.
  const saysLength = headAlone && announced !== null && !isWhole && !(isStream && stamped);
  const head: ResponseHead = {
    status,
    headers:
      !hasBody && announced !== null
        ? { ...headers, "content-length": announced }
        : saysLength
          ? { ...headers, "content-length": isCut || isStream ? announced : String(length) }
          : headers,
    streamed: !isWhole || (!hasBody && announced !== null),
  };
  if (!isEarly) return { head, pieces, dueUs: isCut ? [...dueUs, endUs] : dueUs, tokens, bodyAt };
  return {
    head,
    pieces: [nothing, ...pieces],
    dueUs: [headUs, ...dueUs, ...(isCut ? [endUs] : [])],
    tokens: [0, ...Array.from(tokens)],
    bodyAt: bodyAt + (bodyAt < 0 ? 0 : 1),
  };
}

/** The bytes of a call's body as it is sent on engines that send heads by themselves. */
export function replayedBytes(call: Playable, stamped: boolean): number {
  const { pieces, bodyAt } = writesOf(call, true, stamped);
  return pieces.reduce((sum, piece, index) => sum + sentPiece(call, piece, index === bodyAt, stamped, 0, 0).length, 0);
}

/** The times of a call, at a speed; Infinity: all at once. */
class RecordedSchedule implements Schedule {
  readonly dueTogether: boolean;
  readonly #dueUs: readonly number[];
  readonly #speed: number;
  /** Index of what cuts the answer; -1: nothing does. */
  readonly #cutAt: number;

  constructor(dueUs: readonly number[], isCut: boolean, speed: number) {
    this.#dueUs = dueUs;
    this.#speed = speed;
    this.#cutAt = isCut ? dueUs.length - 1 : -1;
    this.dueTogether = speed === Infinity && !isCut;
  }

  /** Hot path. */
  nextDueUs(index: number): number {
    if (index >= this.#dueUs.length) return Infinity;
    const dueUs = this.#dueUs[index]! / this.#speed;
    if (index !== this.#cutAt || index === 0) return dueUs;
    return Math.max(dueUs, this.#dueUs[index - 1]! / this.#speed + cutAfterUs);
  }
}

const encoder = new TextEncoder();
const stampedEnd = encoder.encode(stampMember + eventEnd);
const plainEnd = encoder.encode(eventEnd);
const stampedBrace = encoder.encode(`${stampMember}}`);
const brace = 125;
const nothing = new Uint8Array();

/** Whether an event is JSON of an object, alone on its line, with the ending that stamps are put before. */
function isStampable(piece: Uint8Array): boolean {
  const from = piece.length - plainEnd.length;
  return from > 0 && plainEnd.every((byte, index) => piece[from + index] === byte) && jsonOf(Buffer.from(piece).toString("utf8")) !== null;
}

/** A piece with its stamps. */
function sentPiece(call: Playable, piece: Uint8Array, isBody: boolean, stamped: boolean, dueUs: number, sentUs: number): Uint8Array {
  if (!stamped) return piece;
  if (call.isStream) return stampedEvent(piece, dueUs, sentUs);
  return isBody ? stampedBody(piece, dueUs, sentUs) : piece;
}

/** The pieces of a call. */
class RecordedFrames implements FrameSource {
  readonly length: number;
  readonly isOneBody: boolean;
  tokens = 0;
  readonly #call: Playable;
  readonly #writes: Writes;
  readonly #stamped: boolean;
  readonly #cut: Cut;
  /** The piece last asked for is a body. */
  #isBody = false;

  constructor(call: Playable, writes: Writes, stamped: boolean, cut: Cut) {
    this.#call = call;
    this.#writes = writes;
    this.#stamped = stamped;
    this.#cut = cut;
    // What is cut never comes to its end.
    this.length = call.isCut ? Infinity : writes.pieces.length;
    this.isOneBody = !call.isStream && writes.pieces.length > 1;
  }

  /** Hot path. */
  frame(index: number, dueUs: number, sentUs: number): Uint8Array {
    const { pieces, tokens, bodyAt } = this.#writes;
    if (index >= pieces.length) {
      this.tokens = 0;
      this.#cut();
      return nothing;
    }
    this.tokens = tokens[index]!;
    this.#isBody = index === bodyAt;
    return sentPiece(this.#call, pieces[index]!, this.#isBody, this.#stamped, dueUs, sentUs);
  }

  restamp(copy: Uint8Array, sentUs: number): void {
    if (!this.#stamped) return;
    if (this.#call.isStream) restampEvents(copy, sentUs, stampedEnd.length);
    else if (this.#isBody && copy.length > stampedBrace.length && copy.at(-1) === brace) restampBody(copy, sentUs);
  }
}

function stampedEvent(piece: Uint8Array, dueUs: number, sentUs: number): Uint8Array {
  if (!isStampable(piece)) return piece;
  const bytes = new Uint8Array(piece.length - plainEnd.length + stampedEnd.length);
  bytes.set(piece.subarray(0, piece.length - plainEnd.length));
  bytes.set(stampedEnd, piece.length - plainEnd.length);
  writeStamps(bytes, bytes.length, dueUs, sentUs);
  return bytes;
}

/** A body that ends with the brace of its object. */
function stampedBody(piece: Uint8Array, dueUs: number, sentUs: number): Uint8Array {
  let end = piece.length;
  while (end > 0 && (piece[end - 1] === 10 || piece[end - 1] === 13 || piece[end - 1] === 32)) end--;
  if (end < 2 || piece[end - 1] !== brace || jsonOf(Buffer.from(piece).toString("utf8").trim()) === null) return piece;
  const bytes = new Uint8Array(end - 1 + stampedBrace.length);
  bytes.set(piece.subarray(0, end - 1));
  bytes.set(stampedBrace, end - 1);
  // An event, which stamps are measured from, has two line ends more.
  writeStamps(bytes, bytes.length + eventEnd.length - 1, dueUs, sentUs);
  return bytes;
}

/** Writes the time of sending into a body that `stampedBody` made. */
function restampBody(copy: Uint8Array, sentUs: number): void {
  const padded = new Uint8Array(copy.length + eventEnd.length - 1);
  padded.set(copy);
  padded.fill(10, copy.length);
  restampEvents(padded, sentUs, copy.length);
  copy.set(padded.subarray(0, copy.length));
}

/** How a call is sent. */
export interface PlayOptions {
  /** When the request had arrived. */
  readonly startUs: number;
  /** Times as fast as recorded; Infinity: without waiting. */
  readonly speed: number;
  /** Names the clock of the stamps, and the server; null: the bytes as recorded. */
  readonly stamps: Readonly<Record<string, string>> | null;
  readonly cut: Cut;
  /** The engine can send a head before its first bytes. */
  readonly headAlone: boolean;
}

/** The plan of an answer. */
export function planOf(call: Playable, { startUs, speed, stamps, cut, headAlone }: PlayOptions): ResponsePlan {
  const { outputTokens, promptTokens, finishReason, isCut } = call;
  const writes = writesOf(call, headAlone, stamps !== null);
  const { head, dueUs } = writes;
  return {
    head: stamps === null ? head : { ...head, headers: { ...head.headers, ...stamps } },
    frames: new RecordedFrames(call, writes, stamps !== null, cut),
    schedule: new RecordedSchedule(dueUs, isCut, speed),
    startUs,
    outputTokens,
    promptTokens,
    finishReason,
  };
}
