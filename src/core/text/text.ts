import { corpus } from "./corpus.ts";
import { purpose, Random, type Seed } from "../random/random.ts";

/** A fixed list of token texts. Frames are encoded once per vocabulary. */
export interface Vocabulary {
  readonly texts: readonly string[];
}

/** Walks over a vocabulary, token by token. Hot path. */
export interface TokenCursor {
  next(): number;
  /**
   * Over the corpus only: takes up to `most` tokens that stand there one after the other, returns where they begin and
   * leaves their number in `runLength`.
   */
  takeRun?(most: number): number;
  readonly runLength?: number;
}

/** The distinct tokens of the corpus. */
export const corpusVocabulary: Vocabulary = { texts: [...new Set(corpus)] };

/** The token at each position of the corpus. */
export const corpusTokens: Uint16Array = (() => {
  const ids = new Map(corpusVocabulary.texts.map((text, id) => [text, id]));
  return Uint16Array.from(corpus, (text) => ids.get(text)!);
})();

/** Where each paragraph of the corpus begins, and its end. */
const paragraphs: Uint16Array = Uint16Array.from([0, ...corpus.flatMap((text, index) => (text.endsWith("\n\n") ? [index + 1] : []))]);

/** Paragraphs of the corpus in an order that the seed decides, without end. */
class CorpusCursor implements TokenCursor {
  #random: Random;
  #position = 0;
  #end = 0;
  runLength = 0;

  constructor(seed: Seed) {
    this.#random = new Random(seed, purpose.text);
  }

  next(): number {
    if (this.#position === this.#end) this.#turn();
    return corpusTokens[this.#position++]!;
  }

  takeRun(most: number): number {
    if (this.#position === this.#end) this.#turn();
    const first = this.#position;
    this.runLength = Math.min(most, this.#end - first);
    this.#position += this.runLength;
    return first;
  }

  #turn(): void {
    const paragraph = this.#random.below(paragraphs.length - 1);
    this.#position = paragraphs[paragraph]!;
    this.#end = paragraphs[paragraph + 1]!;
  }
}

/** The text that a seed decides. */
export function corpusCursor(seed: Seed): TokenCursor {
  return new CorpusCursor(seed);
}

/** Each token of a vocabulary once, in order: for a text that was given. Past its end it begins again. */
export function sequentialCursor(vocabulary: Vocabulary): TokenCursor {
  let position = 0;
  return {
    next() {
      if (position === vocabulary.texts.length) position = 0;
      return position++;
    },
  };
}

/** A word with the space before it, up to three digits, white space, punctuation; what is long in parts. */
const pieces = String.raw`[^\S\r\n]?\p{L}[\p{L}\p{M}'\u2019]{0,9}\p{M}{0,9}|\p{N}{1,3}\p{M}{0,9}|\s{1,32}(?=\s\S)|\s{1,32}|[^\s\p{L}\p{N}]\p{M}{0,9}|[\s\S]`;
const piece = new RegExp(pieces, "gu");
/** As `piece`, but runs of JSON's punctuation are one piece. White space before them is no different from white space at an end. */
const jsonPiece = new RegExp(`["{}[\\],:]{1,4}|${pieces.replace(String.raw`\s\S`, String.raw`\s[^\s"{}[\],:]`)}`, "gu");

/**
 * Cuts a text into pieces like a model's tokens. Their concatenation is the text, and no piece ends inside a surrogate pair, so
 * no frame holds half a character. Lone surrogates stay pieces of their own.
 */
export function splitTokens(text: string): string[] {
  return text.match(piece) ?? [];
}

/** Cuts JSON text: runs of punctuation such as `{"` and `":"` are one token each, as in OpenAI's encodings. */
export function splitJsonTokens(json: string): string[] {
  return json.match(jsonPiece) ?? [];
}

/** How many `splitJsonTokens` gives. None of them is made. */
export function countJsonTokens(json: string): number {
  jsonPiece.lastIndex = 0;
  let count = 0;
  while (jsonPiece.test(json)) count++;
  return count;
}
