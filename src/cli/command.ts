/** What a command is: what it takes, what its help says, and what it does. */
import type { Flag } from "../settings/flags.ts";
import type { GivenFlags } from "../settings/parse.ts";

/** What was given to a command. */
export interface Line {
  /** By the flags' keys. */
  readonly given: GivenFlags;
  /** Arguments that are no flags, as many as the command takes. */
  readonly positionals: readonly string[];
}

/** Told by a command that serves: it listens; it has closed, and its process is about to end. */
export type Reached = (stage: "started" | "ended") => void;

/** What a command does. An exit code, where that is not 0. */
type Action = (line: Line, reached: Reached) => Promise<number | void>;

/** A part of `--help-all`, with rows of term and meaning, or a text that is wrapped. */
export interface Section {
  readonly heading: string;
  readonly rows?: readonly (readonly [term: string, meaning: string])[];
  readonly text?: string;
}

export interface Command {
  readonly name: string;
  readonly summary: string;
  /** Arguments beside flags, all of them needed. The last one may be repeatable. */
  readonly takes: readonly { readonly name: string; readonly help: string; readonly isRepeatable?: boolean }[];
  /** Loaded when they are asked for: a command's help loads no other's flags. */
  readonly flags: () => Promise<readonly Flag[]>;
  /** Three, the commonest first. */
  readonly examples: readonly (readonly [line: string, does?: string])[];
  /** What only `--help-all` says. */
  readonly more?: () => Promise<readonly Section[]>;
  /** What the exit code tells. */
  readonly exitCodes: Required<Section>["rows"];
  readonly action: () => Promise<Action>;
}
