/** The bodies of unstreamed chat completions and legacy completions, members in each provider's order. */
import { EventBuffer } from "../../core/frames/script.ts";
import type { FrameSource } from "../../core/seams.ts";
import type { Answer, Choice, Finish } from "../shared/ask.ts";
import { Run } from "../shared/run.ts";
import { choiceLogprobs, type LogprobsWriter } from "./logprobs.ts";
import type { ServedTier } from "./tier.ts";
import { fingerprint, type Kind, type Usage, type Wire } from "./wire.ts";

export interface BodyOptions {
  readonly wire: Wire;
  readonly kind: Kind;
  readonly id: string;
  readonly tier: ServedTier;
  readonly logprobs: LogprobsWriter | null;
  readonly callId: () => string;
}

/** JSON as the provider prints it. */
export function printJson(wire: { readonly indented: boolean }, value: unknown): string {
  return wire.indented ? JSON.stringify(value, null, 2) : JSON.stringify(value);
}

/** Stands in a template for what differs between bodies; no client can guess it, so no model's name holds it. */
const nonce = crypto.randomUUID().replaceAll("-", "");
const slots = ["id", "created", "text", "prompt", "completion", "total"] as const;
type Slot = (typeof slots)[number];
/** Numbers are stood for by numbers: whole, of 15 digits, that no body holds otherwise. */
const numberBase = 100_000_000_000_000 + crypto.getRandomValues(new Uint32Array(1))[0]! * 10;
const stands: Record<Slot, string> = {
  id: `id${nonce}`,
  created: String(numberBase + 1),
  text: `text${nonce}`,
  prompt: String(numberBase + 2),
  completion: String(numberBase + 3),
  total: String(2 * numberBase + 5),
};
const slotPattern = new RegExp(`(${slots.map((slot) => stands[slot]).join("|")})`);
const encoder = new TextEncoder();
const noBytes = new Uint8Array();
/** Where bodies are put together; shared, because a frame's bytes are valid only until the next frame. */
const body = new EventBuffer();

/** The body of an answer of one choice of plain text, encoded once for each model; only what differs is filled in. */
class BodyTemplate {
  readonly #pieces: readonly Uint8Array[];
  readonly #slots: readonly Slot[];
  /** Place of the text among the slots. */
  readonly #text: number;
  /** What stands between the id and the text, filled in; and behind the text, null until two answers in turn have the same numbers. */
  #behindId: Uint8Array = noBytes;
  #behindText: Uint8Array | null = null;
  #created = -1;
  #promptTokens = -1;
  #outputTokens = -1;

  constructor(json: string) {
    const parts = json.split(slotPattern);
    this.#pieces = parts.filter((_, i) => i % 2 === 0).map((piece) => encoder.encode(piece));
    this.#slots = parts.filter((_, i) => i % 2 === 1).map((stand) => slots.find((slot) => stands[slot] === stand)!);
    this.#text = this.#slots.indexOf("text");
  }

  /** Hot path. The id comes first and the text later, as in every provider's body. */
  fill(id: string, { created, ask, outputTokens, choices }: Answer): Uint8Array {
    const { promptTokens } = ask;
    const text = this.#text;
    if (created !== this.#created) {
      this.#created = created;
      this.#behindId = this.#between(1, text);
    }
    if (promptTokens !== this.#promptTokens || outputTokens !== this.#outputTokens) {
      this.#promptTokens = promptTokens;
      this.#outputTokens = outputTokens;
      this.#behindText = null;
    } else {
      this.#behindText ??= this.#between(text + 1, this.#slots.length);
    }
    body.reset(false, 0, 0);
    body.bytes(this.#pieces[0]!);
    body.ascii(id);
    body.bytes(this.#behindId);
    choices[0]!.text!.writeJson(body);
    if (this.#behindText === null) this.#write(text + 1, this.#slots.length);
    else body.bytes(this.#behindText);
    return body.frame();
  }

  #between(from: number, to: number): Uint8Array {
    body.reset(false, 0, 0);
    this.#write(from, to);
    return body.frame().slice();
  }

  /** The pieces from one slot to another, and the numbers between them. */
  #write(from: number, to: number): void {
    body.bytes(this.#pieces[from]!);
    for (let i = from; i < to; i++) {
      body.number(this.#numberOf(this.#slots[i]!));
      body.bytes(this.#pieces[i + 1]!);
    }
  }

  #numberOf(slot: Slot): number {
    switch (slot) {
      case "created":
        return this.#created;
      case "prompt":
        return this.#promptTokens;
      case "completion":
        return this.#outputTokens;
      default:
        return this.#promptTokens + this.#outputTokens;
    }
  }
}

/** The one frame of a body that is filled into a template when it is due. */
class TemplateFrame implements FrameSource {
  readonly length = 1;
  readonly tokens: number;
  readonly #template: BodyTemplate;
  readonly #id: string;
  readonly #answer: Answer;

  constructor(template: BodyTemplate, id: string, answer: Answer) {
    this.#template = template;
    this.#id = id;
    this.#answer = answer;
    this.tokens = answer.outputTokens;
  }

  frame(): Uint8Array {
    return this.#template.fill(this.#id, this.#answer);
  }
}

/** Templates kept: names of models come from clients, so the number is bounded. */
const templatesKept = 32;

export class BodyTemplates {
  readonly #templates = new Map<string, BodyTemplate>();
  #last: {
    readonly model: string;
    readonly kind: Kind;
    readonly tier: ServedTier;
    readonly finish: Finish;
    readonly template: BodyTemplate;
  } | null = null;

  /** The body of an answer that is one choice of plain text and has no stamps; null where a stop sequence is told. */
  frame(wire: Wire, kind: Kind, tier: ServedTier, id: string, answer: Answer): FrameSource | null {
    const choice = answer.choices[0]!;
    if (choice.stopSequence !== null) return null;
    const { model } = answer.ask;
    const last = this.#last;
    // Most requests ask for what the one before asked for.
    if (last !== null && last.model === model && last.kind === kind && last.tier === tier && last.finish === choice.finish)
      return new TemplateFrame(last.template, id, answer);
    const key = `${kind}${choice.finish}${tier} ${model}`;
    let template = this.#templates.get(key);
    if (template === undefined) {
      if (this.#templates.size === templatesKept) this.#templates.delete(this.#templates.keys().next().value!);
      template = templateOf(wire, kind, tier, answer, choice);
      this.#templates.set(key, template);
    }
    this.#last = { model, kind, tier, finish: choice.finish, template };
    return new TemplateFrame(template, id, answer);
  }
}

function templateOf(wire: Wire, kind: Kind, tier: ServedTier, answer: Answer, choice: Choice): BodyTemplate {
  const stand: Answer = {
    ...answer,
    ask: { ...answer.ask, promptTokens: Number(stands.prompt) },
    outputTokens: Number(stands.completion),
    created: Number(stands.created),
    choices: [{ ...choice, text: new Run({ texts: [stands.text] }, 1, null) }],
  };
  return new BodyTemplate(completionBody(stand, { wire, kind, tier, id: stands.id, logprobs: null, callId: () => "" }));
}

export function usageOf(answer: Answer): Usage {
  return {
    promptTokens: answer.ask.promptTokens,
    cachedTokens: answer.cache.cachedTokens,
    completionTokens: answer.outputTokens,
    reasoningTokens: answer.reasoningTokens,
    ...answer.told,
  };
}

/** JSON text of the whole body. */
export function completionBody(answer: Answer, options: BodyOptions): string {
  const { wire, kind, id, tier } = options;
  const { model } = answer.ask;
  const object = kind === "chat" ? "chat.completion" : "text_completion";
  const choices = answer.choices.map((choice, index) =>
    kind === "chat" ? chatChoice(answer, choice, index, options) : textChoice(choice, index, options),
  );
  const usage = wire.usage(usageOf(answer));
  const start = { id, object, created: answer.created, model };
  switch (wire.name) {
    case "openai":
      return printJson(wire, {
        ...start,
        choices,
        usage,
        ...(kind === "chat" && { service_tier: tier }),
        system_fingerprint: fingerprint(model),
      });
    case "vllm":
      return printJson(wire, {
        ...start,
        choices,
        service_tier: null,
        system_fingerprint: null,
        usage: { ...usage, ...(answer.cache.cachedTokens === 0 && { prompt_tokens_details: null }) },
        ...(kind === "chat" && { prompt_logprobs: null, prompt_token_ids: null }),
        kv_transfer_params: null,
      });
    case "openrouter":
      return printJson(wire, { ...start, provider: "fakeai", system_fingerprint: fingerprint(model), choices, usage });
    default:
      return printJson(wire, { ...start, choices, usage });
  }
}

function chatChoice(answer: Answer, choice: Choice, index: number, { wire, logprobs, callId }: BodyOptions): object {
  const { finish, calls } = choice;
  const said = choice.text?.text() ?? null;
  const content = choice.isRefusal === true ? null : said;
  const refusal = choice.isRefusal === true ? said : null;
  const toolCalls = calls.map((call) => ({
    id: callId(),
    type: "function",
    function: { name: call.name, arguments: call.arguments.text() },
  }));
  const tools = toolCalls.length > 0 && { tool_calls: toolCalls };
  const reasoning = answer.reasoning.tokens > 0 ? answer.reasoning.text() : null;
  const probabilities = logprobs === null ? null : choiceLogprobs(logprobs, index, choice);
  switch (wire.name) {
    case "openai":
      return {
        index,
        message: { role: "assistant", content, ...tools, refusal, annotations: [] },
        logprobs: probabilities,
        finish_reason: finish,
      };
    case "vllm":
      return {
        index,
        message: {
          role: "assistant",
          content: content ?? "",
          refusal,
          annotations: null,
          audio: null,
          function_call: null,
          ...tools,
          reasoning,
        },
        logprobs: probabilities,
        finish_reason: finish,
        stop_reason: choice.stopSequence,
        token_ids: null,
      };
    case "openrouter":
      return {
        index,
        logprobs: probabilities,
        finish_reason: finish,
        native_finish_reason: finish,
        message: { role: "assistant", content, refusal, reasoning, ...tools },
      };
    default:
      return {
        index,
        message: { role: "assistant", content, ...tools, refusal },
        logprobs: probabilities,
        finish_reason: finish,
      };
  }
}

function textChoice(choice: Choice, index: number, { wire, logprobs }: BodyOptions): object {
  const text = (choice.prefix?.text() ?? "") + choice.text!.text();
  const probabilities = logprobs === null ? null : choiceLogprobs(logprobs, index, choice);
  const finish = { logprobs: probabilities, finish_reason: choice.finish };
  switch (wire.name) {
    case "vllm":
      return { index, text, ...finish, stop_reason: choice.stopSequence, token_ids: null, prompt_logprobs: null, prompt_token_ids: null };
    case "openrouter":
      return { index, text, finish_reason: choice.finish, native_finish_reason: choice.finish, logprobs: probabilities };
    default:
      return { text, index, ...finish };
  }
}
