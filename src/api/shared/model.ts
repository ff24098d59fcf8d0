/** The fake model: from what a request asks for to what is said, how long it is, and when each token is due. */
import { maxOutputTokens, maxTokensPerChunk } from "../../core/limits/budget.ts";
import { independentSchedule, unstreamedSchedule } from "../../core/pacing/schedule.ts";
import type { BatchScheduler, SequenceAsk } from "../../core/pacing/scheduler.ts";
import { countUnits, type Distribution, latencyUnits } from "../../core/random/distribution.ts";
import { purpose, Random, type Seed, seedOf, seedOfRequest } from "../../core/random/random.ts";
import type { RouteRequest, Schedule } from "../../core/seams.ts";
import { corpusVocabulary, splitTokens, type Vocabulary } from "../../core/text/text.ts";
import { ApiError } from "../errors/api-error.ts";
import type { Answer, Ask, Choice } from "./ask.ts";
import { AnswerWork, checkEvent, checkWhole, makeCalls, reasoningOf, repliedChoice, says, stopAt, tokensOf } from "./choices.ts";
import { type ModelSettings, type RequestCounter, StridedCounter } from "./model-settings.ts";
import { booleanHeader, givenText, headerError, integerHeader, overriding, overridingOf, type Overriding } from "./overrides.ts";
import { blockChain, type PromptAsk } from "./prefix.ts";
import type { SettledReply } from "./replies.ts";
import { Run } from "./run.ts";

const noCache = { cachedTokens: 0 };
const never: Schedule = { nextDueUs: () => 0 };

export class Model {
  readonly settings: ModelSettings;
  readonly #nowSeconds: () => number;
  readonly #seed: Seed;
  /** The vocabulary of the text that every answer says; null where there is none. */
  readonly fixedText: Vocabulary | null;
  /** Makes ids unique over processes. */
  readonly #nonce: Seed;
  readonly #counter: RequestCounter;

  /** `nowSeconds` is the wall clock, for `created`. */
  constructor(settings: ModelSettings, nowSeconds: () => number, counter: RequestCounter = new StridedCounter()) {
    this.settings = settings;
    this.#counter = counter;
    this.#nowSeconds = nowSeconds;
    this.#seed = seedOf(settings.seed);
    this.fixedText = settings.text === null ? null : { texts: splitTokens(settings.text) };
    const words = crypto.getRandomValues(new Uint32Array(2));
    this.#nonce = { high: words[0]! | 0, low: words[1]! | 0 };
  }

  /** Settles the answer. Throws ApiError for headers and schemas that cannot be followed. */
  answer(request: RouteRequest, ask: Ask): Answer {
    const index = this.#counter.next();
    const overrides = overridingOf(request);
    const explicitSeed = integerHeader(overrides, "x-fakeai-seed") ?? ask.seed;
    const seed = explicitSeed === undefined ? seedOfRequest(this.#seed, index) : seedOf(explicitSeed);
    const identity = new Random(explicitSeed === undefined ? this.#uniqueSeed(index) : seed, purpose.identity);
    // The time of a seed lies between November 2023 and June 2025.
    const created = explicitSeed === undefined ? this.#nowSeconds() : 1_700_000_000 + identity.below(50_000_000);

    const reply = this.settings.replies?.of(request) ?? null;
    const headerText = givenText(overrides);
    const lengths = overriding(overrides, "x-fakeai-output-tokens", (name) => countUnits(name, maxOutputTokens));
    const work = new AnswerWork(ask.choices);
    const reasoning = reasoningOf(ask, reply, seed, work);
    const choices: Choice[] = [];
    let outputTokens = 0;
    let longest = 0;
    for (let i = 0; i < ask.choices; i++) {
      const own = i === 0 ? seed : seedOfRequest(seed, i);
      const choice =
        reply === null || !says(reply)
          ? this.#choice(ask, i, own, reasoning.tokens, headerText, lengths, work)
          : repliedChoice(reply, ask, i, own, reasoning.tokens, work);
      const tokens = reasoning.tokens + tokensOf(choice);
      outputTokens += tokens;
      longest = Math.max(longest, tokens);
      choices.push(choice);
      if (outputTokens > maxOutputTokens && ask.choices > 1) {
        throw new ApiError(400, `Invalid 'n': the choices hold more than ${maxOutputTokens} tokens together.`, "n", "invalid_value");
      }
    }
    const tokensPerChunk = this.#tokensPerChunk(overrides);
    if (!ask.stream || ask.endsWhole === true) checkWhole(ask, choices, outputTokens);
    if (ask.stream) checkEvent(ask, tokensPerChunk);
    const timing = this.#timing(request, overrides, ask, choices, reasoning.tokens, longest, seed, reply);
    // Written out, no spread: an object made by spreading costs more than all that is in it.
    const answer: Answer = {
      ask,
      reasoning,
      choices,
      outputTokens,
      reasoningTokens: reasoning.tokens * choices.length,
      seed,
      identity,
      created,
      stamped: booleanHeader(overrides, "x-fakeai-stamps") ?? this.settings.stamps,
      tokensPerChunk,
      schedule: timing.schedule,
      firstUs: timing.firstUs,
      cache: timing.cache,
    };
    return reply === null || reply.usage === null ? answer : { ...answer, told: reply.usage };
  }

  #timing(
    request: RouteRequest,
    overrides: Overriding,
    ask: Ask,
    choices: readonly Choice[],
    reasoningTokens: number,
    longest: number,
    seed: Seed,
    reply: SettledReply | null,
  ): Pick<Answer, "schedule" | "firstUs" | "cache"> {
    const { scheduler } = this.settings;
    if (scheduler !== undefined) {
      const prompts = new Map<number, SequenceAsk>();
      const sequences = choices.map((choice, index) => {
        const prompt = ask.promptOf(index);
        let sequence = prompts.get(prompt.index);
        if (sequence === undefined) prompts.set(prompt.index, (sequence = this.#sequence(scheduler, prompt, 1)));
        const tokens = Math.max(1, reasoningTokens + tokensOf(choice));
        // What it says is read already when the conversation goes on. Of several choices any one may be gone on from.
        const { repeatedAs } = ask;
        if (repeatedAs === undefined || choices.length > 1) return { ...sequence, tokens };
        const whole = { ...prompt, tokens: prompt.tokens + tokensOf(choice), parts: () => [...prompt.parts(), ...repeatedAs(choice)] };
        return { ...this.#sequence(scheduler, whole, 1), promptTokens: prompt.tokens, tokens };
      });
      return this.#batched(scheduler, request, sequences, ask.stream);
    }
    const ttft = overriding(overrides, "x-fakeai-ttft", latencyUnits) ?? reply?.ttft ?? this.settings.ttft;
    const itl = overriding(overrides, "x-fakeai-itl", latencyUnits) ?? reply?.itl ?? this.settings.itl;
    const schedule = ask.stream ? independentSchedule(seed, ttft, itl) : unstreamedSchedule(seed, ttft, itl, longest);
    return { schedule, firstUs: schedule.nextDueUs(0), cache: noCache };
  }

  #sequence(scheduler: BatchScheduler, prompt: PromptAsk, tokens: number): SequenceAsk {
    const { blockSize, prefixCaching } = scheduler.settings;
    const chain = prefixCaching ? blockChain(prompt, blockSize, this.settings.tokenizer) : [];
    return { promptTokens: prompt.tokens, chain, tokens, prompt: prompt.index };
  }

  /** Throws ApiError for what the scheduler cannot take, before anything is sent. */
  #batched(
    scheduler: BatchScheduler,
    request: RouteRequest,
    sequences: readonly SequenceAsk[],
    streamed: boolean,
  ): Pick<Answer, "schedule" | "firstUs" | "cache"> {
    for (const name of ["x-fakeai-ttft", "x-fakeai-itl"]) {
      if (request.header(name) !== undefined) {
        throw headerError(name, `${name}: with the batched scheduler latencies follow from the batch; this header has no meaning`);
      }
    }
    for (const { promptTokens, tokens } of sequences) checkFits(promptTokens + tokens, scheduler.mostTokens);
    const { length } = sequences;
    const { promptTokens } = sequences[0]!;
    if (!scheduler.hasRoom(length, promptTokens, request.receivedUs)) {
      const waitUs = scheduler.untilRoomUs(length, promptTokens, request.receivedUs);
      throw new ApiError({ kind: "queue-full", status: this.settings.queueFullStatus, waitUs });
    }
    const answer = scheduler.answer(sequences, request.receivedUs, streamed);
    return { schedule: answer, firstUs: scheduler.idleFirstTokenUs(sequences[0]!.promptTokens), cache: answer };
  }

  /** For requests that have no tokens to answer: when the answer is due, and whether it is stamped. */
  latency(
    request: RouteRequest,
    prompts: readonly PromptAsk[],
  ): { readonly schedule: Schedule; readonly firstUs: number; readonly stamped: boolean } {
    const stamped = booleanHeader(request, "x-fakeai-stamps") ?? this.settings.stamps;
    const { scheduler } = this.settings;
    if (scheduler !== undefined) {
      const sequences = prompts.map((prompt) => this.#sequence(scheduler, prompt, 1));
      return { ...this.#batched(scheduler, request, sequences, false), stamped };
    }
    const seed = seedOfRequest(this.#seed, this.#counter.next());
    const ttft = overriding(request, "x-fakeai-ttft", latencyUnits) ?? this.settings.replies?.of(request)?.ttft ?? this.settings.ttft;
    const schedule = ttft.constant === 0 ? never : unstreamedSchedule(seed, ttft, this.settings.itl, 1);
    return { schedule, firstUs: schedule.nextDueUs(0), stamped };
  }

  #uniqueSeed(index: number): Seed {
    const { high, low } = this.#nonce;
    return { high: high ^ Math.floor(index / 0x1_0000_0000), low: (low + index) | 0 };
  }

  #tokensPerChunk(overrides: Overriding): number {
    const name = "x-fakeai-tokens-per-chunk";
    const count = integerHeader(overrides, name);
    if (count === undefined) return this.settings.tokensPerChunk;
    if (count < 1 || count > maxTokensPerChunk) throw headerError(name, `${name}: expected a whole number from 1 to ${maxTokensPerChunk}`);
    return count;
  }

  #choice(
    ask: Ask,
    index: number,
    seed: Seed,
    before: number,
    headerText: string | null,
    lengths: Distribution | undefined,
    work: AnswerWork,
  ): Choice {
    const left = ask.limit - before;
    const cutShort = left === 0 && (before > 0 || ask.calls !== null);
    if (headerText !== null && ask.calls !== null && ask.calls.choice !== "auto") {
      throw headerError("x-fakeai-text", "x-fakeai-text: tool_choice demands a call, which says no text; leave one of them out");
    }
    if (ask.calls !== null && !cutShort && headerText === null) return makeCalls(ask.calls, seed, left, work);
    const given = this.#given(ask, index, seed, headerText, work);
    const { tokens, finish } = cutShort
      ? { tokens: 0, finish: "length" as const }
      : this.#length(ask, seed, before, given?.tokens ?? null, lengths);
    const text = given === null ? new Run(corpusVocabulary, tokens, seed) : given.cutTo(tokens);
    return stopAt(text, ask.stop, finish, seed, ask.prefixOf?.(index, seed) ?? null, work);
  }

  /** The text that the answer is not free to choose. */
  #given(ask: Ask, index: number, seed: Seed, headerText: string | null, work: AnswerWork): Run | null {
    if (headerText !== null) return work.textOf(headerText);
    if (ask.json !== null) return Run.ofJson(work.instanceOf(ask.json.schema, ask.json.param, seed), ask.stream);
    if (this.settings.mode === "echo") return work.textOf(ask.promptText(index));
    return this.fixedText === null ? null : new Run(this.fixedText, this.fixedText.texts.length, null);
  }

  /** How many tokens the text has and what ends it. A given text has its own length, unless the request asks for another. */
  #length(
    ask: Ask,
    seed: Seed,
    before: number,
    given: number | null,
    asked: Distribution | undefined,
  ): { tokens: number; finish: "stop" | "length" } {
    const left = ask.limit - before;
    if (ask.json !== null && given !== null) return given > left ? { tokens: left, finish: "length" } : { tokens: given, finish: "stop" };
    const lengths = asked ?? this.settings.outputTokens;
    const natural =
      given !== null && asked === undefined ? given : Math.round(lengths.constant ?? lengths.sample(new Random(seed, purpose.length)));
    // An empty text has no token to repeat.
    if (given === 0) return { tokens: 0, finish: "stop" };
    // Without an end-of-sequence token a model goes on to the limit.
    if (ask.ignoreEos && ask.limit !== Infinity) return { tokens: left, finish: "length" };
    const wanted = Math.max(natural, ask.minTokens - before);
    return wanted > left ? { tokens: left, finish: "length" } : { tokens: wanted, finish: "stop" };
  }
}

/** Throws ApiError where prompt and answer together do not fit into the KV cache, and never will. */
function checkFits(tokens: number, mostTokens: number): void {
  if (tokens <= mostTokens) return;
  const message = `This model's KV cache holds ${mostTokens} tokens. However, you requested ${tokens} tokens. Please reduce the length of the prompt or completion.`;
  throw new ApiError(400, message, null, "context_length_exceeded");
}
