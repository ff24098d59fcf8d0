/**
 * Can the statistics fail? Twenty pairs of equal runs, in which any difference that is declared is a false one, and twenty
 * in which the candidate's ITL is 5% longer, which has to be found. Each pair is a whole `fakeai bench` with a server, a
 * loader and a seed of its own; odd pairs are on h1, even ones on h2c.
 *
 * Each call adds its pairs to test/fixtures/pairs.json, in place of those of the same kind and number:
 * test/results/pairs.test.ts replays the statistics over them.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { BenchResult, Comparison, MetricName, RoundResult, Statistic } from "../src/results/types.ts";
import { cliPath } from "./support/server.ts";

const itlMs = 20;
const slowerItlMs = 21;
const metrics = [
  "ttft.p50",
  "ttft.p99",
  "itl.mean",
  "itl.p50",
  "itl.p99",
  "tpot.p50",
  "e2el.p50",
  "e2el.p99",
  "transport.p50",
  "tokensPerSecond.mean",
  "serverCpuUsPerToken.mean",
] as const;

const fixture = fileURLToPath(new URL("../test/fixtures/pairs.json", import.meta.url));

type Kind = "equal" | "slower";

interface Pair {
  readonly kind: Kind;
  readonly pair: number;
  readonly protocol: "h1" | "h2c";
  /** By metric: the rounds of the baseline, then those of the candidate; null for a round that was invalid. */
  readonly rounds: Readonly<Record<string, readonly (readonly (number | null)[])[]>>;
}

interface Fixture {
  readonly command: string;
  readonly environment: Pick<BenchResult["environment"], "cpu" | "cores" | "kernel" | "node" | "pinned"> | null;
  readonly itlMs: Readonly<Record<Kind, readonly [number, number]>>;
  readonly pairs: readonly Pair[];
}

function scenarioOf(kind: Kind, protocol: Pair["protocol"]): object {
  const arm = (id: string, itl: number): object => ({
    id,
    protocol,
    connections: protocol === "h1" ? "streams" : 1,
    headers: { "x-fakeai-itl": String(itl) },
  });
  return {
    id: `pair-${kind}`,
    title: "Two arms that differ in the planned ITL, or in nothing",
    isolates: "The statistics",
    workload: { ttft: 50, itl: itlMs, outputTokens: 20, streams: 50, requests: 50, warmup: 50 },
    arms: [arm("baseline", itlMs), arm("candidate", kind === "equal" ? itlMs : slowerItlMs)],
    metrics,
    compare: [{ baseline: "baseline", candidate: "candidate" }],
    variants: [{ name: "", suites: [] }],
  };
}

function valueOf(round: RoundResult, name: string): number | null {
  if (round.invalid.length > 0) return null;
  const [metric, statistic] = name.split(".") as [MetricName, Statistic];
  const value = round.metrics[metric]?.[statistic];
  if (value === undefined) throw new Error(`${name} was not measured`);
  return Number(value.toPrecision(9));
}

function run(kind: Kind, pair: number): { result: BenchResult; pair: Pair } {
  const protocol = pair % 2 === 1 ? "h1" : "h2c";
  const folder = mkdtempSync(join(tmpdir(), "fakeai-pairs-"));
  try {
    const scenario = join(folder, "pair.json");
    writeFileSync(scenario, JSON.stringify(scenarioOf(kind, protocol)));
    const flags = ["bench", "--scenario", scenario, "--seed", String(pair), "--out", join(folder, "out")];
    const { status, stderr } = spawnSync(process.execPath, [cliPath, ...flags], { encoding: "utf8" });
    if (status !== 0) throw new Error(`pair ${pair} ended with ${status}: ${stderr}`);
    const result = JSON.parse(readFileSync(join(folder, "out", "result.json"), "utf8")) as BenchResult;
    const { arms } = result.scenarios[0]!;
    const rounds = Object.fromEntries(
      metrics.map((name) => [name, arms.map((arm) => arm.rounds.map((round) => valueOf(round, name)))] as const),
    );
    return { result, pair: { kind, pair, protocol, rounds } };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const describe = ({ metric, statistic, ratio, p, verdict }: Comparison): string =>
  `${metric}.${statistic} ${verdict} x${ratio?.estimate.toFixed(5)} (${ratio?.low.toFixed(5)} to ${ratio?.high.toFixed(5)}), p ${p?.toPrecision(2)}`;

const [kind, range] = process.argv.slice(2) as [Kind, string];
if (!/^\d+-\d+$/.test(range)) {
  console.error(`pairs: ${JSON.stringify(range)} is not <first>-<last>, as 1-20`);
  process.exit(2);
}
const [first, last] = range.split("-").map(Number) as [number, number];
const kept: Fixture = existsSync(fixture)
  ? (JSON.parse(readFileSync(fixture, "utf8")) as Fixture)
  : { command: "npm run measure -- pairs", environment: null, itlMs: { equal: [itlMs, itlMs], slower: [itlMs, slowerItlMs] }, pairs: [] };
const pairs = [...kept.pairs];
for (let number = first; number <= last; number++) {
  const { result, pair } = run(kind, number);
  const { cpu, cores, kernel, node, pinned } = result.environment;
  const earlier = pairs.findIndex((one) => one.kind === kind && one.pair === number);
  if (earlier < 0) pairs.push(pair);
  else pairs[earlier] = pair;
  const text = JSON.stringify({ ...kept, environment: { cpu, cores, kernel, node, pinned }, pairs } satisfies Fixture, null, 1);
  // After each pair, so that a run that is cut short keeps what it has; a list of figures on one line.
  writeFileSync(fixture, `${text.replaceAll(/\[[^[{]*?\]/g, (list) => list.replaceAll(/\s+/g, " "))}\n`);
  const shown = result.scenarios[0]!.comparisons.filter(
    ({ metric, verdict }) => verdict === "faster" || verdict === "slower" || metric === "itl",
  );
  console.log(`${kind} ${number} (${pair.protocol}), ${result.durationS.toFixed(1)} s\n  ${shown.map(describe).join("\n  ")}`);
}
