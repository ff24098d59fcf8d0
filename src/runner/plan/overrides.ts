/**
 * What flags make of a scenario whose variants or arms differ in just what the flags set. What becomes the same is run once,
 * under a name that says what is run: with `--streams 20` the variants "50 streams" and "1000 streams" are one, "20 streams".
 */
import type { NetworkInput } from "../../network/impairment.ts";
import { adapted } from "./adapt.ts";
import type { BenchOptions } from "./options.ts";
import { overProtocols } from "./protocols.ts";
import type { ArmSpec, Variant, Workload } from "./scenario.ts";

/** A setting that names of variants speak of. */
interface Named {
  readonly flag: string;
  /** Its value in a workload. */
  readonly of: (workload: Workload) => unknown;
  /** Where a name speaks of it; null: no name does. */
  readonly pattern: RegExp | null;
  /** What the name says for another value; `$1` is the pattern's first group. */
  readonly text: (value: string) => string;
}

const unit = (value: string): string => (/^[\d.]+$/.test(value) ? `${value} ms` : value);

const named: readonly Named[] = [
  {
    flag: "--streams",
    of: ({ streams }) => streams,
    pattern: /\b\d+ (stream|client|at once)s?/,
    text: (value) => `${value} $1`,
  },
  { flag: "--output-tokens", of: ({ outputTokens }) => outputTokens, pattern: /\b\d+ tokens?/, text: (value) => `${value} tokens` },
  { flag: "--itl", of: ({ itl }) => itl, pattern: /ITL [\d.]+ ms/, text: (value) => `ITL ${unit(value)}` },
  { flag: "--ttft", of: ({ ttft }) => ttft, pattern: null, text: unit },
  { flag: "--rate", of: ({ rate, rateOfCapacity }) => rate ?? rateOfCapacity, pattern: /[\d.]+ x capacity/, text: (value) => `${value}/s` },
  { flag: "--rtt", of: ({ network }) => network.rtt ?? 0, pattern: /RTT [\d.]+( ms)?/, text: (value) => `RTT ${unit(value)}` },
];

/** The flags of sessions, by what they set. */
const sessionFlags = [
  ["turns", "--turns"],
  ["calls", "--tool-calls"],
  ["thinkTime", "--think-time"],
  ["toolTime", "--tool-time"],
] as const;

/** A variant of single requests that flags make one of sessions: it asks another question. null: they do not. */
function asSessions({ name, question, workload }: Variant, after: Workload): Pick<Variant, "name" | "question"> | null {
  const { session, requests } = after;
  if (workload.session !== null || session === null) return null;
  const more = sessionFlags.flatMap(([key, flag]) => (session[key] === undefined ? [] : [`${flag} ${session[key]}`]));
  const sessions = `${requests} ${requests === 1 ? "session" : "sessions"}`;
  return {
    name: name === "" ? "" : [name.replace(/\b\d+ (?:stream|client|at once)s?/, sessions), ...more].join(", "),
    ...(question !== undefined && { question: [question.replace(/\{streams\} [^,]*/, "{requests} sessions"), ...more].join(", ") }),
  };
}

/** The settings of a network beside its round trip, by their flags. */
function networkSettings({ rtt: _rtt, up, down, ...both }: NetworkInput): Map<string, string> {
  const rows = (input: object, way: string): [string, string][] =>
    Object.entries(input).map(([key, value]) => [`--${key}${way}`, String(value)]);
  return new Map([...rows(both, ""), ...rows(up ?? {}, "-up"), ...rows(down ?? {}, "-down")]);
}

/**
 * The name of a variant after flags have changed it, and with it its question. `differ` tells whether the variants of its
 * scenario differ in a setting.
 */
function namesOf(
  before: Variant,
  after: Variant,
  differ: (of: (workload: Workload) => unknown) => boolean,
): Pick<Variant, "name" | "question"> {
  const { name: own, question } = { ...before, ...asSessions(before, after.workload) };
  let name = own;
  if (name === "") return question === undefined ? { name } : { name, question };
  const more: string[] = [];
  for (const { flag, of, pattern, text } of named) {
    const value = String(of(after.workload));
    if (value === String(of(before.workload))) continue;
    if (pattern?.test(name)) {
      name = name.replace(pattern, text(value)).replace(/(\d+ (?:stream|client))\b/, value === "1" ? "$1" : "$1s");
    } else if (differ(of)) more.push(`${flag} ${value}`);
  }
  const settingsBefore = networkSettings(before.workload.network);
  for (const [flag, value] of networkSettings(after.workload.network))
    if (settingsBefore.get(flag) !== value && differ(({ network }) => networkSettings(network).get(flag))) more.push(`${flag} ${value}`);
  const renamed = [name, ...more].join(", ");
  if (question === undefined) return { name: renamed };
  return { name: renamed, question: question.includes("{variant}") ? question : [question, ...more].join(", ") };
}

/** What an arm does, whatever it is called. */
const essence = ({ id: _id, ...rest }: ArmSpec): string => JSON.stringify(rest);

/** Arms that flags have made alike become one, named by the connections that it has. `left`: the ids of those left out. */
function withoutTwinArms(before: Variant, after: Variant): { readonly variant: Variant; readonly left: readonly string[] } {
  const ids = new Map<string, string>();
  const arms: ArmSpec[] = [];
  const left: string[] = [];
  for (const arm of after.arms) {
    const own = before.arms.find(({ id }) => id === arm.id);
    const id = own !== undefined && own.connections !== arm.connections ? arm.id.replace(/-\d+$/, `-${arm.connections}`) : arm.id;
    const twin = arms.find((other) => essence(other) === essence(arm));
    if (twin !== undefined) left.push(arm.id);
    else arms.push({ ...arm, id });
    ids.set(arm.id, twin?.id ?? id);
  }
  const renamed = <T extends { readonly baseline: string; readonly candidate: string }>(one: T): T => ({
    ...one,
    baseline: ids.get(one.baseline) ?? one.baseline,
    candidate: ids.get(one.candidate) ?? one.candidate,
  });
  // A pair of twins has nothing to compare, and two pairs of the same arms are one.
  const apart = <T extends { readonly baseline: string; readonly candidate: string }>(all: readonly T[]): T[] =>
    all.map(renamed).filter(({ baseline, candidate }) => baseline !== candidate);
  const pairs = apart(after.pairs).filter(
    ({ baseline, candidate }, index, all) => all.findIndex((one) => one.baseline === baseline && one.candidate === candidate) === index,
  );
  return { variant: { ...after, arms, pairs, claims: apart(after.claims) }, left };
}

/** Whether `one` asks the same as `other` with no further arm. */
function isWithin(one: Variant, other: Variant): boolean {
  if (one.scenario !== other.scenario || JSON.stringify(one.workload) !== JSON.stringify(other.workload)) return false;
  const arms = new Set(other.arms.map(essence));
  return one.arms.every((arm) => arms.has(essence(arm)));
}

/** What is run in place of what was wanted. */
export interface Overridden {
  readonly variants: readonly Variant[];
  /** What became one, in a line each. */
  readonly notes: readonly string[];
  /** Variants in which nothing is left to compare, and why. */
  readonly pointless: ReadonlyMap<Variant, string>;
}

/** The variants as the options change them: what has become the same is run once, under a name that says what it is. */
export function overridden(given: readonly Variant[], options: BenchOptions): Overridden {
  const notes = new Set<string>();
  const pointless = new Map<Variant, string>();
  const unspoken = new Map<Variant, string>();
  const wanted = given.map((variant) => {
    const spoken = overProtocols(variant, { protocols: options.protocols, urls: options.url === null ? null : options.urls });
    if (spoken.note !== null) notes.add(spoken.note);
    if (spoken.unfit !== null && spoken.variant.arms.length === 0) unspoken.set(spoken.variant, spoken.unfit);
    else if (spoken.unfit !== null) notes.add(`${variant.scenario} has no WebSocket: ${spoken.unfit}`);
    return spoken.variant;
  });
  const changed = wanted.map((before) => {
    const family = wanted.filter(({ scenario }) => scenario === before.scenario);
    const differ = (of: (workload: Workload) => unknown): boolean => new Set(family.map(({ workload }) => String(of(workload)))).size > 1;
    const after = adapted(before, options);
    const { variant, left } = withoutTwinArms(before, after);
    const all = { ...variant, ...namesOf(before, after, differ) };
    if (left.length > 0) {
      const why = `the flags make ${left.join(", ")} the same as another arm`;
      if (after.pairs.length > 0 && all.pairs.length === 0) pointless.set(all, `${why}, and nothing is left to compare`);
      else notes.add(`${all.scenario}: ${why}; it is run once`);
    }
    const unfit = unspoken.get(before);
    if (unfit !== undefined) pointless.set(all, unfit);
    return { before, all };
  });
  const variants: Variant[] = [];
  const names = new Set<string>();
  for (const { before, all } of changed) {
    const twins = changed.filter((other) => other.all !== all && other.all.scenario === all.scenario && isWithin(all, other.all));
    // Of two that are the same, the first stays.
    const stays = twins.find((twin) => !isWithin(twin.all, all) || changed.indexOf(twin) < changed.findIndex((one) => one.all === all));
    if (stays !== undefined) {
      notes.add(`${all.scenario}: the flags make "${before.name}" the same as "${stays.before.name}"; it is run once`);
      continue;
    }
    const label = `${all.scenario}\n${all.name}`;
    const distinct = names.has(label) ? { ...all, name: `${all.name} (as ${before.name})` } : all;
    names.add(label);
    const reason = pointless.get(all);
    if (reason !== undefined) pointless.set(distinct, reason);
    variants.push(distinct);
  }
  return { variants, notes: [...notes], pointless };
}
