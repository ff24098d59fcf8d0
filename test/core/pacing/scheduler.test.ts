/** The batched scheduler on a fake clock: no socket, no real time. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type BatchedAnswer, BatchScheduler, type BatchSettings, type SequenceAsk } from "../../../src/core/pacing/scheduler.ts";
import { BlockPool } from "../../../src/core/pacing/blocks.ts";
import { latencyUnits, parseDistribution } from "../../../src/core/random/distribution.ts";
import { Meter } from "../../../src/core/pacing/meter.ts";
import { Pacer } from "../../../src/core/pacing/pacer.ts";
import { seedOf } from "../../../src/core/random/random.ts";
import type { ResponsePlan } from "../../../src/core/seams.ts";
import { FakeClock, FakeSink, LoggedFrames } from "../../support/fakes.ts";

const ms = (spec: string | number): BatchSettings["stepTime"] => parseDistribution(spec, latencyUnits("step"));

const settings: BatchSettings = {
  maxNumSeqs: 4,
  maxNumBatchedTokens: 100,
  maxQueue: 10,
  requestOverheadUs: 0,
  requestOverheadPerTokenUs: 0,
  stepTime: ms(10),
  stepTimePerSeqUs: 1000,
  prefillTimePerTokenUs: 100,
  blockSize: 16,
  kvBlocks: 1000,
  prefixCaching: true,
};

let prompts = 0;
const sequence = (promptTokens: number, tokens: number, chain: readonly number[] = []): SequenceAsk => ({
  promptTokens,
  chain,
  tokens,
  prompt: prompts++,
});

class Rig {
  readonly clock: FakeClock;
  readonly meter = new Meter();
  readonly scheduler: BatchScheduler;
  readonly pacer: Pacer;
  readonly startUs: number;

  constructor(more: Partial<BatchSettings> = {}, clock = new FakeClock()) {
    this.clock = clock;
    this.startUs = clock.us;
    this.scheduler = new BatchScheduler({ ...settings, ...more }, seedOf(1), this.meter);
    this.pacer = new Pacer(this.clock, this.meter, { stallTimeoutUs: 8_000_000, turnUs: 0, scheduler: this.scheduler });
  }

  send(
    sequences: readonly SequenceAsk[],
    streamed = true,
    sink = new FakeSink(),
  ): { sink: FakeSink; due: () => number[]; answer: BatchedAnswer } {
    const answer = this.scheduler.answer(sequences, this.clock.us, streamed);
    const frames = new LoggedFrames(streamed ? Math.max(...sequences.map(({ tokens }) => tokens)) : 1);
    const plan: ResponsePlan = {
      head: { status: 200, headers: {}, streamed },
      frames,
      schedule: answer,
      startUs: this.clock.us,
      outputTokens: frames.length,
      promptTokens: 1,
      finishReason: "stop",
    };
    this.pacer.send(plan, sink);
    return { sink, due: () => frames.written.map(({ dueUs }) => (dueUs - this.startUs) / 1000), answer };
  }
}

describe("steps", () => {
  test("a lone request: its prompt is read in a step of its own, then a token a step", () => {
    const rig = new Rig();
    const { due, sink } = rig.send([sequence(50, 4)]);
    rig.clock.run();
    // 10 ms + 50 tokens of 0.1 ms; then 10 ms + 1 ms for the one that decodes.
    expect(due()).toEqual([15, 26, 37, 48]);
    expect(sink.ended).toBe(true);
    expect(rig.scheduler.running).toBe(0);
    expect(rig.scheduler.cacheUsage).toBe(0);
    expect(rig.scheduler.nextUs).toBe(Infinity);
    expect(rig.meter.queueTime.sumUs).toBe(0);
    expect(rig.meter.prefillTime.sumUs).toBe(15_000);
    expect(rig.meter.decodeTime.sumUs).toBe(33_000);
    expect(rig.meter.inferenceTime.sumUs).toBe(48_000);
  });

  test("all sequences of a batch get their token at the same time, and more of them make a step longer", () => {
    const rig = new Rig();
    const all = [1, 2, 3, 4].map(() => rig.send([sequence(10, 3)]));
    rig.clock.run();
    for (const { due } of all) expect(due()).toEqual([14, 28, 42]);
  });

  test("a long prompt is read in chunks that share the budget with what decodes", () => {
    const rig = new Rig();
    const first = rig.send([sequence(1, 5)]);
    rig.clock.run(rig.startUs + 5000);
    const second = rig.send([sequence(150, 2)]);
    rig.clock.run();
    // Steps: 10.1 (prompt of one), then 10 + 1 + 99 tokens, 10 + 1 + 51 tokens, then both decode.
    expect(first.due()).toEqual([10.1, 31, 47.1, 59.1, 70.1]);
    expect(second.due()).toEqual([47.1, 59.1]);
    expect(rig.meter.iterationTokens.sumUs).toBe(1 + 100 + 52 + 2 + 1);
  });

  test("what finds no place waits its turn", () => {
    const rig = new Rig({ maxNumSeqs: 1, stepTimePerSeqUs: 0, prefillTimePerTokenUs: 0 });
    const all = [1, 2, 3].map(() => rig.send([sequence(1, 2)]));
    rig.clock.run(rig.startUs + 1000);
    expect([rig.scheduler.running, rig.scheduler.waiting(rig.clock.us)]).toEqual([1, 2]);
    rig.clock.run();
    expect(all.map(({ due }) => due())).toEqual([
      [10, 20],
      [30, 40],
      [50, 60],
    ]);
    expect(rig.meter.queueTime.sumUs).toBe(60_000);
  });

  test("n choices are n sequences, and a frame waits for all of them", () => {
    const rig = new Rig({ maxNumSeqs: 2, stepTimePerSeqUs: 0, prefillTimePerTokenUs: 0 });
    const prompt = prompts++;
    const asks = [2, 3, 1].map((tokens) => ({ promptTokens: 4, chain: [], tokens, prompt }));
    const { due } = rig.send(asks);
    rig.clock.run();
    // The third begins when the first has ended, at 20: its one token is there at 30, as is the last of the second.
    expect(due()).toEqual([30, 30, 30]);
  });

  test("an answer in one piece is due when its last token is", () => {
    const rig = new Rig();
    const { due } = rig.send([sequence(50, 4)], false);
    rig.clock.run();
    expect(due()).toEqual([48]);
  });

  test("time before the queue takes none of the scheduler's", () => {
    const rig = new Rig({ requestOverheadUs: 7000 });
    const { due } = rig.send([sequence(50, 1)]);
    rig.clock.run();
    expect(due()).toEqual([22]);
    // Nor is it a wait: of neither kind.
    expect([rig.meter.queueTime.counts.reduce((sum, count) => sum + count, 0), rig.meter.queueTime.sumUs]).toEqual([1, 0]);
  });

  test("who is ready first goes first, however long its prompt was", () => {
    const rig = new Rig({ maxNumSeqs: 1, stepTimePerSeqUs: 0, prefillTimePerTokenUs: 0, requestOverheadPerTokenUs: 1000 });
    const long = rig.send([sequence(50, 1)]);
    const short = rig.send([sequence(3, 1)]);
    rig.clock.run();
    expect([short.due(), long.due()]).toEqual([[13], [60]]);
  });

  test("late wake-ups move no deadline: after 5,000 steps the last one stands where it was planned", () => {
    let late = 0;
    const rig = new Rig(
      { stepTimePerSeqUs: 0, prefillTimePerTokenUs: 0 },
      new FakeClock({ lateUs: () => (late = (late * 31 + 7) % 9000) }),
    );
    const { due } = rig.send([sequence(1, 5000)]);
    rig.clock.run();
    expect(due()[4999]).toBe(50_000);
    expect(due()[2499]).toBe(25_000);
  });

  test("a pause of the process is caught up with, in order and in few writes", () => {
    const rig = new Rig({ stepTimePerSeqUs: 0, prefillTimePerTokenUs: 0 });
    const { due, sink } = rig.send([sequence(1, 600)]);
    rig.clock.us += 4_000_000;
    rig.clock.run();
    expect(due()).toEqual(Array.from({ length: 600 }, (_, i) => 10 * (i + 1)));
    expect(sink.writes).toBeLessThan(300);
  });
});

describe("giving up", () => {
  test("a stream that is aborted frees its place at the next step", () => {
    const rig = new Rig({ maxNumSeqs: 1, stepTimePerSeqUs: 0, prefillTimePerTokenUs: 0 });
    const first = rig.send([sequence(1, 100)]);
    const second = rig.send([sequence(1, 1)]);
    rig.clock.run(rig.startUs + 25_000);
    first.sink.abort();
    rig.clock.run();
    expect(first.due()).toEqual([10, 20]);
    expect(second.due()).toEqual([40]);
    expect(rig.meter.abortedStreams).toBe(1);
    expect(rig.scheduler.cacheUsage).toBe(0);
  });

  test("what waits and is aborted is forgotten at once; a scheduler of the given up comes to rest", () => {
    const rig = new Rig({ maxNumSeqs: 1 });
    const all = [1, 2, 3].map(() => rig.send([sequence(1, 100)]));
    rig.clock.run(rig.startUs + 1000);
    all[1]!.sink.abort();
    expect(rig.scheduler.waiting(rig.clock.us)).toBe(1);
    all[0]!.sink.abort();
    all[2]!.sink.abort();
    rig.clock.run();
    expect([rig.scheduler.running, rig.scheduler.waiting(rig.clock.us), rig.scheduler.nextUs, rig.scheduler.cacheUsage]).toEqual([
      0,
      0,
      Infinity,
      0,
    ]);
    const late = rig.send([sequence(1, 1)]);
    rig.clock.run();
    expect(late.sink.ended).toBe(true);
  });

  test("a reader that stalls holds up nobody, and finds its tokens when it reads again, due when they were", () => {
    const rig = new Rig({ stepTimePerSeqUs: 0, prefillTimePerTokenUs: 0 });
    const slow = new FakeSink();
    slow.accepts = (writes) => writes !== 2;
    const first = rig.send([sequence(1, 10)], true, slow);
    const second = rig.send([sequence(1, 10)]);
    rig.clock.run(rig.startUs + 75_000);
    expect(first.due()).toHaveLength(2);
    expect(second.due()).toHaveLength(7);
    slow.observer!.onDrain();
    expect(first.due()).toEqual([10, 20, 30, 40, 50, 60, 70]);
    rig.clock.run();
    expect(first.due()).toEqual(second.due());
    expect(slow.ended).toBe(true);
  });
});

describe("the queue", () => {
  test("has a limit, places in the batch left out", () => {
    const rig = new Rig({ maxNumSeqs: 2, maxQueue: 1 });
    expect(rig.scheduler.hasRoom(3, 1, rig.clock.us)).toBe(true);
    expect(rig.scheduler.hasRoom(4, 1, rig.clock.us)).toBe(false);
    for (let i = 0; i < 3; i++) rig.send([sequence(1, 5)]);
    expect(rig.scheduler.hasRoom(1, 1, rig.clock.us)).toBe(false);
    rig.clock.run(rig.startUs + 1000);
    expect([rig.scheduler.running, rig.scheduler.waiting(rig.clock.us)]).toEqual([2, 1]);
    expect(rig.scheduler.hasRoom(1, 1, rig.clock.us)).toBe(false);
    rig.clock.run();
    expect(rig.scheduler.hasRoom(3, 1, rig.clock.us)).toBe(true);
  });
});

describe("requests that are on their way", () => {
  const slow = { maxNumSeqs: 1, maxQueue: 1, stepTimePerSeqUs: 0, prefillTimePerTokenUs: 0, requestOverheadUs: 100_000 } as const;

  test("do not wait yet, but a burst of them is no longer than the queue", () => {
    const rig = new Rig(slow);
    rig.send([sequence(1, 50)]);
    rig.send([sequence(1, 50)]);
    expect([rig.scheduler.running, rig.scheduler.waiting(rig.clock.us)]).toEqual([0, 0]);
    expect(rig.scheduler.hasRoom(1, 1, rig.clock.us)).toBe(false);
    rig.clock.run(rig.startUs + 101_000);
    expect([rig.scheduler.running, rig.scheduler.waiting(rig.clock.us)]).toEqual([1, 1]);
    rig.clock.run();
    expect(rig.meter.queueTime.sumUs).toBe(500_000);
  });

  test("take no place from those that come when others have left: no place is idle while requests are refused", () => {
    const rig = new Rig({ ...slow, maxNumSeqs: 20, maxQueue: 0, requestOverheadUs: 50_000 });
    // Sequences of 200 ms, one every 10 ms: 20 run, and 5 are on their way.
    let admitted = 0;
    let busy = 0;
    for (let i = 0; i < 300; i++) {
      if (rig.scheduler.hasRoom(1, 1, rig.clock.us)) {
        admitted++;
        rig.send([sequence(1, 20)]);
      }
      rig.clock.run(rig.startUs + (i + 1) * 10_000);
      if (i >= 100) busy += rig.scheduler.running;
    }
    expect(busy / 200).toBeGreaterThan(19);
    expect(admitted).toBeGreaterThan(285);
    rig.clock.run();
  });

  describe("for much longer than a sequence takes", () => {
    /** One runs, and others before it have shown that a sequence takes 50 ms; a request is on its way for 5 s. */
    function rigWithOneRunning(): Rig {
      const rig = new Rig({ ...slow, maxQueue: 2, requestOverheadUs: 5_000_000 });
      rig.send([sequence(1, 5)]);
      rig.clock.run();
      rig.send([sequence(1, 5)]);
      rig.clock.run(rig.clock.us + 5_001_000);
      expect(rig.scheduler.running).toBe(1);
      return rig;
    }
    const admit = (rig: Rig): boolean => {
      const has = rig.scheduler.hasRoom(1, 1, rig.clock.us);
      if (has) rig.send([sequence(1, 5)]);
      return has;
    };

    test("a burst is no longer than the queue and the batch: who is ready at the same time has not left", () => {
      const rig = rigWithOneRunning();
      expect(Array.from({ length: 100 }, () => admit(rig)).filter(Boolean)).toHaveLength(3);
      rig.clock.run();
    });

    test("as many are on their way as leave meanwhile", () => {
      const rig = rigWithOneRunning();
      let admitted = 0;
      for (let i = 0; i < 300; i++) {
        if (admit(rig)) admitted++;
        rig.clock.run(rig.clock.us + 50_000);
        expect(rig.scheduler.waiting(rig.clock.us)).toBeLessThanOrEqual(2);
      }
      expect(admitted).toBeGreaterThan(285);
      rig.clock.run();
    });
  });
});

describe("when to come again", () => {
  test("is when as many have left as are too many, by the tokens that they have to make", () => {
    const rig = new Rig({ maxNumSeqs: 2, maxQueue: 0, stepTimePerSeqUs: 0, prefillTimePerTokenUs: 0 });
    rig.send([sequence(1, 20)]);
    rig.send([sequence(1, 50)]);
    rig.clock.run(rig.startUs + 45_000);
    const untilMs = (sequences: number): number => rig.scheduler.untilRoomUs(sequences, 1, rig.clock.us) / 1000;
    expect([untilMs(1), untilMs(2)]).toEqual([155, 455]);
    rig.clock.run(rig.startUs + 199_000);
    expect(rig.scheduler.hasRoom(1, 1, rig.clock.us)).toBe(false);
    rig.clock.run(rig.startUs + 201_000);
    expect(rig.scheduler.hasRoom(1, 1, rig.clock.us)).toBe(true);
    rig.clock.run();
  });

  test("grows with the steps of a large batch and with prompts that are still to be read", () => {
    const rig = new Rig({ maxNumSeqs: 2, maxQueue: 0, maxNumBatchedTokens: 100, stepTimePerSeqUs: 1000, prefillTimePerTokenUs: 100 });
    const first = rig.send([sequence(300, 10)]);
    rig.send([sequence(1, 100)]);
    rig.clock.run(rig.startUs + 1000);
    const saidMs = 1 + rig.scheduler.untilRoomUs(1, 1, rig.clock.us) / 1000;
    rig.clock.run();
    expect(Math.abs(saidMs / first.due().at(-1)! - 1)).toBeLessThan(0.2);
  });

  test("beyond what is in the batch it is the time of further batches", () => {
    const rig = new Rig({ maxNumSeqs: 2, maxQueue: 4, stepTimePerSeqUs: 0, prefillTimePerTokenUs: 0 });
    for (let i = 0; i < 8; i++) rig.send([sequence(1, 10)]);
    rig.clock.run(rig.startUs + 105_000);
    // Two have ended, 100 ms after they began; two run since, and of the four that wait all have to go for six to come.
    expect(rig.scheduler.untilRoomUs(1, 1, rig.clock.us)).toBe(95_000);
    expect(rig.scheduler.untilRoomUs(6, 1, rig.clock.us)).toBe(95_000 + 200_000);
    rig.clock.run();
  });
});

describe("the cache of prefixes", () => {
  const chain = (name: number, blocks: number): number[] => Array.from({ length: blocks }, (_, i) => name * 1000 + i);

  test("a prompt that was read before costs only what is new", () => {
    const rig = new Rig({ maxNumBatchedTokens: 1000 });
    const first = rig.send([sequence(70, 1, chain(1, 4))]);
    rig.clock.run();
    expect(first.due()).toEqual([17]);
    const at = (rig.clock.us - rig.startUs) / 1000;
    const second = rig.send([sequence(70, 1, chain(1, 4))]);
    rig.clock.run();
    // 64 of 70 tokens are there.
    expect(second.due()[0]! - at).toBeCloseTo(10.6, 9);
    expect([first.answer.cachedTokens, second.answer.cachedTokens]).toEqual([0, 64]);
    expect([rig.meter.prefixCacheQueries, rig.meter.prefixCacheHits]).toEqual([140, 64]);
  });

  test("of a prompt that is there as a whole, the last block is read again: the next token follows from it", () => {
    const rig = new Rig({ maxNumBatchedTokens: 1000 });
    rig.send([sequence(64, 1, chain(1, 4))]);
    rig.clock.run();
    const again = rig.send([sequence(64, 1, chain(1, 4))]);
    rig.clock.run();
    expect(again.answer.cachedTokens).toBe(48);
  });

  test("choices of one prompt read it once, and it counts once", () => {
    const rig = new Rig({ maxNumBatchedTokens: 1000 });
    const prompt = prompts++;
    const asks = [1, 2, 3].map(() => ({ promptTokens: 70, chain: chain(2, 4), tokens: 1, prompt }));
    const { answer, due } = rig.send(asks);
    rig.clock.run();
    expect(answer.cachedTokens).toBe(0);
    expect(rig.meter.prefixCacheHits).toBe(128);
    expect(due()[0]).toBeCloseTo(10 + 7 + 0.6 + 0.6, 9);
  });

  test("can be switched off", () => {
    const rig = new Rig({ prefixCaching: false });
    for (let i = 0; i < 2; i++) {
      rig.send([sequence(70, 1, chain(1, 4))]);
      rig.clock.run();
    }
    expect([rig.meter.prefixCacheQueries, rig.meter.prefixCacheHits]).toEqual([0, 0]);
  });

  test("what was used last stays when the room is needed", () => {
    const rig = new Rig({ kvBlocks: 10, maxNumBatchedTokens: 1000 });
    const ask = (name: number): BatchedAnswer => {
      const { answer } = rig.send([sequence(65, 1, chain(name, 4))]);
      rig.clock.run();
      return answer;
    };
    ask(1);
    ask(2);
    expect(ask(1).cachedTokens).toBe(64);
    // Room for 10 blocks: the third prompt takes the place of the second's, of which the beginning stays longest.
    ask(3);
    expect(ask(1).cachedTokens).toBe(64);
    expect(ask(2).cachedTokens).toBeLessThan(64);
  });
});

describe("memory", () => {
  test("who came last loses its place when memory runs out, and reads all it had anew", () => {
    const rig = new Rig({ kvBlocks: 4, stepTimePerSeqUs: 0, prefillTimePerTokenUs: 0 });
    const first = rig.send([sequence(16, 40)]);
    const second = rig.send([sequence(16, 20)]);
    rig.clock.run();
    expect(rig.meter.preemptions).toBeGreaterThan(0);
    // The first is never held up.
    expect(first.due()).toEqual(Array.from({ length: 40 }, (_, i) => 10 * (i + 1)));
    expect(second.due()).toHaveLength(20);
    expect(second.due()[19]).toBeGreaterThan(400);
    expect(rig.scheduler.cacheUsage).toBe(0);
  });

  test("property: whatever comes and goes, every token is made, memory is never exceeded and all of it comes back", () => {
    const request = fc.record({
      gapUs: fc.integer({ min: 0, max: 60_000 }),
      prompt: fc.integer({ min: 1, max: 120 }),
      tokens: fc.integer({ min: 1, max: 40 }),
      name: fc.integer({ min: 1, max: 3 }),
      n: fc.integer({ min: 1, max: 3 }),
      streamed: fc.boolean(),
      aborted: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(request, { maxLength: 25 }), fc.integer({ min: 12, max: 40 }), (requests, kvBlocks) => {
        const rig = new Rig({ kvBlocks, maxNumSeqs: 3, maxNumBatchedTokens: 50 });
        const kept: { due: () => number[]; tokens: number }[] = [];
        for (const { gapUs, prompt, tokens, name, n, streamed, aborted } of requests) {
          const asks = Array.from({ length: n }, (_, i) => ({
            promptTokens: prompt,
            chain: chainOf(name, Math.floor(prompt / 16)),
            tokens: Math.max(1, tokens - i),
            prompt: prompts++,
          }));
          const { sink, due } = rig.send(asks, streamed);
          rig.clock.run(rig.clock.us + gapUs);
          expect(rig.scheduler.cacheUsage).toBeLessThanOrEqual(1);
          expect(rig.scheduler.running).toBeLessThanOrEqual(3);
          if (aborted && !sink.ended) sink.abort();
          else kept.push({ due, tokens: streamed ? tokens : 1 });
        }
        rig.clock.run();
        for (const { due, tokens } of kept) {
          expect(due()).toHaveLength(tokens);
          expect(due()).toEqual(due().toSorted((a, b) => a - b));
        }
        expect([rig.scheduler.running, rig.scheduler.waiting(rig.clock.us), rig.scheduler.cacheUsage, rig.pacer.running]).toEqual([
          0, 0, 0, 0,
        ]);
      }),
      { numRuns: 200 },
    );
  });
});

const chainOf = (name: number, blocks: number): number[] => Array.from({ length: blocks }, (_, i) => name * 1000 + i);

test("property: blocks held, idle and free add up", () => {
  const step = fc.record({ holder: fc.nat(3), name: fc.nat(2), blocks: fc.integer({ min: 1, max: 6 }), release: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const pool = new BlockPool(10);
      const holders = Array.from({ length: 4 }, () => ({ blocks: 0, shared: [] as number[] }));
      for (const { holder, name, blocks, release } of steps) {
        const holding = holders[holder]!;
        if (holding.blocks > 0 || release) {
          pool.release(holding);
          continue;
        }
        const chain = chainOf(name, blocks);
        const hits = pool.match(chain, blocks);
        if (pool.begin(holding, chain, hits, blocks)) for (const hash of chain.slice(hits)) pool.publish(holding, hash);
        expect(pool.used).toBeLessThanOrEqual(10);
        expect(pool.used).toBe(
          new Set(holders.flatMap(({ shared }) => shared)).size +
            holders.reduce((sum, { blocks, shared }) => sum + blocks - shared.length, 0),
        );
      }
      for (const holding of holders) pool.release(holding);
      expect(pool.used).toBe(0);
    }),
  );
});
