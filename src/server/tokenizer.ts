/** Exact token counts, by a package that is loaded only when it is asked for: it takes 70 MB of memory. */
import type { Tokenizer } from "../api/shared/prompt.ts";
import { UsageError } from "../base/usage-error.ts";
import type { Encoding } from "../settings/options.ts";

const encodings = {
  o200k_base: async () => [await import("gpt-tokenizer/encoding/o200k_base"), await import("gpt-tokenizer/bpeRanks/o200k_base")] as const,
  cl100k_base: async () =>
    [await import("gpt-tokenizer/encoding/cl100k_base"), await import("gpt-tokenizer/bpeRanks/cl100k_base")] as const,
};

/** Ids of `<|im_start|>`, `<|im_sep|>` and `<|im_end|>`, between which OpenAI puts the messages of a chat. */
const marks = {
  o200k_base: { start: 200_264, separator: 200_266, end: 200_265 },
  cl100k_base: { start: 100_264, separator: 100_266, end: 100_265 },
};

const encoder = new TextEncoder();

/** Loads an encoding. Throws UsageError where the package is not installed. */
export async function loadTokenizer(encoding: Encoding): Promise<Tokenizer> {
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
  const [{ countTokens, encode }, { default: ranks }] = loaded;
  /** From the package's table, which holds a text or bytes: its own decoder keeps half a character from one call to the next. */
  const bytesOf = (id: number): Uint8Array => {
    const token = ranks[id] ?? "";
    return typeof token === "string" ? encoder.encode(token) : Uint8Array.from(token);
  };
  return {
    count: (text) => countTokens(text, options),
    encode: (text) => encode(text, options),
    textsOf: (ids) => {
      const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
      return ids.map((id, index) => decoder.decode(bytesOf(id), { stream: index < ids.length - 1 }));
    },
    marks: marks[encoding],
  };
}
