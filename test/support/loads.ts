/** What the tests of load drivers share. */
import { readFileSync } from "node:fs";
import { clockIdentity } from "../../src/base/clock.ts";
import type { FakeAiServer } from "../../src/index.ts";
import type { LoadJob, LoadReport, PlannedRequest, RunOptions } from "../../src/load/job.ts";

/** A chat; `more` goes over it. Usage is asked for where the answer is streamed: elsewhere servers refuse the question. */
export const chatBody = (more: { readonly stream?: boolean; readonly [member: string]: unknown } = {}): string => {
  const usage = more.stream === false ? {} : { stream_options: { include_usage: true } };
  return JSON.stringify({ model: "m", stream: true, ...usage, messages: [{ role: "user", content: "Hello there" }], ...more });
};

/** What is invalid about a report, beside a machine that was too busy for the load. */
export const withoutLimits = ({ invalid }: LoadReport): readonly string[] =>
  invalid.filter((reason) => !reason.startsWith("client-limited"));

export const times = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value);

/** Chat completions, streamed, in a closed loop. `more` says what the test is about. */
export function jobOn(
  server: FakeAiServer,
  protocol: LoadJob["endpoint"]["protocol"],
  cipher: string | null,
  more: Partial<LoadJob> & { readonly requests: readonly PlannedRequest[] },
): LoadJob {
  return {
    endpoint: {
      origin: server.urls[protocol]!,
      protocol,
      path: "/v1/chat/completions",
      method: "POST",
      headers: { "content-type": "application/json" },
      tls: { ca: server.caPath === null ? null : readFileSync(server.caPath, "utf8"), insecure: false, cipher },
    },
    connections: 4,
    reuse: "keep",
    streams: 4,
    mode: "closed",
    warmup: [],
    idleTimeoutMs: 3000,
    requestTimeoutMs: 60_000,
    stream: true,
    detail: false,
    clock: clockIdentity,
    ...more,
  };
}

/** A run that nothing watches. */
export const unwatched = (signal: AbortSignal = new AbortController().signal): RunOptions => ({
  signal,
  cpu: null,
  onPhase() {},
  onProgress() {},
});
