/** What a network does to a stream of bytes, on a clock that a test drives; and the texts that say so. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seedOf } from "../../src/core/random/random.ts";
import { Alarms, type Sleeper } from "../../src/network/alarms.ts";
import { networkFlagName, networkInputOf } from "../../src/settings/network.ts";
import { type Direction, mergeNetworks, type NetworkInput, parseNetwork, roundTripMs } from "../../src/network/impairment.ts";
import { type Bounds, type Ledger, Line, shareBytes } from "../../src/network/line.ts";
import { Link } from "../../src/network/link.ts";
import { Lateness } from "../../src/network/lateness.ts";
import { FakeClock } from "../support/fakes.ts";

class TestLedger implements Ledger {
  bytes = 0;
  stalls = 0;
  cuts = 0;
  heldBytes = 0;
  peakHeldBytes = 0;
  latest = 0;
  late(us: number): void {
    this.latest = Math.max(this.latest, us);
  }
}

const wide: Bounds = { lineBytes: 1e9, totalBytes: 1e9 };

/** A line whose far end writes down what comes, and when. */
function lab(network: NetworkInput, { seed = 1, bounds = wide, openUs = 0, lines = 1 } = {}) {
  const clock = new FakeClock({ us: 0 });
  const alarms = new Alarms(clock);
  const direction: Direction = parseNetwork(network, (key) => key)?.down ?? {
    latencyUs: 0,
    jitterUs: null,
    bandwidth: null,
    stall: null,
    cut: null,
    loss: 0,
  };
  const ledger = new TestLedger();
  const link = direction.bandwidth === null ? null : new Link(alarms, direction.bandwidth.bytesPerSecond);
  const ways = Array.from({ length: lines }, (_, number) => {
    const seen = { parts: [] as Part[], length: 0, end: -1, cut: "", paused: false, takes: Infinity, waits: false };
    const line = new Line({
      alarms,
      direction,
      link,
      seed: seedOf(seed * 1000 + number),
      ledger,
      bounds,
      openUs,
      ends: {
        pause: () => (seen.paused = true),
        resume: () => (seen.paused = false),
        write: (bytes) => {
          if (seen.end >= 0 || seen.cut !== "" || seen.waits) throw new Error("written after the end, or against the reader's will");
          seen.parts.push({ at: clock.us, from: seen.length, bytes });
          seen.length += bytes.length;
          seen.takes -= bytes.length;
          seen.waits = seen.takes <= 0;
          return !seen.waits;
        },
        end: () => (seen.end = clock.us),
        cut: (by) => (seen.cut = by),
      },
    });
    return { line, seen };
  });
  return { clock, ledger, ways, line: ways[0]!.line, seen: ways[0]!.seen };
}

interface Part {
  readonly at: number;
  /** Place in the stream. */
  readonly from: number;
  readonly bytes: Uint8Array;
}

const whole = (parts: readonly Part[]): Buffer => Buffer.concat(parts.map(({ bytes }) => bytes));
const times = (parts: readonly Part[]): number[] => parts.map(({ at }) => at);

const bytesOf = (length: number, from = 0): Uint8Array => Uint8Array.from({ length }, (_, i) => (from + i) & 255);

const networks: fc.Arbitrary<NetworkInput> = fc.record(
  {
    rtt: fc.integer({ min: 0, max: 200 }),
    jitter: fc.constantFrom("5", "lognormal(3,2)", "exponential(10)"),
    bandwidth: fc.constantFrom("64kbit", "1mbit", "100mbit", "3mbit/connection"),
    stall: fc.constantFrom("10%,40ms", "50%/packet,uniform(0,30)", "100%,5ms"),
  },
  { requiredKeys: [] },
);
const writes = fc.array(fc.record({ afterUs: fc.integer({ min: 0, max: 50_000 }), length: fc.integer({ min: 1, max: 5000 }) }), {
  maxLength: 25,
});

test("property: of lateness no quantile lies above the maximum, which is exact", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 5_000_000 }), { minLength: 1, maxLength: 50 }), (values) => {
      const lateness = new Lateness();
      for (const value of values) lateness.record(value);
      const { p50, p99, max } = lateness.summary()!;
      expect(max).toBe(Math.max(...values));
      expect(p50).toBeLessThanOrEqual(p99);
      expect(p99).toBeLessThanOrEqual(max);
    }),
  );
  expect(new Lateness().summary()).toBeNull();
});

describe("a line", () => {
  test("keeps every byte, in order, never early, and the end after the last, whatever the network does", () => {
    fc.assert(
      fc.property(networks, writes, fc.integer({ min: 1, max: 9 }), (network, writes, seed) => {
        const { clock, line, seen, ledger } = lab(network, { seed });
        const sent: Buffer[] = [];
        const sentAt: { readonly to: number; readonly at: number }[] = [];
        let total = 0;
        for (const { afterUs, length } of writes) {
          clock.run(clock.us + afterUs);
          const bytes = bytesOf(length, total);
          total += length;
          sent.push(Buffer.from(bytes));
          sentAt.push({ to: total, at: clock.us });
          line.take(bytes);
        }
        line.end();
        clock.run(1e12);
        expect(whole(seen.parts).equals(Buffer.concat(sent))).toBe(true);
        expect(seen.end).toBeGreaterThanOrEqual(seen.parts.at(-1)?.at ?? 0);
        const halfUs = (Number(network.rtt ?? 0) * 1000) / 2;
        for (const { at, from, bytes } of seen.parts)
          expect(at).toBeGreaterThanOrEqual(sentAt.find(({ to }) => to >= from + bytes.length)!.at + halfUs);
        expect(ledger.heldBytes).toBe(0);
        expect(ledger.bytes).toBe(total);
      }),
    );
  });

  test("the same seed and bytes fare the same; another seed does not", () => {
    const run = (seed: number): number[] => {
      const { clock, line, seen } = lab({ rtt: 20, jitter: "lognormal(3,2)", stall: "10%,40ms", bandwidth: "10mbit" }, { seed });
      for (let i = 0; i < 100; i++) {
        line.take(bytesOf(700));
        clock.run(clock.us + 1000);
      }
      clock.run(1e9);
      return times(seen.parts);
    };
    expect(run(3)).toEqual(run(3));
    expect(run(3)).not.toEqual(run(4));
  });

  test("stalls belong to places in the stream, however it was written", () => {
    const stalled = (length: number): number[] => {
      const { clock, line, seen } = lab({ stall: "20%,40ms" });
      for (let sent = 0; sent < 70_000; sent += length) {
        line.take(bytesOf(length));
        clock.run(clock.us + 100_000);
      }
      // Places from which on bytes were held.
      return seen.parts.flatMap(({ at, from }, i) => (at % 100_000 === 40_000 && seen.parts[i - 1]?.at !== at ? [from] : []));
    };
    const places = stalled(1400);
    expect(places.length).toBeGreaterThan(3);
    expect(places.every((place) => place % 1400 === 0)).toBe(true);
    expect(stalled(350)).toEqual(expect.arrayContaining(places));
    expect(stalled(350).every((place) => place % 1400 === 0)).toBe(true);
  });

  test("stalls as often as asked, and everything behind one waits", () => {
    const { clock, line, ledger, seen } = lab({ stall: "1%,40ms" });
    for (let i = 0; i < 20_000; i++) line.take(bytesOf(1400));
    clock.run(1e9);
    // Binomial: 200 +- 14.
    expect(ledger.stalls).toBeGreaterThan(140);
    expect(ledger.stalls).toBeLessThan(260);
    expect(seen.length).toBe(20_000 * 1400);
    expect(new Set(times(seen.parts))).toEqual(new Set([0, 40_000]));
    expect(times(seen.parts)).toEqual(times(seen.parts).sort((a, b) => a - b));
  });

  test("per packet, each read counts, however small", () => {
    const { clock, line, ledger } = lab({ stall: "10%/packet,1ms" });
    for (let i = 0; i < 2000; i++) line.take(bytesOf(20));
    clock.run(1e9);
    expect(ledger.stalls).toBeGreaterThan(130);
    expect(ledger.stalls).toBeLessThan(270);
  });

  test("jitter delays and never overtakes", () => {
    const { clock, line, seen } = lab({ rtt: 20, jitter: "exponential(5)" });
    for (let i = 0; i < 2000; i++) {
      line.take(bytesOf(1));
      clock.run(clock.us + 100_000);
    }
    const delays = times(seen.parts).map((at, i) => at - i * 100_000 - 10_000);
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(0);
    const mean = delays.reduce((sum, us) => sum + us, 0) / delays.length;
    expect(mean).toBeGreaterThan(4400);
    expect(mean).toBeLessThan(5600);
  });

  test("nothing passes before the handshake would have been made", () => {
    const { clock, line, seen } = lab({ rtt: 20 }, { openUs: 30_000 });
    line.take(bytesOf(1));
    clock.run(35_000);
    line.take(bytesOf(1));
    clock.run(1e6);
    expect(times(seen.parts)).toEqual([40_000, 45_000]);
  });

  test("bandwidth: bytes leave at the rate, each packet when its last has", () => {
    const { clock, line, seen } = lab({ bandwidth: "1mbit" });
    line.take(bytesOf(50_000));
    line.end();
    clock.run(1e9);
    expect(seen.length).toBe(50_000);
    expect(seen.end).toBe(400_000);
    // The first packet: 1400 bytes at 125,000 a second.
    expect(seen.parts[0]!.at).toBe(11_200);
  });

  test("a shared link takes turns: a token does not wait for the bulk of another connection", () => {
    const { clock, ways } = lab({ bandwidth: "1mbit" }, { lines: 3 });
    const [bulk, other, token] = ways;
    bulk!.line.take(bytesOf(60_000));
    other!.line.take(bytesOf(60_000));
    clock.run(100_000);
    token!.line.take(bytesOf(100));
    clock.run(1e9);
    // At most what is on the link already, and one packet of each of the others.
    expect(token!.seen.parts[0]!.at - 100_000).toBeLessThan(4 * 11_200);
    expect(Math.abs(bulk!.seen.parts.at(-1)!.at - other!.seen.parts.at(-1)!.at)).toBeLessThan(2 * 11_200);
    expect(bulk!.seen.parts.at(-1)!.at).toBeGreaterThan(900_000);
  });

  test("a cut after so many bytes: these pass, nothing after them, whatever the writes were", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 4000 }), { minLength: 1, maxLength: 20 }), (lengths) => {
        const { clock, line, seen, ledger } = lab({ rtt: 10, cut: "5kb,fin" });
        for (const length of lengths) line.take(bytesOf(length));
        clock.run(1e6);
        const total = lengths.reduce((sum, length) => sum + length, 0);
        expect(seen.length).toBe(Math.min(5000, total));
        expect(seen.cut).toBe(total >= 5000 ? "fin" : "");
        expect(ledger.heldBytes).toBe(0);
      }),
    );
  });

  test("cuts by chance come about as often as asked, where segments begin", () => {
    let survived = 0;
    for (let seed = 0; seed < 300; seed++) {
      const { clock, line, seen } = lab({ cut: "1%" }, { seed });
      line.take(bytesOf(140_000));
      clock.run(1e6);
      if (seen.cut === "") survived++;
      else expect(seen.length % 1400).toBe(0);
    }
    // 0.99^100 = 0.366: 110 of 300 +- 8.
    expect(survived).toBeGreaterThan(75);
    expect(survived).toBeLessThan(145);
  });

  test("a reader that takes nothing stops the source; when it reads again nothing is missing", () => {
    const { clock, line, seen, ledger } = lab({ rtt: 20 });
    seen.takes = 10_000;
    let sent = 0;
    for (let turn = 0; turn < 1000 && !seen.paused; turn++) {
      line.take(bytesOf(16_384, sent));
      sent += 16_384;
      clock.run(clock.us + 5000);
    }
    expect(seen.paused).toBe(true);
    // What is due, and what was on the way in the 10 ms of the delay.
    expect(ledger.heldBytes).toBeLessThan(shareBytes + 5 * 16_384);
    seen.takes = Infinity;
    seen.waits = false;
    line.drained();
    clock.run(clock.us + 1e6);
    expect(seen.paused).toBe(false);
    expect(seen.length).toBe(sent);
    expect(whole(seen.parts).equals(bytesOf(sent))).toBe(true);
  });

  test("what is on the way is bounded, in a line and in all of them; so is what waits for a link", () => {
    const bounds = { lineBytes: 200_000, totalBytes: 500_000 };
    const { clock, ways, ledger } = lab({ rtt: 10_000 }, { bounds, lines: 10 });
    const push = (of: typeof ways): void => {
      for (let turn = 0; turn < 100; turn++) for (const { line, seen } of of) if (!seen.paused) line.take(bytesOf(10_000));
    };
    push(ways.slice(0, 1));
    expect(ledger.heldBytes).toBeLessThanOrEqual(210_000);
    push(ways);
    expect(ledger.heldBytes).toBeLessThanOrEqual(500_000 + 10 * (shareBytes + 10_000));
    clock.run(1e9);
    expect(ways.some(({ seen }) => seen.paused)).toBe(false);

    const slow = lab({ bandwidth: "64kbit" });
    for (let turn = 0; turn < 100 && !slow.seen.paused; turn++) slow.line.take(bytesOf(10_000));
    expect(slow.ledger.heldBytes).toBeLessThanOrEqual(shareBytes + 10_000);
  });
});

describe("alarms", () => {
  test("ring in order, once, and only those that were not cleared", () => {
    const step = fc.record({ who: fc.nat(9), at: fc.option(fc.integer({ min: 1, max: 1000 })) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const clock = new FakeClock({ us: 0 });
        const alarms = new Alarms(clock);
        const rang: [number, number][] = [];
        const sleepers = Array.from({ length: 10 }, (_, i): Sleeper => ({
          alarmUs: 0,
          place: -1,
          onAlarm: () => rang.push([i, clock.us]),
        }));
        const expected = new Map<number, number>();
        for (const { who, at } of steps) {
          if (at === null) {
            alarms.clear(sleepers[who]!);
            expected.delete(who);
          } else {
            alarms.set(sleepers[who]!, at);
            expected.set(who, at);
          }
        }
        clock.run(2000);
        expect(rang.map(([, at]) => at)).toEqual([...expected.values()].sort((a, b) => a - b));
        expect(new Map(rang)).toEqual(expected);
      }),
    );
  });
});

describe("what is given", () => {
  const parse = (input: NetworkInput) => parseNetwork(input, networkFlagName);

  test("nothing, or nothing of anything, is no network", () => {
    expect(parse({})).toBeNull();
    expect(parse({ rtt: 0, stall: "0%,40ms", jitter: "0", cut: "0%", bandwidth: "none" })).toBeNull();
  });

  test("both directions, and each of them", () => {
    const { up, down } = parse({ rtt: "40ms", stall: "1%,40ms", up: { latency: 5, stall: "none" }, down: { bandwidth: "10mbit" } })!;
    expect([up.latencyUs, down.latencyUs]).toEqual([5000, 20_000]);
    expect(up.stall).toBeNull();
    expect(down.stall).toMatchObject({ probability: 0.01, per: "segment", holdUs: { constant: 40_000 } });
    expect([up.bandwidth, down.bandwidth]).toEqual([null, { bytesPerSecond: 1_250_000, shared: true }]);
    expect(roundTripMs({ up, down })).toBe(25);
  });

  test("a time for a cut is drawn once, bytes are counted each way", () => {
    const timed = parse({ cut: "5s" })!;
    expect(timed.up.cut).toBeNull();
    expect(timed.down.cut).toMatchObject({ by: "rst", after: { kind: "time", us: { constant: 5_000_000 } } });
    expect(parse({ cut: "2kb,fin" })).toMatchObject({ up: { cut: { by: "fin", after: { bytes: 2000 } } }, down: { cut: { by: "fin" } } });
    expect(parse({ cut: "0.1%" })).toMatchObject({ down: { cut: { after: { kind: "segment", probability: 0.001 } } } });
    expect(parse({ cut: "exponential(30s),fin" })).toMatchObject({ down: { cut: { by: "fin", after: { kind: "time" } } } });
  });

  test.each([
    ["1kbit", 125, true],
    ["1.5MB/s", 1_500_000, true],
    ["100 kbit", null, true],
    ["2mbit/connection", 250_000, false],
    ["1gbit/s", 125_000_000, true],
  ])("bandwidth %s", (text, bytesPerSecond, shared) => {
    if (bytesPerSecond === null) expect(() => parse({ bandwidth: text })).toThrow(/^--bandwidth: .*10mbit/);
    else expect(parse({ bandwidth: text })!.up.bandwidth).toEqual({ bytesPerSecond, shared });
  });

  test("plain jitter is uniform from 0", () => {
    expect(parse({ jitter: 5 })!.up.jitterUs!.spec).toBe("uniform(0us,5000us)");
  });

  test.each<[NetworkInput, RegExp]>([
    [{ rtt: "-1" }, /^--rtt: negative/],
    [{ rtt: "lognormal(20,1)" }, /^--rtt: .*constant/],
    [{ rtt: "61s" }, /^--rtt: value too large/],
    [{ down: { jitter: "x" } }, /^--jitter-down: /],
    [{ bandwidth: "10" }, /^--bandwidth: "10" is no rate/],
    [{ bandwidth: "1bit" }, /^--bandwidth: "1bit" is not between/],
    [{ stall: "1%" }, /^--stall: "1%" is not a probability and a time/],
    [{ stall: "101%,5ms" }, /^--stall: "101%" is no probability/],
    [{ up: { stall: "1%/flow,5ms" } }, /^--stall-up: /],
    [{ cut: "5" }, /^--cut: is "5" bytes, a time or a share/],
    [{ cut: "5kb,syn" }, /^--cut: /],
  ])("%j is refused in one line", (input, message) => {
    expect(() => parse(input)).toThrow(message);
    expect(() => parse(input)).toThrow(/^[^\n]+$/);
  });

  test("flags and settings are the same", () => {
    const values = { rtt: "40", stallUp: "1%,40ms", latencyDown: "3", other: "x" };
    expect(networkInputOf(values)).toEqual({ rtt: "40", up: { stall: "1%,40ms" }, down: { latency: "3" } });
  });

  test("one network over another, setting by setting", () => {
    const merged = mergeNetworks({ rtt: 40, stall: "1%,40ms", up: { latency: 1 } }, { stall: "none", up: { jitter: 2 } });
    expect(merged).toEqual({ rtt: 40, stall: "none", up: { latency: 1, jitter: 2 } });
  });
});
