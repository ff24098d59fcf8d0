/** Where the figures go: a JSON file for each row, and one page over all of them. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { rows } from "./rows.ts";
import type { Ratio } from "../support/statistics.ts";
import { profile } from "./subjects.ts";

const results = fileURLToPath(new URL("../../results/speed/", import.meta.url));

export type Samples = Record<string, unknown[]>;

/** One line of the table. */
export interface Line {
  readonly what: string;
  /** Medians over the rounds, with units. */
  readonly measured: string;
  readonly against: string | null;
  readonly ratio: Ratio | null;
  readonly target: string;
  /** null: nothing was asked. */
  readonly met: boolean | null;
}

export interface Result {
  readonly id: string;
  readonly command: string;
  readonly date: string;
  readonly environment: Record<string, string | number>;
  readonly lines: readonly Line[];
  /** Every round. */
  readonly samples: Samples;
}

export const two = (value: number): string => value.toFixed(2);

export function writeResult(result: Result): void {
  mkdirSync(results, { recursive: true });
  writeFileSync(`${results}${result.id}.json`, `${JSON.stringify(result)}\n`);
}

export function showRatio(ratio: Ratio | null): string {
  return ratio ? `${two(ratio.ratio)} (${two(ratio.low)} to ${two(ratio.high)}; median ${two(ratio.median)}, ${ratio.rounds} rounds)` : "";
}

function markdown(lines: readonly Line[]): string {
  const cells = lines.map(({ what, measured, against, ratio, target, met }) =>
    [what, measured, against ?? "", showRatio(ratio), target, met === null ? "" : met ? "yes" : "**no**"].join(" | "),
  );
  return [
    "| what | fakeai | beside | ratio (95% interval) | target | met |",
    "|---|---|---|---|---|---|",
    ...cells.map((cell) => `| ${cell} |`),
  ].join("\n");
}

/** The page over all rows that were ever measured here. */
export function writePage(): void {
  const known = rows.flatMap(({ id }) =>
    readdirSync(results).includes(`${id}.json`) ? [JSON.parse(readFileSync(`${results}${id}.json`, "utf8")) as Result] : [],
  );
  const commands = known.map(
    ({ id, command, date, environment }) => `- \`${id}\`: \`${command}\`, ${date.slice(0, 10)}, ${Object.values(environment).join(", ")}`,
  );
  writeFileSync(
    `${results}README.md`,
    `# Speed\n\nWritten by \`npm run measure -- speed\`. Server on core 0, load on core 1, rounds in turns; a ratio is the geometric mean of the rounds'\nratios with its 95% interval (paired t on logarithms). Every round is in the JSON files beside this page. All write what\n\`--profile ${profile}\` writes, the same bytes and the same head: events of 270 bytes, bodies of about 300. The controls repeat a\nconstant. What the figures rest on, and what was tried and lost: [notes](notes.md).\n\n${markdown(known.flatMap(({ lines }) => lines))}\n\nMeasured by:\n\n${commands.join("\n")}\n`,
  );
}
