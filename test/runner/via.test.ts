import { expect, test } from "vitest";
import { upstreamOf } from "../../src/runner/via.ts";

const origin = "http://127.0.0.1:8000";
const [one, other] = ["7d6ad9e2-0000-4000-8000-000000000001", "7d6ad9e2-0000-4000-8000-000000000002"];

test("the server that both ways share is said, and two servers are refused", () => {
  const here = { clock: "monotonic; boot=1", instance: one };
  expect(upstreamOf(origin, here, here)).toBe(`direct and through the gateway one model server answers: ${origin}, instance ${one}`);
  expect(() => upstreamOf(origin, here, { ...here, instance: other })).toThrow(/another server answers than .*x-fakeai-instance differs/);
  expect(() => upstreamOf(origin, { ...here, instance: null }, { clock: "monotonic; boot=2", instance: null })).toThrow(/x-fakeai-clock/);
  expect(upstreamOf(origin, here, { clock: null, instance: null })).toMatch(/is not known: the gateway passes on no x-fakeai-instance$/);
  expect(upstreamOf(origin, null, null)).toMatch(/is not known: the server says no x-fakeai-instance$/);
});
