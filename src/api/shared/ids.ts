/** Letters and digits of ids. */
import type { Random } from "../../core/random/random.ts";

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

const alphabetCodes: Uint8Array = Uint8Array.from(alphabet, (letter) => letter.charCodeAt(0));
/** Where letters are put together: bytes cost a third of what joining strings does. */
const letters = Buffer.allocUnsafeSlow(128) as Buffer & { latin1Slice(start: number, end: number): string };

/** Up to 128 letters and digits. */
export function randomLetters(random: Random, length: number): string {
  for (let at = 0; at < length; at += 5) {
    // Five characters of 62 fit into 32 bits.
    let word = random.word();
    for (let i = at; i < at + 5; i++) {
      const rest = Math.floor(word / 62);
      letters[i] = alphabetCodes[word - rest * 62]!;
      word = rest;
    }
  }
  return letters.latin1Slice(0, length);
}

/** Lower-case hexadecimal digits. */
export function randomHex(random: Random, length: number): string {
  let id = "";
  while (id.length < length) id += random.word().toString(16).padStart(8, "0");
  return id.slice(0, length);
}
