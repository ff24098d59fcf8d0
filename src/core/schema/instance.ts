/**
 * Instances of JSON schemas, valid by construction: the subset that OpenAI's structured outputs take (types, enum, const,
 * anyOf, allOf, $ref into the document, formats, patterns, limits), and oneOf read as anyOf. Bounded in depth and by a
 * budget, so that recursive schemas end; keywords that could make an instance invalid are refused.
 */
import { Budget } from "../limits/budget.ts";
import type { Random } from "../random/random.ts";
import { formats, words } from "./formats.ts";
import { merge, Merged } from "./merge.ts";
import { patternInstance } from "./pattern.ts";
import { isSchema, keywords, listOf, namesOf, type Schema, SchemaError } from "./schema.ts";

export { SchemaError } from "./schema.ts";

/** From this depth on only what is required is made. */
const easyDepth = 4;
/** From this many values on only what is required is made. */
const easyValues = 200;
const deepest = 64;
/** Members of an object from which on it is made in another way. */
const manyNames = 256;
/** What the objects that a merge makes count in parts of schemas. */
const mergeParts = 20;
/** What a number counts in characters. */
const numberCharacters = 8;

/** The schema of any value: one object, so that its shape is found out once. */
const anything: Schema = {};

/** Types and members of a schema. */
interface Shape {
  readonly types: readonly string[];
  readonly named: readonly { readonly name: string; readonly property: unknown; readonly isRequired: boolean }[];
  /** Required names that no property describes. */
  readonly others: readonly string[];
}

/** The branches of anyOf or oneOf that may be taken: there may be thousands. */
interface Branches {
  /** What stands beside them. */
  readonly rest: Schema;
  readonly flattest: readonly unknown[];
  readonly ending: readonly unknown[];
  /** A branch and what stands beside them as one, when it was first taken. */
  readonly merged: Map<unknown, Schema>;
}

/** A JSON value that the schema accepts, decided by `random`. Throws SchemaError and BudgetError. */
export function schemaInstance(schema: unknown, random: Random, budget: Budget = new Budget()): unknown {
  return new SchemaMaker(schema, budget).make(random);
}

/** Makes instances of one schema. What it finds out about the schema serves all of them; their work counts together. */
export class SchemaMaker {
  readonly #root: unknown;
  readonly #budget: Budget;
  #random!: Random;
  readonly #heights = new Map<Schema, number>();
  /** Schemas without references and allOf; null while it is being found out. */
  readonly #resolved = new Map<Schema, Schema | null>();
  readonly #found = new Map<string, Schema>();
  readonly #shapes = new Map<Schema, Shape>();
  readonly #branched = new Map<Schema, Branches>();
  /** Characters of constants, which may be made many times. */
  readonly #sizes = new Map<unknown, number>();
  /** Values of this instance. */
  #values = 0;

  constructor(root: unknown, budget: Budget) {
    this.#root = root;
    this.#budget = budget;
  }

  /** A JSON value that the schema accepts, decided by `random`. Throws SchemaError and BudgetError. */
  make(random: Random): unknown {
    this.#random = random;
    this.#values = 0;
    return this.#make(this.#root, 0);
  }

  #make(given: unknown, depth: number): unknown {
    if (depth > deepest) throw new SchemaError(`the schema requires a value of more than ${deepest} levels`);
    this.#budget.spend("values");
    this.#budget.spend("characters", 1);
    this.#values++;
    const easy = depth >= easyDepth || this.#values > easyValues;
    const schema = this.#choose(this.#resolve(given), easy);
    if ("const" in schema) return this.#constant(schema["const"]);
    if (Array.isArray(schema["enum"])) {
      if (schema["enum"].length === 0) throw new SchemaError("'enum' must not be empty");
      return this.#constant(schema["enum"][this.#random.below(schema["enum"].length)]);
    }
    switch (this.#type(schema, easy)) {
      case "null":
        return null;
      case "boolean":
        return this.#random.below(2) === 1;
      case "integer":
        return this.#number(schema, true);
      case "number":
        return this.#number(schema, false);
      case "string":
        return this.#string(schema);
      case "array":
        return this.#array(schema, depth, easy);
      default:
        return this.#object(schema, depth, easy);
    }
  }

  /** A value that stands in the schema: it is printed each time that it is used. */
  #constant(value: unknown): unknown {
    let size = this.#sizes.get(value);
    if (size === undefined) {
      size = charactersOf(value, this.#budget);
      if (typeof value === "object") this.#sizes.set(value, size);
    }
    this.#budget.spend("characters", size);
    return value;
  }

  /** Follows references and merges allOf, so that what is left has neither. Of all keywords only known ones stay. */
  #resolve(given: unknown, depth = 0): Schema {
    if (given === true || given === undefined) return anything;
    if (!isSchema(given)) throw new SchemaError("a schema must be an object");
    const known = this.#resolved.get(given);
    if (known === null) throw new SchemaError("a schema refers to itself by '$ref' or 'allOf'");
    if (known !== undefined) return known;
    if (depth > deepest) throw new SchemaError(`'$ref' and 'allOf' lead through more than ${deepest} schemas`);
    this.#budget.spend("schemaParts");
    const own = keywords(given);
    const { $ref: ref, allOf } = given;
    const refers = typeof ref === "string";
    if (!refers && allOf === undefined) {
      this.#budget.spend("schemaParts", Object.keys(own).length);
      this.#resolved.set(given, own);
      return own;
    }
    this.#resolved.set(given, null);
    const merged = new Merged(refers ? this.#resolve(this.#find(ref), depth + 1) : {}, this.#budget);
    merged.add(own);
    if (allOf !== undefined) {
      for (const part of listOf(allOf, "allOf")) {
        this.#budget.spend("schemaParts", mergeParts);
        merged.add(this.#resolve(part, depth + 1));
      }
    }
    const schema = merged.schema();
    this.#resolved.set(given, schema);
    return schema;
  }

  #find(ref: string): Schema {
    const known = this.#found.get(ref);
    if (known !== undefined) return known;
    if (!ref.startsWith("#")) throw new SchemaError(`'$ref' must point into the document, not to ${ref.slice(0, 64)}`);
    let target = this.#root;
    const steps = ref.slice(1).split("/").slice(1);
    this.#budget.spend("schemaParts", steps.length);
    for (const step of steps) {
      const key = decoded(step).replaceAll("~1", "/").replaceAll("~0", "~");
      target = (isSchema(target) || Array.isArray(target)) && Object.hasOwn(target, key) ? (target as Schema)[key] : undefined;
    }
    if (!isSchema(target)) throw new SchemaError(`'$ref' finds nothing at ${ref.slice(0, 64)}`);
    this.#found.set(ref, target);
    return target;
  }

  /** Settles anyOf and oneOf. Only branches that can end are taken; when it must be easy, the flattest. */
  #choose(schema: Schema, easy: boolean): Schema {
    let settled = schema;
    for (let rounds = 0; settled["anyOf"] !== undefined || settled["oneOf"] !== undefined; rounds++) {
      if (rounds > deepest) throw new SchemaError("'anyOf' is nested too deeply");
      const { rest, flattest, ending, merged } = this.#branches(settled);
      const open = easy ? flattest : ending;
      const branch = open[this.#random.below(open.length)];
      let whole = merged.get(branch);
      if (whole === undefined) merged.set(branch, (whole = merge(rest, this.#resolve(branch), this.#budget)));
      settled = whole;
    }
    return settled;
  }

  #branches(schema: Schema): Branches {
    const known = this.#branched.get(schema);
    if (known !== undefined) return known;
    const keyword = schema["anyOf"] === undefined ? "oneOf" : "anyOf";
    const { [keyword]: list, ...rest } = schema;
    const all = listOf(list, keyword);
    this.#budget.spend("schemaParts", all.length);
    const heights = all.map((branch) => this.#height(branch, 0));
    const least = heights.reduce((lowest, height) => Math.min(lowest, height), Infinity);
    if (least === Infinity) throw new SchemaError(`'${keyword}' has no branch that ends`);
    const branches = {
      rest,
      flattest: all.filter((_, index) => heights[index] === least),
      ending: all.filter((_, index) => heights[index]! < Infinity),
      merged: new Map<unknown, Schema>(),
    };
    this.#branched.set(schema, branches);
    return branches;
  }

  /** How many levels the flattest instance has; Infinity where it cannot end. */
  #height(given: unknown, depth: number): number {
    if (depth > deepest) return Infinity;
    this.#budget.spend("schemaParts");
    const schema = this.#resolve(given);
    // Nothing is kept of what is seen at once.
    if ("const" in schema || "enum" in schema) return 1;
    const known = isSchema(given) ? this.#heights.get(given) : undefined;
    if (known !== undefined) return known;
    // While it is being found out, a schema that needs itself does not end.
    if (isSchema(given)) this.#heights.set(given, Infinity);
    const height = this.#heightOf(schema, depth);
    // What is infinite may only be so on this way to it.
    if (isSchema(given)) {
      if (height < Infinity) this.#heights.set(given, height);
      else this.#heights.delete(given);
    }
    return height;
  }

  #heightOf(schema: Schema, depth: number): number {
    const branches = schema["anyOf"] ?? schema["oneOf"];
    let height = 1;
    if (branches !== undefined) height = Math.min(...listOf(branches, "anyOf").map((branch) => this.#height(branch, depth + 1)));
    const types = [schema["type"]].flat();
    this.#budget.spend("schemaParts", types.length);
    if (types.some((type) => typeof type === "string" && type !== "object" && type !== "array")) return height;
    const properties = isSchema(schema["properties"]) ? schema["properties"] : {};
    const required = namesOf(schema["required"]);
    this.#budget.spend("schemaParts", required.length);
    for (const name of required) {
      if (Object.hasOwn(properties, name)) height = Math.max(height, 1 + this.#height(properties[name], depth + 1));
    }
    if (countOf(schema, "minItems", 0) > 0 && schema["items"] !== undefined) {
      height = Math.max(height, 1 + this.#height(schema["items"], depth + 1));
    }
    return height;
  }

  #type(schema: Schema, easy: boolean): string {
    const { types } = this.#shape(schema);
    if (easy && types.includes("null")) return "null";
    return types[this.#random.below(types.length)]!;
  }

  /** What is worth finding out once: a schema of an item makes many values. */
  #shape(schema: Schema): Shape {
    let shape = this.#shapes.get(schema);
    if (shape !== undefined) return shape;
    const { type } = schema;
    const types = type === undefined ? [impliedType(schema)] : [type].flat();
    const properties = isSchema(schema["properties"]) ? schema["properties"] : {};
    const required = new Set(namesOf(schema["required"]));
    const names = Object.keys(properties);
    this.#budget.spend("schemaParts", types.length + required.size + names.length);
    this.#budget.spend("properties", names.length);
    if (types.length === 0 || !types.every((name) => typeof name === "string" && known.has(name))) {
      throw new SchemaError(`'type' must be one of ${[...known].join(", ")}`);
    }
    shape = {
      types: types as string[],
      named: names.map((name) => ({ name, property: properties[name], isRequired: required.has(name) })),
      others: [...required].filter((name) => !Object.hasOwn(properties, name)),
    };
    this.#shapes.set(schema, shape);
    return shape;
  }

  #number(schema: Schema, whole: boolean): number {
    this.#budget.spend("characters", numberCharacters);
    const step = limitOf(schema, "multipleOf") ?? (whole ? 1 : 0.01);
    if (step <= 0) throw new SchemaError("'multipleOf' must be above 0");
    if (whole && !Number.isInteger(step)) throw new SchemaError("'multipleOf' of an integer must be whole");
    const exclusiveLow = limitOf(schema, "exclusiveMinimum");
    const exclusiveHigh = limitOf(schema, "exclusiveMaximum");
    const low = Math.max(limitOf(schema, "minimum") ?? -Infinity, exclusiveLow ?? -Infinity);
    const high = Math.min(limitOf(schema, "maximum") ?? Infinity, exclusiveHigh ?? Infinity);
    const from = low === -Infinity ? (high === Infinity || high > 0 ? 0 : high - 100 * step) : low;
    const to = high === Infinity ? from + 100 * Math.max(step, 1) : high;
    let first = Math.ceil(from / step);
    let last = Math.floor(to / step);
    if (first * step === exclusiveLow) first++;
    if (last * step === exclusiveHigh) last--;
    if (first > last) {
      // A narrow range of decimals may hold no hundredth.
      const middle = (low + high) / 2;
      if (!whole && schema["multipleOf"] === undefined && low < high) return middle;
      if (!whole && schema["multipleOf"] === undefined && low === high && low !== exclusiveLow && high !== exclusiveHigh) return low;
      throw new SchemaError("the limits of a number leave none");
    }
    if (Number.isInteger(step)) return (first + this.#random.below(Math.min(last - first + 1, 1_000_000))) * step;
    // 7 * 0.01 is 0.07000000000000001; the shortest decimal of the step's precision is meant. Validators divide in binary
    // floating point, where not every decimal is a multiple of its own hundredth.
    const digits = step === 0.01 ? 2 : Math.min(12, (String(step).split(".")[1] ?? "").length);
    let value = 0;
    for (let tries = 0; tries < 20; tries++) {
      const multiple = first + this.#random.below(Math.min(last - first + 1, 1_000_000));
      // A hundredth is the usual step, and the nearest number to a quotient is the nearest to its decimals.
      value = step === 0.01 ? multiple / 100 : Number((multiple * step).toFixed(digits));
      if (Number.isInteger(value / step)) break;
    }
    return value;
  }

  #string(schema: Schema): string {
    const least = countOf(schema, "minLength", 0);
    const most = countOf(schema, "maxLength", Infinity);
    if (least > most) throw new SchemaError("'minLength' is above 'maxLength'");
    this.#budget.spend("characters", least);
    if (typeof schema["pattern"] === "string") {
      const text = patternInstance(schema["pattern"], this.#random, this.#budget);
      if (text === null) throw new SchemaError(`'pattern' ${schema["pattern"].slice(0, 64)} is not supported`);
      if (Array.from(text).length < least || Array.from(text).length > most)
        throw new SchemaError("'pattern' does not fit the limits of the length");
      return text;
    }
    const formatted = typeof schema["format"] === "string" ? formats.get(schema["format"])?.(this.#random) : undefined;
    if (formatted !== undefined && formatted.length >= least && formatted.length <= most) return formatted;
    const wanted = Math.max(least, Math.min(most, 4 + this.#random.below(24)));
    this.#budget.spend("characters", wanted - least);
    // One text at once: each that words are added to, one by one, stays until all of them are printed.
    const said: string[] = [];
    for (let length = 0; length < wanted;) {
      const word = words[this.#random.below(words.length)]!;
      length += said.length === 0 ? word.length : 1 + word.length;
      said.push(word);
    }
    const whole = said.join(" ");
    const text = whole.slice(0, Math.max(least, Math.min(most, whole.length)));
    return text.endsWith(" ") ? `${text.slice(0, -1)}s` : text;
  }

  #array(schema: Schema, depth: number, easy: boolean): unknown[] {
    const prefix = schema["prefixItems"] === undefined ? [] : listOf(schema["prefixItems"], "prefixItems");
    const least = Math.max(countOf(schema, "minItems", 0), prefix.length);
    const most = Math.min(countOf(schema, "maxItems", Infinity), schema["items"] === false ? prefix.length : Infinity);
    if (countOf(schema, "minItems", 0) > most) throw new SchemaError("'minItems' is above 'maxItems'");
    const wanted = Math.min(most, easy ? least : Math.max(least, 1) + this.#random.below(3));
    const items: unknown[] = [];
    const seen = new Set<string>();
    for (let tries = 0; items.length < wanted && tries < wanted * 8 + 8; tries++) {
      if (items.length >= least && this.#height(prefix[items.length] ?? schema["items"], depth) === Infinity) break;
      const item = this.#make(prefix[items.length] ?? schema["items"], depth + 1);
      if (schema["uniqueItems"] === true) {
        const json = JSON.stringify(item);
        this.#budget.spend("characters", json.length);
        if (seen.has(json)) continue;
        seen.add(json);
      }
      items.push(item);
    }
    if (items.length < Math.min(least, most)) throw new SchemaError("'uniqueItems' leaves too few items");
    return items;
  }

  #object(schema: Schema, depth: number, easy: boolean): object {
    const { named, others } = this.#shape(schema);
    this.#budget.spend("schemaParts", named.length);
    // An object without a prototype takes many names in half the time, and "__proto__" like any other.
    const object = (named.length + others.length < manyNames ? {} : Object.create(null)) as Record<string, unknown>;
    for (const { name, property, isRequired } of named) {
      if (!isRequired && (easy || this.#height(property, depth) === Infinity || this.#random.below(2) === 0)) continue;
      put(object, name, this.#member(name, property, depth));
    }
    for (const name of others) {
      if (schema["additionalProperties"] === false) throw new SchemaError(`'required' names ${name.slice(0, 64)}, which is not permitted`);
      put(object, name, this.#member(name, schema["additionalProperties"], depth));
    }
    return object;
  }

  #member(name: string, schema: unknown, depth: number): unknown {
    this.#budget.spend("characters", name.length);
    return this.#make(schema, depth + 1);
  }
}

/** A member of an object, also where it is called "__proto__". */
function put(object: Record<string, unknown>, name: string, value: unknown): void {
  if (name === "__proto__") Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true });
  else object[name] = value;
}

/** A step of a reference. Throws SchemaError where its escapes spell no text. */
function decoded(step: string): string {
  try {
    return decodeURIComponent(step);
  } catch {
    throw new SchemaError(`'$ref' has a bad escape: ${step.slice(0, 64)}`);
  }
}

/** About the characters of a value's JSON; `budget` bounds the values that are looked at. */
function charactersOf(value: unknown, budget: Budget): number {
  budget.spend("values");
  if (typeof value === "string") return value.length + 2;
  if (typeof value !== "object" || value === null) return numberCharacters;
  let characters = 2;
  if (Array.isArray(value)) for (const item of value) characters += 1 + charactersOf(item, budget);
  else for (const [name, item] of Object.entries(value)) characters += 4 + name.length + charactersOf(item, budget);
  return characters;
}

const known = new Set(["string", "number", "integer", "boolean", "null", "array", "object"]);

function impliedType(schema: Schema): string {
  if ("items" in schema || "prefixItems" in schema || "minItems" in schema) return "array";
  if ("pattern" in schema || "format" in schema || "minLength" in schema || "maxLength" in schema) return "string";
  if ("minimum" in schema || "maximum" in schema || "multipleOf" in schema) return "number";
  return "object";
}

function limitOf(schema: Schema, keyword: string): number | undefined {
  const value = schema[keyword];
  if (value === undefined) return undefined;
  if (typeof value !== "number") throw new SchemaError(`'${keyword}' must be a number`);
  return value;
}

function countOf(schema: Schema, keyword: string, absent: number): number {
  const value = limitOf(schema, keyword) ?? absent;
  if (value < 0 || (value !== Infinity && !Number.isInteger(value))) throw new SchemaError(`'${keyword}' must be a whole number from 0 on`);
  return value;
}
