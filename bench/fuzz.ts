/**
 * The search for requests that hold up others: hostile requests to every endpoint on every engine, and what a neighbour on
 * another connection noticed of each. What is beyond a bound is repeated alone, and the least counts. Exit code 1: some failed.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { describeEnvironment } from "../src/runner/processes/machine.ts";
import { caseOf, longForm } from "../test/listeners/fuzz/requests.ts";
import { type Bounds, describe, type Finding, search } from "../test/listeners/fuzz/search.ts";
import { engineNames } from "../test/listeners/fuzz/target.ts";
import { attacksFolder, engineReport, fuzzFile, type FuzzReport, withFuzzSections } from "./support/fuzz-page.ts";
import { reproduce, reproductionsFile } from "./support/reproductions.ts";

const { values, positionals } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    cases: { type: "string", default: String(longForm) },
    only: { type: "string" },
    "max-body": { type: "string", default: "4" },
    delay: { type: "string", default: "25" },
    rss: { type: "string", default: "64" },
    table: { type: "boolean", default: false },
    tries: { type: "string", default: "10" },
  },
  allowPositionals: true,
});

function count(name: "seed" | "cases" | "max-body" | "delay" | "rss" | "tries"): number {
  const value = Number(values[name]);
  if (values[name].trim() === "" || !Number.isFinite(value) || value < 0) {
    process.stderr.write(`fuzz: --${name}: ${JSON.stringify(values[name])} is no number from 0 on\n`);
    process.exit(2);
  }
  return value;
}

function numbersOf(text: string): number[] {
  const [, first, last] = /^(\d+)(?:-(\d+))?$/.exec(text) ?? [];
  if (first === undefined) {
    process.stderr.write(`fuzz: --only: ${JSON.stringify(text)} is no number and no range of numbers, as 7-20\n`);
    process.exit(2);
  }
  return Array.from({ length: Number(last ?? first) - Number(first) + 1 }, (_, index) => Number(first) + index);
}

function line({ number, category, endpoint, bodyBytes, delayMs, waitedMs, rssBytes, cpuMs, status, failures, described }: Finding): string {
  const figures = `held up ${delayMs.toFixed(1)} ms (waited ${waitedMs.toFixed(1)}, CPU ${cpuMs.toFixed(1)}), ${(rssBytes / 1e6).toFixed(1)} MB, status ${status ?? "none"}`;
  return `#${number} ${category}, ${endpoint}, ${bodyBytes} bytes: ${figures}${failures.map((failure) => `; ${failure}`).join("")}\n   ${described}`;
}

const seed = count("seed");
const bounds: Bounds = { delayMs: count("delay"), rssBytes: count("rss") * 1e6 };
const plan = { seed, cases: count("cases"), maxBodyBytes: count("max-body") * 1_048_576 };
/** Numbers of the cases that were asked for: "7", or "7-20". */
const only = values.only === undefined ? null : numbersOf(values.only);
const isWhole = only === null && plan.cases >= longForm;
const engines = engineNames.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
let failed = 0;
/** Those that the table of the known requests is taken on, unless others are named. */
const usualEngines: readonly string[] = ["h1-uws", "h1-node", "h2c"];

/** Writes what one engine came to beside what the others did, under the same seed. */
function save(report: FuzzReport): void {
  const path = `${attacksFolder}${fuzzFile}`;
  const old = existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as FuzzReport) : null;
  const isSame = old !== null && old.seed === seed && JSON.stringify(old.bounds) === JSON.stringify(bounds) && old.maxBodyBytes === plan.maxBodyBytes; // oxfmt-ignore
  const kept = isSame ? old.engines.filter(({ engine }) => report.engines.every((other) => other.engine !== engine)) : [];
  const order = (engine: string): number => engineNames.findIndex(({ name }) => name === engine);
  const all = [...kept, ...report.engines].toSorted((a, b) => order(a.engine) - order(b.engine));
  writeFileSync(path, `${JSON.stringify({ ...report, engines: all }, null, 1)}\n`);
  const page = `${attacksFolder}README.md`;
  writeFileSync(page, withFuzzSections(readFileSync(page, "utf8")));
}

/** The known requests alone: their table on the page. */
if (values.table) {
  const tries = Math.max(1, count("tries"));
  const path = `${attacksFolder}${reproductionsFile}`;
  const asked = engineNames.filter(({ name }) => (positionals.length === 0 ? usualEngines : positionals).includes(name));
  for (const engine of asked) {
    const taken = await reproduce(engine, tries);
    for (const { name, status, healthMs, delayMs, rssBytes, faults } of taken.rows) {
      const figures = `/health ${healthMs} ms, held up ${delayMs} ms, ${(rssBytes / 1e6).toFixed(1)} MB`;
      console.log(`${engine.name} ${name}: ${status ?? "none"}, ${figures}${faults.map((fault) => `; ${fault}`).join("")}`);
      if (faults.length > 0 || delayMs > bounds.delayMs || rssBytes > bounds.rssBytes) failed++;
    }
    const old = existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as (typeof taken)[]) : [];
    const all = [...old.filter(({ engine: name }) => name !== engine.name), taken];
    const order = (name: string): number => engineNames.findIndex((each) => each.name === name);
    writeFileSync(
      path,
      `${JSON.stringify(
        all.toSorted((a, b) => order(a.engine) - order(b.engine)),
        null,
        1,
      )}\n`,
    );
    const page = `${attacksFolder}README.md`;
    writeFileSync(page, withFuzzSections(readFileSync(page, "utf8")));
  }
  process.exit(failed === 0 ? 0 : 1);
}

for (const engine of engines) {
  console.log(
    `seed ${seed}, ${engine.name}: ${only === null ? `${plan.cases} cases` : only.length === 1 ? `case ${only[0]}, ${describe(caseOf(plan, only[0]!))}` : `${only.length} cases`}`,
  );
  const startedAt = new Date().toISOString();
  const startedMs = performance.now();
  const seconds = (): number => (performance.now() - startedMs) / 1000;
  const found = await search(engine, {
    ...plan,
    bounds,
    ...(only !== null && { numbers: only }),
    shrinks: 6,
    onFinding(finding, done) {
      if (finding.failures.length > 0) console.log(line(finding));
      if (done % 500 === 0) console.log(`${done} done in ${seconds().toFixed(0)} s`);
    },
  });
  const report = engineReport(
    { engine: engine.name, startedAt, environment: describeEnvironment(false, "fakeai"), seconds: seconds() },
    found,
  );
  const failures = Object.values(report.byCategory).reduce((sum, tally) => sum + tally.failures, 0);
  failed += failures;
  console.log(`${engine.name}: ${report.cases} cases, ${failures} failed, ${seconds().toFixed(0)} s. The longest delays:`);
  for (const finding of report.worstDelays) console.log(line(finding));
  console.log("The largest growths:");
  for (const finding of report.worstGrowths) console.log(line(finding));
  if (isWhole) save({ seed, bounds, maxBodyBytes: plan.maxBodyBytes, engines: [report] });
}
process.exitCode = failed === 0 ? 0 : 1;
