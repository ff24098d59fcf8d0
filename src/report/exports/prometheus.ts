/**
 * A result as Prometheus metrics (text format 0.0.4), for node_exporter's textfile collector or a Pushgateway. In base units,
 * with the unit in the name: seconds, bytes, ratio.
 */
import { printable } from "../../base/printable.ts";
import { metricFacts, statisticNames } from "../../results/metrics.ts";
import type { BenchResult, MetricName, Statistic, Unit } from "../../results/types.ts";
import { requirementOutcome } from "../format.ts";

type Labels = Readonly<Record<string, string>>;

/** By the unit of a metric: the word that its name must have, and what its values are multiplied by. */
const baseUnits: Readonly<Record<Unit, { readonly word: string; readonly by: number }>> = {
  us: { word: "seconds", by: 1e-6 },
  "1/s": { word: "per_second", by: 1 },
  bytes: { word: "bytes", by: 1 },
  count: { word: "", by: 1 },
  ratio: { word: "ratio", by: 1 },
};

/** "serverCpuUsPerToken" is fakeai_bench_server_cpu_seconds_per_token. */
export function prometheusName(metric: MetricName): string {
  const { word } = baseUnits[metricFacts[metric].unit];
  const name = metric.replaceAll(/[A-Z]/gu, (letter) => `_${letter.toLowerCase()}`).replace(/_us(?=_|$)/u, `_${word}`);
  return `fakeai_bench_${name.includes(word) ? name : `${name}_${word}`}`;
}

function labelled(labels: Labels): string {
  const value = (text: string): string => printable(text).replaceAll("\\", "\\\\").replaceAll('"', '\\"');
  return Object.entries(labels)
    .map(([name, text]) => `${name}="${value(text)}"`)
    .join(",");
}

class Families {
  readonly #families = new Map<string, { readonly help: string; readonly lines: Set<string> }>();

  gauge(name: string, help: string, value: number, labels: Labels = {}): void {
    let family = this.#families.get(name);
    if (family === undefined) this.#families.set(name, (family = { help, lines: new Set() }));
    const inside = labelled(labels);
    family.lines.add(`${name}${inside === "" ? "" : `{${inside}}`} ${value}`);
  }

  get text(): string {
    return [...this.#families]
      .map(([name, { help, lines }]) => `# HELP ${name} ${help.replaceAll("\\", "\\\\")}\n# TYPE ${name} gauge\n${[...lines].join("\n")}\n`)
      .join("");
  }
}

/**
 * Each arm's figures over its valid rounds; an arm that is not valid has none, and `fakeai_bench_arm_valid` 0. What was not
 * measured has no sample.
 */
export function prometheusOf(result: BenchResult): string {
  const out = new Families();
  const isUsable = result.complete && result.invalid.length === 0;
  out.gauge("fakeai_bench_run_valid", "1: the run is complete and its figures may be used.", isUsable ? 1 : 0);
  out.gauge("fakeai_bench_run_started_timestamp_seconds", "When the run began, Unix time.", Date.parse(result.startedAt) / 1000);
  out.gauge("fakeai_bench_run_duration_seconds", "How long the run took.", result.durationS);
  for (const { text, ...requirement } of result.requirements) {
    const outcome = requirementOutcome({ text, ...requirement });
    for (const one of ["met", "violated", "not measured"] as const)
      out.gauge("fakeai_bench_requirement", "What became of a requirement: 1 for its outcome.", one === outcome ? 1 : 0, {
        requirement: text,
        outcome: one,
      });
  }
  for (const { id, variant, arms, comparisons } of result.scenarios) {
    const scenario = { scenario: id, variant };
    for (const arm of arms) {
      const labels = { ...scenario, arm: arm.id, protocol: arm.protocol, engine: arm.engine };
      out.gauge("fakeai_bench_arm_valid", "1: the arm's figures may be used.", arm.invalid.length === 0 ? 1 : 0, labels);
      for (const state of ["sent", "completed", "failed"] as const) {
        const count = arm.rounds.reduce((sum, { requests }) => sum + requests[state], 0);
        out.gauge("fakeai_bench_requests", "Requests of all rounds, by what became of them.", count, { ...labels, state });
      }
      if (arm.invalid.length > 0) continue;
      for (const metric of Object.keys(arm.metrics) as MetricName[]) addMetric(out, metric, arm.metrics[metric] ?? null, labels);
    }
    for (const { metric, statistic, baseline, candidate, ratio, verdict } of comparisons) {
      if (ratio === null) continue;
      for (const bound of ["estimate", "low", "high"] as const)
        out.gauge("fakeai_bench_comparison_ratio", "Candidate by baseline, and its 95% interval.", ratio[bound], {
          ...scenario,
          metric,
          statistic,
          baseline,
          candidate,
          verdict,
          bound,
        });
    }
  }
  return out.text;
}

function addMetric(out: Families, metric: MetricName, summary: Readonly<Record<Statistic, number>> | null, labels: Labels): void {
  if (summary === null) return;
  const { unit, perRound, description } = metricFacts[metric];
  const name = prometheusName(metric);
  for (const statistic of perRound ? (["mean"] as const) : statisticNames) {
    const value = summary[statistic] * baseUnits[unit].by;
    // Twelve digits: microseconds as seconds have no tail of binary fractions.
    out.gauge(name, printable(description), Number(value.toPrecision(12)), { ...labels, statistic });
  }
}
