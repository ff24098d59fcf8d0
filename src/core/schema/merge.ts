/** Schemas of one value, as one. */
import type { Budget } from "../limits/budget.ts";
import { isSchema, namesOf, type Schema, SchemaError } from "./schema.ts";

/** Of two limits the tighter one. */
const tighter: ReadonlyMap<string, (x: number, y: number) => number> = new Map([
  ["minimum", Math.max], ["exclusiveMinimum", Math.max], ["minLength", Math.max], ["minItems", Math.max],
  ["maximum", Math.min], ["exclusiveMaximum", Math.min], ["maxLength", Math.min], ["maxItems", Math.min],
]); // oxfmt-ignore

/** What both schemas demand. Throws SchemaError where that is nothing, and BudgetError. */
export function merge(a: Schema, b: Schema, budget: Budget): Schema {
  const merged = new Merged(a, budget);
  merged.add(b);
  return merged.schema();
}

/** What some schemas demand together. Each that is added costs what it holds, and not what those before it held. */
export class Merged {
  readonly #keywords: Record<string, unknown>;
  readonly #budget: Budget;
  /** Members of all, once there are two lists of them. */
  #properties: Map<string, unknown> | null = null;
  #required: Set<string> | null = null;

  constructor(first: Schema, budget: Budget) {
    this.#keywords = { ...first };
    this.#budget = budget;
  }

  /** Throws SchemaError where all together demand what nothing is, and BudgetError. */
  add(schema: Schema): void {
    for (const keyword of Object.keys(schema)) {
      this.#budget.spend("schemaParts");
      const value = schema[keyword];
      const present = this.#keywords[keyword];
      if (present === undefined) this.#keywords[keyword] = value;
      else if (keyword === "required") this.#require(present, namesOf(value));
      else if (keyword === "properties" && isSchema(present) && isSchema(value)) this.#describe(present, value);
      else {
        if (keyword === "properties") this.#properties = null;
        this.#keywords[keyword] = both(keyword, present, value, this.#budget);
      }
    }
  }

  /** All as one. Nothing is added afterwards. */
  schema(): Schema {
    if (this.#required !== null) this.#keywords["required"] = [...this.#required];
    // fromEntries makes "__proto__" a property like any other.
    if (this.#properties !== null) this.#keywords["properties"] = Object.fromEntries(this.#properties);
    return this.#keywords;
  }

  #require(present: unknown, names: readonly string[]): void {
    if (this.#required === null) {
      // Looked at once: with each part that follows it would be uncounted work.
      const before = namesOf(present);
      this.#budget.spend("schemaParts", before.length);
      this.#required = new Set(before);
    }
    this.#budget.spend("schemaParts", names.length);
    for (const name of names) this.#required.add(name);
  }

  #describe(present: Schema, described: Schema): void {
    if (this.#properties === null) {
      this.#properties = new Map(Object.entries(present));
      this.#budget.spend("schemaParts", this.#properties.size);
    }
    for (const name of Object.keys(described)) {
      this.#budget.spend("schemaParts");
      const before = this.#properties.get(name);
      const schema = described[name];
      // Of two that say the same the later one: their members may stand in another order.
      const isNew = before === undefined || isSame(before, schema, this.#budget);
      this.#properties.set(name, isNew ? schema : { allOf: [before, schema] });
    }
  }
}

function both(keyword: string, a: unknown, b: unknown, budget: Budget): unknown {
  const tighten = tighter.get(keyword);
  if (typeof a === "number" && typeof b === "number" && tighten !== undefined) return tighten(a, b);
  if (keyword === "type" || keyword === "enum") {
    const left = [a].flat();
    const right = new Set([b].flat());
    budget.spend("schemaParts", left.length + right.size);
    const shared = left.filter((x) => right.has(x) || (keyword === "type" && x === "integer" && right.has("number")));
    if (keyword === "type" && right.has("integer") && left.includes("number") && !shared.includes("integer")) shared.push("integer");
    if (shared.length === 0) throw new SchemaError(`two values of '${keyword}' exclude each other`);
    return shared;
  }
  if (keyword === "anyOf" || keyword === "oneOf")
    throw new SchemaError(`'${keyword}' inside '${keyword}' of the same value is not supported`);
  if (keyword === "additionalProperties") return a === false || b === false ? false : b;
  return b;
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
