/** Letters and digits of ids. */
import type { Random } from "../../core/random/random.ts";

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

const alphabetCodes: Uint8Array = Uint8Array.from(alphabet, (letter) => letter.charCodeAt(0));
/** Where letters are put together: bytes cost a third of what joining strings does. */
const letters = Buffer.allocUnsafeSlow(128) as Buffer & { latin1Slice(start: number, end: number): string };

/** Up to 128 letters and digits, those of the prefix counted in. One flat string: joined ones would be copied before anything reads them. */
export function randomLetters(random: Random, length: number, prefix = ""): string {
  const start = prefix.length;
  for (let at = 0; at < start; at++) letters[at] = prefix.charCodeAt(at);
  const end = start + length;
  for (let at = start; at < end; at += 5) {
    // Five characters of 62 fit into 32 bits.
    let word = random.word();
    for (let i = at; i < at + 5; i++) {
      // Whole numbers of 32 bits throughout: V8 then multiplies in place of dividing.
      const rest = (word / 62) >>> 0;
      letters[i] = alphabetCodes[(word - Math.imul(rest, 62)) | 0]!;
      word = rest;
    }
  }
  return letters.latin1Slice(0, end);
}

/** Lower-case hexadecimal digits. */
export function randomHex(random: Random, length: number): string {
  let id = "";
  while (id.length < length) id += random.word().toString(16).padStart(8, "0");
  return id.slice(0, length);
}
