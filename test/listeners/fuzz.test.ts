/** The search for requests that hold up others, in its short form. The long one: `npm run measure -- fuzz`. */
import { describe, expect, test } from "vitest";
import { type Case, caseOf, longForm, turns } from "./fuzz/requests.ts";
import { endpoints, headerNames, memberNames, routeMakers } from "./fuzz/surface.ts";

const plan = { seed: 1, cases: longForm, maxBodyBytes: 100_000 };
const text = (given: Case): string => JSON.stringify(given.kind === "bytes" ? given.bytes(true) : given);

describe("what is searched", () => {
  test("every function of src that makes routes gives its endpoints", () => {
    expect(routeMakers()).toEqual(["adminConfigRoutes", "healthRoutes", "metricsRoute", "providerRoutes"]);
    expect(endpoints()).toContainEqual({ method: "POST", path: "/v1/chat/completions" });
  });

  test("the long form asks each endpoint 200 times and more", () => {
    const counts = new Map<string, number>();
    for (let number = 0; number < longForm; number++) {
      const endpoint = turns(number);
      counts.set(endpoint, (counts.get(endpoint) ?? 0) + 1);
    }
    const asked = endpoints().map(({ method, path }) => `${method} ${path}`);
    expect([...counts.keys()].toSorted()).toEqual([...new Set([...asked, "connections"])].toSorted());
    expect(Math.min(...counts.values())).toBeGreaterThanOrEqual(200);
    expect(longForm).toBeGreaterThanOrEqual(5000);
  });

  test("members and headers are read from the sources", () => {
    expect(memberNames()).toEqual(expect.arrayContaining(["messages", "tool_choice", "stop_sequences", "dimensions", "output_config"]));
    expect(headerNames()).toEqual(expect.arrayContaining(["x-fakeai-ttft", "x-fakeai-text", "x-fakeai-fault"]));
  });

  test("a case is the same whatever was made before it, and another seed makes others", () => {
    const numbers = Array.from({ length: 60 }, (_, index) => 5000 + index);
    const forward = numbers.map((number) => text(caseOf(plan, number)));
    const backward = numbers.toReversed().map((number) => text(caseOf(plan, number)));
    expect(backward.toReversed()).toEqual(forward);
    expect(numbers.map((number) => text(caseOf({ ...plan, seed: 2 }, number)))).not.toEqual(forward);
  });
});
