/**
 * POST /api/chat and /api/generate: an answer as one JSON object, or as lines of them (github.com/ollama/ollama, docs/api.md; the order
 * of members is that of api/types.go). Thinking, text and calls come in lines of their own; the last line has the counts.
 */
import { instanceId } from "../../base/instance.ts";
import { UnaryFrame } from "../../core/frames/frames.ts";
import { lineEnding, type EventBuffer, EscapedTokens, type Part, type Script, ScriptFrames } from "../../core/frames/script.ts";
import { frameSchedule } from "../../core/pacing/schedule.ts";
import type { ResponseHead, ResponsePlan, RouteRequest } from "../../core/seams.ts";
import type { Answer, ToolCall } from "../shared/ask.ts";
import { randomLetters } from "../shared/ids.ts";
import type { Model } from "../shared/model.ts";
import { argumentsOf, planWithout } from "../shared/plans.ts";
import type { Run } from "../shared/run.ts";
import { piecesOf, textSlot } from "../shared/template.ts";
import { readOllama } from "./request.ts";

type Kind = "chat" | "generate";

function headOf(streamed: boolean, clock: string | null): ResponseHead {
  const headers: Record<string, string> = { "content-type": streamed ? "application/x-ndjson" : "application/json; charset=utf-8" };
  if (clock !== null) {
    headers["x-fakeai-clock"] = clock;
    headers["x-fakeai-instance"] = instanceId;
  }
  return { status: 200, headers, streamed };
}

class OllamaStory {
  readonly #kind: Kind;
  readonly #answer: Answer;
  readonly #callIds: readonly string[];

  constructor(kind: Kind, answer: Answer) {
    this.#kind = kind;
    this.#answer = answer;
    this.#callIds = answer.choices[0]!.calls.map(() => `call_${randomLetters(answer.identity, 8).toLowerCase()}`);
  }

  get #start(): object {
    const { ask, created } = this.#answer;
    return { model: ask.model, created_at: new Date(created * 1000).toISOString() };
  }

  get #reason(): string {
    return this.#answer.choices[0]!.finish === "length" ? "length" : "stop";
  }

  /** Counts, and what was planned, in nanoseconds. `dueUs`: when the last token is due, from the arrival of the request. */
  #metrics(dueUs: number): object {
    const { ask, firstUs, outputTokens, told = {} } = this.#answer;
    const nanoseconds = (us: number): number => Math.max(0, Math.round(us * 1000));
    return {
      total_duration: nanoseconds(dueUs),
      load_duration: 0,
      prompt_eval_count: told.promptTokens ?? ask.promptTokens,
      prompt_eval_duration: nanoseconds(Math.min(firstUs, dueUs)),
      eval_count: told.completionTokens ?? outputTokens,
      eval_duration: nanoseconds(dueUs - firstUs),
    };
  }

  #said(content: string, thinking: string | null, calls: readonly object[]): object {
    const more = { ...(thinking !== null && { thinking }), ...(calls.length > 0 && { tool_calls: calls }) };
    return this.#kind === "chat" ? { message: { role: "assistant", content, ...more } } : { response: content, ...more };
  }

  #ended(): object {
    const reason = { done_reason: this.#reason };
    return this.#kind === "chat" ? { ...reason, done: true } : { done: true, ...reason };
  }

  #call({ name, arguments: run }: ToolCall, index: number): object {
    return { id: this.#callIds[index], function: { index, name, arguments: argumentsOf(run.text()) } };
  }

  /** JSON text of the whole answer. */
  whole(dueUs: number): string {
    const { reasoning, choices } = this.#answer;
    const { text, calls } = choices[0]!;
    const thinking = reasoning.tokens > 0 ? reasoning.text() : null;
    const said = this.#said(
      text?.text() ?? "",
      thinking,
      calls.map((call, index) => this.#call(call, index)),
    );
    return JSON.stringify({ ...this.#start, ...said, ...this.#ended(), ...this.#metrics(dueUs) });
  }

  script(startUs: number): Script {
    const { reasoning, choices, tokensPerChunk, stamped } = this.#answer;
    const { text, calls } = choices[0]!;
    return {
      choices: [
        [
          ...(reasoning.tokens > 0 ? [this.#run(reasoning, this.#said("", textSlot("t"), []))] : []),
          ...(text === null || text.tokens === 0 ? [] : [this.#run(text, this.#said(textSlot("t"), null, []))]),
          ...calls.map((call, index) => this.#callPart(call, index)),
        ],
      ],
      close: (out) => {
        const line = JSON.stringify({
          ...this.#start,
          ...this.#said("", null, []),
          ...this.#ended(),
          ...this.#metrics(out.dueUs - startUs),
        });
        out.text(line.slice(0, -1));
        out.endEvent(lineEnding);
      },
      tokensPerFrame: tokensPerChunk,
      hiddenTokens: 0,
      stamped,
    };
  }

  #run(run: Run, said: object): Part {
    const [before, after] = piecesOf(JSON.stringify({ ...this.#start, ...said, done: false }).slice(0, -1)) as [Uint8Array, Uint8Array];
    return {
      tokens: run.tokens,
      source: EscapedTokens.of(run.vocabulary),
      cursor: run.cursor(),
      run: (out, taken) => {
        out.bytes(before);
        taken.write(out);
        out.bytes(after);
        out.endEvent(lineEnding);
      },
    };
  }

  /** A call is there when its last token is. */
  #callPart(call: ToolCall, index: number): Part {
    const { arguments: run } = call;
    const write = (out: EventBuffer): void => {
      out.text(JSON.stringify({ ...this.#start, ...this.#said("", null, [this.#call(call, index)]), done: false }).slice(0, -1));
      out.endEvent(lineEnding);
    };
    return {
      tokens: run.tokens,
      isWhole: true,
      source: EscapedTokens.of(run.vocabulary),
      cursor: run.cursor(),
      run: write,
      open: (out) => run.tokens === 0 && write(out),
    };
  }
}

/** Plans the answer. Throws ApiError. */
export function planOllama(kind: Kind, model: Model, clockIdentity: string, request: RouteRequest, bytes: Uint8Array): ResponsePlan {
  const { ask, isLoad, isUnload } = readOllama(kind, bytes, model.settings);
  if (isLoad) return loaded(kind, ask.model, isUnload ? "unload" : "load", request.receivedUs);
  const answer = model.answer(request, ask);
  const story = new OllamaStory(kind, answer);
  const common = planWithout(answer, headOf(ask.stream, answer.stamped ? clockIdentity : null), request.receivedUs);
  if (!ask.stream) {
    const dueUs = (): number => answer.schedule.nextDueUs(0);
    return {
      ...common,
      frames: new UnaryFrame(() => story.whole(dueUs()), answer.outputTokens, answer.stamped),
      schedule: answer.schedule,
    };
  }
  const frames = new ScriptFrames(story.script(request.receivedUs));
  return { ...common, frames, schedule: frameSchedule(answer.schedule, frames.steps()) };
}

/** Without a message or a prompt the model is loaded, and nothing is said. */
function loaded(kind: Kind, model: string, reason: "load" | "unload", startUs: number): ResponsePlan {
  const said =
    kind === "chat"
      ? { message: { role: "assistant", content: "" }, done_reason: reason, done: true }
      : { response: "", done: true, done_reason: reason };
  const json = JSON.stringify({ model, created_at: new Date().toISOString(), ...said });
  return {
    head: headOf(false, null),
    frames: new UnaryFrame(() => json, 0, false),
    schedule: { nextDueUs: () => 0 },
    startUs,
    outputTokens: 0,
    promptTokens: 0,
    finishReason: "stop",
  };
}
