/** Exact token counts, from a package that is loaded only when asked for: it takes 70 MB of memory. */
import type { CountTokens } from "./api/openai/prompt.ts";
import { type Encoding, UsageError } from "./config.ts";

const encodings = {
  o200k_base: () => import("gpt-tokenizer/encoding/o200k_base"),
  cl100k_base: () => import("gpt-tokenizer/encoding/cl100k_base"),
};

/** Loads an encoding. Throws UsageError where the package is not installed. */
export async function loadTokenizer(encoding: Encoding): Promise<CountTokens> {
  let loaded: Awaited<ReturnType<(typeof encodings)[Encoding]>>;
  try {
    loaded = await encodings[encoding]();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ERR_MODULE_NOT_FOUND") throw error;
    throw new UsageError(`--tokenizer ${encoding} needs a package that is not installed: npm install gpt-tokenizer@4`);
  }
  // A text that spells a special token, "<|endoftext|>", is text here as it is at OpenAI.
  const options = { disallowedSpecial: new Set<string>() };
  return (text) => loaded.countTokens(text, options);
}
