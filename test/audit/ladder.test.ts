/** The ladder: every plan is one that the server takes, and rules fall on the requests that they name. */
import { expect, test } from "vitest";
import { courseOf, ladder, nextOnClimb, planOf, risingRungs, type Rung } from "../../src/audit/ladder.ts";
import type { PlayedRung } from "../../src/audit/judge.ts";
import { playCourse, rejudge } from "../../src/audit/run.ts";
import type { ReceivedRecord } from "../../src/base/parent-channel.ts";
import { freePorts, resolveConfig } from "../../src/settings/server.ts";
import { type Reply, settleReplies } from "../../src/settings/replies.ts";
import { keyName } from "../../src/settings/flags.ts";

test("every rung has a name and a plan of its own", () => {
  expect(new Set(ladder.map(({ name }) => name)).size).toBe(ladder.length);
  const plans = ladder.map((rung) => `${planOf(rung)} ${JSON.stringify(rung.load)} ${rung.needs}`);
  expect(new Set(plans).size).toBe(ladder.length);
  expect(risingRungs.has("constant")).toBe(true);
});

test.each(ladder.map((rung) => [rung.name, rung] as const))(
  "%s: the server takes it, on HTTP/1.1 and HTTP/2",
  async (_name, { flags, replies }) => {
    const options = Object.fromEntries(
      Object.entries(flags).map(([name, value]) => [
        keyName(name),
        value === "" ? true : name === "tokens-per-chunk" ? Number(value) : value,
      ]),
    );
    expect(() => resolveConfig(options, freePorts)).not.toThrow();
    for (const isHttp2 of [false, true]) if (replies !== null) expect((await settleReplies(replies(isHttp2), false)).rules).toHaveLength(1);
  },
);

test("rules fall on the requests that a plan names", () => {
  const numbersWith = (name: string, member: keyof Reply): number[] => {
    const rules = ladder.find((rung) => rung.name === name)!.replies!(false).replies[0]!.reply as readonly Reply[];
    return rules.flatMap((reply, index) => (reply[member] === undefined ? [] : [index + 1])).slice(0, 3);
  };
  expect(numbersWith("slow-first", "ttft")).toEqual([1, 101, 201]);
  expect(numbersWith("errors", "fault")).toEqual([4, 9, 14]);
  expect(numbersWith("cuts", "fault")).toEqual([4, 9, 14]);
  expect(numbersWith("stalls", "fault")).toEqual([2, 6, 10]);
});

/** The rungs that are played on a way of seven up, where all from one on end. */
function climbed(endsAt: number): number[] {
  const outcomes = new Map<number, "passed" | "ended">();
  const played: number[] = [];
  for (let next = nextOnClimb(7, outcomes); next !== null; next = nextOnClimb(7, outcomes)) {
    played.push(next);
    outcomes.set(next, next >= endsAt ? "ended" : "passed");
  }
  return played;
}

test("the way up jumps while it can, and comes back to the lowest rung that ends", () => {
  expect([7, 6, 5, 3, 2, 1, 0].map(climbed)).toEqual([
    [2, 4, 6],
    [2, 4, 6, 5],
    [2, 4, 6, 5],
    [2, 4, 3],
    [2, 0, 1],
    [2, 0, 1],
    [2, 0],
  ]);
});

/** A command's run of a rung costs `secondsARung`. `endsAt`: the first rung of the way up on which its ITL is a third too low. */
async function playedWith(secondsARung: number, endsAt: string, budgetS = 120) {
  let elapsedS = 0;
  const names: string[] = [];
  const course = courseOf((needed) => needed === "concurrency");
  const { played, leftOut } = await playCourse(course, {
    budgetS,
    elapsedS: () => elapsedS,
    play: (rung) => {
      elapsedS += secondsARung;
      names.push(rung.name);
      const place = course.climb.findIndex(({ name }) => name === rung.name);
      const lies = course.climb.findIndex(({ name }) => name === endsAt);
      const isLying = lies >= 0 && place >= lies;
      return Promise.resolve(playedBy(rung, isLying ? 0.66 : 1));
    },
  });
  return { names, leftOut, played, limit: rejudge(played).limit };
}

/** Three runs of a client that reports its mean ITL by a factor of the truth, from streams as many as the rung has. */
function playedBy(rung: Rung, factor: number): PlayedRung {
  const gapMs = Number(rung.flags["itl"]);
  const sentUs = Int32Array.from({ length: 20 }, (_, token) => 100_000 + token * gapMs * 1000);
  const records = Array.from({ length: rung.load.concurrency * 2 }, (_, index): ReceivedRecord => {
    const turn = Math.floor(index / rung.load.concurrency);
    return {
      receivedUs: turn * 1_000_000 + (index % rung.load.concurrency) * 1000,
      method: "POST",
      path: "/v1/chat/completions",
      protocol: "h1",
      connection: index % rung.load.concurrency,
      status: 200,
      ended: "finished",
      firstWriteUs: sentUs[0]!,
      endedUs: sentUs.at(-1)!,
      tokensSent: 20,
      prompt: "p",
      parameters: {},
      retry: null,
      stream: {
        key: null,
        spoken: "http/1.1",
        receivedUs: 0,
        planned: 20,
        reasoning: 0,
        promptTokens: 7,
        dueUs: sentUs,
        sentUs,
        tokens: new Int32Array(20).fill(1),
        events: 23,
      },
    };
  });
  const figure = { quantity: "itl", statistic: "mean", value: gapMs * factor, name: "itl" } as const;
  const report = { tool: "t", version: null, figures: [figure], asked: { concurrency: null, ratePerSecond: null }, samples: null };
  const observation = { records, report, fault: null, exitCode: 0, wallS: 2, machine: null };
  const { name, title } = rung;
  return {
    name,
    title,
    plan: "",
    concurrency: rung.load.concurrency,
    ratePerSecond: null,
    observations: [observation, observation, observation],
  };
}

test("a tool that begins to lie at a known load is found there, and the rest of the budget goes to the other rungs", async () => {
  const { names, limit, leftOut, played } = await playedWith(8, "streams-40");
  expect(names.slice(0, 5)).toEqual(["constant", "streams-20", "streams-80", "streams-40", "role"]);
  expect(limit).toMatchObject({ rung: "streams-40", figure: "ITL mean", beforeIt: null });
  expect(limit.rightUpToEventsPerSecond).toBeLessThan(limit.eventsPerSecond!);
  expect(leftOut).toEqual([]);
  // A page has them in the order of the ladder.
  expect(played.map(({ name }) => name).slice(-3)).toEqual(["streams-20", "streams-40", "streams-80"]);
});

test("a slow tool has three rungs of rising load within the budget, and no rung of fewer repeats", async () => {
  const { names, leftOut } = await playedWith(36, "streams-320");
  expect(names).toEqual(["constant", "streams-20", "streams-80"]);
  expect(leftOut.slice(0, 3)).toEqual(["streams-320", "role", "chunks"]);
});

test("where no load is too high the way up ends with its last rung", async () => {
  const { names, limit } = await playedWith(1, "none");
  expect(names.slice(0, 5)).toEqual(["constant", "streams-20", "streams-80", "streams-320", "role"]);
  expect(limit).toMatchObject({ eventsPerSecond: null, beforeIt: null });
});
