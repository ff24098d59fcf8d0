/** What a sweep varies: from flags with several values to axes. */
import { UsageError } from "../../base/usage-error.ts";
import { type SweepAxis, type SweepAxisName, sweepAxisFacts, type SweepValue } from "../../results/sweep.ts";
import type { BenchSettings } from "../../settings/bench.ts";

/** Points of a sweep at most: a grid of three lists grows fast. */
const mostPoints = 100;

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
