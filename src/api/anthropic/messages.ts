/** POST /v1/messages: a message in one piece, or as events with a ping (docs.anthropic.com/en/docs/build-with-claude/streaming). */
import { instanceId } from "../../base/instance.ts";
import { UnaryFrame } from "../../core/frames/frames.ts";
import { AwaitedFrames, type KeepAlive } from "../../core/pacing/keep-alive.ts";
import { frameSchedule } from "../../core/pacing/schedule.ts";
import { EscapedTokens, type EventBuffer, type Part, type Script, ScriptFrames } from "../../core/frames/script.ts";
import type { FrameSource, ResponseHead, ResponsePlan, RouteRequest } from "../../core/seams.ts";
import type { Answer, Choice, ToolCall } from "../shared/ask.ts";
import { randomLetters } from "../shared/ids.ts";
import type { Model } from "../shared/model.ts";
import { argumentsOf, planWithout } from "../shared/plans.ts";
import type { ModelSettings } from "../shared/model-settings.ts";
import type { Run } from "../shared/run.ts";
import { ApiError } from "../errors/api-error.ts";
import { requestId } from "../shared/heads.ts";
import { countInputTokens, readMessage } from "./request.ts";

const encoder = new TextEncoder();

/** Spaces before the last brace of an event fill its text up, as captures show; their number hides the text's length. */
const paddings = Array.from({ length: 9 }, (_, count) => encoder.encode(" ".repeat(count)));
const paddingOf = (characters: number): Uint8Array => paddings[8 - (characters % 8)]!;

/** A block of content: thinking, text or a tool's input. */
interface Block {
  readonly run: Run;
  /** The block as `content_block_start` shows it, and as the finished message holds it. */
  readonly start: object;
  done(): object;
  /** Delta events hold their text as the last member of `delta`, of this type and name. */
  readonly deltaType: string;
  readonly deltaMember: string;
  /** A delta after the last token. */
  readonly lastDelta: object | null;
}

class MessageStory {
  readonly #answer: Answer;
  readonly #id: string;
  readonly #blocks: readonly Block[];
  readonly #hiddenTokens: number;

  /** Thinking that is not shown is a signature alone. */
  constructor(answer: Answer, showsThinking: boolean) {
    this.#answer = answer;
    this.#hiddenTokens = showsThinking ? 0 : answer.reasoning.tokens;
    this.#id = `msg_01${randomLetters(answer.identity, 22)}`;
    const { text, calls } = this.#choice;
    this.#blocks = [
      ...(answer.reasoning.tokens > 0
        ? [thinkingBlock(showsThinking ? answer.reasoning : answer.reasoning.cutTo(0), randomLetters(answer.identity, 64))]
        : []),
      ...(text === null || text.tokens === 0 ? [] : [textBlock(text)]),
      ...calls.map((call) => toolBlock(call, `toolu_01${randomLetters(answer.identity, 22)}`)),
    ];
  }

  get #choice(): Choice {
    return this.#answer.choices[0]!;
  }

  #stopReason(): string {
    const { finish, calls, stopSequence, isRefusal } = this.#choice;
    if (isRefusal === true || finish === "content_filter") return "refusal";
    if (finish === "length") return "max_tokens";
    if (calls.length > 0) return "tool_use";
    return stopSequence === null ? "end_turn" : "stop_sequence";
  }

  /** Input and output tokens, as counted or as a rule tells them. */
  get #counts(): { readonly input: number; readonly cached: number; readonly output: number } {
    const { ask, cache, outputTokens, told = {} } = this.#answer;
    const cached = told.cachedTokens ?? cache.cachedTokens;
    return { input: Math.max(0, (told.promptTokens ?? ask.promptTokens) - cached), cached, output: told.completionTokens ?? outputTokens };
  }

  #usage(outputTokens: number): object {
    const { input, cached } = this.#counts;
    return {
      input_tokens: input,
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: cached,
      cache_creation: { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: 0 },
      output_tokens: outputTokens,
      service_tier: "standard",
    };
  }

  /** The message, as it begins or whole. */
  message(isDone: boolean): object {
    const { ask } = this.#answer;
    const { output } = this.#counts;
    return {
      model: ask.model,
      id: this.#id,
      type: "message",
      role: "assistant",
      content: isDone ? this.#blocks.map((block) => block.done()) : [],
      stop_reason: isDone ? this.#stopReason() : null,
      stop_sequence: isDone ? this.#choice.stopSequence : null,
      usage: this.#usage(isDone ? output : Math.min(1, output)),
    };
  }

  /** The event before all others. */
  begin(out: EventBuffer): void {
    emit(out, "message_start", { message: this.message(false) });
  }

  /** Its events; `hasBegun`: without the first. */
  script(hasBegun: boolean): Script {
    const { tokensPerChunk, stamped } = this.#answer;
    return {
      choices: [this.#blocks.map((block, index) => blockPart(block, index))],
      open: (out) => {
        if (!hasBegun) this.begin(out);
        // Without a block there is no place for the ping after its start.
        if (this.#blocks.length === 0) emitPing(out);
      },
      close: (out) => {
        const { input, cached, output } = this.#counts;
        const usage = { input_tokens: input, cache_creation_input_tokens: 0, cache_read_input_tokens: cached, output_tokens: output };
        emit(out, "message_delta", { delta: { stop_reason: this.#stopReason(), stop_sequence: this.#choice.stopSequence }, usage });
        emit(out, "message_stop", {});
      },
      tokensPerFrame: tokensPerChunk,
      hiddenTokens: this.#hiddenTokens,
      stamped,
    };
  }
}

function emit(out: EventBuffer, type: string, members: object): void {
  const json = JSON.stringify({ type, ...members });
  out.text(`event: ${type}\ndata: ${json.slice(0, -1)}`);
  out.bytes(paddingOf(json.length));
  out.endEvent();
}

/** Pings keep a connection open while the first token is waited for. Anthropic says of them only that they may come anywhere. */
const pingEveryUs = 10_000_000;

/** The signs of life of a message whose first token is far away: it begins with the first ping. */
function pingsOf(story: MessageStory, stamped: boolean, frames: FrameSource): KeepAlive {
  const events = (open: (out: EventBuffer) => void): FrameSource =>
    new ScriptFrames({ choices: [], open, tokensPerFrame: 1, hiddenTokens: 0, stamped });
  return {
    firstUs: pingEveryUs,
    everyUs: pingEveryUs,
    sign: (index, dueUs, sentUs) => {
      const sign = events((out) => {
        if (index === 0) story.begin(out);
        emitPing(out);
      });
      return sign.frame(0, dueUs, sentUs);
    },
    frames: (signs) => (signs === 0 ? frames : new ScriptFrames(story.script(true))),
  };
}

/** The one event that is printed with a space inside. */
function emitPing(out: EventBuffer): void {
  out.text('event: ping\ndata: {"type": "ping"');
  out.endEvent();
}

function blockPart(block: Block, index: number): Part {
  const { run, deltaType, deltaMember } = block;
  const start = `event: content_block_delta\ndata: {"type":"content_block_delta","index":${index},"delta":{"type":"${deltaType}","${deltaMember}":"`;
  const before = encoder.encode(start);
  const after = encoder.encode('"}');
  return {
    tokens: run.tokens,
    source: EscapedTokens.of(run.vocabulary),
    cursor: run.cursor(),
    open: (out) => {
      emit(out, "content_block_start", { index, content_block: block.start });
      if (index === 0) emitPing(out);
      // A tool's input begins with an empty piece.
      if (deltaType === "input_json_delta") emit(out, "content_block_delta", { index, delta: { type: deltaType, [deltaMember]: "" } });
    },
    run: (out, taken) => {
      out.bytes(before);
      taken.write(out);
      out.bytes(after);
      out.bytes(paddingOf(taken.characters));
      out.endEvent();
    },
    close: (out) => {
      if (block.lastDelta !== null) emit(out, "content_block_delta", { index, delta: block.lastDelta });
      emit(out, "content_block_stop", { index });
    },
  };
}

function thinkingBlock(run: Run, signature: string): Block {
  return {
    run,
    start: { type: "thinking", thinking: "", signature: "" },
    done: () => ({ type: "thinking", thinking: run.text(), signature }),
    deltaType: "thinking_delta",
    deltaMember: "thinking",
    lastDelta: { type: "signature_delta", signature },
  };
}

function textBlock(run: Run): Block {
  return {
    run,
    start: { type: "text", text: "" },
    done: () => ({ type: "text", text: run.text() }),
    deltaType: "text_delta",
    deltaMember: "text",
    lastDelta: null,
  };
}

function toolBlock({ name, toolset, arguments: run }: ToolCall, id: string): Block {
  const set = toolset === undefined ? {} : { toolset_name: toolset };
  return {
    run,
    start: { type: "tool_use", id, name, ...set, input: {} },
    done: () => ({ type: "tool_use", id, name, ...set, input: argumentsOf(run.text()) }),
    deltaType: "input_json_delta",
    deltaMember: "partial_json",
    lastDelta: null,
  };
}

function headOf(streamed: boolean, clock: string | null): ResponseHead {
  const headers: Record<string, string> = {
    "content-type": streamed ? "text/event-stream; charset=utf-8" : "application/json",
    "request-id": requestId(),
    "anthropic-organization-id": "fakeai",
  };
  if (streamed) headers["cache-control"] = "no-cache";
  if (clock !== null) {
    headers["x-fakeai-clock"] = clock;
    headers["x-fakeai-instance"] = instanceId;
  }
  return { status: 200, headers, streamed };
}

function checkVersion(request: RouteRequest): void {
  if (request.header("anthropic-version") === undefined) throw new ApiError(400, "anthropic-version: header is required");
}

/** JSON text of the answer to POST /v1/messages/count_tokens. Throws ApiError. */
export function countTokens(request: RouteRequest, bytes: Uint8Array, settings: ModelSettings): string {
  checkVersion(request);
  return JSON.stringify({ input_tokens: countInputTokens(bytes, settings) });
}

/** Plans the answer to a request. Throws ApiError. */
export function planMessage(model: Model, clockIdentity: string, request: RouteRequest, bytes: Uint8Array): ResponsePlan {
  checkVersion(request);
  const { ask, showsThinking } = readMessage(bytes, request.header("anthropic-beta") ?? "", model.settings);
  const answer = model.answer(request, ask);
  const story = new MessageStory(answer, showsThinking);
  const common = planWithout(answer, headOf(ask.stream, answer.stamped ? clockIdentity : null), request.receivedUs);
  if (!ask.stream) {
    return {
      ...common,
      frames: new UnaryFrame(() => JSON.stringify(story.message(true)), answer.outputTokens, answer.stamped),
      schedule: answer.schedule,
    };
  }
  const script = new ScriptFrames(story.script(false));
  const schedule = frameSchedule(answer.schedule, script.steps());
  const awaited = new AwaitedFrames(pingsOf(story, answer.stamped, script), schedule);
  return { ...common, frames: awaited, schedule: awaited };
}
