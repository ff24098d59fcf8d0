/** Faults of a gateway that `fakeai proxy --plant` puts in: exactly those, at any cut of the bytes. */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { seedOf } from "../../src/core/random/random.ts";
import { createServer, type FakeAiServer } from "../../src/index.ts";
import { noPlant, parsePlant, type Plant } from "../../src/network/plant.ts";
import { startProxy } from "../../src/network/proxy.ts";
import { Tamper } from "../../src/network/tamper.ts";
import { runCli } from "../support/process.ts";
import { eventually } from "../support/wait.ts";

const events = Array.from({ length: 100 }, (_, index) => `data: {"n":${index}}\n\n`);
const chunk = (text: string): string => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
const streamHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const stream = `${streamHead}${events.map(chunk).join("")}0\r\n\r\n`;
const counted = "HTTP/1.1 404 Not Found\r\ncontent-length: 11\r\n\r\ndata: x\n\n..";
const plain = `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${chunk("{}")}0\r\n\r\n`;

/** What goes on of some bytes that come in pieces, and in which writes. */
function through(plant: Partial<Plant>, bytes: Buffer, cuts: readonly number[] = []): { text: string; writes: string[]; isHttp: boolean } {
  const writes: string[] = [];
  const tamper = new Tamper({ ...noPlant, ...plant }, seedOf(1), (piece) => writes.push(piece.toString("latin1")));
  const places = [0, ...cuts.filter((at) => at < bytes.length).toSorted((a, b) => a - b), bytes.length];
  let isHttp = true;
  for (const [index, at] of places.slice(1).entries()) isHttp &&= tamper.take(bytes.subarray(places[index], at));
  tamper.end();
  return { text: writes.join(""), writes, isHttp };
}

const numbersIn = (text: string): number[] => [...text.matchAll(/"n":(\d+)/g)].map(([, digits]) => Number(digits));

describe("events of a chunked stream", () => {
  const order = events.map((_, index) => index);

  test.each<[string, Partial<Plant>]>([
    ["lose", { lose: 0.05 }],
    ["repeat", { repeat: 0.05 }],
    ["reorder", { reorder: 0.05 }],
    ["buffer", { buffer: 4 }],
  ])("%s: the same at any cut of the bytes, and the answers beside it are untouched", (_, plant) => {
    const bytes = Buffer.from(`${counted}${stream}${plain}${counted}`);
    const whole = through(plant, bytes);
    expect(whole.isHttp).toBe(true);
    expect(whole.text.startsWith(`${counted}${streamHead}`)).toBe(true);
    expect(whole.text.endsWith(`0\r\n\r\n${plain}${counted}`)).toBe(true);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: bytes.length - 1 }), { maxLength: 40 }), (cuts) => {
        expect(through(plant, bytes, cuts).text).toBe(whole.text);
      }),
      { numRuns: 50 },
    );
  });

  test("are what was asked for: some are lost, sent twice, or behind the next one", () => {
    const lost = numbersIn(through({ lose: 0.05 }, Buffer.from(stream)).text);
    expect(lost.length).toBeLessThan(100);
    expect(lost.length).toBeGreaterThan(85);
    expect(lost).toEqual(lost.toSorted((a, b) => a - b));
    const repeated = numbersIn(through({ repeat: 0.05 }, Buffer.from(stream)).text);
    expect(repeated.length).toBeGreaterThan(100);
    expect([...new Set(repeated)]).toEqual(order);
    const reordered = numbersIn(through({ reorder: 0.05 }, Buffer.from(stream)).text);
    expect(reordered).not.toEqual(order);
    expect(reordered.toSorted((a, b) => a - b)).toEqual(order);
    expect(numbersIn(through({ buffer: 4 }, Buffer.from(stream)).text)).toEqual(order);
  });

  test("buffer: four events leave in one write, the rest with the end", () => {
    const { writes } = through({ buffer: 4 }, Buffer.from(`${streamHead}${events.slice(0, 10).map(chunk).join("")}0\r\n\r\n`));
    expect(writes.map((write) => numbersIn(write).length)).toEqual([0, 4, 4, 2, 0]);
  });

  test("an answer that breaks off keeps what was held; what is not HTTP/1.1 is said to be not", () => {
    const { text } = through({ buffer: 4 }, Buffer.from(`${streamHead}${events.slice(0, 6).map(chunk).join("")}`));
    expect(numbersIn(text)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(through({ lose: 1 }, Buffer.from("\0\0\0\x04\0\0\0\0\0")).isHttp).toBe(false);
  });
});

test.each([
  ["lose=1%,buffer=4", { ...noPlant, lose: 0.01, buffer: 4 }],
  ["delay=0.5ms", { ...noPlant, delayUs: 500 }],
  ["swallow-abort", { ...noPlant, swallowAbort: true }],
])("%s is read", (text, plant) => {
  expect(parsePlant(text, "--plant")).toEqual(plant);
});

test.each([
  ["lose=0%", /^--plant: "lose=0%" is no share/],
  ["repeat=", /^--plant: "repeat=" is no share/],
  ["buffer=4=5", /^--plant: "buffer=4=5" needs 2 to 1000 events/],
  ["lose=1%,buffer=4,lose=2%", /^--plant: "lose" stands there twice/],
  ["swallow-abort,swallow-abort", /^--plant: "swallow-abort" stands there twice/],
  ["buffer=1", /^--plant: "buffer=1" needs 2 to 1000 events/],
  ["delay=uniform(0,1)", /^--plant: /],
])("%s is wrong usage", (text, message) => {
  expect(() => parsePlant(text, "--plant")).toThrow(message);
});

test("a server whose bytes cannot be read is refused", async () => {
  const { code, stderr } = await runCli(["proxy", "--to", "https://127.0.0.1:9", "--plant", "buffer=4"]).ended;
  expect(stderr).toBe("fakeai: --plant reads HTTP/1.1 in cleartext: --to an https: server leaves nothing to read\n");
  expect(code).toBe(2);
});

test("wrong usage on the command line is one line", async () => {
  const { code, stderr } = await runCli(["proxy", "--to", "127.0.0.1:9", "--plant", "drop=1"]).ended;
  expect(stderr).toMatch(/^fakeai: --plant: "drop=1" is not one of delay=, .*\n$/);
  expect(code).toBe(2);
});

describe("a client that leaves", () => {
  let server: FakeAiServer;
  beforeAll(async () => {
    server = await createServer({ protocol: "h1:0", ttft: 0, itl: 20, outputTokens: 30 });
  });
  afterAll(() => server.close(0));

  const aborted = async (): Promise<number> => {
    const text = await (await fetch(`${server.urls.h1!}/metrics`)).text();
    return Number(/^fakeai_aborted_streams_total (\d+)/m.exec(text)![1]);
  };

  test.each([
    [noPlant, 1],
    [{ ...noPlant, swallowAbort: true }, 0],
  ])("%j: the server counts %i more aborted streams", async (plant, counted) => {
    const idle = { latencyUs: 0, jitterUs: null, bandwidth: null, stall: null, cut: null, loss: 0 };
    const target = { host: "127.0.0.1", port: Number(new URL(server.urls.h1!).port) };
    const proxy = await startProxy({ target, impairment: { up: idle, down: idle }, seed: 1, plant });
    const before = await aborted();
    const leaving = new AbortController();
    const answer = await fetch(`http://127.0.0.1:${proxy.port}/v1/chat/completions`, {
      method: "POST",
      body: JSON.stringify({ model: "m", stream: true, messages: [{ role: "user", content: "hello" }] }),
      signal: leaving.signal,
    });
    await answer.body!.getReader().read();
    leaving.abort();
    // The answer takes 600 ms: then it has ended, or was aborted.
    const active = async (): Promise<boolean> => {
      const text = await (await fetch(`${server.urls.h1!}/metrics`)).text();
      return /^vllm:num_requests_running\{[^}]*\} [1-9]/m.test(text);
    };
    await eventually(async () => !(await active()), "no answer is under way");
    expect((await aborted()) - before).toBe(counted);
    await proxy.close();
  });
});
