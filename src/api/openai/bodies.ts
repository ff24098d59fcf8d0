/** The bodies of unstreamed chat completions and legacy completions, members in each provider's order. */
import type { Answer, Choice } from "../model.ts";
import { choiceLogprobs, type LogprobsWriter } from "./logprobs.ts";
import { fingerprint, type Kind, type Usage, type Wire } from "./wire.ts";

export interface BodyOptions {
  readonly wire: Wire;
  readonly kind: Kind;
  readonly id: string;
  readonly logprobs: LogprobsWriter | null;
  readonly callId: () => string;
}

/** JSON as the provider prints it. */
export function printJson(wire: { readonly indented: boolean }, value: unknown): string {
  return wire.indented ? JSON.stringify(value, null, 2) : JSON.stringify(value);
}

export function usageOf(answer: Answer): Usage {
  return { promptTokens: answer.ask.promptTokens, completionTokens: answer.outputTokens, reasoningTokens: answer.reasoningTokens };
}

/** JSON text of the whole body. */
export function completionBody(answer: Answer, options: BodyOptions): string {
  const { wire, kind, id } = options;
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
        ...(kind === "chat" && { service_tier: "default" }),
        system_fingerprint: fingerprint(model),
      });
    case "vllm":
      return printJson(wire, {
        ...start,
        choices,
        service_tier: null,
        system_fingerprint: null,
        usage: { ...usage, prompt_tokens_details: null },
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
  const content = choice.text?.text() ?? null;
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
        message: { role: "assistant", content, ...tools, refusal: null, annotations: [] },
        logprobs: probabilities,
        finish_reason: finish,
      };
    case "vllm":
      return {
        index,
        message: {
          role: "assistant",
          content: content ?? "",
          refusal: null,
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
        message: { role: "assistant", content, refusal: null, reasoning, ...tools },
      };
    default:
      return {
        index,
        message: { role: "assistant", content, ...tools, refusal: null },
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
