/**
 * Instances of JSON schemas, valid by construction: the subset that OpenAI's structured outputs take (types, enum, const,
 * anyOf, allOf, $ref into the document, formats, patterns, limits), and oneOf read as anyOf. Bounded in depth and size,
 * so that recursive schemas end; keywords that could make an instance invalid are refused.
 */
import { patternInstance } from "./pattern.ts";
import type { Random } from "../random/random.ts";
import { corpusVocabulary } from "../text/text.ts";

/** The schema cannot be followed; the message says why. */
export class SchemaError extends Error {}

type Schema = Readonly<Record<string, unknown>>;

/** From this depth on only what is required is made. */
const easyDepth = 4;
/** From this many values on only what is required is made. */
const easyValues = 200;
/** A schema that requires more than this is refused. */
const mostValues = 20_000;
const deepest = 64;
const refused = [
  "not", "if", "contains", "patternProperties", "propertyNames", "dependentRequired", "dependentSchemas",
  "unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "minProperties", "maxProperties",
]; // oxfmt-ignore

const words = corpusVocabulary.texts.filter((text) => /^ [a-z]{3,9}$/.test(text)).map((text) => text.slice(1));

function isSchema(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A JSON value that the schema accepts, decided by `random`. Throws SchemaError. */
export function schemaInstance(schema: unknown, random: Random): unknown {
  return new Maker(schema, random).make(schema, 0);
}

class Maker {
  readonly #root: unknown;
  readonly #random: Random;
  readonly #heights = new Map<Schema, number>();
  #values = 0;
  /** Schemas looked at for their height; without a bound, mutual references could take exponential time. */
  #looks = 0;

  constructor(root: unknown, random: Random) {
    this.#root = root;
    this.#random = random;
  }

  make(given: unknown, depth: number): unknown {
    if (++this.#values > mostValues || depth > deepest) throw new SchemaError("the schema requires too large a value");
    const easy = depth >= easyDepth || this.#values > easyValues;
    const schema = this.#choose(this.#resolve(given), easy);
    if ("const" in schema) return schema["const"];
    if (Array.isArray(schema["enum"])) {
      if (schema["enum"].length === 0) throw new SchemaError("'enum' must not be empty");
      return schema["enum"][this.#random.below(schema["enum"].length)];
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

  /** Follows references and merges allOf, so that what is left has neither. */
  #resolve(given: unknown): Schema {
    if (given === true || given === undefined) return {};
    if (!isSchema(given)) throw new SchemaError("a schema must be an object");
    let schema = given;
    for (let hops = 0; typeof schema["$ref"] === "string"; hops++) {
      if (hops > deepest) throw new SchemaError("'$ref' refers to itself");
      const { $ref, ...rest } = schema;
      const target = this.#find($ref);
      schema = Object.keys(rest).length === 0 ? target : merge(target, rest);
    }
    for (const keyword of refused) if (keyword in schema) throw new SchemaError(`'${keyword}' is not permitted`);
    const { allOf, ...rest } = schema;
    if (allOf === undefined) return schema;
    return listOf(allOf, "allOf").reduce<Schema>((sum, part) => merge(sum, this.#resolve(part)), rest);
  }

  #find(ref: string): Schema {
    if (!ref.startsWith("#")) throw new SchemaError(`'$ref' must point into the document, not to ${ref.slice(0, 64)}`);
    let target = this.#root;
    for (const step of ref.slice(1).split("/").slice(1)) {
      const key = decodeURIComponent(step).replaceAll("~1", "/").replaceAll("~0", "~");
      target = (isSchema(target) || Array.isArray(target)) && Object.hasOwn(target, key) ? (target as Schema)[key] : undefined;
    }
    if (!isSchema(target)) throw new SchemaError(`'$ref' finds nothing at ${ref.slice(0, 64)}`);
    return target;
  }

  /** Settles anyOf and oneOf. Only branches that can end are taken; when it must be easy, the flattest. */
  #choose(schema: Schema, easy: boolean): Schema {
    let settled = schema;
    for (let rounds = 0; settled["anyOf"] !== undefined || settled["oneOf"] !== undefined; rounds++) {
      if (rounds > deepest) throw new SchemaError("'anyOf' is nested too deeply");
      const keyword = settled["anyOf"] === undefined ? "oneOf" : "anyOf";
      const { [keyword]: branches, ...rest } = settled;
      const ranked = listOf(branches, keyword).map((branch) => ({ branch, height: this.#height(branch, 0) }));
      const least = Math.min(...ranked.map(({ height }) => height));
      if (least === Infinity) throw new SchemaError(`'${keyword}' has no branch that ends`);
      const open = ranked.filter(({ height }) => (easy ? height === least : height < Infinity));
      settled = merge(rest, this.#resolve(open[this.#random.below(open.length)]!.branch));
    }
    return settled;
  }

  /** How many levels the flattest instance has; Infinity where it cannot end. */
  #height(given: unknown, depth: number): number {
    if (depth > deepest) return Infinity;
    if (++this.#looks > 100_000) throw new SchemaError("the schema is too entangled");
    const schema = this.#resolve(given);
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
    if ("const" in schema || "enum" in schema) return 1;
    const branches = schema["anyOf"] ?? schema["oneOf"];
    let height = 1;
    if (branches !== undefined) height = Math.min(...listOf(branches, "anyOf").map((branch) => this.#height(branch, depth + 1)));
    const types = [schema["type"]].flat();
    if (types.some((type) => typeof type === "string" && type !== "object" && type !== "array")) return height;
    const properties = isSchema(schema["properties"]) ? schema["properties"] : {};
    for (const name of namesOf(schema["required"])) {
      if (Object.hasOwn(properties, name)) height = Math.max(height, 1 + this.#height(properties[name], depth + 1));
    }
    if (countOf(schema, "minItems", 0) > 0 && schema["items"] !== undefined) {
      height = Math.max(height, 1 + this.#height(schema["items"], depth + 1));
    }
    return height;
  }

  #type(schema: Schema, easy: boolean): string {
    const { type } = schema;
    const types = type === undefined ? [impliedType(schema)] : [type].flat();
    if (types.length === 0 || !types.every((name) => typeof name === "string" && known.has(name))) {
      throw new SchemaError(`'type' must be one of ${[...known].join(", ")}`);
    }
    if (easy && types.includes("null")) return "null";
    return types[this.#random.below(types.length)] as string;
  }

  #number(schema: Schema, whole: boolean): number {
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
    // 7 * 0.01 is 0.07000000000000001; the shortest decimal of the step's precision is meant. Validators divide in binary
    // floating point, where not every decimal is a multiple of its own hundredth.
    const digits = Math.min(12, (String(step).split(".")[1] ?? "").length);
    let value = 0;
    for (let tries = 0; tries < 20; tries++) {
      const multiple = first + this.#random.below(Math.min(last - first + 1, 1_000_000));
      value = Number((multiple * step).toFixed(digits));
      if (Number.isInteger(value / step)) break;
    }
    return value;
  }

  #string(schema: Schema): string {
    const least = countOf(schema, "minLength", 0);
    const most = countOf(schema, "maxLength", Infinity);
    if (least > most) throw new SchemaError("'minLength' is above 'maxLength'");
    if (least > mostValues) throw new SchemaError("'minLength' is too large");
    if (typeof schema["pattern"] === "string") {
      const text = patternInstance(schema["pattern"], this.#random);
      if (text === null) throw new SchemaError(`'pattern' ${schema["pattern"].slice(0, 64)} is not supported`);
      if (Array.from(text).length < least || Array.from(text).length > most)
        throw new SchemaError("'pattern' does not fit the limits of the length");
      return text;
    }
    const formatted = typeof schema["format"] === "string" ? formats[schema["format"]]?.(this.#random) : undefined;
    if (formatted !== undefined && formatted.length >= least && formatted.length <= most) return formatted;
    let text = "";
    const wanted = Math.max(least, Math.min(most, 4 + this.#random.below(24)));
    while (text.length < wanted) text += (text === "" ? "" : " ") + words[this.#random.below(words.length)]!;
    return text.slice(0, Math.max(least, Math.min(most, text.length))).replace(/ $/, "s");
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
      const item = this.make(prefix[items.length] ?? schema["items"], depth + 1);
      const json = JSON.stringify(item);
      if (schema["uniqueItems"] === true && seen.has(json)) continue;
      seen.add(json);
      items.push(item);
    }
    if (items.length < Math.min(least, most)) throw new SchemaError("'uniqueItems' leaves too few items");
    return items;
  }

  #object(schema: Schema, depth: number, easy: boolean): object {
    const properties = isSchema(schema["properties"]) ? schema["properties"] : {};
    const required = new Set(namesOf(schema["required"]));
    const entries: [string, unknown][] = [];
    for (const [name, property] of Object.entries(properties)) {
      if (!required.has(name) && (easy || this.#height(property, depth) === Infinity || this.#random.below(2) === 0)) continue;
      entries.push([name, this.make(property, depth + 1)]);
    }
    for (const name of required) {
      if (Object.hasOwn(properties, name)) continue;
      if (schema["additionalProperties"] === false) throw new SchemaError(`'required' names ${name.slice(0, 64)}, which is not permitted`);
      entries.push([name, this.make(schema["additionalProperties"], depth + 1)]);
    }
    // fromEntries makes "__proto__" a property like any other.
    return Object.fromEntries(entries);
  }
}

const known = new Set(["string", "number", "integer", "boolean", "null", "array", "object"]);

function impliedType(schema: Schema): string {
  if ("items" in schema || "prefixItems" in schema || "minItems" in schema) return "array";
  if ("pattern" in schema || "format" in schema || "minLength" in schema || "maxLength" in schema) return "string";
  if ("minimum" in schema || "maximum" in schema || "multipleOf" in schema) return "number";
  return "object";
}

function listOf(value: unknown, keyword: string): readonly unknown[] {
  if (!Array.isArray(value) || value.length === 0) throw new SchemaError(`'${keyword}' must be a list of schemas`);
  return value;
}

function namesOf(value: unknown): readonly string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || !value.every((name) => typeof name === "string"))
    throw new SchemaError("'required' must be a list of names");
  return value;
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

/** What both schemas demand. */
function merge(a: Schema, b: Schema): Schema {
  const merged: Record<string, unknown> = { ...a };
  for (const [keyword, value] of Object.entries(b)) {
    const present = merged[keyword];
    merged[keyword] = present === undefined ? value : both(keyword, present, value);
  }
  return merged;
}

function both(keyword: string, a: unknown, b: unknown): unknown {
  const tighter: Record<string, (x: number, y: number) => number> = {
    minimum: Math.max, exclusiveMinimum: Math.max, minLength: Math.max, minItems: Math.max,
    maximum: Math.min, exclusiveMaximum: Math.min, maxLength: Math.min, maxItems: Math.min,
  }; // oxfmt-ignore
  if (typeof a === "number" && typeof b === "number" && tighter[keyword]) return tighter[keyword](a, b);
  if (keyword === "required") return [...new Set([...namesOf(a), ...namesOf(b)])];
  if (keyword === "type" || keyword === "enum") {
    const left = [a].flat();
    const right = new Set([b].flat());
    const shared = left.filter((x) => right.has(x) || (keyword === "type" && x === "integer" && right.has("number")));
    if (keyword === "type" && right.has("integer") && left.includes("number") && !shared.includes("integer")) shared.push("integer");
    if (shared.length === 0) throw new SchemaError(`two values of '${keyword}' exclude each other`);
    return shared;
  }
  if (keyword === "properties" && isSchema(a) && isSchema(b)) {
    const properties: Record<string, unknown> = { ...a };
    for (const [name, schema] of Object.entries(b)) {
      properties[name] =
        Object.hasOwn(a, name) && JSON.stringify(a[name]) !== JSON.stringify(schema) ? { allOf: [a[name], schema] } : schema;
    }
    return properties;
  }
  if (keyword === "anyOf" || keyword === "oneOf")
    throw new SchemaError(`'${keyword}' inside '${keyword}' of the same value is not supported`);
  if (keyword === "additionalProperties") return a === false || b === false ? false : b;
  return b;
}

const two = (value: number): string => String(value).padStart(2, "0");
const hex = (random: Random, digits: number): string => Array.from({ length: digits }, () => random.below(16).toString(16)).join("");
const date = (random: Random): string => `20${two(20 + random.below(7))}-${two(1 + random.below(12))}-${two(1 + random.below(28))}`;
const time = (random: Random): string => `${two(random.below(24))}:${two(random.below(60))}:${two(random.below(60))}Z`;
const word = (random: Random): string => words[random.below(words.length)]!;

/** The formats of structured outputs. */
const formats: Record<string, (random: Random) => string> = {
  "date-time": (random) => `${date(random)}T${time(random)}`,
  date,
  time,
  duration: (random) => `P${1 + random.below(9)}DT${random.below(24)}H`,
  email: (random) => `${word(random)}@example.com`,
  hostname: (random) => `${word(random)}.example.com`,
  ipv4: (random) => `192.0.2.${random.below(256)}`,
  ipv6: (random) => `2001:db8::${hex(random, 1).replace("0", "1")}`,
  uri: (random) => `https://example.com/${word(random)}`,
  uuid: (random) => `${hex(random, 8)}-${hex(random, 4)}-4${hex(random, 3)}-a${hex(random, 3)}-${hex(random, 12)}`,
};
