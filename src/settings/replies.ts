/** Rules for answers, as files and programs give them: their form, and the way to rules in force. */
import { readFileSync } from "node:fs";
import {
  type Fits,
  isSilent,
  type ReplyEndpoint,
  type ReplyFinish,
  type SettledMatch,
  type SettledReplies,
  type SettledReply,
  type Unmatched,
} from "../api/shared/replies.ts";
import { nameOfKey } from "../base/keys.ts";
import { UsageError } from "../base/usage-error.ts";
import { type Fault, parseFaults } from "../core/faults/fault.ts";
import { latencyUnits, parseDistribution, SpecError, type Distribution } from "../core/random/distribution.ts";
import { formErrorOf, isBefore, type Path, ReplyError } from "./reply-form.ts";

/**
 * Tokens.
 * @asType integer
 * @minimum 0
 * @maximum 1000000000
 */
type Count = number;

interface MatchOf<Pattern> {
  /**
   * The endpoint: chat completions, legacy completions, Responses, Anthropic's messages, Gemini's generateContent, Ollama's chat and
   * generate; or embeddings (of every provider) and moderations, which a rule meets only where it names them.
   */
  readonly endpoint?: ReplyEndpoint;
  /** The model's name: all of it, or a pattern. */
  readonly model?: Pattern;
  /** Stands in the last text of the user, or in what is to be embedded or judged: a part of it, or a pattern. The first 16,384 characters are looked at. */
  readonly user?: Pattern;
  /** Headers of the request by name: the whole value, or a pattern. */
  readonly headers?: { readonly [name: string]: Pattern };
  /**
   * Number of the answer in its conversation: 1 where the request holds no answer yet.
   * @asType integer
   * @minimum 1
   * @maximum 1000000
   */
  readonly turn?: number;
  /** Whether the conversation ends with the result of a tool. */
  readonly toolResult?: boolean;
  /** Whether JSON of a schema is asked for, or the name of that schema. */
  readonly schema?: boolean | string;
}

/** A call of a tool. */
interface ReplyCall {
  /**
   * The tool's name.
   * @minLength 1
   * @maxLength 128
   */
  readonly name: string;
  /** The arguments; a text is sent as it is, JSON or not. */
  readonly arguments?: { readonly [name: string]: unknown } | string;
}

/** What is answered. What is left out is as without a rule. */
export interface Reply {
  /** The text. The request's limit of tokens and its stop sequences cut it as they cut a model's. */
  readonly text?: string;
  /**
   * Tools that are called, after the text if there is one.
   * @minItems 1
   * @maxItems 128
   */
  readonly toolCalls?: readonly ReplyCall[];
  /** A refusal, in place of a text. */
  readonly refusal?: string;
  /** The text of the reasoning, where the surface shows one; it counts as output everywhere. */
  readonly reasoning?: string;
  /** What ends the answer, by OpenAI's names. */
  readonly finishReason?: ReplyFinish;
  /** Numbers that usage tells instead of those counted. */
  readonly usage?: {
    readonly promptTokens?: Count;
    readonly completionTokens?: Count;
    readonly reasoningTokens?: Count;
    readonly cachedTokens?: Count;
  };
  /** Time to first token, as --ttft takes it. */
  readonly ttft?: string | number;
  /** Inter-token latency, as --itl takes it. */
  readonly itl?: string | number;
  /** Faults, as --fault takes them: "rate_limit", "status(503)", "reset(after=3)", several with commas between. */
  readonly fault?: string;
}

interface RuleOf<Pattern> {
  /** What a request must hold; left out: any request fits. */
  readonly match?: MatchOf<Pattern>;
  /**
   * The reply, or a sequence of them: one for each request that fits, and the last for all later ones.
   * @minItems 1
   */
  readonly reply: Reply | readonly Reply[];
}

interface SetOf<Pattern> {
  /** What a request that no rule fits gets: an answer as without rules (default), or an error 404. */
  readonly unmatched?: "generate" | "error";
  /**
   * The rules. The first that fits decides.
   * @maxItems 10000
   */
  readonly replies: readonly RuleOf<Pattern>[];
}

/** A file of rules. A pattern is written as "/expression/flags", in RE2's syntax: no references back, no looking around. */
export interface ReplyFile extends SetOf<string> {
  /** Address of the JSON schema, for editors. */
  readonly $schema?: string;
}

/** A rule as a program gives it. A text that is written as "/expression/flags" is a pattern as in a file. */
export type ReplyRule = RuleOf<string | RegExp>;

/** Rules as a program gives them. */
export type ReplySet = SetOf<string | RegExp>;

/** Rules: the path of a YAML or JSON file, a list, or a list with what becomes of other requests. */
export type GivenReplies = string | readonly ReplyRule[] | ReplySet;

/** Rules of one set, as the schema says too: of more it would list a fault each. */
const mostRules = 10_000;

/**
 * Settles rules. `batched`: latencies follow from the batch, and no rule may have its own. `isJson`: the rules were JSON, and need no copy
 * that JSON can carry, which takes 50 ms of 200,000 values. Throws UsageError with the place of the first error.
 */
export async function settleReplies(given: GivenReplies, batched: boolean, isJson = false): Promise<SettledReplies> {
  if (typeof given === "string") return settleFile(given, batched);
  try {
    return await settle(given, batched, isJson);
  } catch (error) {
    if (error instanceof ReplyError) throw new UsageError(`${placeOf(error.path)}: ${error.message}`);
    throw error;
  }
}

async function settleFile(file: string, batched: boolean): Promise<SettledReplies> {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new UsageError(`--replies: cannot read ${file} (${(error as NodeJS.ErrnoException).code ?? "unreadable"})`);
  }
  const { isMap, isScalar, LineCounter, parseDocument, visit } = await import("yaml");
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const broken = document.errors[0];
  if (broken !== undefined) throw new UsageError(`${file}:${broken.linePos?.[0].line ?? 1}: ${broken.message.split("\n")[0]!}`);
  visit(document, {
    Alias: (_key, alias) => {
      if (alias.resolve(document) !== undefined) return;
      const line = lines.linePos(alias.range![0]).line;
      throw new UsageError(`${file}:${line}: *${alias.source} names nothing in this file; a text that begins with * needs quotation marks`);
    },
  });
  const value = valueOf(document, file);
  /** The line of the nearest place that the file holds. */
  const lineOf = (path: Path): number => {
    const own = Array.isArray(value) ? path.slice(1) : path;
    for (let length = own.length; length > 0; length--) {
      // A member stands where its name does, which may be lines above its value.
      const holder = document.getIn(own.slice(0, length - 1), true);
      const pair = isMap(holder)
        ? holder.items.find(({ key }) => isScalar(key) && String(key.value) === String(own[length - 1]))
        : undefined;
      const node = (pair?.key ?? document.getIn(own.slice(0, length), true)) as { range?: [number, number, number] } | undefined;
      if (node?.range !== undefined) return lines.linePos(node.range[0]).line;
    }
    return 1;
  };
  try {
    return await settle((value ?? { replies: [] }) as ReplyFile, batched, false);
  } catch (error) {
    if (error instanceof ReplyError) throw new UsageError(`${file}:${lineOf(error.path)}: ${placeOf(error.path)}: ${error.message}`);
    throw error;
  }
}

/** Throws UsageError for names that unfold to more than a file may hold. */
function valueOf(document: { toJS: () => unknown }, file: string): unknown {
  try {
    return document.toJS();
  } catch (error) {
    throw new UsageError(`${file}: ${(error as Error).message.split("\n")[0]!}`);
  }
}

/** A copy that JSON can carry. Throws ReplyError for what it cannot, as rules that hold themselves. */
function plain(set: ReplySet): unknown {
  try {
    return JSON.parse(JSON.stringify(set, (_name, value: unknown) => (isRegExp(value) ? String(value) : value)) ?? "null");
  } catch (error) {
    throw new ReplyError([], `cannot be written as JSON: ${(error as Error).message.split("\n")[0]!}`);
  }
}

/** A place as programs write it: replies[2].reply.text. */
function placeOf(path: Path): string {
  const text = path.map((part) => (typeof part === "number" ? `[${part}]` : `.${part}`)).join("");
  return text === "" ? "replies" : text.slice(text.startsWith(".") ? 1 : 0);
}

async function settle(given: readonly ReplyRule[] | ReplySet, batched: boolean, isJson: boolean): Promise<SettledReplies> {
  const set = (Array.isArray(given) ? { replies: given } : given) as ReplySet;
  if (Array.isArray(set?.replies) && set.replies.length > mostRules)
    throw new ReplyError(["replies"], `must NOT have more than ${mostRules} items`);
  const shown = isJson ? set : plain(set);
  const wrong = await formErrorOf(shown);
  // The rules before the first fault of the form are in order, and may have a fault of their own that comes first.
  const inForm = wrong === null ? set.replies : rulesBefore(wrong, set);
  const compile = usesPatterns(inForm) ? await patternCompiler() : null;
  const rules = inForm.map(({ match = {}, reply }, index) => {
    const at: Path = ["replies", index];
    checkSilent(match, at);
    const list = Array.isArray(reply) ? (reply as readonly Reply[]) : [reply as Reply];
    return {
      match: settleMatch(match, [...at, "match"], compile),
      replies: list.map((one, step) => {
        const place = Array.isArray(reply) ? [...at, "reply", step] : [...at, "reply"];
        checkSilentReply(match, one, place);
        return settleReply(one, place, batched);
      }),
    };
  });
  if (wrong !== null) throw wrong;
  const unmatched: Unmatched = set.unmatched ?? "generate";
  return { unmatched, rules, shown: { unmatched, replies: (shown as { replies: unknown }).replies } };
}

/** Rules that end before a fault. */
function rulesBefore({ path }: ReplyError, set: ReplySet): readonly ReplyRule[] {
  if (!Array.isArray(set?.replies)) return [];
  const rules = set.replies as readonly ReplyRule[];
  const end = rules.findIndex((_rule, index) => (path[0] === "replies" && path[1] === index) || !isBefore(["replies", index], path, set));
  return end < 0 ? rules : rules.slice(0, end);
}

/** Also one of another realm, as Jest's tests have them. */
function isRegExp(value: unknown): value is RegExp {
  return Object.prototype.toString.call(value) === "[object RegExp]";
}

/** A pattern in text form. */
const written = /^\/(.+)\/([a-z]*)$/s;

function usesPatterns(rules: readonly ReplyRule[]): boolean {
  const isWritten = (value: unknown): boolean => typeof value === "string" && written.test(value);
  return rules.some(
    ({ match }) => isWritten(match?.model) || isWritten(match?.user) || Object.values(match?.headers ?? {}).some(isWritten),
  );
}

/** Makes a pattern of its text. Throws Error where it is none. */
type Compile = (expression: string, flags: string) => Fits;

/**
 * Patterns of files and of /admin/replies run on RE2: its time grows with the text alone, so that no pattern can hold up the streams
 * beside it as a backtracking one does.
 */
async function patternCompiler(): Promise<Compile> {
  const { RE2JS } = await import("re2js");
  const bits: Readonly<Record<string, number>> = { i: RE2JS.CASE_INSENSITIVE, s: RE2JS.DOTALL, m: RE2JS.MULTILINE };
  return (expression, flags) => {
    const letters = flags.split("");
    const unknown = letters.find((flag) => !Object.hasOwn(bits, flag) && flag !== "u");
    if (unknown !== undefined)
      throw new Error(
        `there is no flag "${unknown}"; there are i, s and m; a text that only looks like a pattern is written as "/\\/x\\/y/"`,
      );
    const pattern = RE2JS.compile(
      RE2JS.translateRegExp(expression),
      letters.reduce((sum, flag) => sum | (bits[flag] ?? 0), 0),
    );
    return (text) => pattern.matcher(text).find();
  };
}

function settleMatch(match: MatchOf<string | RegExp>, path: Path, compile: Compile | null): SettledMatch {
  const fitsOf = (value: string | RegExp | undefined, at: Path, plain: (wanted: string) => Fits): Fits | null => {
    if (value === undefined) return null;
    if (isRegExp(value)) {
      // A pattern that keeps its place would fit every other time.
      const pattern = new RegExp(value.source, value.flags.replaceAll(/[gy]/g, ""));
      return (text) => pattern.test(text);
    }
    const found = written.exec(value);
    if (found === null) return plain(value);
    try {
      return compile!(found[1]!, found[2]!);
    } catch (error) {
      throw new ReplyError(at, `is no pattern of RE2's syntax (${(error as Error).message})`);
    }
  };
  const whole =
    (wanted: string): Fits =>
    (text) =>
      text === wanted;
  return {
    endpoint: match.endpoint ?? null,
    model: fitsOf(match.model, [...path, "model"], whole),
    user: fitsOf(match.user, [...path, "user"], (wanted) => (text) => text.includes(wanted)),
    headers: Object.entries(match.headers ?? {}).map(([name, value]) => ({
      name: name.toLowerCase(),
      fits: fitsOf(value, [...path, "headers", name], whole)!,
    })),
    turn: match.turn ?? null,
    toolResult: match.toolResult ?? null,
    schema: match.schema ?? null,
  };
}

/** Members of a match that embeddings and moderations have nothing for. */
const ofConversations = ["turn", "toolResult", "schema"] as const;

function checkSilent({ endpoint, ...match }: MatchOf<string | RegExp>, path: Path): void {
  if (endpoint === undefined || !isSilent(endpoint)) return;
  const wrong = ofConversations.find((name) => match[name] !== undefined);
  if (wrong !== undefined) throw new ReplyError([...path, "match", wrong], `${endpoint} are no conversation: leave it out`);
}

/** Throws ReplyError where a reply says something at an endpoint that says nothing. */
function checkSilentReply({ endpoint }: MatchOf<string | RegExp>, reply: Reply, path: Path): void {
  if (endpoint === undefined || !isSilent(endpoint)) return;
  const [has, allowed] = endpoint === "embeddings" ? ["a ttft and a fault", ["ttft", "fault"]] : ["a fault", ["fault"]];
  const wrong = Object.keys(reply).find((name) => !allowed.includes(name));
  if (wrong !== undefined) throw new ReplyError([...path, wrong], `a reply to ${endpoint} has ${has} alone`);
  if (endpoint === "embeddings" || reply.fault === undefined) return;
  const other = faultsOf(reply.fault, [...path, "fault"]).find(({ form, name }) => form !== "refusal" && name !== "delay");
  if (other !== undefined)
    throw new ReplyError([...path, "fault"], `${other.name}: moderations take faults that answer with an error, and a delay of these`);
}

function settleReply(reply: Reply, path: Path, batched: boolean): SettledReply {
  const { text = null, refusal = null, toolCalls = [], reasoning = null, finishReason = null, usage } = reply;
  if (refusal !== null && (text !== null || toolCalls.length > 0))
    throw new ReplyError([...path, "refusal"], "stands in place of a text and of tool calls: give one of them");
  const said = text !== null || refusal !== null || toolCalls.length > 0;
  if (finishReason !== null && !said) throw new ReplyError([...path, "finishReason"], "needs a text, a refusal or tool calls beside it");
  if (finishReason === "tool_calls" && toolCalls.length === 0)
    throw new ReplyError([...path, "finishReason"], "tool_calls needs toolCalls");
  const latency = (key: "ttft" | "itl"): Distribution | null => {
    const spec = reply[key];
    if (spec === undefined) return null;
    if (batched) throw new ReplyError([...path, key], "with --scheduler batched latencies follow from the batch");
    return orReplyError([...path, key], () => parseDistribution(spec, latencyUnits(key)));
  };
  return {
    text,
    refusal,
    reasoning,
    calls: toolCalls.map((call) => ({
      name: call.name,
      arguments: typeof call.arguments === "string" ? call.arguments : JSON.stringify(call.arguments ?? {}),
    })),
    finish: finishReason,
    usage: usage ?? null,
    ttft: latency("ttft"),
    itl: latency("itl"),
    faults: reply.fault === undefined ? [] : faultsOf(reply.fault, [...path, "fault"]),
  };
}

function faultsOf(spec: string, path: Path): Fault[] {
  const faults = orReplyError(path, () => parseFaults(spec, "fault", nameOfKey));
  if (faults.some(({ name }) => name === "no_window_update"))
    throw new ReplyError(path, "no_window_update is decided before a body is there: give it by --fault or by the header x-fakeai-fault");
  return faults;
}

function orReplyError<T>(path: Path, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof SpecError) throw new ReplyError(path, error.message);
    throw error;
  }
}
