/**
 * Prompts of words, made where they are sent: a job names their seeds and lengths, not their texts, which may take gigabytes.
 *
 * Each word has three letters and is one token of OpenAI's o200k_base and cl100k_base, with and without a blank before it. A
 * prompt of n words is n tokens by these encodings, and 4n - 1 characters, which servers that estimate take for n tokens too.
 */
import { uniform } from "./arrivals.ts";

/** Words of one seed, which always begin in the same way. Pieces of equal seed share the text of the shorter one. */
export interface Piece {
  /** A whole number from 0. */
  readonly seed: number;
  /** Tokens, and words. */
  readonly tokens: number;
}

/** Where the words of a prompt go in a body. */
export interface GeneratedPrompt {
  readonly pieces: readonly Piece[];
  /** Index in the body, inside a JSON string. */
  readonly at: number;
}

const words: readonly string[] = (
  "act add age ago aid aim air all and ant any ape arc are arm art ash ask ate bad bag ban bar bat bay bed bee bet bid big bin bit " +
  "bow box boy bus but buy can cap car cat cow cry cup cut dad dam day den did die dig dim doc dog dot dry due ear eat egg " +
  "ego end era eve eye fan far fat fed fee few fig fin fit fix fly for fox fun fur gap gas get god got gun had has hat her hey " +
  "hid him hip his hit hot how hub hum ice ill ink inn ion its jam jar jaw jet job joy key kid kit lab lad lag lap law lay led leg let " +
  "lid lie lip log lot low mad man map mat may men met mid mix mob mod mom net new nod nor not now nut odd off oil old one our " +
  "out owl own pad pan par pat pay pen pet pie pig pin pit pop pot pro put ram ran rap rat raw ray red rib rid rim rip rod rot row rub " +
  "rug run sad sat say sea see set she sin sit six sky son spy sub sum sun tab tag tan tap tax tea ten the tie tin tip " +
  "ton too top toy try two use van via war was way web who why win wit won wow yes yet you zip"
).split(" ");

/** The first words of a piece count its seed: of so many seeds in a row no two begin with the same three. */
const countingWords = 3;
const distinctSeeds = words.length ** countingWords;
/** A prime that divides no power of the number of words: seeds in a row begin with words far apart. */
const stride = 7_368_787;

/** Appends the words of a piece. The first three tell its seed from others near by, so that no two prompts begin alike by accident. */
function addWords({ seed, tokens }: Piece, to: string[]): void {
  let count = ((seed % distinctSeeds) * stride) % distinctSeeds;
  const random = uniform((seed % 0x1_0000_0000) ^ Math.floor(seed / 0x1_0000_0000));
  const counting = Math.min(tokens, countingWords);
  for (let i = 0; i < counting; i++) {
    to.push(words[count % words.length]!);
    count = Math.floor(count / words.length);
  }
  for (let i = counting; i < tokens; i++) to.push(words[Math.floor(random() * words.length)]!);
}

/** A seed that a text names: FNV-1a, twice, cut to 52 bits. */
export function seedOfText(text: string): number {
  let [high, low] = [0x811c_9dc5, 0x01c9_dc51];
  for (let i = 0; i < text.length; i++) {
    high = Math.imul(high ^ text.charCodeAt(i), 0x0100_0193);
    low = Math.imul(low ^ text.charCodeAt(i), 0x0100_0193);
  }
  return (high >>> 12) * 0x1_0000_0000 + (low >>> 0);
}

/** The text of a prompt. */
export function textOfPieces(pieces: readonly Piece[]): string {
  const all: string[] = [];
  for (const piece of pieces) addWords(piece, all);
  return all.join(" ");
}

/** Texts of pieces that many requests begin with: the last one made. */
const memo: { key: string; text: string } = { key: "", text: "" };

/** The body as it is sent, where it is a text. */
export function sentBody({ body, prompt }: { readonly body: string; readonly prompt?: GeneratedPrompt }): string {
  if (prompt === undefined) return body;
  const { pieces, at } = prompt;
  const shared = pieces.slice(0, -1);
  const key = JSON.stringify(shared);
  if (memo.key !== key) Object.assign(memo, { key, text: textOfPieces(shared) });
  const own = textOfPieces(pieces.slice(-1));
  return `${body.slice(0, at)}${memo.text}${shared.length > 0 ? " " : ""}${own}${body.slice(at)}`;
}
