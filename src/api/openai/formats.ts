/** The chunks of chat completions and legacy completions: the short cut for plain text, and scripts for all the rest. */
import { encodeEvent, type EventFormat, TokenEvents, doneEvent } from "../../core/frames/frames.ts";
import { EscapedTokens, EventBuffer, type Part, type Script, type TokenRun } from "../../core/frames/script.ts";
import type { Vocabulary } from "../../core/text/text.ts";
import type { Answer, Choice, Finish } from "../shared/ask.ts";
import type { Run } from "../shared/run.ts";
import type { LogprobsWriter } from "./logprobs.ts";
import type { ServedTier } from "./tier.ts";
import { type Kind, logprobsSlot, obfuscationBytes, obfuscationMember, textSlot, type Usage, type Wire } from "./wire.ts";

/** Everything that tells one response from another of the same shape. */
export interface Identity {
  readonly id: string;
  /** Seconds since 1970. */
  readonly created: number;
}

const objects: Record<Kind, string> = { chat: "chat.completion.chunk", text: "text_completion" };

const encoder = new TextEncoder();

function identityJson(kind: Kind, { id, created }: Identity): string {
  return `${id}","object":"${objects[kind]}","created":${created}`;
}

/** The bytes that every event of a streamed response shares and no other response has. */
export function identityBytes(kind: Kind, id: string, created: number): Uint8Array {
  // From Buffer's pool: memory of its own would cost a waiting stream twice the bytes.
  return Buffer.from(identityJson(kind, { id, created }), "latin1");
}

/** What decides the bytes of an event beside the identity. */
export interface ShapeOptions {
  readonly wire: Wire;
  readonly kind: Kind;
  readonly model: string;
  readonly tier: ServedTier;
  readonly includeUsage: boolean;
  readonly obfuscated: boolean;
  readonly stamped: boolean;
}

type TextFinish = "stop" | "length";

/** The events of a response of one choice of plain text, encoded once per shape and vocabulary. */
export class StreamShape {
  readonly tokens: TokenEvents;
  /** The event before the first token: the role. Legacy completions have none. */
  readonly opening: Uint8Array | null;
  readonly #options: ShapeOptions;
  readonly #format: EventFormat;
  readonly #finishing: Record<TextFinish, Uint8Array>;
  readonly #lastTokens: TokenEvents | null;

  /** `identityLength`: bytes of `identityBytes`, the same for each response of this shape. */
  constructor(options: ShapeOptions, vocabulary: Vocabulary, identityLength: number) {
    const { wire, kind, model, tier, includeUsage, obfuscated, stamped } = options;
    const format: EventFormat = { opening: '{"id":"', identityLength, shared: `,${wire.shared(kind, model, tier)}`, stamped };
    this.#options = options;
    this.#format = format;
    const tail = wire.tail(kind, model, includeUsage);
    const pad = (text: string): string => (obfuscated ? obfuscationMember(text.length) : "");
    const said = kind === "chat" ? wire.contentDelta : `"${textSlot}"`;
    const tokenEvents = (finish: string): TokenEvents => {
      const [before, after] = `"choices":[${wire.choice(kind, 0, said, "null", finish)}]${tail}`.split(textSlot) as [string, string];
      return new TokenEvents(format, vocabulary, before, after, obfuscated ? pad : null);
    };
    const event = (choice: string, more = ""): Uint8Array => encodeEvent(format, `"choices":[${choice}]${tail}${more}${pad("")}`);
    this.tokens = tokenEvents("null");
    this.#lastTokens = wire.finishOnLastToken ? tokenEvents('"length"') : null;
    this.opening =
      kind === "chat" && wire.roleDelta !== null ? event(wire.choice(kind, 0, wire.roleDelta, "null", "null", true), wire.roleTail) : null;
    const finishing = (finish: TextFinish): Uint8Array =>
      event(wire.choice(kind, 0, kind === "chat" ? wire.finishDelta : '""', "null", `"${finish}"`));
    this.#finishing = { stop: finishing("stop"), length: finishing("length") };
  }

  /** The events of the last token, where it carries the finish. */
  lastTokens(finish: TextFinish): TokenEvents {
    return finish === "length" && this.#lastTokens !== null ? this.#lastTokens : this.tokens;
  }

  /** The events after the last of so many tokens, `[DONE]` excepted. */
  closing(finish: TextFinish, tokens: number, usage: Usage): readonly Uint8Array[] {
    const { includeUsage, wire, kind, model, obfuscated } = this.#options;
    const finished = finish === "length" && this.#lastTokens !== null && tokens > 0 ? [] : [this.#finishing[finish]];
    if (!includeUsage) return finished;
    const members = usageMembers(wire, kind, model, `"${finish}"`, usage) + (obfuscated ? obfuscationMember(0) : "");
    return [...finished, encodeEvent(this.#format, members)];
  }
}

function usageMembers(wire: Wire, kind: Kind, model: string, finish: string, usage: Usage): string {
  return `"choices":[${wire.usageChoices(kind, finish)}]${wire.tail(kind, model, false).replace(',"usage":null', "")},"usage":${JSON.stringify(wire.usage(usage))}`;
}

/** What a scripted stream needs beside the shape. */
export interface ScriptOptions extends ShapeOptions {
  readonly identity: Identity;
  /** Usage so far in every chunk. */
  readonly continuousUsage: boolean;
  readonly logprobs: LogprobsWriter | null;
  /** Whether the event of the role alone has left ahead. */
  readonly roleIsSent: boolean;
  /** An id for each call, in order. */
  readonly callId: () => string;
}

const slotPattern = new RegExp(`([${textSlot}${logprobsSlot}])`);

/** The template of an event: constant bytes, and slots that are filled for each run. */
class ChunkTemplate {
  readonly #pieces: readonly Uint8Array[];
  readonly #slots: readonly string[];

  constructor(json: string) {
    const parts = json.split(slotPattern);
    this.#pieces = parts.filter((_, i) => i % 2 === 0).map((piece) => encoder.encode(piece));
    this.#slots = parts.filter((_, i) => i % 2 === 1);
  }

  write(out: EventBuffer, run: TokenRun, logprobs: string): void {
    out.bytes(this.#pieces[0]!);
    for (let i = 0; i < this.#slots.length; i++) {
      if (this.#slots[i] === textSlot) run.write(out);
      else out.text(logprobs);
      out.bytes(this.#pieces[i + 1]!);
    }
  }
}

/** The script of a streamed chat or legacy completion. */
export function completionScript(answer: Answer, options: ScriptOptions): Script {
  const chunks = new Chunks(answer, options);
  const lastFinish: Finish = answer.choices.at(-1)!.finish;
  return {
    choices: answer.choices.map((choice, index) => partsOf(choice, index, chunks, answer, options)),
    close: (out) => {
      if (options.includeUsage) chunks.writeUsage(out, lastFinish);
      out.bytes(doneEvent);
    },
    tokensPerFrame: answer.tokensPerChunk,
    hiddenTokens: hiddenTokens(answer, options.wire),
    stamped: options.stamped,
  };
}

/** The parts of one choice, in the order in which they are sent. */
function partsOf(
  { prefix, text, isRefusal, calls, finish }: Choice,
  choice: number,
  chunks: Chunks,
  answer: Answer,
  options: ScriptOptions,
): Part[] {
  const { wire, kind, logprobs } = options;
  const parts: Part[] = [];
  const showsReasoning = reasoningShown(answer, wire);
  const roleAlone = isRoleAlone({ text, calls }, kind, wire, showsReasoning);
  const hidden = hiddenTokens(answer, wire);
  if (hidden > 0) parts.push(chunks.hidden(choice, hidden));
  if (roleAlone && !options.roleIsSent) parts.push(chunks.one(choice, roleDeltaOf(isRefusal, wire), "null", true));
  if (showsReasoning) parts.push(chunks.tokens(choice, answer.reasoning, wire.reasoningDelta, "null", null));
  if (prefix !== null) parts.push(chunks.repeated(choice, prefix));
  let finished = false;
  if (text !== null && text.tokens > 0) {
    finished = wire.finishOnLastToken && finish === "length" && calls.length === 0;
    const delta = isRefusal === true ? wire.contentDelta.replace('"content"', '"refusal"') : wire.contentDelta;
    const said = kind === "chat" ? delta : `"${textSlot}"`;
    parts.push(chunks.tokens(choice, text, said, finished ? '"length"' : "null", logprobs));
  }
  calls.forEach((call, index) => {
    const name = { index, id: options.callId(), name: call.name };
    parts.push(chunks.one(choice, wire.callDelta(name, index === 0 && !roleAlone), "null"));
    parts.push(chunks.tokens(choice, call.arguments, wire.argumentsDelta(index), "null", null));
  });
  if (!finished) parts.push(chunks.one(choice, kind === "chat" ? wire.finishDelta : '""', `"${finish}"`));
  return parts;
}

/** Whether a choice begins with an event of its role alone. */
function isRoleAlone({ text, calls }: Pick<Choice, "text" | "calls">, kind: Kind, wire: Wire, showsReasoning: boolean): boolean {
  return kind === "chat" && wire.roleDelta !== null && (calls.length === 0 || text !== null || wire.name === "vllm" || showsReasoning);
}

/** The delta of the role alone. A refusal has no content, not an empty one: clients put deltas together, and "" stays "". */
function roleDeltaOf(isRefusal: boolean | undefined, { roleDelta }: Wire): string {
  return isRefusal === true ? roleDelta!.replace('"content":""', '"content":null').replace('"refusal":null', '"refusal":""') : roleDelta!;
}

/** Where they are written: shared, as a frame's bytes are valid only until the next frame. */
const roles = new EventBuffer();

/**
 * The events of the role alone, of every choice, as one frame; it is asked for once. null: the answer has none, or a choice
 * without one.
 */
export function earlyRole(
  answer: Answer,
  options: ShapeOptions & Pick<ScriptOptions, "identity">,
): ((dueUs: number, sentUs: number) => Uint8Array) | null {
  const { wire, kind } = options;
  const showsReasoning = reasoningShown(answer, wire);
  if (!answer.choices.every((choice) => isRoleAlone(choice, kind, wire, showsReasoning))) return null;
  const chunks = new Chunks(answer, { ...options, continuousUsage: false, logprobs: null, roleIsSent: false, callId: () => "" });
  return (dueUs, sentUs) => {
    roles.reset(options.stamped, dueUs, sentUs);
    for (const [index, { isRefusal }] of answer.choices.entries())
      chunks.one(index, roleDeltaOf(isRefusal, wire), "null", true).open!(roles);
    return roles.frame();
  };
}

/** Makes the chunks of one response, and counts the tokens that each choice has sent. */
class Chunks {
  readonly #answer: Answer;
  readonly #options: ScriptOptions;
  /** What every chunk begins with, and what follows its choices. */
  readonly #start: string;
  readonly #tail: string;
  /** Tokens so far, by choice. */
  readonly #sent: number[];

  constructor(answer: Answer, options: ScriptOptions) {
    const { wire, kind, model, tier, identity, includeUsage, continuousUsage } = options;
    this.#answer = answer;
    this.#options = options;
    this.#start = `data: {"id":"${identityJson(kind, identity)},${wire.shared(kind, model, tier)}`;
    this.#tail = continuousUsage ? wire.tail(kind, model, false).replace(',"usage":null', "") : wire.tail(kind, model, includeUsage);
    this.#sent = answer.choices.map(() => 0);
  }

  /** No chunk: tokens that count and are not shown. */
  hidden(choice: number, tokens: number): Part {
    return event(() => void (this.#sent[choice]! += tokens));
  }

  /** One chunk of no tokens. `said` and `finish` are JSON. */
  one(choice: number, said: string, finish: string, isRole = false): Part {
    const { wire } = this.#options;
    return event((out) => {
      out.text(`${this.#opening(choice, said, "null", finish, isRole)}${isRole ? wire.roleTail : ""}`);
      this.#end(out, choice, 0);
    });
  }

  /** The tokens of one run, each in a chunk of `said`; the last one has the `finish`. */
  tokens(choice: number, run: Run, said: string, finish: string, logprobs: LogprobsWriter | null): Part {
    const templateOf = (finishJson: string): ChunkTemplate =>
      new ChunkTemplate(this.#opening(choice, said, logprobs === null ? "null" : logprobsSlot, finishJson));
    const template = templateOf("null");
    const last = finish === "null" ? template : templateOf(finish);
    return {
      tokens: run.tokens,
      source: EscapedTokens.of(run.vocabulary),
      cursor: run.cursor(),
      run: (out, taken, isLast) => {
        this.#sent[choice]! += taken.count;
        (isLast ? last : template).write(out, taken, logprobs === null ? "" : logprobs.write(choice, taken));
        this.#end(out, choice, taken.characters);
      },
    };
  }

  /** A prompt that is repeated, in one chunk. */
  repeated(choice: number, prefix: Run): Part {
    const { logprobs } = this.#options;
    return event((out) => {
      const said = prefix.text();
      const probabilities = logprobs === null ? "null" : JSON.stringify(logprobs.of(choice, prefix.tokenTexts(), true));
      out.text(this.#opening(choice, JSON.stringify(said), probabilities, "null"));
      this.#end(out, choice, said.length);
    });
  }

  /** The chunk of the whole response's usage. */
  writeUsage(out: EventBuffer, finish: Finish): void {
    const { wire, kind, model, obfuscated } = this.#options;
    const usage = { ...this.#usage(this.#answer.outputTokens), ...this.#answer.told };
    out.text(this.#start + usageMembers(wire, kind, model, `"${finish}"`, usage));
    if (obfuscated) out.bytes(obfuscationBytes(0));
    out.endEvent();
  }

  /** A chunk up to what follows its choices. */
  #opening(choice: number, said: string, logprobs: string, finish: string, isRole = false): string {
    const { wire, kind } = this.#options;
    return `${this.#start}"choices":[${wire.choice(kind, choice, said, logprobs, finish, isRole)}]${this.#tail}`;
  }

  /** Ends a chunk whose text had so many characters. */
  #end(out: EventBuffer, choice: number, characters: number): void {
    const { wire, continuousUsage, obfuscated } = this.#options;
    if (continuousUsage) out.text(`,"usage":${JSON.stringify(wire.usage(this.#usage(this.#sent[choice]!)))}`);
    if (obfuscated) out.bytes(obfuscationBytes(characters));
    out.endEvent();
  }

  #usage(completionTokens: number): Usage {
    const { ask, cache, reasoningTokens } = this.#answer;
    return {
      promptTokens: ask.promptTokens,
      cachedTokens: cache.cachedTokens,
      completionTokens,
      reasoningTokens: Math.min(completionTokens, reasoningTokens),
    };
  }
}

/** A part of no tokens. */
function event(write: (out: EventBuffer) => void): Part {
  return { tokens: 0, source: null, cursor: null, open: write };
}

/** Tokens of reasoning that are counted and not shown. */
function hiddenTokens({ reasoning }: Answer, wire: Wire): number {
  return wire.showsReasoning ? 0 : reasoning.tokens;
}

function reasoningShown({ reasoning }: Answer, wire: Wire): boolean {
  return wire.showsReasoning && reasoning.tokens > 0;
}
