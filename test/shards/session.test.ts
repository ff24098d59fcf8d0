/** A run of all shards, without sockets and on a clock of the test. */
import { beforeEach, describe, expect, test } from "vitest";
import type { FromShard, ToShard } from "../../src/shards/messages.ts";
import { Session, type SessionEnd } from "../../src/shards/session.ts";

let nowMs = 0;
let timers: { readonly atMs: number; readonly call: () => void }[] = [];

function pass(ms: number): void {
  nowMs += ms;
  for (const timer of timers.filter(({ atMs }) => atMs <= nowMs)) {
    if (!timers.includes(timer)) continue;
    timers = timers.filter((one) => one !== timer);
    timer.call();
  }
}

/** A shard's end of the line. */
class Shard {
  readonly heard: ToShard[] = [];
  readonly number: number;
  readonly refused: string | null;
  readonly #session: Session;

  constructor(session: Session, number: number, of: number, plan: Record<string, string> = { "--seed": "1" }) {
    this.number = number;
    this.#session = session;
    const hello = { kind: "hello", version: 1, shard: number, of, token: null, plan, patienceMs: 30_000 } as const;
    this.refused = session.join(hello, { send: (message) => this.heard.push(message), end() {} });
  }

  say(message: FromShard): void {
    this.#session.receive(this.number, message);
  }

  arrive(round: string, run = 0): void {
    this.say({ kind: "arrive", round, run });
  }

  ended(round: string, invalid: readonly string[] = [], completed = 10): void {
    this.say({ kind: "ended", round, report: { invalid, completed, durationUs: 1e6, dead: false } });
  }

  last<Kind extends ToShard["kind"]>(kind: Kind): Extract<ToShard, { kind: Kind }> | undefined {
    return this.heard.findLast((message): message is Extract<ToShard, { kind: Kind }> => message.kind === kind);
  }
}

let session: Session;
let told: string[] = [];
let ended: SessionEnd | null;

function open(of: number): void {
  timers = [];
  nowMs = 0;
  ended = null;
  told = [];
  session = new Session({
    of,
    session: "s",
    nowUs: () => nowMs * 1000,
    after: (ms, call) => {
      const timer = { atMs: nowMs + ms, call };
      timers.push(timer);
      return () => {
        timers = timers.filter((one) => one !== timer);
      };
    },
    joinMs: 10_000,
    barrierMs: 5000,
    resultMs: 2000,
    notice: (text) => told.push(text),
  });
  const keep = async (): Promise<void> => {
    ended = await session.ended;
  };
  void keep();
}

beforeEach(() => open(3));
const all = (of = 3): Shard[] => Array.from({ length: of }, (_, i) => new Shard(session, i + 1, of));

test("a run begins when all are at its barrier, at one instant for all", () => {
  const shards = all();
  expect(shards.map((shard) => shard.last("begin")?.session)).toEqual(["s", "s", "s"]);
  shards[0]!.arrive("r1");
  shards[1]!.arrive("r1");
  expect(shards[0]!.last("go")).toBeUndefined();
  nowMs = 100;
  shards[2]!.arrive("r1");
  const instants = shards.map((shard) => shard.last("go")?.atUs);
  expect(new Set(instants).size).toBe(1);
  expect(instants[0]!).toBeGreaterThan(nowMs * 1000);
  shards.forEach((shard) => shard.ended("r1"));
  expect(shards.map((shard) => shard.last("settled")?.settled)).toEqual(
    shards.map(() => ({ invalid: [], completed: 30, durationUs: 1e6, dead: false })),
  );
});

test("what one shard complains of counts for all, by its name", () => {
  const shards = all();
  shards.forEach((shard) => shard.arrive("r1"));
  shards[0]!.ended("r1");
  shards[1]!.ended("r1", ["client-limited: 99% of a core"]);
  expect(shards[0]!.last("settled")).toBeUndefined();
  shards[2]!.ended("r1");
  for (const shard of shards) expect(shard.last("settled")?.settled.invalid).toEqual(["shard 2 of 3: client-limited: 99% of a core"]);
  expect(told.at(-1)).toBe("r1 is left out for all: shard 2 of 3: client-limited: 99% of a core");
});

describe("a shard that is not there", () => {
  test("late: the round is not run, the others go on, and it catches up", () => {
    const shards = all();
    shards[0]!.arrive("r1");
    shards[1]!.arrive("r1");
    pass(5000);
    const reason = "shard 3 of 3: late: not at the barrier within 5 s";
    expect(shards[0]!.last("skip")?.reasons).toEqual([reason]);
    shards[0]!.ended("r1", [], 0);
    shards[1]!.ended("r1", [], 0);
    expect(shards[0]!.last("settled")?.settled.invalid).toEqual([reason]);
    shards[2]!.arrive("r1");
    expect(shards[2]!.last("skip")?.reasons[0]).toContain("late");
    shards[2]!.ended("r1");
    shards.forEach((shard) => shard.arrive("r2"));
    expect(shards.every((shard) => shard.last("go")?.round === "r2")).toBe(true);
  });

  test("late twice in a row: the run ends for all", () => {
    const shards = all();
    for (const round of ["r1", "r2"]) {
      shards[0]!.arrive(round);
      shards[1]!.arrive(round);
      pass(5000);
      shards[0]!.ended(round, [], 0);
      shards[1]!.ended(round, [], 0);
    }
    expect(shards[0]!.last("end")?.reason).toBe("shard 3 of 3 missed 2 barriers in a row");
  });

  test("dead in a round: that round is invalid for all, and with its successor the run goes on", () => {
    const shards = all();
    shards.forEach((shard) => shard.arrive("r1"));
    session.lost(2, "its connection closed");
    shards[0]!.ended("r1");
    shards[2]!.ended("r1");
    expect(shards[0]!.last("settled")?.settled.invalid).toEqual(["shard 2 of 3: gone in the round (its connection closed)"]);
    shards[0]!.arrive("r2");
    shards[2]!.arrive("r2");
    const successor = new Shard(session, 2, 3);
    expect(successor.last("begin")?.done.map(([round]) => round)).toEqual(["r1"]);
    successor.arrive("r2");
    expect(shards[0]!.last("go")?.round).toBe("r2");
  });

  test("a successor in the middle of a round leaves it out", () => {
    const shards = all();
    shards.forEach((shard) => shard.arrive("r1"));
    session.lost(2, "its connection closed");
    const successor = new Shard(session, 2, 3);
    successor.arrive("r1");
    expect(successor.last("skip")?.reasons).toEqual(["shard 2 of 3: gone in the round (its connection closed)"]);
    shards[0]!.ended("r1");
    shards[2]!.ended("r1");
    expect(shards[0]!.last("settled")).toBeDefined();
  });

  test("dead and not replaced in time: the run ends, and what there is is kept", async () => {
    const shards = all();
    session.lost(2, "its connection closed");
    shards[0]!.arrive("r1");
    shards[2]!.arrive("r1");
    pass(5000);
    expect(shards[0]!.last("end")?.reason).toContain("shard 2 of 3 is gone (its connection closed) and did not come back within 5 s");
    shards[0]!.say({ kind: "result", result: { seed: 1 } as never });
    shards[2]!.say({ kind: "result", result: { seed: 3 } as never });
    await Promise.resolve();
    expect([...ended!.results.keys()]).toEqual([1, 3]);
  });

  test("never there: all are told who, and nothing was measured", async () => {
    const [one] = [new Shard(session, 1, 3)];
    pass(10_000);
    expect(one.last("refused")?.reason).toBe("shards 2, 3 of 3 did not come within 10 s");
    await Promise.resolve();
    expect(ended).toMatchObject({ missing: [2, 3] });
  });

  test("silent in a round: the run ends when its patience does", () => {
    const shards = all();
    shards.forEach((shard) => shard.arrive("r1"));
    shards[0]!.ended("r1");
    pass(30_000);
    expect(shards[0]!.last("end")?.reason).toBe("shards 2, 3 of 3 did not end r1 in time");
  });
});

test("a shard that cannot run a round frees those who wait for it", () => {
  const shards = all();
  shards[0]!.arrive("r1");
  shards[1]!.ended("r1", ["no tool"], 0);
  expect(shards[0]!.last("skip")?.reasons).toEqual(["shard 2 of 3: no tool"]);
  shards[2]!.arrive("r1");
  expect(shards[2]!.last("skip")?.reasons).toEqual(["shard 2 of 3: no tool"]);
  shards[0]!.ended("r1", [], 0);
  shards[2]!.ended("r1", [], 0);
  expect(shards[1]!.last("settled")?.settled.invalid).toEqual(["shard 2 of 3: no tool"]);
});

test("Ctrl-C on one ends all, and their results are taken", async () => {
  const shards = all();
  shards[1]!.say({ kind: "leave", reason: "it was interrupted" });
  for (const shard of shards) expect(shard.last("end")?.reason).toBe("shard 2 of 3: it was interrupted");
  shards.forEach((shard) => shard.say({ kind: "result", result: {} as never }));
  await Promise.resolve();
  expect([ended!.results.size, ended!.reason]).toEqual([3, "shard 2 of 3: it was interrupted"]);
});

test("shards that differ are refused by what differs, and the run ends for all", () => {
  const one = new Shard(session, 1, 3, { "--requests": "100", "--seed": "1" });
  const two = new Shard(session, 2, 3, { "--requests": "200", "--seed": "1" });
  expect(two.refused).toBe("shard 2 of 3 does not fit the others: --requests is 200, and 100 at the others");
  expect(one.last("refused")?.reason).toBe(two.refused);
  // Each command ends with it: neither it nor who leaves then is told beside.
  session.lost(1, "its connection closed");
  expect(told).toEqual(["shard 1 of 3 is here, 1 of 3"]);
  expect(new Shard(session, 3, 3).refused).toBe(`the run has ended: ${two.refused}`);
});

test("a number that is here already is refused, and so is another number of shards", () => {
  expect(new Shard(session, 1, 3).refused).toBeNull();
  expect(new Shard(session, 1, 3).refused).toBe("shard 1 of 3 is here already: give each shard a number of its own");
  expect(new Shard(session, 2, 4).refused).toBe("shard 2 of 4: this run has 3 shards");
});

test("shards that are at different rounds are told so at once", () => {
  open(2);
  const [one, two] = all(2);
  one!.arrive("r1");
  two!.arrive("r2");
  expect(one!.last("end")?.reason).toBe("the shards disagree about what comes next: shard 1 of 2 is at r1, shard 2 of 2 at r2");
});
