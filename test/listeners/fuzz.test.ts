/** The search for requests that hold up others, in its short form. The long one: `npm run measure -- fuzz`. */
import { once } from "node:events";
import { connect } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { reproduce } from "../../bench/support/reproductions.ts";
import { chat } from "../support/chat.ts";
import { eventually } from "../support/wait.ts";
import { corpus } from "./fuzz/corpus.ts";
import { CpuLog } from "./fuzz/cpu.ts";
import { type Case, caseOf, longForm, turns } from "./fuzz/requests.ts";
import { numbersFor, type Search, search } from "./fuzz/search.ts";
import { engineNames } from "./fuzz/target.ts";
import { start, targets } from "../support/targets.ts";
import { endpoints, headerNames, memberNames, routeMakers } from "./fuzz/surface.ts";

const uwsRuns = targets.some(({ engine }) => engine === "uws");
const plan = { seed: 1, cases: longForm, maxBodyBytes: 100_000 };
const text = (given: Case): string => JSON.stringify(given.kind === "bytes" ? given.bytes("h2") : given);

describe("what is searched", () => {
  test("every function of src that makes routes gives its endpoints", () => {
    expect(routeMakers()).toEqual([
      "adminRequestsRoutes",
      "administrationRoutes",
      "azureNames",
      "dashboardRoutes",
      "geminiMethods",
      "geminiModels",
      "healthRoutes",
      "metricsRoute",
      "providerRoutes",
    ]);
    expect(endpoints()).toContainEqual({ method: "POST", path: "/v1/chat/completions" });
  });

  test("the long form asks each endpoint 200 times and more", () => {
    const counts = new Map<string, number>();
    for (let number = 0; number < longForm; number++) {
      const endpoint = turns(number);
      counts.set(endpoint, (counts.get(endpoint) ?? 0) + 1);
    }
    const asked = endpoints().map(({ method, path }) => `${method} ${path}`);
    expect([...counts.keys()].toSorted()).toEqual([...new Set([...asked, "connections"])].toSorted());
    expect(Math.min(...counts.values())).toBeGreaterThanOrEqual(200);
    expect(longForm).toBeGreaterThanOrEqual(5000);
  });

  test("members and headers are read from the sources", () => {
    expect(memberNames()).toEqual(expect.arrayContaining(["messages", "tool_choice", "stop_sequences", "dimensions", "output_config"]));
    expect(headerNames()).toEqual(expect.arrayContaining(["x-fakeai-ttft", "x-fakeai-text", "x-fakeai-fault"]));
  });

  test("a case is the same whatever was made before it, and another seed makes others", () => {
    const numbers = Array.from({ length: 60 }, (_, index) => 5000 + index);
    const forward = numbers.map((number) => text(caseOf(plan, number)));
    const backward = numbers.toReversed().map((number) => text(caseOf(plan, number)));
    expect(backward.toReversed()).toEqual(forward);
    expect(numbers.map((number) => text(caseOf({ ...plan, seed: 2 }, number)))).not.toEqual(forward);
  });
});

/** More than in the long form, which wants a machine of its own. */
const bounds = { delayMs: 200, rssBytes: 64e6 };
const failuresOf = ({ findings }: Search): string[] =>
  findings
    .filter(({ failures }) => failures.length > 0)
    .map(({ number, failures, described }) => `#${number}: ${failures.join("; ")}: ${described}`);

/** Generated cases for each engine; each has others. */
const share = 60;
/** Over TLS the engine's code above the records is that of its cleartext twin, which asks the whole share; a WebSocket has one endpoint. */
const smallShare = 15;
const engines = engineNames.filter(({ needsUws }) => uwsRuns || !needsUws);

describe("the short form", () => {
  test.each(engines)("$name: no request holds up others", { timeout: 120_000 }, async (engine) => {
    const from = corpus.length + engineNames.indexOf(engine) * share;
    const isWhole = engine.protocol === "h1" || engine.protocol === "h2c";
    const numbers = [...(isWhole ? corpus.keys() : []), ...numbersFor(engine, from, isWhole ? share : smallShare)];
    const startedMs = performance.now();
    const found = await search(engine, { ...plan, bounds, numbers, worst: 0 });
    console.log(
      `${engine.name}, seed ${plan.seed}: ${found.findings.length} cases in ${((performance.now() - startedMs) / 1000).toFixed(1)} s`,
    );
    expect(failuresOf(found)).toEqual([]);
  });
});

describe.each(targets.filter(({ protocol }) => protocol === "h1"))("on $name", (target) => {
  test("a request behind one that closes the connection leaves nothing behind", async () => {
    const started = await start(target);
    onTestFinished(() => started.stop());
    const body = JSON.stringify(chat({ stream: true }));
    const post = (more: string): string =>
      `POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n${more}Content-Length: ${body.length}\r\n\r\n${body}`;
    for (let round = 0; round < 5; round++) {
      const socket = connect(Number(new URL(started.origin).port), "127.0.0.1");
      socket.on("error", () => {});
      await once(socket, "connect");
      socket.write(post("Connection: close\r\n") + post(""));
      await once(socket.resume(), "close");
    }
    // On uWebSockets.js they stayed for 11 s, and its timer then ended the process.
    await eventually(
      () => started.server.stats().openConnections === 0 && started.server.stats().openStreams === 0,
      "nothing is left",
      3000,
    );
  });

  test("requests that wait for an answer before theirs are forgotten with their connection", async () => {
    const started = await start(target);
    onTestFinished(() => started.stop());
    const get = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    const socket = connect(Number(new URL(started.origin).port), "127.0.0.1");
    socket.on("error", () => {});
    await once(socket, "connect");
    socket.write(`${get}${get}${get}HEAD /metricsUpgrade: a\r\n\r\n`);
    await once(socket.resume(), "close");
    await eventually(() => started.server.stats().openStreams === 0, "no stream is counted", 3000);
  });
});

test("of a wait counts what the serving thread ran in it", () => {
  const log = new CpuLog();
  for (const [atMs, usedMs] of [[0, 5], [10, 6], [20, 26]] as const) log.add(atMs, usedMs); // oxfmt-ignore
  expect([-1, 0, 9, 10, 15, 20, 99].map((ms) => log.at(ms))).toEqual([5, 5, 5, 6, 6, 26, 26]);
  log.begin();
  expect(log.at(0)).toBe(26);
});

test("a known request is told with its answer and what it did", { timeout: 60_000 }, async () => {
  const { rows } = await reproduce(
    engineNames.find(({ name }) => name === "h1-node")!,
    1,
  );
  const [nothing, ...known] = rows;
  expect(nothing).toMatchObject({ bodyBytes: 0, status: 200, message: null, faults: [] });
  expect(known.map(({ status, faults }) => [status, faults])).toEqual(
    [200, 400, 400, 400, 400, 400, 200, 400].map((status) => [status, []]),
  );
  expect(known[5]!.message).toContain("it takes more than 8000 pieces of patterns read");
  expect(known[6]!.answerBytes).toBeGreaterThan(50e6);
  for (const { healthMs, delayMs, rssBytes } of known) {
    expect(healthMs).toBeGreaterThan(0);
    expect(delayMs).toBeLessThan(bounds.delayMs);
    expect(rssBytes).toBeLessThan(bounds.rssBytes);
  }
});

test("what a request must not do is seen", { timeout: 120_000 }, async () => {
  const ways = ["none", "slow", "large", "wrong", "injected", "dropped", "dead"];
  const make = (number: number): Case => ({
    kind: "request",
    category: "planted",
    endpoint: "",
    method: "GET",
    target: "/v1/models",
    headers: [["x-planted", ways[number]!]],
    body: null,
    asksForTrouble: false,
  });
  const preload = new URL("./fuzz/planted.mjs", import.meta.url).href;
  const engine = engineNames.find(({ name }) => name === "h1-node")!;
  const found = await search(engine, { ...plan, bounds, numbers: [...ways.keys()], make, preload, worst: 0 });
  expect(Object.fromEntries(found.findings.map(({ number, failures }) => [ways[number], failures.join("; ")]))).toEqual({
    none: "",
    slow: expect.stringMatching(/^a neighbour waited \d+ ms$/),
    large: expect.stringMatching(/grew by 1\d\d MB$/),
    wrong: expect.stringMatching(/^status 500/),
    injected: "a header was injected",
    dropped: "the connection was closed without an answer",
    dead: expect.stringMatching(/^the server died: exit 9/),
  });
});
