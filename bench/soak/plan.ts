/** What each stream of a soak is to do, drawn by a seed, and what has to come of it. */
import { Random, seedOf, seedOfRequest } from "../../src/core/random/random.ts";
import type { ProtocolName } from "../../src/results/types.ts";

/** Server's ITL; streams are paced by it. */
export const itlMs = 40;
export const ttftMs = 200;
/** Enough to fill what the two kernels keep for a reader on the same host that reads nothing. */
const floodTokens = 16_000;

/** What came of a stream. */
export interface Outcome {
  /** 0: no head came. */
  readonly status: number;
  readonly fault: string | null;
  /** Content events. */
  readonly events: number;
  /** A finish_reason or [DONE] was seen. */
  readonly finished: boolean;
  /** An error inside of the stream was seen. */
  readonly failed: boolean;
  /** "end"; "aborted" where this client gave up; else why the client failed: "reset", "connection closed", "lost". */
  readonly how: string;
}

interface FaultCase {
  readonly spec: string;
  readonly only?: readonly ProtocolName[];
  readonly status?: number;
  /** null: all. */
  readonly events: number | null;
  readonly finished: boolean;
  readonly failed?: boolean;
  readonly how: string;
  /** The server counts it as aborted. */
  readonly aborts?: boolean;
}

const overH2: readonly ProtocolName[] = ["h2c", "h2"];
const faults: readonly FaultCase[] = [
  { spec: "status(503)", status: 503, events: 0, finished: false, how: "end" },
  { spec: "rate_limit", status: 429, events: 0, finished: false, how: "end" },
  { spec: "error(after=5)", events: 5, finished: false, failed: true, how: "end" },
  { spec: "truncate(after=5)", events: 5, finished: false, how: "end" },
  { spec: "no_done", events: null, finished: true, how: "end" },
  { spec: "delay(300ms)", events: null, finished: true, how: "end" },
  { spec: "split_lines", events: null, finished: true, how: "end" },
  { spec: "hang(after=5)", events: 5, finished: false, how: "aborted", aborts: true },
  { spec: "rst_stream(after=5)", only: overH2, events: 5, finished: false, how: "reset", aborts: true },
  { spec: "goaway(after=5)", only: overH2, events: null, finished: true, how: "end" },
];

export type Kind = "whole" | "abort" | "stall" | "fault";
/** In figures. */
export const kindNames: Readonly<Record<Kind, string>> = { whole: "read whole", abort: "aborted", stall: "stalled", fault: "faulted" };

/** One stream to come. */
export interface Plan {
  readonly kind: Kind;
  readonly tokens: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Content events after which this client gives up, and how long after; Infinity: never. */
  readonly abortAt: number;
  readonly abortAfterMs: number;
  /** Milliseconds that nothing of the answer is read, a second at least after its first token; undefined: always reading. */
  readonly unreadMs: number | undefined;
  /** The fault that was asked for; "" for none. */
  readonly fault: string;
  /** The server counts it as aborted, or answers with an error in place of a stream. */
  readonly aborts: boolean;
  readonly refused: boolean;
  /** What is wrong with an outcome; null: nothing. */
  readonly wrong: (outcome: Outcome) => string | null;
}

/** What decides all plans. */
export interface PlanOptions {
  readonly seed: number;
  readonly mostTokens: number;
}

/** The plan of stream `index` on a protocol: 80% whole, 10% aborted, 5% stalled, 5% faulted. */
export function planOf(protocol: ProtocolName, index: number, { seed, mostTokens }: PlanOptions): Plan {
  const random = new Random(seedOfRequest(seedOf(seed), index), 1);
  const draw = random.unit();
  const kind: Kind = draw < 0.8 ? "whole" : draw < 0.9 ? "abort" : draw < 0.95 ? "stall" : "fault";
  const leastTokens = Math.floor(mostTokens / 5);
  const floods = kind === "stall" && !overH2.includes(protocol);
  const tokens = floods ? floodTokens : leastTokens + random.below(mostTokens - leastTokens + 1);
  const choices = faults.filter(({ only }) => only?.includes(protocol) ?? true);
  const fault = kind === "fault" ? choices[random.below(choices.length)]! : null;
  const expected: Omit<Outcome, "fault"> = {
    status: fault?.status ?? 200,
    events: fault === null ? tokens : (fault.events ?? tokens),
    finished: fault?.finished ?? true,
    failed: fault?.failed ?? false,
    how: fault?.how ?? "end",
  };
  const hangs = fault?.how === "aborted";
  const abortAt = kind === "abort" ? 1 + random.below(Math.floor(tokens / 2)) : hangs ? fault.events! : Infinity;
  return {
    kind,
    tokens,
    abortAt,
    // Long enough for a token that should not come.
    abortAfterMs: hangs ? 500 : 0,
    fault: fault?.spec ?? "",
    unreadMs: kind === "stall" ? ttftMs + 1000 + random.below(2000) : undefined,
    aborts: kind === "abort" || fault?.aborts === true,
    refused: fault?.status !== undefined,
    headers: {
      "x-fakeai-output-tokens": String(tokens),
      ...(floods && { "x-fakeai-itl": "0.05" }),
      ...(fault !== null && { "x-fakeai-fault": fault.spec }),
    },
    wrong: ({ fault: named, ...outcome }) => {
      const wanted = kind === "abort" ? { ...expected, events: abortAt, finished: false, how: "aborted" } : expected;
      const is = { ...outcome, fault: named };
      const should = { ...wanted, fault: fault === null ? null : /^\w+/.exec(fault.spec)![0] };
      const differing = (Object.keys(should) as (keyof Outcome)[]).filter((key) => is[key] !== should[key]);
      if (differing.length === 0) return null;
      return `${protocol} ${kind} ${fault?.spec ?? ""}: ${differing.map((key) => `${key} ${String(is[key])}, not ${String(should[key])}`).join("; ")}`;
    },
  };
}
