/** Runs of tokens: of a given text, of JSON, or of the corpus. */
import { jsonInside } from "../../core/frames/frames.ts";
import type { EventBuffer } from "../../core/frames/script.ts";
import type { Seed } from "../../core/random/random.ts";
import {
  corpusCursor,
  corpusTokens,
  corpusVocabulary,
  countJsonTokens,
  sequentialCursor,
  splitJsonTokens,
  splitTokens,
  type TokenCursor,
  type Vocabulary,
} from "../../core/text/text.ts";

/** The tokens of the corpus, one after the other, as insides of JSON strings, and where each begins. */
let escapedCorpus: { readonly bytes: Uint8Array; readonly starts: Uint32Array } | null = null;

function escapeCorpus(): { readonly bytes: Uint8Array; readonly starts: Uint32Array } {
  const escaped = Array.from(corpusTokens, (token) => Buffer.from(jsonInside(corpusVocabulary.texts[token]!)));
  const starts = new Uint32Array(escaped.length + 1);
  for (const [position, { length }] of escaped.entries()) starts[position + 1] = starts[position]! + length;
  return { bytes: new Uint8Array(Buffer.concat(escaped)), starts };
}

/** The corpus as one text, and where each of its tokens begins. */
let joinedCorpus: { readonly whole: string; readonly starts: Uint32Array } | null = null;

function joinCorpus(): { readonly whole: string; readonly starts: Uint32Array } {
  const texts = Array.from(corpusTokens, (token) => corpusVocabulary.texts[token]!);
  const starts = new Uint32Array(texts.length + 1);
  for (const [position, { length }] of texts.entries()) starts[position + 1] = starts[position]! + length;
  return { whole: texts.join(""), starts };
}

const corpusCharactersPerToken = 5;

/** The tokens of JSON, made when they are asked for: an answer in one piece needs their number alone, and there may be 40,000. */
class LateTokens implements Vocabulary {
  readonly #json: string;
  #texts: readonly string[] | null = null;

  constructor(json: string) {
    this.#json = json;
  }

  get texts(): readonly string[] {
    return (this.#texts ??= splitJsonTokens(this.#json));
  }
}

/** A run of tokens, from a given text or from the corpus. */
export class Run {
  readonly vocabulary: Vocabulary;
  readonly tokens: number;
  readonly #seed: Seed | null;
  /** The text of all tokens, where it was given whole. */
  readonly #whole: string | null;

  /** With a seed the corpus's text that it decides; without one the vocabulary from its first token on, whose text `whole` is. */
  constructor(vocabulary: Vocabulary, tokens: number, seed: Seed | null, whole: string | null = null) {
    this.vocabulary = vocabulary;
    this.tokens = tokens;
    this.#seed = seed;
    this.#whole = whole;
  }

  static of(text: string): Run {
    const texts = splitTokens(text);
    return new Run({ texts }, texts.length, null, text);
  }

  /** `inPieces`: its tokens are sure to be asked for one by one. Else they are made when they are. */
  static ofJson(value: unknown, inPieces = true): Run {
    const json = JSON.stringify(value);
    if (!inPieces) return new Run(new LateTokens(json), countJsonTokens(json), null, json);
    const texts = splitJsonTokens(json);
    return new Run({ texts }, texts.length, null, json);
  }

  static ofTokens(texts: readonly string[]): Run {
    return new Run({ texts }, texts.length, null);
  }

  cursor(): TokenCursor {
    return this.#seed === null ? sequentialCursor(this.vocabulary) : corpusCursor(this.#seed);
  }

  cutTo(tokens: number): Run {
    return tokens === this.tokens ? this : new Run(this.vocabulary, tokens, this.#seed);
  }

  /** UTF-16 units of its text; of text from the corpus about as many. */
  get characters(): number {
    if (this.#whole !== null) return this.#whole.length;
    if (this.#seed !== null) return this.tokens * corpusCharactersPerToken;
    const { texts } = this.vocabulary;
    const sum = (some: readonly string[]): number => some.reduce((units, { length }) => units + length, 0);
    const rounds = Math.floor(this.tokens / texts.length);
    return (rounds === 0 ? 0 : rounds * sum(texts)) + sum(texts.slice(0, this.tokens % texts.length));
  }

  /** The text of each token. */
  tokenTexts(): string[] {
    const cursor = this.cursor();
    return Array.from({ length: this.tokens }, () => this.vocabulary.texts[cursor.next()]!);
  }

  /** Hot path. Writes the text as the inside of a JSON string. */
  writeJson(out: EventBuffer): void {
    const cursor = this.cursor();
    if (this.vocabulary !== corpusVocabulary || cursor.takeRun === undefined) {
      out.text(jsonInside(this.text()));
      return;
    }
    const { bytes, starts } = (escapedCorpus ??= escapeCorpus());
    for (let left = this.tokens; left > 0; left -= cursor.runLength!) {
      const first = cursor.takeRun(left);
      out.slice(bytes, starts[first]!, starts[first + cursor.runLength!]!);
    }
  }

  text(): string {
    if (this.#whole !== null) return this.#whole;
    const { texts } = this.vocabulary;
    // What a text is added to piece by piece holds each of them until it is read: for 40,000 tokens of JSON 2 MB.
    if (this.#seed === null) {
      const rounds = texts.length === 0 ? 0 : Math.floor(this.tokens / texts.length);
      const rest = texts.slice(0, this.tokens - rounds * texts.length).join("");
      return rounds === 0 ? rest : texts.join("").repeat(rounds) + rest;
    }
    const cursor = this.cursor();
    let text = "";
    if (this.vocabulary === corpusVocabulary && cursor.takeRun !== undefined) {
      const { whole, starts } = (joinedCorpus ??= joinCorpus());
      for (let left = this.tokens; left > 0; left -= cursor.runLength!) {
        const first = cursor.takeRun(left);
        text += whole.slice(starts[first], starts[first + cursor.runLength!]);
      }
      return text;
    }
    for (let token = 0; token < this.tokens; token++) text += texts[cursor.next()]!;
    return text;
  }
}

/** It says nothing. */
export const noRun: Run = new Run(corpusVocabulary, 0, null);
