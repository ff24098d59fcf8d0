/**
 * generateContent and streamGenerateContent (ai.google.dev/api/generate-content). A stream is an event stream with `?alt=sse`, whose lines
 * end in CRLF and whose JSON has blanks behind colons, and without it one JSON array that grows. Each piece has the counts so far.
 */
import { instanceId } from "../../base/instance.ts";
import { UnaryFrame } from "../../core/frames/frames.ts";
import {
  arrayEnding,
  carriageEnding,
  EscapedTokens,
  type EventBuffer,
  type Part,
  type Script,
  ScriptFrames,
} from "../../core/frames/script.ts";
import { frameSchedule } from "../../core/pacing/schedule.ts";
import type { ResponseHead, ResponsePlan, RouteRequest } from "../../core/seams.ts";
import type { Answer, Choice } from "../shared/ask.ts";
import { randomLetters } from "../shared/ids.ts";
import type { Model } from "../shared/model.ts";
import { argumentsOf, planWithout } from "../shared/plans.ts";
import type { Run } from "../shared/run.ts";
import { piecesOf, textSlot, valueSlot } from "../shared/template.ts";
import { type GeminiAsk, readGemini } from "./request.ts";

/** How a stream is sent. */
type Form = "sse" | "array";

export function headOf(form: Form | "whole", firstUs: number, clock: string | null): ResponseHead {
  const headers: Record<string, string> = {
    "content-type": form === "sse" ? "text/event-stream" : "application/json; charset=UTF-8",
    "server-timing": `gfet4t7; dur=${Math.max(1, Math.round(firstUs / 1000))}`,
    vary: "Origin, X-Origin, Referer",
  };
  if (clock !== null) {
    headers["x-fakeai-clock"] = clock;
    headers["x-fakeai-instance"] = instanceId;
  }
  return { status: 200, headers, streamed: form !== "whole" };
}

const finishNames: Readonly<Record<Choice["finish"], string>> = {
  stop: "STOP",
  length: "MAX_TOKENS",
  tool_calls: "STOP",
  content_filter: "SAFETY",
};

/** Numbers, or what stands for them in a template. */
interface Counts {
  readonly candidates: number | string | null;
  readonly total: number | string;
  readonly thoughts: number | string | null;
}

class GeminiStory {
  readonly #answer: Answer;
  readonly #asked: GeminiAsk;
  readonly #id: string;
  /** Tokens of candidates that were written. */
  #said = 0;
  #thought = 0;

  constructor(answer: Answer, asked: GeminiAsk) {
    this.#answer = answer;
    this.#asked = asked;
    this.#id = randomLetters(answer.identity, 23);
  }

  get #promptTokens(): number {
    return this.#answer.told?.promptTokens ?? this.#answer.ask.promptTokens;
  }

  /** A number that a rule tells is one of text. */
  #details(): GeminiAsk["details"] {
    const told = this.#answer.told?.promptTokens;
    return told === undefined ? this.#asked.details : [["TEXT", told]];
  }

  #usage({ candidates, total, thoughts }: Counts): object {
    const cached = this.#answer.told?.cachedTokens ?? this.#answer.cache.cachedTokens;
    return {
      promptTokenCount: this.#promptTokens,
      ...(candidates !== null && { candidatesTokenCount: candidates }),
      totalTokenCount: total,
      ...(cached > 0 && { cachedContentTokenCount: cached }),
      promptTokensDetails: this.#details().map(([modality, tokenCount]) => ({ modality, tokenCount })),
      ...(thoughts !== null && { thoughtsTokenCount: thoughts }),
    };
  }

  #piece(parts: readonly object[], finish: string | null, index: number, counts: Counts): object {
    return {
      candidates: [{ content: { parts, role: "model" }, ...(finish !== null && { finishReason: finish }), index }],
      usageMetadata: this.#usage(counts),
      modelVersion: this.#answer.ask.model,
      responseId: this.#id,
    };
  }

  #finishOf({ finish, isRefusal }: Choice): string {
    return isRefusal === true ? "SAFETY" : finishNames[finish];
  }

  /** The numbers that are told at the end. */
  #final(): Counts {
    const { outputTokens, reasoningTokens, told = {} } = this.#answer;
    const thoughts = told.reasoningTokens ?? reasoningTokens;
    const candidates = (told.completionTokens ?? outputTokens) - (told.completionTokens === undefined ? reasoningTokens : 0);
    return { candidates, total: this.#promptTokens + candidates + thoughts, thoughts: thoughts > 0 ? thoughts : null };
  }

  /** JSON text of the whole answer. */
  whole(): string {
    const { choices, reasoning } = this.#answer;
    const shown = this.#asked.showsThoughts && reasoning.tokens > 0;
    const candidates = choices.map((choice, index) => ({
      content: {
        parts: [
          ...(shown ? [{ text: reasoning.text(), thought: true }] : []),
          ...(choice.text === null || choice.text.tokens === 0 ? [] : [{ text: choice.text.text() }]),
          ...choice.calls.map((call) => callPart(call.name, call.arguments.text())),
        ],
        role: "model",
      },
      finishReason: this.#finishOf(choice),
      index,
    }));
    const answer = { candidates, usageMetadata: this.#usage(this.#final()), modelVersion: this.#answer.ask.model, responseId: this.#id };
    return `${JSON.stringify(answer, null, 2)}\n`;
  }

  script(form: Form): Script {
    const { choices, reasoning, tokensPerChunk, stamped } = this.#answer;
    const shown = this.#asked.showsThoughts;
    let pieces = 0;
    /** What stands before a piece. */
    const open = (out: EventBuffer): void => {
      if (form === "array") out.text(pieces === 0 ? "[" : "\n,\r\n");
      pieces++;
    };
    return {
      choices: choices.map((choice, index) => this.#parts(choice, index, shown ? reasoning : reasoning.cutTo(0), form, open)),
      close: (out) => {
        if (pieces === 0) {
          // Nothing was said: one piece tells why.
          open(out);
          this.#write(out, this.#piece([], this.#finishOf(choices[0]!), 0, this.#final()), form);
        }
        if (form === "array") out.text("\n]\n");
      },
      tokensPerFrame: tokensPerChunk,
      hiddenTokens: shown ? 0 : reasoning.tokens,
      stamped,
    };
  }

  #parts(choice: Choice, index: number, reasoning: Run, form: Form, open: (out: EventBuffer) => void): Part[] {
    const { text, calls } = choice;
    const runs: Part[] = [];
    if (reasoning.tokens > 0) runs.push(this.#run(reasoning, true, null, index, form, open));
    const isLast = calls.length === 0;
    if (text !== null && text.tokens > 0) runs.push(this.#run(text, false, isLast ? this.#finishOf(choice) : null, index, form, open));
    calls.forEach((call, position) => {
      const { name, arguments: run } = call;
      const finish = position === calls.length - 1 ? this.#finishOf(choice) : null;
      const write = (out: EventBuffer): void => {
        this.#said += run.tokens;
        open(out);
        this.#write(out, this.#piece([callPart(name, run.text())], finish, index, this.#soFar()), form);
      };
      const common = { source: EscapedTokens.of(run.vocabulary), cursor: run.cursor(), isWhole: true, tokens: run.tokens };
      runs.push(run.tokens === 0 ? { ...common, open: write } : { ...common, run: write });
    });
    return runs;
  }

  #soFar(): Counts {
    const { reasoningTokens } = this.#answer;
    const thoughts = this.#asked.showsThoughts ? this.#thought : reasoningTokens;
    return { candidates: this.#said, total: this.#promptTokens + this.#said + thoughts, thoughts: thoughts > 0 ? thoughts : null };
  }

  #write(out: EventBuffer, piece: object, form: Form): void {
    out.text(printed(piece, form).slice(0, form === "sse" ? -1 : -2));
    out.endEvent(form === "sse" ? carriageEnding : arrayEnding);
  }

  /** A run of text or of thoughts: each event is filled into a template, the last into one with the finish. */
  #run(run: Run, isThought: boolean, finish: string | null, index: number, form: Form, open: (out: EventBuffer) => void): Part {
    const template = (reason: string | null): readonly Uint8Array[] => {
      const part = isThought ? { text: textSlot("t"), thought: true } : { text: textSlot("t") };
      const { reasoningTokens } = this.#answer;
      const others = reasoningTokens > 0 ? valueSlot("h") : null;
      const counts: Counts = {
        candidates: isThought ? null : valueSlot("c"),
        total: valueSlot("s"),
        thoughts: isThought ? valueSlot("h") : others,
      };
      return piecesOf(printed(this.#piece([part], reason, index, counts), form).slice(0, form === "sse" ? -1 : -2));
    };
    const plain = template(null);
    const last = finish === null ? plain : template(finish);
    const ending = form === "sse" ? carriageEnding : arrayEnding;
    return {
      tokens: run.tokens,
      source: EscapedTokens.of(run.vocabulary),
      cursor: run.cursor(),
      run: (out, taken, isLast) => {
        if (isThought) this.#thought += taken.count;
        else this.#said += taken.count;
        const thoughts = this.#asked.showsThoughts ? this.#thought : this.#answer.reasoningTokens;
        const pieces = isLast ? last : plain;
        let at = 0;
        open(out);
        out.bytes(pieces[at++]!);
        taken.write(out);
        out.bytes(pieces[at++]!);
        if (!isThought) {
          out.number(this.#said);
          out.bytes(pieces[at++]!);
        }
        out.number(this.#promptTokens + this.#said + thoughts);
        out.bytes(pieces[at++]!);
        if (at < pieces.length) {
          out.number(thoughts);
          out.bytes(pieces[at]!);
        }
        out.endEvent(ending);
      },
    };
  }
}

function callPart(name: string, json: string): object {
  return { functionCall: { name, args: argumentsOf(json) } };
}

/** As Google prints: a piece of an event stream on one line with blanks behind colons, one of an array indented. */
function printed(piece: object, form: Form): string {
  if (form === "array") return JSON.stringify(piece, null, 2);
  return `data: ${JSON.stringify(piece, null, 1).replaceAll(/\n */g, "")}`;
}

/** Plans the answer. `streams`: whether the method streams. Throws ApiError. */
export function planGemini(
  model: Model,
  clockIdentity: string,
  request: RouteRequest,
  name: string,
  streams: boolean,
  bytes: Uint8Array,
): ResponsePlan {
  const asked = readGemini(bytes, name, streams, model.settings);
  const answer = model.answer(request, asked.ask);
  const story = new GeminiStory(answer, asked);
  const form: Form | "whole" = !streams ? "whole" : /(?:^|&)alt=sse(?:&|$)/.test(request.query) ? "sse" : "array";
  const common = planWithout(answer, headOf(form, answer.firstUs, answer.stamped ? clockIdentity : null), request.receivedUs);
  if (form === "whole") {
    const json = (): string => (answer.stamped ? story.whole().trimEnd() : story.whole());
    return { ...common, frames: new UnaryFrame(json, answer.outputTokens, answer.stamped), schedule: answer.schedule };
  }
  const frames = new ScriptFrames(story.script(form));
  return { ...common, frames, schedule: frameSchedule(answer.schedule, frames.steps()) };
}
