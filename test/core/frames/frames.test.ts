import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { identityBytes, type ShapeOptions, StreamShape } from "../../../src/api/openai/formats.ts";
import { wires } from "../../../src/api/openai/wire.ts";
import { StreamFrames, UnaryFrame } from "../../../src/core/frames/frames.ts";
import { seedOf } from "../../../src/core/random/random.ts";
import { corpusCursor, corpusVocabulary, sequentialCursor, splitTokens } from "../../../src/core/text/text.ts";
import { leastCpuUs } from "../../support/effort.ts";
import { chunksOf, textOf } from "../../support/chat.ts";

const strict = new TextDecoder("utf-8", { fatal: true });

interface Options {
  readonly texts: readonly string[];
  readonly tokens?: number;
  readonly id?: string;
  readonly created?: number;
  readonly stamped?: boolean;
  readonly includeUsage?: boolean;
  readonly shape?: StreamShape;
}

const idLength = "chatcmpl-".length + 29;
const identityLength = identityBytes("chat", "a".repeat(idLength), 1_700_000_000).length;

function shapeOf(vocabulary: { readonly texts: readonly string[] }, more: Partial<ShapeOptions> = {}): StreamShape {
  const options = {
    wire: wires.openai,
    kind: "chat",
    model: "m",
    tier: "default",
    includeUsage: false,
    obfuscated: true,
    stamped: false,
    ...more,
  } as const;
  return new StreamShape(options, vocabulary, identityLength);
}

function frames({
  texts,
  tokens = texts.length,
  id = "a".repeat(idLength),
  created = 1_700_000_000,
  stamped = false,
  includeUsage = false,
  shape,
}: Options): StreamFrames {
  const vocabulary = { texts };
  const used = shape ?? shapeOf(vocabulary, { includeUsage, stamped });
  return new StreamFrames(
    used.tokens,
    sequentialCursor(vocabulary),
    tokens,
    identityBytes("chat", id, created),
    used.opening,
    used.closing("stop", tokens, { promptTokens: 3, cachedTokens: 0, completionTokens: tokens, reasoningTokens: 0 }),
  );
}

function readAll(source: StreamFrames, times: (index: number) => [number, number] = () => [0, 0]): string {
  let all = "";
  for (let index = 0; index < source.length; index++) all += strict.decode(source.frame(index, ...times(index)));
  return all;
}

describe("restamp", () => {
  /** The stamps in a frame, in order. */
  const stampsIn = (text: string): { due: number; sent: number }[] =>
    [...text.matchAll(/"fakeai":(\{[^}]*\})/g)].map(([, json]) => JSON.parse(json!) as { due: number; sent: number });

  test("changes the time of sending in every event of a frame, and nothing else", () => {
    const source = frames({ texts: ["a", 'say "sent": 1', "c"], stamped: true, includeUsage: true });
    for (let index = 0; index < source.length; index++) {
      const copy = source.frame(index, 1_000_000 + index, 2_000_000).slice();
      const before = strict.decode(copy);
      source.restamp(copy, 1_234_567_890.4);
      const after = strict.decode(copy);
      const stamps = stampsIn(before);
      expect(stamps.length).toBeGreaterThan(index === 1 ? 0 : 1);
      expect(stampsIn(after)).toEqual(stamps.map(({ due }) => ({ due, sent: 1_234_567_890 })));
      expect(after.replace(/"sent": *\d+/g, "")).toBe(before.replace(/"sent": *\d+/g, ""));
    }
  });

  test("leaves frames without stamps as they are", () => {
    const source = frames({ texts: ["a", "b"] });
    const copy = source.frame(0, 1, 2).slice();
    const before = strict.decode(copy);
    source.restamp(copy, 3);
    expect(strict.decode(copy)).toBe(before);
  });

  test("of an answer in one piece", () => {
    const frame = new UnaryFrame(() => '{"a":1}', 1, true);
    const copy = frame.frame(0, 5, 6).slice();
    frame.restamp(copy, 7_000_000);
    expect(JSON.parse(strict.decode(copy))).toEqual({ a: 1, fakeai: { due: 5, sent: 7_000_000 } });
  });
});

/** Any text a client can name, the nasty parts often: lone surrogates, line ends, separators, marks, emoji. */
const anyText = fc
  .array(
    fc.oneof(
      fc.string({ unit: "binary", maxLength: 12 }),
      fc.constantFrom(
        "\r\n",
        "\n\n",
        "\u2028",
        "\u2029",
        "\0",
        "\ud83d",
        "\udc00",
        "👩‍👩‍👧",
        "🇨🇭",
        "é",
        "ÿ",
        '"',
        "\\",
        "data: ",
        "Straßenbahn ",
        "  ",
        "\t",
        "[DONE]",
      ),
    ),
    { maxLength: 20 },
  )
  .map((parts) => parts.join(""));

describe("text", () => {
  test("any text cut into tokens is the same text, and no cut parts a surrogate pair", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const pieces = splitTokens(text);
        expect(pieces.join("")).toBe(text);
        for (let i = 1; i < pieces.length; i++) {
          expect(/[\ud800-\udbff]$/.test(pieces[i - 1]!) && /^[\udc00-\udfff]/.test(pieces[i]!)).toBe(false);
        }
        expect(pieces.every((piece) => piece !== "")).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
  test("words keep the space before them", () => {
    expect(splitTokens("The quick brown fox, 12345 times!")).toEqual([
      "The",
      " quick",
      " brown",
      " fox",
      ",",
      " ",
      "123",
      "45",
      " times",
      "!",
    ]);
  });
  test("made-up text is made of real words, and a seed decides it", () => {
    const say = (seed: number): string => {
      const cursor = corpusCursor(seedOf(seed));
      return Array.from({ length: 300 }, () => corpusVocabulary.texts[cursor.next()]!).join("");
    };
    expect(say(1)).toBe(say(1));
    expect(new Set([1, 2, 3, 4, 5, 6].map(say)).size).toBe(6);
    expect(say(1)).toMatch(/^\S.*\w+ \w+ \w+/);
    const lengths = corpusVocabulary.texts.map((text) => text.length);
    expect(lengths.reduce((sum, length) => sum + length, 0) / lengths.length).toBeGreaterThan(3);
  });
});

describe("frames", () => {
  test("any text comes back from the events, which are valid UTF-8, SSE and JSON", () => {
    fc.assert(
      fc.property(anyText, fc.boolean(), fc.boolean(), (text, stamped, includeUsage) => {
        const chunks = chunksOf(readAll(frames({ texts: splitTokens(text), stamped, includeUsage })));
        expect(textOf(chunks)).toBe(text);
        expect(chunks.every((chunk) => "fakeai" in chunk === stamped)).toBe(true);
        expect(chunks.at(-1)!.choices).toHaveLength(includeUsage ? 0 : 1);
      }),
      { numRuns: 500 },
    );
  });

  test("stamps hold any time up to 2^53 microseconds, at constant width", () => {
    const time = fc.oneof(
      fc.integer({ min: 0, max: 20 }),
      fc.maxSafeNat(),
      fc.constantFrom(0, 9, 10, 99_999_999, 100_000_000, 1e15, Number.MAX_SAFE_INTEGER),
    );
    fc.assert(
      fc.property(time, time, fc.integer({ min: 1, max: 4 }), (dueUs, sentUs, tokens) => {
        const source = frames({ texts: ["x"], tokens, stamped: true });
        for (let index = 0; index < source.length; index++) {
          const text = strict.decode(source.frame(index, dueUs, sentUs));
          expect(text).toContain(`,"fakeai":{"due":${String(dueUs).padStart(16)},"sent":${String(sentUs).padStart(16)}}}\n\n`);
        }
        const unary = JSON.parse(strict.decode(new UnaryFrame(() => '{"a":1}', 1, true).frame(0, dueUs, sentUs))) as object;
        expect(unary).toEqual({ a: 1, fakeai: { due: dueUs, sent: sentUs } });
      }),
    );
  });

  test("responses that share a shape never leak into each other, whatever the order of their writes", () => {
    const texts = ["one", " two", " three", "."];
    const shape = shapeOf({ texts }, { includeUsage: true, stamped: true });
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 60 }), (order) => {
        const sources = Array.from({ length: 5 }, (_, i) =>
          frames({
            texts,
            tokens: 9 + i,
            id: String(i).repeat(idLength),
            created: 1_700_000_000 + i,
            includeUsage: true,
            stamped: true,
            shape,
          }),
        );
        const next = [0, 0, 0, 0, 0];
        const bodies = ["", "", "", "", ""];
        const write = (who: number): void => {
          const index = next[who]!++;
          if (index < sources[who]!.length)
            bodies[who] += strict.decode(sources[who]!.frame(index, who * 1000 + index, who * 2000 + index));
        };
        for (const who of order) write(who);
        for (let who = 0; who < 5; who++) while (next[who]! < sources[who]!.length) write(who);
        bodies.forEach((body, who) => {
          const chunks = chunksOf(body);
          expect(new Set(chunks.map(({ id, created }) => `${id}${created}`))).toEqual(
            new Set([`${String(who).repeat(idLength)}${1_700_000_000 + who}`]),
          );
          expect(chunks.filter(({ choices }) => choices[0]?.delta?.content)).toHaveLength(9 + who);
          expect(chunks.every(({ fakeai }) => Math.floor(fakeai!.due / 1000) === who && Math.floor(fakeai!.sent / 2000) === who)).toBe(
            true,
          );
        });
      }),
    );
  });

  test("no tokens: one frame with role, finish and [DONE]", () => {
    const source = frames({ texts: [], tokens: 0 });
    expect(source.length).toBe(1);
    expect(chunksOf(readAll(source)).map(({ choices }) => choices[0]!.finish_reason)).toEqual([null, "stop"]);
  });

  test("one token: all in one frame", () => {
    expect(chunksOf(readAll(frames({ texts: ["only"] })))).toHaveLength(3);
  });

  test("a model's name is escaped", () => {
    const model = '"},\n\u2028é';
    const shape = shapeOf({ texts: ["x"] }, { model });
    expect(chunksOf(readAll(frames({ texts: ["x"], shape }))).every((chunk) => chunk.model === model)).toBe(true);
  });
});

test("frames asked for together are the frames asked for one by one", () => {
  fc.assert(
    fc.property(
      fc.array(anyText, { maxLength: 40 }),
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
      fc.boolean(),
      (texts, sizes, includeUsage) => {
        const source = frames({ texts, includeUsage });
        let all = "";
        for (let index = 0, turn = 0; index < source.length; turn++) {
          const count = Math.min(sizes[turn % sizes.length]!, source.length - index);
          all += strict.decode(source.join(index, count));
          index += count;
        }
        expect(all).toBe(readAll(frames({ texts, includeUsage })));
      },
    ),
  );
});

test("frames of the corpus asked for together are the frames asked for one by one", () => {
  const shape = shapeOf(corpusVocabulary);
  const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789".repeat(2);
  const corpusFrames = (seed: number, tokens: number, second: number): StreamFrames =>
    new StreamFrames(
      shape.tokens,
      corpusCursor(seedOf(seed)),
      tokens,
      identityBytes("chat", letters.slice(Math.abs(seed) % 60).slice(0, idLength), 1_700_000_000 + second),
      shape.opening,
      shape.closing("length", tokens, { cachedTokens: 0, promptTokens: 3, completionTokens: tokens, reasoningTokens: 0 }),
    );
  fc.assert(
    fc.property(
      fc.integer(),
      fc.integer({ min: 0, max: 300 }),
      fc.array(fc.integer({ min: 1, max: 128 }), { minLength: 1 }),
      // Seconds in which they began: what is behind an id is the same within one.
      fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 2, maxLength: 2 }),
      (seed, tokens, sizes, [second, otherSecond]) => {
        const source = corpusFrames(seed, tokens, second!);
        let all = "";
        for (let index = 0, turn = 0; index < source.length; turn++) {
          const count = Math.min(sizes[turn % sizes.length]!, source.length - index);
          all += strict.decode(source.join(index, count));
          index += count;
          corpusFrames(seed + 1 + turn, 1000, otherSecond!).join(0, 1 + ((turn * 37) % 100));
        }
        expect(all).toBe(readAll(corpusFrames(seed, tokens, second!)));
      },
    ),
    { numRuns: 200 },
  );
});

test("responses of two seconds side by side do not rewrite the whole corpus in turns", () => {
  const { tokens } = shapeOf(corpusVocabulary);
  const join = (seconds: number): void => {
    for (let response = 0; response < 200; response++) {
      const identity = identityBytes("chat", "x".repeat(idLength), 1_700_000_000 + (response % seconds));
      new StreamFrames(tokens, corpusCursor(seedOf(response)), 1000, identity, null, []).join(0, 100);
    }
  };
  // All events rewritten for each response are ten times the work.
  expect(leastCpuUs(() => join(2))).toBeLessThan(4 * leastCpuUs(() => join(1)));
});

test("stamped frames cannot be asked for together", () => {
  expect(frames({ texts: ["a", "b"], stamped: true }).joins).toBe(false);
});
