/** Two schemas of one value, as one. */
import type { Budget } from "../limits/budget.ts";
import { isSchema, namesOf, type Schema, SchemaError } from "./schema.ts";

/** Of two limits the tighter one. */
const tighter: ReadonlyMap<string, (x: number, y: number) => number> = new Map([
  ["minimum", Math.max], ["exclusiveMinimum", Math.max], ["minLength", Math.max], ["minItems", Math.max],
  ["maximum", Math.min], ["exclusiveMaximum", Math.min], ["maxLength", Math.min], ["maxItems", Math.min],
]); // oxfmt-ignore

/** What both schemas demand. Throws SchemaError where that is nothing, and BudgetError. */
export function merge(a: Schema, b: Schema, budget: Budget): Schema {
  const merged: Record<string, unknown> = { ...a };
  for (const [keyword, value] of Object.entries(b)) {
    budget.spend("schemaParts");
    const present = merged[keyword];
    merged[keyword] = present === undefined ? value : both(keyword, present, value, budget);
  }
  return merged;
}

function both(keyword: string, a: unknown, b: unknown, budget: Budget): unknown {
  const tighten = tighter.get(keyword);
  if (typeof a === "number" && typeof b === "number" && tighten !== undefined) return tighten(a, b);
  if (keyword === "required") {
    const names = [...namesOf(a), ...namesOf(b)];
    budget.spend("schemaParts", names.length);
    return [...new Set(names)];
  }
  if (keyword === "type" || keyword === "enum") {
    const left = [a].flat();
    const right = new Set([b].flat());
    budget.spend("schemaParts", left.length + right.size);
    const shared = left.filter((x) => right.has(x) || (keyword === "type" && x === "integer" && right.has("number")));
    if (keyword === "type" && right.has("integer") && left.includes("number") && !shared.includes("integer")) shared.push("integer");
    if (shared.length === 0) throw new SchemaError(`two values of '${keyword}' exclude each other`);
    return shared;
  }
  if (keyword === "properties" && isSchema(a) && isSchema(b)) return bothProperties(a, b, budget);
  if (keyword === "anyOf" || keyword === "oneOf")
    throw new SchemaError(`'${keyword}' inside '${keyword}' of the same value is not supported`);
  if (keyword === "additionalProperties") return a === false || b === false ? false : b;
  return b;
}

function bothProperties(a: Schema, b: Schema, budget: Budget): Schema {
  const properties = new Map(Object.entries(a));
  budget.spend("schemaParts", properties.size);
  for (const [name, schema] of Object.entries(b)) {
    budget.spend("schemaParts");
    const present = properties.get(name);
    const isNew = present === undefined || isSame(present, schema, budget);
    properties.set(name, isNew ? schema : { allOf: [present, schema] });
  }
  // fromEntries makes "__proto__" a property like any other.
  return Object.fromEntries(properties);
}

/** Whether two JSON values are equal, members in any order. */
function isSame(a: unknown, b: unknown, budget: Budget): boolean {
  if (a === b) return true;
  budget.spend("schemaParts");
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null || Array.isArray(a) !== Array.isArray(b)) return false;
  const members = Object.keys(a);
  if (members.length !== Object.keys(b).length) return false;
  return members.every((name) => Object.hasOwn(b, name) && isSame((a as Schema)[name], (b as Schema)[name], budget));
}
