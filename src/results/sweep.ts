/**
 * What a sweep leaves in a result: what was varied, its points, and what they say together. A point is a scenario of the result,
 * with arms, intervals and comparisons as any other; here are the places of the points and the findings.
 */
import type { Count, Microseconds, PerSecond, Ratio } from "./units.ts";

/** @unit the axis's unit */
type InAxisUnit = number;

/** What a sweep can vary. */
export type SweepAxisName = "rate" | "streams" | "connections" | "outputTokens" | "tokensPerChunk" | "rtt" | "stall";

/** What an axis is, whatever its values. */
export interface SweepAxisFacts {
  /** The flag that makes it. */
  readonly flag: string;
  /** What tables and charts call it. */
  readonly label: string;
  /** Unit of the values. */
  readonly unit: "count" | "1/s" | "tokens" | "ms" | "ratio";
  /** More of it is more load: it has a knee. */
  readonly isLoad: boolean;
}

/** In the order in which they are drawn: the first that is varied lies along x. */
export const sweepAxisFacts: Readonly<Record<SweepAxisName, SweepAxisFacts>> = {
  rate: { flag: "--rate", label: "requests/s", unit: "1/s", isLoad: true },
  streams: { flag: "--streams", label: "streams at once", unit: "count", isLoad: true },
  connections: { flag: "--connections", label: "connections", unit: "count", isLoad: false },
  outputTokens: { flag: "--output-tokens", label: "tokens of an answer", unit: "tokens", isLoad: false },
  tokensPerChunk: { flag: "--tokens-per-chunk", label: "tokens of an event", unit: "tokens", isLoad: false },
  rtt: { flag: "--rtt", label: "round-trip time", unit: "ms", isLoad: false },
  stall: { flag: "--stall", label: "stalled segments", unit: "ratio", isLoad: false },
};

/** One value of an axis. */
export interface SweepValue {
  /** As it was given: "20", "1%,40ms". */
  readonly text: string;
  /** Where it lies on the axis. */
  readonly x: InAxisUnit;
}

/** One thing that was varied. */
export interface SweepAxis {
  /** Its name. */
  readonly name: SweepAxisName;
  /** What tables and charts call it. */
  readonly label: string;
  /** Unit of its values. */
  readonly unit: SweepAxisFacts["unit"];
  /** How it is drawn: log where all values are above 0 and the largest is at least ten times the least. */
  readonly scale: "linear" | "log";
  /** In rising order. */
  readonly values: readonly SweepValue[];
}

/** Which values a scenario stands for, as they were given. */
export interface SweepPlace {
  /** Requests a second. */
  readonly rate?: string;
  /** Streams at once. */
  readonly streams?: string;
  /** Connections. */
  readonly connections?: string;
  /** Tokens of an answer. */
  readonly outputTokens?: string;
  /** Tokens of an event. */
  readonly tokensPerChunk?: string;
  /** Round-trip time. */
  readonly rtt?: string;
  /** Share and length of stalls. */
  readonly stall?: string;
}

/** The load of a point. given: its values are those of the axes. synchronous: one request at a time. throughput: all that it takes. */
export type SweepLoad = "given" | "synchronous" | "throughput";

/** One point of a sweep: the scenario of this result with the sweep's id and this variant. */
export interface SweepPoint {
  /** Variant of the scenario. */
  readonly variant: string;
  /** Its values, by axis. */
  readonly at: SweepPlace;
  /** Where it lies on the first axis; null: its load was not given. */
  readonly x: InAxisUnit | null;
  /** What load it had. */
  readonly load: SweepLoad;
}

/** What one arm shows at one point. null: not measured, or the arm is invalid there. */
export interface SweepReading {
  /** Place of the point in `points`. */
  readonly point: Count;
  /** Why the arm is invalid at this point, each reason in one line; empty: it is valid. */
  readonly invalid: readonly string[];
  /** Where it lies on the first axis; of a synchronous point in a sweep of rates, what it served. */
  readonly x: InAxisUnit | null;
  /** Requests a second that were asked for; null: a closed loop. */
  readonly askedPerSecond: PerSecond | null;
  /** Requests a second that were served; of an open loop, what was asked for times `achieved`. */
  readonly servedPerSecond: PerSecond | null;
  /** Open loop: requests a second served, by those asked for. */
  readonly achieved: Ratio | null;
  /** Mean end-to-end latency, in an open loop from the planned send time. */
  readonly latencyUs: Microseconds | null;
  /** Requests a second that kept all of `slo` each by itself; null also without one. */
  readonly goodPerSecond: PerSecond | null;
  /** Whether every statistic of `slo` is kept, and the rate too; null: no slo, or it cannot be told. */
  readonly keepsSlo: boolean | null;
}

/** What is found along a series. */
export interface SweepFinding {
  /** The point where it is found; null: at none of them, and `text` says why. */
  readonly point: Count | null;
  /** Where that lies on the first axis; null: nowhere. */
  readonly x: InAxisUnit | null;
  /** In words, with the reason. */
  readonly text: string;
}

/** One line of a chart: an arm along the first axis, all other axes held. */
export interface SweepSeries {
  /** Id of the arm. */
  readonly arm: string;
  /** Values of the other axes; empty: there are none. */
  readonly at: SweepPlace;
  /** In rising order of the first axis, points without a place on it last. */
  readonly readings: readonly SweepReading[];
  /** Where more load stops to pay; null: no axis of load. */
  readonly knee: SweepFinding | null;
  /** Largest rate that is served; null: rates are not what was varied first. */
  readonly keepsUp: SweepFinding | null;
  /** Largest load that keeps `slo`; null: no slo, or no axis of load. */
  readonly keepsSlo: SweepFinding | null;
}

/** A sweep of one scenario. */
export interface SweepResult {
  /** list: values that were given. load: rates that were looked for. */
  readonly kind: "list" | "load";
  /** Id of the scenario. */
  readonly scenario: string;
  /** Variant of the scenario that was swept; empty where there is one. */
  readonly variant: string;
  /** What was varied; the first lies along x. */
  readonly axes: readonly SweepAxis[];
  /** Points in the order in which they were run. */
  readonly points: readonly SweepPoint[];
  /** Lines. */
  readonly series: readonly SweepSeries[];
  /** What was to be kept, as given; null: nothing. */
  readonly slo: string | null;
  /** How the knee is found, with its source; null: no axis of load. */
  readonly kneeMethod: string | null;
  /** Why the sweep ended before its last point; null: it did not. */
  readonly stopped: string | null;
}
