/** Tokens that are held back on the way, told from the reads of a socket and the gaps. */
import { describe, expect, test } from "vitest";
import { Recorder } from "../../src/results/recorder.ts";
import type { ArmResult, Work } from "../../src/results/types.ts";
import { closedGaps, describeReads, isCoalesced } from "../../src/runner/coalescing.ts";
import { sampleResult } from "../support/sample-result.ts";

const [round] = sampleResult().scenarios[0]!.arms[0]!.rounds;

/** An arm whose rounds had so many events and reads in 20 answers, with these gaps in microseconds. */
function arm(events: number | null, contentReads: number | null, gapsUs: readonly number[] = []): Pick<ArmResult, "rounds" | "metrics"> {
  const work: Work = {
    answers: 20,
    tokensCountedBy: "usage",
    tokens: events,
    events,
    contentBytes: null,
    bodyBytes: null,
    finishReasons: null,
    exact: true,
    short: 0,
    withoutToken: 0,
    withoutFinishReason: 0,
    inOneRead: 0,
    contentReads,
    contradicted: 0,
  };
  const recorder = new Recorder("us");
  for (const us of gapsUs) recorder.record(us);
  return { rounds: [{ ...round!, work }], metrics: { itl: recorder.summary() } };
}

const itlUs = 20_000;
const even = Array.from({ length: 100 }, () => itlUs);
const direct = closedGaps(arm(600, 598, even), itlUs);
/** Twenty reads of one look: two hold a token and what comes beside it by right. */
const alone = { sizes: [2, ...Array.from({ length: 18 }, () => 1), 2] };

describe("closed gaps", () => {
  test("events of one read have none", () => {
    expect(direct.share).toBeCloseTo(2 / 580, 6);
    expect(closedGaps(arm(600, 60, even), itlUs)).toEqual({ share: 540 / 580, eventsPerRead: 10 });
  });

  test("tokens let out together in reads of their own", () => {
    const burst = Array.from({ length: 100 }, (_, i) => (i % 10 === 0 ? 200_000 : 80));
    expect(closedGaps(arm(600, 600, burst), itlUs).share).toBeCloseTo(0.9, 6);
  });

  test("a driver that cannot tell says nothing", () => {
    expect(closedGaps(arm(null, null), itlUs)).toEqual({ share: null, eventsPerRead: null });
  });
});

describe("what is said of a gateway", () => {
  test("one whose rounds held tokens back, though the answer that was looked at came token by token", () => {
    // As HAProxy did: 22 events in 20 reads of the look, ITL p50 0 and p99 137 ms in the rounds.
    const held = closedGaps(arm(600, 90, [...Array.from({ length: 85 }, () => 0), ...Array.from({ length: 15 }, () => 136_600)]), itlUs);
    expect(isCoalesced(alone, held, direct)).toBe(true);
    expect(describeReads(alone, held, direct)).toBe(
      "22 events in 20 reads (18 of 1, 2 of 2); gaps closed in the rounds: 88%, 6.7 events a read (direct: 0%, 1.0 events a read)",
    );
  });

  test("one that lets tokens out as they come", () => {
    expect(isCoalesced(alone, closedGaps(arm(600, 590, even), itlUs), direct)).toBe(false);
    expect(isCoalesced(alone, null, null)).toBe(false);
  });

  test("one whose looked-at answer came in pieces", () => {
    expect(isCoalesced({ sizes: [12, 11] }, null, null)).toBe(true);
  });

  test("a client that is late itself is late on both ways", () => {
    const late = closedGaps(arm(600, 480, even), itlUs);
    expect(isCoalesced(alone, late, late)).toBe(false);
    expect(isCoalesced(alone, late, direct)).toBe(true);
  });
});
