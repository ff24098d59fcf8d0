/** The server's records of one run, as answers with times in milliseconds. */
import type { ReceivedRecord } from "../base/parent-channel.ts";

/** A request of a completion and its answer. Times are milliseconds; all but `atMs` count from the arrival. */
export interface Answer {
  /** Arrival, from the first arrival of the run. */
  readonly atMs: number;
  readonly connection: number | null;
  readonly protocol: string;
  readonly prompt: string | null;
  readonly parameters: Readonly<Record<string, string>>;
  readonly retry: number | null;
  readonly outcome: "whole" | "refused" | "cut" | "aborted";
  /** Of one that was cut: whether its body ended in order all the same, so that only its content shows it. */
  readonly endedInOrder: boolean;
  readonly firstByteMs: number | null;
  readonly endMs: number | null;
  /** When each event with tokens went, and how many tokens it holds; empty: the answer was no stream. */
  readonly tokenMs: readonly number[];
  readonly tokens: readonly number[];
  /** The same events as they were due. */
  readonly dueMs: readonly number[];
  /** Tokens of reasoning, which come first. */
  readonly reasoning: number;
  /** Events of every kind but [DONE]; 0: no stream. */
  readonly events: number;
  /** Output tokens that went. */
  readonly outputTokens: number;
  readonly promptTokens: number | null;
}

/** What came in during one run. */
export interface Came {
  /** Completions, by arrival. */
  readonly answers: readonly Answer[];
  /** Other requests, such as GET /v1/models. */
  readonly others: number;
}

const completions = /\/(?:chat\/completions|completions|responses|messages)$/;

/** Takes the records of a run apart. */
export function cameIn(records: readonly ReceivedRecord[]): Came {
  const asking = records.filter(({ method, path }) => method === "POST" && completions.test(path));
  const firstUs = Math.min(...asking.map(({ receivedUs }) => receivedUs));
  const answers = asking.map((record) => answerOf(record, firstUs)).toSorted((a, b) => a.atMs - b.atMs);
  return { answers, others: records.length - asking.length };
}

const ms = (us: number): number => us / 1000;

function answerOf(record: ReceivedRecord, firstUs: number): Answer {
  const { stream } = record;
  const outputTokens = record.tokensSent ?? 0;
  return {
    atMs: ms(record.receivedUs - firstUs),
    connection: record.connection,
    protocol: record.protocol,
    prompt: record.prompt,
    parameters: record.parameters ?? {},
    retry: record.retry,
    outcome: outcomeOf(record, outputTokens),
    endedInOrder: record.ended === "finished",
    firstByteMs: record.firstWriteUs === null ? null : ms(record.firstWriteUs),
    endMs: record.endedUs === null ? null : ms(record.endedUs),
    tokenMs: Array.from(stream?.sentUs ?? [], ms),
    tokens: Array.from(stream?.tokens ?? []),
    dueMs: Array.from(stream?.dueUs ?? [], ms),
    reasoning: stream?.reasoning ?? 0,
    // A whole stream ends with [DONE], which no client takes for an event.
    events: stream === null ? 0 : Math.max(stream.sentUs.length, stream.events - 1),
    outputTokens,
    promptTokens: stream?.promptTokens ?? null,
  };
}

function outcomeOf({ status, ended, stream }: ReceivedRecord, outputTokens: number): Answer["outcome"] {
  if (status !== null && status >= 400) return "refused";
  if (ended === "finished" && (stream === null || outputTokens >= stream.planned)) return "whole";
  return ended === "aborted" || ended === null ? "aborted" : "cut";
}
