/**
 * The parts of the docs that follow from tables of the product. Where a table has changed, `npm run generate` writes them again.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { measurements } from "../../bench/measurements.ts";
import {
  type Audits,
  auditSections,
  auditsEnvironment,
  auditsTable,
  liarFile,
  type LiarResult,
  liarTable,
} from "../../bench/pages/audits.ts";
import { courtClaims, courtFolder, courtParts, type CourtResults, courtScenarios, type PacketCount } from "../../bench/pages/court.ts";
import {
  gatewayClaims,
  gatewayFindings,
  type GatewayResults,
  gatewayRuns,
  gatewaysTable,
  ownLimitsTable,
} from "../../bench/pages/gateways.ts";
import { plantedFile, type PlantedResult, plantedTable } from "../../bench/pages/planted.ts";
import { aligned, withGenerated } from "../../bench/support/page.ts";
import { audited } from "../../bench/tools/audited.ts";
import { ladder, planOf } from "../../src/audit/ladder.ts";
import { quantities } from "../../src/audit/quantities.ts";
import { readers } from "../../src/audit/readers/readers.ts";
import { serveFlags } from "../../src/cli/sources.ts";
import { faultKinds } from "../../src/core/faults/fault.ts";
import { workBounds } from "../../src/core/limits/budget.ts";
import { imagesOf } from "../../src/report/images.ts";
import { digits, quantity } from "../../src/report/format.ts";
import { renderEnding } from "../../src/report/ending.ts";
import { effectRows } from "../../src/results/effects.ts";
import { metricFacts } from "../../src/results/metrics.ts";
import type { BenchResult } from "../../src/results/types.ts";
import { shippedScenarios } from "../../src/runner/plan/scenario.ts";
import { aliasTable } from "../../src/settings/aliases.ts";
import { auditFlags } from "../../src/settings/audit.ts";
import { benchFlags } from "../../src/settings/bench.ts";
import { type Flag, flagDefault, flagForm, flagTable, flagTables } from "../../src/settings/flags.ts";
import { networkFlags } from "../../src/settings/network.ts";
import { serverFlags } from "../../src/settings/server.ts";
import { rooms } from "../architecture/imports.ts";
import { root } from "../support/process.ts";
import { networks, servers, type Stranger } from "../support/strangers.ts";
import { bounds } from "./bounds.ts";
import { guides, readPage } from "./markdown.ts";

const cell = (text: string): string => text.replaceAll("|", "\\|");
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => "---"), ...rows].map((row) => `| ${row.map(cell).join(" | ")} |`).join("\n");

/** Flags without those of a group that another part of the docs has. */
function withoutGroup(flags: readonly Flag[], group: string): readonly Flag[] {
  const others = flags.filter((flag) => flag.group !== group);
  expect(others.length).toBeLessThan(flags.length);
  return others;
}

/** A fault as it is written: `burst(after=,silence=)`. */
const faultForm = (name: string, { options, bare }: (typeof faultKinds)[keyof typeof faultKinds]): string =>
  options.length === 0 ? name : `${name}(${options.map((option) => (option === bare ? `<${option}>` : `${option}=`)).join(",")})`;

const strangersTable = (title: string, strangers: readonly Stranger[]): string =>
  table(
    [title, "the bench says"],
    strangers.map(({ does, says }) => [does, says === null ? "measured as any other" : `\`${says}\``]),
  );

/** The flags that bound a client. `--grace` bounds the server's own end. */
const boundingFlags = serverFlags.filter(({ key, group }) => group === "Limits" && key !== "grace");

const published = (file: string): unknown => JSON.parse(readFileSync(join(root, file), "utf8"));
const audits = Object.fromEntries(
  Object.keys(audited).flatMap((name) => {
    const file = `results/audits/${name}.json`;
    return existsSync(join(root, file)) ? [[name, published(file)]] : [];
  }),
) as Audits;
const gateways = Object.fromEntries(
  readdirSync(join(root, "results/gateways"))
    .filter((name) => existsSync(join(root, `results/gateways/${name}/gateway.json`)))
    .map((name) => [name, published(`results/gateways/${name}/gateway.json`)]),
) as GatewayResults;

const court = Object.fromEntries(
  courtScenarios.flatMap((id) => {
    const file = `${courtFolder}/${id}.json`;
    return existsSync(join(root, file)) ? [[id, published(file)]] : [];
  }),
) as CourtResults;

const parts: Readonly<Record<string, () => string>> = {
  ...courtParts(court, published(`${courtFolder}/packets.json`) as readonly PacketCount[]),
  "audits-environment": () => auditsEnvironment(audits),
  audits: () => auditsTable(audits),
  "audit-sections": () => auditSections(audits),
  liar: () => liarTable(published(liarFile) as LiarResult),
  "gateway-runs": () => gatewayRuns(gateways),
  gateways: () => gatewaysTable(gateways),
  "own-limits": () => ownLimitsTable(gateways),
  "gateway-findings": () => gatewayFindings(gateways),
  "gateway-claims": () => gatewayClaims(gateways),
  planted: () => plantedTable(published(plantedFile) as PlantedResult),
  "server-flags": () => flagTables(withoutGroup(serveFlags, "Names that other tools use")),
  "bench-flags": () => flagTables(withoutGroup(benchFlags, "Network")),
  "audit-flags": () => flagTable(auditFlags),
  ladder: () =>
    table(
      ["rung", "the server", "plan", "needs"],
      ladder.map((rung) => [`\`${rung.name}\``, rung.title, `\`${planOf(rung)}\``, rung.needs === null ? "" : `\`{${rung.needs}}\``]),
    ),
  quantities: () =>
    table(
      ["quantity", "is", "tolerance of mean and median", "from p90 on"],
      Object.entries(quantities).map(([name, { is, unit, ratio, absolute }]) => {
        const within = (index: 0 | 1): string =>
          ratio[index] === 0 && absolute[index] === 0 ? "none" : `${digits(ratio[index] * 100)}% or ${digits(absolute[index])} ${unit}`;
        return [`\`${name}\``, is, within(0), unit === "ms" ? within(1) : ""];
      }),
    ),
  readers: () =>
    table(
      ["tool", "tested with the output of", "what its names mean"],
      readers.map(({ tool, tested, definitions, documentation }) => [tool, tested, [...definitions, documentation].join("; ")]),
    ),
  "network-flags": () => flagTable(networkFlags),
  aliases: aliasTable,
  faults: () =>
    table(
      ["fault", "what the client gets"],
      Object.entries(faultKinds).map(([name, kind]) => [`\`${faultForm(name, kind)}\``, kind.help]),
    ),
  "smallest-effects": () =>
    table(
      ["metrics", "relative", "absolute", "why"],
      effectRows.map(({ metrics, ratio, absolute, tail, because }) => {
        const [metric] = metrics;
        const shown = (value: number): string =>
          (metric === "itlError" ? `${digits(value * 100)} points` : quantity(value, metricFacts[metric!].unit, metric)).replaceAll(
            "\u00A0",
            " ",
          );
        const amount = absolute === null ? "none" : shown(absolute);
        return [
          metrics.map((name) => `\`${name}\``).join(", "),
          `${digits(ratio * 100)}%`,
          tail === undefined ? amount : `${amount}; ${shown(tail)} from p90 on`,
          because,
        ];
      }),
    ),
  bounds: () =>
    table(
      ["flag", "default", "beyond", "bound, or counter"],
      boundingFlags.map((flag) => {
        const { beyond, counter } = bounds[flag.key]!;
        return [`\`${flagForm(flag)}\``, flagDefault(flag), beyond, counter];
      }),
    ),
  work: () =>
    table(
      ["at most", "of what one request causes", "OpenAI's published limit"],
      Object.values(workBounds).map(({ most, counted, openai }) => [most.toLocaleString("en"), counted, openai ?? "none"]),
    ),
  "odd-servers": () => strangersTable("a server that", servers),
  "odd-networks": () => strangersTable("a network that", networks),
  measurements: () =>
    table(
      ["name", "what it measures", "takes", "writes"],
      Object.entries(measurements).map(([name, { what, takes, writes }]) => [`\`${name}\``, what, takes, writes]),
    ),
  rooms: () =>
    table(
      ["room", "may import", "packages"],
      Object.entries(rooms).map(([name, { rooms: imported, packages }]) => [
        `\`${name}\``,
        imported.join(", ") || "nothing",
        packages.map((name) => `\`${name}\``).join(", ") || "none",
      ]),
    ),
};

const generatedPages = [
  ...guides,
  ...["src/listeners", "results/audits", "results/court", "results/gateways"].map((folder) => readPage(`${folder}/README.md`)),
].filter(({ text }) => text.includes("<!-- generated: "));

test("every part has its place", () => {
  const named = generatedPages.flatMap(({ text }) => [...text.matchAll(/<!-- generated: ([\w-]+) -->/g)].map((match) => match[1]!));
  expect(named.sort()).toEqual(Object.keys(parts).sort());
});

test("the court's claims are those of its results", async () => {
  await expect(`${JSON.stringify(courtClaims(court), null, 1)}\n`).toMatchFileSnapshot(join(root, courtFolder, "claims.json"));
});

test("every bound says what happens beyond it", () => {
  expect(Object.keys(bounds)).toEqual(boundingFlags.map(({ key }) => key));
});

test.each(generatedPages)("$path", async ({ path, text }) => {
  await expect(withGenerated(text, parts)).toMatchFileSnapshot(join(root, path));
});

test("the tree in docs/architecture.md has every room, with a line each", () => {
  const lines = [...readPage("docs/architecture.md").prose.matchAll(/^ {6}([a-z]+)\/ +\S/gm)].map((match) => match[1]!);
  expect(lines.sort()).toEqual(Object.keys(rooms).sort());
});

test("docs/conclusions.md says of every scenario what it shows, what it does not, and what was changed", () => {
  const rows = readPage("docs/conclusions.md")
    .text.split("\n")
    .filter((line) => line.startsWith("| `"));
  const cells = rows.map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((text) => text.trim()),
  );
  const ids = shippedScenarios().map(({ id }) => id);
  expect(new Set(cells.map(([name]) => name!.replaceAll("`", "")))).toEqual(new Set(ids));
  expect(cells).toHaveLength(ids.length);
  expect(cells.filter((row) => row.length !== 4 || row.some((text) => text === ""))).toEqual([]);
});

describe("the README shows a run that is there", () => {
  const quick = JSON.parse(readFileSync(join(root, "results/experiments/quick.json"), "utf8")) as BenchResult;

  test("its chart", async () => {
    await expect(imagesOf(quick).find(({ name }) => name === "verdicts.svg")!.svg).toMatchFileSnapshot(join(root, "docs/verdicts.svg"));
  });

  test("its answers, each of them whole", () => {
    const said = new Set(renderEnding(quick, { color: false, width: 120 }).split("\n"));
    const shown = readPage("README.md")
      .blocks.filter(({ language }) => language === "text")
      .flatMap(({ text }) => text.trimEnd().split("\n"));
    expect(shown.length).toBeGreaterThan(2);
    expect(shown.filter((line) => !said.has(line))).toEqual([]);
  });
});

test("a change of a table is seen", () => {
  const page = "before\n\n<!-- generated: x -->\nold\n<!-- end -->\n\nafter\n";
  expect(withGenerated(page, { x: () => "| a | b |\n| --- | --- |\n| long | c |" })).toBe(
    "before\n\n<!-- generated: x -->\n\n| a    | b   |\n| ---- | --- |\n| long | c   |\n\n<!-- end -->\n\nafter\n",
  );
  expect(() => withGenerated(page, {})).toThrow("no generated part is called x");
  expect(aligned("| `a \\| b` | c |\n| --- | --- |")).toBe("| `a \\| b` | c   |\n| -------- | --- |");
});
