/** From a completion request to its plan: what is said, how long it is, and when each token is due. */
import { countUnits, type Distribution, latencyUnits, parseDistribution, SpecError } from "../../core/distribution.ts";
import { StreamFrames, UnaryFrame } from "../../core/frames.ts";
import { purpose, Random, type Seed, seedOf, seedOfRequest } from "../../core/random.ts";
import { independentSchedule, unstreamedSchedule } from "../../core/schedule.ts";
import type { ResponseHead, ResponsePlan, RouteRequest } from "../../core/seams.ts";
import { corpusCursor, corpusVocabulary, sequentialCursor, splitTokens, type TokenCursor, type Vocabulary } from "../../core/text.ts";
import {
  checkMessages,
  invalidType,
  isObject,
  type JsonObject,
  optionalBoolean,
  optionalInteger,
  optionalNumber,
  parseBody,
  promptTokensOf,
  requiredString,
  tokensOfBytes,
} from "./body.ts";
import { ApiError } from "./errors.ts";
import { type FinishReason, idLength, type Identity, identityBytes, type Kind, StreamShape, unaryJson } from "./formats.ts";

/** The most tokens one answer may have. */
export const maxOutputTokens = 1_048_576;

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
  /** What every answer says; null: made-up text. */
  readonly text: string | null;
}

/** Event shapes kept: one per model name, kind and option. Names come from clients, so the number is bounded. */
const shapesKept = 32;

export class Generator {
  readonly #settings: ModelSettings;
  readonly #clockIdentity: string;
  readonly #nowSeconds: () => number;
  readonly #seed: Seed;
  readonly #shapes = new Map<string, StreamShape>();
  readonly #fixedText: Vocabulary | null;
  /** Makes ids unique over processes. */
  readonly #nonce: Seed;
  #requests = 0;

  /** `clockIdentity` names the clock of the stamps; `nowSeconds` is the wall clock, for `created`. */
  constructor(settings: ModelSettings, clockIdentity: string, nowSeconds: () => number) {
    this.#settings = settings;
    this.#clockIdentity = clockIdentity;
    this.#nowSeconds = nowSeconds;
    this.#seed = seedOf(settings.seed);
    this.#fixedText = settings.text === null ? null : { texts: splitTokens(settings.text) };
    const words = crypto.getRandomValues(new Uint32Array(2));
    this.#nonce = { high: words[0]!, low: words[1]! };
  }

  /** Plans the answer to a request. Throws ApiError for what a client got wrong. */
  plan(kind: Kind, request: RouteRequest, bytes: Uint8Array): ResponsePlan {
    const body = parseBody(bytes);
    const model = this.#checkModel(body);
    const promptTokens = kind === "chat" ? tokensOfBytes(checkMessages(body)) : promptTokensOf(body);
    const stream = optionalBoolean(body, "stream") ?? false;
    const includeUsage = checkStreamOptions(body, stream);
    checkSampling(body);

    const index = this.#requests++;
    const explicitSeed =
      integerHeader(request, "x-fakeai-seed") ?? optionalInteger(body, "seed", -Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
    const seed = explicitSeed === undefined ? seedOfRequest(this.#seed, index) : seedOf(explicitSeed);
    const identity = explicitSeed === undefined ? this.#uniqueIdentity(index) : identityOfSeed(seed);

    const text = givenText(request);
    const vocabulary = text === null ? this.#fixedText : { texts: splitTokens(text) };
    const { tokens, finish } = this.#length(kind, body, request, seed, vocabulary);
    const ttft = overriding(request, "x-fakeai-ttft", latencyUnits) ?? this.#settings.ttft;
    const itl = overriding(request, "x-fakeai-itl", latencyUnits) ?? this.#settings.itl;
    const cursor = vocabulary === null ? corpusCursor(seed) : sequentialCursor(vocabulary);
    const stamped = booleanHeader(request, "x-fakeai-stamps") ?? this.#settings.stamps;
    const usage = { promptTokens, completionTokens: tokens };
    // Written out in both plans: an object made by spreading costs a microsecond more than all its contents.
    const startUs = request.receivedUs;

    if (!stream) {
      const texts = (vocabulary ?? corpusVocabulary).texts;
      return {
        startUs,
        outputTokens: tokens,
        promptTokens,
        finishReason: finish,
        head: this.#head("application/json", false, stamped),
        frames: new UnaryFrame(() => unaryJson(kind, model, identity, sayAll(cursor, texts, tokens), finish, usage), stamped),
        schedule: unstreamedSchedule(seed, ttft, itl, tokens),
      };
    }
    const options = { kind, model, includeUsage, stamped };
    const shape = text === null ? this.#shape(options, vocabulary ?? corpusVocabulary) : new StreamShape(options, vocabulary!);
    return {
      startUs,
      outputTokens: tokens,
      promptTokens,
      finishReason: finish,
      head: this.#head("text/event-stream; charset=utf-8", true, stamped),
      frames: new StreamFrames(shape.tokens, cursor, tokens, identityBytes(kind, identity), shape.opening, shape.closing(finish, usage)),
      schedule: independentSchedule(seed, ttft, itl),
    };
  }

  #checkModel(body: JsonObject): string {
    const model = requiredString(body, "model");
    if (model === "" || model.length > 256)
      throw new ApiError(400, "Invalid 'model': expected 1 to 256 characters.", "model", "invalid_value");
    const { models } = this.#settings;
    if (models !== null && !models.includes(model)) throw modelNotFound(model);
    return model;
  }

  /** How many tokens the answer has and what ends it. */
  #length(
    kind: Kind,
    body: JsonObject,
    request: RouteRequest,
    seed: Seed,
    text: Vocabulary | null,
  ): { tokens: number; finish: FinishReason } {
    const least = kind === "chat" ? 1 : 0;
    const limit = Math.min(
      optionalInteger(body, "max_completion_tokens", least, maxOutputTokens) ?? Infinity,
      optionalInteger(body, "max_tokens", least, maxOutputTokens) ?? Infinity,
    );
    const min = optionalInteger(body, "min_tokens", 0, maxOutputTokens) ?? 0;
    if (min > limit)
      throw new ApiError(400, `Invalid 'min_tokens': ${min} is above the maximum of ${limit}.`, "min_tokens", "invalid_value");
    const ignoreEos = optionalBoolean(body, "ignore_eos") ?? false;
    const asked = overriding(request, "x-fakeai-output-tokens", (name) => countUnits(name, maxOutputTokens));
    const lengths = asked ?? this.#settings.outputTokens;
    // A given text has its own length, unless the request asks for another.
    const natural =
      text !== null && asked === undefined
        ? text.texts.length
        : Math.round(lengths.constant ?? lengths.sample(new Random(seed, purpose.length)));
    // Without an end-of-sequence token a model goes on to the limit.
    if (ignoreEos && limit !== Infinity) return { tokens: limit, finish: "length" };
    const wanted = Math.max(natural, min);
    return wanted > limit ? { tokens: limit, finish: "length" } : { tokens: wanted, finish: "stop" };
  }

  #uniqueIdentity(index: number): Identity {
    const { high, low } = this.#nonce;
    const seed = { high: (high ^ Math.floor(index / 0x1_0000_0000)) >>> 0, low: (low + index) >>> 0 };
    return { id: randomId(new Random(seed, purpose.identity)), created: this.#nowSeconds() };
  }

  #shape(options: { kind: Kind; model: string; includeUsage: boolean; stamped: boolean }, vocabulary: Vocabulary): StreamShape {
    const key = `${options.kind}${options.includeUsage ? "u" : "-"}${options.stamped ? "s" : "-"}${options.model}`;
    let shape = this.#shapes.get(key);
    if (shape === undefined) {
      if (this.#shapes.size === shapesKept) this.#shapes.delete(this.#shapes.keys().next().value!);
      shape = new StreamShape(options, vocabulary);
      this.#shapes.set(key, shape);
    }
    return shape;
  }

  #head(contentType: string, streamed: boolean, stamped: boolean): ResponseHead {
    const headers: Record<string, string> = { "content-type": contentType };
    if (streamed) headers["cache-control"] = "no-cache";
    headers["x-request-id"] = requestId();
    if (stamped) headers["x-fakeai-clock"] = this.#clockIdentity;
    return { status: 200, headers, streamed };
  }
}

export function modelNotFound(model: string): ApiError {
  return new ApiError(
    404,
    `The model \`${model.slice(0, 256)}\` does not exist or you do not have access to it.`,
    "model",
    "model_not_found",
  );
}

function checkStreamOptions(body: JsonObject, stream: boolean): boolean {
  const options = body["stream_options"];
  if (options === undefined || options === null) return false;
  if (!isObject(options)) throw invalidType("stream_options", "an object", options);
  if (!stream) {
    throw new ApiError(400, "The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options", "invalid_value");
  }
  const include = options["include_usage"];
  if (include !== undefined && include !== null && typeof include !== "boolean")
    throw invalidType("stream_options.include_usage", "a boolean", include);
  return include === true;
}

/** Sampling parameters change nothing here, but a client that gets them wrong learns it here too. */
function checkSampling(body: JsonObject): void {
  optionalNumber(body, "temperature", 0, 2);
  optionalNumber(body, "top_p", 0, 1);
  optionalNumber(body, "presence_penalty", -2, 2);
  optionalNumber(body, "frequency_penalty", -2, 2);
  const n = optionalInteger(body, "n", 1, 128);
  if (n !== undefined && n > 1)
    throw new ApiError(400, "Invalid 'n': only one choice per request is supported here.", "n", "unsupported_value");
}

function headerError(name: string, message: string): ApiError {
  return new ApiError(400, message, name, "invalid_value");
}

function overriding(
  request: RouteRequest,
  name: string,
  units: (name: string) => Parameters<typeof parseDistribution>[1],
): Distribution | undefined {
  const value = request.header(name);
  if (value === undefined) return undefined;
  try {
    return parseDistribution(value, units(name));
  } catch (error) {
    if (error instanceof SpecError) throw headerError(name, error.message);
    throw error;
  }
}

function integerHeader(request: RouteRequest, name: string): number | undefined {
  const value = request.header(name);
  if (value === undefined) return undefined;
  const number = Number(value);
  if (!/^-?\d+$/.test(value) || !Number.isSafeInteger(number)) throw headerError(name, `${name}: expected a whole number up to 2^53`);
  return number;
}

function booleanHeader(request: RouteRequest, name: string): boolean | undefined {
  const value = request.header(name);
  if (value === undefined) return undefined;
  if (value !== "1" && value !== "0") throw headerError(name, `${name}: expected 1 or 0`);
  return value === "1";
}

/** The header holds the text itself, or a JSON string where it needs line ends or other controls. */
function givenText(request: RouteRequest): string | null {
  const value = request.header("x-fakeai-text");
  if (value === undefined) return null;
  if (!value.startsWith('"')) return value;
  try {
    return JSON.parse(value) as string;
  } catch {
    throw headerError("x-fakeai-text", "x-fakeai-text: a value that begins with a quotation mark must be a JSON string");
  }
}

function sayAll(cursor: TokenCursor, texts: readonly string[], tokens: number): string {
  let text = "";
  for (let token = 0; token < tokens; token++) text += texts[cursor.next()]!;
  return text;
}

/** An id and a time that follow from the seed alone. The time lies between November 2023 and June 2025. */
function identityOfSeed(seed: Seed): Identity {
  const random = new Random(seed, purpose.identity);
  return { id: randomId(random), created: 1_700_000_000 + random.below(50_000_000) };
}

const idAlphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/** Ids are put together from pairs: half the work. */
const idPairs: readonly string[] = Array.from(idAlphabet, (first) => Array.from(idAlphabet, (second) => first + second)).flat();

function randomId(random: Random): string {
  let id = "";
  while (id.length < idLength) {
    // Two pairs and one character of 62 fit into 32 bits.
    const word = random.word();
    const pairs = Math.floor(word / 62);
    id += idPairs[pairs % 3844]! + idPairs[Math.floor(pairs / 3844) % 3844]! + idAlphabet[word % 62]!;
  }
  return id.length === idLength ? id : id.slice(0, idLength);
}

const hexBytes: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
/** 96 random bits of this process, before 32 that differ between its requests. */
const requestIdStart = `req_${Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => hexBytes[byte]!).join("")}`;
let requestIds = 0;

/** The value of x-request-id. */
function requestId(): string {
  // An odd factor permutes the 32-bit numbers: no two requests share one, and neighbours do not look alike.
  const n = Math.imul(++requestIds, 0x9e3779b1);
  return requestIdStart + hexBytes[n >>> 24]! + hexBytes[(n >>> 16) & 255]! + hexBytes[(n >>> 8) & 255]! + hexBytes[n & 255]!;
}
