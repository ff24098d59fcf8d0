/** The chunks of chat completions and legacy completions: the short cut for plain text, and scripts for all the rest. */
import { encodeEvent, type EventFormat, TokenEvents, doneEvent } from "../../core/frames/frames.ts";
import { EscapedTokens, type EventBuffer, type Part, type Script, type TokenRun } from "../../core/frames/script.ts";
import type { Vocabulary } from "../../core/text/text.ts";
import type { Answer, Choice, Finish, Run } from "../shared/model.ts";
import type { LogprobsWriter } from "./logprobs.ts";
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
    const { wire, kind, model, includeUsage, obfuscated, stamped } = options;
    const format: EventFormat = { opening: '{"id":"', identityLength, shared: `,${wire.shared(kind, model)}`, stamped };
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
  /** An id for each call, in order. */
  readonly callId: () => string;
}

/** The template of an event: constant bytes, and slots that are filled for each run. */
class ChunkTemplate {
  readonly #pieces: readonly Uint8Array[];
  readonly #slots: readonly string[];

  constructor(json: string) {
    const parts = json.split(new RegExp(`([${textSlot}${logprobsSlot}])`));
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
  const { wire, kind, model, identity, includeUsage, obfuscated, continuousUsage, stamped } = options;
  const { ask, reasoning } = answer;
  const start = `data: {"id":"${identityJson(kind, identity)},${wire.shared(kind, model)}`;
  const sent: number[] = answer.choices.map(() => 0);
  const usage = (completionTokens: number): Usage => ({
    promptTokens: ask.promptTokens,
    cachedTokens: answer.cache.cachedTokens,
    completionTokens,
    reasoningTokens: Math.min(completionTokens, answer.reasoningTokens),
  });
  const tail = continuousUsage ? wire.tail(kind, model, false).replace(',"usage":null', "") : wire.tail(kind, model, includeUsage);
  /** Ends a chunk whose text had so many characters. */
  const end = (out: EventBuffer, choice: number, characters: number): void => {
    if (continuousUsage) out.text(`,"usage":${JSON.stringify(wire.usage(usage(sent[choice]!)))}`);
    if (obfuscated) out.bytes(obfuscationBytes(characters));
    out.endEvent();
  };
  const chunk = (out: EventBuffer, choice: number, said: string, finish: string, isRole = false): void => {
    out.text(`${start}"choices":[${wire.choice(kind, choice, said, "null", finish, isRole)}]${tail}${isRole ? wire.roleTail : ""}`);
    end(out, choice, 0);
  };
  const hidden = wire.showsReasoning ? 0 : reasoning.tokens;

  /** The tokens of one run, each in an event of `said`. */
  const tokens = (choice: number, run: Run, said: string, finish: string, logprobs: LogprobsWriter | null): Part => {
    const templateOf = (finishJson: string): ChunkTemplate =>
      new ChunkTemplate(
        `${start}"choices":[${wire.choice(kind, choice, said, logprobs === null ? "null" : logprobsSlot, finishJson)}]${tail}`,
      );
    const template = templateOf("null");
    const last = finish === "null" ? template : templateOf(finish);
    return {
      tokens: run.tokens,
      source: EscapedTokens.of(run.vocabulary),
      cursor: run.cursor(),
      run: (out, taken, isLast) => {
        sent[choice]! += taken.count;
        (isLast ? last : template).write(out, taken, logprobs === null ? "" : logprobs.write(choice, taken));
        end(out, choice, taken.characters);
      },
    };
  };
  const event = (write: (out: EventBuffer) => void): Part => ({ tokens: 0, source: null, cursor: null, open: write });

  /** A prompt that is repeated, in one event. */
  const repeated = (prefix: Run, choice: number): Part =>
    event((out) => {
      const said = prefix.text();
      const { logprobs } = options;
      const probabilities = logprobs === null ? "null" : JSON.stringify(logprobs.of(choice, prefix.tokenTexts(), true));
      out.text(`${start}"choices":[${wire.choice(kind, choice, JSON.stringify(said), probabilities, "null")}]${tail}`);
      end(out, choice, said.length);
    });

  const partsOf = ({ prefix, text, calls, finish }: Choice, choice: number): Part[] => {
    const parts: Part[] = [];
    const roleAlone =
      kind === "chat" && wire.roleDelta !== null && (calls.length === 0 || wire.name === "vllm" || reasoningShown(answer, wire));
    if (hidden > 0) parts.push(event(() => void (sent[choice]! += hidden)));
    if (roleAlone) parts.push(event((out) => chunk(out, choice, wire.roleDelta!, "null", true)));
    if (reasoningShown(answer, wire)) parts.push(tokens(choice, reasoning, wire.reasoningDelta, "null", null));
    if (prefix !== null) parts.push(repeated(prefix, choice));
    let finished = false;
    if (text !== null && text.tokens > 0) {
      finished = wire.finishOnLastToken && finish === "length";
      const said = kind === "chat" ? wire.contentDelta : `"${textSlot}"`;
      parts.push(tokens(choice, text, said, finished ? '"length"' : "null", options.logprobs));
    }
    calls.forEach((call, index) => {
      const name = { index, id: options.callId(), name: call.name };
      parts.push(event((out) => chunk(out, choice, wire.callDelta(name, index === 0 && !roleAlone), "null")));
      parts.push(tokens(choice, call.arguments, wire.argumentsDelta(index), "null", null));
    });
    if (!finished) parts.push(event((out) => chunk(out, choice, kind === "chat" ? wire.finishDelta : '""', `"${finish}"`)));
    return parts;
  };

  const lastFinish: Finish = answer.choices.at(-1)!.finish;
  return {
    choices: answer.choices.map(partsOf),
    close: (out) => {
      if (includeUsage) {
        out.text(start + usageMembers(wire, kind, model, `"${lastFinish}"`, usage(answer.outputTokens)));
        if (obfuscated) out.bytes(obfuscationBytes(0));
        out.endEvent();
      }
      out.bytes(doneEvent);
    },
    tokensPerFrame: answer.tokensPerChunk,
    hiddenTokens: hidden,
    stamped,
  };
}

function reasoningShown({ reasoning }: Answer, wire: Wire): boolean {
  return wire.showsReasoning && reasoning.tokens > 0;
}
