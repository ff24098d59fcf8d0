/** What a prompt begins with, as a batched scheduler's prefix cache sees it. */
import { ChainHasher } from "../../core/pacing/blocks.ts";
import type { Tokenizer } from "./prompt.ts";

/** The prompt of one choice. */
export interface PromptAsk {
  readonly tokens: number;
  /** Its texts, or ids of tokens, in order; made when they are needed. */
  readonly parts: () => readonly (string | readonly number[])[];
  /** Choices of one prompt have one number. */
  readonly index: number;
}

/** Characters of a token where they are estimated. */
const charactersPerToken = 4;
/** Stands between two parts; no text holds it, and no encoding has so many tokens. */
const separator = 0x7fff_ffff;

/**
 * Hashes of the prompt's full blocks, each over everything up to its end. Tokens are those of the tokenizer; without one,
 * four characters each.
 */
export function blockChain({ tokens, parts }: PromptAsk, blockSize: number, tokenizer: Tokenizer | undefined): readonly number[] {
  const given = parts();
  const areIds = tokenizer !== undefined || given.every((part) => typeof part !== "string");
  const hasher = new ChainHasher(blockSize * (areIds ? 1 : charactersPerToken), Math.floor(tokens / blockSize));
  for (const part of given) {
    if (hasher.isFull) break;
    if (typeof part !== "string") for (const id of part) hasher.add(id);
    else if (tokenizer !== undefined) for (const id of tokenizer.encode(part)) hasher.add(id);
    else for (let i = 0; i < part.length && !hasher.isFull; i++) hasher.add(part.charCodeAt(i));
    if (given.length > 1) hasher.add(separator);
  }
  return hasher.chain;
}
