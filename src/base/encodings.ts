/** OpenAI's encodings, by an optional package that is loaded only when it is asked for: it takes 70 MB of memory. */
import { createRequire } from "node:module";
import { UsageError } from "./usage-error.ts";

/** Encodings that tokens can be counted in. */
export type Encoding = "o200k_base" | "cl100k_base";

export const encodingNames: readonly Encoding[] = ["o200k_base", "cl100k_base"];

const encodings = {
  o200k_base: () => import("gpt-tokenizer/encoding/o200k_base"),
  cl100k_base: () => import("gpt-tokenizer/encoding/cl100k_base"),
};

function missing(encoding: Encoding): UsageError {
  return new UsageError(`--tokenizer ${encoding} needs a package that is not installed: npm install gpt-tokenizer@4`);
}

/** Whether the package is there, without loading it. Throws UsageError where it is not. */
export function checkEncoding(encoding: Encoding): void {
  try {
    createRequire(import.meta.url).resolve(`gpt-tokenizer/encoding/${encoding}`);
  } catch {
    throw missing(encoding);
  }
}

/** Counts the tokens of texts and encodes them. */
export interface LoadedEncoding {
  readonly count: (text: string) => number;
  readonly encode: (text: string) => readonly number[];
}

/** Loads an encoding. Throws UsageError where the package is not installed. */
export async function loadEncoding(encoding: Encoding): Promise<LoadedEncoding> {
  let loaded: Awaited<ReturnType<(typeof encodings)[Encoding]>>;
  try {
    loaded = await encodings[encoding]();
  } catch (error) {
    // Of an import, and of a require in the CommonJS form of the library.
    if (/^(?:ERR_)?MODULE_NOT_FOUND$/.test((error as NodeJS.ErrnoException).code ?? "")) throw missing(encoding);
    throw error;
  }
  // A text that spells a special token, "<|endoftext|>", is text here as it is at OpenAI.
  const options = { disallowedSpecial: new Set<string>() };
  const { countTokens, encode } = loaded;
  return { count: (text) => countTokens(text, options), encode: (text) => encode(text, options) };
}
