/**
 * Streams of any shape: several choices side by side, each a row of parts (reasoning, text, tool calls), each a run of
 * tokens. Events are written piece by piece into one buffer that all streams share; only their constant pieces are
 * encoded ahead. StreamFrames is the short cut for the commonest stream, one choice of plain text.
 */
import { eventEnd, jsonInside, stampMember, writeStamps } from "./frames.ts";
import type { FrameSource } from "../seams.ts";
import type { TokenCursor, Vocabulary } from "../text/text.ts";

const encoder = new TextEncoder();

/** How an event ends, from the last brace of its JSON on. */
export interface Ending {
  readonly plain: Uint8Array;
  readonly stamped: Uint8Array;
  /** Bytes by which it is longer than the ending that stamps are measured from. */
  readonly longerBy: number;
}

function endingOf(text: string): Ending {
  return { plain: encoder.encode(text), stamped: encoder.encode(stampMember + text), longerBy: text.length - eventEnd.length };
}

const eventEnding = endingOf(eventEnd);
/** Of an event stream whose lines end in CRLF. */
export const carriageEnding: Ending = endingOf("}\r\n\r\n");
/** Of a line of NDJSON. */
export const lineEnding: Ending = endingOf("}\n");
/** Of an object that is printed on several lines. */
export const arrayEnding: Ending = endingOf("\n}");

/** Where events are written. */
export class EventBuffer {
  #bytes = new Uint8Array(65_536);
  #length = 0;
  #stamped = false;
  #dueUs = 0;
  #sentUs = 0;

  /** Begins a frame. */
  reset(stamped: boolean, dueUs: number, sentUs: number): void {
    this.#length = 0;
    this.#stamped = stamped;
    this.#dueUs = dueUs;
    this.#sentUs = sentUs;
  }

  /** Hot path. */
  bytes(piece: Uint8Array): void {
    const end = this.#length + piece.length;
    if (end > this.#bytes.length) this.#grow(end);
    this.#bytes.set(piece, this.#length);
    this.#length = end;
  }

  /** Hot path. Part of a longer list of bytes. */
  slice(from: Uint8Array, start: number, end: number): void {
    this.bytes(from.subarray(start, end));
  }

  /** Hot path. Text of ASCII alone, such as ids. */
  ascii(text: string): void {
    const { length } = text;
    const end = this.#length + length;
    if (end > this.#bytes.length) this.#grow(end);
    const bytes = this.#bytes;
    const start = this.#length;
    for (let i = 0; i < length; i++) bytes[start + i] = text.charCodeAt(i);
    this.#length = end;
  }

  /** Hot path. A whole number, not negative. */
  number(value: number): void {
    let digits = 1;
    for (let size = value; size >= 10; size /= 10) digits++;
    const end = this.#length + digits;
    if (end > this.#bytes.length) this.#grow(end);
    let rest = value;
    for (let at = end; at > this.#length;) {
      const tenth = Math.floor(rest / 10);
      this.#bytes[--at] = 48 + rest - tenth * 10;
      rest = tenth;
    }
    this.#length = end;
  }

  /** Text that is not the same in any two events. It is encoded in place: bytes of its own would be garbage at once, and more than all else. */
  text(text: string): void {
    for (let rest = text; rest !== "";) {
      const { read, written } = encoder.encodeInto(rest, this.#bytes.subarray(this.#length));
      this.#length += written;
      rest = rest.slice(read);
      if (rest !== "") this.#grow(this.#bytes.length + rest.length);
    }
  }

  /** When the frame is due. */
  get dueUs(): number {
    return this.#dueUs;
  }

  /** Hot path. Ends an event that wants only its last brace. */
  endEvent(ending: Ending = eventEnding): void {
    this.bytes(this.#stamped ? ending.stamped : ending.plain);
    if (this.#stamped) writeStamps(this.#bytes, this.#length - ending.longerBy, this.#dueUs, this.#sentUs);
  }

  /** What was written since `reset`; valid until the next one. */
  frame(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  #grow(needed: number): void {
    const larger = new Uint8Array(needed * 2);
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }
}

/** The tokens of a vocabulary as insides of JSON strings, each encoded when it is first needed. */
export class EscapedTokens {
  readonly vocabulary: Vocabulary;
  readonly #encoded: (Uint8Array | undefined)[];

  private constructor(vocabulary: Vocabulary) {
    this.vocabulary = vocabulary;
    this.#encoded = Array.from({ length: vocabulary.texts.length });
  }

  /** The one of a vocabulary: a shared vocabulary is encoded once. */
  static of(vocabulary: Vocabulary): EscapedTokens {
    let tokens = escaped.get(vocabulary);
    if (tokens === undefined) {
      tokens = new EscapedTokens(vocabulary);
      escaped.set(vocabulary, tokens);
    }
    return tokens;
  }

  /** Hot path. */
  bytes(token: number): Uint8Array {
    return (this.#encoded[token] ??= encoder.encode(jsonInside(this.vocabulary.texts[token]!)));
  }
}

const escaped = new WeakMap<Vocabulary, EscapedTokens>();

/** The tokens of one event. The same object is filled anew for each event. */
export class TokenRun {
  count = 0;
  /** UTF-16 units of all its texts. */
  characters = 0;
  readonly #tokens: number[] = [];
  #source: EscapedTokens | null = null;

  take(source: EscapedTokens, cursor: TokenCursor, count: number): void {
    this.#source = source;
    this.count = count;
    this.characters = 0;
    for (let i = 0; i < count; i++) {
      const token = cursor.next();
      this.#tokens[i] = token;
      this.characters += source.vocabulary.texts[token]!.length;
    }
  }

  /** Hot path. Writes the texts as the inside of one JSON string. */
  write(out: EventBuffer): void {
    for (let i = 0; i < this.count; i++) out.bytes(this.#source!.bytes(this.#tokens[i]!));
  }

  text(index: number): string {
    return this.#source!.vocabulary.texts[this.#tokens[index]!]!;
  }
}

/** A run of tokens that look alike on the wire. A part without tokens is the events of its opening and closing. */
export interface Part {
  readonly tokens: number;
  /** true: all its tokens are in one event, which is there when the last of them is. */
  readonly isWhole?: boolean;
  /** The cursor's vocabulary; null where there are no tokens. */
  readonly source: EscapedTokens | null;
  readonly cursor: TokenCursor | null;
  /** Writes the events before the first token. */
  open?(out: EventBuffer): void;
  /** Hot path. Writes the event of one run of tokens. */
  run?(out: EventBuffer, run: TokenRun, isLast: boolean): void;
  /** Writes the events after the last token. */
  close?(out: EventBuffer): void;
}

/** What a stream consists of. */
export interface Script {
  /** Each choice's parts. Choices advance side by side, a run of tokens each per frame. */
  readonly choices: readonly (readonly Part[])[];
  /** Events before and after all choices. */
  open?(out: EventBuffer): void;
  close?(out: EventBuffer): void;
  /** Most tokens in one event, at least 1. */
  readonly tokensPerFrame: number;
  /** Tokens that no event shows, before the first visible one. */
  readonly hiddenTokens: number;
  readonly stamped: boolean;
}

const buffer = new EventBuffer();
const run = new TokenRun();

class Progress {
  readonly #parts: readonly Part[];
  #part = 0;
  #taken = 0;

  constructor(parts: readonly Part[]) {
    this.#parts = parts;
  }

  /** Hot path. Writes the next run, and the openings and closings around it. Returns its tokens. */
  step(out: EventBuffer, most: number): number {
    this.#skipEmpty(out);
    const part = this.#parts[this.#part];
    if (part === undefined) return 0;
    if (this.#taken === 0) part.open?.(out);
    const count = part.isWhole === true ? part.tokens : Math.min(most, part.tokens - this.#taken);
    run.take(part.source!, part.cursor!, count);
    this.#taken += count;
    const isLast = this.#taken === part.tokens;
    part.run!(out, run, isLast);
    if (isLast) {
      part.close?.(out);
      this.#part++;
      this.#taken = 0;
      this.#skipEmpty(out);
    }
    return count;
  }

  #skipEmpty(out: EventBuffer): void {
    for (let part = this.#parts[this.#part]; part !== undefined && part.tokens === 0; part = this.#parts[++this.#part]) {
      part.open?.(out);
      part.close?.(out);
    }
  }
}

/** The frames of a script. */
export class ScriptFrames implements FrameSource {
  readonly length: number;
  tokens = 0;
  readonly #script: Script;
  readonly #choices: readonly Progress[];

  constructor(script: Script) {
    this.#script = script;
    this.#choices = script.choices.map((parts) => new Progress(parts));
    this.length = Math.max(1, ...script.choices.map((parts) => framesOf(parts, script.tokensPerFrame)));
  }

  frame(index: number, dueUs: number, sentUs: number): Uint8Array {
    const script = this.#script;
    buffer.reset(script.stamped, dueUs, sentUs);
    this.tokens = index === 0 ? script.hiddenTokens * script.choices.length : 0;
    if (index === 0) script.open?.(buffer);
    for (const choice of this.#choices) this.tokens += choice.step(buffer, script.tokensPerFrame);
    if (index === this.length - 1) script.close?.(buffer);
    return buffer.frame();
  }

  /** Tokens of a choice before each frame, in order; for the schedule. Follows the choice with the most frames. */
  steps(): TokenSteps {
    const { choices, tokensPerFrame, hiddenTokens } = this.#script;
    const longest = choices.find((parts) => framesOf(parts, tokensPerFrame) === this.length) ?? choices[0] ?? [];
    return new TokenSteps(longest, tokensPerFrame, hiddenTokens);
  }
}

function framesOf(parts: readonly Part[], tokensPerFrame: number): number {
  return parts.reduce((sum, { tokens, isWhole }) => sum + (isWhole === true ? Math.min(1, tokens) : Math.ceil(tokens / tokensPerFrame)), 0);
}

/** Which token each frame begins with; a part in one event counts with its last one. */
export class TokenSteps {
  readonly #parts: readonly Pick<Part, "tokens" | "isWhole">[];
  readonly #most: number;
  readonly #hidden: number;
  #part = 0;
  #taken = 0;
  #passed = 0;

  constructor(parts: readonly Pick<Part, "tokens" | "isWhole">[], most: number, hidden: number) {
    this.#parts = parts.filter(({ tokens }) => tokens > 0);
    this.#most = most;
    this.#hidden = hidden;
  }

  /** Hot path. The number of tokens before the next frame's first. Without a visible token: the last hidden one. */
  next(): number {
    const first = this.#hidden + this.#passed;
    const part = this.#parts[this.#part];
    if (part === undefined) return Math.max(0, first - 1);
    const { tokens } = part;
    if (part.isWhole === true) {
      this.#part++;
      this.#passed += tokens;
      return first + tokens - 1;
    }
    const count = Math.min(this.#most, tokens - this.#taken);
    this.#taken += count;
    this.#passed += count;
    if (this.#taken === tokens) {
      this.#part++;
      this.#taken = 0;
    }
    return first;
  }
}
