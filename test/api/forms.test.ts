/** The tables of forms that bodies are checked by, made of the SDKs' types. */
import { describe, expect, test } from "vitest";
import { FormCheck } from "../../src/api/shared/forms.ts";
import { FormTable } from "../support/request-forms.ts";
import { acceptedBy, type Sdk } from "../support/sdk-types.ts";

/** Members whose lists are long, and that their surfaces check as they read them. */
const readBySurface = { "/v1/completions": ["prompt"], "/v1/embeddings": ["input"] };

/** The table as a program: a row a line. */
function program(sdk: Sdk, name: string): string {
  const { bodies, rows } = new FormTable(acceptedBy(sdk)).forms(readBySurface);
  const lines = rows.map((row) => JSON.stringify(row)).join(",\n");
  const comment = "/** Forms of requests, made of the types of the provider's SDK by `npm run generate`: JSON of `Forms`. */";
  return `${comment}\nexport const ${name}: string = String.raw\`{"bodies":${JSON.stringify(bodies)},"rows":[\n${lines}\n]}\`;\n`;
}

describe("the tables are made of the types (npm run generate writes them anew)", () => {
  test.each<[Sdk, string]>([
    ["openai", "openAiForms"],
    ["anthropic", "anthropicForms"],
  ])(
    "%s",
    async (sdk, name) => {
      await expect(program(sdk, name)).toMatchFileSnapshot(`../../src/api/${sdk}/forms.ts`);
    },
    120_000,
  );
});

test("a form that holds itself is looked at down to a depth", () => {
  const table = {
    bodies: { "/": 0 },
    rows: [
      { kinds: 16, members: { or: 1 } },
      { kinds: 8, items: 0 },
    ],
  };
  const check = new FormCheck(JSON.stringify(table));
  const nested = (depth: number, leaf: unknown): Record<string, unknown> => {
    let value: Record<string, unknown> = { or: leaf };
    for (let level = 0; level < depth; level++) value = { or: [value] };
    return value;
  };
  expect(check.faultOf("/", nested(20, 5))).toMatchObject({ what: "type", value: 5 });
  expect(check.faultOf("/", nested(20_000, 5))).toBeNull();
});

test("names are open at the places that say so, and nowhere else", () => {
  const table = {
    bodies: { "/": 0 },
    rows: [
      { kinds: 16, members: { parts: 1, sound: 3, notes: 5 } },
      { kinds: 8, items: 2 },
      { kinds: 16, tag: "type", variants: { a: 3 }, untagged: 3 },
      { kinds: 16, members: { format: 4 } },
      { kinds: 1, values: ["wav"] },
      { kinds: 16, rest: 4 },
    ],
  };
  const body = (type: unknown, format: unknown, more: object = {}): Record<string, unknown> => ({ parts: [{ type, format }], ...more });
  const check = new FormCheck(JSON.stringify(table), { "/": ["parts.[].type", "parts.[].format", "notes.*", "nowhere.at.all"] });
  expect(check.faultOf("/", body("a", "flac", { notes: { x: 5 } }))).toBeNull();
  expect(check.faultOf("/", body("b", 5))).toBeNull();
  expect(check.faultOf("/", body(null, "flac"))).toBeNull();
  expect(check.faultOf("/", body("a", 5))).toMatchObject({ what: "type" });
  expect(check.faultOf("/", body(5, "wav"))).toMatchObject({ what: "type" });
  expect(check.faultOf("/", body("a", "wav", { sound: { format: "flac" } }))).toMatchObject({ what: "name", path: ["sound", "format"] });
  expect(new FormCheck(JSON.stringify(table)).faultOf("/", body("a", "flac"))).toMatchObject({ what: "name" });
});

test("names that objects inherit are no members", () => {
  const table = {
    bodies: { "/": 0 },
    rows: [{ kinds: 16, tag: "type", variants: { a: 1 } }, { kinds: 16, members: { b: 2 } }, { kinds: 1 }],
  };
  const check = new FormCheck(JSON.stringify(table));
  expect(check.faultOf("/", JSON.parse('{"type":"a","constructor":5,"__proto__":5}') as Record<string, unknown>)).toBeNull();
  expect(check.faultOf("/", { type: "constructor" })).toMatchObject({ what: "tag", path: ["type"], names: ["a"] });
  expect(check.faultOf("/", {})).toMatchObject({ what: "missing tag", path: ["type"] });
});
