/**
 * Faults that a gateway may have, put into what passes a proxy on purpose: a judge of gateways has to find them. They are told
 * in one text: `lose=1%`, `buffer=4`, `delay=0.5ms`, several with commas between.
 */
import { latencyUnits, parseDistribution, SpecError } from "../core/random/distribution.ts";

/** What is done to the events of streamed answers. */
export interface Plant {
  /** Every byte to the client later by this, microseconds. */
  readonly delayUs: number;
  /** So many events are gathered and let out together; 1: none is held. */
  readonly buffer: number;
  /** Shares of events, 0 to 1: left out, sent twice, sent behind the next one. */
  readonly lose: number;
  readonly repeat: number;
  readonly reorder: number;
  /** A client that leaves is not told of to the server. */
  readonly swallowAbort: boolean;
}

/** Nothing is planted. */
export const noPlant: Plant = { delayUs: 0, buffer: 1, lose: 0, repeat: 0, reorder: 0, swallowAbort: false };

const example = "for example lose=1% or buffer=4,delay=0.5ms";
const mostHeld = 1000;

/** Reads a list of planted faults; `name` begins messages. Throws SpecError in one line. */
export function parsePlant(text: string, name: string): Plant {
  const plant: { -readonly [Key in keyof Plant]: Plant[Key] } = { ...noPlant };
  const seen = new Set<string>();
  for (const word of text.split(",").map((part) => part.trim())) {
    // All behind the first "=" is the value.
    const [, key, , value] = /^([^=]*)(=(.*))?$/s.exec(word) as unknown as [string, string, string?, string?];
    const given = shown(word);
    if (seen.has(key)) throw new SpecError(`${name}: "${shown(key)}" stands there twice (${example})`);
    seen.add(key);
    if (key === "swallow-abort" && value === undefined) plant.swallowAbort = true;
    else if (key === "buffer" && /^\d+$/.test(value ?? "") && Number(value) >= 2 && Number(value) <= mostHeld) plant.buffer = Number(value);
    else if (key === "delay" && value !== undefined) plant.delayUs = delayOf(value, given, name);
    else if ((key === "lose" || key === "repeat" || key === "reorder") && value !== undefined) plant[key] = shareOf(value, given, name);
    else if (key === "buffer") throw new SpecError(`${name}: "${given}" needs 2 to ${mostHeld} events (${example})`);
    else throw new SpecError(`${name}: "${given}" is not one of delay=, buffer=, lose=, repeat=, reorder=, swallow-abort (${example})`);
  }
  return plant;
}

/** Whether events have to be read, and not only passed on. */
export function readsEvents({ buffer, lose, repeat, reorder }: Plant): boolean {
  return buffer > 1 || lose > 0 || repeat > 0 || reorder > 0;
}

function delayOf(value: string, given: string, name: string): number {
  const { constant } = parseDistribution(value, { ...latencyUnits(name), max: 60_000_000, example: "delay=0.5ms" });
  if (constant === null) throw new SpecError(`${name}: "${given}" is not a single time (${example})`);
  return constant;
}

function shareOf(value: string, given: string, name: string): number {
  const match = /^(\d+(?:\.\d*)?|\.\d+)(%?)$/.exec(value);
  const share = match === null ? NaN : Number(match[1]) / (match[2] === "%" ? 100 : 1);
  if (!(share > 0 && share <= 1)) throw new SpecError(`${name}: "${given}" is no share from 0% to 100% (${example})`);
  return share;
}

function shown(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?").slice(0, 60);
}
