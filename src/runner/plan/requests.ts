/** From a workload to the requests of a round: the same prompts and the same seeds in every arm. */
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { UsageError } from "../../base/usage-error.ts";
import { constantArrivalsUs, poissonArrivalsUs, uniform } from "../../load/arrivals.ts";
import type { DatasetMessage } from "../../load/dataset.ts";
import { oneLine } from "../../load/words.ts";
import type { BackgroundLoad, PlannedRequest } from "../../load/job.ts";
import { sentBody } from "../../load/prompts.ts";
import type { PromptsSent } from "../../results/types.ts";
import { isDealt, type Share, thinned } from "../../shards/share.ts";
import { describePrompts, outputTokensOf, type Prompt, promptOf, seedOfCall, textOfMessages, tracePrompt } from "./prompts.ts";
import { bodyOf, orderOf, takesEverything, takesUsage, type Wording } from "./body.ts";
import type { Workload } from "./scenario.ts";
import { tapeRequests } from "./tape.ts";
import { historyOf, sessionPrompts, sessionRequests, turnsOfTrace } from "./sessions.ts";
import { traceOf } from "./trace.ts";

/** Stands in a body for the words that are made where it is sent. */
const placeholder = "\u{e000}words\u{e000}";

/** The messages of a file's prompt with words before the first text. */
function withWords(messages: readonly DatasetMessage[]): readonly DatasetMessage[] {
  const at = messages.findIndex(({ content }) => typeof content === "string");
  if (at < 0) return [{ role: "user", content: placeholder }, ...messages];
  const { content } = messages[at]!;
  return messages.with(at, Object.assign({}, messages[at], { content: `${placeholder}\n\n${content as string}` }));
}

/** What is sent: a body, and the words that go into it. */
function worded(
  { path, stream, includeUsage }: Pick<Workload, "path" | "stream" | "includeUsage">,
  { pieces, given }: Prompt,
  outputTokens: number,
  seed: number,
  { model, own, accepted = takesEverything, oneBody }: Wording,
): Pick<PlannedRequest, "body" | "prompt"> {
  const hasWords = pieces.length > 0;
  const text = given === null ? "" : textOfMessages(given);
  const body = bodyOf({
    path,
    stream,
    prompt: given === null ? placeholder : hasWords ? `${placeholder}\n\n${text}` : text,
    ...(given === null ? {} : { messages: hasWords ? withWords(given.messages) : given.messages, more: given.more }),
    outputTokens,
    seed,
    model,
    accepted,
    ignoreEos: own || takesUsage(path),
    minTokens: !own && takesUsage(path),
    includeUsage,
  });
  const at = body.indexOf(placeholder);
  if (at < 0) return { body };
  const planned = { body: body.slice(0, at) + body.slice(at + placeholder.length), prompt: { pieces, at }, tokens: null };
  return oneBody ? { body: sentBody(planned) } : { body: planned.body, prompt: planned.prompt };
}

/** What of a round's requests is wanted. */
export interface Wanted {
  /** Whose they are; null: all. */
  readonly share: Share | null;
  /** The first so many of the round, of all shards together. */
  readonly most: number;
}

const everything: Wanted = { share: null, most: Infinity };

/**
 * The requests of round `round`; round -1 is the warm-up. `rate` is in requests per second, which an open loop rises to over `rampUpS`.
 * A shard gets its own of them, with their numbers in the whole: what they say and when they leave does not depend on how many shards
 * there are. A shard of which none of the first `most` is has one all the same.
 */
export function requestsOf(
  workload: Workload,
  wording: Wording,
  seed: number,
  round: number,
  rate: number | null,
  rampUpS = 0,
  { share, most }: Wanted = everything,
): PlannedRequest[] {
  if (workload.session !== null && wording.body === null) return ownOf(sessionRequests(workload, wording, seed, round, rate), share, most);
  if (workload.page !== null) return ownOf(pageRequests(workload, wording, seed, round), share, most);
  if (workload.trace !== null) return ownOf(traceRequests(workload, wording, seed, round), share, most);
  if (workload.tape !== null) return ownOf(tapeRequests(workload.tape), share, most);
  const count = workload.requests;
  const arrivals =
    workload.mode === "closed" || rate === null
      ? null
      : workload.arrivals === "constant"
        ? constantArrivalsUs(rate, count)
        : poissonArrivalsUs(rate, count, seedOfCall(seed, round + 1, 0) % 2_147_483_647);
  return ownIndexes(count, arrivals !== null, seedOfCall(seed, round + 1, thinningIndex), share, most).map((index) => ({
    ...(share === null ? {} : { index }),
    ...plain(workload, wording, seed, round, index),
    ...(workload.headerBytesDiffer ? { headers: cookieOf(workload.headerBytes, seedOfCall(seed, round + 1, index)) } : {}),
    ...(arrivals === null ? {} : { atUs: ramped(arrivals[index]!, rampUpS * 1e6) }),
    ...(isAborted(workload, index) ? { abortAfter: workload.abort!.afterTokens } : {}),
  }));
}

/** Apart from the indexes of calls and of warm-ups. */
const thinningIndex = 999_983;

/** Which of `count` requests a shard sends: of an open loop those of its thinned arrivals, of a closed loop every n-th. */
function ownIndexes(count: number, isOpen: boolean, seed: number, share: Share | null, most: number): number[] {
  if (share === null) return Array.from({ length: Math.min(count, most) }, (_, index) => index);
  const shards = isOpen ? thinned(count, share.of, uniform(seed % 2_147_483_647)) : null;
  const own: number[] = [];
  for (let index = 0; index < count && (index < most || own.length === 0); index++)
    if (shards === null ? isDealt(index, share) : shards[index] === share.shard) own.push(index);
  return own;
}

/** A shard's own of the requests of a trace or of a page: whole conversations, dealt in turn. */
function ownOf(all: readonly PlannedRequest[], share: Share | null, most: number): PlannedRequest[] {
  if (share === null) return all.length <= most ? [...all] : all.slice(0, endOfSession(all, most));
  const places = new Map<number, number>();
  const own: PlannedRequest[] = [];
  let conversations = 0;
  for (const [index, request] of all.entries()) {
    const { after, joins } = request;
    const isOwn = after === undefined ? isDealt(conversations++, share) : places.has(after);
    if (!isOwn || (index >= most && own.length > 0)) continue;
    places.set(index, own.length);
    own.push({
      ...request,
      index,
      ...(after === undefined ? {} : { after: places.get(after)! }),
      ...(joins === undefined ? {} : { joins: joins.map((before) => places.get(before)!) }),
    });
  }
  return own;
}

/** Where the session ends that request `most` belongs to: half a session is none. Requests of no session are cut anywhere. */
function endOfSession(all: readonly PlannedRequest[], most: number): number {
  let end = most;
  while (end < all.length && all[end]!.turn !== undefined && all[end]!.after !== undefined) end++;
  return end;
}

/** Requests of a round that follow no other: what can be dealt to shards. */
export function dealable(workload: Workload): number {
  const { page, trace, requests } = workload;
  if (page !== null) return page.reduce((sum, { count }) => sum + count, 0);
  return trace === null ? requests : traceOf(trace).filter(({ after }) => after === null).length;
}

/**
 * When a request leaves that would leave at `atUs` without a ramp. With a rate that rises evenly from 0 over `rampUs`, and stays
 * then, t^2 / (2 rampUs) requests of a unit rate have left at t in the ramp, and t - rampUs / 2 behind it.
 */
function ramped(atUs: number, rampUs: number): number {
  return atUs < rampUs / 2 ? Math.sqrt(2 * rampUs * atUs) : atUs + rampUs / 2;
}

/** A cookie that makes a head `bytes` longer, as clients behind gateways send it; another for each `salt`. */
export function cookieOf(bytes: number, salt: number | ""): { cookie: string } {
  const cookie = `session=${salt}`.padEnd(bytes, "0123456789abcdefghijklmnopqrstuvwxyz");
  return { cookie: cookie.slice(0, Math.max(9, bytes - "cookie: \r\n".length)) };
}

/** Whether a request is one of those that are given up: they are spread evenly, and the same in every arm. */
function isAborted({ abort }: Workload, index: number): boolean {
  return abort !== null && Math.floor((index + 1) * abort.share) > Math.floor(index * abort.share);
}

/** The streams that run beside the measured ones; `headers` are the arm's for them. */
export function backgroundOf(
  workload: Workload,
  headers: Readonly<Record<string, string>> | undefined,
  wording: Wording,
  seed: number,
  share: Share | null = null,
): BackgroundLoad | null {
  if (workload.background === null) return null;
  const { streams, outputTokens, itl, unreadMs } = workload.background;
  const asked = { path: workload.path, stream: true, includeUsage: false };
  const requests = ownIndexes(streams, false, 0, share, Infinity).map((index): PlannedRequest => ({
    ...worded(
      asked,
      promptOf(workload, seed, -1, 800_000 + index, wording.arm ?? ""),
      outputTokens,
      seedOfCall(seed, 0, 800_000 + index),
      wording,
    ),
    tokens: null,
    headers: { "x-fakeai-ttft": "0", "x-fakeai-itl": String(itl), ...headers },
  }));
  // A shard may have none of a few.
  if (requests.length === 0) return null;
  return unreadMs === undefined ? { requests } : { requests, unreadMs: unreadMs === "never" ? Infinity : unreadMs };
}

/** Most tokens of an answer that warms a connection up, streamed or not: more would only take time. */
const warmupTokens = 4;
const wholeWarmupTokens = 1000;

/** Tokens of an answer that warms a connection up. */
export function warmupTokensOf({ stream, outputTokens }: Workload): number {
  return Math.min(outputTokens, stream ? warmupTokens : wholeWarmupTokens);
}

/** What warms the connections up before a round. */
export function warmupOf(given: Workload, wording: Wording, seed: number, round: number, share: Share | null = null): PlannedRequest[] {
  if (given.tape !== null) {
    const calls = tapeRequests(given.tape);
    return Array.from({ length: given.warmup }, (_, index) => {
      const { atUs: _atUs, ...call } = calls[index % calls.length]!;
      return call;
    });
  }
  const outputTokens = warmupTokensOf(given);
  const workload = { ...given, outputTokens, dataset: given.dataset === null ? null : { ...given.dataset, outputTokens } };
  return ownIndexes(workload.warmup, false, 0, share, Infinity).map((index) => plain(workload, wording, seed, round, 900_000 + index));
}

function plain(workload: Workload, wording: Wording, seed: number, round: number, index: number): PlannedRequest {
  if (workload.method === "GET") return { body: "", tokens: null };
  if (wording.body !== null) return { body: wording.body, tokens: null };
  const number = wording.oneBody ? 0 : index;
  const prompt = promptOf(workload, seed, round, number, wording.arm ?? "");
  const outputTokens = outputTokensOf(workload, prompt);
  return {
    ...worded(workload, prompt, outputTokens, seedOfCall(seed, round + 1, number), wording),
    ...orderOf(outputTokens, wording),
  };
}

function pageRequests(workload: Workload, wording: Wording, seed: number, round: number): PlannedRequest[] {
  let index = 0;
  return workload.page!.flatMap(({ count, method, path, outputTokens = 16 }) =>
    Array.from({ length: count }, (): PlannedRequest => {
      if (method === "GET") return { method, path, body: "", tokens: null };
      const prompt = promptOf(workload, seed, round, index, wording.arm ?? "");
      const asked = { path, stream: false, includeUsage: false };
      const call = worded(asked, prompt, outputTokens, seedOfCall(seed, round + 1, index), wording);
      index++;
      return { method, path, ...call, ...orderOf(outputTokens, wording) };
    }),
  );
}

/** What the prompts of the first round are, for the result; null where none are sent. */
export function promptsOf(workload: Workload, wording: Wording, seed: number): PromptsSent | null {
  const { page, trace, dataset, method, requests } = workload;
  const one = (index: number): Prompt => promptOf(workload, seed, 0, index, wording.arm ?? "");
  const numbered = (count: number): Prompt[] => Array.from({ length: count }, (_, index) => one(wording.oneBody ? 0 : index));
  if (wording.body !== null || workload.tape !== null) return null;
  if (workload.session !== null)
    return describePrompts(workload, sessionPrompts(sessionRequests(workload, wording, seed, 0, null)), seed, "words", null);
  if (trace !== null) {
    const prompts = traceOf(trace).map((row, index) => tracePrompt(workload, row, seed, 0, index, wording.arm ?? ""));
    return describePrompts(workload, prompts, seed, "trace", basename(trace.file));
  }
  const posts =
    page === null ? (method === "GET" ? 0 : requests) : page.reduce((sum, call) => sum + (call.method === "GET" ? 0 : call.count), 0);
  if (posts === 0) return null;
  return describePrompts(
    workload,
    numbered(posts),
    seed,
    dataset === null ? "words" : "dataset",
    dataset === null ? null : basename(dataset.file),
  );
}

function traceRequests(workload: Workload, wording: Wording, seed: number, round: number): PlannedRequest[] {
  const rows = traceOf(workload.trace!);
  const goOn = historyOf(workload, wording) === "previous" ? turnsOfTrace(workload, rows, wording, seed, round) : null;
  return rows.map((row, index) => {
    const tokens = Math.max(1, row.outputTokens ?? workload.outputTokens);
    const when = {
      ...(row.atMs === null ? {} : { atUs: Math.round(row.atMs * 1000) }),
      ...(row.after === null ? {} : { after: row.after, delayUs: Math.round(row.delayMs * 1000) }),
      ...(row.after === null || row.joins === undefined ? {} : { joins: row.joins }),
    };
    if (wording.body !== null) return { body: wording.body, tokens: null, ...when };
    if (goOn !== null) return { ...goOn[index]!, ...when };
    const prompt = tracePrompt(workload, row, seed, round, index, wording.arm ?? "");
    const call = worded(workload, prompt, tokens, seedOfCall(seed, round + 1, index), wording);
    return { ...call, ...orderOf(tokens, wording), ...when };
  });
}

/** Reads the body of `--body`. Throws UsageError. */
export function readBody(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new UsageError(`--body: cannot read ${path} (${(error as NodeJS.ErrnoException).code ?? "unreadable"})`);
  }
  try {
    JSON.parse(text);
  } catch (error) {
    throw new UsageError(`--body: ${path} is not JSON (${oneLine((error as Error).message)})`);
  }
  return text.trim();
}
