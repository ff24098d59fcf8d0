/** The Huffman code of HPACK (RFC 7541, section 5.2 and appendix B). Strings are octets, one for each character (latin1). */
import { HpackError } from "./hpack-error.ts";

/** Bits of each symbol's code, 0 to 255 and EOS (appendix B). The code is canonical: the lengths determine it. */
const codeLengths: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10,
  12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
  7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7,
  7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22,
  23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22,
  23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20,
  24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

const endOfString = 256;

interface HuffmanCode {
  readonly codes: Uint32Array;
  /** Pairs: child for bit 0 and 1 of each node; a leaf is ~symbol. Node 0 is the root. */
  readonly tree: Int32Array;
}

const { codes, tree }: HuffmanCode = (() => {
  const codes = new Uint32Array(257);
  const symbols = [...codeLengths.keys()].sort((a, b) => codeLengths[a]! - codeLengths[b]! || a - b);
  const tree = new Int32Array(2 * 257);
  let code = 0;
  let bits = 0;
  let nodes = 1;
  for (const symbol of symbols) {
    const length = codeLengths[symbol]!;
    code *= 2 ** (length - bits);
    bits = length;
    codes[symbol] = code;
    let node = 0;
    for (let bit = length - 1; bit > 0; bit--) {
      const at = node * 2 + ((code >>> bit) & 1);
      if (tree[at] === 0) tree[at] = nodes++;
      node = tree[at]!;
    }
    tree[node * 2 + (code & 1)] = ~symbol;
    code++;
  }
  return { codes, tree };
})();

/**
 * The decoder as a machine that takes four bits at a time. Its states are the inner nodes of the tree; for each state and four bits:
 * the next state, the symbol that these bits have ended (no code has fewer than five bits, so there is one at most), and what may not
 * be. Bits 0 to 8: state; 9 to 17: symbol and 1; bit 18: EOS has ended.
 */
const stateBits = 9;
const stateMask = (1 << stateBits) - 1;
const eosMark = 1 << (2 * stateBits);
const steps: Int32Array = (() => {
  const steps = new Int32Array((tree.length / 2) * 16);
  for (let state = 0; state * 2 < tree.length; state++) {
    for (let bits = 0; bits < 16; bits++) {
      let node = state;
      let symbol = 0;
      let isEos = false;
      for (let bit = 3; bit >= 0; bit--) {
        const next = tree[node * 2 + ((bits >> bit) & 1)]!;
        if (next >= 0) {
          node = next;
          continue;
        }
        isEos ||= ~next === endOfString;
        symbol = (~next & 0xff) + 1;
        node = 0;
      }
      steps[state * 16 + bits] = node | (symbol << stateBits) | (isEos ? eosMark : 0);
    }
  }
  return steps;
})();

/** States in which a string may end: up to seven bits of EOS, which are ones alone, have been read since the last symbol. */
const mayEnd: Uint8Array = (() => {
  const mayEnd = new Uint8Array(tree.length / 2);
  for (let node = 0, bits = 0; bits <= 7; node = tree[node * 2 + 1]!, bits++) mayEnd[node] = 1;
  return mayEnd;
})();

/** Where symbols are gathered. Five bits are the least that one takes. */
let decoded = Buffer.allocUnsafe(4096);

/** Throws HpackError. */
export function huffmanDecode(bytes: Uint8Array, start: number, end: number): string {
  const most = Math.ceil(((end - start) * 8) / 5);
  if (decoded.length < most) decoded = Buffer.allocUnsafe(most * 2);
  let length = 0;
  let state = 0;
  let eos = 0;
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    let step = steps[state * 16 + (byte >> 4)]!;
    let symbol = (step >> stateBits) & stateMask;
    if (symbol !== 0) decoded[length++] = symbol - 1;
    eos |= step;
    step = steps[(step & stateMask) * 16 + (byte & 15)]!;
    symbol = (step >> stateBits) & stateMask;
    if (symbol !== 0) decoded[length++] = symbol - 1;
    eos |= step;
    state = step & stateMask;
  }
  if ((eos & eosMark) !== 0) throw new HpackError("EOS in a string");
  // The rest of the last byte is the beginning of EOS, which is ones alone.
  if (mayEnd[state] === 0) throw new HpackError("bad padding");
  return decoded.toString("latin1", 0, length);
}

/** Bytes of a text's code. */
export function huffmanLength(text: string): number {
  let bits = 0;
  for (let i = 0; i < text.length; i++) bits += codeLengths[text.charCodeAt(i) & 0xff]!;
  return Math.ceil(bits / 8);
}

/** Puts a text's code at `at`, where `huffmanLength` bytes are free. */
export function huffmanEncode(text: string, into: Uint8Array, at: number): void {
  let held = 0;
  let have = 0;
  for (let i = 0; i < text.length; i++) {
    const symbol = text.charCodeAt(i) & 0xff;
    const length = codeLengths[symbol]!;
    // Up to 7 bits held and 30 new ones are more than shifts can hold.
    held = held * 2 ** length + codes[symbol]!;
    have += length;
    while (have >= 8) {
      have -= 8;
      const scale = 2 ** have;
      const top = Math.floor(held / scale);
      into[at++] = top;
      held -= top * scale;
    }
  }
  if (have > 0) into[at] = (held << (8 - have)) | (0xff >> have);
}
