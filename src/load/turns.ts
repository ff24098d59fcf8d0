/** What a trace says of each request. */
import type { DatasetPrompt } from "./dataset.ts";

/** One request of a trace. */
export interface TraceRequest {
  /**
   * Milliseconds after the first request of the trace. Of a later turn: not before. null: a later turn waits for the one
   * before it alone, any other for its turn in a closed loop.
   */
  readonly atMs: number | null;
  /** Of a text that the file has: four characters each. */
  readonly inputTokens: number;
  /** null: the file does not say. */
  readonly outputTokens: number | null;
  /** A later turn: the index of the one before it, which is smaller; null: it follows none. */
  readonly after: number | null;
  /** A later turn: further requests, with smaller indices, that have to have ended too; absent: none. */
  readonly joins?: readonly number[] | undefined;
  /** A later turn: milliseconds from the end of the one before it. */
  readonly delayMs: number;
  /** Turns of one conversation, whose prompts begin alike; null: on its own. */
  readonly session: string | null;
  /** What equal ids say of prompts; null: nothing. */
  readonly blocks: PromptBlocks | null;
  /** The prompt itself; null: its length alone is known. */
  readonly given: DatasetPrompt | null;
}

/** A prompt cut into blocks, the last one perhaps in part: prompts that begin with the same ids begin with the same text. */
export interface PromptBlocks {
  readonly ids: readonly number[];
  /** Tokens of a block. */
  readonly tokens: number;
  /** Where ids of other requests mean the same; absent: in the whole trace. */
  readonly scope?: string;
}

/** A request as its row has it. */
export interface Turn extends Pick<TraceRequest, "atMs" | "inputTokens" | "outputTokens" | "blocks" | "session" | "given"> {
  /** null: not said. */
  readonly delayMs: number | null;
  /** A format's number of the request, of the one before it, and of others that it waits for; null: the format has none. */
  readonly chat: { readonly id: unknown; readonly parent: unknown; readonly joins?: readonly unknown[] } | null;
  /** Where it stands, for messages. */
  readonly at: string;
}
