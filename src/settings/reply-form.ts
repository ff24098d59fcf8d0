/** The form of rules for answers, by the published schema: the first fault, in the order in which the rules are written. */
import { readFileSync } from "node:fs";
import type { ErrorObject, ValidateFunction } from "ajv/dist/2020.js";
import { didYouMean } from "../base/guess.ts";

/** Names of members and places in lists, from all rules down. */
export type Path = readonly (string | number)[];

/** Something is wrong at a place in the rules. */
export class ReplyError extends Error {
  readonly path: Path;

  constructor(path: Path, message: string) {
    super(message);
    this.path = path;
  }
}

let validate: ValidateFunction | null = null;

/** What is wrong first; null: nothing. */
export async function formErrorOf(value: unknown): Promise<ReplyError | null> {
  if (validate === null) {
    const { Ajv2020 } = await import("ajv/dist/2020.js");
    const schema = JSON.parse(readFileSync(new URL("../../docs/replies.schema.json", import.meta.url), "utf8")) as object;
    validate = new Ajv2020({ allErrors: true, allowUnionTypes: true, strictTypes: false, verbose: true }).compile(schema);
  }
  if (validate(value)) return null;
  const errors = validate.errors!;
  // Of a choice of forms the one that was meant is the one that has a fault further down, or another fault than its JSON type.
  const above = new Set(errors.flatMap((error) => prefixesOf(pointerOf(error))));
  const isMeant = ({ keyword, instancePath }: ErrorObject): boolean => !isChoice(keyword) || !above.has(instancePath);
  let first: ErrorObject | null = null;
  let firstPath: Path = [];
  for (const error of errors.filter(isMeant)) {
    const path = pathOf(error, value);
    if (first !== null && (isBefore(firstPath, path, value) || (isSame(firstPath, path) && isChoice(error.keyword)))) continue;
    first = error;
    firstPath = path;
  }
  return new ReplyError(firstPath, messageOf(first!));
}

/** Faults that a form has where another form of the choice was meant. */
function isChoice(keyword: string): boolean {
  return keyword === "type" || keyword === "anyOf";
}

/** The places above a place, as pointers. */
function prefixesOf(pointer: string): string[] {
  const parts = pointer.split("/");
  return parts.slice(1).map((_part, index) => parts.slice(0, index + 1).join("/"));
}

/** Where an error is, as a pointer. A member too many is its own place. */
function pointerOf({ instancePath, keyword, params }: ErrorObject): string {
  if (keyword !== "additionalProperties") return instancePath;
  const { additionalProperty: name } = params as { additionalProperty: string };
  return `${instancePath}/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;
}

function pathOf(error: ErrorObject, value: unknown): Path {
  let node: unknown = value;
  return pointerOf(error)
    .split("/")
    .slice(1)
    .map((part) => {
      const name = part.replaceAll("~1", "/").replaceAll("~0", "~");
      const key = Array.isArray(node) ? Number(name) : name;
      node = (node as Record<string | number, unknown>)[key];
      return key;
    });
}

function isSame(one: Path, other: Path): boolean {
  return one.length === other.length && one.every((part, index) => part === other[index]);
}

/** Whether one place stands before another in `value`, as it is written. What holds a place begins before it. */
export function isBefore(one: Path, other: Path, value: unknown): boolean {
  let node = value;
  for (const [depth, part] of one.entries()) {
    if (depth === other.length) return false;
    const against = other[depth]!;
    if (part !== against) {
      if (typeof part === "number") return part < (against as number);
      const names = Object.keys(node as object);
      return names.indexOf(part) < names.indexOf(String(against));
    }
    node = (node as Record<string | number, unknown>)[part];
  }
  return one.length < other.length;
}

function messageOf({ keyword, params, message = "is wrong", parentSchema }: ErrorObject): string {
  if (keyword === "additionalProperties") {
    const { additionalProperty: name } = params as { additionalProperty: string };
    const known = Object.keys(((parentSchema ?? {}) as { properties?: object }).properties ?? {});
    const guess = didYouMean(name, known);
    return `there is no such member${guess === "" ? `; there are ${known.join(", ")}` : guess}`;
  }
  if (keyword === "enum") {
    const { allowedValues } = params as { allowedValues: readonly unknown[] };
    return `must be one of ${allowedValues.join(", ")}`;
  }
  return message;
}
