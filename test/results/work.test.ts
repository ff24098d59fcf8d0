/** Whether two arms did equal work, on figures. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { summarizeArm } from "../../src/results/arms.ts";
import { compareArms } from "../../src/results/compare.ts";
import { summarize } from "../../src/results/recorder.ts";
import type { ArmResult, Work } from "../../src/results/types.ts";
import { addWork, unequalWork, unseenWork, workNotes, workParts } from "../../src/results/work.ts";
import { armNamed, roundOf } from "../support/simulation.ts";

/** Ten answers of 100 tokens. */
const ten: Work = {
  ...unseenWork,
  answers: 10,
  tokensCountedBy: "usage",
  tokens: 1000,
  events: 1000,
  contentBytes: 4000,
  finishReasons: { length: 10 },
  contentReads: 1000,
};

describe("unequal work", () => {
  test.each<[name: string, other: Partial<Work>, found: string[]]>([
    ["none", {}, []],
    ["tokens 2% apart", { tokens: 980 }, []],
    ["tokens more than 2% apart", { tokens: 979 }, ["tokens an answer 100 and 97.9 (-2.1%)"]],
    ["as many in fewer answers", { answers: 5, tokens: 500, events: 500, contentBytes: 2000, finishReasons: { stop: 0, length: 5 } }, []],
    ["events", { events: 250 }, ["events an answer 100 and 25 (-75.0%)"]],
    ["bytes of content", { contentBytes: 5000 }, ["bytes of content an answer 400 and 500 (+25.0%)"]],
    ["nothing on one side", { tokens: 0 }, ["tokens an answer 100 and 0 (-100.0%)"]],
    [
      "finish reasons",
      { finishReasons: { length: 9, stop: 1 } },
      ['answers that end with "length" 100% and 90%', 'answers that end with "stop" 0% and 10%'],
    ],
    ["answers in one read", { inOneRead: 6 }, ["answers that came in one read 0% and 60%"]],
    ["some answers in one read, as transports gather them", { inOneRead: 4 }, []],
    ["what one side cannot tell", { tokens: null, events: null, contentBytes: null, finishReasons: null }, []],
    ["tokens that are counted by different things", { tokensCountedBy: "tokenizer", tokens: 500 }, []],
    ["no answers", { answers: 0, tokens: 0, events: 0 }, []],
  ])("%s", (_, other, found) => {
    expect(unequalWork(ten, { ...ten, ...other })).toEqual(found);
  });

  test("of an exact number that was ordered, not one token may be missing", () => {
    const exact = { ...ten, exact: true };
    expect(unequalWork(exact, { ...exact, tokens: 999 })).toEqual(["tokens an answer 100 and 99.9 (-0.1%)"]);
    expect(unequalWork(exact, { ...ten, tokens: 999 })).toEqual([]);
  });

  test("what a scenario varies is not looked at", () => {
    const other = { ...ten, tokens: 1, events: 1, contentBytes: 1, finishReasons: { stop: 10 }, inOneRead: 10 };
    expect(unequalWork(ten, other, workParts)).toEqual([]);
    expect(unequalWork(ten, { ...ten, events: 1 }, ["events"])).toEqual([]);
  });

  test("is the same whichever arm is the baseline", () => {
    const sum = fc.integer({ min: 0, max: 2000 });
    fc.assert(
      fc.property(sum, sum, (tokens, events) => {
        const other = { ...ten, tokens, events };
        expect(unequalWork(ten, other)).toHaveLength(unequalWork(other, ten).length);
      }),
    );
  });
});

test("rounds are added, and named by the weakest of what was counted", () => {
  expect(addWork([])).toBeUndefined();
  expect(addWork([ten, undefined, ten])).toEqual({
    ...ten,
    answers: 20,
    tokens: 2000,
    events: 2000,
    contentBytes: 8000,
    finishReasons: { length: 20 },
    contentReads: 2000,
  });
  expect(addWork([ten, { ...ten, tokensCountedBy: "events" }])).toMatchObject({ tokensCountedBy: "events", tokens: null, events: 2000 });
});

function armOfWork(id: string, work: Work | undefined): ArmResult {
  const rounds = [100_000, 101_000, 99_000].map((value, round) =>
    Object.assign(roundOf(round, { ttft: summarize([value], "us") }), work === undefined ? {} : { work }),
  );
  return summarizeArm(armNamed(id), rounds, { negotiated: "http/1.1", cipher: null, rttMs: 0 });
}

const ttft = { metric: "ttft", statistic: "mean", baseline: "a", candidate: "b", kind: "protocol" } as const;

test("arms of unequal work get no verdict; those of an earlier run, without it, do", () => {
  const half = { ...ten, tokens: 500 };
  expect(compareArms([armOfWork("a", ten), armOfWork("b", half)], ttft)).toMatchObject({
    verdict: "not compared",
    unequalWork: true,
    reason: "unequal work: tokens an answer 100 and 50 (-50.0%)",
    ratio: null,
  });
  expect(compareArms([armOfWork("a", ten), armOfWork("b", half)], { ...ttft, varies: ["tokens"] })).toMatchObject({
    verdict: "equivalent",
    varies: ["tokens"],
  });
  expect(compareArms([armOfWork("a", ten), armOfWork("b", undefined)], ttft).verdict).toBe("equivalent");
});

test("an arm names what it counted, and what is odd about its answers", () => {
  const arm = armOfWork("h1", { ...ten, short: 1, withoutToken: 2, withoutFinishReason: 3, inOneRead: 4, contradicted: 5 });
  expect(arm.tokensCountedBy).toBe("usage");
  expect(workNotes(arm)).toEqual([
    "h1: 3 of 30 answers held fewer tokens than were asked for",
    "h1: 6 of 30 answers held no token",
    "h1: 9 of 30 answers ended without a finish reason",
    "h1: 12 of 30 answers came in one read, from a cache or unstreamed: their TTFT and ITL cannot be told and are left out",
    "h1: usage contradicts what came in 15 of 30 answers: 100 tokens an answer by usage, in 100 events and 400 bytes of content",
  ]);
  expect(workNotes(armOfWork("h1", undefined))).toEqual([]);
  const gathered = { ...armOfWork("h1", { ...ten, contentReads: 100 }), engine: "external" as const };
  expect(workNotes(gathered)).toEqual(["h1: 10.0 events in a read: gaps between events of one read are 0"]);
});
