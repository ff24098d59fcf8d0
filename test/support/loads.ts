/** What the tests of load drivers share. */
import type { LoadReport } from "../../src/load/job.ts";

export const chatBody = (more: object = {}): string =>
  JSON.stringify({ model: "m", stream: true, messages: [{ role: "user", content: "Hello there" }], ...more });

/** What is invalid about a report, beside a machine that was too busy for the load. */
export const withoutLimits = ({ invalid }: LoadReport): readonly string[] =>
  invalid.filter((reason) => !reason.startsWith("client-limited"));

export const times = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value);
