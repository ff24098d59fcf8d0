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
    return JSON.stringify(
      this.of(
        choice,
        Array.from({ length: run.count }, (_, i) => run.text(i)),
      ),
    );
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

  #token(random: Random, text: string): { chosen: TokenLogprob; top: TokenLogprob[] } {
    let logprob = Math.log(random.unit()) * 0.3;
    const chosen = describe(text, logprob);
    const top: TokenLogprob[] = [];
    const taken = new Set([text]);
    if (this.#top > 0) top.push(chosen);
    while (top.length < this.#top) {
      logprob += Math.log(random.unit()) - 0.1;
      let other = corpusVocabulary.texts[random.below(corpusVocabulary.texts.length)]!;
      while (taken.has(other)) other = corpusVocabulary.texts[random.below(corpusVocabulary.texts.length)]!;
      taken.add(other);
      top.push(describe(other, logprob));
    }
    return { chosen, top };
  }
}

/** The `logprobs` of a whole choice. */
export function choiceLogprobs(writer: LogprobsWriter, index: number, { prefix, text }: Choice): object | null {
  if (text === null) return null;
  return prefix === null ? writer.of(index, text.tokenTexts()) : writer.of(index, [...prefix.tokenTexts(), ...text.tokenTexts()], true);
}
