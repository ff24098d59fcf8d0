/** Arms that did unequal work are not compared: odd servers, and what the bench says of each. */
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { ArmResult, BenchResult, ScenarioResult } from "../../src/results/types.ts";
import { type OddAnswer, type OddAsk, oddServer } from "../support/odd-servers.ts";
import { type Ended, runCli } from "../support/process.ts";

const folder = mkdtempSync(join(tmpdir(), "fakeai-work-"));
let runs = 0;
const load = [
  "--streams",
  "2",
  "--requests",
  "6",
  "--warmup",
  "2",
  "--rounds",
  "2",
  "--output-tokens",
  "20",
  "--timeout",
  "3",
  "--keep-disturbed",
];

interface Benched extends Ended {
  /** stdout, its words on one line. */
  readonly shown: string;
  readonly result: BenchResult;
  readonly asked: readonly OddAsk[];
  readonly arm: (id: string) => ArmResult;
}

/** Again where another program on this machine got in the generator's way, which the bench says by itself. */
async function against(answerOf: (ask: OddAsk) => OddAnswer, args: readonly string[] = []): Promise<Benched> {
  for (let attempt = 1; ; attempt++) {
    const benched = await benchOnce(answerOf, args);
    if (attempt === 4 || !isDisturbed(benched.result)) return benched;
  }
}

function isDisturbed({ scenarios }: BenchResult): boolean {
  const rounds = scenarios.flatMap(({ arms }) => arms.flatMap((arm) => arm.rounds));
  return rounds.some(({ invalid }) => invalid.some((reason) => reason.startsWith("client-limited")));
}

async function benchOnce(answerOf: (ask: OddAsk) => OddAnswer, args: readonly string[]): Promise<Benched> {
  const server = await oddServer(answerOf);
  const directory = join(folder, String(runs++));
  try {
    const ended = await runCli(["bench", "--url", server.url, "--scenario", "stream", "--out", directory, ...load, ...args]).ended;
    const result = JSON.parse(readFileSync(join(directory, "result.json"), "utf8")) as BenchResult;
    const shown = inOneLine(ended.stdout);
    return { ...ended, shown, result, asked: server.asked, arm: (id) => result.scenarios[0]!.arms.find((arm) => arm.id === id)! };
  } finally {
    server.stop();
  }
}

const inOneLine = (text: string): string => text.replaceAll(/\s+/g, " ");

const onH2 =
  (other: OddAnswer, all: OddAnswer) =>
  (ask: OddAsk): OddAnswer =>
    ask.protocol === "h2c" ? other : all;
const verdictsOf = ({ comparisons }: ScenarioResult): string[] => comparisons.map(({ verdict }) => verdict);

describe.concurrent("the arms did unequal work: exit 3, no verdict, and the figures", () => {
  test.each<[name: string, h1: OddAnswer, h2c: OddAnswer, reason: RegExp]>([
    ["half the tokens", { events: 20 }, { events: 10 }, /events an answer 20 and 10 \(-50\.0%\); bytes of content an answer 80 and 40/],
    ["another finish reason", { events: 20 }, { events: 20, finishReason: "stop" }, /answers that end with "length" 100% and 0%/],
    ["a cache that answers in one piece", { events: 20 }, { events: 20, whole: true }, /answers that came in one read 0% and 100%/],
    ["more tokens in an event", { events: 20 }, { events: 5, tokensPerEvent: 4 }, /events an answer 20 and 5 \(-75\.0%\)/],
  ])("%s", async (_, h1, h2c, reason) => {
    const { code, stderr, shown, result } = await against(onH2(h2c, h1));
    expect(stderr).toMatch(new RegExp(`invalid: stream, h2c against h1: unequal work: .*${reason.source}`));
    expect(shown).toMatch(/^Not valid: stream, h2c against h1: unequal work: .* undecided .*unequal work: /);
    expect(code).toBe(3);
    expect(new Set(verdictsOf(result.scenarios[0]!))).toEqual(new Set(["not compared"]));
    expect(result.scenarios[0]!.comparisons.every(({ unequalWork }) => unequalWork)).toBe(true);
  });

  test("every fourth answer of one protocol is cut and ends without a finish reason", async () => {
    const { code, stderr, shown } = await against((ask) =>
      ask.protocol === "h2c" && ask.number % 4 === 0 ? { events: 10, finishReason: null } : { events: 20 },
    );
    expect(stderr).toMatch(/h2c against h1: unequal work: .*answers that end with "none" 0% and [\d.]+%/);
    expect(shown).toMatch(/Note h2c: [2-4] of 12 answers ended without a finish reason/);
    expect(code).toBe(3);
  });
});

test("a cached body in one read has no TTFT and no ITL, and says so", async () => {
  const { arm, shown } = await against(() => ({ events: 20, whole: true }));
  const { metrics, work } = arm("h1");
  expect([metrics.ttft ?? null, metrics.itl ?? null, metrics.ttfe ?? null]).toEqual([null, null, null]);
  expect(metrics.e2el!.count).toBe(12);
  expect(work).toMatchObject({ answers: 12, inOneRead: 12 });
  expect(shown).toMatch(/Note h1 and h2c: 12 of 12 answers came in one read, .*their TTFT and ITL cannot be told and are left out/);
});

test("[DONE] alone is a failure, and so is an answer that is no stream", async () => {
  const empty = await against(() => ({ events: 0, finishReason: null }));
  expect(empty.stderr).toMatch(/requests failed: empty answer \(\d+\)/);
  const unstreamed = await against(() => ({ events: 20, whole: "json" }));
  expect(unstreamed.stderr).toMatch(/requests failed: not a stream \(\d+\)/);
  expect([empty.code, unstreamed.code]).toEqual([3, 3]);
});

test("answers that are all finished and hold no token: invalid", async () => {
  const { code, stderr } = await against(() => ({ events: 0, finishReason: "stop" }));
  expect(stderr).toMatch(/no answer held a token/);
  expect(code).toBe(3);
});

test("equal work on both protocols, shorter than asked for: compared, counted, shown", async () => {
  const { code, shown, result, arm } = await against(() => ({ events: 15, finishReason: "stop" }));
  expect(code).toBe(0);
  expect(result.scenarios[0]!.comparisons.find(({ metric }) => metric === "ttft")!.verdict).not.toBe("not compared");
  expect(arm("h2c").work).toMatchObject({ answers: 12, short: 12, finishReasons: { stop: 12 }, events: 180, contentBytes: 720 });
  expect(shown).toMatch(/Note h1 and h2c: 12 of 12 answers held fewer tokens than were asked for/);
});

test("behind a gateway unequal work is the finding: exit 0", { timeout: 60_000 }, async () => {
  const [server, gateway] = await Promise.all([oddServer(() => ({ events: 30 })), oddServer(() => ({ events: 15 }))]);
  const directory = join(folder, String(runs++));
  try {
    const flags = [
      "--protocol",
      "h1",
      "--streams",
      "2",
      "--requests",
      "6",
      "--warmup",
      "2",
      "--rounds",
      "2",
      "--keep-disturbed",
      "--out",
      directory,
    ];
    const read = (): BenchResult => JSON.parse(readFileSync(join(directory, "result.json"), "utf8")) as BenchResult;
    const bench = (): Promise<Ended> => runCli(["bench", "--url", server.url, "--via", gateway.url, ...flags]).ended;
    let { code, stdout } = await bench();
    for (let again = 0; again < 3 && isDisturbed(read()); again++) ({ code, stdout } = await bench());
    const { scenarios } = read();
    expect(scenarios[0]!.findings).toEqual([
      expect.stringMatching(/^via-h1 against direct-h1: unequal work: .*events an answer 30 and 15/),
    ]);
    expect(inOneLine(stdout)).toMatch(/Note via-h1 against direct-h1: unequal work: .*events an answer 30 and 15/);
    expect(code).toBe(0);
  } finally {
    server.stop();
    gateway.stop();
  }
});

describe("what is counted is named beside the figure", () => {
  /** Answers whose times can be told: on a busy machine one may come in a single read. */
  const timed = ({ work }: ArmResult): number => 12 - work!.inOneRead;

  test("no usage: events, and never tok/s", async () => {
    const { code, stdout, shown, arm } = await against(() => ({ events: 5, tokensPerEvent: 4, usage: null }), ["--full"]);
    const { metrics, work, tokensCountedBy } = arm("h1");
    expect([tokensCountedBy, work!.tokens, work!.events]).toEqual(["events", null, 60]);
    expect([metrics.tokensPerSecond, metrics.tpot ?? null]).toEqual([null, null]);
    expect(metrics.eventsPerSecond!.count).toBe(2);
    expect(stdout).toMatch(/events\/s/);
    expect(stdout).not.toMatch(/tok\/s/);
    expect(shown).toMatch(/Note h1 and h2c: no usage: events were counted, and how many tokens they hold is not known/);
    expect(code).toBe(0);
  });

  test("no usage and a tokenizer: tokens of the text", async () => {
    const { arm, stdout } = await against(() => ({ events: 5, tokensPerEvent: 4, usage: null }), ["--tokenizer", "o200k_base", "--full"]);
    const { metrics, work, tokensCountedBy } = arm("h1");
    // " tok" is one token of o200k_base.
    expect([tokensCountedBy, work!.tokens, work!.events]).toEqual(["tokenizer", 240, 60]);
    expect([metrics.tpot!.count, metrics.tokensPerSecond!.count]).toEqual([timed(arm("h1")), 2]);
    expect(stdout).toMatch(/\d \(tokenizer\)/);
  });

  test("usage where an event holds four tokens: gaps of events and of tokens are told apart", async () => {
    const { code, stdout, shown, asked, arm } = await against(() => ({ events: 5, tokensPerEvent: 4 }), ["--full"]);
    expect(asked.at(-1)!.body).toMatchObject({ stream_options: { include_usage: true }, ignore_eos: true, min_tokens: 20 });
    expect(asked.at(-1)!.body["stream_options"]).not.toHaveProperty("continuous_usage_stats");
    const { metrics, work, tokensCountedBy } = arm("h1");
    expect([tokensCountedBy, work!.tokens, work!.events]).toEqual(["usage", 240, 60]);
    const answers = timed(arm("h1"));
    expect([metrics.itl!.count, metrics.tpot!.count, metrics.itlPerToken ?? null]).toEqual([4 * answers, answers, null]);
    expect(shown).toMatch(/ITL per event p50\/p99 \(mean\) ms.*TPOT p50\/p99 \(mean\) ms.*tok\/event/);
    expect(stdout).toMatch(/\d \(usage\)/);
    expect(shown).toMatch(/Note h1 and h2c: 4\.0 tokens in an event, by usage/);
    expect(code).toBe(0);
  });

  test("where events say how many tokens they hold, each token has its gap", async () => {
    const { asked, arm } = await against(() => ({ events: 5, tokensPerEvent: 4, continuousUsage: true }));
    expect(asked.at(-1)!.body["stream_options"]).toEqual({ include_usage: true, continuous_usage_stats: true });
    const { itl, itlPerToken } = arm("h1").metrics;
    expect([itl!.count, itlPerToken!.count]).toEqual([4 * timed(arm("h1")), 16 * timed(arm("h1"))]);
    expect(itlPerToken!.mean).toBeCloseTo(itl!.mean / 4, 0);
  });

  test("usage that lies is noted", async () => {
    const { shown, arm } = await against(() => ({ events: 20, usage: 96 }));
    expect(arm("h1").work!.contradicted).toBe(12);
    expect(shown).toMatch(/h1 and h2c: usage contradicts what came in 12 of 12 answers: 96 tokens an answer by usage, in 20 events/);
  });

  test("a server that takes the order on one protocol and gives half on the other: failures", async () => {
    const { code, stderr } = await against(({ protocol, body }) => {
      const ordered = Number(body["min_tokens"]);
      return { events: protocol === "h2c" ? ordered / 2 : ordered };
    });
    expect(stderr).toMatch(/gives the number of tokens that is ordered/);
    expect(stderr).toMatch(/h2c.*requests failed: wrong token count \(\d+\)/);
    expect(code).toBe(3);
  });

  test("a server that refuses what it does not know is asked without it", async () => {
    const { code, stderr, asked } = await against(({ body }) => {
      const unknown = ["min_tokens", "ignore_eos", "stream_options"].find((name) => name in body);
      const text = JSON.stringify({ error: { message: `Unrecognized request argument supplied: ${unknown}` } });
      return unknown === undefined ? { events: 20 } : { events: 0, error: [400, text] };
    });
    expect(Object.keys(asked.at(-1)!.body).sort()).toEqual(["max_tokens", "messages", "model", "seed", "stream"]);
    expect(stderr).toMatch(/refuses .*ignore_eos.*: requests go without/);
    expect(code).toBe(0);
  });
});
