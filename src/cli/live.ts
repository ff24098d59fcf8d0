/** What a running bench shows on a terminal: the question, how far it is, and each arm's last reading beside the others. */
import { printable } from "../base/printable.ts";
import { metricFacts } from "../results/metrics.ts";
import type { MetricName, Metrics, Statistic } from "../results/types.ts";
import { digits } from "../report/format.ts";
import type { LiveEvent } from "../runner/arms.ts";

/** What is shown of a reading: the first three of these that any arm has. */
const readings: readonly (readonly [MetricName, Statistic, title: string])[] = [
  ["ttft", "p50", "TTFT p50 ms"],
  ["itl", "p50", "ITL p50 ms"],
  ["tokensPerSecond", "mean", "tok/s"],
  ["eventsPerSecond", "mean", "events/s"],
  ["e2el", "p50", "E2E p50 ms"],
  ["durationUs", "mean", "done in ms"],
  ["requestsPerSecond", "mean", "req/s"],
];
const mostReadings = 3;

/** A pace is believed from this share of the plan on; before it, the estimate is. */
const pacedFrom = 0.05;

export class LiveState {
  readonly #startedMs: number;
  #totalS = 0;
  /** Estimates of the questions that are done. */
  #doneS = 0;
  #question: { readonly text: string; readonly seconds: number; readonly runs: number; readonly startedMs: number } | null = null;
  #runs = 0;
  #arms: string[] = [];
  readonly #latest = new Map<string, Metrics>();
  #text = "";

  /** `nowMs` is that of a monotonic clock, as in all that follows. */
  constructor(nowMs: number) {
    this.#startedMs = nowMs;
  }

  see(event: LiveEvent, nowMs: number): void {
    switch (event.kind) {
      case "plan":
        this.#totalS = event.seconds;
        break;
      case "asking":
        this.#doneS += this.#question?.seconds ?? 0;
        this.#question = { text: event.question, seconds: event.seconds, runs: event.runs, startedMs: nowMs };
        this.#runs = 0;
        this.#arms = [...event.arms];
        this.#latest.clear();
        break;
      case "measured":
        this.#runs++;
        this.#latest.set(event.arm, event.metrics);
        if (!this.#arms.includes(event.arm)) this.#arms.push(event.arm);
        break;
      case "leftOut":
        this.#totalS = Math.max(0, this.#totalS - event.seconds);
        break;
    }
  }

  /** What is being done now, in the runner's words. */
  say(text: string): void {
    this.#text = text;
  }

  /** Share of the plan that is done, from 0 to 1; null: there is no plan yet. */
  share(nowMs: number): number | null {
    const question = this.#question;
    const total = Math.max(this.#totalS, this.#doneS + (question?.seconds ?? 0));
    if (total <= 0 || question === null) return null;
    const byRuns = question.runs > 0 ? this.#runs / question.runs : (nowMs - question.startedMs) / 1000 / Math.max(1, question.seconds);
    return Math.min(0.99, (this.#doneS + question.seconds * Math.min(1, byRuns)) / total);
  }

  /** Seconds that are left: the estimate's, at the pace so far; null: there is no plan yet. */
  leftS(nowMs: number): number | null {
    const share = this.share(nowMs);
    if (share === null) return null;
    const elapsedS = (nowMs - this.#startedMs) / 1000;
    const total = Math.max(this.#totalS, this.#doneS + (this.#question?.seconds ?? 0));
    const paced = share < pacedFrom ? total * (1 - share) : (elapsedS / share) * (1 - share);
    return Math.max(1, paced);
  }

  /** The lines of a screen, each shorter than its columns; at least one, and never as many as its rows. */
  lines(columns: number, rows: number, nowMs: number): string[] {
    const width = Math.max(10, columns - 1);
    const elapsedS = Math.round((nowMs - this.#startedMs) / 1000);
    const doing = printable(this.#question === null ? this.#text : `${this.#question.text}: ${this.#text.replace(/^[^:]*: /u, "")}`);
    const lines = [doing === "" ? `${elapsedS} s` : doing, this.#bar(width, elapsedS, nowMs), ...this.#table(width)];
    return lines
      .filter((line) => line !== "")
      .slice(0, Math.max(1, rows - 1))
      .map((line) => (line.length > width ? `${line.slice(0, width - 1)}…` : line.trimEnd()));
  }

  #bar(width: number, elapsedS: number, nowMs: number): string {
    const [share, leftS] = [this.share(nowMs), this.leftS(nowMs)];
    if (share === null || leftS === null) return "";
    const text = `${Math.round(share * 100)
      .toString()
      .padStart(3)}%  ${elapsedS} s, about ${timeText(leftS)} left`;
    const room = Math.min(40, width - text.length - 2);
    if (room < 5) return text;
    const full = Math.round(share * room);
    return `${"█".repeat(full)}${"░".repeat(room - full)} ${text}`;
  }

  /** A row for each reading, a column for each arm; arms without room are counted. */
  #table(width: number): string[] {
    const shown = readings.filter(([metric]) => [...this.#latest.values()].some((metrics) => metrics[metric])).slice(0, mostReadings);
    if (shown.length === 0) return [];
    const first = Math.max(...shown.map(([, , title]) => title.length));
    const cells = this.#arms.map((arm) => {
      const metrics = this.#latest.get(arm);
      return [printable(arm), ...shown.map(([metric, statistic]) => valueText(metric, metrics?.[metric]?.[statistic]))];
    });
    const lines = ["", ...shown.map(([, , title]) => title)].map((title) => title.padEnd(first));
    let used = first;
    for (const [index, column] of cells.entries()) {
      const own = Math.max(...column.map((cell) => cell.length));
      const left = cells.length - index;
      const needed = used + 2 + own + (left > 1 ? 5 : 0);
      if (needed > width && index > 0) {
        lines[0] += `  +${left}`;
        break;
      }
      for (const [row, cell] of column.entries()) lines[row] += `  ${cell.padStart(own)}`;
      used += 2 + own;
    }
    return lines;
  }
}

function valueText(metric: MetricName, value: number | undefined): string {
  if (value === undefined || !Number.isFinite(value)) return "–";
  return metricFacts[metric].unit === "us" ? digits(value / 1000) : digits(value);
}

function timeText(seconds: number): string {
  return seconds < 100 ? `${Math.ceil(seconds)} s` : `${Math.round(seconds / 60)} min`;
}
