/** Made-up log probabilities: plausible, never above 0, the chosen token the likeliest. */
import { purpose, Random, type Seed } from "../../core/random/random.ts";
import type { TokenRun } from "../../core/frames/script.ts";
import { corpusVocabulary } from "../../core/text/text.ts";
import type { Choice } from "../shared/ask.ts";
import type { Kind } from "./wire.ts";

const encoder = new TextEncoder();

interface TokenLogprob {
  readonly token: string;
  readonly logprob: number;
  readonly bytes: readonly number[];
}

/** The bytes of the corpus's tokens: most alternatives are among them. */
const bytesOfCorpus = new Map<string, readonly number[]>();

function bytesOf(token: string): readonly number[] {
  if (bytesOfCorpus.size === 0) for (const text of corpusVocabulary.texts) bytesOfCorpus.set(text, [...encoder.encode(text)]);
  return bytesOfCorpus.get(token) ?? [...encoder.encode(token)];
}

/**
 * JSON of a token's entry, before and behind its log probability, and of the token alone: one event may hold thousands. `whole`: the
 * number that it is, whose member of an object comes before all that are none; -1: it is none.
 */
type Around = readonly [before: string, behind: string, token: string, whole: number];
const jsonOfCorpus = new Map<string, Around>();

function jsonAround(token: string): Around {
  const known = jsonOfCorpus.get(token);
  if (known !== undefined) return known;
  const quoted = JSON.stringify(token);
  const whole = /^(?:0|[1-9]\d{0,8})$/.test(token) ? Number(token) : -1;
  const around = [`{"token":${quoted},"logprob":`, `,"bytes":[${bytesOf(token).join(",")}]`, quoted, whole] as const;
  if (bytesOfCorpus.has(token)) jsonOfCorpus.set(token, around);
  return around;
}

const describe = (token: string, logprob: number): TokenLogprob => ({ token, logprob, bytes: bytesOf(token) });

/** Writes the `logprobs` of the runs of a response, in order. */
export class LogprobsWriter {
  readonly #kind: Kind;
  readonly #top: number;
  readonly #randoms: readonly Random[];
  /** Characters of each choice's text so far. */
  readonly #offsets: number[];

  /** `top`: alternatives per token, from 0 to 20. */
  constructor(kind: Kind, top: number, choices: readonly { readonly seed: Seed }[]) {
    this.#kind = kind;
    this.#top = top;
    this.#randoms = choices.map(({ seed }) => new Random(seed, purpose.logprobs));
    this.#offsets = choices.map(() => 0);
  }

  /** JSON of one run. */
  write(choice: number, run: TokenRun): string {
    return this.#kind === "chat" ? this.#chatJson(this.#randoms[choice]!, run) : this.#completionJson(choice, run);
  }

  /** `isStart`: nothing comes before the first text, so that nothing can say how likely it is. */
  of(choice: number, texts: readonly string[], isStart = false): object {
    const random = this.#randoms[choice]!;
    const tokens = texts.map((text) => this.#token(random, text));
    if (this.#kind === "chat") {
      return {
        content: tokens.map(({ chosen, top }) => ({ ...chosen, top_logprobs: top })),
        refusal: null,
      };
    }
    const offsets = texts.map((text) => {
      const offset = this.#offsets[choice]!;
      this.#offsets[choice] = offset + text.length;
      return offset;
    });
    return {
      text_offset: offsets,
      token_logprobs: tokens.map(({ chosen }, index) => (isStart && index === 0 ? null : chosen.logprob)),
      tokens: texts,
      top_logprobs: tokens.map(({ chosen, top }, index) =>
        isStart && index === 0 ? null : Object.fromEntries((top.length > 0 ? top : [chosen]).map(({ token, logprob }) => [token, logprob])),
      ),
    };
  }

  /** What `of` gives for a chat, as text. */
  #chatJson(random: Random, run: TokenRun): string {
    let json = '{"content":[';
    for (let i = 0; i < run.count; i++) {
      const text = run.text(i);
      const { logprob, others, logprobs } = this.#likely(random, text);
      const [before, behind] = jsonAround(text);
      const chosen = `${before}${logprob}${behind}`;
      json += `${i === 0 ? "" : ","}${chosen},"top_logprobs":[`;
      if (this.#top > 0) json += `${chosen}}`;
      for (let at = 0; at < others.length; at++) {
        const around = jsonAround(others[at]!);
        json += `,${around[0]}${logprobs[at]!}${around[1]}}`;
      }
      json += "]}";
    }
    return `${json}],"refusal":null}`;
  }

  /** What `of` gives for a completion, as text. */
  #completionJson(choice: number, run: TokenRun): string {
    const random = this.#randoms[choice]!;
    let [offsets, chosen, tokens, top] = ["", "", "", ""];
    for (let i = 0; i < run.count; i++) {
      const text = run.text(i);
      const { logprob, others, logprobs } = this.#likely(random, text);
      const comma = i === 0 ? "" : ",";
      offsets += `${comma}${this.#offsets[choice]!}`;
      this.#offsets[choice] = this.#offsets[choice]! + text.length;
      chosen += `${comma}${logprob}`;
      tokens += `${comma}${jsonAround(text)[2]}`;
      top += `${comma}{${membersOf(text, logprob, others, logprobs)}}`;
    }
    return `{"text_offset":[${offsets}],"token_logprobs":[${chosen}],"tokens":[${tokens}],"top_logprobs":[${top}]}`;
  }

  #token(random: Random, text: string): { chosen: TokenLogprob; top: TokenLogprob[] } {
    const { logprob, others, logprobs } = this.#likely(random, text);
    const chosen = describe(text, logprob);
    return { chosen, top: this.#top > 0 ? [chosen, ...others.map((other, index) => describe(other, logprobs[index]!))] : [] };
  }

  /** How likely a token was, and what else was likely, the likeliest first. */
  #likely(random: Random, text: string): { logprob: number; others: readonly string[]; logprobs: readonly number[] } {
    const { texts } = corpusVocabulary;
    const logprob = Math.log(random.unit()) * 0.3;
    const others: string[] = [];
    const logprobs: number[] = [];
    let next = logprob;
    while (others.length + 1 < this.#top) {
      next += Math.log(random.unit()) - 0.1;
      let other = texts[random.below(texts.length)]!;
      // At most 20 are taken: a list is searched faster than a set is filled.
      while (other === text || others.includes(other)) other = texts[random.below(texts.length)]!;
      others.push(other);
      logprobs.push(next);
    }
    return { logprob, others, logprobs };
  }
}

/** Members of an object in the order of every object: whole numbers first, the least before the others (ECMA-262, OrdinaryOwnPropertyKeys). */
function membersOf(text: string, logprob: number, others: readonly string[], logprobs: readonly number[]): string {
  let members = "";
  let numbered: [whole: number, member: string][] | null = null;
  for (let at = -1; at < others.length; at++) {
    const [, , quoted, whole] = jsonAround(at < 0 ? text : others[at]!);
    const member = `${quoted}:${at < 0 ? logprob : logprobs[at]!}`;
    if (whole >= 0) (numbered ??= []).push([whole, member]);
    else members += members === "" ? member : `,${member}`;
  }
  if (numbered === null) return members;
  const first = numbered.sort(([one], [other]) => one - other).map(([, member]) => member);
  return (members === "" ? first : [...first, members]).join(",");
}

/** The `logprobs` of a whole choice. */
export function choiceLogprobs(writer: LogprobsWriter, index: number, { prefix, text }: Choice): object | null {
  if (text === null) return null;
  return prefix === null ? writer.of(index, text.tokenTexts()) : writer.of(index, [...prefix.tokenTexts(), ...text.tokenTexts()], true);
}
