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

/** Cuts a response that was cut when it was recorded. */
export type Cut = () => void;

/** A recorded call, ready to be sent any number of times. */
export interface Playable {
  readonly head: ResponseHead;
  readonly pieces: readonly Uint8Array[];
  /** When each piece is due, microseconds after the request, as recorded; of a call that was cut one more, when it broke. */
  readonly dueUs: Float64Array;
  /** Output tokens in each piece. */
  readonly tokens: Uint32Array;
  readonly isStream: boolean;
  readonly isCut: boolean;
  /** What the answer tells, or its events show. */
  readonly outputTokens: number;
  readonly promptTokens: number;
  readonly finishReason: "stop" | "length";
}

/** A head as it is sent again. Cookies are those of a person, and are left out. */
function headOf(status: number, headers: readonly TapeHeader[], streamed: boolean): ResponseHead {
  const sent: Record<string, string> = {};
  for (const [name, value] of headers as readonly (readonly [string, string])[]) {
    if (name === "content-length" || isOfConnection(name) || (name === "set-cookie" && value === redacted)) continue;
    sent[name] = name in sent ? `${sent[name]!}, ${value}` : value;
  }
  return { status, headers: sent, streamed };
}

/** Reads a call once. */
export function playableOf({ response }: TapeCall): Playable {
  const { status, headers, pieces: taped, end, endUs } = response;
  const header = (name: string): string | null => headers.find(([known]) => known === name)?.[1] ?? null;
  const cutting = cuttingOf(header("content-type") ?? "", header("content-encoding"));
  const isStream = cutting !== "none";
  const isCut = end === "cut";
  let pieces: Uint8Array[] = taped.map(bytesOf);
  let times = taped.map(({ us }) => us);
  const whole = Buffer.concat(pieces);
  // A length that is announced needs the body in one piece: it leaves when its last byte came.
  const hasLength = header("content-length") !== null && whole.length <= mostWholeBytes;
  const isWhole = !isCut && (whole.length === 0 || (!isStream && hasLength));
  if (isWhole) {
    times = [times.at(-1) ?? endUs];
    pieces = [whole];
  }
  const events = isStream ? pieces.map((piece) => jsonOf(Buffer.from(piece).toString("utf8"))) : [jsonOf(whole.toString("utf8"))];
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
    head: headOf(status, headers, !isWhole),
    pieces,
    dueUs: Float64Array.from(isCut ? [...times, endUs] : times),
    tokens,
    isStream,
    isCut,
    outputTokens: tokens.reduce((sum, count) => sum + count, 0),
    promptTokens: told.promptTokens ?? 0,
    finishReason: told.isCut ? "length" : "stop",
  };
}

/** The times of a call, at a speed; Infinity: all at once. */
class RecordedSchedule implements Schedule {
  readonly dueTogether: boolean;
  readonly #dueUs: Float64Array;
  readonly #speed: number;
  /** Index of what cuts the answer; -1: nothing does. */
  readonly #cutAt: number;

  constructor({ dueUs, isCut }: Playable, speed: number) {
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

/** The pieces of a call. */
class RecordedFrames implements FrameSource {
  readonly length: number;
  readonly isOneBody: boolean;
  tokens = 0;
  readonly #call: Playable;
  readonly #stamped: boolean;
  readonly #cut: Cut;

  constructor(call: Playable, stamped: boolean, cut: Cut) {
    this.#call = call;
    this.#stamped = stamped;
    this.#cut = cut;
    // What is cut never comes to its end.
    this.length = call.isCut ? Infinity : call.pieces.length;
    this.isOneBody = !call.isStream && call.pieces.length > 1;
  }

  /** Hot path. */
  frame(index: number, dueUs: number, sentUs: number): Uint8Array {
    const { pieces, tokens, isStream } = this.#call;
    if (index >= pieces.length) {
      this.tokens = 0;
      this.#cut();
      return nothing;
    }
    this.tokens = tokens[index]!;
    const piece = pieces[index]!;
    if (!this.#stamped) return piece;
    return isStream ? stampedEvent(piece, dueUs, sentUs) : stampedBody(piece, dueUs, sentUs);
  }

  restamp(copy: Uint8Array, sentUs: number): void {
    if (!this.#stamped) return;
    if (this.#call.isStream) restampEvents(copy, sentUs, stampedEnd.length);
    else if (copy.length > stampedBrace.length && copy.at(-1) === brace) restampBody(copy, sentUs);
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
}

/** The plan of an answer. */
export function planOf(call: Playable, { startUs, speed, stamps, cut }: PlayOptions): ResponsePlan {
  const { head, outputTokens, promptTokens, finishReason } = call;
  return {
    head: stamps === null ? head : { ...head, headers: { ...head.headers, ...stamps } },
    frames: new RecordedFrames(call, stamps !== null, cut),
    schedule: new RecordedSchedule(call, speed),
    startUs,
    outputTokens,
    promptTokens,
    finishReason,
  };
}
