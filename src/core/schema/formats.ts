/** Texts of the formats that structured outputs know. */
import type { Random } from "../random/random.ts";
import { corpusVocabulary } from "../text/text.ts";

/** Words of three to nine letters. */
export const words: readonly string[] = corpusVocabulary.texts.filter((text) => /^ [a-z]{3,9}$/.test(text)).map((text) => text.slice(1));

const two = (value: number): string => String(value).padStart(2, "0");
const digitsOfHex = "0123456789abcdef";
const hex = (random: Random, digits: number): string => {
  let text = "";
  for (let digit = 0; digit < digits; digit++) text += digitsOfHex[random.below(16)]!;
  return text;
};
const date = (random: Random): string => `20${two(20 + random.below(7))}-${two(1 + random.below(12))}-${two(1 + random.below(28))}`;
const time = (random: Random): string => `${two(random.below(24))}:${two(random.below(60))}:${two(random.below(60))}Z`;
const word = (random: Random): string => words[random.below(words.length)]!;

/** The formats of structured outputs. */
export const formats: ReadonlyMap<string, (random: Random) => string> = new Map(
  Object.entries<(random: Random) => string>({
    "date-time": (random) => `${date(random)}T${time(random)}`,
    date,
    time,
    duration: (random) => `P${1 + random.below(9)}DT${random.below(24)}H`,
    email: (random) => `${word(random)}@example.com`,
    hostname: (random) => `${word(random)}.example.com`,
    ipv4: (random) => `192.0.2.${random.below(256)}`,
    ipv6: (random) => `2001:db8::${hex(random, 1).replace("0", "1")}`,
    uri: (random) => `https://example.com/${word(random)}`,
    uuid: (random) => `${hex(random, 8)}-${hex(random, 4)}-4${hex(random, 3)}-a${hex(random, 3)}-${hex(random, 12)}`,
  }),
);
