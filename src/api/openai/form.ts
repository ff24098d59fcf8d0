/** Complaints about the form of a body, in OpenAI's words. */
import { invalidType, type JsonObject, missing, unsupportedValue } from "../shared/body.ts";
import type { ApiError } from "../errors/api-error.ts";
import { FormCheck, type FormFault, kindsIn, type Step } from "../shared/forms.ts";
import { openAiForms } from "./forms.ts";

export type OpenAiEndpoint = "/v1/chat/completions" | "/v1/completions" | "/v1/embeddings" | "/v1/moderations" | "/v1/responses";

const check = new FormCheck(openAiForms);

/** Throws ApiError for the first member whose JSON type or name is not among those that OpenAI's types have. */
export function checkForm(endpoint: OpenAiEndpoint, body: JsonObject): void {
  const fault = check.faultOf(endpoint, body);
  if (fault !== null) throw complaint(fault);
}

function complaint({ what, path, value, kinds, itemKinds, names }: FormFault): ApiError {
  const param = path.map(written).join("").replace(/^\./, "");
  if (what === "missing tag") return missing(param);
  if (what !== "type") return unsupportedValue(param, value, names);
  return invalidType(param, expected(kinds, itemKinds, decimals.has(path.at(-1))), value);
}

function written(step: Step): string {
  if (typeof step === "object") return "";
  return typeof step === "number" ? `[${step}]` : `.${step.slice(0, 64)}`;
}

/** Numbers that need not be whole. */
const decimals: ReadonlySet<unknown> = new Set(["temperature", "top_p", "presence_penalty", "frequency_penalty", "score", "logprob"]);

/** As OpenAI writes it: "one of a string or array of objects". */
function expected(kinds: number, itemKinds: number, isDecimal: boolean): string {
  const items = kindsIn(itemKinds);
  const list = items.length === 1 ? `array of ${items[0]!}s` : "array";
  const names = { string: "string", number: isDecimal ? "decimal" : "integer", boolean: "boolean", array: list, object: "object" } as const;
  const [first = "nothing", ...others] = kindsIn(kinds).map((kind) => names[kind]);
  const begin = `${/^[aeio]/.test(first) ? "an" : "a"} ${first}`;
  return others.length === 0 ? begin : `one of ${[begin, ...others.slice(0, -1)].join(", ")} or ${others.at(-1)!}`;
}
