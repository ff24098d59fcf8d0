/** What a choice says: text up to its stop sequences, calls by their schemas, what a rule says; and bounds on the work of an answer. */
import {
  Budget,
  BudgetError,
  mostGivenCharacters,
  mostInEvent,
  mostWholeCharacters,
  mostWholeTokens,
  workBounds,
} from "../../core/limits/budget.ts";
import { purpose, Random, type Seed, seedOfRequest } from "../../core/random/random.ts";
import { SchemaError, SchemaMaker } from "../../core/schema/instance.ts";
import { findStop, type Stop } from "../../core/text/stop.ts";
import { corpusVocabulary, splitJsonTokens } from "../../core/text/text.ts";
import { ApiError } from "../errors/api-error.ts";
import type { Ask, CallPlan, Choice, Finish, Stops, ToolCall } from "./ask.ts";
import type { SettledReply } from "./replies.ts";
import { noRun, Run } from "./run.ts";

/** Throws ApiError where an answer that is made at once is too long for that. */
export function checkWhole({ stream }: Ask, choices: readonly Choice[], outputTokens: number): void {
  const [param, hint] = stream ? ["max_output_tokens", ""] : ["stream", ", or stream"];
  const refuse = (most: number, what: string): never => {
    const kind = stream ? "a stream that ends with the whole answer" : "an answer in one piece";
    throw new ApiError(
      400,
      `Invalid '${param}': ${kind} holds up to ${most} ${what}. Ask for fewer tokens${hint}.`,
      param,
      "invalid_value",
    );
  };
  if (outputTokens > mostWholeTokens) refuse(mostWholeTokens, "tokens");
  // Text of the corpus is never too long.
  if (choices.length === 1 && choices[0]!.text?.vocabulary === corpusVocabulary) return;
  let characters = 0;
  for (const { text } of choices) characters += text === null || text.tokens === 0 ? 0 : text.characters;
  if (characters > mostWholeCharacters) refuse(mostWholeCharacters, "characters");
}

/** Throws ApiError where each event of a stream would hold too much. */
export function checkEvent({ choices, logprobsPerToken = 0 }: Ask, tokensPerChunk: number): void {
  const inEvent = choices * tokensPerChunk * (1 + logprobsPerToken);
  if (choices * tokensPerChunk === 1 || inEvent <= mostInEvent) return;
  const [param, of] =
    tokensPerChunk > 1
      ? ["x-fakeai-tokens-per-chunk", `${tokensPerChunk} tokens`]
      : logprobsPerToken > 0
        ? ["logprobs", "a token"]
        : ["n", "a token"];
  const message = `Invalid '${param}': ${of} of ${choices} choices with ${logprobsPerToken} log probabilities each are more than ${mostInEvent} in one event.`;
  throw new ApiError(400, message, param, "invalid_value");
}

/** Output tokens of a choice. */
export function tokensOf({ text, calls }: Choice): number {
  const said = text?.tokens ?? 0;
  return calls.length === 0 ? said : calls.reduce((sum, call) => sum + call.arguments.tokens, said);
}

/** How far the values of choices may be apart, by chance. */
const unlikeShare = 1.25;

/** What the choices of one answer share: the budget of all their work, and what was found out or made for one of them. */
export class AnswerWork {
  // Each made when it is needed: most answers need none.
  #spent: Budget | null = null;
  #makers: Map<unknown, SchemaMaker> | null = null;
  #texts: Map<string, Run> | null = null;
  #instances = 0;
  readonly #choices: number;

  /** `choices`: how many share it. */
  constructor(choices: number) {
    this.#choices = choices;
  }

  get #budget(): Budget {
    return (this.#spent ??= new Budget());
  }

  /** A value of a schema. Throws ApiError. */
  instanceOf(schema: unknown, param: string, seed: Seed): unknown {
    try {
      const makers = (this.#makers ??= new Map());
      let maker = makers.get(schema);
      if (maker === undefined) makers.set(schema, (maker = new SchemaMaker(schema, this.#budget)));
      // The other choices take about as much: what they cannot have is refused before the first is made.
      const { most } = workBounds.values;
      const withheld = this.#instances++ === 0 ? Math.max(0, most - Math.floor((most * unlikeShare) / this.#choices)) : 0;
      this.#budget.withhold("values", withheld);
      const value = maker.make(new Random(seed, purpose.schema));
      this.#budget.giveBack("values", withheld);
      return value;
    } catch (error) {
      if (!(error instanceof SchemaError || error instanceof BudgetError)) throw error;
      throw new ApiError(400, `Invalid schema for '${param}': ${error.message}.`, param, "invalid_schema");
    }
  }

  /** A text that is given, in tokens. Throws ApiError. */
  textOf(text: string): Run {
    if (text.length > mostGivenCharacters) {
      const message = `The answer repeats a text of ${text.length} characters, and up to ${mostGivenCharacters} are possible. Please reduce the length of the prompt.`;
      throw new ApiError(400, message, null, "invalid_value");
    }
    const texts = (this.#texts ??= new Map());
    let run = texts.get(text);
    if (run === undefined) texts.set(text, (run = Run.of(text)));
    return run;
  }

  /** The first of the stop sequences in a text. Throws ApiError. */
  findStop(text: Run, { sequences, param }: Stops): Stop | null {
    try {
      return findStop(text.vocabulary, text.cursor(), text.tokens, sequences, this.#budget);
    } catch (error) {
      if (!(error instanceof BudgetError)) throw error;
      throw new ApiError(400, `Invalid '${param}': ${error.message}. Ask for fewer tokens.`, param, "invalid_value");
    }
  }
}

/** One call, or two in one of four answers with parallel calls. The limit cuts the arguments. */
export function makeCalls({ tools, choice, parallel }: CallPlan, seed: Seed, limit: number, work: AnswerWork): Choice {
  const random = new Random(seed, purpose.tools);
  const count = parallel && choice !== "named" && random.below(4) === 0 ? 2 : 1;
  const calls: ToolCall[] = [];
  let left = limit;
  for (let i = 0; i < count && left > 0; i++) {
    const { name, toolset, parameters, param } = tools[random.below(tools.length)]!;
    const given = parameters === undefined || parameters === null ? { type: "object", properties: {} } : parameters;
    const full = Run.ofJson(work.instanceOf(given, param, seedOfRequest(seed, i)));
    calls.push({ name, toolset, arguments: full.cutTo(Math.min(left, full.tokens)) });
    left -= full.tokens;
  }
  // A tool that was named ends with "stop", as in OpenAI's documentation of tool_choice.
  const whole = choice === "named" ? "stop" : "tool_calls";
  return { prefix: null, text: null, calls, finish: left < 0 ? "length" : whole, stopSequence: null, seed };
}

const noCalls: readonly ToolCall[] = [];

/** Whether a rule decides what is said, and not only how. */
export function says({ text, refusal, calls }: SettledReply): boolean {
  return text !== null || refusal !== null || calls.length > 0;
}

/** What comes before the choices. */
export function reasoningOf(ask: Ask, reply: SettledReply | null, seed: Seed, work: AnswerWork): Run {
  const given = reply?.reasoning ?? null;
  if (given !== null) {
    const run = work.textOf(given);
    return run.cutTo(Math.min(run.tokens, ask.limit));
  }
  if (ask.reasoningTokens === 0) return noRun;
  return new Run(corpusVocabulary, Math.min(ask.reasoningTokens, ask.limit), seedOfRequest(seed, 1_000_000));
}

/** What a rule says: its text, then its calls. The limit cuts both, stop sequences the text. */
export function repliedChoice(reply: SettledReply, ask: Ask, index: number, seed: Seed, before: number, work: AnswerWork): Choice {
  const given = reply.refusal ?? reply.text;
  let left = ask.limit - before;
  let isCut = false;
  const take = (full: Run): Run => {
    isCut ||= full.tokens > left;
    const run = full.cutTo(Math.min(left, full.tokens));
    left -= run.tokens;
    return run;
  };
  const prefix = ask.prefixOf?.(index, seed) ?? null;
  const said = given === null ? null : stopAt(take(work.textOf(given)), ask.stop, "stop", seed, prefix, work);
  const calls: ToolCall[] = [];
  for (const call of reply.calls) {
    if (isCut || (said?.stopSequence ?? null) !== null) break;
    calls.push({ name: call.name, arguments: take(Run.ofTokens(splitJsonTokens(call.arguments))) });
  }
  const whole = calls.length > 0 ? (ask.calls?.choice === "named" ? "stop" : "tool_calls") : "stop";
  return {
    prefix,
    text: said === null ? null : said.text,
    ...(reply.refusal !== null && { isRefusal: true }),
    calls,
    finish: reply.finish ?? (isCut ? "length" : whole),
    stopSequence: said?.stopSequence ?? null,
    seed,
  };
}

/** Cuts the text before the first of the stop sequences. */
export function stopAt(text: Run, stop: Stops, finish: Finish, seed: Seed, prefix: Run | null, work: AnswerWork): Choice {
  const whole = { prefix, text, calls: noCalls, finish, stopSequence: null, seed };
  if (stop.sequences.length === 0) return whole;
  const found = work.findStop(text, stop);
  if (found === null) return whole;
  const { at: end, sequence: stopSequence } = found;
  const { texts } = text.vocabulary;
  const cursor = text.cursor();
  const kept: string[] = [];
  for (let length = 0; length < end;) {
    const token = texts[cursor.next()]!;
    kept.push(token.slice(0, end - length));
    length += token.length;
  }
  return { ...whole, text: new Run({ texts: kept }, kept.length, null), finish: "stop", stopSequence };
}
