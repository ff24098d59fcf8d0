/**
 * Formats of traces whose row is a whole session: InferenceX AgentX (Weka's cc-traces, kv-cache-tester), and the conversations of
 * vLLM's multi-turn benchmark, recorded or to be generated (benchmarks/multi_turn of vllm-project/vllm).
 */
import { uniform } from "./arrivals.ts";
import { type DatasetMessage, DatasetError, estimatedTokens, messagesOf } from "./dataset.ts";
import { seedOfText, textOfPieces } from "./prompts.ts";
import type { Turn } from "./turns.ts";

type Values = Readonly<Record<string, unknown>>;

/** Pauses are cut to this, as AgentX replays them: a longer one was a person who had left. */
const longestThinkS = 10;
const mostTokens = 10_000_000;

function isObject(value: unknown): value is Values {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whether a row is one session of AgentX: its requests, with lengths, and perhaps blocks. */
export function isAgentSession({ requests }: Values): boolean {
  return Array.isArray(requests) && requests.length > 0 && requests.every(isObject);
}

/** A number of a session, from 0. Throws DatasetError, whose message begins with `at`. */
function numberIn(values: Values, name: string, at: string, most: number): number {
  const value = values[name];
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0 || value > most)
    throw new DatasetError(`${at}: "${name}" must be a number from 0 to ${most}, not ${JSON.stringify(value) ?? "nothing"}`);
  return value;
}

/**
 * The requests of a session: `in` and `out` are tokens, `think_time` seconds between the answer before and this request, blocks of
 * `block_size` tokens are the session's own. A sub-agent's requests (`type` "subagent") follow the request before it, and the next
 * one of the session waits for their last. Recorded times hold the recorded server's, and are not used.
 */
export function agentSession(session: Values, at: string, blockTokens: number | null): Turn[] {
  const name = typeof session["id"] === "string" ? session["id"] : at;
  const size = blockTokens ?? (session["block_size"] === undefined ? 64 : numberIn(session, "block_size", at, mostTokens));
  const scope = session["hash_id_scope"] === "global" ? undefined : `${name} `;
  const turns: Turn[] = [];
  const add = (request: Values, where: string, parent: unknown, joins: readonly unknown[]): string => {
    const id = `${at} ${turns.length}`;
    const inputTokens = numberIn(request, "in", where, mostTokens);
    const think = request["think_time"] === undefined ? 0 : numberIn(request, "think_time", where, 1e9);
    turns.push({
      atMs: null,
      inputTokens,
      outputTokens: numberIn(request, "out", where, mostTokens),
      delayMs: Math.min(longestThinkS, think) * 1000,
      session: name,
      chat: { id, parent, joins },
      blocks: blocksOf(request["hash_ids"], inputTokens, size, scope, where),
      given: null,
      at: where,
    });
    return id;
  };
  /** The id of the last of these requests; `first` is what their first one follows. */
  const chain = (requests: readonly unknown[], place: string, first: unknown): unknown => {
    let before = first;
    let ends: unknown[] = [];
    for (const [index, request] of (requests as readonly Values[]).entries()) {
      const where = `${place}, request ${index + 1}`;
      if (!isObject(request)) throw new DatasetError(`${where}: not a JSON object`);
      if (request["type"] === "subagent" && Array.isArray(request["requests"])) {
        const end = chain(request["requests"], where, before);
        if (end !== before) ends.push(end);
        continue;
      }
      before = add(request, where, before, ends);
      ends = [];
    }
    return before;
  };
  chain(session["requests"] as readonly unknown[], at, undefined);
  return turns;
}

/** Blocks of a prompt; the last one may be in part, or left out. Throws DatasetError where they do not fit its length. */
function blocksOf(ids: unknown, inputTokens: number, tokens: number, scope: string | undefined, at: string): Turn["blocks"] {
  if (ids === undefined || ids === null || (Array.isArray(ids) && ids.length === 0)) return null;
  if (!Array.isArray(ids) || !ids.every((id) => Number.isSafeInteger(id)))
    throw new DatasetError(`${at}: "hash_ids" must be a list of whole numbers`);
  const most = Math.ceil(inputTokens / tokens);
  if (ids.length !== most && ids.length !== most - 1)
    throw new DatasetError(
      `${at}: ${inputTokens} tokens are ${most} blocks of ${tokens}, but "hash_ids" has ${ids.length} (--trace-block-size)`,
    );
  return { ids: ids as number[], tokens, ...(scope === undefined ? {} : { scope }) };
}

/** Whether a row is a conversation of vLLM's: messages of both sides under an id, and no length of an answer. */
export function isTalk({ id, messages, ...others }: Values): boolean {
  const named = ["session_id", "message_mode", "output_length", "output_tokens", "timestamp", "delay"];
  return id !== undefined && Array.isArray(messages) && !named.some((name) => others[name] !== undefined);
}

/** A turn for each answer of the conversation, with all that was said before it; as long as the answer that was given. */
export function recordedTalk({ id, messages }: Values, at: string): Turn[] {
  const said = messagesOf(messages as readonly unknown[], at);
  const session = String(id);
  return said.flatMap(({ role, content }, index): Turn[] => {
    if (role !== "assistant" || index === 0) return [];
    const outputTokens = estimatedTokens({ messages: [{ role, content }] });
    return [talkTurn(session, said.slice(0, index), outputTokens, at)];
  });
}

function talkTurn(session: string, said: readonly DatasetMessage[], outputTokens: number, at: string): Turn {
  const given = { messages: said, more: {}, outputTokens: null, answer: null };
  return { atMs: null, inputTokens: estimatedTokens(given), outputTokens, delayMs: 0, session, chat: null, blocks: null, given, at };
}

/** Whether a row says how vLLM's benchmark generates conversations. */
export function isGenerator({ filetype }: Values): boolean {
  return filetype === "generate_conversations";
}

const mostTalks = 100_000;

/**
 * Conversations as such a file describes them: `num_turns` counts messages of both sides, `num_tokens` is of each message. Words
 * stand for the text files that it names. The same file gives the same conversations.
 */
export function generatedTalks(spec: Values, at: string): Turn[] {
  const { prompt_input: input, prompt_output: output } = spec;
  if (!isObject(input) || !isObject(output)) throw new DatasetError(`${at}: "prompt_input" and "prompt_output" must be objects`);
  const count = numberIn(spec, "num_conversations", at, mostTalks);
  const random = uniform(seedOfText(JSON.stringify([input, output])) % 2_147_483_647);
  const draw = (from: Values, name: string, least: number, otherwise?: number): number => {
    const described = from[name];
    if (described === undefined && otherwise !== undefined) return otherwise;
    if (!isObject(described)) throw new DatasetError(`${at}: "${name}" must be an object with a distribution`);
    return Math.min(mostTokens, Math.max(least, Math.round(sampled(described, random, `${at}: "${name}"`))));
  };
  const shared = draw(input, "common_prefix_num_tokens", 0, 0);
  return Array.from({ length: Math.floor(count) }, (_, talk): Turn[] => {
    const session = `conversation ${talk + 1}`;
    const words = (name: string, tokens: number): string => textOfPieces([{ seed: seedOfText(`${session} ${name}`), tokens }]);
    const questions = Math.ceil(draw(input, "num_turns", 2) / 2);
    const prefix = draw(input, "prefix_num_tokens", 0, 0);
    const begin = [
      ...(shared > 0 ? [textOfPieces([{ seed: seedOfText("common prefix"), tokens: shared }])] : []),
      ...(prefix > 0 ? [words("prefix", prefix)] : []),
    ];
    const said: DatasetMessage[] = [];
    return Array.from({ length: questions }, (__, turn): Turn => {
      const question = words(`question ${turn}`, draw(input, "num_tokens", 1));
      const outputTokens = draw(output, "num_tokens", 1);
      said.push({ role: "user", content: turn === 0 ? [...begin, question].join(" ") : question });
      const one = talkTurn(session, [...said], outputTokens, at);
      said.push({ role: "assistant", content: words(`answer ${turn}`, outputTokens) });
      return one;
    });
  }).flat();
}

/** One value of a distribution as numpy draws it, and vLLM's benchmark names it. Throws DatasetError, which begins with `at`. */
function sampled(spec: Values, random: () => number, at: string): number {
  const value = (name: string): number => numberIn(spec, name, at, mostTokens);
  const most = spec["max"] === undefined || spec["max"] === null ? Infinity : value("max");
  const normal = (): number => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  switch (spec["distribution"]) {
    case "constant":
      return value("value");
    case "uniform":
      return value("min") + Math.floor(random() * (most - value("min") + 1));
    case "lognormal": {
      if (spec["average"] === undefined) return Math.min(most, Math.exp(value("mean") + value("sigma") * normal()));
      const ratio = spec["median_ratio"] === undefined || spec["median_ratio"] === null ? 0.85 : value("median_ratio");
      if (!(ratio > 0 && ratio < 1)) throw new DatasetError(`${at}: "median_ratio" must lie between 0 and 1`);
      return Math.min(most, Math.exp(Math.log(value("average") * ratio) + Math.sqrt(-2 * Math.log(ratio)) * normal()));
    }
    case "poisson": {
      // Knuth's product of uniforms, in the logarithm, so that a large mean does not underflow.
      let left = value("alpha");
      let events = -1;
      for (; left >= 0; events++) left += Math.log(1 - random());
      return Math.min(most, events);
    }
    case "zipf":
      return zipf(value("alpha"), most, random, at);
    default:
      throw new DatasetError(`${at}: the distribution must be constant, uniform, lognormal, zipf or poisson`);
  }
}

/** Devroye's rejection for Zipf's law, as numpy has it (Non-Uniform Random Variate Generation, 1986, chapter X.6). */
function zipf(alpha: number, most: number, random: () => number, at: string): number {
  if (!(alpha > 1)) throw new DatasetError(`${at}: "alpha" must be above 1`);
  const b = 2 ** (alpha - 1);
  for (;;) {
    const x = Math.floor((1 - random()) ** (-1 / (alpha - 1)));
    const t = (1 + 1 / x) ** (alpha - 1);
    if (random() * x * (t - 1) * b <= t * (b - 1)) return Math.min(most, x);
  }
}
