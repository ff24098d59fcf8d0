/** What servers say to problems, before it has the form of their bodies. */
import type { Problem } from "./api-error.ts";

/** What one server says to one problem. */
export interface Words {
  readonly status: number;
  readonly message: string;
  /** Absent: the server's type of the status. */
  readonly type?: string;
  readonly param?: string | null;
  readonly code?: string | null;
  readonly headers?: Readonly<Record<string, string>>;
  /** OpenRouter's details. */
  readonly metadata?: object;
  /** Google's details. */
  readonly details?: readonly object[];
  /** The whole body, where the server leaves its own form. */
  readonly body?: object;
}

export type Kind = Problem["kind"];
export type ProblemOf<K extends Kind> = Extract<Problem, { readonly kind: K }>;
export type Cell<K extends Kind> = (problem: ProblemOf<K>) => Words;

/** What a server says, as far as it has words of its own. */
export type WordsBy = { readonly [K in Kind]?: Cell<K> };
