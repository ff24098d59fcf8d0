/** `scenarios/schema.json`: what is shipped is made of the types, and says what each member is. */
import { readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";
import { expect, test } from "vitest";
import { proxies } from "../../src/network/gateways/catalogue.ts";
import { root } from "../support/process.ts";
import { type Schema, schemaText } from "../support/schema-from-types.ts";

const shipped = JSON.parse(readFileSync(`${root}scenarios/schema.json`, "utf8")) as Schema & { $defs: Record<string, Schema> };

test("is made of the types (npm run generate writes it anew)", async () => {
  await expect(schemaText("src/runner/plan/scenario-file.ts", "ScenarioFile", true)).toMatchFileSnapshot("../../scenarios/schema.json");
}, 120_000);

test("is compiled without a complaint", () => {
  const said: string[] = [];
  const log = (text: string): void => void said.push(text);
  new Ajv2020({ allowUnionTypes: true, logger: { log, warn: log, error: log } }).compile(shipped);
  expect(said).toEqual([]);
});

test("describes each member, and refuses members that it does not name", () => {
  const open: string[] = [];
  const wanting: string[] = [];
  for (const [name, { type, properties = {}, additionalProperties }] of Object.entries({ ScenarioFile: shipped, ...shipped.$defs })) {
    if (type === "object" && additionalProperties !== false) open.push(name);
    for (const [member, part] of Object.entries(properties as Record<string, Schema>))
      if (typeof part["description"] !== "string") wanting.push(`${name}.${member}`);
  }
  expect({ open, wanting }).toEqual({ open: [], wanting: [] });
});

test("knows the gateways that can be started", () => {
  const { enum: names, const: name } = shipped.$defs["GatewayName"]!;
  expect(names ?? [name]).toEqual(Object.keys(proxies));
});
