/** POST /api/embed and its older form /api/embeddings (docs/api.md): unit vectors that follow from model and text alone. */
import type { ResponsePlan, RouteRequest } from "../../core/seams.ts";
import { isObject, parseBody } from "../shared/body.ts";
import { listFrames } from "../shared/lists.ts";
import type { Model } from "../shared/model.ts";
import type { PromptAsk } from "../shared/prefix.ts";
import { tokensOfTexts } from "../shared/prompt.ts";
import { bytesOfNumber, vectorJson } from "../shared/vectors.ts";
import { bad, readModel } from "./request.ts";

const mostInputs = 512;
const mostDimensions = 4096;
const mostNumbers = 1_048_576;
/** nomic-embed-text's. */
const defaultDimensions = 768;

/** Plans the answer. Throws ApiError. */
export function planEmbed(kind: "embed" | "embeddings", model: Model, request: RouteRequest, bytes: Uint8Array): ResponsePlan {
  const body = parseBody(bytes);
  const name = readModel(body, model.settings.models);
  const given = kind === "embed" ? body["input"] : body["prompt"];
  const inputs: readonly unknown[] = given === undefined || given === null ? [] : Array.isArray(given) ? given : [given];
  if (!inputs.every((input): input is string => typeof input === "string")) throw bad("invalid input type");
  if (inputs.length > mostInputs) throw bad(`input: ${inputs.length} texts are more than ${mostInputs}`);
  if (body["options"] !== undefined && body["options"] !== null && !isObject(body["options"]))
    throw bad("invalid request: options must be an object");
  const asked = body["dimensions"] ?? defaultDimensions;
  if (typeof asked !== "number" || !Number.isInteger(asked) || asked < 1 || asked > mostDimensions)
    throw bad(`dimensions must be a whole number from 1 to ${mostDimensions}`);
  if (inputs.length * asked > mostNumbers)
    throw bad(`input: ${inputs.length} vectors of ${asked} dimensions are more than ${mostNumbers} numbers`);
  const prompts = inputs.map((text, index): PromptAsk => ({
    tokens: tokensOfTexts([text], model.settings.tokenizer),
    parts: () => [text],
    index,
  }));
  const tokens = prompts.reduce((sum, prompt) => sum + prompt.tokens, 0);
  const { schedule, firstUs, stamped } = model.latency(
    request,
    prompts.length === 0 ? [{ tokens: 1, parts: () => [], index: 0 }] : prompts,
  );
  const nanoseconds = Math.round(firstUs * 1000);
  const { streamed, ...answer } = listFrames(
    {
      length: kind === "embed" ? inputs.length : Math.min(1, inputs.length),
      opening: kind === "embed" ? `${JSON.stringify({ model: name }).slice(0, -1)},"embeddings":[` : `{"embedding":`,
      separator: ",",
      closing:
        kind === "embed"
          ? `],"total_duration":${nanoseconds},"load_duration":0,"prompt_eval_count":${tokens}}`
          : `${inputs.length === 0 ? "[]" : ""}}`,
      item: (index) => vectorJson(name, inputs[index]!, asked),
      bytesOf: () => asked * bytesOfNumber,
    },
    schedule,
    stamped,
  );
  return {
    head: { status: 200, headers: { "content-type": "application/json; charset=utf-8" }, streamed },
    ...answer,
    startUs: request.receivedUs,
    outputTokens: 0,
    promptTokens: tokens,
    finishReason: "stop",
  };
}
