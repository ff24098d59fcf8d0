/** What one request may cause: small schemas that ask for much, counted in work, not in time. */
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { AnswerWork } from "../../../src/api/shared/choices.ts";
import { Budget, BudgetError, type Work, workBounds } from "../../../src/core/limits/budget.ts";
import { Random, seedOf } from "../../../src/core/random/random.ts";
import { schemaInstance, SchemaError, SchemaMaker } from "../../../src/core/schema/instance.ts";

const random = (): Random => new Random(seedOf(1), 6);

/** Why a schema has no instance; null: it has one. */
function refusal(schema: unknown, budget = new Budget()): SchemaError | BudgetError | null {
  try {
    JSON.stringify(schemaInstance(schema, random(), budget));
    return null;
  } catch (error) {
    if (error instanceof SchemaError || error instanceof BudgetError) return error;
    throw error;
  }
}

/** Definitions `d0` to `d<levels>`, each made of the next, the last a string. */
function tower(levels: number, of: (next: object) => object): object {
  const steps = Array.from({ length: levels }, (_, i) => [`d${i}`, of({ $ref: `#/$defs/d${i + 1}` })]);
  return { $ref: "#/$defs/d0", $defs: Object.fromEntries([...steps, [`d${levels}`, { type: "string" }]]) };
}

const names = Array.from({ length: 5000 }, (_, i) => `property_number_${i}`);

describe("work of small schemas", () => {
  test("two references a level are each followed once", () => {
    const budget = new Budget();
    expect(
      refusal(
        tower(20, (next) => ({ allOf: [next, next] })),
        budget,
      ),
    ).toBeNull();
    expect(budget.spent("schemaParts")).toBeLessThan(1000);
  });

  test.each<[string, unknown, Work]>([
    ["an array of long strings", { type: "array", minItems: 1000, items: { type: "string", minLength: 20_000 } }, "characters"],
    ["one endless string", { type: "string", minLength: 1e12 }, "characters"],
    ["a long constant, often", { type: "array", minItems: 1000, items: { const: "x".repeat(10_000) } }, "characters"],
    ["a large constant", { const: Array.from({ length: 20_000 }, () => 0) }, "values"],
    ["arrays of arrays", { type: "array", minItems: 1000, items: { type: "array", minItems: 1000, items: {} } }, "values"],
    ["a repeated pattern", { type: "array", minItems: 1000, items: { type: "string", pattern: "^(a|b|c){40}$" } }, "patternPieces"],
    ["a class of 100,000, repeated", { type: "string", pattern: `[${"ab".repeat(50_000)}]{4000}` }, "patternPieces"],
    [
      "members that are never made",
      { type: "array", minItems: 5000, items: { properties: { a: {}, b: {}, c: {} }, anyOf: names.map(() => ({})) } },
      "properties",
    ],
    ["properties merged again and again", { allOf: names.map((name) => ({ properties: { [name]: {} } })) }, "schemaParts"],
  ])("%s is refused within the bound", (_what, schema, work) => {
    const budget = new Budget();
    const error = refusal(schema, budget);
    expect(error).toBeInstanceOf(BudgetError);
    expect((error as BudgetError).work).toBe(work);
    expect(error!.message).toContain(String(workBounds[work].most));
  });

  test.each<[string, object]>([
    ["allOf of itself", { allOf: [{ $ref: "#" }] }],
    ["a reference to itself", { $ref: "#" }],
    ["a tower of references", tower(5000, (next) => next)],
    ["a tower of allOf", tower(5000, (next) => ({ allOf: [next] }))],
    ["a bad escape", { $ref: "#/%" }],
    ["a bad escape of UTF-8", { $ref: "#/%ff" }],
  ])("%s is a schema that cannot be followed", (_what, schema) => {
    expect(refusal(schema)).toBeInstanceOf(SchemaError);
  });

  test("what OpenAI takes is not refused", () => {
    const all = {
      type: "object",
      properties: Object.fromEntries(names.map((name) => [name, { type: "integer" }])),
      required: names,
      additionalProperties: false,
    };
    expect(refusal(all)).toBeNull();
    expect(refusal({ type: "object", properties: { one: { enum: names.slice(0, 1000) } }, required: ["one"] })).toBeNull();
  });

  test("the instances of one answer share a budget", () => {
    const budget = new Budget();
    const maker = new SchemaMaker({ type: "string", minLength: 20_000 }, budget);
    expect(() => {
      for (let choice = 0; choice < 128; choice++) maker.make(random());
    }).toThrow(BudgetError);
  });

  test("each part of an allOf costs what it holds, however many stand before it", () => {
    const partsOf = (count: number): number => {
      const budget = new Budget();
      const allOf = Array.from({ length: count }, (_, i) => ({ properties: { [`p${i}`]: { type: "string" } }, required: [`p${i}`] }));
      expect(refusal({ allOf }, budget)).toBeNull();
      return budget.spent("schemaParts");
    };
    expect(partsOf(1200) - partsOf(800)).toBe(partsOf(800) - partsOf(400));
  });

  test("a schema is asked for the keywords that it has, not for each that there could be", () => {
    let asked = 0;
    const count = <Value>(value: Value): Value => {
      asked++;
      return value;
    };
    const target: Record<string, unknown> = { type: "string" };
    const seen = new Proxy(target, {
      get: (_, name) => count(Reflect.get(target, name)),
      has: (_, name) => count(Reflect.has(target, name)),
      getOwnPropertyDescriptor: (_, name) => count(Reflect.getOwnPropertyDescriptor(target, name)),
    });
    expect(schemaInstance(seen, random())).toEqual(expect.any(String));
    expect(asked).toBeLessThan(12);
  });

  test("of a branch that is seen through at once nothing is kept but what it says", () => {
    const anyOf = Array.from({ length: 1000 }, (_, i) => ({ const: i }));
    const kept = vi.spyOn(Map.prototype, "set");
    try {
      expect(schemaInstance({ anyOf }, random())).toEqual(expect.any(Number));
      expect(kept.mock.calls.length).toBeLessThan(1100);
    } finally {
      kept.mockRestore();
    }
  });

  test("of choices that cannot all be made not even the first is", () => {
    const below = vi.spyOn(Random.prototype, "below");
    const properties = Object.fromEntries(names.slice(0, 2600).map((name) => [name, { type: "string" }]));
    const schema = { type: "object", properties, required: Object.keys(properties) };
    try {
      expect(() => new AnswerWork(128).instanceOf(schema, "response_format", seedOf(1))).toThrow(
        /^Invalid schema for 'response_format': it takes more than 5200 values/,
      );
      expect(below.mock.calls.length).toBeLessThan(1000);
      expect(Object.keys(new AnswerWork(2).instanceOf(schema, "response_format", seedOf(1)) as object)).toHaveLength(2600);
    } finally {
      below.mockRestore();
    }
  });

  test.each(Object.getOwnPropertyNames(Object.prototype))("a format, an escape or a name that is %s means nothing else", (name) => {
    expect(schemaInstance({ type: "string", format: name }, random())).toEqual(expect.any(String));
    expect(refusal({ $ref: `#/${name}` })).toBeInstanceOf(SchemaError);
    expect(refusal({ type: name })).toBeInstanceOf(SchemaError);
    const object = schemaInstance({ type: "object", properties: { [name]: { type: "integer" } }, required: [name] }, random());
    expect(Object.hasOwn(object as object, name)).toBe(true);
  });
});

describe("any schema", () => {
  const keyword = fc.constantFrom("minItems", "maxItems", "minLength", "maxLength", "minimum", "maximum", "multipleOf");
  const amount = fc.oneof(
    fc.integer({ min: -5, max: 50 }),
    fc.constantFrom(1e3, 1e4, 1e6, 1e12, 1e300, 0.1, -0),
    fc.jsonValue({ maxDepth: 1 }),
  );
  const pattern = fc.oneof(
    fc.string(),
    fc
      .array(fc.constantFrom("a", "(", ")", "[", "]", "{40}", "{9,}", "{1000}", "*", "+", "|", "^", "$", "\\w", ".", "-"), {
        maxLength: 12,
      })
      .map((parts) => parts.join("")),
  );
  const { hostile } = fc.letrec<{ hostile: unknown }>((tie) => ({
    hostile: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      fc.record({ type: fc.constantFrom("string", "integer", "number", "array", "object", "null", "toString") }),
      fc.record({ $ref: fc.constantFrom("#", "#/$defs/a", "#/$defs/b", "#/%", "#/properties", "#/$defs/__proto__", "x") }),
      fc
        .tuple(tie("hostile"), tie("hostile"), keyword, amount)
        .map(([items, other, name, value]) => ({ type: "array", items, prefixItems: [other], [name]: value })),
      fc.tuple(tie("hostile"), amount).map(([items, minItems]) => ({ type: "array", items, minItems })),
      fc.tuple(pattern, keyword, amount).map(([text, name, value]) => ({ type: "string", pattern: text, [name]: value })),
      fc.tuple(keyword, amount, keyword, amount).map(([a, x, b, y]) => ({ [a]: x, [b]: y })),
      fc
        .array(tie("hostile"), { maxLength: 3 })
        .chain((list) => fc.constantFrom("allOf", "anyOf", "oneOf").map((name) => ({ [name]: list }))),
      fc
        .dictionary(fc.constantFrom("a", "b", "__proto__", "constructor"), tie("hostile"))
        .map((properties) => ({ type: "object", properties, required: Object.keys(properties) })),
      fc.jsonValue({ maxDepth: 2 }),
    ),
  }));

  test("ends with an instance or a refusal, within the bounds", () => {
    fc.assert(
      fc.property(hostile, hostile, hostile, (schema, a, b) => {
        const root = typeof schema === "object" && schema !== null && !Array.isArray(schema) ? { ...schema, $defs: { a, b } } : schema;
        const budget = new Budget();
        let json: string | undefined;
        try {
          json = JSON.stringify(schemaInstance(root, random(), budget));
        } catch (error) {
          expect(error instanceof SchemaError || error instanceof BudgetError).toBe(true);
        }
        // An escape takes up to six characters.
        expect(json?.length ?? 0).toBeLessThan(8 * workBounds.characters.most);
      }),
      { numRuns: 3000, seed: 15 },
    );
  });
});
