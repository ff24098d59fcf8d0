/** Complaints about the form of a body, in Anthropic's words, which are pydantic's (docs.pydantic.dev/latest/errors/validation_errors). */
import type { ApiError } from "../errors/api-error.ts";
import { type JsonObject, quote } from "../shared/body.ts";
import { FormCheck, type FormFault, kindsIn, type Step } from "../shared/forms.ts";
import { bad, oneOf } from "./complaints.ts";
import { anthropicForms } from "./forms.ts";

const check = new FormCheck(anthropicForms);

/** Throws ApiError for the first member whose JSON type or name is not among those that Anthropic's types have. */
export function checkForm(body: JsonObject): void {
  const fault = check.faultOf("/v1/messages", body);
  if (fault !== null) throw complaint(fault);
}

function complaint({ what, path, value, kinds, names, least, most }: FormFault): ApiError {
  const at = placeOf(path);
  const member = path.at(-1);
  if (what === "missing tag") return bad(`${at}: Field required`);
  if (what === "type") return bad(`${at}: Input should be a valid ${expected(kinds, decimals.has(member))}`);
  if (what === "range") {
    const bound = (value as number) < least ? `greater than or equal to ${least}` : `less than or equal to ${most}`;
    return bad(`${at}: Input should be ${bound}`);
  }
  if (what === "length" || what === "member name") return bad(`${at}: String should have at most ${most} characters`);
  if (what === "members") return bad(`${at}: Dictionary should have at most ${most} items`);
  if (what === "name" || member !== "type") return bad(`${at}: Input should be ${oneOf(names)}`);
  const tags = names.map((name) => `'${name}'`).join(", ");
  return bad(
    `${placeOf(path.slice(0, -1))}: Input tag ${quote(value)} found using 'type' does not match any of the expected tags: ${tags}`,
  );
}

/** As pydantic writes a place: of an object that can be one of several, the type too. */
function placeOf(path: readonly Step[]): string {
  return path.map((step) => (typeof step === "object" ? step.variant : String(step).slice(0, 64))).join(".");
}

/** Numbers that need not be whole. */
const decimals: ReadonlySet<unknown> = new Set(["temperature", "top_p"]);

function expected(kinds: number, isDecimal: boolean): string {
  const names = {
    string: "string",
    number: isDecimal ? "number" : "integer",
    boolean: "boolean",
    array: "list",
    object: "dictionary",
  } as const;
  return kindsIn(kinds)
    .map((kind) => names[kind])
    .join(" or ");
}
