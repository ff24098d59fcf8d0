/** The published form of a tape, and what is told of one that is wrong. */
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readTape } from "../../src/tape/reader.ts";
import { root } from "../support/process.ts";
import { type Schema, schemaText } from "../support/schema-from-types.ts";

const folder = mkdtempSync(join(tmpdir(), "fakeai-tape-"));

test("the schema is made of the types (npm run generate writes it anew)", async () => {
  await expect(schemaText("src/tape/form.ts", "TapeLine", true)).toMatchFileSnapshot("../../docs/tape.schema.json");
}, 120_000);

test("the schema describes each member", () => {
  const wanting: string[] = [];
  const visit = (value: unknown, name: string): void => {
    if (typeof value !== "object" || value === null) return;
    const { properties = {} } = value as { properties?: Record<string, Schema> };
    for (const [member, part] of Object.entries(properties))
      if (typeof part["description"] !== "string" && part["$ref"] === undefined) wanting.push(`${name}.${member}`);
    for (const [key, part] of Object.entries(value)) visit(part, `${name}.${key}`);
  };
  visit(JSON.parse(readFileSync(`${root}docs/tape.schema.json`, "utf8")), "");
  expect(wanting).toEqual([]);
});

const head = { fakeaiTape: 1, to: "http://127.0.0.1:9000/v1", recordedAt: "2026-01-01T00:00:00.000Z", fakeai: "0.1.0", upstream: "h1" };
const call = {
  call: 1,
  atUs: 0,
  connectUs: null,
  heldBack: false,
  request: { protocol: "h1", method: "POST", path: "/v1/x", query: "", headers: [["accept", "*/*"]], body: { text: "{}" } },
  response: {
    status: 200,
    headers: [["content-type", "text/event-stream"]],
    headUs: 5,
    pieces: [
      { us: 5, text: "data: 1\n\n" },
      { us: 9, text: "data: 2\n\n" },
    ],
    endUs: 9,
    end: "finished",
  },
};
const { request, response } = call;

/** The complaint about a tape of these lines. */
async function complaint(...lines: readonly unknown[]): Promise<string> {
  writeFileSync(join(folder, "tape.jsonl"), lines.map((line) => (typeof line === "string" ? line : JSON.stringify(line))).join("\n"));
  return readTape(folder, "--replay").then(
    () => "none",
    (error: Error) => error.message.replace(folder, ""),
  );
}

test.each([
  ["a good one", [head, call, "", { ...call, call: 2 }], /^none$/],
  ["no head", [call], /^\/tape\.jsonl:1: fakeaiTape: is missing/],
  ["another version", [{ ...head, fakeaiTape: 2 }, call], /^\/tape\.jsonl:1: fakeaiTape: is 2, and this fakeai reads 1$/],
  ["no calls", [head], /^\/tape\.jsonl: holds no call$/],
  ["nothing", [], /^\/tape\.jsonl: is empty/],
  ["no JSON", [head, call, "{"], /^\/tape\.jsonl:3: is not JSON/],
  ["a member that is missing", [head, { ...call, atUs: undefined }], /^\/tape\.jsonl:2: atUs: is missing$/],
  ["a member with a typo", [head, { ...call, response: { ...response, statuss: 1 } }], /:2: response\.statuss: there is no such member$/],
  [
    "a wrong type",
    [head, { ...call, response: { ...response, pieces: [{ us: "5", text: "" }] } }],
    /:2: response\.pieces\[0\]\.us: must be number$/,
  ],
  ["a wrong choice", [head, { ...call, response: { ...response, end: "done" } }], /:2: response\.end: must be one of finished, cut/],
  [
    "times that fall",
    [head, { ...call, response: { ...response, pieces: response.pieces.toReversed() } }],
    /:2: response\.pieces\[1\]\.us: 5 is before 9/,
  ],
  ["an end before its pieces", [head, { ...call, response: { ...response, endUs: 1 } }], /:2: response\.endUs: 1 is before 9/],
  [
    "text and base64",
    [head, { ...call, response: { ...response, pieces: [{ us: 1 }] } }],
    /:2: response\.pieces\[0\]: must have either text or base64$/,
  ],
  [
    "no base64",
    [head, { ...call, request: { ...request, body: null }, response: { ...response, pieces: [{ us: 1, base64: "%" }] } }],
    /base64: is not base64$/,
  ],
  [
    "a head that would be another",
    [head, { ...call, response: { ...response, headers: [["x-a", "1\r\nset-cookie: a"]] } }],
    /:2: response\.headers\[0\]\[1\]: is no value of a header$/,
  ],
])("%s", async (_name, lines, expected) => {
  expect(await complaint(...(lines as unknown[]))).toMatch(expected);
});

test("a folder without a tape", async () => {
  await expect(readTape(join(folder, "none"), "--replay")).rejects.toThrow(/^--replay: cannot read .*none \(ENOENT\)$/);
});
