/**
 * The channel between `fakeai serve` or `fakeai proxy` and the program that has started it (`fakeai bench`): what the parent may
 * ask, what comes back, and whether the child ends with it.
 */

/** One streamed answer. Times are microseconds of the monotonic clock; those of tokens count from `receivedUs`. */
export interface StreamRecord {
  /** What the client called its request; null where it did not. */
  readonly key: string | null;
  /** "http/1.1" or "h2": what was spoken, whatever the port. */
  readonly spoken: "http/1.1" | "h2";
  /** When the whole request had arrived. */
  readonly receivedUs: number;
  /** Output tokens planned. */
  readonly planned: number;
  /** For each token handed to the transport: when it was due, and when it was handed over. */
  readonly dueUs: Int32Array;
  readonly sentUs: Int32Array;
}

/** What a server has seen since its log was begun. */
export interface StreamLogged {
  readonly streams: readonly StreamRecord[];
  /** Connections accepted; null where the engine does not tell (uWebSockets.js). */
  readonly connectionsAccepted: number | null;
}

/**
 * Environment of a server that is to end when the channel to its parent does. Any other parent may let go of the channel and
 * leave its server running.
 */
export const endWithParent = { FAKEAI_END_WITH_PARENT: "1" } as const;

/** Whether the parent has asked for that. */
export function endsWithParent(): boolean {
  return process.env["FAKEAI_END_WITH_PARENT"] === endWithParent.FAKEAI_END_WITH_PARENT;
}

export type Question =
  /** 99th percentile of the event loop's delay since it was last asked, microseconds. */
  | { readonly ask: "delay" }
  /** Record every streamed answer from now on; what was recorded before is forgotten. Changes these knobs first. */
  | { readonly ask: "record"; readonly knobs: Readonly<Record<string, string | number>> }
  /** What was recorded, and HTTP/2 streams refused so far. */
  | { readonly ask: "recorded" };

export interface Answers {
  readonly delay: number;
  readonly record: true;
  readonly recorded: StreamLogged & { readonly streamsRefused: number };
}

/** As it crosses the channel: the number pairs an answer with its question. */
export interface Asked {
  readonly number: number;
  readonly question: Question;
}
/** `answer` is null where the server cannot tell. */
export interface Answered {
  readonly number: number;
  readonly answer: Answers[keyof Answers] | null;
}
