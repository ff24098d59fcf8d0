/** `results/gateways/schema.json`: made of the types, with a description for each member and a unit for each number. */
import { readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";
import { expect, it } from "vitest";
import { root } from "../../support/process.ts";
import { sampleGatewayResult } from "../../support/sample-gateway.ts";
import { type Schema, schemaText } from "../../support/schema-from-types.ts";

const file = "results/gateways/schema.json";

it("is made of the types (npm run generate writes it anew)", async () => {
  await expect(schemaText("src/results/gateways/types.ts", "GatewayResult", false)).toMatchFileSnapshot(`../../../${file}`);
}, 120_000);

it("describes each member, with a unit for every number, and takes a result", () => {
  const published = JSON.parse(readFileSync(`${root}${file}`, "utf8")) as Schema;
  const wanting: string[] = [];
  const visit = (value: unknown, name: string): void => {
    if (Array.isArray(value)) for (const [index, item] of value.entries()) visit(item, `${name}[${index}]`);
    if (typeof value !== "object" || value === null || Array.isArray(value)) return;
    const { type, unit, properties } = value as Schema;
    if (/number|integer/u.test(JSON.stringify(type ?? null)) && !("const" in value) && unit === undefined) wanting.push(`${name}: unit`);
    for (const [member, part] of Object.entries((properties ?? {}) as Record<string, Schema>))
      if (typeof part["description"] !== "string") wanting.push(`${name}.${member}: description`);
    for (const [key, part] of Object.entries(value)) visit(part, `${name}.${key}`);
  };
  visit(published, "result");
  expect(wanting).toEqual([]);
  const ajv = new Ajv2020({ allowUnionTypes: true, allErrors: true });
  ajv.addVocabulary(["unit"]);
  const validate = ajv.compile(published);
  validate(sampleGatewayResult());
  expect(validate.errors).toBeNull();
  const { seed: _seed, ...without } = sampleGatewayResult();
  expect(validate(without)).toBe(false);
}, 60_000);
