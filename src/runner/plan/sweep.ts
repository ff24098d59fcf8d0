/** Sweeps: from flags with several values to the points of a grid, each a scenario of its own. */
import { UsageError } from "../../base/usage-error.ts";
import { mergeNetworks } from "../../network/impairment.ts";
import { type SweepAxis, type SweepAxisName, sweepAxisFacts, type SweepPlace, type SweepValue } from "../../results/sweep.ts";
import type { SweepPlan } from "../../results/sweeps.ts";
import type { BenchSettings } from "../../settings/bench.ts";
import type { BenchOptions } from "./options.ts";
import { overridden, type Overridden } from "./overrides.ts";
import type { Variant } from "./scenario.ts";

/** Points of a sweep at most: a grid of three lists grows fast. */
const mostPoints = 100;

/** Requests of a round at least, where nothing else is said: one stream alone would have one. */
const leastRequests = 10;

/** Settings of which several may be given. */
type Listed = Pick<BenchSettings, "streams" | "rate" | "connections" | "outputTokens" | "tokensPerChunk" | "rtt" | "stall">;

/** What the flags vary, in the order in which axes are drawn; empty: nothing. Throws UsageError. */
export function sweepAxesOf(settings: Listed): SweepAxis[] {
  const numbers = (name: Exclude<SweepAxisName, "rtt" | "stall">): SweepValue[] =>
    (settings[name] ?? []).map((x) => ({ text: String(x), x }));
  const given: Readonly<Record<SweepAxisName, readonly SweepValue[]>> = {
    rate: numbers("rate"),
    streams: numbers("streams"),
    connections: numbers("connections"),
    outputTokens: numbers("outputTokens"),
    tokensPerChunk: numbers("tokensPerChunk"),
    rtt: textsOf(settings.rtt).map((text) => ({ text, x: millisecondsOf(text, "--rtt") })),
    stall: stallsOf(settings.stall),
  };
  const axes = (Object.keys(sweepAxisFacts) as SweepAxisName[])
    .filter((name) => given[name].length > 1)
    .map((name) => axisOf(name, given[name]));
  const points = axes.reduce((product, { values }) => product * values.length, 1);
  if (points > mostPoints)
    throw new UsageError(`${axes.map(({ name }) => sweepAxisFacts[name].flag).join(" by ")}: ${points} points are more than ${mostPoints}`);
  return axes;
}

function axisOf(name: SweepAxisName, given: readonly SweepValue[]): SweepAxis {
  const values = given.toSorted((a, b) => a.x - b.x);
  if (new Set(values.map(({ x }) => x)).size < values.length) throw new UsageError(`${sweepAxisFacts[name].flag}: two values are the same`);
  const [least, most] = [values[0]!.x, values.at(-1)!.x];
  const { label, unit } = sweepAxisFacts[name];
  return { name, label, unit, scale: least > 0 && most >= 10 * least ? "log" : "linear", values };
}

/** "0,20,40" as its texts; a single one stays what it is, whatever it is. */
function textsOf(text: string | null): string[] {
  return text === null ? [] : text.split(",").map((part) => part.trim());
}

function millisecondsOf(text: string, flag: string): number {
  const match = /^(\d+(?:\.\d+)?)(us|ms|s)?$/.exec(text);
  if (match === null) throw new UsageError(`${flag}: "${text.slice(0, 60)}" is no time (for example 40, 40ms or 500us)`);
  return Number(match[1]) * { us: 0.001, ms: 1, s: 1000 }[(match[2] ?? "ms") as "us" | "ms" | "s"];
}

/** "0.1%,1%,40ms" is two stalls of one length, "1%,40ms,2%,80ms" two of their own; "none" is none. */
function stallsOf(text: string | null): SweepValue[] {
  const stalls: SweepValue[] = [];
  let shares: string[] = [];
  for (const part of textsOf(text)) {
    if (part === "none") stalls.push({ text: part, x: 0 });
    else if (/^[\d.]+%/.test(part)) shares.push(part);
    else {
      stalls.push(...shares.map((share) => ({ text: `${share},${part}`, x: Number.parseFloat(share) / 100 })));
      shares = [];
    }
  }
  // What is not understood here is refused by the network's own parser.
  return shares.length > 0 || stalls.length === 0
    ? textsOf(text)
        .slice(0, 1)
        .map((one) => ({ text: one, x: 0 }))
    : stalls;
}

/** The options at one point of the grid. */
export function optionsAt(options: BenchOptions, at: SweepPlace): BenchOptions {
  const number = (name: "streams" | "rate" | "connections" | "outputTokens" | "tokensPerChunk"): number | null =>
    at[name] === undefined ? options[name] : Number(at[name]);
  const { rtt, stall } = at;
  return {
    ...options,
    streams: number("streams"),
    rate: number("rate"),
    connections: number("connections"),
    outputTokens: number("outputTokens"),
    tokensPerChunk: number("tokensPerChunk"),
    network: mergeNetworks(options.network, { ...(rtt === undefined ? {} : { rtt }), ...(stall === undefined ? {} : { stall }) }),
  };
}

/** Every point of the grid, in rising order, the first axis fastest. */
export function placesOf(axes: readonly SweepAxis[]): SweepPlace[] {
  let places: SweepPlace[] = [{}];
  for (const { name, values } of axes.toReversed())
    places = places.flatMap((place) => values.map(({ text }): SweepPlace => Object.assign({ [name]: text }, place)));
  return places;
}

const words: Readonly<Record<SweepAxisName, (value: string) => string>> = {
  rate: (value) => `${value}/s`,
  streams: (value) => (value === "1" ? "1 stream" : `${value} streams`),
  connections: (value) => (value === "1" ? "1 connection" : `${value} connections`),
  outputTokens: (value) => (value === "1" ? "1 token" : `${value} tokens`),
  tokensPerChunk: (value) => `${value} to an event`,
  rtt: (value) => `RTT ${/^[\d.]+$/.test(value) ? `${value} ms` : value}`,
  stall: (value) => `stall ${value}`,
};

/** What a point is called: "10 streams, RTT 20 ms", behind what the variant is called and does not say yet. */
export function pointName(name: string, at: SweepPlace): string {
  const said = name === "" ? [] : name.split(", ");
  const more = (Object.entries(at) as [SweepAxisName, string][]).map(([axis, value]) => words[axis](value));
  return [...said, ...more.filter((text) => !said.includes(text))].join(", ");
}

/** Variants at every point of the grid, scenario by scenario. */
export interface Swept extends Overridden {
  readonly sweeps: readonly SweepPlan[];
}

/** What `overridden` makes of the variants at each point. */
export function swept(wanted: readonly Variant[], options: BenchOptions, axes: readonly SweepAxis[]): Swept {
  const notes = new Set<string>();
  const pointless = new Map<Variant, string>();
  const found: { readonly variant: Variant; readonly base: string; readonly at: SweepPlace }[] = [];
  for (const at of placesOf(axes)) {
    const here = overridden(wanted, optionsAt(options, at));
    for (const note of here.notes) notes.add(note);
    for (const before of here.variants) {
      const name = pointName(before.name, at);
      const isBound = options.requests !== null || options.durationS !== null || before.workload.trace !== null;
      const requests = isBound ? before.workload.requests : Math.max(leastRequests, before.workload.requests);
      const steady = at.connections === undefined ? before : withSteadyIds(before);
      const variant: Variant = { ...steady, name, point: at, workload: { ...before.workload, requests } };
      const reason = here.pointless.get(before);
      if (reason !== undefined) pointless.set(variant, reason);
      found.push({ variant, base: withoutPlace(before.name, at), at });
    }
  }
  const scenarios = [...new Set(wanted.map(({ scenario }) => scenario))];
  const ordered = scenarios.flatMap((id) => found.filter(({ variant }) => variant.scenario === id));
  const first = axes[0]!;
  const sweeps = scenarios.flatMap((scenario) =>
    [...new Set(ordered.filter(({ variant }) => variant.scenario === scenario).map(({ base }) => base))].map((base): SweepPlan => ({
      kind: "list",
      scenario,
      variant: base,
      axes,
      points: ordered
        .filter((one) => one.variant.scenario === scenario && one.base === base)
        .map(({ variant, at }) => ({
          variant: variant.name,
          at,
          x: first.values.find(({ text }) => text === at[first.name])!.x,
          load: "given",
        })),
      slo: options.slo,
      stopped: null,
    })),
  );
  return { variants: ordered.map(({ variant }) => variant), notes: [...notes], pointless, sweeps };
}

/** What a variant's name says beside its place: "ramped" of "10 streams, ramped", "(as 50 streams)" of "10 streams (as 50 streams)". */
function withoutPlace(name: string, at: SweepPlace): string {
  const places = (Object.entries(at) as [SweepAxisName, string][]).map(([axis, value]) => words[axis](value));
  return name
    .split(", ")
    .map((part) => {
      const place = places.find((one) => part === one || part.startsWith(`${one} (`));
      return place === undefined ? part : part.slice(place.length).trim();
    })
    .filter((part) => part !== "")
    .join(", ");
}

/** Ids that do not end in the number of connections, where these are varied: a line of a chart is one arm. */
function withSteadyIds(variant: Variant): Variant {
  const steady = (id: string): string => id.replace(/-\d+$/, "");
  const ids = new Set(variant.arms.map(({ id }) => steady(id)));
  if (ids.size < variant.arms.length) return variant;
  const renamed = <T extends { readonly baseline: string; readonly candidate: string }>(one: T): T => ({
    ...one,
    baseline: steady(one.baseline),
    candidate: steady(one.candidate),
  });
  return {
    ...variant,
    arms: variant.arms.map((arm) => ({ ...arm, id: steady(arm.id) })),
    pairs: variant.pairs.map(renamed),
    claims: variant.claims.map(renamed),
  };
}
