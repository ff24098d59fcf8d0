/** The ladder: every plan is one that the server takes, and rules fall on the requests that they name. */
import { expect, test } from "vitest";
import { ladder, planOf, risingRungs } from "../../src/audit/ladder.ts";
import { freePorts, resolveConfig } from "../../src/settings/server.ts";
import { type Reply, settleReplies } from "../../src/settings/replies.ts";
import { keyName } from "../../src/settings/flags.ts";

test("every rung has a name and a plan of its own", () => {
  expect(new Set(ladder.map(({ name }) => name)).size).toBe(ladder.length);
  const plans = ladder.map((rung) => `${planOf(rung)} ${JSON.stringify(rung.load)}`);
  expect(new Set(plans).size).toBe(ladder.length);
  expect(risingRungs.has("constant")).toBe(true);
});

test.each(ladder.map((rung) => [rung.name, rung] as const))(
  "%s: the server takes it, on HTTP/1.1 and HTTP/2",
  async (_name, { flags, replies }) => {
    const options = Object.fromEntries(
      Object.entries(flags).map(([name, value]) => [
        keyName(name),
        value === "" ? true : name === "tokens-per-chunk" ? Number(value) : value,
      ]),
    );
    expect(() => resolveConfig(options, freePorts)).not.toThrow();
    for (const isHttp2 of [false, true]) if (replies !== null) expect((await settleReplies(replies(isHttp2), false)).rules).toHaveLength(1);
  },
);

test("rules fall on the requests that a plan names", () => {
  const numbersWith = (name: string, member: keyof Reply): number[] => {
    const rules = ladder.find((rung) => rung.name === name)!.replies!(false).replies[0]!.reply as readonly Reply[];
    return rules.flatMap((reply, index) => (reply[member] === undefined ? [] : [index + 1])).slice(0, 3);
  };
  expect(numbersWith("slow-first", "ttft")).toEqual([1, 101, 201]);
  expect(numbersWith("errors", "fault")).toEqual([4, 9, 14]);
  expect(numbersWith("cuts", "fault")).toEqual([4, 9, 14]);
  expect(numbersWith("stalls", "fault")).toEqual([2, 6, 10]);
});
