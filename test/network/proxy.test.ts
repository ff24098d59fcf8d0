/** The network as a proxy: real sockets, real clients, the command. */
import { connect, createServer, type Socket } from "node:net";
import { createHash, randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Agent, fetch as undiciFetch, H2CClient } from "undici";
import { createServer as createFakeai } from "../../src/index.ts";
import { type NetworkInput, parseNetwork } from "../../src/network/impairment.ts";
import { type Proxy, startProxy } from "../../src/network/proxy.ts";
import { SleepingClock } from "../../src/network/sleeping-clock.ts";
import { runCli } from "../support/process.ts";
import { listen } from "../support/servers.ts";
import { withoutEmptyLines } from "../support/chat.ts";

const idle = { latencyUs: 0, jitterUs: null, bandwidth: null, stall: null, cut: null, loss: 0 };

function proxyTo(port: number, network: NetworkInput, seed = 1): Promise<Proxy> {
  const impairment = parseNetwork(network, (key) => key) ?? { up: idle, down: idle };
  return startProxy({ target: { host: "127.0.0.1", port }, impairment, seed });
}

async function listening(onSocket: (socket: Socket) => void): Promise<{ port: number; close: () => void }> {
  const server = createServer({ allowHalfOpen: true }, onSocket);
  return { port: await listen(server), close: () => server.close() };
}

const echoing = () =>
  listening((socket) => {
    socket.on("data", (bytes: Buffer) => socket.write(bytes));
    socket.on("end", () => socket.end());
    socket.on("error", () => {});
  });

const digest = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

/** Sends everything, half-closes, and reads to the end. */
function exchange(port: number, bytes: Buffer): Promise<{ received: Buffer; error: string | null; firstMs: number; ms: number }> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" });
    const started = performance.now();
    const chunks: Buffer[] = [];
    let error: string | null = null;
    let firstMs = 0;
    socket.on("data", (chunk: Buffer) => {
      firstMs ||= performance.now() - started;
      chunks.push(chunk);
    });
    socket.on("error", (failure: NodeJS.ErrnoException) => (error = failure.code ?? failure.message));
    socket.on("close", () => resolve({ received: Buffer.concat(chunks), error, firstMs, ms: performance.now() - started }));
    socket.end(bytes);
  });
}

describe("a proxy", () => {
  let target: Awaited<ReturnType<typeof echoing>>;
  beforeAll(async () => {
    target = await echoing();
  });
  afterAll(() => target.close());

  test("delays each direction, in order, and the handshake by a round trip; keeps half-closed connections", async () => {
    const proxy = await proxyTo(target.port, { rtt: 60 });
    const sent = Buffer.from(Array.from({ length: 200 }, (_, i) => `${i};`).join(""));
    const { received, firstMs } = await exchange(proxy.port, sent);
    expect(received.toString()).toBe(sent.toString());
    // Two round trips: one for the handshake, one for the echo.
    expect(firstMs).toBeGreaterThanOrEqual(119);
    expect(firstMs).toBeLessThan(400);
    expect(proxy.stats()).toMatchObject({ connections: 1, up: { bytes: sent.length }, down: { bytes: sent.length } });
    await proxy.close();
  });

  test("a server that speaks first is heard two round trips after the client began", async () => {
    const greeting = await listening((socket) => socket.end("hello"));
    const proxy = await proxyTo(greeting.port, { rtt: 60 });
    const { received, firstMs } = await exchange(proxy.port, Buffer.alloc(0));
    expect(received.toString()).toBe("hello");
    expect(firstMs).toBeGreaterThanOrEqual(119);
    expect(firstMs).toBeLessThan(400);
    await proxy.close();
    greeting.close();
  });

  test("does not throttle: megabytes pass in about one delay", async () => {
    const size = 20_000_000;
    const bulk = await listening((socket) => socket.end(Buffer.alloc(size)));
    const proxy = await proxyTo(bulk.port, { rtt: 40 });
    const { received } = await exchange(proxy.port, Buffer.alloc(0));
    expect(received.length).toBe(size);
    await proxy.close();
    bulk.close();
  });

  test.each<[string, NetworkInput]>([
    ["stalls", { stall: "2%,5ms" }],
    ["jitter", { rtt: 4, jitter: "exponential(2)" }],
    ["bandwidth", { bandwidth: "80mbit" }],
    ["all of them", { rtt: 4, jitter: "1", bandwidth: "80mbit", stall: "1%/packet,2ms" }],
  ])("%s: a megabyte each way arrives whole", async (_, network) => {
    const proxy = await proxyTo(target.port, network);
    const sent = randomBytes(1_000_000);
    const { received, error } = await exchange(proxy.port, sent);
    expect(error).toBeNull();
    expect(digest(received)).toBe(digest(sent));
    await proxy.close();
  });

  test("bandwidth is what was asked for", async () => {
    const bulk = await listening((socket) => socket.end(Buffer.alloc(500_000)));
    const proxy = await proxyTo(bulk.port, { down: { bandwidth: "8mbit" } });
    const { received, ms } = await exchange(proxy.port, Buffer.alloc(0));
    expect(received.length).toBe(500_000);
    expect(ms).toBeGreaterThan(490);
    expect(ms).toBeLessThan(1200);
    await proxy.close();
    bulk.close();
  });

  test("a reader that reads nothing stops the source, and fills no memory", async () => {
    let written = 0;
    let isFull = false;
    const bulk = await listening((socket) => {
      socket.on("error", () => {});
      const more = (): void => {
        while (!isFull) {
          isFull = !socket.write(Buffer.alloc(65_536));
          written += 65_536;
        }
      };
      socket.on("drain", () => {
        isFull = false;
        more();
      });
      more();
    });
    const proxy = await proxyTo(bulk.port, {});
    const socket = connect({ port: proxy.port, host: "127.0.0.1" });
    socket.on("error", () => {});
    socket.pause();
    // Until nothing has moved for a while.
    for (let before = -1; before !== written;) {
      before = written;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    // The kernel holds a few megabytes for each socket; the proxy hardly anything.
    expect(proxy.stats().peakHeldBytes).toBeLessThan(500_000);
    expect(written).toBeLessThan(60_000_000);
    socket.destroy();
    await proxy.close();
    bulk.close();
  });

  test("passes on a reset", async () => {
    const rude = await listening((socket) => socket.on("data", () => socket.resetAndDestroy()));
    const proxy = await proxyTo(rude.port, { rtt: 10 });
    expect((await exchange(proxy.port, Buffer.from("x"))).error).toBe("ECONNRESET");
    await proxy.close();
    rude.close();
  });

  test("cuts: by a reset or a close, after bytes or a time", async () => {
    const sent = randomBytes(200_000);
    const cutBy = async (network: NetworkInput) => {
      const proxy = await proxyTo(target.port, network);
      const seen = await exchange(proxy.port, sent);
      const { cuts } = proxy.stats();
      await proxy.close();
      return { ...seen, cuts };
    };
    const closed = await cutBy({ down: { cut: "50kb,fin" } });
    expect(closed).toMatchObject({ cuts: 1, error: null });
    expect(digest(closed.received)).toBe(digest(sent.subarray(0, 50_000)));
    const reset = await cutBy({ down: { cut: "50kb" } });
    expect(reset).toMatchObject({ cuts: 1, error: "ECONNRESET" });
    expect(reset.received.length).toBeLessThanOrEqual(50_000);
    const timed = await cutBy({ bandwidth: "1mbit", cut: "100ms" });
    expect(timed).toMatchObject({ cuts: 1, error: "ECONNRESET" });
    expect(timed.ms).toBeGreaterThan(95);
    expect(timed.received.length).toBeLessThan(100_000);
    const late = await cutBy({ cut: "60s" });
    expect(late).toMatchObject({ cuts: 0, error: null });
  });

  test("a cut of one connection leaves the others alone", async () => {
    const proxy = await proxyTo(target.port, { cut: "20kb" });
    const [big, small] = await Promise.all([exchange(proxy.port, randomBytes(100_000)), exchange(proxy.port, Buffer.from("small"))]);
    expect(big.error).toBe("ECONNRESET");
    expect(small.received.toString()).toBe("small");
    await proxy.close();
  });

  test("a target that nobody listens on resets its clients, and is said once", async () => {
    const reasons: string[] = [];
    const gone = await echoing();
    gone.close();
    const proxy = await startProxy({
      target: { host: "127.0.0.1", port: gone.port },
      impairment: { up: idle, down: idle },
      seed: 1,
      onUnreachable: (reason) => reasons.push(reason),
    });
    for (let i = 0; i < 2; i++) expect((await exchange(proxy.port, Buffer.from("x"))).error).toBe("ECONNRESET");
    expect(reasons).toEqual(["ECONNREFUSED"]);
    expect(proxy.stats().unreachable).toBe(2);
    await proxy.close();
  });
});

test("the clock that sleeps is early never, and late less than an event loop's timer", async () => {
  const clock = await SleepingClock.start();
  const lateUs: number[] = [];
  for (let i = 0; i < 100; i++) {
    const dueUs = clock.nowUs() + 300 + i * 60;
    // Whatever was asked for before does not count.
    clock.wakeAfter(0.01);
    clock.wakeAfter(50);
    await new Promise<void>((resolve) => {
      clock.onWake = resolve;
      clock.wakeAfter((dueUs - clock.nowUs()) / 1000);
    });
    lateUs.push(clock.nowUs() - dueUs);
  }
  await clock.close();
  lateUs.sort((a, b) => a - b);
  expect(lateUs[0]).toBeGreaterThan(-20);
  expect(lateUs[50]).toBeLessThan(1000);
});

describe("every protocol passes", () => {
  test.each(["h1", "h1s", "h2c", "h2"] as const)("%s", async (protocol) => {
    const server = await createFakeai({ protocol: `${protocol}:0`, ttft: 5, itl: 2, outputTokens: 20 });
    const url = new URL(server.urls[protocol]!);
    const proxy = await proxyTo(Number(url.port), { rtt: 10, jitter: 1, stall: "5%,5ms" });
    url.port = String(proxy.port);
    const dispatcherTo = (origin: string) =>
      protocol === "h2c"
        ? new H2CClient(origin)
        : new Agent({
            allowH2: protocol === "h2",
            connections: 2,
            pipelining: protocol === "h2" ? 10 : 1,
            connect: { rejectUnauthorized: false },
          });
    const dispatchers = [dispatcherTo(url.origin), dispatcherTo(server.urls[protocol]!)] as const;
    const ask = async (seed: number, base: string, dispatcher: Agent | H2CClient): Promise<string> => {
      const response = await undiciFetch(new URL("/v1/chat/completions", base), {
        method: "POST",
        headers: { "x-fakeai-seed": String(seed) },
        body: JSON.stringify({ model: "any", stream: true, messages: [{ role: "user", content: "Hello" }] }),
        dispatcher,
      });
      expect(response.status).toBe(200);
      return withoutEmptyLines(await response.text());
    };
    const through = await Promise.all(Array.from({ length: 10 }, (_, seed) => ask(seed, url.href, dispatchers[0])));
    const direct = await Promise.all(Array.from({ length: 10 }, (_, seed) => ask(seed, server.urls[protocol]!, dispatchers[1])));
    expect(through).toEqual(direct);
    expect(through[0]).toMatch(/data: \[DONE\]\n\n$/);
    expect(proxy.stats().connections).toBeGreaterThan(0);
    expect(proxy.stats().connections).toBeLessThanOrEqual(2);
    await Promise.all(dispatchers.map((dispatcher) => dispatcher.close()));
    await proxy.close();
    await server.close();
  });
});

describe("fakeai proxy", () => {
  test("says where it listens, and at the end what it did", async () => {
    const target = await echoing();
    const running = runCli(["proxy", "--to", `127.0.0.1:${target.port}`, "--rtt", "10", "--stall-down", "100%,1ms"]);
    const ready = await running.firstLine;
    const port = /^proxy 127\.0\.0\.1:(\d+) {2}to 127\.0\.0\.1:\d+ {2}rtt 10, stall down 100%,1ms$/.exec(ready)![1];
    expect((await exchange(Number(port), Buffer.from("hello"))).received.toString()).toBe("hello");
    running.child.kill("SIGTERM");
    const { code, stdout, stderr } = await running.ended;
    expect(stderr).toBe("");
    expect(code).toBe(0);
    expect(stdout).toMatch(/connections 1, 0 cut\nup {10}5 bytes, 0 stalls\ndown {8}5 bytes, 1 stalls\nheld .*\ncpu .* s\n$/);
    target.close();
  });

  test("--json, SIGINT, with connections open", async () => {
    const target = await echoing();
    const running = runCli(["proxy", "--json", "--listen", "127.0.0.1:0", "--to", `http://127.0.0.1:${target.port}/v1`]);
    const { port } = JSON.parse(await running.firstLine) as { port: number };
    const socket = connect({ port, host: "127.0.0.1" });
    socket.on("error", () => {});
    await new Promise((resolve) => {
      socket.write("x");
      socket.once("data", resolve);
    });
    running.child.kill("SIGINT");
    const { code, stdout } = await running.ended;
    expect(code).toBe(0);
    const stats = JSON.parse(stdout.trim().split("\n")[1]!) as Record<string, unknown>;
    expect(stats).toMatchObject({ connections: 1, openConnections: 1, cuts: 0, up: { bytes: 1 } });
    expect(stats["cpuUs"]).toBeGreaterThan(1000);
    socket.destroy();
    target.close();
  });

  test.each([
    [[], /^fakeai: --to: name the server .*\n$/],
    [["--to", "nowhere"], /^fakeai: --to: "nowhere" has no port .*\n$/],
    [["--to", "http://"], /^fakeai: --to: "http:\/\/" is not an address .*\n$/],
    [["--to", "127.0.0.1:1", "--listen", "99999"], /^fakeai: --listen: "99999" is neither .*\n$/],
    [["--to", "127.0.0.1:1", "--rtt", "fast"], /^fakeai: --rtt: .*\n$/],
    [["--to", "127.0.0.1:1", "--stall-up", "1%"], /^fakeai: --stall-up: .*\n$/],
    [["--to", "127.0.0.1:1", "--seed", "x"], /^fakeai: --seed: "x" is not a whole number from 0 .*\n$/],
    [["--to", "127.0.0.1:1", "--speed", "x"], /^fakeai: unknown option --speed.*\n$/],
    [["--to", "127.0.0.1:1", "--cut", "banana"], /^fakeai: --cut: cannot read "banana" \(for example 100kb, 5s, .*\)\n$/],
    [["--to", "127.0.0.1:1", "--cut", "100kb,boom"], /^fakeai: --cut: "boom" is neither rst nor fin \(.*\)\n$/],
  ])("%j is wrong usage", async (args, message) => {
    const { code, stderr, stdout } = await runCli(["proxy", ...args]).ended;
    expect(stderr).toMatch(message);
    expect(code).toBe(2);
    expect(stdout).toBe("");
  });

  test("a port that is taken", async () => {
    const target = await echoing();
    const { code, stderr } = await runCli(["proxy", "--to", "127.0.0.1:1", "--listen", String(target.port)]).ended;
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^fakeai: listen EADDRINUSE.*\(the port is taken; choose another with --listen <port>, or --listen 0 for a free one\)\n$/,
    );
    target.close();
  });
});
