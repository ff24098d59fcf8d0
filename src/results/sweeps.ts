/** From the points of a sweep to what they say together: the knee, the largest rate that is served, and that which keeps an objective. */
import { keepsSlo, parseSlo, type SloTerm } from "./slo.ts";
import {
  type SweepAxis,
  sweepAxisFacts,
  type SweepFinding,
  type SweepPlace,
  type SweepPoint,
  type SweepReading,
  type SweepResult,
  type SweepSeries,
} from "./sweep.ts";
import type { ArmResult, ScenarioResult } from "./types.ts";

/**
 * The knee is where power, served requests a second by mean latency, is largest: beyond it latency grows faster than what is
 * served.
 */
const kneeMethod =
  "the point of the largest power, served requests/s by mean end-to-end latency (Kleinrock, ICC 1979; Jain, The Art of Computer Systems Performance Analysis, 1991, 3.3)";

/** A rate counts as served from this share on. */
export const servedShare = 0.95;

/** A sweep as it was planned and run, without what is found in it. */
export type SweepPlan = Pick<SweepResult, "kind" | "scenario" | "variant" | "axes" | "points" | "slo" | "stopped">;

/** The sweep with what its points say, read from the scenarios that they are. */
export function sweepResult(plan: SweepPlan, scenarios: readonly ScenarioResult[]): SweepResult {
  const slo = plan.slo === null ? null : parseSlo(plan.slo);
  const [first, ...others] = plan.axes;
  const isLoad = first !== undefined && sweepAxisFacts[first.name].isLoad;
  const found = plan.points.map(({ variant }) => scenarios.find((one) => one.id === plan.scenario && one.variant === variant));
  const arms = [...new Set(found.flatMap((scenario) => scenario?.arms.map(({ id }) => id) ?? []))];
  const places = new Map(plan.points.map(({ at }) => [JSON.stringify(otherValues(at, others)), otherValues(at, others)]));
  const series = [...places].flatMap(([key, at]) =>
    arms.flatMap((arm): SweepSeries[] => {
      const readings = plan.points
        .map((point, index) => ({ point, index }))
        .filter(({ point }) => JSON.stringify(otherValues(point.at, others)) === key)
        .flatMap(({ point, index }) => {
          const scenario = found[index];
          const own = scenario?.arms.find(({ id }) => id === arm);
          return scenario === undefined || own === undefined ? [] : [readingOf(point, index, first, scenario, own, slo)];
        })
        .toSorted((a, b) => (a.x ?? Infinity) - (b.x ?? Infinity));
      if (readings.length === 0) return [];
      return [
        {
          arm,
          at,
          readings,
          knee: isLoad ? kneeOf(readings, first) : null,
          // Where one rate is held and something else lies along x, a place on x is no rate.
          keepsUp: first?.name === "rate" && readings.some(({ askedPerSecond }) => askedPerSecond !== null) ? keepsUpOf(readings) : null,
          keepsSlo: slo === null || !isLoad ? null : keepsSloOf(readings, first),
        },
      ];
    }),
  );
  return { ...plan, series, kneeMethod: isLoad ? kneeMethod : null };
}

function otherValues(at: SweepPlace, others: readonly SweepAxis[]): SweepPlace {
  return Object.fromEntries(others.flatMap(({ name }) => (at[name] === undefined ? [] : [[name, at[name]]])));
}

function readingOf(
  { x, load }: SweepPoint,
  point: number,
  axis: SweepAxis | undefined,
  { workload }: ScenarioResult,
  arm: ArmResult,
  slo: readonly SloTerm[] | null,
): SweepReading {
  const { metrics, invalid } = arm;
  const isOpen = workload["mode"] === "open";
  const asked = isOpen && typeof workload["rate"] === "number" ? workload["rate"] : null;
  const achieved = isOpen ? (metrics.achievedShare?.mean ?? null) : null;
  const served = asked !== null && achieved !== null ? asked * achieved : (metrics.requestsPerSecond?.mean ?? null);
  const kept = slo === null ? null : keepsSlo(arm, slo);
  const isValid = invalid.length === 0;
  return {
    point,
    invalid,
    x: x ?? (load === "synchronous" && axis?.name === "rate" && isValid ? served : null),
    askedPerSecond: asked,
    servedPerSecond: isValid ? served : null,
    achieved: isValid ? achieved : null,
    latencyUs: isValid ? ((isOpen ? metrics.e2elFromIntended?.mean : metrics.e2el?.mean) ?? null) : null,
    goodPerSecond: isValid ? (metrics.goodRequestsPerSecond?.mean ?? null) : null,
    // A rate that is not served keeps nothing: its requests wait before they are sent.
    keepsSlo: !isValid || kept === null ? null : kept && (achieved === null || achieved >= servedShare),
  };
}

/** Readings that have a place on the axis. */
function placed(readings: readonly SweepReading[]): (SweepReading & { readonly x: number })[] {
  return readings.flatMap((reading) => (reading.x === null ? [] : [{ ...reading, x: reading.x }]));
}

function kneeOf(readings: readonly SweepReading[], axis: SweepAxis): SweepFinding {
  const points = placed(readings);
  const powers = points.map(({ servedPerSecond, latencyUs }) =>
    servedPerSecond === null || latencyUs === null || latencyUs === 0 ? null : servedPerSecond / latencyUs,
  );
  const measured = powers.filter((power) => power !== null);
  if (measured.length < 3) return nowhere(`not known: ${measured.length} valid points, three are needed`);
  const best = powers.indexOf(Math.max(...measured));
  const { point, x } = points[best]!;
  const last = powers.findLastIndex((power) => power !== null);
  if (best === last) return nowhere(`not reached: what is served still grows faster than latency at ${at(x, axis)}`);
  const isFirst = powers.findIndex((power) => power !== null) === best;
  return {
    point,
    x,
    text: isFirst && !isLeast(points[best]!, axis) ? `at ${at(x, axis)} or below: no less was tried` : `at ${at(x, axis)}`,
  };
}

/** Whether there is no smaller load: one request at a time. */
function isLeast({ x, askedPerSecond }: SweepReading, { name }: SweepAxis): boolean {
  return name === "rate" ? askedPerSecond === null : x === 1;
}

function keepsUpOf(readings: readonly SweepReading[]): SweepFinding {
  const points = placed(readings).filter(({ askedPerSecond }) => askedPerSecond !== null);
  const first = points.findIndex(({ achieved }) => achieved === null || achieved < servedShare);
  const kept = first < 0 ? points : points.slice(0, first);
  const { point, x } = kept.at(-1) ?? { point: null, x: null };
  const beyond = points[first];
  const why =
    beyond === undefined
      ? "the largest rate that was tried"
      : beyond.achieved === null
        ? `at ${rounded(beyond.x)}/s ${beyond.invalid[0] ?? "nothing was measured"}`
        : `at ${rounded(beyond.x)}/s ${Math.round(beyond.achieved * 100)}% were served`;
  return { point, x, text: x === null ? `no rate: ${why}` : `up to ${rounded(x)}/s: ${why}` };
}

function keepsSloOf(readings: readonly SweepReading[], axis: SweepAxis): SweepFinding {
  const points = placed(readings);
  const first = points.findIndex((reading) => reading.keepsSlo !== true);
  const kept = first < 0 ? points : points.slice(0, first);
  const last = kept.at(-1);
  const beyond = points[first];
  const why =
    beyond === undefined
      ? "the largest load that was tried"
      : beyond.keepsSlo === false
        ? `not at ${at(beyond.x, axis)}`
        : `at ${at(beyond.x, axis)} ${beyond.invalid[0] ?? "a metric of it was not measured"}`;
  if (last === undefined) return nowhere(`at no load: ${why}`);
  const good = last.goodPerSecond === null ? "" : `, ${rounded(last.goodPerSecond)} good requests/s`;
  return { point: last.point, x: last.x, text: `up to ${at(last.x, axis)}${good}: ${why}` };
}

function nowhere(text: string): SweepFinding {
  return { point: null, x: null, text };
}

/** "80/s", "10 at once". */
function at(x: number, { name }: SweepAxis): string {
  return name === "rate" ? `${rounded(x)}/s` : `${rounded(x)} at once`;
}

/** Three significant digits, and whole numbers as they are. */
function rounded(value: number): string {
  return value >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
}
