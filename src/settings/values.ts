/** Reading what was given: a value, or a UsageError of one line that begins with the name it was given by. */
import { readFileSync } from "node:fs";
import { UsageError } from "../base/usage-error.ts";
import { type Distribution, latencyUnits, parseDistribution, SpecError } from "../core/random/distribution.ts";
import { didYouMean } from "../base/guess.ts";

/** From a value to what it means; `name` begins the message of a UsageError. */
export type Parse<Value, Meaning> = (value: Value, name: string) => Meaning;

export function boolean(value: boolean, name: string): boolean {
  if (typeof value !== "boolean") throw new UsageError(`${name} must be true or false`);
  return value;
}

export function text(value: string, name: string): string {
  if (typeof value !== "string") throw new UsageError(`${name} must be a text`);
  return value;
}

export function distribution(spec: string | number, units: Parameters<typeof parseDistribution>[1]): Distribution {
  return orUsageError(() => parseDistribution(spec, units));
}

/** Milliseconds, a text with a unit, or a distribution. */
export function latency(spec: string | number, name: string): Distribution {
  return distribution(spec, latencyUnits(name));
}

/** A single time, in microseconds. */
export function timeUs(value: string | number, name: string): number {
  const { constant } = distribution(value, { ...latencyUnits(name), example: "0.05, 50us or 2ms" });
  if (constant === null) throw new UsageError(`${name}: "${shown(value)}" is not a single time (for example 0.05 or 50us)`);
  return constant;
}

export function integer(min: number, max: number): Parse<number, number> {
  return (value, name) => {
    if (!Number.isInteger(value) || value < min || value > max)
      throw new UsageError(`${name}: ${shown(value)} is not a whole number from ${min} to ${max}`);
    return value;
  };
}

/** One of these names; a message for another holds a guess at the one that was meant. */
export function oneOf<const Name extends string | number>(names: readonly Name[]): Parse<string | number, Name> {
  return (value, name) => {
    const found = names.find((known) => known === value);
    if (found !== undefined) return found;
    const quoted = typeof value === "number" ? String(value) : `"${shown(value)}"`;
    const others = names.length === 2 ? `neither ${names.join(" nor ")}` : `not one of ${names.join(", ")}`;
    throw new UsageError(`${name}: ${quoted} is ${others}${didYouMean(String(value), names.map(String))}`);
  };
}

/** A number of bytes: 1048576, "16kb", "1.5mb". */
export function bytes(min: number = 1, max: number = 1_073_741_824): Parse<string | number, number> {
  return (value, name) => {
    const match = /^(\d+(?:\.\d+)?)\s*(kb|mb|gb|b)?$/i.exec(String(value).trim());
    if (!match) throw new UsageError(`${name}: "${shown(value)}" is not a size (for example 10mb)`);
    const unit = { b: 1, kb: 1024, mb: 1_048_576, gb: 1_073_741_824 }[(match[2] ?? "b").toLowerCase()]!;
    return integer(min, max)(Math.round(Number(match[1]) * unit), name);
  };
}

/** The text of a file. */
export function readText(path: string, name: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new UsageError(`${name}: cannot read ${path} (${(error as NodeJS.ErrnoException).code ?? "unreadable"})`);
  }
}

/** A value in a message: on one line, and no longer than needed to know it again. */
export function shown(value: unknown): string {
  return String(value)
    .slice(0, 60)
    .replace(/\p{Cc}/gu, "?");
}

/** Does it; a SpecError becomes a UsageError. */
export function orUsageError<T>(action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof SpecError) throw new UsageError(error.message);
    throw error;
  }
}
