/** Reading what the user gave: a value, or a UsageError in one line. */
import { readFileSync } from "node:fs";
import { UsageError } from "../base/usage-error.ts";
import { type Distribution, parseDistribution, SpecError } from "../core/random/distribution.ts";

/** What a flag takes. */
export type FlagKind = "boolean" | "text" | "integer" | "list";

export interface FlagSpec<Key extends string> {
  readonly key: Key;
  readonly kind: FlagKind;
  /** The placeholder in the help. */
  readonly takes?: string;
  readonly help: string;
}

export function distribution(spec: string | number, units: Parameters<typeof parseDistribution>[1]): Distribution {
  try {
    return parseDistribution(spec, units);
  } catch (error) {
    if (error instanceof SpecError) throw new UsageError(error.message);
    throw error;
  }
}

export function integer(name: string, value: number, min: number, max: number): number {
  if (!Number.isInteger(value) || value < min || value > max)
    throw new UsageError(`${name}: ${String(value)} is not a whole number from ${min} to ${max}`);
  return value;
}

export function oneOf<Name extends string>(flag: string, value: string, names: readonly Name[]): Name {
  const name = names.find((known) => known === value);
  if (name === undefined) throw new UsageError(`${flag}: "${value}" is not one of ${names.join(", ")}`);
  return name;
}

export function readText(name: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new UsageError(`${name}: cannot read ${path} (${(error as NodeJS.ErrnoException).code ?? "unreadable"})`);
  }
}
