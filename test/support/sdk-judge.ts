/** OpenAI's own types as judges of what is sent: no member missing, none unknown, none of the wrong type. */
import { mkdirSync, writeFileSync } from "node:fs";
import { Ajv, type AnySchemaObject, type ValidateFunction } from "ajv";
import { createGenerator } from "ts-json-schema-generator";

/** Throws an Error that says what is wrong with a value. */
export type Judge<Name extends string> = (name: Name, value: Readonly<Record<string, unknown>>) => void;

/** Judges by types, each under a name; `file` is where their program is kept. Takes seconds. */
export function judgeBy<Name extends string>(file: string, types: Readonly<Record<Name, string>>): Judge<Name> {
  const cache = new URL("../../node_modules/.cache/", import.meta.url).pathname;
  // A new checkout has none.
  mkdirSync(cache, { recursive: true });
  const entry = `${cache}${file}.ts`;
  const members = Object.entries(types).map(([name, type]) => `${name}: ${String(type)};`);
  writeFileSync(entry, `import type OpenAI from "openai";\nexport interface Judged { ${members.join(" ")} }\n`);
  const tsconfig = `${cache}${file}.tsconfig.json`;
  const compilerOptions = { module: "NodeNext", target: "ES2022", lib: ["ES2022", "DOM"], strict: true, skipLibCheck: true, types: [] };
  writeFileSync(tsconfig, JSON.stringify({ compilerOptions, files: [entry] }));
  const generator = createGenerator({ path: entry, type: "Judged", tsconfig, skipTypeCheck: true, additionalProperties: false });
  const ajv = new Ajv({ strict: false, allErrors: false });
  ajv.addSchema(generator.createSchema("Judged") as AnySchemaObject, "openai");
  const judges = new Map<string, ValidateFunction>();
  for (const name of Object.keys(types)) judges.set(name, ajv.compile({ $ref: `openai#/definitions/Judged/properties/${name}` }));
  return (name, value) => {
    const validate = judges.get(name)!;
    if (!validate(value)) throw new Error(`${name}: ${JSON.stringify(validate.errors!.slice(-3))}\n${JSON.stringify(value, null, 1)}`);
  };
}
