/** From a chat completion or legacy completion to its plan. */
import { mostWholeLogprobs } from "../../core/limits/budget.ts";
import { StreamFrames, UnaryFrame } from "../../core/frames/frames.ts";
import { AwaitedFrames } from "../../core/pacing/keep-alive.ts";
import { frameSchedule } from "../../core/pacing/schedule.ts";
import { type Script, ScriptFrames } from "../../core/frames/script.ts";
import type { FrameSource, ResponsePlan, RouteRequest, Schedule } from "../../core/seams.ts";
import { corpusVocabulary, type Vocabulary } from "../../core/text/text.ts";
import type { Answer } from "../shared/ask.ts";
import { Model } from "../shared/model.ts";
import type { ModelSettings, RequestCounter } from "../shared/model-settings.ts";
import { isRemembered, type JsonObject, parseBody } from "../shared/body.ts";
import { ApiError } from "../errors/api-error.ts";
import { deployedBody } from "./azure.ts";
import { BodyTemplates, completionBody, usageOf } from "./bodies.ts";
import { completionScript, earlyRole, identityBytes, type ShapeOptions, StreamShape } from "./formats.ts";
import { successHead } from "../shared/heads.ts";
import { LogprobsWriter } from "./logprobs.ts";
import { type CompletionOptions, readCompletion } from "./request.ts";
import { type Kind, type Wire, wires } from "./wire.ts";

/** Event shapes kept: one per model name, kind and option. Names come from clients, so the number is bounded. */
const shapesKept = 32;

/** Later than any stream ends, and still a number. */
const neverUs = 1e15;

/** What a body asks for, and of which form. */
type Reading = ReturnType<typeof readCompletion>;

export class Generator {
  readonly model: Model;
  readonly #wire: Wire;
  /** Names the clock of the stamps. */
  readonly clockIdentity: string;
  readonly #comment: Uint8Array;
  readonly #shapes = new Map<string, StreamShape>();
  readonly #bodies = new BodyTemplates();
  /** The body read last, and what it asks for; null: none was read. */
  #last: { readonly kind: Kind; readonly body: JsonObject; readonly reading: Reading } | null = null;

  /** `clockIdentity` names the clock of the stamps; `nowSeconds` is the wall clock, for `created`. */
  constructor(settings: ModelSettings, clockIdentity: string, nowSeconds: () => number, counter?: RequestCounter) {
    this.model = new Model(settings, nowSeconds, counter);
    this.#wire = wires[settings.profile];
    this.clockIdentity = clockIdentity;
    this.#comment = new TextEncoder().encode(this.#wire.keepAlive?.comment ?? "");
  }

  /** Plans the answer to a request. Throws ApiError for what a client got wrong. */
  plan(kind: Kind, request: RouteRequest, bytes: Uint8Array): ResponsePlan {
    const { settings } = this.model;
    const { ask, options } = this.#read(kind, deployedBody(request, parseBody(bytes)));
    const answer = this.model.answer(request, ask);
    const id = this.#wire.id(kind, answer.identity, answer.created);
    let { schedule } = answer;
    let frames: FrameSource;
    if (!ask.stream) {
      frames = this.#body(kind, id, answer, options);
    } else {
      const shapeOptions = this.#shapeOptions(kind, answer, options);
      // Where the first token is due at once, the role goes with it.
      const early =
        settings.earlyRole && (answer.firstUs > 0 || schedule.isLive === true)
          ? earlyRole(answer, { ...shapeOptions, identity: { id, created: answer.created } })
          : null;
      const script = isPlain(answer, options) ? null : new ScriptFrames(this.#script(kind, id, answer, options, early !== null));
      frames = script ?? this.#plainFrames(answer, shapeOptions, identityBytes(kind, id, answer.created), early !== null);
      if (script !== null) schedule = frameSchedule(schedule, script.steps());
      if (early !== null) {
        const rest = frames;
        frames = schedule = new AwaitedFrames(
          { firstUs: 0, everyUs: neverUs, sign: (_, due, sent) => early(due, sent), frames: () => rest },
          schedule,
        );
      }
      if (this.#wire.keepAlive !== null) frames = schedule = this.#keptAlive(frames, schedule, this.#wire.keepAlive.everyUs);
    }
    return {
      head: successHead({
        profile: settings.profile,
        streamed: ask.stream,
        tokens: ask.promptTokens,
        processingMs: answer.firstUs / 1000,
        clock: answer.stamped ? this.clockIdentity : null,
      }),
      frames,
      schedule,
      startUs: request.receivedUs,
      outputTokens: answer.outputTokens,
      promptTokens: ask.promptTokens,
      finishReason: answer.choices[0]!.finish === "length" ? "length" : "stop",
      reasoningTokens: answer.reasoningTokens,
    };
  }

  /** What a body asks for. Hot path: `parseBody` knows the body before again, and what it asks for is settled. */
  #read(kind: Kind, body: JsonObject): Reading {
    const last = this.#last;
    if (last !== null && last.body === body && last.kind === kind) return last.reading;
    const reading = readCompletion(kind, body, this.model.settings);
    if (isRemembered(body)) this.#last = { kind, body, reading };
    return reading;
  }

  /** A body in one piece is one string; a stream makes each event when it is due. */
  #body(kind: Kind, id: string, answer: Answer, options: CompletionOptions): FrameSource {
    const { topLogprobs } = options;
    if (topLogprobs !== null && (answer.outputTokens - answer.reasoningTokens) * (1 + topLogprobs) > mostWholeLogprobs) {
      const message = `Invalid 'logprobs': more than ${mostWholeLogprobs} in one body. Ask for fewer tokens, or stream.`;
      throw new ApiError(400, message, "logprobs", "invalid_value");
    }
    const filled =
      !answer.stamped && answer.schedule.isLive !== true && isPlain(answer, options)
        ? this.#bodies.frame(this.#wire, kind, options.tier, id, answer)
        : null;
    if (filled !== null) return filled;
    const logprobs = topLogprobs === null ? null : new LogprobsWriter(kind, topLogprobs, answer.choices);
    const callId = (): string => this.#wire.callId(answer.identity);
    const json = (): string => completionBody(answer, { wire: this.#wire, kind, id, tier: options.tier, logprobs, callId });
    return new UnaryFrame(json, answer.outputTokens, answer.stamped);
  }

  #shapeOptions(kind: Kind, { ask, stamped }: Answer, { includeUsage, includeObfuscation, tier }: CompletionOptions): ShapeOptions {
    const obfuscated = this.#wire.obfuscates && includeObfuscation;
    return { wire: this.#wire, kind, model: ask.model, tier, includeUsage, obfuscated, stamped };
  }

  #script(kind: Kind, id: string, answer: Answer, options: CompletionOptions, roleIsSent: boolean): Script {
    return completionScript(answer, {
      ...this.#shapeOptions(kind, answer, options),
      roleIsSent,
      identity: { id, created: answer.created },
      continuousUsage: options.continuousUsage,
      logprobs: options.topLogprobs === null ? null : new LogprobsWriter(kind, options.topLogprobs, answer.choices),
      callId: () => this.#wire.callId(answer.identity),
    });
  }

  #plainFrames(answer: Answer, options: ShapeOptions, identity: Uint8Array, roleIsSent: boolean): StreamFrames {
    const { text, finish } = answer.choices[0]!;
    const { vocabulary, tokens } = text!;
    const shape = this.#shape(options, vocabulary, identity.length);
    const ending = finish === "length" ? "length" : "stop";
    return new StreamFrames(
      shape.tokens,
      text!.cursor(),
      tokens,
      identity,
      roleIsSent ? null : shape.opening,
      shape.closing(ending, tokens, usageOf(answer)),
      shape.lastTokens(ending),
    );
  }

  #shape(options: ShapeOptions, vocabulary: Vocabulary, identityLength: number): StreamShape {
    if (vocabulary !== corpusVocabulary && vocabulary !== this.model.fixedText) return new StreamShape(options, vocabulary, identityLength);
    const { kind, includeUsage, obfuscated, stamped, tier, model } = options;
    const key = `${kind}${includeUsage ? "u" : "-"}${obfuscated ? "o" : "-"}${stamped ? "s" : "-"}${tier} ${model}`;
    let shape = this.#shapes.get(key);
    if (shape === undefined) {
      if (this.#shapes.size === shapesKept) this.#shapes.delete(this.#shapes.keys().next().value!);
      shape = new StreamShape(options, vocabulary, identityLength);
      this.#shapes.set(key, shape);
    }
    return shape;
  }

  /** With keep-alives while the first token is waited for. */
  #keptAlive(frames: FrameSource, schedule: Schedule, everyUs: number): AwaitedFrames {
    return new AwaitedFrames({ firstUs: 0, everyUs, sign: () => this.#comment, frames: () => frames }, schedule);
  }
}

/** Whether the answer is one choice of plain text, a token an event: what the frames of a vocabulary are encoded for. */
function isPlain(answer: Answer, options: CompletionOptions): boolean {
  return (
    answer.choices.length === 1 &&
    answer.choices[0]!.text !== null &&
    answer.choices[0]!.prefix === null &&
    answer.choices[0]!.isRefusal !== true &&
    answer.choices[0]!.calls.length === 0 &&
    answer.choices[0]!.finish !== "content_filter" &&
    answer.told === undefined &&
    answer.tokensPerChunk === 1 &&
    answer.reasoningTokens === 0 &&
    options.topLogprobs === null &&
    !options.continuousUsage &&
    // How much was cached is known when the first token is, and the end of a plain stream is encoded before.
    !(options.includeUsage && answer.schedule.isLive === true)
  );
}
