/** What is asked for, and what is answered, in the same terms for every endpoint. */
import type { Random, Seed } from "../../core/random/random.ts";
import type { Schedule } from "../../core/seams.ts";
import type { PromptAsk } from "./prefix.ts";
import type { ReplyUsage } from "./replies.ts";
import type { Run } from "./run.ts";

/** A function that the answer may call. */
export interface Tool {
  readonly name: string;
  /** The set of tools that it belongs to, which its calls name. */
  readonly toolset?: string;
  /** JSON schema of the arguments; undefined: no arguments. */
  readonly parameters: unknown;
  /** Where the request holds the schema, for complaints. */
  readonly param: string;
}

/** Calls that the answer makes. */
export interface CallPlan {
  readonly tools: readonly Tool[];
  /** Why it calls: it may, it must, or it must call the one that was named. */
  readonly choice: "auto" | "required" | "named";
  readonly parallel: boolean;
}

/** Texts at which the answer ends, and the parameter that names them. */
export interface Stops {
  readonly sequences: readonly string[];
  readonly param: string;
}

/** What a request asks for, in the same terms for every endpoint. */
export interface Ask {
  readonly model: string;
  readonly promptTokens: number;
  /** The prompt of a choice. */
  readonly promptOf: (choice: number) => PromptAsk;
  /** The texts by which the next prompt of the conversation repeats a choice, behind this prompt; absent: none does. */
  readonly repeatedAs?: (choice: Choice) => readonly string[];
  /** What the mode "echo" says in a choice. */
  readonly promptText: (choice: number) => string;
  /** What a choice repeats before its text; absent: nothing. */
  readonly prefixOf?: ((choice: number, seed: Seed) => Run) | undefined;
  readonly stream: boolean;
  readonly choices: number;
  /** Log probabilities of each token, its own included; absent: none. */
  readonly logprobsPerToken?: number;
  /** true: a stream ends with all that it said. */
  readonly endsWhole?: boolean;
  /** Most output tokens, those of reasoning included; Infinity where none is set. */
  readonly limit: number;
  readonly minTokens: number;
  readonly ignoreEos: boolean;
  readonly stop: Stops;
  readonly seed: number | undefined;
  readonly reasoningTokens: number;
  readonly calls: CallPlan | null;
  /** The answer is JSON of this schema. */
  readonly json: { readonly schema: unknown; readonly param: string } | null;
}

export interface ToolCall {
  readonly name: string;
  readonly toolset?: string | undefined;
  readonly arguments: Run;
}

export type Finish = "stop" | "length" | "tool_calls" | "content_filter";

export interface Choice {
  /** Comes before the text, with its first token, and is no output. */
  readonly prefix: Run | null;
  /** null where there are only calls. */
  readonly text: Run | null;
  /** true: the text is a refusal. */
  readonly isRefusal?: boolean;
  readonly calls: readonly ToolCall[];
  readonly finish: Finish;
  /** The stop sequence that ended the text. */
  readonly stopSequence: string | null;
  readonly seed: Seed;
}

/** An answer before it has the form of an endpoint. */
export interface Answer {
  readonly ask: Ask;
  /** Comes before each choice. */
  readonly reasoning: Run;
  readonly choices: readonly Choice[];
  /** Of all choices, reasoning included. */
  readonly outputTokens: number;
  readonly reasoningTokens: number;
  readonly seed: Seed;
  /** What usage tells instead of what was counted; absent: nothing. */
  readonly told?: ReplyUsage;
  /** Decides ids. */
  readonly identity: Random;
  /** Seconds since 1970. */
  readonly created: number;
  readonly stamped: boolean;
  readonly tokensPerChunk: number;
  /** When each token of the longest choice is due, hidden ones included; in one piece: when all of them are there. */
  readonly schedule: Schedule;
  /** Microseconds until the first token, as planned; with a scheduler: of a request that finds it idle. */
  readonly firstUs: number;
  /** Prompt tokens that need not be read again; with a scheduler known when the first token is. */
  readonly cache: { readonly cachedTokens: number };
}
