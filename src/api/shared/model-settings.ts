/** The knobs of the model, and how its requests are numbered. */
import type { BatchScheduler } from "../../core/pacing/scheduler.ts";
import type { Distribution } from "../../core/random/distribution.ts";
import type { Tokenizer } from "./prompt.ts";
import type { Replies } from "./replies.ts";

export type ProfileName = "openai" | "vllm" | "openrouter" | "minimal";

/** The knobs of the model, in force for every request that does not override them. */
export interface ModelSettings {
  /** Microseconds. */
  readonly ttft: Distribution;
  /** Microseconds. */
  readonly itl: Distribution;
  readonly outputTokens: Distribution;
  readonly seed: number;
  /** Names served; null serves every name. */
  readonly models: readonly string[] | null;
  readonly stamps: boolean;
  /** The text of every answer; null: the mode decides. */
  readonly text: string | null;
  /** "random": made-up text. "echo": the prompt. */
  readonly mode: "random" | "echo";
  /** The server whose bytes OpenAI's endpoints send. */
  readonly profile: ProfileName;
  /** Tokens in one event of a stream. */
  readonly tokensPerChunk: number;
  /** Chat completions: the event of the role alone leaves at once. */
  readonly earlyRole: boolean;
  /** Tokens of prompt and answer together; null: no limit. */
  readonly maxModelLen: number | null;
  /** Tokens of each image in a prompt; null: by its size, as the provider counts. */
  readonly imageTokens: number | null;
  /** Tokens of each page of a PDF in a prompt; null: by the provider's rule. */
  readonly pageTokens: number | null;
  /** Counts prompt tokens exactly; absent: they are estimated. */
  readonly tokenizer?: Tokenizer;
  /** Answers by rule; absent: none. */
  readonly replies?: Replies;
  /** Decides when tokens are there; absent: streams know nothing of each other. */
  readonly scheduler?: BatchScheduler;
  /** The status of what finds the scheduler's queue full. */
  readonly queueFullStatus: 429 | 503;
}

/** Numbers requests from 0. It outlives the model: a change of knobs makes a new one. */
export interface RequestCounter {
  next(): number;
}

/** Counts `first`, `first + stride`, ...: workers that share a port take turns. */
export class StridedCounter implements RequestCounter {
  #next: number;
  readonly #stride: number;

  constructor(first: number = 0, stride: number = 1) {
    this.#next = first;
    this.#stride = stride;
  }

  next(): number {
    const index = this.#next;
    this.#next += this.#stride;
    return index;
  }
}
