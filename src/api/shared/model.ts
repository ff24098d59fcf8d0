/** The fake model: from what a request asks for to what is said, how long it is, and when each token is due. */
import { countUnits, type Distribution, latencyUnits } from "../../core/random/distribution.ts";
import { jsonInside } from "../../core/frames/frames.ts";
import {
  Budget,
  BudgetError,
  maxOutputTokens,
  maxTokensPerChunk,
  mostGivenCharacters,
  mostInEvent,
  mostWholeCharacters,
  mostWholeTokens,
} from "../../core/limits/budget.ts";
import { SchemaError, SchemaMaker } from "../../core/schema/instance.ts";
import { purpose, Random, type Seed, seedOf, seedOfRequest } from "../../core/random/random.ts";
import type { BatchScheduler, SequenceAsk } from "../../core/pacing/scheduler.ts";
import { independentSchedule, unstreamedSchedule } from "../../core/pacing/schedule.ts";
import type { EventBuffer } from "../../core/frames/script.ts";
import type { RouteRequest, Schedule } from "../../core/seams.ts";
import { findStop, type Stop } from "../../core/text/stop.ts";
import {
  corpusCursor,
  corpusTokens,
  corpusVocabulary,
  sequentialCursor,
  splitJsonTokens,
  splitTokens,
  type TokenCursor,
  type Vocabulary,
} from "../../core/text/text.ts";
import { ApiError } from "../errors/api-error.ts";
import type { Tokenizer } from "./prompt.ts";
import { booleanHeader, givenText, headerError, integerHeader, overriding } from "./overrides.ts";
import { blockChain, type PromptAsk } from "./prefix.ts";
import type { Replies, ReplyUsage, SettledReply } from "./replies.ts";

export type ProfileName = "openai" | "vllm" | "openrouter" | "minimal";

/** The knobs of the model, in force for every request that does not override them. */
export interface ModelSettings {
  /** Microseconds. */
  readonly ttft: Distribution;
  /** Microseconds. */
  readonly itl: Distribution;
  readonly outputTokens: Distribution;
  readonly seed: number;
  /** Names served; null serves every name. */
  readonly models: readonly string[] | null;
  readonly stamps: boolean;
  /** The text of every answer; null: the mode decides. */
  readonly text: string | null;
  /** "random": made-up text. "echo": the prompt. */
  readonly mode: "random" | "echo";
  /** The server whose bytes OpenAI's endpoints send. */
  readonly profile: ProfileName;
  /** Tokens in one event of a stream. */
  readonly tokensPerChunk: number;
  /** Chat completions: the event of the role alone leaves at once. */
  readonly earlyRole: boolean;
  /** Tokens of prompt and answer together; null: no limit. */
  readonly maxModelLen: number | null;
  /** Tokens of each image in a prompt; null: by its size, as the provider counts. */
  readonly imageTokens: number | null;
  /** Tokens of each page of a PDF in a prompt; null: by the provider's rule. */
  readonly pageTokens: number | null;
  /** Counts prompt tokens exactly; absent: they are estimated. */
  readonly tokenizer?: Tokenizer;
  /** Answers by rule; absent: none. */
  readonly replies?: Replies;
  /** Decides when tokens are there; absent: streams know nothing of each other. */
  readonly scheduler?: BatchScheduler;
  /** The status of what finds the scheduler's queue full. */
  readonly queueFullStatus: 429 | 503;
}

/** Numbers requests from 0. It outlives the model: a change of knobs makes a new one. */
export interface RequestCounter {
  next(): number;
}

/** Counts `first`, `first + stride`, ...: workers that share a port take turns. */
export class StridedCounter implements RequestCounter {
  #next: number;
  readonly #stride: number;

  constructor(first: number = 0, stride: number = 1) {
    this.#next = first;
    this.#stride = stride;
  }

  next(): number {
    const index = this.#next;
    this.#next += this.#stride;
    return index;
  }
}

/** A function that the answer may call. */
export interface Tool {
  readonly name: string;
  /** The set of tools that it belongs to, which its calls name. */
  readonly toolset?: string;
  /** JSON schema of the arguments; undefined: no arguments. */
  readonly parameters: unknown;
  /** Where the request holds the schema, for complaints. */
  readonly param: string;
}

/** Calls that the answer makes. */
export interface CallPlan {
  readonly tools: readonly Tool[];
  /** Why it calls: it may, it must, or it must call the one that was named. */
  readonly choice: "auto" | "required" | "named";
  readonly parallel: boolean;
}

/** Texts at which the answer ends, and the parameter that names them. */
export interface Stops {
  readonly sequences: readonly string[];
  readonly param: string;
}

/** What a request asks for, in the same terms for every endpoint. */
export interface Ask {
  readonly model: string;
  readonly promptTokens: number;
  /** The prompt of a choice. */
  readonly promptOf: (choice: number) => PromptAsk;
  /** The texts by which the next prompt of the conversation repeats a choice, behind this prompt; absent: none does. */
  readonly repeatedAs?: (choice: Choice) => readonly string[];
  /** What the mode "echo" says in a choice. */
  readonly promptText: (choice: number) => string;
  /** What a choice repeats before its text; absent: nothing. */
  readonly prefixOf?: ((choice: number, seed: Seed) => Run) | undefined;
  readonly stream: boolean;
  readonly choices: number;
  /** Log probabilities of each token, its own included; absent: none. */
  readonly logprobsPerToken?: number;
  /** true: a stream ends with all that it said. */
  readonly endsWhole?: boolean;
  /** Most output tokens, those of reasoning included; Infinity where none is set. */
  readonly limit: number;
  readonly minTokens: number;
  readonly ignoreEos: boolean;
  readonly stop: Stops;
  readonly seed: number | undefined;
  readonly reasoningTokens: number;
  readonly calls: CallPlan | null;
  /** The answer is JSON of this schema. */
  readonly json: { readonly schema: unknown; readonly param: string } | null;
}

/** The tokens of the corpus, one after the other, as insides of JSON strings, and where each begins. */
let escapedCorpus: { readonly bytes: Uint8Array; readonly starts: Uint32Array } | null = null;

function escapeCorpus(): { readonly bytes: Uint8Array; readonly starts: Uint32Array } {
  const escaped = Array.from(corpusTokens, (token) => Buffer.from(jsonInside(corpusVocabulary.texts[token]!)));
  const starts = new Uint32Array(escaped.length + 1);
  for (const [position, { length }] of escaped.entries()) starts[position + 1] = starts[position]! + length;
  return { bytes: new Uint8Array(Buffer.concat(escaped)), starts };
}

/** The corpus as one text, and where each of its tokens begins. */
let joinedCorpus: { readonly whole: string; readonly starts: Uint32Array } | null = null;

function joinCorpus(): { readonly whole: string; readonly starts: Uint32Array } {
  const texts = Array.from(corpusTokens, (token) => corpusVocabulary.texts[token]!);
  const starts = new Uint32Array(texts.length + 1);
  for (const [position, { length }] of texts.entries()) starts[position + 1] = starts[position]! + length;
  return { whole: texts.join(""), starts };
}

const corpusCharactersPerToken = 5;

/** A run of tokens, from a given text or from the corpus. */
export class Run {
  readonly vocabulary: Vocabulary;
  readonly tokens: number;
  readonly #seed: Seed | null;

  /** With a seed the corpus's text that it decides; without one the vocabulary from its first token on. */
  constructor(vocabulary: Vocabulary, tokens: number, seed: Seed | null) {
    this.vocabulary = vocabulary;
    this.tokens = tokens;
    this.#seed = seed;
  }

  static of(text: string): Run {
    return Run.ofTokens(splitTokens(text));
  }

  static ofJson(value: unknown): Run {
    return Run.ofTokens(splitJsonTokens(JSON.stringify(value)));
  }

  static ofTokens(texts: readonly string[]): Run {
    return new Run({ texts }, texts.length, null);
  }

  cursor(): TokenCursor {
    return this.#seed === null ? sequentialCursor(this.vocabulary) : corpusCursor(this.#seed);
  }

  cutTo(tokens: number): Run {
    return new Run(this.vocabulary, tokens, this.#seed);
  }

  /** UTF-16 units of its text; of text from the corpus about as many. */
  get characters(): number {
    if (this.#seed !== null) return this.tokens * corpusCharactersPerToken;
    const { texts } = this.vocabulary;
    const sum = (some: readonly string[]): number => some.reduce((units, { length }) => units + length, 0);
    const rounds = Math.floor(this.tokens / texts.length);
    return (rounds === 0 ? 0 : rounds * sum(texts)) + sum(texts.slice(0, this.tokens % texts.length));
  }

  /** The text of each token. */
  tokenTexts(): string[] {
    const cursor = this.cursor();
    return Array.from({ length: this.tokens }, () => this.vocabulary.texts[cursor.next()]!);
  }

  /** Hot path. Writes the text as the inside of a JSON string. */
  writeJson(out: EventBuffer): void {
    const cursor = this.cursor();
    if (this.vocabulary !== corpusVocabulary || cursor.takeRun === undefined) {
      out.text(jsonInside(this.text()));
      return;
    }
    const { bytes, starts } = (escapedCorpus ??= escapeCorpus());
    for (let left = this.tokens; left > 0; left -= cursor.runLength!) {
      const first = cursor.takeRun(left);
      out.slice(bytes, starts[first]!, starts[first + cursor.runLength!]!);
    }
  }

  text(): string {
    const { texts } = this.vocabulary;
    const cursor = this.cursor();
    let text = "";
    if (this.vocabulary === corpusVocabulary && cursor.takeRun !== undefined) {
      const { whole, starts } = (joinedCorpus ??= joinCorpus());
      for (let left = this.tokens; left > 0; left -= cursor.runLength!) {
        const first = cursor.takeRun(left);
        text += whole.slice(starts[first], starts[first + cursor.runLength!]);
      }
      return text;
    }
    for (let token = 0; token < this.tokens; token++) text += texts[cursor.next()]!;
    return text;
  }
}

const noRun = new Run(corpusVocabulary, 0, null);

export interface ToolCall {
  readonly name: string;
  readonly toolset?: string | undefined;
  readonly arguments: Run;
}

export type Finish = "stop" | "length" | "tool_calls" | "content_filter";

export interface Choice {
  /** Comes before the text, with its first token, and is no output. */
  readonly prefix: Run | null;
  /** null where there are only calls. */
  readonly text: Run | null;
  /** true: the text is a refusal. */
  readonly isRefusal?: boolean;
  readonly calls: readonly ToolCall[];
  readonly finish: Finish;
  /** The stop sequence that ended the text. */
  readonly stopSequence: string | null;
  readonly seed: Seed;
}

/** An answer before it has the form of an endpoint. */
export interface Answer {
  readonly ask: Ask;
  /** Comes before each choice. */
  readonly reasoning: Run;
  readonly choices: readonly Choice[];
  /** Of all choices, reasoning included. */
  readonly outputTokens: number;
  readonly reasoningTokens: number;
  readonly seed: Seed;
  /** What usage tells instead of what was counted; absent: nothing. */
  readonly told?: ReplyUsage;
  /** Decides ids. */
  readonly identity: Random;
  /** Seconds since 1970. */
  readonly created: number;
  readonly stamped: boolean;
  readonly tokensPerChunk: number;
  /** When each token of the longest choice is due, hidden ones included; in one piece: when all of them are there. */
  readonly schedule: Schedule;
  /** Microseconds until the first token, as planned; with a scheduler: of a request that finds it idle. */
  readonly firstUs: number;
  /** Prompt tokens that need not be read again; with a scheduler known when the first token is. */
  readonly cache: { readonly cachedTokens: number };
}

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
    this.#nonce = { high: words[0]!, low: words[1]! };
  }

  /** Settles the answer. Throws ApiError for headers and schemas that cannot be followed. */
  answer(request: RouteRequest, ask: Ask): Answer {
    const index = this.#counter.next();
    const explicitSeed = integerHeader(request, "x-fakeai-seed") ?? ask.seed;
    const seed = explicitSeed === undefined ? seedOfRequest(this.#seed, index) : seedOf(explicitSeed);
    const identity = new Random(explicitSeed === undefined ? this.#uniqueSeed(index) : seed, purpose.identity);
    // The time of a seed lies between November 2023 and June 2025.
    const created = explicitSeed === undefined ? this.#nowSeconds() : 1_700_000_000 + identity.below(50_000_000);

    const reply = this.settings.replies?.of(request) ?? null;
    const headerText = givenText(request);
    const lengths = overriding(request, "x-fakeai-output-tokens", (name) => countUnits(name, maxOutputTokens));
    const work = new AnswerWork();
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
    const tokensPerChunk = this.#tokensPerChunk(request);
    if (!ask.stream || ask.endsWhole === true) checkWhole(ask, choices, outputTokens);
    if (ask.stream) checkEvent(ask, tokensPerChunk);
    const timing = this.#timing(request, ask, choices, reasoning.tokens, longest, seed, reply);
    return {
      ask,
      reasoning,
      choices,
      outputTokens,
      reasoningTokens: reasoning.tokens * choices.length,
      seed,
      identity,
      created,
      stamped: booleanHeader(request, "x-fakeai-stamps") ?? this.settings.stamps,
      tokensPerChunk,
      ...(reply !== null && reply.usage !== null && { told: reply.usage }),
      ...timing,
    };
  }

  #timing(
    request: RouteRequest,
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
    const ttft = overriding(request, "x-fakeai-ttft", latencyUnits) ?? reply?.ttft ?? this.settings.ttft;
    const itl = overriding(request, "x-fakeai-itl", latencyUnits) ?? reply?.itl ?? this.settings.itl;
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
    const ttft = overriding(request, "x-fakeai-ttft", latencyUnits) ?? this.settings.ttft;
    const schedule = ttft.constant === 0 ? never : unstreamedSchedule(seed, ttft, this.settings.itl, 1);
    return { schedule, firstUs: schedule.nextDueUs(0), stamped };
  }

  #uniqueSeed(index: number): Seed {
    const { high, low } = this.#nonce;
    return { high: (high ^ Math.floor(index / 0x1_0000_0000)) >>> 0, low: (low + index) >>> 0 };
  }

  #tokensPerChunk(request: RouteRequest): number {
    const name = "x-fakeai-tokens-per-chunk";
    const count = integerHeader(request, name);
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
    if (ask.json !== null) return Run.ofJson(work.instanceOf(ask.json.schema, ask.json.param, seed));
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

/** Throws ApiError where an answer that is made at once is too long for that. */
function checkWhole({ stream }: Ask, choices: readonly Choice[], outputTokens: number): void {
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
function checkEvent({ choices, logprobsPerToken = 0 }: Ask, tokensPerChunk: number): void {
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

function tokensOf({ text, calls }: Choice): number {
  const said = text?.tokens ?? 0;
  return calls.length === 0 ? said : calls.reduce((sum, call) => sum + call.arguments.tokens, said);
}

/** What the choices of one answer share: the budget of all their work, and what was found out or made for one of them. */
class AnswerWork {
  readonly #budget = new Budget();
  readonly #makers = new Map<unknown, SchemaMaker>();
  readonly #texts = new Map<string, Run>();

  /** A value of a schema. Throws ApiError. */
  instanceOf(schema: unknown, param: string, seed: Seed): unknown {
    try {
      let maker = this.#makers.get(schema);
      if (maker === undefined) this.#makers.set(schema, (maker = new SchemaMaker(schema, this.#budget)));
      return maker.make(new Random(seed, purpose.schema));
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
    let run = this.#texts.get(text);
    if (run === undefined) this.#texts.set(text, (run = Run.of(text)));
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
function makeCalls({ tools, choice, parallel }: CallPlan, seed: Seed, limit: number, work: AnswerWork): Choice {
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
function says({ text, refusal, calls }: SettledReply): boolean {
  return text !== null || refusal !== null || calls.length > 0;
}

function reasoningOf(ask: Ask, reply: SettledReply | null, seed: Seed, work: AnswerWork): Run {
  const given = reply?.reasoning ?? null;
  if (given !== null) {
    const run = work.textOf(given);
    return run.cutTo(Math.min(run.tokens, ask.limit));
  }
  if (ask.reasoningTokens === 0) return noRun;
  return new Run(corpusVocabulary, Math.min(ask.reasoningTokens, ask.limit), seedOfRequest(seed, 1_000_000));
}

/** What a rule says: its text, then its calls. The limit cuts both, stop sequences the text. */
function repliedChoice(reply: SettledReply, ask: Ask, index: number, seed: Seed, before: number, work: AnswerWork): Choice {
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
function stopAt(text: Run, stop: Stops, finish: Finish, seed: Seed, prefix: Run | null, work: AnswerWork): Choice {
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

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

const alphabetCodes: Uint8Array = Uint8Array.from(alphabet, (letter) => letter.charCodeAt(0));
/** Where letters are put together: bytes cost a third of what joining strings does. */
const letters = Buffer.allocUnsafeSlow(128) as Buffer & { latin1Slice(start: number, end: number): string };

/** Up to 128 letters and digits. */
export function randomLetters(random: Random, length: number): string {
  for (let at = 0; at < length; at += 5) {
    // Five characters of 62 fit into 32 bits.
    let word = random.word();
    for (let i = at; i < at + 5; i++) {
      const rest = Math.floor(word / 62);
      letters[i] = alphabetCodes[word - rest * 62]!;
      word = rest;
    }
  }
  return letters.latin1Slice(0, length);
}

/** Lower-case hexadecimal digits. */
export function randomHex(random: Random, length: number): string {
  let id = "";
  while (id.length < length) id += random.word().toString(16).padStart(8, "0");
  return id.slice(0, length);
}
