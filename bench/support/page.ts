/** What the pages of figures share. */
import { readFileSync } from "node:fs";
import type { describeEnvironment } from "../../src/runner/processes/machine.ts";

/** A table in Markdown. The last `numbers` columns are aligned to the right. */
export function table(header: readonly string[], rows: readonly (readonly (string | number)[])[], numbers = 0): string {
  const line = (cells: readonly (string | number)[]): string => `| ${cells.join(" | ")} |`;
  const rule = `|${" --- |".repeat(header.length - numbers)}${" ---: |".repeat(numbers)}`;
  return [line(header), rule, ...rows.map(line)].join("\n");
}

/** The figures of a search in a file. JSON has no Infinity: null is how long what never came took, and how much what died grew. */
export function readSearch(path: string): unknown {
  const isEndless = (key: string, value: unknown): boolean => value === null && /Ms$|^rssBytes$/.test(key);
  return JSON.parse(readFileSync(path, "utf8"), (key, value: unknown) => (isEndless(key, value) ? Infinity : value));
}

/** Where and when figures were taken, as a row of `measuredTable`. */
export interface Taken {
  /** Which figures. */
  readonly what: string;
  readonly startedAt: string;
  /** `loadAverage`: null where it was not kept. */
  readonly environment: Pick<ReturnType<typeof describeEnvironment>, "cpu" | "cores" | "node"> & {
    readonly loadAverage: readonly number[] | null;
  };
}

/** Figures of one page that were not taken together: each with its day, its machine and the load average (1, 5, 15 minutes) at its end. */
export function measuredTable(taken: readonly Taken[]): string {
  return table(
    ["figures", "taken", "machine", "load"],
    taken.map(({ what, startedAt, environment: { cpu, cores, node, loadAverage } }) => [
      what,
      startedAt.slice(0, 16).replace("T", " "),
      `${cores} x ${cpu}, Node ${node}`,
      loadAverage?.map((load) => load.toFixed(1)).join(", ") ?? "not kept",
    ]),
  );
}

/** "Written by `npm run measure -- soak` (2026-11-25, 2 x AMD EPYC, Node 20.20.2": the caller ends the sentence. */
export function writtenBy(name: string, startedAt: string, environment: ReturnType<typeof describeEnvironment>): string {
  const { cpu, cores, node } = environment;
  return `Written by \`npm run measure -- ${name}\` (${startedAt.slice(0, 10)}, ${cores} x ${cpu}, Node ${node}`;
}

const marker = /(<!-- generated: ([\w-]+) -->\n)[\s\S]*?(<!-- end -->)/g;

/** The page with what stands between its markers made anew. Throws for a marker that no part belongs to. */
export function withGenerated(text: string, parts: Readonly<Record<string, () => string>>): string {
  return text.replaceAll(marker, (_all, begin: string, name: string, end: string) => {
    const part = parts[name];
    if (part === undefined) throw new Error(`no generated part is called ${name}`);
    return `${begin}\n${aligned(part())}\n\n${end}`;
  });
}

/** The text with the columns of its tables aligned, as the formatter leaves them. */
export function aligned(text: string): string {
  return text.replaceAll(/(?:^\|.*\|$\n?)+/gm, (table) => {
    const rows = table
      .trimEnd()
      .split("\n")
      .map((line) =>
        line
          .slice(1, -1)
          .split(/(?<!\\)\|/)
          .map((cell) => cell.trim()),
      );
    const widths = rows[0]!.map((_cell, column) => Math.max(3, ...rows.map((row) => row[column]!.length)));
    const lines = rows.map((row) => {
      const cells = row.map((cell, column) => (/^-+$/.test(cell) ? "-".repeat(widths[column]!) : cell.padEnd(widths[column]!)));
      return `| ${cells.join(" | ")} |`;
    });
    return lines.join("\n") + (table.endsWith("\n") ? "\n" : "");
  });
}
