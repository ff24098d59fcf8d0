/**
 * The channel between `fakeai serve` or `fakeai proxy` and the program that started it (`fakeai bench`): the parent's questions,
 * the answers, and whether the child ends with its parent.
 */

import type { Protocol } from "../core/seams.ts";
import type { Pauses } from "./pauses.ts";

/** One streamed answer. Times are microseconds of the monotonic clock; those of tokens count from `receivedUs`. */
export interface StreamRecord {
  /** The `x-client-request-id` of the request; null without one. */
  readonly key: string | null;
  /** The protocol that was spoken; "h2" over TLS and in cleartext. */
  readonly spoken: "http/1.1" | "h2" | "h3" | "websocket";
  /** When the request had arrived whole. */
  readonly receivedUs: number;
  /** Output tokens planned. */
  readonly planned: number;
  /** Of `planned`, those of reasoning, which come first. */
  readonly reasoning: number;
  /** Prompt tokens, as usage tells them. */
  readonly promptTokens: number;
  /** For each frame with tokens that went to the transport: when it was due, when it went, and how many tokens it holds. */
  readonly dueUs: Int32Array;
  readonly sentUs: Int32Array;
  readonly tokens: Int32Array;
  /** Events of an event stream that went, those without tokens included. */
  readonly events: number;
}

/** A request that came in and how its answer went. Times are microseconds of the monotonic clock; all but the first count from it. */
export interface ReceivedRecord {
  /** When it had arrived whole. */
  readonly receivedUs: number;
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly protocol: Protocol;
  /** Number of its connection, from 1; null where the engine does not tell. */
  readonly connection: number | null;
  readonly status: number | null;
  readonly ended: "finished" | "cut" | "aborted" | null;
  readonly firstWriteUs: number | null;
  /** Output tokens whose bytes were handed to the connection; null: an answer without tokens. */
  readonly tokensSent: number | null;
  readonly endedUs: number | null;
  /** Digest of what was asked: the body's messages, prompt or input; null: there is none. */
  readonly prompt: string | null;
  /** The other members of the body, each as JSON, cut; null: the body is no JSON object. */
  readonly parameters: Readonly<Record<string, string>> | null;
  /** How often the client says that it has tried before (`x-stainless-retry-count`); null: it does not say. */
  readonly retry: number | null;
  /** The stream that answered it; null: no stream of tokens did. */
  readonly stream: StreamRecord | null;
}

/** What a server has seen since its log was begun. */
export interface StreamLogged {
  readonly streams: readonly StreamRecord[];
  /** Connections accepted; null on the engine uws, which does not count them. */
  readonly connectionsAccepted: number | null;
}

/**
 * Environment of a server that ends when the channel to its parent closes. Without it a parent may close the channel and leave
 * the server running.
 */
export const endWithParent = { FAKEAI_END_WITH_PARENT: "1" } as const;

/** Whether the parent has set it. */
export function endsWithParent(): boolean {
  return process.env["FAKEAI_END_WITH_PARENT"] === endWithParent.FAKEAI_END_WITH_PARENT;
}

export type Question =
  /** 99th percentile of the event loop's delay since it was last asked, microseconds. */
  | { readonly ask: "delay" }
  /** When the process did not run though it could have, since it was last asked. The first question begins to look. */
  | { readonly ask: "pauses" }
  /** Changes these knobs, forgets the recorded answers, and records every streamed answer from here on. */
  | { readonly ask: "record"; readonly knobs: Readonly<Record<string, string | number | boolean | null>> }
  /** What was recorded, and how many HTTP/2 connections have met the limit of streams so far. */
  | { readonly ask: "recorded" }
  /** Every request that is kept (`--keep-requests`), with the stream that answered it where streams are recorded. */
  | { readonly ask: "received" };

export interface Answers {
  readonly delay: number;
  readonly pauses: Pauses;
  readonly record: true;
  readonly recorded: StreamLogged & { readonly atStreamLimit: number };
  readonly received: readonly ReceivedRecord[];
}

/** A question on the channel. The number pairs the answer with it. */
export interface Asked {
  readonly number: number;
  readonly question: Question;
}
/** `answer` is null where the server does not know. */
export interface Answered {
  readonly number: number;
  readonly answer: Answers[keyof Answers] | null;
}
