/** Rules for answers: their published form, what is wrong with them and where, and what their patterns may cost. */
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type GivenReplies, settleReplies } from "../../src/settings/replies.ts";
import { root } from "../support/process.ts";
import { type Schema, schemaText } from "../support/schema-from-types.ts";

const folder = mkdtempSync(join(tmpdir(), "fakeai-replies-"));

test("the schema is made of the types (npm run generate writes it anew)", async () => {
  await expect(schemaText("src/settings/replies.ts", "ReplyFile", true)).toMatchFileSnapshot("../../docs/replies.schema.json");
}, 120_000);

test("the schema describes each member", () => {
  const wanting: string[] = [];
  const visit = (value: unknown, name: string): void => {
    if (typeof value !== "object" || value === null) return;
    const { properties = {} } = value as { properties?: Record<string, Schema> };
    for (const [member, part] of Object.entries(properties))
      if (typeof part["description"] !== "string" && !name.includes("usage")) wanting.push(`${name}.${member}`);
    for (const [key, part] of Object.entries(value)) visit(part, `${name}.${key}`);
  };
  visit(JSON.parse(readFileSync(`${root}docs/replies.schema.json`, "utf8")), "");
  expect(wanting).toEqual([]);
});

/** The complaint about a file with this text. */
async function complaint(text: string, batched = false): Promise<string> {
  const file = join(folder, "replies.yaml");
  writeFileSync(file, text);
  return settleReplies(file, batched).then(
    () => "none",
    (error: Error) => error.message.replace(folder, ""),
  );
}

const rule = (match: string, reply: string): string => `# a comment\nreplies:\n  - match: ${match}\n    reply:\n      ${reply}\n`;

test.each([
  [
    "a member with a typo",
    rule("{ usr: a }", "text: a"),
    /^\/replies\.yaml:3: replies\[0\]\.match\.usr: there is no such member: did you mean user/,
  ],
  ["a wrong type", rule("{ turn: one }", "text: a"), /:3: replies\[0\]\.match\.turn: must be integer/],
  ["a wrong choice", rule("{ endpoint: chats }", "text: a"), /:3: replies\[0\]\.match\.endpoint: must be one of /],
  ["a fault that is none", rule("{}", "fault: rate_limt"), /:5: replies\[0\]\.reply\.fault: fault: rate_limt: no fault of this name/],
  ["a latency that is none", rule("{}", "ttft: soon"), /:5: replies\[0\]\.reply\.ttft: ttft/],
  [
    "a step of a sequence",
    "replies:\n  - reply:\n      - text: a\n      - txt: b\n",
    /:4: replies\[0\]\.reply\[1\]\.txt: there is no such member/,
  ],
  [
    "the first of several, and not the deepest",
    "replies:\n  - match: { usr: a }\n    reply: { text: a }\n  - reply:\n      - { text: a, usage: { promptTokens: x } }\n",
    /:2: replies\[0\]\.match\.usr: there is no such member/,
  ],
  [
    "the first within a rule",
    "replies:\n  - reply:\n      text: 5\n      usage: { promptTokens: x }\n    match: { turn: one }\n",
    /:3: replies\[0\]\.reply\.text: must be string/,
  ],
  [
    "a fault before a member that is none",
    "replies:\n  - reply:\n      fault: rate_limt\n  - reply:\n      txt: a\n",
    /:3: replies\[0\]\.reply\.fault: fault: rate_limt/,
  ],
  ["what stands behind the rules", "replies:\n  - reply: { ttft: soon }\nunmatched: never\n", /:2: replies\[0\]\.reply\.ttft: ttft/],
  [
    "a member whose value stands below its name",
    "replies:\n  - reply:\n      text: a\n      txt:\n        - b\n",
    /:4: replies\[0\]\.reply\.txt: there is no such member/,
  ],
  [
    "a list where one thing is taken",
    "replies:\n  - match:\n      user: [a]\n    reply: { text: 5 }\n",
    /:3: replies\[0\]\.match\.user: must be string/,
  ],
  [
    "embeddings that say something",
    rule("{ endpoint: embeddings }", "text: a"),
    /:5: replies\[0\]\.reply\.text: a reply to embeddings has/,
  ],
  [
    "a turn of embeddings",
    rule("{ endpoint: embeddings, turn: 2 }", "fault: rate_limit"),
    /:3: replies\[0\]\.match\.turn: embeddings are no/,
  ],
  ["moderations with a latency", rule("{ endpoint: moderations }", "ttft: 5"), /:5: replies\[0\]\.reply\.ttft: a reply to moderations has/],
  ["moderations cut", rule("{ endpoint: moderations }", "fault: truncate"), /:5: replies\[0\]\.reply\.fault: truncate: moderations take/],
  ["a refusal beside a text", rule("{}", "{ text: a, refusal: b }"), /:5: replies\[0\]\.reply\.refusal: stands in place/],
  ["a rule without a reply", "replies:\n  - match: { turn: 1 }\n", /:2: replies\[0\]: must have required property 'reply'/],
  ["no YAML", "replies: [\n", /^\/replies\.yaml:2: /],
  ["an asterisk without quotation marks", rule("{ model: *mini }", "text: a"), /:3: \*mini names nothing .* needs quotation marks$/],
  ["rules that hold themselves", "replies: &all\n  - reply: &one { text: *one }\n", /^\/replies\.yaml(?::1: replies)?: /],
  [
    "names that unfold",
    "a: &a [x, x, x, x]\nb: &b [*a, *a, *a, *a]\nc: &c [*b, *b, *b, *b]\nd: [*c, *c, *c, *c]\n",
    /yaml: Excessive alias count/,
  ],
  ["a file in JSON", '{ "replies": [\n  { "reply": { "text": 5 } }\n] }', /:2: replies\[0\]\.reply\.text: must be string/],
  [
    "a pattern with a reference back",
    rule("{ user: '/(a)\\1/' }", "text: a"),
    /:3: replies\[0\]\.match\.user: is no pattern of RE2's syntax/,
  ],
  ["an unknown flag", rule("{ user: '/a/x' }", "text: a"), /:3: .*there is no flag "x"/],
])("says what is wrong and in which line: %s", async (_name, text, expected) => {
  expect(await complaint(text)).toMatch(expected);
});

test("with the batched scheduler a reply has no latencies", async () => {
  expect(await complaint(rule("{}", "ttft: 5"), true)).toMatch(/:5: replies\[0\]\.reply\.ttft: with --scheduler batched/);
});

test("rules of a program are named by their place", async () => {
  const wrong = [{ reply: { text: "a" } }, { reply: { txt: "b" } }] as unknown as GivenReplies;
  await expect(settleReplies(wrong, false)).rejects.toThrow("replies[1].reply.txt: there is no such member: did you mean text?");
});

test("a text of a program that is written as a pattern is one, as in a file", async () => {
  const matchOf = async (user: string | RegExp) =>
    (await settleReplies([{ match: { user }, reply: { text: "x" } }], false)).rules[0]!.match.user!;
  for (const given of ["/help|halt/i", /help|halt/i])
    expect([(await matchOf(given))("HALT"), (await matchOf(given))("x")]).toEqual([true, false]);
  expect([(await matchOf("help/me"))("so help/me"), (await matchOf("/help"))("/help me")]).toEqual([true, true]);
  await expect(matchOf("/help/me")).rejects.toThrow('replies[0].match.user: is no pattern of RE2\'s syntax (there is no flag "e"');
  expect((await matchOf("/\\/help\\/me/"))("say /help/me")).toBe(true);
});

test("a pattern of a file takes time by the text's length alone", async () => {
  const file = join(folder, "slow.yaml");
  writeFileSync(file, "replies:\n  - match: { user: '/^(a+)+$/' }\n    reply: { text: x }\n");
  const { user } = (await settleReplies(file, false)).rules[0]!.match;
  const startedMs = performance.now();
  // By backtracking this takes 2^40 steps.
  expect(user!(`${"a".repeat(40)}b`)).toBe(false);
  expect(user!("a".repeat(40))).toBe(true);
  expect(performance.now() - startedMs).toBeLessThan(5000);
});

test("patterns of programs keep no place, and may come from another realm", async () => {
  const { runInNewContext } = await import("node:vm");
  const given = [{ match: { user: /b/g, model: runInNewContext("/^gpt/i") as RegExp }, reply: { text: "x" } }];
  const { match } = (await settleReplies(given, false)).rules[0]!;
  expect([match.user!("abc"), match.user!("abc"), match.model!("GPT-5"), match.model!("o4")]).toEqual([true, true, true, false]);
});
