/** `results/schema.json`: what is published is made of the types, says what each member is, and judges as the types do. */
import { readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, it } from "vitest";
import { checkResult } from "../../src/results/store.ts";
import { root } from "../support/process.ts";
import { sampleResult } from "../support/sample-result.ts";
import { type Schema, schemaText } from "../support/schema-from-types.ts";

const published = JSON.parse(readFileSync(`${root}results/schema.json`, "utf8")) as Schema;
const sample = sampleResult();
const isSchema = (value: unknown): value is Schema => typeof value === "object" && value !== null && !Array.isArray(value);

it("is made of the types (npm run generate writes it anew)", async () => {
  await expect(schemaText("src/results/types.ts", "BenchResult", false)).toMatchFileSnapshot("../../results/schema.json");
}, 120_000);

it("describes each member, with a unit for every number", () => {
  const wanting: string[] = [];
  const visit = (value: unknown, name: string): void => {
    if (Array.isArray(value)) for (const [index, item] of value.entries()) visit(item, `${name}[${index}]`);
    if (!isSchema(value)) return;
    const { type, unit, properties } = value;
    const isNumber = /number|integer/u.test(JSON.stringify(type ?? null));
    // What a workload holds is a scenario's: units are in its names.
    if (isNumber && !("const" in value) && unit === undefined && !name.includes(".workload.")) wanting.push(`${name}: unit`);
    if (isSchema(properties))
      for (const [member, part] of Object.entries(properties))
        if (!isSchema(part) || typeof part["description"] !== "string") wanting.push(`${name}.${member}: description`);
    for (const [key, part] of Object.entries(value)) visit(part, `${name}.${key}`);
  };
  visit(published, "result");
  expect(wanting).toEqual([]);
});

it("names every member of a result", () => {
  const closed = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(closed);
    if (!isSchema(value)) return value;
    const copy = Object.fromEntries(Object.entries(value).map(([key, part]) => [key, closed(part)]));
    return isSchema(value["properties"]) ? { ...copy, additionalProperties: false } : copy;
  };
  const ajv = new Ajv2020({ allowUnionTypes: true, allErrors: true });
  ajv.addVocabulary(["unit"]);
  const validate = ajv.compile(closed(published) as Schema);
  validate(sample);
  expect(validate.errors).toBeNull();
});

describe("refuses, with the member and the reason", () => {
  const arm = "/scenarios/1/arms/0";
  it.each<[path: string, value: unknown, message: string]>([
    ["/seed", 1.5, "/seed must be integer"],
    ["/seed", undefined, "the result must have required property 'seed'"],
    ["/complete", "yes", "/complete must be boolean"],
    ["/scenarios/0/arms", "none", "/scenarios/0/arms must be array"],
    [`${arm}/protocol`, "h4", `${arm}/protocol must be equal to one of the allowed values`],
    [`${arm}/connections`, -1, `${arm}/connections must be >= 0`],
    [`${arm}/rttMs`, null, `${arm}/rttMs must be number`],
    [`${arm}/rounds/0/requests/sent`, -1, `${arm}/rounds/0/requests/sent must be >= 0`],
    [`${arm}/rounds/0/requests/errors/timeout`, 0.5, `${arm}/rounds/0/requests/errors/timeout must be integer`],
    [`${arm}/rounds/0/metrics/ttft/p99`, "1", `${arm}/rounds/0/metrics/ttft/p99 must be number`],
    [`${arm}/rounds/0/metrics/ttft/count`, undefined, `${arm}/rounds/0/metrics/ttft must have required property 'count'`],
    ["/scenarios/1/comparisons/0/p", 1.1, "/scenarios/1/comparisons/0/p must be <= 1"],
    ["/scenarios/1/comparisons/0/verdict", "better", "/scenarios/1/comparisons/0/verdict must be equal to one of the allowed values"],
    ["/environment/cores", undefined, "/environment must have required property 'cores'"],
  ])("%s = %j", (path, value, message) => {
    expect(() => checkResult(withMember(path, value), "it")).toThrow(`it: ${message}`);
  });

  it("and takes a null where nobody saw a metric, and members of a later version", () => {
    for (const [path, value] of [
      [`${arm}/rounds/0/metrics/ttft`, null],
      [`${arm}/later`, { any: 1 }],
      ["/later", "x"],
    ] as const) {
      expect(checkResult(withMember(path, value), "it")).toBeTypeOf("object");
    }
  });
});

/** A whole result with one member changed; undefined takes it away. */
function withMember(path: string, value: unknown): unknown {
  const result: unknown = structuredClone(sample);
  const keys = path.split("/").slice(1);
  const last = keys.pop()!;
  let at = result as Record<string, unknown>;
  for (const key of keys) at = at[key] as Record<string, unknown>;
  if (value === undefined) delete at[last];
  else at[last] = value;
  return result;
}
