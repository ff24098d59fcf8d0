/** Sweeps: the points of a grid, each a scenario of its own. */
import { mergeNetworks } from "../../network/impairment.ts";
import type { SweepAxis, SweepAxisName, SweepPlace } from "../../results/sweep.ts";
import type { SweepPlan } from "../../results/sweeps.ts";
import type { BenchOptions } from "./options.ts";
import { overridden, type Overridden } from "./overrides.ts";
import type { Variant } from "./scenario.ts";

/** Requests of a round at least, where nothing else is said: one stream alone would have one. */
const leastRequests = 10;

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
      // Where a scenario has a question of its own it is the same at each point: what tells them apart is the place.
      const question = before.question === undefined ? {} : { question: name };
      const variant: Variant = { ...steady, name, ...question, point: at, workload: { ...before.workload, requests } };
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
