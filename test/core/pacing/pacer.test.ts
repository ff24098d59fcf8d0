/** The wheel on a fake clock: no socket, no real time. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Meter } from "../../../src/core/pacing/meter.ts";
import { Pacer } from "../../../src/core/pacing/pacer.ts";
import type { FrameSource, ResponsePlan } from "../../../src/core/seams.ts";
import { FakeClock, FakeSink, LoggedFrames } from "../../support/fakes.ts";

const stallUs = 8_000_000;

function setUp(clock = new FakeClock()): { clock: FakeClock; meter: Meter; pacer: Pacer } {
  const meter = new Meter();
  return { clock, meter, pacer: new Pacer(clock, meter, { stallTimeoutUs: stallUs }) };
}

/** A plan whose frames are due at `dueUs` after now. */
function plan(clock: FakeClock, dueUs: readonly number[], frames: FrameSource = new LoggedFrames(dueUs.length)): ResponsePlan {
  return {
    head: { status: 200, headers: {}, streamed: true },
    frames,
    schedule: { nextDueUs: (index) => dueUs[index]! },
    startUs: clock.us,
    outputTokens: dueUs.length,
    promptTokens: 1,
    finishReason: "stop",
  };
}

const every = (gapUs: number, count: number, firstUs = gapUs): number[] => Array.from({ length: count }, (_, i) => firstUs + i * gapUs);

test("without a minimum between turns, each deadline is kept to the clock's own fineness", () => {
  const clock = new FakeClock();
  const pacer = new Pacer(clock, new Meter(), { stallTimeoutUs: stallUs, turnUs: 0 });
  const streams = [0, 130, 131, 700, 1400].map((phaseUs) => {
    const frames = new LoggedFrames(50);
    pacer.send(plan(clock, every(1033, 50, 100_000 + phaseUs), frames), new FakeSink());
    return frames;
  });
  clock.run();
  const late = streams.flatMap(({ written }) => written.map(({ dueUs, sentUs }) => sentUs - dueUs));
  expect(late).toHaveLength(250);
  expect(Math.min(...late)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...late)).toBeLessThan(20);
});

test("a reader that takes a little of what waits within each stall time-out is slow, not stalled", () => {
  const { clock, pacer, meter } = setUp();
  const sink = new FakeSink();
  sink.accepts = () => false;
  sink.reads = true;
  pacer.send(plan(clock, every(1000, 10)), sink);
  for (let round = 0; round < 10; round++) {
    clock.run(clock.us + stallUs * 0.9);
  }
  expect(sink.wasReset).toBe(false);
  expect(meter.stalledStreams).toBe(1);
  sink.reads = false;
  clock.run(clock.us + 2 * stallUs);
  expect(sink.wasReset).toBe(true);
  expect(meter).toMatchObject({ stallCutStreams: 1, stalledStreams: 0 });
});

/** A sink of an engine that sends what was written when the turn of the event loop is over. */
class DeferringSink extends FakeSink {
  readonly #clock: FakeClock;
  readonly #costUs: number;
  #copy: Uint8Array | null = null;
  constructor(clock: FakeClock, costUs: number) {
    super();
    this.#clock = clock;
    this.#costUs = costUs;
  }
  override write(frame: Uint8Array): boolean {
    this.#copy = frame.slice();
    this.#clock.us += this.#costUs;
    return super.write(frame);
  }
  override end(frame?: Uint8Array): void {
    this.#copy = frame?.slice() ?? null;
    super.end(frame);
  }
  takeUnsent(): Uint8Array | null {
    const copy = this.#copy;
    this.#copy = null;
    return copy;
  }
}

test.each([0, 100, 600, 5000])("streams without latency go on in the next turn, however long a write takes (%i us)", (costUs) => {
  const { clock, pacer } = setUp();
  const count = 400;
  const beganUs = clock.us;
  const streams = [0, 1, 2].map(() => {
    const [frames, sink] = [new LoggedFrames(count, 1000), new DeferringSink(clock, costUs)];
    pacer.send(plan(clock, every(0, count), frames), sink);
    return { frames, sink };
  });
  clock.run();
  const writes = streams.reduce((sum, { sink }) => sum + sink.writes, 0);
  expect(writes).toBeGreaterThan(10);
  for (const { frames } of streams) {
    expect(frames.written).toHaveLength(count);
    // A turn that lost a stream would see it again after a round of the wheel, 2 s later.
    expect(frames.written.at(-1)!.sentUs - beganUs).toBeLessThan(writes * (costUs + 1000));
  }
});

describe("where the engine sends when the turn is over", () => {
  const streams = 20;
  const costUs = 200;

  test("each frame is stamped and counted with the end of its turn, not with its write", async () => {
    const { clock, pacer, meter } = setUp();
    const restamped: { index: number; sentUs: number }[] = [];
    for (let stream = 0; stream < streams; stream++) {
      const frames = Object.assign(new LoggedFrames(2), {
        restamp: (_copy: Uint8Array, sentUs: number) => restamped.push({ index: stream, sentUs }),
      });
      pacer.send(plan(clock, [5000, 50_000], frames), new DeferringSink(clock, costUs));
    }
    clock.run(clock.us + 10_000);
    expect(restamped).toEqual([]);
    expect(meter.pacingError.sumUs).toBe(0);
    const endUs = clock.us;
    await Promise.resolve();
    expect(restamped.map(({ index }) => index).sort((a, b) => a - b)).toEqual(Array.from({ length: streams }, (_, index) => index));
    expect(new Set(restamped.map(({ sentUs }) => sentUs))).toEqual(new Set([endUs]));
    expect(meter.pacingError.counts.reduce((sum, count) => sum + count, 0)).toBe(streams);
    // Each is as late as the turn's end; by the times of the writes it would be half of that.
    expect(meter.pacingError.sumUs / streams).toBeGreaterThanOrEqual(streams * costUs);
  });

  test("a sink without takeUnsent has its frames counted at once", () => {
    const { clock, pacer, meter } = setUp();
    pacer.send(plan(clock, [0, 50_000]), new FakeSink());
    expect(meter.pacingError.counts.reduce((sum, count) => sum + count, 0)).toBe(1);
  });
});

describe("deadlines", () => {
  test.each([
    ["one token at once", [0]],
    ["one token in half a millisecond", [500]],
    ["TTFT 100 ms, ITL 20 ms", every(20_000, 60, 100_000)],
    ["gaps far below the timer's millisecond", every(137, 200)],
    ["a first token beyond the wheel's round of two seconds", [5_000_000, 5_000_001, 65_000_000]],
    ["all at the same moment", [7000, 7000, 7000, 7000]],
  ])("%s: in order, never early, at most a timer's tick late", (_what, dueUs) => {
    const { clock, pacer } = setUp();
    const frames = new LoggedFrames(dueUs.length);
    const sink = new FakeSink();
    const startUs = clock.us;
    pacer.send(plan(clock, dueUs, frames), sink);
    clock.run();
    expect(frames.written.map(({ index }) => index)).toEqual(dueUs.map((_, index) => index));
    frames.written.forEach(({ dueUs: due, sentUs }, index) => {
      expect(due).toBe(startUs + dueUs[index]!);
      expect(sentUs).toBeGreaterThanOrEqual(due);
      expect(sentUs - due).toBeLessThanOrEqual(1000);
    });
    expect(sink.ended).toBe(true);
    expect(pacer.running).toBe(0);
  });

  test("lateness never adds up: 10,000 tokens with a timer that is always 0.9 ms late", () => {
    const { clock, pacer } = setUp(new FakeClock({ lateUs: () => 900 }));
    const frames = new LoggedFrames(10_000);
    pacer.send(plan(clock, every(20_000, 10_000), frames), new FakeSink());
    clock.run();
    const late = frames.written.map(({ dueUs, sentUs }) => sentUs - dueUs);
    expect(Math.max(...late)).toBeLessThanOrEqual(1900);
    expect(late.at(-1)).toBeLessThanOrEqual(late[0]! + 1000);
    const meanGap = (frames.written.at(-1)!.sentUs - frames.written[0]!.sentUs) / 9999;
    expect(Math.abs(meanGap - 20_000)).toBeLessThan(0.2);
  });

  test("one late wake-up does not move the tokens after it", () => {
    let stalls = 1;
    const { clock, pacer } = setUp(new FakeClock({ lateUs: () => (stalls-- === 1 ? 35_000 : 0) }));
    const frames = new LoggedFrames(10);
    const sink = new FakeSink();
    pacer.send(plan(clock, every(10_000, 10), frames), sink);
    clock.run();
    const late = frames.written.map(({ dueUs, sentUs }) => sentUs - dueUs);
    expect(late.slice(0, 4)).toEqual([35_000, 25_000, 15_000, 5000]);
    expect(Math.max(...late.slice(4))).toBeLessThanOrEqual(1000);
    expect(sink.writes).toBe(6); // What fell due together left in one write.
  });

  test("a pause longer than the wheel's round loses nothing", () => {
    const { clock, pacer } = setUp();
    const logs = Array.from({ length: 50 }, (_, i) => {
      const frames = new LoggedFrames(20);
      pacer.send(plan(clock, every(50_000, 20, 1000 + i * 777), frames), new FakeSink());
      return frames;
    });
    clock.us += 10_000_000;
    clock.run();
    for (const { written } of logs) expect(written).toHaveLength(20);
    expect(pacer.running).toBe(0);
  });

  test("5,000 streams together", () => {
    const { clock, pacer, meter } = setUp();
    const logs = Array.from({ length: 5000 }, (_, i) => {
      const frames = new LoggedFrames(10);
      pacer.send(plan(clock, every(20_000, 10, 100_000 + i * 13), frames), new FakeSink());
      return frames;
    });
    expect(pacer.running).toBe(5000);
    clock.run();
    for (const { written } of logs) for (const { dueUs, sentUs } of written) expect(sentUs - dueUs).toBeLessThanOrEqual(1000);
    expect(meter.generationTokens).toBe(50_000);
    expect(meter.finished.stop).toBe(5000);
    expect(meter.pacingError.counts.reduce((sum, count) => sum + count, 0)).toBe(50_000);
  });

  test("nothing wakes the clock when nothing runs, and few wake-ups bridge a long wait", () => {
    const { clock, pacer } = setUp();
    expect(clock.wakeUs).toBe(Infinity);
    pacer.send(plan(clock, [3_000_000]), new FakeSink());
    clock.run();
    expect(clock.wakeUps).toBeLessThan(60);
    expect(clock.wakeUs).toBe(Infinity);
  });
});

test("a clock that sleeps in whole milliseconds: what turns take does not come on top of its sleep", () => {
  const clock = new FakeClock();
  clock.wakeAfter = (delayMs) => {
    clock.wakeUs = clock.us + (delayMs === 0 ? 0 : Math.ceil(delayMs) * 1000 + 60);
  };
  const pacer = new Pacer(clock, new Meter(), { stallTimeoutUs: stallUs });
  // 25 tokens each millisecond take half of it.
  const streams = Array.from({ length: 1000 }, (_, stream) => {
    const frames = new LoggedFrames(20);
    const sink = new FakeSink();
    sink.accepts = () => {
      clock.us += 20;
      return true;
    };
    pacer.send(plan(clock, every(40_000, 20, 200_000 + ((stream * 7919) % 40_000)), frames), sink);
    return frames;
  });
  clock.run();
  const late = streams.flatMap(({ written }) => written.map(({ dueUs, sentUs }) => sentUs - dueUs)).sort((a, b) => a - b);
  expect(late).toHaveLength(20_000);
  expect(late[0]).toBeGreaterThanOrEqual(0);
  expect(late[19_800]).toBeLessThan(1900);
  // 800 ms of tokens: turns stay worth their while.
  expect(clock.wakeUps).toBeLessThan(1200);
});

describe("where few responses are due in a turn's interval", () => {
  const run = (streams: number, gapUs: number): { late: number[]; wakeUpsPerMs: number; writes: number } => {
    const { clock, pacer } = setUp();
    const sinks = Array.from({ length: streams }, (_, stream) => {
      const frames = new LoggedFrames(50);
      const sink = new FakeSink();
      pacer.send(plan(clock, every(gapUs, 50, 100_000 + Math.floor((stream * gapUs) / streams)), frames), sink);
      return { frames, sink };
    });
    // The clock looks ahead while nothing is due.
    clock.run(clock.us + 99_000);
    const before = clock.wakeUps;
    const startUs = clock.us;
    clock.run();
    return {
      late: sinks.flatMap(({ frames }) => frames.written.map(({ dueUs, sentUs }) => sentUs - dueUs)),
      wakeUpsPerMs: (clock.wakeUps - before) / ((clock.us - startUs) / 1000),
      writes: sinks.reduce((sum, { sink }) => sum + sink.writes, 0),
    };
  };

  test("turns begin two intervals apart: half the wake-ups, and no frame later than that", () => {
    const { late, wakeUpsPerMs, writes } = run(100, 20_000);
    expect(wakeUpsPerMs).toBeLessThan(0.56);
    expect([late.length, Math.min(...late) >= 0, Math.max(...late) <= 2000, writes]).toEqual([5000, true, true, 4900]);
  });

  test.each([
    [500, 20_000],
    [1, 20_000],
    [5, 1100],
  ])("not with %i streams of a frame in %i us: there are many, or each wakes alone, or two frames of one would join", (streams, gapUs) => {
    expect(Math.max(...run(streams, gapUs).late)).toBeLessThanOrEqual(1000);
  });
});

test("streams that arrive between turns do not bring the next turn nearer than its interval", () => {
  const { clock, pacer } = setUp();
  for (let stream = 0; stream < 200; stream++) {
    pacer.send(plan(clock, every(40_000, 40, 20_000 + stream * 100), new LoggedFrames(40)), new FakeSink());
  }
  const startUs = clock.us;
  const before = clock.wakeUps;
  // Each has a token due sooner than the clock was asked for.
  for (let arrival = 1; arrival <= 1000; arrival++) {
    clock.run(startUs + arrival * 400);
    pacer.send(plan(clock, every(500, 2, 0), new LoggedFrames(2)), new FakeSink());
  }
  expect((clock.wakeUps - before) / 400).toBeLessThan(1.1);
});

describe("streams without latency", () => {
  test("frames leave in few writes, and a long stream does not hold up a short one", () => {
    const { clock, pacer } = setUp();
    const long = new FakeSink();
    pacer.send(plan(clock, every(0, 20_000, 0), new LoggedFrames(20_000, 300)), long);
    const short = new FakeSink();
    const frames = new LoggedFrames(3);
    pacer.send(plan(clock, [1000, 2000, 3000], frames), short);
    const writesAtFirst = long.writes;
    clock.lateUs = () => 300;
    clock.run();
    expect(writesAtFirst).toBe(1);
    expect(long.ended && short.ended).toBe(true);
    expect(long.bytes).toBe(20_000 * 300);
    expect(long.writes).toBeLessThan(130);
    for (const { dueUs, sentUs } of frames.written) expect(sentUs - dueUs).toBeLessThanOrEqual(1500);
  });

  test("a frame larger than a batch goes out whole", () => {
    const { clock, pacer } = setUp();
    const sink = new FakeSink();
    pacer.send(plan(clock, [0, 0, 0], new LoggedFrames(3, 200_000)), sink);
    clock.run();
    expect(sink.bytes).toBe(600_000);
    expect(sink.ended).toBe(true);
  });
});

describe("readers", () => {
  test("a stalled reader is not written to; what fell due leaves at once on drain, with true stamps", () => {
    const { clock, pacer, meter } = setUp();
    const sink = new FakeSink();
    sink.accepts = (writes) => writes !== 3;
    const frames = new LoggedFrames(50);
    const startUs = clock.us;
    pacer.send(plan(clock, every(10_000, 50), frames), sink);
    clock.run(startUs + 205_000);
    expect(frames.written).toHaveLength(3);
    expect(meter.stalledStreams).toBe(1);
    sink.observer!.onDrain();
    expect(frames.written).toHaveLength(20);
    expect(sink.writes).toBe(4);
    for (const { sentUs } of frames.written.slice(3)) expect(sentUs).toBe(startUs + 205_000);
    expect(frames.written[19]!.dueUs).toBe(startUs + 200_000);
    expect(meter.heldTokens).toBe(17);
    expect(meter.stalledStreams).toBe(0);
    clock.run();
    expect(frames.written).toHaveLength(50);
    expect(sink.ended).toBe(true);
    expect(frames.written.slice(20).every(({ dueUs, sentUs }) => sentUs - dueUs <= 1000)).toBe(true);
  });

  test("a reader that never comes back is cut at the stall time-out, and counted", () => {
    const { clock, pacer, meter } = setUp();
    const sink = new FakeSink();
    sink.accepts = (writes) => writes !== 2;
    const startUs = clock.us;
    pacer.send(plan(clock, every(100_000, 1000)), sink);
    clock.run(startUs + 200_000 + stallUs - 2000);
    expect(sink.wasReset).toBe(false);
    clock.run();
    expect(sink.wasReset).toBe(true);
    expect(clock.us - startUs).toBeLessThanOrEqual(200_000 + stallUs + 2000);
    expect(meter).toMatchObject({
      stallCutStreams: 1,
      stalledStreams: 0,
      abortedStreams: 1,
      abortedTokensSent: 2,
      abortedTokensPlanned: 1000,
    });
    // They were never sent.
    expect(meter.heldTokens).toBe(0);
    expect(pacer.running).toBe(0);
  });

  test("a second drain and a drain after the end do nothing", () => {
    const { clock, pacer } = setUp();
    const sink = new FakeSink();
    const frames = new LoggedFrames(3);
    pacer.send(plan(clock, every(1000, 3), frames), sink);
    const { observer } = sink;
    observer!.onDrain();
    clock.run();
    observer!.onDrain();
    expect(frames.written).toHaveLength(3);
  });

  test("an abort ends the stream and is counted; its neighbours in the wheel stay", () => {
    const { clock, pacer, meter } = setUp();
    const sinks = Array.from({ length: 9 }, () => new FakeSink());
    for (const sink of sinks) pacer.send(plan(clock, every(10_000, 10)), sink);
    clock.run(clock.us + 35_000);
    for (const index of [0, 4, 8]) sinks[index]!.abort();
    clock.run();
    expect(sinks.map(({ ended }) => ended)).toEqual([false, true, true, true, false, true, true, true, false]);
    expect(meter).toMatchObject({ abortedStreams: 3, abortedTokensSent: 9, abortedTokensPlanned: 30 });
    expect(pacer.running).toBe(0);
  });

  test("a write that makes other streams abort, in the middle of a turn", () => {
    const { clock, pacer } = setUp();
    const sinks = Array.from({ length: 10 }, () => new FakeSink());
    sinks[2]!.accepts = (writes) => {
      if (writes === 2) for (const index of [0, 3, 4, 9]) sinks[index]!.abort();
      return true;
    };
    for (const sink of sinks) pacer.send(plan(clock, every(10_000, 5)), sink);
    clock.run();
    expect(sinks.map(({ ended }) => ended)).toEqual([false, true, true, false, false, true, true, true, true, false]);
    expect(pacer.running).toBe(0);
  });

  test("a sink that closes during its own write", () => {
    const { clock, pacer, meter } = setUp();
    const sink = new FakeSink();
    sink.accepts = () => {
      sink.abort();
      return false;
    };
    pacer.send(plan(clock, every(1000, 5)), sink);
    clock.run();
    expect(pacer.running).toBe(0);
    expect(meter.stalledStreams).toBe(0);
    expect(meter.abortedStreams).toBe(1);
  });

  test("a sink that is closed beforehand gets nothing", () => {
    const { clock, pacer } = setUp();
    const sink = new FakeSink();
    sink.closed = true;
    pacer.send(plan(clock, [0]), sink);
    expect(pacer.running).toBe(0);
  });
});

test("a plan at fault cuts its own stream and nobody else's", () => {
  const clock = new FakeClock();
  const faults: unknown[] = [];
  const meter = new Meter();
  const pacer = new Pacer(clock, meter, { stallTimeoutUs: stallUs, onFault: (error) => faults.push(error) });
  const [faulty, good] = [new FakeSink(), new FakeSink()];
  const fault = new Error("a fault of ours");
  const frames: FrameSource = {
    length: 5,
    tokens: 1,
    frame: (index) => {
      if (index === 2) throw fault;
      return new Uint8Array(8);
    },
  };
  const due = [1000, 2000, 3000, 4000, 5000];
  pacer.send(plan(clock, due, frames), faulty);
  pacer.send(plan(clock, due), good);
  clock.run();
  expect(faults).toEqual([fault]);
  expect([faulty.wasReset, faulty.writes, good.ended, good.bytes]).toEqual([true, 2, true, 40]);
  expect([pacer.running, meter.abortedStreams, meter.abortedTokensSent, meter.finished.stop]).toEqual([0, 1, 2, 1]);

  // At once due, the fault is the caller's, who can still answer with an error.
  const early = new FakeSink();
  const never = {
    length: 1,
    tokens: 1,
    frame: (): Uint8Array => {
      throw fault;
    },
  };
  expect(() => pacer.send(plan(clock, [0], never), early)).toThrow(fault);
  expect([pacer.running, early.closed]).toEqual([0, false]);
});

test("whatever the schedules, timers, stalls and aborts: each frame once, in order, never early, and the counts add up", () => {
  const stream = fc.record({
    gapsUs: fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 3000 }), fc.integer({ min: 0, max: 3_000_000 })), {
      minLength: 1,
      maxLength: 30,
    }),
    startAfterUs: fc.integer({ min: 0, max: 50_000 }),
    refusesAt: fc.option(fc.integer({ min: 1, max: 20 }), { nil: null }),
    drainsAfterUs: fc.integer({ min: 0, max: 500_000 }),
    abortsAt: fc.option(fc.integer({ min: 0, max: 3_000_000 }), { nil: null }),
  });
  fc.assert(
    fc.property(
      fc.array(stream, { minLength: 1, maxLength: 12 }),
      fc.array(fc.integer({ min: 0, max: 20_000 }), { minLength: 1, maxLength: 20 }),
      (streams, lateness) => {
        let wake = 0;
        const { clock, pacer, meter } = setUp(new FakeClock({ lateUs: () => lateness[wake++ % lateness.length]!, costUs: 1 }));
        const startUs = clock.us;
        const actions: { atUs: number; run: () => void }[] = [];
        const cases = streams.map(({ gapsUs, startAfterUs, refusesAt, drainsAfterUs, abortsAt }) => {
          let total = 0;
          const dueUs = gapsUs.map((gap) => (total += gap));
          const frames = new LoggedFrames(dueUs.length);
          const sink = new FakeSink();
          sink.accepts = (writes) => {
            if (writes !== refusesAt) return true;
            actions.push({ atUs: clock.us + drainsAfterUs, run: () => sink.observer?.onDrain() });
            return false;
          };
          actions.push({ atUs: startUs + startAfterUs, run: () => pacer.send(plan(clock, dueUs, frames), sink) });
          if (abortsAt !== null) actions.push({ atUs: startUs + startAfterUs + abortsAt, run: () => !sink.closed && sink.abort() });
          return { frames, sink, dueUs };
        });
        while (actions.length > 0) {
          actions.sort((a, b) => a.atUs - b.atUs);
          const next = actions.shift()!;
          clock.run(next.atUs);
          next.run();
        }
        clock.run();
        let written = 0;
        for (const { frames, sink, dueUs } of cases) {
          expect(frames.written.map(({ index }) => index)).toEqual(frames.written.map((_, index) => index));
          for (const { dueUs: due, sentUs } of frames.written) expect(sentUs).toBeGreaterThanOrEqual(due);
          if (sink.ended) expect(frames.written).toHaveLength(dueUs.length);
          expect(sink.closed).toBe(true);
          expect(sink.bytes).toBe(frames.written.length * 8);
          written += frames.written.length;
        }
        const ended = cases.filter(({ sink }) => sink.ended).length;
        expect(meter.finished.stop).toBe(ended);
        expect(meter.abortedStreams).toBe(cases.length - ended);
        expect(meter.generationTokens).toBe(written);
        expect(meter.pacingError.counts.reduce((sum, count) => sum + count, 0)).toBe(written);
        expect(meter.stalledStreams).toBe(0);
        expect(pacer.running).toBe(0);
        expect(clock.wakeUs).toBe(Infinity);
      },
    ),
    { numRuns: 300 },
  );
});
