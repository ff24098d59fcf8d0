/** The short form of `npm run measure -- soak`: every stream of a mixed load comes as planned, both ends agree, nothing is left. */
import { expect, test } from "vitest";
import { itlMs, planOf } from "../../bench/soak/plan.ts";
import { type Account, soak, wrongOfAccount } from "../../bench/soak/soak.ts";

const options = { seed: 1, mostTokens: 250 };
const short = { warmupMs: 1500, seed: 3, mostTokens: 60, pinned: false };

test("the mixture is what it is said to be, and the same again", () => {
  const count = 20_000;
  const kinds: Record<string, number> = {};
  for (let index = 0; index < count; index++) {
    const { kind } = planOf("h2", index, options);
    kinds[kind] = (kinds[kind] ?? 0) + 1 / count;
  }
  expect(kinds["whole"]).toBeCloseTo(0.8, 1);
  expect(kinds["abort"]).toBeCloseTo(0.1, 1.5);
  expect(kinds["stall"]).toBeCloseTo(0.05, 1.5);
  expect(kinds["fault"]).toBeCloseTo(0.05, 1.5);
  const { wrong: _wrong, ...plan } = planOf("h1", 7, options);
  expect(planOf("h1", 7, options)).toMatchObject(plan);
});

test("an outcome that was not planned is told", () => {
  const plan = Array.from({ length: 100 }, (_, index) => planOf("h1", index, options)).find(({ kind }) => kind === "whole")!;
  const outcome = { status: 200, fault: null, events: plan.tokens, finished: true, failed: false, how: "end" };
  expect(plan.wrong(outcome)).toBeNull();
  expect(plan.wrong({ ...outcome, events: 3, how: "reset" })).toMatch(/^h1 whole : events 3, not \d+; how reset, not end$/);
});

test("60 streams on four protocols, HTTP/2 on our own engine, aborted, stalled and faulted", { timeout: 90_000 }, async () => {
  const result = await soak({
    ...short,
    streams: 60,
    durationMs: 6000,
    windowMs: 6000,
    workers: 0,
    h2Engine: "own",
    killEveryMs: 0,
    pauseMs: 0,
  });
  expect(result.accounts).toEqual([]);
  const [{ tally, heldTokens }] = result.servers as [Account];
  const { planned, faults } = tally;
  expect(Math.min(...Object.values(planned))).toBeGreaterThan(0);
  expect(Object.keys(faults).length).toBeGreaterThan(0);
  expect(heldTokens).toBeGreaterThan(0);
  // A pause of a busy machine shifts single tokens, not the mean of all.
  expect(Object.keys(result.itlError)).toHaveLength(4);
  for (const error of Object.values(result.itlError)) expect(Math.abs(error) * itlMs).toBeLessThan(4);
});

test.runIf(process.platform === "linux")(
  "two servers with workers, of which some are killed and stopped: only what lived there dies",
  { timeout: 90_000 },
  async () => {
    const times = { warmupMs: 1000, durationMs: 7000, windowMs: 7000 };
    const result = await soak({ ...short, ...times, streams: 63, workers: 2, h2Engine: "node", killEveryMs: 2200, pauseMs: 300 });
    expect(result.accounts).toEqual([]);
    const deaths = result.servers.flatMap((server) => server.deaths);
    expect(deaths.map(({ server, stoppedMs }) => [server, stoppedMs])).toEqual([
      ["uws and node", 0],
      ["uws and node", 300],
      ["node and own", 0],
    ]);
    expect(deaths.reduce((sum, { died }) => sum + died, 0)).toBeGreaterThan(0);
    expect(result.servers.flatMap(({ pauses }) => pauses)).toHaveLength(6);
  },
);

test("what no dead worker explains is told", () => {
  const tally = {
    requests: 100,
    planned: { whole: 90, abort: 10, stall: 0, fault: 0 },
    asPlanned: { whole: 84, abort: 9, stall: 0, fault: 0 },
    faults: {},
    lost: 0,
    died: 7,
    diedUnanswered: 2,
    resent: 0,
    connections: 20,
    aborts: 9,
    refusals: 0,
    wrong: 0,
    strays: {},
    details: [],
  };
  const held = { heapBytes: null, rssBytes: 0, processes: [] };
  const account: Account = {
    name: "node",
    lanes: ["h2"],
    tally,
    statuses: { 200: 98 },
    finished: 82,
    aborted: 9,
    heldTokens: 0,
    restarts: 1,
    deaths: [{ atS: 1, server: "node", pid: 1, stoppedMs: 0, connections: 3, unaccepted: 0, underWay: 7, died: 7, unopened: 0 }],
    pauses: [],
    untold: { answered: 3, finished: 2, aborted: 0 },
    abortsUnseen: 0,
    before: held,
    after: held,
  };
  expect(wrongOfAccount(account)).toEqual([]);
  expect(wrongOfAccount({ ...account, statuses: { 200: 95 } })).toEqual([]);
  expect(wrongOfAccount({ ...account, finished: 81 })).toEqual([
    "node: the server counts 81 finished, the clients 84 (up to 2 less and 7 more are explained)",
    "node: the server counts 90 ended, the clients 93 (up to 2 less and 7 more are explained)",
  ]);
  expect(wrongOfAccount({ ...account, restarts: 0 })).toEqual(["node: 1 workers were killed, 0 were started again"]);
  const stray = { ...tally, asPlanned: { ...tally.asPlanned, whole: 83 } };
  expect(wrongOfAccount({ ...account, tally: stray })).toEqual(["1 of 100 streams did not come as planned"]);
});
