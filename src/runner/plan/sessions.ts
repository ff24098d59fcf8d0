/**
 * Sessions of agents: a user asks, the agent calls tools, perhaps sends sub-agents out, answers, and is asked again. Everything
 * but what the answers say is settled here by the seed: the same seed gives the same sessions on every protocol and shard.
 */
import { countUnits, type Distribution, latencyUnits } from "../../core/random/distribution.ts";
import { Random, seedOf } from "../../core/random/random.ts";
import { UsageError } from "../../base/usage-error.ts";
import { constantArrivalsUs, poissonArrivalsUs } from "../../load/arrivals.ts";
import type { Addition, History, SessionTurn } from "../../load/conversations.ts";
import type { PlannedRequest } from "../../load/job.ts";
import { type Piece, seedOfText, textOfPieces } from "../../load/prompts.ts";
import { distribution } from "../../settings/values.ts";
import type { TraceRequest } from "../../load/trace.ts";
import { beginning, inputTokensOf, type Prompt, seedOfCall, tokensOf, tracePrompt } from "./prompts.ts";
import { bodyOf, formOf, orderOf, takesEverything, type Wording } from "./body.ts";
import type { SessionSpec } from "./scenario-file.ts";
import type { Workload } from "./scenario.ts";

/** Most questions, and calls, that one session may have: a longer one is a mistake. */
const mostTurns = 1000;
/** The purpose of the random numbers that sessions are made of. */
const sessionPurpose = 101;
/** Tokens of a call at most: what its arguments take is the model's. */
const callTokens = 1024;
/** Tokens that each tool's definition takes, about. */
const toolTokens = 100;

/** What is drawn for sessions. */
interface Draws {
  readonly turns: Distribution;
  readonly calls: Distribution;
  readonly agentCalls: Distribution;
  readonly thinkUs: Distribution;
  readonly toolUs: Distribution;
}

const drawn = new Map<string, Draws>();

/** The distributions of a session's spec, read once. Throws UsageError. */
function drawsOf(spec: SessionSpec): Draws {
  const key = JSON.stringify(spec);
  let draws = drawn.get(key);
  if (draws === undefined) {
    const count = (name: string, given: number | string): Distribution => distribution(given, countUnits(name, mostTurns));
    const time = (name: string, given: number | string): Distribution => distribution(given, latencyUnits(name));
    draws = {
      turns: count("--turns", spec.turns),
      calls: count("--tool-calls", spec.calls ?? 0),
      agentCalls: count("session.agents.calls", spec.agents?.calls ?? 0),
      thinkUs: time("--think-time", spec.thinkTime ?? 0),
      toolUs: time("--tool-time", spec.toolTime ?? 0),
    };
    drawn.set(key, draws);
  }
  return draws;
}

/** Checks a spec that flags or a file have made. Throws UsageError in one line. */
export function checkSession(spec: SessionSpec): void {
  const { turns } = drawsOf(spec);
  if (turns.constant !== null && !(Number.isInteger(turns.constant) && turns.constant >= 1))
    throw new UsageError(`--turns: ${spec.turns} is not a whole number from 1 to ${mostTurns}`);
}

/** Requests of one session that can be under way at once. */
export function atOnce({ agents }: SessionSpec): number {
  return Math.max(1, agents?.count ?? 1);
}

/** One request of a session, as far as the spec and the seed decide it. */
interface Step {
  readonly agent: number;
  readonly turn: number;
  readonly isLast: boolean;
  readonly adds: Addition["as"];
  readonly addedTokens: number;
  /** Whether the model is to call a tool, rather than to answer. */
  readonly calls: boolean;
  /** Places in the session of those that it waits for, the first of them the one whose end its pause counts from. */
  readonly after: readonly number[];
  readonly delayUs: number;
}

/** The steps of a session, in an order in which each follows those that it waits for. */
function stepsOf(spec: SessionSpec, inputTokens: number | string, seed: number): Step[] {
  const { turns, calls, agentCalls, thinkUs, toolUs } = drawsOf(spec);
  const random = new Random(seedOf(seed), sessionPurpose);
  const whole = (from: Distribution, least: number): number => Math.max(least, Math.min(mostTurns, Math.round(from.sample(random))));
  const steps: Step[] = [];
  const tokens = (given: number | string): number => inputTokensOf(given, seedOfText(`${seed} ${steps.length}`));
  const add = (step: Omit<Step, "addedTokens">, length: number | string): number =>
    steps.push({ ...step, addedTokens: tokens(length) }) - 1;
  const added = spec.addedTokens ?? 64;
  const questions = whole(turns, 1);
  let agents = 0;
  let last: number | null = null;
  let turn = 0;
  for (let question = 0; question < questions; question++) {
    const count = spec.agents?.count ?? 0;
    const own = whole(calls, count > 0 ? 1 : 0);
    for (let call = 0; call < own; call++)
      last = add(
        {
          agent: 0,
          turn: turn++,
          isLast: false,
          adds: call === 0 ? "user" : "result",
          calls: true,
          after: last === null ? [] : [last],
          delayUs: Math.round((call === 0 ? thinkUs : toolUs).sample(random)),
        },
        turn === 1 ? inputTokens : added,
      );
    /** Ends that the answer waits for: those of the sub-agents that the last call has sent out. */
    const ends: number[] = [];
    for (let one = 0; one < count; one++) {
      const agent = ++agents;
      const theirs = whole(agentCalls, 0);
      let before = last!;
      for (let step = 0; step <= theirs; step++)
        before = add(
          {
            agent,
            turn: step,
            isLast: step === theirs,
            adds: step === 0 ? "user" : "result",
            calls: step < theirs,
            after: [before],
            delayUs: step === 0 ? 0 : Math.round(toolUs.sample(random)),
          },
          step === 0 ? (spec.agents!.inputTokens ?? added) : added,
        );
      ends.push(before);
    }
    const isFirst = last === null || own === 0;
    last = add(
      {
        agent: 0,
        turn: turn++,
        isLast: question === questions - 1,
        adds: isFirst ? "user" : "result",
        calls: false,
        after: [...ends, ...(last === null ? [] : [last])],
        delayUs: count > 0 ? 0 : Math.round((isFirst ? thinkUs : toolUs).sample(random)),
      },
      turn === 1 ? inputTokens : added,
    );
  }
  // The first has nothing to pause after.
  return steps;
}

function stepsOfSession({ session, inputTokens }: Workload, seed: number, round: number, index: number): Step[] {
  return stepsOf(session!, inputTokens, seedOfCall(seed, round + 1, index));
}

/** Tools as a server takes them: each with a text and one parameter. JSON. */
export function toolsOf({ session, path }: Workload, seed: number): string {
  const count = Math.max(1, Math.ceil((session?.toolTokens ?? toolTokens) / toolTokens));
  const tools = Array.from({ length: count }, (_, index) => {
    const described = {
      name: `tool_${index + 1}`,
      description: textOfPieces([{ seed: seedOfText(`${seed} tool ${index}`), tokens: toolTokens - 40 }]),
      parameters: { type: "object", properties: { query: { type: "string" } }, required: ["query"], additionalProperties: false },
    };
    return formOf(path) === "chat" ? { type: "function", function: described } : { type: "function", ...described, strict: false };
  });
  return JSON.stringify(tools);
}

/** Whether any turn calls a tool, so that all of them offer tools. */
export function callsTools({ calls, agents }: SessionSpec): boolean {
  return (calls ?? 0) !== 0 || agents !== undefined;
}

/** All requests of the sessions of a round, each session's together. `rate`: sessions per second of an open loop. */
export function sessionRequests(workload: Workload, wording: Wording, seed: number, round: number, rate: number | null): PlannedRequest[] {
  const { requests: count, mode, arrivals } = workload;
  const times =
    mode === "closed" || rate === null
      ? null
      : arrivals === "constant"
        ? constantArrivalsUs(rate, count)
        : poissonArrivalsUs(rate, count, seedOfCall(seed, round + 1, 0) % 2_147_483_647);
  const requests: PlannedRequest[] = [];
  for (let session = 0; session < count; session++) {
    const first = requests.length;
    const seedOfSession = seedOfCall(seed, round + 1, session);
    for (const [place, step] of stepsOfSession(workload, seed, round, session).entries()) {
      const [after, ...joins] = step.after.map((at) => first + at);
      requests.push({
        ...worded(workload, wording, step, seedOfText(`${seedOfSession} ${place}`)),
        turn: {
          session,
          agent: step.agent,
          turn: step.turn,
          isLast: step.isLast,
          history: historyOf(workload, wording),
          form: formOf(workload.path),
          adds: additionsOf(workload, wording, seed, round, seedOfSession, step),
        },
        ...(after === undefined ? {} : { after, delayUs: step.delayUs }),
        ...(joins.length === 0 ? {} : { joins }),
        ...(after !== undefined || times === null ? {} : { atUs: times[session]! }),
      });
    }
  }
  return requests;
}

/** Throws UsageError where the endpoint knows no earlier response. */
export function historyOf({ path }: Pick<Workload, "path">, { history = "full" }: Pick<Wording, "history">): History {
  if (history === "previous" && formOf(path) !== "responses")
    throw new UsageError(`--history previous is a thing of the Responses API: ask /v1/responses, not ${path}`);
  return history;
}

function worded(
  { path, stream, includeUsage, outputTokens, session }: Workload,
  wording: Wording,
  { calls }: Step,
  seed: number,
): Pick<PlannedRequest, "body" | "tokens" | "maxTokens"> {
  const { model, own, accepted = takesEverything } = wording;
  const isTooled = callsTools(session!);
  const body = bodyOf({
    path,
    stream,
    outputTokens: calls ? callTokens : outputTokens,
    seed,
    model,
    accepted,
    ignoreEos: own && !calls,
    includeUsage,
    prompt: null,
    more: isTooled ? { tool_choice: calls ? "required" : "none", parallel_tool_calls: false } : {},
  });
  // How long the arguments of a call are is the model's.
  return { body, ...(calls ? { tokens: null } : orderOf(outputTokens, wording)) };
}

function additionsOf(
  workload: Workload,
  { arm = "" }: Wording,
  seed: number,
  round: number,
  seedOfSession: number,
  { agent, turn, adds, addedTokens }: Step,
): Addition[] {
  const shared = turn === 0 ? beginning(workload, seed, round, arm) : [];
  const piece: Piece = { seed: seedOfText(`${seedOfSession} agent ${agent} turn ${turn}`), tokens: addedTokens };
  return [...(shared.length === 0 ? [] : [{ as: "system", pieces: shared } as const]), { as: adds, pieces: [piece] }];
}

/** What each turn of a round adds, for the result. */
export function sessionPrompts(requests: readonly PlannedRequest[]): Prompt[] {
  return requests.map(({ turn }) => {
    const pieces = (turn as SessionTurn).adds.flatMap((addition) => addition.pieces);
    return { pieces, given: null, tokens: tokensOf(pieces) };
  });
}

/** Requests and microseconds of pauses of a session, on average over the first of a round. */
export function sessionSize(workload: Workload, seed: number): { readonly requests: number; readonly pausedUs: number } {
  const sample = Math.min(20, workload.requests);
  let [requests, pausedUs] = [0, 0];
  for (let index = 0; index < sample; index++) {
    const steps = stepsOfSession(workload, seed, 0, index);
    requests += steps.length;
    for (const { delayUs, after } of steps) pausedUs += after.length === 0 ? 0 : delayUs;
  }
  return { requests: requests / sample, pausedUs: pausedUs / sample };
}

/**
 * The requests of a trace whose turns go on from the response before them, by its id: each says what its row has more than the one
 * before it and that one's answer. Of several that follow one, the first goes on; the others begin anew with all of their text.
 */
export function turnsOfTrace(
  workload: Workload,
  rows: readonly TraceRequest[],
  wording: Wording,
  seed: number,
  round: number,
): PlannedRequest[] {
  const { path, stream, includeUsage } = workload;
  const { model, own, accepted = takesEverything, arm = "" } = wording;
  const followed = new Set<number>();
  const places: Pick<SessionTurn, "session" | "agent" | "turn">[] = [];
  const goesOn = rows.map(({ after }) => after !== null && !followed.has(after) && Boolean(followed.add(after)));
  const isFollowed = new Set(rows.flatMap(({ after }, index) => (goesOn[index] ? [after!] : [])));
  return rows.map((row, index) => {
    const before = goesOn[index] ? rows[row.after!]! : null;
    const last = before === null ? null : places[row.after!]!;
    places.push(last === null ? { session: index, agent: 0, turn: 0 } : { ...last, turn: last.turn + 1 });
    const tokens = Math.max(1, row.outputTokens ?? workload.outputTokens);
    const body = bodyOf({
      path,
      stream,
      prompt: null,
      outputTokens: tokens,
      seed: seedOfCall(seed, round + 1, index),
      model,
      accepted,
      ignoreEos: own,
      includeUsage,
    });
    const turn: SessionTurn = {
      ...places[index]!,
      isLast: !isFollowed.has(index),
      history: "previous",
      form: "responses",
      adds: before === null ? wholeOf(workload, row, seed, round, index, arm) : newPartOf(row, before, `${seed} ${round} ${index}`),
    };
    return { body, ...orderOf(tokens, wording), turn };
  });
}

function wholeOf(workload: Workload, row: TraceRequest, seed: number, round: number, index: number, arm: string): Addition[] {
  const { pieces, given } = tracePrompt(workload, row, seed, round, index, arm);
  if (given === null) return [{ as: "user", pieces }];
  return given.messages.map((message) => ({ as: "user", pieces: [], given: message }));
}

/** What a turn says that the one before it, and its answer, have not. */
function newPartOf(row: TraceRequest, before: TraceRequest, name: string): Addition[] {
  if (row.given !== null && before.given !== null && row.given.messages.length > before.given.messages.length + 1)
    // The message behind those of the turn before stands for its answer.
    return row.given.messages.slice(before.given.messages.length + 1).map((message) => ({ as: "user", pieces: [], given: message }));
  const tokens = Math.max(1, row.inputTokens - before.inputTokens - (before.outputTokens ?? 0));
  return [{ as: "user", pieces: [{ seed: seedOfText(name), tokens }] }];
}
