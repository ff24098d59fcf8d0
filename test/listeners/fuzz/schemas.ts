/** JSON schemas whose instances cost more than their text: references, products of limits, wide sets, patterns. */
import { type Dice } from "./dice.ts";
import { filled, hostileNumber, hostileString, hostileValue, prototypeNames } from "./values.ts";

type Schema = Record<string, unknown>;

const range = <T>(length: number, make: (index: number) => T): T[] =>
  Array.from({ length: Math.max(0, Math.floor(length)) }, (_, i) => make(i));

/** Definitions that each refer to the next one several times: 2^depth ways through them. */
export function doubledReferences(keyword: string, depth: number, fan: number): Schema {
  const definitions = Object.fromEntries(
    range(depth, (level) => {
      const next = { $ref: `#/$defs/d${level + 1}` };
      const inner =
        keyword === "properties"
          ? { type: "object", properties: Object.fromEntries(range(fan, (i) => [`p${i}`, next])), required: range(fan, (i) => `p${i}`) }
          : keyword === "items"
            ? { type: "array", items: next, minItems: fan }
            : { [keyword]: range(fan, () => next) };
      return [`d${level}`, inner];
    }),
  );
  return { $ref: "#/$defs/d0", $defs: { ...definitions, [`d${depth}`]: { type: "string" } } };
}

export function hostilePattern(dice: Dice, bytes: number): string {
  const count = dice.size(1, 9999);
  const letters = filled("ab", bytes);
  const kinds: readonly (() => string)[] = [
    () => `[${letters}]{${count}}`,
    () => `[^${letters}]{${count}}`,
    () => "(".repeat(dice.between(1, 30)) + "a" + ")*".repeat(dice.between(1, 30)),
    () => range(dice.between(1, 20), () => "(").join("") + "a" + range(dice.between(1, 20), () => `){${dice.between(2, 99)}}`).join(""),
    () => filled("a|", bytes) + "b",
    () => filled("(a|b)", bytes),
    () => filled("a?", bytes),
    () => filled("[a-z]", bytes),
    () => filled("[\\u0000-\\uffff]{99}", Math.min(bytes, 2000)),
    () => `[\u0000-\uffff]{${count}}`,
    () => filled("\\d{9}", bytes),
    () => `(?:${filled("(?:x*)*", Math.min(bytes, 5000))})*`,
    () =>
      dice.pick([
        "^(a+)+$",
        "^(?=a)b$",
        "\\u12",
        "[",
        "(",
        "a{99999}",
        "a{2,1}",
        "\\p{L}",
        "(?<__proto__>a)",
        "\\c",
        "[z-a]",
        "",
        "^",
        "$^",
        ".",
      ]),
    () => `^${filled("a", bytes)}$`,
    () => hostileString(dice, bytes),
  ];
  return dice.pick(kinds)();
}

const formats = ["date-time", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid", "regex", "byte"];
const references = [
  "#", "#/", "#/%", "#/%E0%A4", "#/$defs/__proto__", "#/$defs/constructor", "#/$defs/x", "#/properties/a", "#//", "#/$defs/~2", "http://x/y",
  "a", "", "#/$defs/length", "#/$defs", "#/$ref", "#anchor", `#/${"a/".repeat(5000)}`,
]; // oxfmt-ignore
const keywords = [
  "type", "enum", "const", "properties", "required", "additionalProperties", "items", "prefixItems", "minItems", "maxItems", "uniqueItems",
  "minLength", "maxLength", "pattern", "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "allOf", "anyOf",
  "oneOf", "not", "if", "$ref", "$defs", "contains", "patternProperties", "propertyNames", "minProperties", "title", "description", "nullable",
]; // oxfmt-ignore
const types = ["string", "number", "integer", "boolean", "null", "array", "object"];

/** Any composition of keywords. */
function randomSchema(dice: Dice, bytes: number, level: number): unknown {
  if (level > 4 || dice.oneIn(5))
    return dice.pick<unknown>([{}, true, false, { type: dice.pick(types) }, { $ref: dice.pick(references) }, null, 5]);
  const sub = (): unknown => randomSchema(dice, bytes, level + 1);
  const makers: Readonly<Record<string, () => unknown>> = {
    type: () => (dice.oneIn(3) ? range(dice.between(0, 9), () => dice.pick(types)) : dice.pick(types)),
    enum: () => hostileValue(dice, bytes),
    properties: () => Object.fromEntries(range(dice.between(0, 6), () => [dice.pick([...prototypeNames, "a", "b", "c"]), sub()])),
    required: () => range(dice.between(0, 6), () => dice.pick([...prototypeNames, "a", "b"])),
    items: sub,
    prefixItems: () => range(dice.between(0, 4), sub),
    additionalProperties: sub,
    allOf: () => range(dice.between(0, 4), sub),
    anyOf: () => range(dice.between(0, 4), sub),
    oneOf: () => range(dice.between(0, 4), sub),
    pattern: () => hostilePattern(dice, bytes),
    format: () => dice.pick([...formats, ...prototypeNames]),
    $ref: () => dice.pick(references),
    $defs: () => ({ x: sub(), a: sub() }),
    uniqueItems: () => true,
  };
  return Object.fromEntries(
    range(dice.between(1, 5), () => {
      const keyword = dice.pick(keywords);
      const own = Object.hasOwn(makers, keyword) ? makers[keyword] : undefined;
      return [
        keyword,
        own !== undefined && !dice.oneIn(8) ? own() : dice.oneIn(2) ? hostileNumber(dice) : hostileValue(dice, Math.min(bytes, 1000)),
      ];
    }),
  );
}

/** A schema of about so many bytes at most. */
export function hostileSchema(dice: Dice, bytes: number): unknown {
  const many = Math.max(1, Math.floor(bytes / 24));
  const kinds: readonly (() => unknown)[] = [
    () => doubledReferences(dice.pick(["allOf", "anyOf", "oneOf", "properties", "items"]), dice.between(1, 66), dice.between(2, 4)),
    () => ({ type: "array", minItems: dice.size(1, 30_000), items: { type: "string", minLength: dice.size(1, 30_000) } }),
    () =>
      range(dice.between(1, 6), () => dice.size(2, 3000)).reduce<unknown>((items, minItems) => ({ type: "array", minItems, items }), {
        type: dice.pick(types),
      }),
    () => ({
      type: "array",
      uniqueItems: true,
      minItems: dice.size(1, 20_000),
      items: { enum: range(Math.min(many, 20_000), (i) => `v${i}`) },
    }),
    () => ({
      type: "array",
      uniqueItems: true,
      minItems: dice.size(1, 2000),
      items: dice.pick<unknown>([{ type: "boolean" }, { type: "integer", minimum: 0, maximum: 5 }, { type: "string", minLength: 5000 }]),
    }),
    () => ({ type: "array", prefixItems: range(many, () => ({ type: "string", minLength: dice.size(1, 5000) })) }),
    () => ({ enum: range(many, (i) => `value ${i}`) }),
    () => ({ enum: [hostileValue(dice, bytes), 1] }),
    () => ({ const: hostileValue(dice, bytes) }),
    () => ({
      type: "object",
      properties: Object.fromEntries(range(many, (i) => [`p${i}`, { type: "string" }])),
      required: range(many, (i) => `p${i}`),
    }),
    () => ({ type: "object", required: range(many * 2, (i) => `r${i}`) }),
    () => ({
      type: "object",
      required: range(many * 2, (i) => `r${i}`),
      additionalProperties: { type: "string", minLength: dice.size(1, 20_000) },
    }),
    () => ({ allOf: range(many, (i) => ({ properties: { [`p${i}`]: { type: "string" } }, required: [`p${i}`] })) }),
    () => ({ allOf: range(dice.between(2, 6), () => ({ enum: range(many / 4, (i) => `value ${i}`) })) }),
    () => ({ allOf: range(dice.between(2, 6), () => ({ required: range(many / 4, (i) => `r${i}`) })) }),
    () => ({ anyOf: range(many, (i) => ({ const: i })) }),
    () => ({ oneOf: range(Math.min(many, 60), () => doubledReferences("anyOf", 8, 2)) }),
    () =>
      range(dice.between(1, 60), (i) => i).reduce<unknown>(
        (inner) => ({ type: "object", properties: { a: inner }, required: ["a", "b"] }),
        { type: "string" },
      ),
    () =>
      range(dice.between(1, 120), (i) => i).reduce<unknown>((inner) => ({ [dice.pick(["allOf", "anyOf"])]: [inner] }), { type: "string" }),
    () => ({
      $ref: "#/$defs/a",
      $defs: {
        a: { [dice.pick(["allOf", "anyOf", "oneOf"])]: [{ $ref: dice.pick(["#", "#/$defs/a", "#/$defs/b"]) }] },
        b: { $ref: "#/$defs/a" },
      },
    }),
    () => ({ $ref: dice.pick(references), $defs: { x: { type: "string" } } }),
    () => ({ type: "object", properties: { a: { $ref: "#" }, b: { $ref: "#" }, c: { $ref: "#" } }, required: dice.pick([[], ["a"]]) }),
    () => ({ $ref: "#/$defs/d0", $defs: Object.fromEntries(range(many, (i) => [`d${i}`, { $ref: `#/$defs/d${i + 1}` }])) }),
    () => ({ type: "string", pattern: hostilePattern(dice, bytes) }),
    () => ({
      type: "array",
      minItems: dice.size(1, 20_000),
      items: { type: "string", pattern: hostilePattern(dice, Math.min(bytes, 10_000)) },
    }),
    () => ({ type: "string", format: dice.pick([...formats, ...prototypeNames]) }),
    () => ({
      type: "number",
      [dice.pick(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"])]: hostileNumber(dice),
      multipleOf: hostileNumber(dice),
    }),
    () => ({ type: "integer", minimum: hostileNumber(dice), maximum: hostileNumber(dice) }),
    () => ({ type: "string", minLength: hostileNumber(dice), maxLength: hostileNumber(dice) }),
    () => ({ type: range(many, () => dice.pick(types)) }),
    () => ({ type: dice.pick(prototypeNames) }),
    () => ({
      type: "object",
      properties: Object.fromEntries(prototypeNames.map((name) => [name, { type: "string" }])),
      required: prototypeNames,
    }),
    () => ({ $defs: Object.fromEntries(range(many, (i) => [`d${i}`, { type: "string" }])), $ref: `#/$defs/d${many - 1}` }),
    () => randomSchema(dice, Math.min(bytes, 2000), 0),
    () => randomSchema(dice, Math.min(bytes, 2000), 0),
  ];
  const schema = dice.pick(kinds)();
  // OpenAI's root is an object; many a path begins there.
  return dice.oneIn(3)
    ? { type: "object", properties: { a: schema }, required: ["a"], $defs: (schema as Schema | null)?.["$defs"] ?? {} }
    : schema;
}
