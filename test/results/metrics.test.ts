/** What is said of each metric. */
import { expect, it } from "vitest";
import { metricFacts } from "../../src/results/metrics.ts";

it("every metric says what it is", () => {
  for (const { description } of Object.values(metricFacts)) expect(description.length).toBeGreaterThan(20);
});
