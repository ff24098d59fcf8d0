/** Instances of schemas, judged by ajv. */
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BudgetError } from "../../../src/core/limits/budget.ts";
import { schemaInstance, SchemaError } from "../../../src/core/schema/instance.ts";
import { patternInstance } from "../../../src/core/schema/pattern.ts";
import { Random, seedOf } from "../../../src/core/random/random.ts";

// Else ajv takes what every object inherits ("valueOf") for a property of the instance.
const ajv = new Ajv2020({ strict: false, allErrors: true, ownProperties: true });
addFormats.default(ajv);

/** What a schema that cannot be followed throws. */
const Refusal = expect.toSatisfy((error) => error instanceof SchemaError || error instanceof BudgetError) as Error;

const make = (schema: unknown, seed: number): unknown => schemaInstance(schema, new Random(seedOf(seed), 6));

/** What ajv has against an instance. */
function complaints(schema: object, instance: unknown): object[] {
  const validate = ajv.compile(schema);
  return validate(instance) ? [] : validate.errors!.map((error) => ({ error, instance }));
}

/** Any schema of the subset, with limits that can be met. */
const { schema: anySchema } = fc.letrec<{ schema: object; leaf: object }>((tie) => ({
  leaf: fc.oneof(
    fc.record({ type: fc.constantFrom("null", "boolean") }),
    fc
      .tuple(fc.integer({ min: -50, max: 50 }), fc.nat(40), fc.constantFrom("integer", "number"), fc.boolean())
      .map(([low, more, type, open]) =>
        open ? { type, exclusiveMinimum: low, exclusiveMaximum: low + more + 2 } : { type, minimum: low, maximum: low + more },
      ),
    fc.constantFrom(2, 3, 0.5, 0.01).map((multipleOf) => ({ type: "number", multipleOf })),
    fc.tuple(fc.nat(12), fc.nat(30)).map(([least, more]) => ({ type: "string", minLength: least, maxLength: least + more })),
    fc
      .constantFrom("date-time", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid")
      .map((format) => ({ type: "string", format })),
    fc
      .constantFrom("^[A-Z]{2}-\\d{4}$", "^(a|b)+c?$", "^#[0-9a-f]{6}$", "^\\w+@\\w+\\.com$")
      .map((pattern) => ({ type: "string", pattern })),
    fc
      .uniqueArray(fc.oneof(fc.string(), fc.integer(), fc.constant(null)), { minLength: 1, maxLength: 4 })
      .map((values) => ({ enum: values })),
    fc.jsonValue({ maxDepth: 1 }).map((value) => ({ const: value })),
    fc.constant({ type: ["string", "null"] }),
    fc.constant({}),
  ),
  schema: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    tie("leaf"),
    fc
      .tuple(tie("schema"), fc.nat(3), fc.nat(3))
      .map(([items, least, more]) => ({ type: "array", items, minItems: least, maxItems: least + more })),
    fc
      .tuple(fc.dictionary(fc.string({ minLength: 1, maxLength: 8 }), tie("schema"), { maxKeys: 4 }), fc.boolean())
      .map(([properties, strict]) => ({
        type: "object",
        properties,
        required: strict ? Object.keys(properties) : Object.keys(properties).slice(1),
        additionalProperties: !strict,
      })),
    fc.array(tie("schema"), { minLength: 1, maxLength: 3 }).map((anyOf) => ({ anyOf })),
  ),
}));

describe("instances", () => {
  test("any schema of the subset accepts its instances; a seed decides them", () => {
    fc.assert(
      fc.property(anySchema, fc.nat(), (schema, seed) => {
        const instance = make(schema, seed);
        expect(complaints(schema, instance)).toEqual([]);
        expect(make(schema, seed)).toEqual(instance);
      }),
      { numRuns: 500 },
    );
  });

  const tree = {
    $ref: "#/$defs/node",
    $defs: {
      node: {
        type: "object",
        properties: {
          value: { type: "integer" },
          children: { type: "array", items: { $ref: "#/$defs/node" } },
          next: { anyOf: [{ $ref: "#/$defs/node" }, { type: "null" }] },
        },
        required: ["value", "children", "next"],
        additionalProperties: false,
      },
    },
  };

  test.each([
    ["recursion by $defs", tree],
    ["recursion by #", { type: "object", properties: { sub: { anyOf: [{ type: "null" }, { $ref: "#" }] } }, required: ["sub"] }],
    [
      "allOf",
      {
        allOf: [
          { type: "object", properties: { a: { type: "string" } }, required: ["a"] },
          { properties: { b: { type: "integer", minimum: 3 } }, required: ["b"] },
        ],
      },
    ],
    [
      "anyOf beside properties",
      { type: "object", properties: { a: { type: "string" }, b: { type: "string" } }, anyOf: [{ required: ["a"] }, { required: ["b"] }] },
    ],
    ["prefixItems", { type: "array", prefixItems: [{ type: "string" }, { type: "integer" }], items: false }],
    ["unique items", { type: "array", items: { enum: [1, 2, 3] }, minItems: 3, maxItems: 3, uniqueItems: true }],
    ["nullable by type", { type: "object", properties: { x: { type: ["array", "null"], items: { type: "number" } } }, required: ["x"] }],
    [
      "a property named __proto__",
      { type: "object", properties: JSON.parse('{"__proto__":{"type":"integer"}}') as object, required: ["__proto__"] },
    ],
  ])("%s", (_what, schema) => {
    for (let seed = 0; seed < 100; seed++) {
      const instance = make(schema, seed);
      expect(complaints(schema, instance)).toEqual([]);
      expect(JSON.stringify(instance).length).toBeLessThan(20_000);
    }
  });

  test.each<[string, unknown]>([
    ["no end", { type: "object", properties: { me: { $ref: "#" } }, required: ["me"] }],
    ["a circle of references", { $ref: "#/$defs/a", $defs: { a: { $ref: "#/$defs/b" }, b: { $ref: "#/$defs/a" } } }],
    ["a branch that ends nowhere", { anyOf: [{ $ref: "#" }] }],
    ["a reference to nothing", { $ref: "#/$defs/none" }],
    ["a reference to elsewhere", { $ref: "https://example.com/schema" }],
    ["an empty enum", { enum: [] }],
    ["limits that cross", { type: "integer", minimum: 5, maximum: 4 }],
    ["too few unique items", { type: "array", items: { const: 1 }, minItems: 2, uniqueItems: true }],
    ["not", { not: {} }],
    ["an unknown type", { type: "date" }],
    ["a required name that is forbidden", { type: "object", required: ["x"], additionalProperties: false }],
    ["an endless number of items", { type: "array", items: { type: "array", items: {}, minItems: 1000 }, minItems: 1000 }],
    ["a pattern with look-ahead", { type: "string", pattern: "^(?=a)a$" }],
    ["false", false],
    [
      "an entangled schema",
      {
        $ref: "#/$defs/n0",
        $defs: Object.fromEntries(
          Array.from({ length: 40 }, (_, i) => [
            `n${i}`,
            {
              anyOf: Array.from({ length: 40 }, (_, j) => ({
                type: "object",
                properties: { x: { $ref: `#/$defs/n${(i + j + 1) % 40}` } },
                required: ["x"],
              })),
            },
          ]),
        ),
      },
    ],
  ])("%s is refused in good time", (_what, schema) => {
    expect(() => make(schema, 1)).toThrow(Refusal);
  });
});

describe("patterns", () => {
  test.each([
    "^abc$",
    "[a-f0-9]{8}",
    "^\\d{3}-\\d{4}$",
    "(foo|bar)?baz+",
    "^[^a-z]{3}$",
    "a.c",
    "\\$\\d+\\.\\d{2}",
    "(?:x|y){2,3}",
    "[\\w.-]+",
    "",
    "\\u0041\\x42",
  ])("%s", (pattern) => {
    for (let seed = 0; seed < 50; seed++) {
      const text = patternInstance(pattern, new Random(seedOf(seed), 6));
      expect(text).toMatch(new RegExp(`^(?:${pattern})$`));
    }
  });
  test.each([
    "(",
    "[a",
    "a{2",
    "*",
    "(?<=a)b",
    "\\1",
    "\\bword",
    "((((a{1000}){1000}){1000}){1000})",
    "(){1000}".repeat(3),
    "((){999}){999}",
    `[${"ab".repeat(50_000)}]{4000}`,
  ])("%.30s is refused or short", (pattern) => {
    let text: string | null = null;
    try {
      text = patternInstance(pattern, new Random(seedOf(1), 6));
    } catch (error) {
      expect(error).toBeInstanceOf(BudgetError);
    }
    expect(text === null || new RegExp(`^(?:${pattern})$`).test(text)).toBe(true);
  });
});

describe("parts of allOf", () => {
  test("that say the same of a property in another order: the last one's order counts", () => {
    const [first, last] = [
      { type: "object", properties: { a: { const: 1 }, b: { const: 2 } } },
      { properties: { b: { const: 2 }, a: { const: 1 } }, type: "object" },
    ];
    const required = ["a", "b"];
    const parts = [first, last].map((part) => ({ properties: { it: { ...part, required } }, required: ["it"] }));
    expect(JSON.stringify(make({ allOf: parts }, 1))).toBe('{"it":{"b":2,"a":1}}');
  });

  test("with members that are no schemas: what follows them counts", () => {
    const parts = ["a", "b", null, "c"].map((name) => ({ properties: name === null ? [] : { [name]: { const: name } }, required: ["c"] }));
    expect(make({ type: "object", allOf: parts }, 1)).toEqual({ c: "c" });
  });

  test("cost the names that they require, not those before them", () => {
    const required = ["a"];
    let looks = 0;
    const every = (isName: (name: string) => boolean): boolean => (looks++, Array.from(required).every(isName));
    const schema = { required: Object.assign(required, { every }), allOf: Array.from({ length: 100 }, () => ({ required: ["a"] })) };
    expect(make(schema, 1)).toHaveProperty("a");
    expect(looks).toBe(1);
  });
});
