/** Complaints about the form of a body, in OpenAI's words. */
import { invalidType, type JsonObject, missing, outOfRange, unsupportedValue } from "../shared/body.ts";
import { ApiError } from "../errors/api-error.ts";
import { FormCheck, type FormFault, kindsIn, type Step } from "../shared/forms.ts";
import type { ProfileName } from "../shared/model-settings.ts";
import { openAiForms } from "./forms.ts";

export type OpenAiEndpoint =
  | "/v1/chat/completions"
  | "/v1/completions"
  | "/v1/embeddings"
  | "/v1/moderations"
  | "/v1/responses"
  /** A client's event. */
  | "/v1/realtime";

const own = new FormCheck(openAiForms);

/** Parts of messages are of more types elsewhere, and speech of more formats. */
const chatParts = ["messages.[].content.[].type", "messages.[].content.[].input_audio.format"];

/** By the server that is imitated: where others than OpenAI take more names than OpenAI's types have. */
const checks: Readonly<Record<ProfileName, FormCheck>> = {
  openai: own,
  minimal: own,
  // docs.vllm.ai: "Multimodal Inputs" (image_embeds, audio_embeds), "Structured Outputs" (structural_tag); metadata is looked at nowhere.
  vllm: new FormCheck(openAiForms, {
    "/v1/chat/completions": [...chatParts, "response_format.type", "metadata.*"],
    "/v1/responses": ["metadata.*"],
  }),
  // openrouter.ai/docs: "Audio" (input_audio.format), "Video", "Server Tools" (openrouter:web_search), "Parameters" (response_format,
  // verbosity).
  openrouter: new FormCheck(openAiForms, {
    "/v1/chat/completions": [...chatParts, "response_format.type", "tools.[].type", "verbosity"],
    "/v1/responses": ["input.[].content.[].type", "tools.[].type"],
  }),
};

/** Throws ApiError for the first member whose JSON type or name is not among those that the types of OpenAI, or of the profile, have. */
export function checkForm(endpoint: OpenAiEndpoint, body: JsonObject, profile: ProfileName): void {
  const fault = checks[profile].faultOf(endpoint, body);
  if (fault !== null) throw complaint(fault);
}

function complaint(fault: FormFault): ApiError {
  const { what, path, value, kinds, itemKinds, names } = fault;
  const param = path.map(written).join("").replace(/^\./, "");
  const isDecimal = decimals.has(path.at(-1));
  switch (what) {
    case "missing tag":
      return missing(param);
    case "type":
      return invalidType(param, expected(kinds, itemKinds, isDecimal), value);
    case "name":
    case "tag":
      return unsupportedValue(param, value, names);
    case "range":
      return outOfRange(param, isDecimal ? "decimal" : "integer", value as number, fault.least, fault.most);
    default:
      return tooMuch(param, fault);
  }
}

function tooMuch(param: string, { what, value, most }: FormFault): ApiError {
  if (what === "members") {
    const count = Object.keys(value as object).length;
    const message = `Invalid '${param}': too many properties. Expected an object with at most ${most} properties, but got an object with ${count} properties instead.`;
    return new ApiError(400, message, param, "object_above_max_properties");
  }
  const { length } = value as string;
  const message = `Invalid '${param}': string too long. Expected a string with maximum length ${most}, but got a string with length ${length} instead.`;
  return new ApiError(400, message, param, "string_above_max_length");
}

function written(step: Step): string {
  if (typeof step === "object") return "";
  return typeof step === "number" ? `[${step}]` : `.${step.slice(0, 64)}`;
}

/** Numbers that need not be whole. */
const decimals: ReadonlySet<unknown> = new Set([
  "temperature",
  "top_p",
  "presence_penalty",
  "frequency_penalty",
  "score",
  "score_threshold",
  "logprob",
]);

/** As OpenAI writes it: "one of a string or array of objects". */
function expected(kinds: number, itemKinds: number, isDecimal: boolean): string {
  const items = kindsIn(itemKinds);
  const list = items.length === 1 ? `array of ${items[0]!}s` : "array";
  const names = { string: "string", number: isDecimal ? "decimal" : "integer", boolean: "boolean", array: list, object: "object" } as const;
  const [first = "nothing", ...others] = kindsIn(kinds).map((kind) => names[kind]);
  const begin = `${/^[aeio]/.test(first) ? "an" : "a"} ${first}`;
  return others.length === 0 ? begin : `one of ${[begin, ...others.slice(0, -1)].join(", ")} or ${others.at(-1)!}`;
}
