/** Conversations: a turn leaves when the one before it has ended, and after its pause. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { createServer, type FakeAiServer } from "../../src/index.ts";
import { generate } from "../../src/load/generator.ts";
import type { LoadJob, LoadReport, PlannedRequest, RequestDetail } from "../../src/load/job.ts";
import { jobFault } from "../../src/load/limits.ts";
import { chatBody, jobOn } from "../support/loads.ts";

let server: FakeAiServer;
beforeAll(async () => {
  server = await createServer({ protocol: "h1", ttft: 20, itl: 5, outputTokens: 4, stamps: true });
});
afterAll(() => server.close(0));

const turn = (more: Partial<PlannedRequest> = {}): PlannedRequest => ({ body: chatBody(), tokens: 4, ...more });

async function run(
  requests: readonly PlannedRequest[],
  more: Partial<LoadJob> = {},
  signal: AbortSignal = new AbortController().signal,
): Promise<LoadReport> {
  const job = jobOn(server, "h1", null, { requests, connections: 8, streams: 8, detail: true, ...more });
  expect(jobFault(job)).toBeNull();
  return generate(job, { signal, onPhase: async () => {}, onProgress() {} });
}

const endOf = ({ tokenUs }: RequestDetail): number => tokenUs.at(-1)!;
const byIndex = ({ details }: LoadReport): RequestDetail[] => details.toSorted((a, b) => a.index - b.index);

test("open loop: a turn waits for the answer before it, its pause, and its own time", async () => {
  const report = await run(
    [
      turn({ atUs: 0 }),
      turn({ after: 0, delayUs: 100_000 }),
      turn({ atUs: 50_000 }),
      turn({ after: 1, delayUs: 0 }),
      turn({ after: 2, delayUs: 0, atUs: 400_000 }),
    ],
    { mode: "open" },
  );
  expect(report.requests).toMatchObject({ sent: 5, completed: 5, failed: 0 });
  const [a0, a1, b0, a2, b1] = byIndex(report);
  expect(a1!.startUs - endOf(a0!)).toBeGreaterThanOrEqual(100_000);
  expect(a1!.intendedUs! - endOf(a0!)).toBeGreaterThanOrEqual(100_000);
  expect(a2!.startUs).toBeGreaterThanOrEqual(endOf(a1!));
  expect(b1!.startUs - b0!.intendedUs!).toBeGreaterThanOrEqual(349_000);
  // The other session does not wait for this one.
  expect(b0!.startUs).toBeLessThan(a1!.startUs);
});

test("closed loop: a conversation keeps its slot to its end", async () => {
  // Four conversations of three turns, two at once.
  const requests = [0, 1, 2, 3].flatMap((talk) => [turn(), turn({ after: talk * 3 }), turn({ after: talk * 3 + 1, delayUs: 10_000 })]);
  const report = await run(requests, { streams: 2 });
  expect(report.requests).toMatchObject({ sent: 12, completed: 12, failed: 0 });
  const details = byIndex(report);
  const talks = [0, 1, 2, 3].map((talk) => ({ from: details[talk * 3]!.startUs, to: endOf(details[talk * 3 + 2]!) }));
  for (const { from } of talks) expect(talks.filter((other) => other.from <= from && other.to > from).length).toBeLessThanOrEqual(2);
});

test("held back: turns and first requests wait for a place in the order in which they are due", async () => {
  const report = await run([turn({ atUs: 0 }), turn({ atUs: 1000 }), turn({ after: 0 }), turn({ atUs: 2000 })], {
    mode: "open",
    streams: 1,
  });
  expect(report.requests).toMatchObject({ completed: 4, failed: 0 });
  expect(report.heldBack).toBeGreaterThanOrEqual(2);
  expect(report.details.toSorted((a, b) => a.startUs - b.startUs).map(({ index }) => index)).toEqual([0, 1, 3, 2]);
});

test("what is stopped in a pause counts the turns that did not leave", async () => {
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 300);
  const before = performance.now();
  const report = await run([turn({ atUs: 0 }), turn({ after: 0, delayUs: 60_000_000 })], { mode: "open" }, stop.signal);
  expect(performance.now() - before).toBeLessThan(5000);
  expect(report.requests).toMatchObject({ sent: 1, completed: 1 });
  expect(report.invalid.join("\n")).toMatch(/interrupted|1 request/);
});

test("a turn that follows a later request is refused", () => {
  const job = jobOn(server, "h1", null, { requests: [turn({ after: 1 }), turn()] });
  expect(jobFault(job)).toBe("a turn follows an earlier request");
});
