/** What a word with a typo was meant to be. It imports nothing, so that every command can use it. */

/** What protocols are called elsewhere, in lower case without marks: "HTTP/1.1" is http11. */
const protocolWords: Readonly<Record<string, readonly string[]>> = {
  http: ["h1"],
  http1: ["h1"],
  http10: ["h1"],
  http11: ["h1"],
  h11: ["h1"],
  plain: ["h1"],
  https: ["h1s", "h2"],
  tls: ["h1s", "h2"],
  ssl: ["h1s", "h2"],
  https1: ["h1s"],
  https11: ["h1s"],
  h1tls: ["h1s"],
  h1c: ["h1"],
  http2: ["h2", "h2c"],
  http20: ["h2", "h2c"],
  https2: ["h2"],
  h2s: ["h2"],
  h2tls: ["h2"],
  http2c: ["h2c"],
  h2cleartext: ["h2c"],
  h2priorknowledge: ["h2c"],
  http2priorknowledge: ["h2c"],
  http3: ["h3"],
  http30: ["h3"],
  https3: ["h3"],
  quic: ["h3"],
  websocket: ["ws", "wss"],
  websockets: ["ws", "wss"],
  websockettls: ["wss"],
  websocketsecure: ["wss"],
  wstls: ["wss"],
};

/** Protocols that fakeai does not speak, by their names as above. */
const unspokenProtocols: Readonly<Record<string, string>> = {
  grpc: "gRPC",
};

const protocols = new Set(Object.values(protocolWords).flat());

/** ": there is no gRPC (docs/decisions.md says why)", or "" where the word names no protocol that fakeai leaves out. */
export function saysUnspoken(word: string): string {
  const asked = bare(word);
  return Object.hasOwn(unspokenProtocols, asked) ? `: there is no ${unspokenProtocols[asked]!} (docs/decisions.md says why)` : "";
}

/** The names that `word` may stand for, at most three, best first. Protocols are known by their other names too. */
export function guesses<Name extends string>(word: string, names: readonly Name[]): readonly Name[] {
  const asked = bare(word);
  if (asked === "") return [];
  const called = Object.hasOwn(protocolWords, asked) ? protocolWords[asked]! : [];
  const known = called.flatMap((protocol) => names.filter((name) => name === protocol));
  if (known.length > 0) return known;
  const exact = names.filter((name) => bare(name) === asked);
  if (exact.length > 0) return exact;
  const near = names
    .map((name): [Name, number] => [name, distance(asked, bare(name))])
    .filter(([name, edits]) => edits <= mostEdits(Math.max(asked.length, bare(name).length)))
    .sort(([, a], [, b]) => a - b);
  const fewest = near[0]?.[1] ?? 0;
  // One slip is more likely than a name that was cut short, and that more likely than several slips.
  const begun = asked.length < 3 || fewest === 1 ? [] : names.filter((name) => bare(name).startsWith(asked));
  if (begun.length > 0 && begun.length <= 3) return begun;
  if (near.length === 0) return byPart(asked, names);
  return near
    .filter(([, edits]) => edits === fewest)
    .map(([name]) => name)
    .slice(0, 3);
}

/** ": did you mean h2 or h2c?", to end a message with, or "" where no name is near. `shown` is how the message writes a name. */
export function didYouMean(word: string, names: readonly string[], shown: (name: string) => string = (name) => name): string {
  const unspoken = names.some((name) => protocols.has(name)) ? saysUnspoken(word) : "";
  if (unspoken !== "") return unspoken;
  const found = [...new Set(guesses(word, names).map(shown))];
  if (found.length === 0) return "";
  const last = found.at(-1)!;
  return `: did you mean ${found.length === 1 ? last : `${found.slice(0, -1).join(", ")} or ${last}`}?`;
}

/** The names of several words of which one is near, at most three: "lama" may be "groq-llama-2-70b". Short words are near to too many. */
function byPart<Name extends string>(asked: string, names: readonly Name[]): readonly Name[] {
  if (asked.length < 4) return [];
  const isNear = (part: string): boolean => part.length >= 4 && distance(asked, part) <= 1;
  const hasNear = (name: string): boolean =>
    name
      .toLowerCase()
      .split(/[^a-z0-9]+/)
      .some(isNear);
  return names.filter(hasNear).slice(0, 3);
}

/** A third of the letters may be wrong; of four, two, so that a swap beside another typo is still known. */
function mostEdits(length: number): number {
  return length < 4 ? Math.floor(length / 3) : Math.ceil(length / 3);
}

/** Letters and digits alone, in lower case. */
function bare(word: string): string {
  return word
    .slice(0, 60)
    .toLowerCase()
    .replace(/[^a-z0-9]/g, "");
}

/** Edits from one word to another: letters put in, left out, changed, or two neighbours swapped (Damerau and Levenshtein). */
function distance(from: string, to: string): number {
  let before: number[] = [];
  let last = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let row = 1; row <= from.length; row++) {
    const next = [row];
    for (let column = 1; column <= to.length; column++) {
      const same = from[row - 1] === to[column - 1];
      let edits = Math.min(last[column]! + 1, next[column - 1]! + 1, last[column - 1]! + (same ? 0 : 1));
      const swapped = row > 1 && column > 1 && from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1];
      if (swapped) edits = Math.min(edits, before[column - 2]! + 1);
      next.push(edits);
    }
    before = last;
    last = next;
  }
  return last[to.length]!;
}
