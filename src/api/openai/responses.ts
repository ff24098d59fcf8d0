/** POST /v1/responses: the response object and the events of its stream (captures of 2026-02, openai-openapi 2026-08). */
import { monotonicUs } from "../../base/clock.ts";
import { mostResponseLogprobs } from "../../core/limits/budget.ts";
import { UnaryFrame } from "../../core/frames/frames.ts";
import { frameSchedule } from "../../core/pacing/schedule.ts";
import { EscapedTokens, EventBuffer, type Part, type Script, ScriptFrames } from "../../core/frames/script.ts";
import type { ResponsePlan, RouteRequest } from "../../core/seams.ts";
import type { Answer, Ask, Choice, ToolCall } from "../shared/ask.ts";
import { randomHex, randomLetters } from "../shared/ids.ts";
import type { Model } from "../shared/model.ts";
import { planWithout } from "../shared/plans.ts";
import type { Run } from "../shared/run.ts";
import { printJson, usageOf } from "./bodies.ts";
import { parseBody } from "../shared/body.ts";
import { ApiError } from "../errors/api-error.ts";
import { successHead } from "../shared/heads.ts";
import { messageOf } from "./message-request.ts";
import { LogprobsWriter } from "./logprobs.ts";
import { servedTier } from "./tier.ts";
import type { ResponseMemory, StoredResponse } from "./response-store.ts";
import { textsOfAnswer } from "./response-input.ts";
import { readResponse, type ResponseOptions } from "./responses-request.ts";
import { obfuscationBytes, wires } from "./wire.ts";

const encoder = new TextEncoder();

/** Texts are filled up to this many characters. */
const obfuscationBlock = 16;

interface TokenLogprob {
  readonly token: string;
  readonly logprob: number;
  readonly bytes: readonly number[];
  readonly top_logprobs: readonly TokenLogprob[];
}

/** One response, as far as it is settled before its first byte. */
class ResponseStory {
  readonly #answer: Answer;
  readonly #options: ResponseOptions;
  readonly #obfuscated: boolean;
  readonly #id: string;
  readonly #itemIds: readonly string[];
  readonly #callIds: readonly string[];
  /** What is told of the reasoning; null: nothing. */
  readonly #summary: Run | null;
  readonly #encrypted: object;
  #sequence = 0;
  /** What was said and its log probabilities, which a stream ends with four times. */
  /** What it is cut to: it was steered elsewhere; null: it was not. */
  #steered: Choice | null = null;
  /** Tokens of its text that were shown; -1: none is being written. */
  #shown = -1;
  #said: { readonly text: string; readonly logprobs: readonly TokenLogprob[]; readonly streamed: readonly object[] } | null = null;

  constructor(answer: Answer, options: ResponseOptions, obfuscated: boolean) {
    this.#answer = answer;
    this.#options = options;
    this.#obfuscated = obfuscated;
    const { identity } = answer;
    this.#id = `resp_${randomHex(identity, 50)}`;
    const { text, calls } = this.#choice;
    const prefixes = [...(this.#hasReasoning ? ["rs"] : []), ...(text === null ? [] : ["msg"]), ...calls.map(() => "fc")];
    this.#itemIds = prefixes.map((prefix) => `${prefix}_${randomHex(identity, 50)}`);
    this.#callIds = calls.map(() => `call_${randomLetters(identity, 24)}`);
    this.#summary = this.#hasReasoning && options.summary !== null ? summaryOf(answer.reasoning, options.summary) : null;
    this.#encrypted = options.isEncrypted && this.#hasReasoning ? { encrypted_content: encrypted(answer) } : {};
  }

  get id(): string {
    return this.#id;
  }

  get #choice(): Choice {
    return this.#steered ?? this.#answer.choices[0]!;
  }

  get #hasReasoning(): boolean {
    return this.#answer.reasoningTokens > 0;
  }

  /** Why it is not whole; null: it is. */
  get #lack(): "max_output_tokens" | "content_filter" | "steered" | null {
    if (this.#steered !== null) return "steered";
    const { finish } = this.#choice;
    return finish === "length" ? "max_output_tokens" : finish === "content_filter" ? finish : null;
  }

  get #wasCut(): boolean {
    return this.#lack !== null;
  }

  /** Index of the item of a call. */
  #callAt(index: number): number {
    return this.#base + (this.#choice.text === null ? 0 : 1) + index;
  }

  /** Index of the first item after the reasoning. */
  get #base(): number {
    return this.#hasReasoning ? 1 : 0;
  }

  /** The response object, while in progress or at its end. */
  object(isDone: boolean): object {
    const { ask, created } = this.#answer;
    const { echoed } = this.#options;
    const status = !isDone ? "in_progress" : this.#wasCut ? "incomplete" : "completed";
    return {
      id: this.#id,
      object: "response",
      created_at: created,
      status,
      // openai-node 7: null where the request names no program.
      access_programs: null,
      background: false,
      ...(isDone && { completed_at: this.#wasCut ? null : created }),
      error: null,
      incomplete_details: isDone && this.#wasCut ? { reason: this.#lack } : null,
      instructions: echoed.instructions,
      max_output_tokens: echoed.max_output_tokens,
      max_tool_calls: echoed.max_tool_calls,
      model: ask.model,
      output: isDone ? this.#items() : [],
      parallel_tool_calls: echoed.parallel_tool_calls,
      previous_response_id: echoed.previous_response_id,
      prompt_cache_key: echoed.prompt_cache_key,
      reasoning: echoed.reasoning,
      safety_identifier: echoed.safety_identifier,
      service_tier: isDone ? servedTier(echoed.service_tier) : echoed.service_tier,
      store: echoed.store,
      temperature: echoed.temperature,
      text: echoed.text,
      tool_choice: echoed.tool_choice,
      tools: echoed.tools,
      top_logprobs: echoed.top_logprobs,
      top_p: echoed.top_p,
      truncation: echoed.truncation,
      usage: isDone ? this.#usage() : null,
      user: echoed.user,
      metadata: echoed.metadata,
      ...(echoed.conversation && { conversation: echoed.conversation }),
      ...(echoed.prompt !== undefined && { prompt: echoed.prompt }),
      ...(echoed.prompt_cache_retention !== undefined && { prompt_cache_retention: echoed.prompt_cache_retention }),
    };
  }

  #usage(): object {
    const { promptTokens, cachedTokens, completionTokens: planned, reasoningTokens } = usageOf(this.#answer);
    const completionTokens = this.#steered === null ? planned : this.#answer.reasoningTokens + this.#steered.text!.tokens;
    return {
      input_tokens: promptTokens,
      input_tokens_details: { cached_tokens: cachedTokens, cache_write_tokens: 0 },
      output_tokens: completionTokens,
      output_tokens_details: { reasoning_tokens: reasoningTokens },
      total_tokens: promptTokens + completionTokens,
    };
  }

  #items(): object[] {
    const { text, calls } = this.#choice;
    return [
      ...(this.#hasReasoning ? [this.#reasoningItem(true)] : []),
      ...(text === null ? [] : [this.#message(text, true)]),
      ...calls.map((call, index) => this.#callItem(call, index, true)),
    ];
  }

  #reasoningItem(isDone: boolean): object {
    const summary = isDone && this.#summary !== null ? [summaryPart(this.#summary.text())] : [];
    return { id: this.#itemIds[0]!, type: "reasoning", ...this.#encrypted, summary };
  }

  #message(text: Run, isDone: boolean): object {
    return {
      id: this.#itemIds[this.#base]!,
      type: "message",
      status: isDone ? (this.#wasCut ? "incomplete" : "completed") : "in_progress",
      content: isDone ? [this.#contentPart(text)] : [],
      role: "assistant",
    };
  }

  #contentPart(text: Run | null): object {
    if (this.#choice.isRefusal === true) return { type: "refusal", refusal: text === null ? "" : this.#whole(text).text };
    return {
      type: "output_text",
      annotations: [],
      logprobs: text === null ? [] : this.#whole(text).logprobs,
      text: text === null ? "" : this.#whole(text).text,
    };
  }

  #callItem(call: ToolCall, index: number, isDone: boolean): object {
    return {
      id: this.#itemIds[this.#callAt(index)]!,
      type: "function_call",
      // Only the last call can have been cut.
      status: isDone ? (this.#wasCut && index === this.#choice.calls.length - 1 ? "incomplete" : "completed") : "in_progress",
      arguments: isDone ? call.arguments.text() : "",
      call_id: this.#callIds[index]!,
      name: call.name,
    };
  }

  #logprobs(): LogprobsWriter | null {
    const { topLogprobs } = this.#options;
    return topLogprobs === null ? null : new LogprobsWriter("chat", topLogprobs, this.#answer.choices);
  }

  #whole(text: Run): { readonly text: string; readonly logprobs: readonly TokenLogprob[]; readonly streamed: readonly object[] } {
    if (this.#said !== null) return this.#said;
    const writer = this.#logprobs();
    const logprobs = writer === null ? [] : (writer.of(0, text.tokenTexts()) as { content: TokenLogprob[] }).content;
    return (this.#said = { text: text.text(), logprobs, streamed: logprobs.map(streamedLogprob) });
  }

  /** The events of its stream. `whenWhole` gets the JSON text of the response at its end. */
  script(whenWhole: (json: string) => void): Script {
    const { text, calls } = this.#choice;
    const reasoning: Part[] = this.#hasReasoning ? [this.#reasoningPart()] : [];
    const parts = [...(text === null ? [] : [this.#textPart(text)]), ...calls.map((call, index) => this.#callPart(call, index))];
    return {
      choices: [[...reasoning, ...parts]],
      open: (out) => {
        this.#emit(out, "response.created", { response: this.object(false) });
        this.#emit(out, "response.in_progress", { response: this.object(false) });
      },
      close: (out) => this.#close(out, whenWhole),
      tokensPerFrame: this.#answer.tokensPerChunk,
      hiddenTokens: this.#answer.reasoning.tokens - (this.#summary?.tokens ?? 0),
      stamped: this.#answer.stamped,
    };
  }

  /** The last events of the response as it is so far; null: no text of it is being written. `whenWhole` as in `script`. */
  cut(whenWhole: (json: string) => void): Uint8Array | null {
    const { text } = this.#choice;
    if (this.#shown < 0 || text === null) return null;
    const shown = text.cutTo(this.#shown);
    this.#steered = { ...this.#choice, text: shown, calls: [] };
    this.#said = null;
    const out = new EventBuffer();
    const nowUs = monotonicUs();
    out.reset(this.#answer.stamped, nowUs, nowUs);
    this.#textPart(shown).close!(out);
    this.#close(out, whenWhole);
    return out.frame();
  }

  /** Writes the event that ends it. */
  #close(out: EventBuffer, whenWhole: (json: string) => void): void {
    const json = this.#emit(out, this.#wasCut ? "response.incomplete" : "response.completed", { response: this.object(true) });
    whenWhole(json.slice(json.indexOf(responseMember) + responseMember.length, -1));
  }

  /** The events of a request that is only read ahead of others (`generate`): it begins and is complete, and says nothing. */
  warmUp(whenWhole: (json: string) => void): Script {
    return {
      choices: [[]],
      open: (out) => this.#emit(out, "response.created", { response: this.object(false) }),
      close: (out) => {
        const response = {
          ...this.object(true),
          status: "completed",
          completed_at: this.#answer.created,
          incomplete_details: null,
          output: [],
        };
        this.#emit(out, "response.completed", { response });
        whenWhole(JSON.stringify(response));
      },
      tokensPerFrame: 1,
      hiddenTokens: 0,
      stamped: this.#answer.stamped,
    };
  }

  /** Returns the JSON of the event. */
  #emit(out: EventBuffer, type: string, members: object): string {
    const json = JSON.stringify({ type, sequence_number: this.#sequence++, ...members });
    out.text(`event: ${type}\ndata: ${json.slice(0, -1)}`);
    out.endEvent();
    return json;
  }

  /** Writes one event of this type for each run of tokens, which is all that it holds beside its place. */
  #deltas(type: string, at: object): NonNullable<Part["run"]> {
    const before = encoder.encode(`event: ${type}\ndata: {"type":"${type}","sequence_number":`);
    const middle = encoder.encode(`,${JSON.stringify(at).slice(1, -1)},"delta":"`);
    const after = encoder.encode('"');
    return (out, run) => {
      out.bytes(before);
      out.number(this.#sequence++);
      out.bytes(middle);
      run.write(out);
      out.bytes(after);
      if (this.#obfuscated) out.bytes(obfuscationBytes(run.characters, obfuscationBlock));
      out.endEvent();
    };
  }

  #reasoningPart(): Part {
    const summary = this.#summary;
    const at = { item_id: this.#itemIds[0]!, output_index: 0, summary_index: 0 };
    const type = "response.reasoning_summary_text.delta";
    return {
      tokens: summary?.tokens ?? 0,
      source: summary === null ? null : EscapedTokens.of(summary.vocabulary),
      cursor: summary?.cursor() ?? null,
      open: (out) => {
        this.#emit(out, "response.output_item.added", { output_index: 0, item: this.#reasoningItem(false) });
        if (summary !== null) this.#emit(out, "response.reasoning_summary_part.added", { ...at, part: summaryPart("") });
      },
      run: this.#deltas(type, at),
      close: (out) => {
        if (summary !== null) {
          const text = summary.text();
          this.#emit(out, "response.reasoning_summary_text.done", { ...at, text });
          this.#emit(out, "response.reasoning_summary_part.done", { ...at, part: summaryPart(text) });
        }
        this.#emit(out, "response.output_item.done", { output_index: 0, item: this.#reasoningItem(true) });
      },
    };
  }

  #textPart(text: Run): Part {
    const output_index = this.#base;
    const at = { item_id: this.#itemIds[output_index]!, output_index, content_index: 0 };
    const isRefusal = this.#choice.isRefusal === true;
    const writer = isRefusal ? null : this.#logprobs();
    const type = isRefusal ? "response.refusal.delta" : "response.output_text.delta";
    const before = encoder.encode(`event: ${type}\ndata: {"type":"${type}","sequence_number":`);
    const middle = encoder.encode(`,${JSON.stringify(at).slice(1, -1)},"delta":"`);
    const after = encoder.encode(isRefusal ? '"' : '","logprobs":');
    const none = encoder.encode(isRefusal ? "" : "[]");
    return {
      tokens: text.tokens,
      source: EscapedTokens.of(text.vocabulary),
      cursor: text.cursor(),
      open: (out) => {
        this.#shown = 0;
        this.#emit(out, "response.output_item.added", { output_index, item: this.#message(text, false) });
        this.#emit(out, "response.content_part.added", { ...at, part: this.#contentPart(null) });
      },
      run: (out, run) => {
        this.#shown += run.count;
        out.bytes(before);
        out.number(this.#sequence++);
        out.bytes(middle);
        run.write(out);
        out.bytes(after);
        if (writer === null) out.bytes(none);
        else out.text(JSON.stringify((JSON.parse(writer.write(0, run)) as { content: TokenLogprob[] }).content.map(streamedLogprob)));
        if (this.#obfuscated) out.bytes(obfuscationBytes(run.characters, obfuscationBlock));
        out.endEvent();
      },
      close: (out) => {
        this.#shown = -1;
        const { text: said, streamed } = this.#whole(text);
        if (isRefusal) this.#emit(out, "response.refusal.done", { ...at, refusal: said });
        else this.#emit(out, "response.output_text.done", { ...at, text: said, logprobs: streamed });
        this.#emit(out, "response.content_part.done", { ...at, part: this.#contentPart(text) });
        this.#emit(out, "response.output_item.done", { output_index, item: this.#message(text, true) });
      },
    };
  }

  #callPart(call: ToolCall, index: number): Part {
    const output_index = this.#callAt(index);
    const at = { item_id: this.#itemIds[output_index]!, output_index };
    const type = "response.function_call_arguments.delta";
    const { arguments: text } = call;
    return {
      tokens: text.tokens,
      source: EscapedTokens.of(text.vocabulary),
      cursor: text.cursor(),
      open: (out) => this.#emit(out, "response.output_item.added", { output_index, item: this.#callItem(call, index, false) }),
      run: this.#deltas(type, at),
      close: (out) => {
        this.#emit(out, "response.function_call_arguments.done", { ...at, arguments: text.text(), name: call.name });
        this.#emit(out, "response.output_item.done", { output_index, item: this.#callItem(call, index, true) });
      },
    };
  }
}

const responseMember = '"response":';

function summaryPart(text: string): object {
  return { type: "summary_text", text };
}

/** A summary has a token for each two of the reasoning, a concise one for each eight. Its tokens are the last of the reasoning's. */
function summaryOf(reasoning: Run, kind: "auto" | "concise" | "detailed"): Run {
  return reasoning.cutTo(Math.max(1, Math.floor(reasoning.tokens / (kind === "concise" ? 8 : 2))));
}

/** Letters as many as four bytes a token have in base64, behind the first ones of captures. */
function encrypted({ reasoning, identity }: Answer): string {
  let text = "gAAAAAB";
  for (let left = Math.ceil((reasoning.tokens * 16) / 3); left > 0; left -= 100) text += randomLetters(identity, Math.min(left, 100));
  return text;
}

/** Streamed log probabilities have no bytes. */
function streamedLogprob({ token, logprob, top_logprobs }: TokenLogprob): object {
  return { token, logprob, top_logprobs: top_logprobs.map((top) => ({ token: top.token, logprob: top.logprob })) };
}

/** Stores a response when its last byte is made. */
function keeper(
  memory: ResponseMemory,
  isStored: boolean,
  id: string,
  bytes: Uint8Array,
  previous: StoredResponse | null,
  tokens: number,
  texts: readonly string[],
): (json: string) => void {
  const request = bytes.slice();
  return (json) => memory.add({ id, json, request, previous, tokens, texts }, isStored);
}

/** A request that is read and says nothing. */
function silent(ask: Ask): Ask {
  return { ...ask, limit: 0, minTokens: 0, calls: null, json: null, reasoningTokens: 0 };
}

/** Plans the answer to a request; `store`: where answers are kept, null where nothing is. Throws ApiError. */
export function planResponse(
  model: Model,
  clockIdentity: string,
  request: RouteRequest,
  bytes: Uint8Array,
  store: ResponseMemory | null,
): ResponsePlan {
  const { settings } = model;
  const wire = wires[settings.profile];
  const message = messageOf(request);
  const memory = message === null ? store : message.memory;
  const read = readResponse(parseBody(bytes), settings, memory);
  const { options, previous, ownParts, instructionTokens } = read;
  const isWarmUp = message?.generates === false;
  const ask = isWarmUp ? silent(read.ask) : read.ask;
  const answer = model.answer(request, ask);
  // Both forms end with the whole response, log probabilities included, as one string.
  if (options.topLogprobs !== null && (answer.outputTokens - answer.reasoningTokens) * (1 + options.topLogprobs) > mostResponseLogprobs) {
    throw new ApiError(
      400,
      `Invalid 'include': more than ${mostResponseLogprobs} log probabilities in one response.`,
      "include",
      "invalid_value",
    );
  }
  const story = new ResponseStory(answer, options, wire.obfuscates && options.includeObfuscation);
  const whenWhole =
    memory === null || !memory.keeps(options.echoed.store)
      ? () => {}
      : keeper(
          memory,
          options.echoed.store,
          story.id,
          bytes,
          previous,
          answer.ask.promptTokens - instructionTokens + answer.outputTokens - answer.reasoningTokens,
          // The cache of a batched scheduler alone asks what a prompt says.
          settings.scheduler?.settings.prefixCaching === true ? [...ownParts(), ...textsOfAnswer(answer.choices[0]!)] : [],
        );
  const head = successHead({
    profile: settings.profile,
    streamed: ask.stream,
    tokens: ask.promptTokens,
    processingMs: answer.firstUs / 1000,
    clock: answer.stamped ? clockIdentity : null,
  });
  const common = planWithout(answer, head, request.receivedUs);
  if (!ask.stream) {
    const make = (): string => {
      const json = printJson(wire, story.object(true));
      whenWhole(json);
      return json;
    };
    const frames = new UnaryFrame(make, answer.outputTokens, answer.stamped);
    return { ...common, frames, schedule: answer.schedule };
  }
  if (message !== null && !isWarmUp) {
    const refusal = options.echoed.conversation ? "A response that is bound to a conversation cannot be steered." : null;
    message.steerable = { id: story.id, refusal, cut: () => story.cut(whenWhole) };
  }
  const frames = new ScriptFrames(isWarmUp ? story.warmUp(whenWhole) : story.script(whenWhole));
  return { ...common, frames, schedule: frameSchedule(answer.schedule, frames.steps()) };
}
