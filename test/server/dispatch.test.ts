/** What becomes of an error that a route throws, or whose promise rejects. */
import { describe, expect, test } from "vitest";
import { ApiError } from "../../src/api/errors/api-error.ts";
import { LocalRateLimiter, noRateLimits } from "../../src/core/limits/rate-limit.ts";
import { Meter } from "../../src/core/pacing/meter.ts";
import type { ResponseHead, Route, RouteRequest } from "../../src/core/seams.ts";
import { BaseSink } from "../../src/listeners/sink.ts";
import { createHandler, RouteTable } from "../../src/server/dispatch.ts";
import { FaultInjector } from "../../src/server/fault-injector.ts";
import { Gate } from "../../src/server/gate.ts";
import { noReplies, Replies } from "../../src/api/shared/replies.ts";
import { StridedCounter } from "../../src/api/shared/model-settings.ts";

class KeptSink extends BaseSink {
  readonly bufferedBytes = 0;
  readonly answer: Promise<{ head: ResponseHead; body: string }>;
  #done!: (answer: { head: ResponseHead; body: string }) => void;

  constructor() {
    super();
    this.answer = new Promise((resolve) => (this.#done = resolve));
  }

  write(): boolean {
    return true;
  }

  end(frame: Uint8Array = new Uint8Array()): void {
    this.#done({ head: this.head!, body: new TextDecoder().decode(frame) });
  }

  reset(): void {}
}

/** The answer of a server with this one route, and what it reports as its own defect. */
async function answerOf(handle: Route["handle"]): Promise<{ status: number; body: unknown; reported: unknown[] }> {
  const reported: unknown[] = [];
  const meter = new Meter();
  const profile = () => "vllm" as const;
  const settings = () => ({ faults: [], seed: 0, profile: profile() });
  const replies = new Replies(noReplies);
  const numbers = { requests: new StridedCounter(), heads: new StridedCounter() };
  const handler = createHandler({
    routes: () => new RouteTable([{ method: "GET", path: "/x", handle }]),
    profile,
    sockets: [],
    gate: new Gate({ keys: null, limiter: new LocalRateLimiter(noRateLimits, () => 0), meter, profile }),
    injector: new FaultInjector(settings, { send: () => {} }, meter, numbers, replies),
    replies,
    meter,
    limits: { maxHeadBytes: 1, maxBodyBytes: 1, maxJsonDepth: 1 },
    replay: null,
    stamps: () => false,
    cors: null,
    announced: () => null,
    onFault: (error) => reported.push(error),
  });
  const sink = new KeptSink();
  const request: RouteRequest = {
    protocol: "h1",
    engine: "node",
    method: "GET",
    path: "/x",
    query: "",
    ownHeaders: [],
    headerNames: () => [],
    header: () => undefined,
    receivedUs: 0,
  };
  handler.handle(request, new Uint8Array(), sink);
  const { head, body } = await sink.answer;
  return { status: head.status, body: JSON.parse(body), reported };
}

describe.each([
  [
    "thrown",
    (error: Error) => () => {
      throw error;
    },
  ],
  [
    "rejected",
    (error: Error) => async (): Promise<void> => {
      throw error;
    },
  ],
] as const)("an error that is %s", (_how, failing) => {
  test("by an ApiError is the profile's answer", async () => {
    const { status, body, reported } = await answerOf(failing(new ApiError(503, "Not yet.", null, "not_changed")));
    expect(status).toBe(503);
    expect(body).toEqual({ error: { message: "Not yet.", type: "ServiceUnavailableError", param: null, code: 503 } });
    expect(reported).toEqual([]);
  });

  test("by any other error is a 500 without its text, and is reported", async () => {
    const defect = new Error("a secret");
    const { status, body, reported } = await answerOf(failing(defect));
    expect(status).toBe(500);
    expect(body).toMatchObject({ error: { type: "InternalServerError", code: 500 } });
    expect(JSON.stringify(body)).not.toContain("secret");
    expect(reported).toEqual([defect]);
  });
});
