/**
 * Server-Sent Events from templates: an event is encoded once per vocabulary token, and only the bytes that differ
 * between responses (identity) or between tokens (stamps) are patched, in place, because they have a fixed width.
 * Event stream format: WHATWG HTML, section 9.2.5; the `data: ` lines and `[DONE]` are OpenAI's.
 */
import type { FrameSource } from "../seams.ts";
import { corpusTokens, type TokenCursor, type Vocabulary } from "../text/text.ts";

const encoder = new TextEncoder();

/** Bytes that end every stamped event; both numbers are padded to `stampWidth`. */
const stampWidth = 16;
export const stampMember: string = `,"fakeai":{"due":${" ".repeat(stampWidth)},"sent":${" ".repeat(stampWidth)}}`;
export const eventEnd = "}\n\n";
/** From the end of a stamped event back to the first byte of each number. */
const sentFromEnd = eventEnd.length + 1 + stampWidth;
const dueFromEnd = sentFromEnd + stampWidth + '"sent":'.length + 1;

/** The parts that every event of a stream shares. */
export interface EventFormat {
  /** JSON from `{` up to the identity. */
  readonly opening: string;
  /** Bytes of the identity: everything from the id to `created`, the same in each event of a response. ASCII. */
  readonly identityLength: number;
  /** JSON after the identity, up to what differs between events. */
  readonly shared: string;
  /** Whether each event carries the time it was due and the time it was handed to the transport. */
  readonly stamped: boolean;
}

/** Encodes one event: `members` is JSON after the shared part, without the closing brace. */
export function encodeEvent(format: EventFormat, members: string): Uint8Array {
  const stamp = format.stamped ? stampMember : "";
  return encoder.encode(`data: ${format.opening}${" ".repeat(format.identityLength)}${format.shared}${members}${stamp}${eventEnd}`);
}

/** A text as the inside of a JSON string. JSON.stringify escapes lone surrogates, so that any string becomes valid UTF-8. */
export function jsonInside(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}

/** What OpenAI ends a stream with. */
export const doneEvent: Uint8Array = encoder.encode("data: [DONE]\n\n");

/** The first bytes of an identity, with the id in them; what comes after is the same for all responses of one second. */
const idBytes = 48;
/** Responses in a row with something else behind the id before all events get that: it costs as much as a few hundred answers save. */
const othersInRow = 8;
const id = new Uint8Array(idBytes);
const idView = new DataView(id.buffer);

/** The events of the whole corpus, one after the other: a run of its tokens is one copy. */
class CorpusEvents {
  /** Where the event of each position of the corpus begins, and the end of the last. */
  readonly starts: Uint32Array;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #identityOffset: number;
  /** What every event holds behind the id. */
  #behindId: Uint8Array = new Uint8Array(0);
  /** What the last response had there that had something else, and how many in a row had that. */
  #otherBehindId: Uint8Array = new Uint8Array(0);
  #othersInRow = 0;
  /** Its identity: a response asks once for each run of its text. */
  #other: Uint8Array | null = null;

  constructor(events: readonly Uint8Array[], identityOffset: number) {
    this.starts = new Uint32Array(events.length + 1);
    for (const [position, { length }] of events.entries()) this.starts[position + 1] = this.starts[position]! + length;
    this.#bytes = new Uint8Array(this.starts[events.length]!);
    for (const [position, event] of events.entries()) this.#bytes.set(event, this.starts[position]);
    this.#view = new DataView(this.#bytes.buffer);
    this.#identityOffset = identityOffset;
  }

  /** Hot path. Writes the events from position `first` to before `end`, with an identity, into `into` from `at` on. */
  copy(first: number, end: number, identity: Uint8Array, into: Uint8Array, at: number): void {
    const { starts } = this;
    const from = starts[first]!;
    const isKnown = this.#holdsBehindId(identity);
    if (isKnown) this.#writeId(identity, first, end);
    into.set(this.#bytes.subarray(from, starts[end]), at);
    if (isKnown) return;
    const shift = at - from + this.#identityOffset;
    for (let position = first; position < end; position++) into.set(identity, shift + starts[position]!);
  }

  /** Hot path. Six numbers cost a tenth of a call that copies bytes. */
  #writeId(identity: Uint8Array, first: number, end: number): void {
    const { starts } = this;
    const view = this.#view;
    const offset = this.#identityOffset;
    id.set(identity.subarray(0, idBytes));
    // ASCII is never the pattern of a NaN, the bits of which need not survive.
    const a = idView.getFloat64(0);
    const b = idView.getFloat64(8);
    const c = idView.getFloat64(16);
    const d = idView.getFloat64(24);
    const e = idView.getFloat64(32);
    const f = idView.getFloat64(40);
    for (let position = first; position < end; position++) {
      const at = starts[position]! + offset;
      view.setFloat64(at, a);
      view.setFloat64(at + 8, b);
      view.setFloat64(at + 16, c);
      view.setFloat64(at + 24, d);
      view.setFloat64(at + 32, e);
      view.setFloat64(at + 40, f);
    }
  }

  /** Whether the events hold what an identity has behind its id. They get it when enough responses in a row have the same there. */
  #holdsBehindId(identity: Uint8Array): boolean {
    if (isBehindId(this.#behindId, identity)) {
      this.#othersInRow = 0;
      return true;
    }
    if (identity === this.#other) return false;
    this.#other = identity;
    if (this.#othersInRow === 0 || !isBehindId(this.#otherBehindId, identity)) {
      this.#otherBehindId = identity.slice(idBytes);
      this.#othersInRow = 1;
      return false;
    }
    if (++this.#othersInRow < othersInRow) return false;
    this.#behindId = this.#otherBehindId;
    this.#othersInRow = 0;
    for (const start of this.starts.subarray(0, -1)) this.#bytes.set(identity, start + this.#identityOffset);
    return true;
  }
}

/** Hot path. Whether an identity has these bytes behind its id. */
function isBehindId(bytes: Uint8Array, identity: Uint8Array): boolean {
  const { length } = bytes;
  if (length === 0 || identity.length - idBytes !== length) return false;
  // Backwards: the time is at the end.
  for (let at = length - 1; at >= 0; at--) if (bytes[at] !== identity[idBytes + at]) return false;
  return true;
}

/** Events that share one piece of memory, about. */
const slabEvents = 64;

/** The events of one vocabulary in one format, each encoded when it is first needed. */
export class TokenEvents {
  readonly format: EventFormat;
  /** Byte offset of the identity in every event. */
  readonly identityOffset: number;
  #vocabulary: Vocabulary;
  #before: string;
  #after: string;
  #padding: ((text: string) => string) | null;
  #events: (Uint8Array | undefined)[];
  #corpus: CorpusEvents | null = null;
  /** Where events lie, one behind the other, and how far it is filled. Memory of its own for each costs a token what V8 keeps of memory. */
  #slab: Uint8Array = new Uint8Array(0);
  #slabUsed = 0;

  /** A token's event is `before`, the token as the inside of a JSON string, `after`, and what `padding` makes of the token. */
  constructor(
    format: EventFormat,
    vocabulary: Vocabulary,
    before: string,
    after: string,
    padding: ((text: string) => string) | null = null,
  ) {
    this.format = format;
    this.identityOffset = "data: ".length + encoder.encode(format.opening).length;
    this.#vocabulary = vocabulary;
    this.#before = before;
    this.#after = after;
    this.#padding = padding;
    this.#events = Array.from({ length: vocabulary.texts.length });
  }

  /** Hot path. The event of a token; its identity and stamps are whatever the last user left there. */
  event(token: number): Uint8Array {
    return this.#events[token] ?? this.#encode(token);
  }

  get corpus(): CorpusEvents {
    return (this.#corpus ??= new CorpusEvents(
      Array.from(corpusTokens, (token) => this.event(token)),
      this.identityOffset,
    ));
  }

  #encode(token: number): Uint8Array {
    const text = this.#vocabulary.texts[token]!;
    const padding = this.#padding === null ? "" : this.#padding(text);
    return (this.#events[token] = this.#place(encodeEvent(this.format, this.#before + jsonInside(text) + this.#after + padding)));
  }

  #place(event: Uint8Array): Uint8Array {
    const { length } = event;
    if (this.#slabUsed + length > this.#slab.length) {
      this.#slab = new Uint8Array(Math.max(length, slabEvents * length));
      this.#slabUsed = 0;
    }
    const place = this.#slab.subarray(this.#slabUsed, (this.#slabUsed += length));
    place.set(event);
    return place;
  }
}

/** Hot path. Writes a whole number right-aligned into `stampWidth` bytes, spaces before it. */
function writeNumber(into: Uint8Array, offset: number, value: number): void {
  let rest = value;
  let at = offset + stampWidth;
  // Two halves of at most 8 digits keep the divisions in 32-bit integers.
  const high = Math.floor(rest / 1e8);
  let low = (rest - high * 1e8) | 0;
  if (high > 0) {
    for (let digit = 0; digit < 8; digit++) {
      const tenth = (low / 10) | 0;
      into[--at] = 48 + low - tenth * 10;
      low = tenth;
    }
    rest = high;
    low = rest | 0;
  }
  do {
    const tenth = (low / 10) | 0;
    into[--at] = 48 + low - tenth * 10;
    low = tenth;
  } while (low > 0);
  while (at > offset) into[--at] = 32;
}

/** Hot path. Fills in the stamps of an event that ends at `end`. */
export function writeStamps(event: Uint8Array, end: number, dueUs: number, sentUs: number): void {
  writeNumber(event, end - dueFromEnd, Math.round(dueUs));
  writeNumber(event, end - sentFromEnd, Math.round(sentUs));
}

const sentMember = encoder.encode('"sent":');

/** Hot path. Whether an event that ends at `end` carries stamps. */
function isStamped(bytes: Uint8Array, end: number): boolean {
  const at = end - sentFromEnd - sentMember.length;
  if (at < 0) return false;
  for (let index = 0; index < sentMember.length; index++) if (bytes[at + index] !== sentMember[index]) return false;
  return true;
}

const lineFeed = 10;

/**
 * Hot path. Writes the time of sending into each stamped event of a frame. No event has fewer than `leastBytes`. JSON holds no line
 * feed: two of them end an event.
 */
export function restampEvents(frame: Uint8Array, sentUs: number, leastBytes: number): void {
  const sent = Math.round(sentUs);
  let end = frame.length;
  while (end > 0) {
    if (isStamped(frame, end)) {
      writeNumber(frame, end - sentFromEnd, sent);
      // Most frames are one event: there is no room for another.
      if (end < 2 * leastBytes) return;
    }
    let at = end - eventEnd.length;
    do at = at > 0 ? frame.lastIndexOf(lineFeed, at - 1) : -1;
    while (at > 0 && frame[at - 1] !== lineFeed);
    end = at + 1;
  }
}

/** Shorter joins do not make it worth while to encode the whole corpus. */
const fewestInRun = 16;

/** One buffer for frames of several events; shared, because a frame's bytes are valid only until the next frame. */
let scratch = new Uint8Array(65_536);

/** The frames of a streamed response: one token each; the first also opens, the last also ends the stream. */
export class StreamFrames implements FrameSource {
  // What each token touches comes first.
  readonly length: number;
  readonly tokens: number;
  #tokens: TokenEvents;
  #cursor: TokenCursor;
  #identity: Uint8Array;
  #lastTokens: TokenEvents;
  #opening: Uint8Array | null;
  #closing: readonly Uint8Array[];
  #tokenCount: number;
  readonly joins: boolean;

  /**
   * `identity` has the format's `identityLength`. `opening` is an event before the first token (or null), `closing`
   * the events after the last. With no tokens there is one frame, of opening and closing. `lastTokens` are the events of
   * the last token where that one carries the finish; they share the format of `tokens`.
   */
  constructor(
    tokens: TokenEvents,
    cursor: TokenCursor,
    tokenCount: number,
    identity: Uint8Array,
    opening: Uint8Array | null,
    closing: readonly Uint8Array[],
    lastTokens: TokenEvents = tokens,
  ) {
    this.length = Math.max(1, tokenCount);
    this.tokens = Math.min(1, tokenCount);
    this.#tokens = tokens;
    this.#lastTokens = lastTokens;
    this.#cursor = cursor;
    this.#tokenCount = tokenCount;
    this.#identity = identity;
    this.#opening = opening;
    this.#closing = closing;
    this.joins = !tokens.format.stamped;
  }

  frame(index: number, dueUs: number, sentUs: number): Uint8Array {
    const tokens = this.#tokens;
    if (index > 0 && index < this.length - 1) {
      const event = tokens.event(this.#cursor.next());
      event.set(this.#identity, tokens.identityOffset);
      if (tokens.format.stamped) writeStamps(event, event.length, dueUs, sentUs);
      return event;
    }
    let end = 0;
    if (index === 0 && this.#opening !== null) end = this.#append(this.#opening, end, dueUs, sentUs);
    if (index === this.length - 1) end = this.#end(end, dueUs, sentUs);
    else end = this.#append(tokens.event(this.#cursor.next()), end, dueUs, sentUs);
    return scratch.subarray(0, end);
  }

  restamp(copy: Uint8Array, sentUs: number): void {
    const { format, identityOffset } = this.#tokens;
    if (format.stamped) restampEvents(copy, sentUs, identityOffset + format.identityLength + format.shared.length);
  }

  /** Puts the last frame behind what the scratch buffer holds; returns the new end. */
  #end(at: number, dueUs: number, sentUs: number): number {
    let end = at;
    if (this.#tokenCount > 0) end = this.#append(this.#lastTokens.event(this.#cursor.next()), end, dueUs, sentUs);
    for (const event of this.#closing) end = this.#append(event, end, dueUs, sentUs);
    end = reserve(end, doneEvent.length);
    scratch.set(doneEvent, end - doneEvent.length);
    return end;
  }

  /** Hot path. */
  join(index: number, count: number): Uint8Array {
    const tokens = this.#tokens;
    const cursor = this.#cursor;
    const offset = tokens.identityOffset;
    const isLast = index + count === this.length;
    let end = 0;
    if (index === 0 && this.#opening !== null) end = this.#append(this.#opening, end, 0, 0);
    const identity = this.#identity;
    let plain = isLast ? count - 1 : count;
    if (cursor.takeRun !== undefined && plain > fewestInRun) {
      const { corpus } = tokens;
      while (plain > 0) {
        const first = cursor.takeRun(plain);
        const after = first + cursor.runLength!;
        const start = end;
        end = reserve(start, corpus.starts[after]! - corpus.starts[first]!);
        corpus.copy(first, after, identity, scratch, start);
        plain -= after - first;
      }
    }
    for (; plain > 0; plain--) {
      const event = tokens.event(cursor.next());
      const start = end;
      end = reserve(start, event.length);
      scratch.set(event, start);
      scratch.set(identity, start + offset);
    }
    if (isLast) end = this.#end(end, 0, 0);
    return scratch.subarray(0, end);
  }

  #append(event: Uint8Array, at: number, dueUs: number, sentUs: number): number {
    const end = reserve(at, event.length);
    scratch.set(event, at);
    scratch.set(this.#identity, at + this.#tokens.identityOffset);
    if (this.#tokens.format.stamped) writeStamps(scratch, end, dueUs, sentUs);
    return end;
  }
}

/** Grows the scratch buffer to hold `more` bytes after `used`; returns the new end. */
function reserve(used: number, more: number): number {
  const end = used + more;
  if (end > scratch.length) {
    const larger = new Uint8Array(end * 2);
    larger.set(scratch.subarray(0, used));
    scratch = larger;
  }
  return end;
}

/** The one frame of a response in one piece: a JSON text made when it is due, so that waiting costs no memory. */
export class UnaryFrame implements FrameSource {
  readonly length = 1;
  readonly tokens: number;
  #json: () => string;
  #stamped: boolean;

  /** `json` returns the body, a JSON object, which holds so many output tokens. */
  constructor(json: () => string, tokens: number, stamped: boolean) {
    this.#json = json;
    this.tokens = tokens;
    this.#stamped = stamped;
  }

  frame(_index: number, dueUs: number, sentUs: number): Uint8Array {
    const json = this.#stamped ? `${this.#json().slice(0, -1)}${stampMember}}` : this.#json();
    // UTF-8 takes at most three bytes for a UTF-16 unit.
    reserve(0, json.length * 3);
    const { written } = encoder.encodeInto(json, scratch);
    const bytes = scratch.subarray(0, written);
    // A body ends with the brace; an event has two newlines more.
    if (this.#stamped) writeStamps(bytes, written + 2, dueUs, sentUs);
    return bytes;
  }

  restamp(copy: Uint8Array, sentUs: number): void {
    if (this.#stamped) writeNumber(copy, copy.length + 2 - sentFromEnd, Math.round(sentUs));
  }
}
