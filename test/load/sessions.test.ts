/** Sessions of agents: what a turn says depends on the answers before it, and a turn that fails ends its session. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createServer, type FakeAiServer } from "../../src/index.ts";
import { Conversations, OutputReader, type SessionTurn } from "../../src/load/conversations.ts";
import { generate } from "../../src/load/generator.ts";
import type { LoadJob, LoadReport, PlannedRequest } from "../../src/load/job.ts";
import { takesEverything, type Wording } from "../../src/runner/plan/body.ts";
import { requestsOf } from "../../src/runner/plan/requests.ts";
import { defaultWorkload, type Workload } from "../../src/runner/plan/scenario.ts";
import { callsTools, toolsOf } from "../../src/runner/plan/sessions.ts";
import { sessionsOf } from "../../src/results/sessions.ts";
import { jobOn } from "../support/loads.ts";

let server: FakeAiServer;
beforeAll(async () => {
  server = await createServer({ protocol: "h1", ttft: 2, itl: 0.2, stamps: true });
});
afterAll(() => server.close(0));

const wording: Wording = { model: "m", own: true, accepted: takesEverything, body: null, oneBody: false, arm: "a" };

function workload(path: string, session: NonNullable<Workload["session"]>, requests = 3): Workload {
  return { ...defaultWorkload, path, session, requests, inputTokens: 40, outputTokens: 16, streams: 2 };
}

async function run(load: Workload, history: "full" | "previous", more: Partial<LoadJob> = {}): Promise<LoadReport> {
  const job = jobOn(server, "h1", null, {
    requests: requestsOf(
      load,
      {
        ...wording,
        history,
        accepted: { lengthParameter: load.path.endsWith("responses") ? "max_output_tokens" : "max_tokens", refused: new Set() },
      },
      7,
      0,
      null,
    ),
    ...(callsTools(load.session!) ? { tools: toolsOf(load, 7) } : {}),
    connections: 4,
    streams: 4,
    slots: 2,
    detail: true,
    ...more,
  });
  const onPath = { ...job, endpoint: { ...job.endpoint, path: load.path } };
  return generate(onPath, { signal: new AbortController().signal, onPhase: async () => {}, onProgress() {} });
}

const agents = { turns: 2, calls: 2, addedTokens: 30, agents: { count: 2, calls: 1 } };
/** Of the agent itself: two calls and an answer for each question. Of each sub-agent: a call and an answer. */
const requestsOfSession = 2 * (3 + 2 * 2);

describe.each([
  ["/v1/chat/completions", "full"],
  ["/v1/responses", "full"],
  ["/v1/responses", "previous"],
] as const)("%s, history %s", (path, history) => {
  test("calls, results, sub-agents and answers go through to their ends", async () => {
    const report = await run(workload(path, agents), history);
    expect(report.requests).toMatchObject({ sent: 3 * requestsOfSession, completed: 3 * requestsOfSession, failed: 0, errors: {} });
    expect(report.invalid.filter((reason) => !reason.startsWith("client-limited"))).toEqual([]);
    const { sessions, metrics } = report;
    expect(sessions).toMatchObject({ started: 3, completed: 3, failed: 0 });
    // The first two places have sub-agents' turns as well.
    expect(sessions!.turns.answers).toEqual([3 + 12, 3 + 12, 3, 3, 3, 3]);
    expect(sessions!.turns.ttftMeanUs.every((us) => us! > 1000)).toBe(true);
    // Prompts grow whichever way the history is told; the bytes of a turn do so where it is sent.
    const [, , third, , , last] = sessions!.turns.inputTokensMean;
    expect(last!).toBeGreaterThan(third! + 60);
    const sent = sessions!.turns.bytesSentMean as number[];
    expect(sent[5]! > sent[2]! * 1.2).toBe(history === "full");
    expect(metrics.sessionE2el!.count).toBe(3);
    expect(metrics.ttftFirst!.count).toBe(3 + 12);
    expect(metrics.cachedShare).not.toBeUndefined();
    expect(report.work!.finishReasons).not.toHaveProperty("none");
  });
});

test("both ways of telling the history are the same conversation to the server", async () => {
  const [full, previous] = await Promise.all([
    run(workload("/v1/responses", agents), "full"),
    run(workload("/v1/responses", agents), "previous"),
  ]);
  const [one, other] = [full, previous].map(({ sessions }) => sessions!.turns.inputTokensMean as number[]);
  // Items of calls have names and ids, which a server that estimates counts where it is sent them.
  for (const [place, tokens] of one!.entries()) expect(Math.abs(other![place]! / tokens - 1)).toBeLessThan(0.06);
  expect(previous.work!.contentBytes).toBe(full.work!.contentBytes);
});

test("a turn that fails ends its session: it is counted, and nothing of it is sent any more", async () => {
  const load = workload("/v1/chat/completions", { turns: 4 }, 2);
  const planned = requestsOf(load, wording, 7, 0, null);
  const requests = planned.with(1, Object.assign({}, planned[1], { body: '{"model":1}' }));
  const report = await run(load, "full", { requests });
  expect(report.requests).toMatchObject({ sent: 8, completed: 5, failed: 3, errors: { "status 400": 1, "session failed": 2 } });
  expect(report.sessions).toMatchObject({ started: 2, completed: 1, failed: 1 });
  expect(report.metrics.sessionE2el!.count).toBe(1);
});

test("pauses are kept, and belong to the session's latency and not to its wait", async () => {
  const report = await run(workload("/v1/chat/completions", { turns: 3, thinkTime: 60 }, 1), "full");
  expect(report.metrics.sessionE2el!.mean).toBeGreaterThan(120_000);
  expect(report.metrics.sessionWait!.mean).toBeLessThan(report.metrics.sessionE2el!.mean - 120_000);
});

test("the plan is the seed's: the same on every arm, another for another seed, and whole sessions for shards", () => {
  const load = workload("/v1/responses", { turns: "uniform(1,5)", calls: "uniform(0,4)", thinkTime: "exponential(100)" }, 8);
  const plan = (more: Partial<Wording> = {}, seed = 7): PlannedRequest[] => requestsOf(load, { ...wording, ...more }, seed, 0, null);
  expect(plan({ arm: "b" })).toEqual(plan());
  expect(plan({}, 8)).not.toEqual(plan());
  const shards = [1, 2, 3].flatMap((shard) => requestsOf(load, wording, 7, 0, null, 0, { share: { shard, of: 3 }, most: Infinity }));
  expect(shards.map(({ turn }) => JSON.stringify(turn)).toSorted()).toEqual(
    plan()
      .map(({ turn }) => JSON.stringify(turn))
      .toSorted(),
  );
  for (const { turn, joins = [] } of plan()) expect([turn!.history, ...joins]).toEqual(["full", ...joins]);
  expect(() => requestsOf({ ...load, path: "/v1/chat/completions" }, { ...wording, history: "previous" }, 7, 0, null)).toThrow(
    /--history previous is a thing of the Responses API/,
  );
});

test("a conversation that ends is forgotten, and a result without a call is the user's", () => {
  const conversations = new Conversations(undefined);
  const turn = (more: Partial<SessionTurn>): SessionTurn => ({
    session: 0,
    agent: 0,
    turn: 0,
    isLast: false,
    history: "full",
    form: "chat",
    adds: [{ as: "result", pieces: [{ seed: 1, tokens: 1 }] }],
    ...more,
  });
  const first = conversations.bodyOf({ body: '{"model":"m"}', turn: turn({}) });
  expect(JSON.parse(first)).toMatchObject({ messages: [{ role: "user" }] });
  const reader = new OutputReader("chat");
  for (const delta of [
    { content: "a" },
    { tool_calls: [{ index: 0, id: "c", function: { name: "f", arguments: "{" } }] },
    { tool_calls: [{ index: 0, function: { arguments: "}" } }] },
  ])
    reader.push(JSON.stringify({ choices: [{ delta }] }), false);
  conversations.onAnswer(turn({}), reader.output());
  const second = JSON.parse(conversations.bodyOf({ body: '{"model":"m"}', turn: turn({ turn: 1, isLast: true }) })) as {
    messages: object[];
  };
  expect(second.messages.slice(1)).toMatchObject([
    { role: "assistant", content: "a", tool_calls: [{ id: "c", function: { name: "f", arguments: "{}" } }] },
    { role: "tool", tool_call_id: "c" },
  ]);
  conversations.onAnswer(turn({ isLast: true }), reader.output());
  expect(conversations.open).toBe(0);
});

test("sessions of shards add up: means are weighed by their answers, and what one does not know is not known of all", () => {
  const one = (answers: number, mean: number, cached: number | null) => ({
    sessions: {
      started: 1,
      completed: 1,
      failed: 0,
      turns: {
        answers: [answers],
        ttftMeanUs: [mean],
        e2elMeanUs: [mean],
        bytesSentMean: [mean],
        bytesReceivedMean: [mean],
        inputTokensMean: [mean],
        cachedTokensMean: [cached],
      },
    },
  });
  const { turns, started } = sessionsOf([one(1, 10, 4), one(3, 20, null)]).sessions!;
  expect(started).toBe(2);
  expect(turns).toMatchObject({ answers: [4], ttftMeanUs: [17.5], cachedTokensMean: [null] });
});
