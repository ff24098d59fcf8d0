/** What a network does to datagrams: on a clock that a test drives, and between sockets. */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { describe, expect, onTestFinished, test } from "vitest";
import { seedOf } from "../../src/core/random/random.ts";
import { Alarms } from "../../src/network/alarms.ts";
import { type DatagramLedger, DatagramLine } from "../../src/network/datagrams.ts";
import { type NetworkInput, parseNetwork, unfitFor } from "../../src/network/impairment.ts";
import { startUdpProxy, type UdpProxyOptions } from "../../src/network/udp-proxy.ts";
import { FakeClock } from "../support/fakes.ts";
import { eventually } from "../support/wait.ts";

const networkOf = (network: NetworkInput) => parseNetwork(network, (key) => key)!;

/** Lets time pass. */
const pass = (clock: FakeClock, us: number): void => clock.run(clock.us + us);

/** A line whose far end writes down what comes, and when. */
function lab(network: NetworkInput, { seed = 1, bounds = { lineBytes: 1e9, totalBytes: 1e9 }, takes = true } = {}) {
  const clock = new FakeClock({ us: 0 });
  const ledger: DatagramLedger = { bytes: 0, datagrams: 0, lost: 0, dropped: 0, heldBytes: 0, peakHeldBytes: 0, late: () => {} };
  const seen: { at: number; number: number }[] = [];
  const line = new DatagramLine({
    alarms: new Alarms(clock),
    direction: networkOf(network).down,
    seed: seedOf(seed),
    send(bytes) {
      if (takes) seen.push({ at: clock.us, number: bytes[0]! * 256 + bytes[1]! });
      return takes;
    },
    ledger,
    bounds,
  });
  const send = (count: number, everyUs: number): void => {
    for (let number = 0; number < count; number++) {
      line.take(Uint8Array.of(number >> 8, number & 255, ...new Uint8Array(98)));
      pass(clock, everyUs);
    }
  };
  return { clock, ledger, seen, line, send };
}

describe("a line of datagrams", () => {
  test("each leaves half a round trip later, whole and in order", () => {
    const { clock, seen, send } = lab({ rtt: 40 });
    send(3, 1000);
    pass(clock, 30_000);
    expect(seen).toEqual([0, 1, 2].map((number) => ({ at: 20_000 + number * 1000, number })));
  });

  test("jitter delays, and overtakes nothing", () => {
    const { clock, seen, send } = lab({ rtt: 10, jitter: "uniform(0,20)" });
    send(200, 1000);
    pass(clock, 100_000);
    expect(seen.map(({ number }) => number)).toEqual(Array.from({ length: 200 }, (_, number) => number));
    expect(new Set(seen.map(({ at, number }) => at - number * 1000)).size).toBeGreaterThan(20);
    for (const { at, number } of seen) expect(at).toBeGreaterThanOrEqual(5000 + number * 1000);
  });

  test("a share is lost, each by itself, and the same ones under the same seed", () => {
    const lostBy = (seed: number, network: NetworkInput): number[] => {
      const { clock, seen, send, ledger } = lab(network, { seed });
      send(4000, 10);
      pass(clock, 1_000_000);
      const came = new Set(seen.map(({ number }) => number));
      const lost = Array.from({ length: 4000 }, (_, number) => number).filter((number) => !came.has(number));
      expect(ledger).toMatchObject({ datagrams: 4000, lost: lost.length, dropped: 0, heldBytes: 0 });
      return lost;
    };
    const lost = lostBy(1, { loss: "5%" });
    // Four standard deviations of a binomial share.
    expect(Math.abs(lost.length - 200)).toBeLessThan(4 * Math.sqrt(4000 * 0.05 * 0.95));
    expect(lostBy(1, { loss: "5%", rtt: 80 })).toEqual(lost);
    expect(lostBy(2, { loss: "5%" })).not.toEqual(lost);
    // Neighbours are lost together no more often than by chance: 4000 x 0.05 x 0.05 = 10.
    expect(lost.filter((number, at) => lost[at + 1] === number + 1).length).toBeLessThan(30);
    expect(lostBy(1, { loss: "100%" })).toHaveLength(4000);
  });

  test("what is held is bounded: beyond it datagrams are dropped, and counted apart", () => {
    const { clock, ledger, seen, send } = lab({ rtt: 1000 }, { bounds: { lineBytes: 1000, totalBytes: 1e9 } });
    send(25, 0);
    expect(ledger).toMatchObject({ heldBytes: 1000, peakHeldBytes: 1000, dropped: 15, lost: 0 });
    pass(clock, 500_000);
    expect(seen).toHaveLength(10);
    expect(ledger.heldBytes).toBe(0);
  });

  test("one that the system does not take is dropped; a line that ends forgets what it held", () => {
    const full = lab({ rtt: 2 }, { takes: false });
    full.send(3, 0);
    pass(full.clock, 2000);
    expect(full.ledger).toMatchObject({ dropped: 3, heldBytes: 0 });
    const ended = lab({ rtt: 2 });
    ended.send(3, 0);
    ended.line.drop();
    pass(ended.clock, 2000);
    expect(ended.seen).toEqual([]);
    expect(ended.ledger.heldBytes).toBe(0);
  });

  test.each<[NetworkInput, "tcp" | "udp", RegExp | null]>([
    [{ rtt: 40 }, "udp", null],
    [{ stall: "1%,40ms", loss: "1%" }, "udp", null],
    [{ stall: "1%,40ms", loss: "1%" }, "tcp", null],
    [{ stall: "1%,40ms" }, "udp", /stalls segments of TCP/],
    [{ loss: "1%" }, "tcp", /loses datagrams/],
    [{ rtt: 1, bandwidth: "1mbit" }, "udp", /bandwidth or cuts/],
    [{ down: { cut: "5s" } }, "udp", /bandwidth or cuts/],
  ])("%o over %s", (network, transport, why) => {
    const unfit = unfitFor(transport, networkOf(network));
    if (why === null) expect(unfit).toBeNull();
    else expect(unfit).toMatch(why);
  });
});

describe("between sockets", () => {
  async function socketThat(onMessage: (socket: Socket, bytes: Buffer, port: number) => void): Promise<Socket> {
    const socket = createSocket("udp4");
    socket.on("message", (bytes, { port }) => onMessage(socket, bytes, port));
    socket.bind(0, "127.0.0.1");
    await once(socket, "listening");
    onTestFinished(() => void socket.close());
    return socket;
  }

  async function pathTo(network: NetworkInput, more: Partial<UdpProxyOptions> = {}) {
    const echo = await socketThat((socket, bytes, port) => socket.send(bytes, port, "127.0.0.1"));
    const target = { host: "127.0.0.1", port: echo.address().port };
    const proxy = await startUdpProxy({ target, impairment: networkOf({ rtt: 1, ...network }), seed: 1, ...more });
    onTestFinished(() => proxy.close());
    const ask = async (count: number): Promise<{ back: () => string[]; socket: Socket }> => {
      const got: string[] = [];
      const socket = await socketThat((_socket, bytes) => got.push(bytes.toString()));
      for (let number = 0; number < count; number++) socket.send(String(number), proxy.port, "127.0.0.1");
      return { back: () => got, socket };
    };
    return { proxy, ask };
  }

  test("each client gets its own answers, whole and in order", async () => {
    const { proxy, ask } = await pathTo({ rtt: 10 });
    const clients = await Promise.all([ask(50), ask(50)]);
    const all = Array.from({ length: 50 }, (_, number) => String(number));
    for (const { back } of clients) {
      await eventually(() => back().length === 50, "all are back");
      expect(back()).toEqual(all);
    }
    expect(proxy.stats()).toMatchObject({ flows: 2, openFlows: 2, up: { datagrams: 100, lost: 0, dropped: 0 }, down: { datagrams: 100 } });
    expect(proxy.stats().lateUs!.p50).toBeLessThan(20_000);
  });

  test("what is lost on the way up has no answer", async () => {
    const { proxy, ask } = await pathTo({ up: { loss: "50%" } });
    const { back } = await ask(200);
    await eventually(() => back().length === 200 - proxy.stats().up.lost && proxy.stats().up.datagrams === 200, "the others are back");
    expect(proxy.stats().up.lost).toBeGreaterThan(60);
    expect(proxy.stats().down.lost).toBe(0);
  });

  test("flows are bounded, and end when nothing passes", async () => {
    const { proxy, ask } = await pathTo({}, { maxFlows: 1, flowTimeoutMs: 60 });
    const first = await ask(1);
    await eventually(() => first.back().length === 1, "the first is served");
    const second = await ask(1);
    await eventually(() => proxy.stats().up.dropped === 1, "the second is dropped");
    await eventually(() => proxy.stats().openFlows === 0, "the first has ended");
    second.socket.send("again", proxy.port, "127.0.0.1");
    await eventually(() => second.back().includes("again"), "there is room again");
  });

  test("a target that is not there is said once", async () => {
    const reasons: string[] = [];
    const gone = createSocket("udp4").bind(0, "127.0.0.1");
    await once(gone, "listening");
    const { port } = gone.address();
    await new Promise<void>((resolve) => gone.close(() => resolve()));
    const impairment = networkOf({ rtt: 1 });
    const onUnreachable = (reason: string): void => void reasons.push(reason);
    const proxy = await startUdpProxy({ target: { host: "127.0.0.1", port }, impairment, seed: 1, onUnreachable });
    onTestFinished(() => proxy.close());
    const client = await socketThat(() => {});
    for (let number = 0; number < 5; number++) {
      client.send("x", proxy.port, "127.0.0.1");
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await eventually(() => reasons.length > 0, "it is told");
    expect(reasons).toEqual(["ECONNREFUSED"]);
  });
});
