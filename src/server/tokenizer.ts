/** Exact token counts, by a package that is loaded only when it is asked for. */
import type { Tokenizer } from "../api/shared/prompt.ts";
import { type Encoding, loadEncoding } from "../base/encodings.ts";

/** What each token stands for, by its id. */
const ranksOf = {
  o200k_base: () => import("gpt-tokenizer/bpeRanks/o200k_base"),
  cl100k_base: () => import("gpt-tokenizer/bpeRanks/cl100k_base"),
};

/** Ids of `<|im_start|>`, `<|im_sep|>` and `<|im_end|>`, between which OpenAI puts the messages of a chat. */
const marks = {
  o200k_base: { start: 200_264, separator: 200_266, end: 200_265 },
  cl100k_base: { start: 100_264, separator: 100_266, end: 100_265 },
};

const encoder = new TextEncoder();

/** Parts of a text are at least this long, where a place to cut is found, and at most the other. */
const leastPart = 128;
const mostPart = 512;
/**
 * Ends where both encodings end a token, whatever stands around: before the space of a word, and behind a line end before a word
 * or number.
 */
const tokenEnds = /\S(?= \p{L})|\n(?=[\p{L}\p{N}])/gu;

/**
 * Cuts a long text for the package, whose time grows with the square of a run without a place to cut. Tokens are the same in parts.
 * Only a run of more than 512 characters without such a place is cut where that may add a token.
 */
export function partsOf(text: string): string[] {
  const parts: string[] = [];
  let start = 0;
  while (text.length - start > mostPart) {
    tokenEnds.lastIndex = leastPart;
    const found = tokenEnds.test(text.slice(start, start + mostPart));
    let end = start + (found ? tokenEnds.lastIndex : mostPart);
    // Never inside a surrogate pair.
    if (!found && text.codePointAt(end - 1)! > 0xffff) end--;
    parts.push(text.slice(start, end));
    start = end;
  }
  parts.push(text.slice(start));
  return parts;
}

/** Loads an encoding. Throws UsageError where the package is not installed. */
export async function loadTokenizer(encoding: Encoding): Promise<Tokenizer> {
  const { count, encode } = await loadEncoding(encoding);
  const { default: ranks } = await ranksOf[encoding]();
  /** From the package's table, which holds a text or bytes: its own decoder keeps half a character from one call to the next. */
  const bytesOf = (id: number): Uint8Array => {
    const token = ranks[id] ?? "";
    return typeof token === "string" ? encoder.encode(token) : Uint8Array.from(token);
  };
  return {
    count: (text) => (text.length <= mostPart ? count(text) : partsOf(text).reduce((sum, part) => sum + count(part), 0)),
    encode: (text) => (text.length <= mostPart ? encode(text) : partsOf(text).flatMap((part) => encode(part))),
    textsOf: (ids) => {
      const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
      return ids.map((id, index) => decoder.decode(bytesOf(id), { stream: index < ids.length - 1 }));
    },
    // A decoder called for each token takes several times as long.
    decode: (ids) => {
      let text = "";
      let parts: number[] = [];
      for (const id of ids) {
        const token = ranks[id];
        // Bytes are parts of characters: only together they are text.
        if (typeof token === "object") for (const byte of token) parts.push(byte);
        else if (token !== undefined) {
          if (parts.length > 0) text += Buffer.from(parts).toString("utf8");
          parts = [];
          text += token;
        }
      }
      return text + Buffer.from(parts).toString("utf8");
    },
    marks: marks[encoding],
  };
}
