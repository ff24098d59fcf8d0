/** `fakeai serve --dashboard`: what the server does, on a few lines in place. */
import { type Figures, figuresBetween, type Scrape } from "../api/operations/dashboard/figures.ts";
import { UsageError } from "../base/usage-error.ts";
import { Block, isScreen, type Output } from "./block.ts";

/** Milliseconds between two looks. */
const lookMs = 1000;

/** Throws UsageError where nothing can be shown in place. */
export function checkScreen(output: Output, environment: NodeJS.ProcessEnv): void {
  if (!isScreen(output, environment))
    throw new UsageError("--dashboard: it is drawn on a terminal; elsewhere open the server's address in a browser, or read /metrics");
}

/** Shows what `metrics`, the exposition text, says, once a second until the process ends. */
export function showDashboard(output: Output, metrics: () => string | Promise<string>): void {
  let last: Scrape | null = null;
  let figures: Figures | null = null;
  const block = new Block(output, (columns, rows) => dashboardLines(figures, columns, rows));
  block.draw();
  const look = async (): Promise<void> => {
    const now = { text: await metrics(), atMs: performance.now() };
    if (last !== null) figures = figuresBetween(last, now);
    last = now;
    block.draw();
  };
  // A look that fails is made again; what was shown last stays.
  setInterval(() => void look().catch(() => {}), lookMs).unref();
}

/** The lines of a screen, each shorter than its columns. null: nothing was looked at yet. */
export function dashboardLines(figures: Figures | null, columns: number, rows: number): string[] {
  const width = Math.max(10, columns - 1);
  const label = (name: string, text: string): string => `${name.padEnd(13)}${text}`;
  const lines =
    figures === null
      ? ["waiting for figures"]
      : [
          label("streams", `${count(figures.streams)} under way, ${count(figures.responsesPerSecond)} responses/s`),
          label("tokens/s", count(figures.tokensPerSecond)),
          label("late by", `p50 ${late(figures.lateness.p50Ms)}, p99 ${late(figures.lateness.p99Ms)}`),
          label("connections", each(figures.connections)),
          label("faults", each(figures.faults)),
          ...(figures.queue === null
            ? []
            : [label("queue", `${count(figures.queue.waiting)} waiting, cache ${Math.round(figures.queue.cacheShare * 100)}% used`)]),
        ];
  return lines.slice(0, Math.max(1, rows - 1)).map((line) => (line.length > width ? `${line.slice(0, width - 1)}…` : line));
}

function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

function late(ms: number | null): string {
  return ms === null ? "–" : `${ms.toFixed(ms < 1 ? 3 : 1)} ms`;
}

function each(counts: Readonly<Record<string, number>>): string {
  const found = Object.entries(counts).filter(([, value]) => value > 0);
  return found.length === 0 ? "none" : found.map(([name, value]) => `${name} ${count(value)}`).join(", ");
}
