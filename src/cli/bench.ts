import { createWriteStream, mkdirSync, type WriteStream, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Command, Command as Program, Option } from "commander";
import { UsageError } from "../base/usage-error.ts";
import { renderHtml } from "../report/html.ts";
import { renderTable } from "../report/table.ts";
import { compareResults } from "../results/runs.ts";
import { readResult, writeResult } from "../results/store.ts";
import type { BenchResult } from "../results/types.ts";
import { runBench, suiteLabel } from "../runner/bench.ts";
import type { Observer } from "../runner/arms.ts";
import { type BenchInput, resolveBench } from "../runner/plan/options.ts";
import { shippedScenarios } from "../runner/plan/scenario.ts";
import { listenForInterruption } from "./interruption.ts";
import { Progress } from "./progress.ts";
import { addNetworkFlags } from "./proxy.ts";
import { describeComparison } from "./results.ts";

const examples = `
Examples:
  fakeai bench                                       the quick suite, under two minutes
  fakeai bench --protocol h2                         one protocol: figures with intervals, no comparison
  fakeai bench --scenario mux-scale --streams 200
  fakeai bench --url https://api.example.com/v1 --model some-model --scenario stream --streams 4 --requests 8
  fakeai bench --trace AzureLLMInferenceTrace_conv.csv --speed 10
  fakeai bench --driver client --client openai --client undici
  fakeai bench --driver client --client-cmd "python3 my_client.py"
  fakeai bench --require 'stream/h2c/ttft.p99<150ms' --baseline results/main/result.json

Exit codes: 0 good (refuted claims too), 1 a requirement is not met or something got worse than --baseline, 2 wrong usage,
3 a run is invalid (failed or lost requests, another protocol than asked for, what a driver would measure wrongly such as
pipelining, a generator at its limit), 130 interrupted (143 by SIGTERM, 129 by SIGHUP): what was measured is written and
marked incomplete.`;

const list = (text: string, previous: readonly string[] | undefined): string[] => [...(previous ?? []), text];

/** Flags of `fakeai bench`: name with its argument, help. */
const flags: readonly (readonly [flags: string, help: string])[] = [
  ["--suite <name>", "quick (default) or full"],
  ["--protocol <list>", "only these of h1,h1s,h2c,h2"],
  ["--url <address>", "an OpenAI-compatible server in place of our own; https: means h1s and h2, http: h1 and h2c"],
  ["--model <name>", "model to ask for (default fakeai)"],
  ["--endpoint <path>", "chat (default), completions, or a path"],
  ["--input-tokens <n>", "tokens of a prompt, at four characters each"],
  ["--output-tokens <n>", "tokens of an answer"],
  ["--body <file>", "JSON file sent as every request"],
  ["--cacert <file>", "PEM file of what to trust, with --url"],
  ["--insecure", "trust any certificate, with --url"],
  ["--driver <name>", "stream, h2load or autocannon in place of the scenario's own; client: measure client libraries"],
  ["--connections <n>", "connections of every arm"],
  ["--streams <n>", "requests in flight at once"],
  ["--rate <n>", "open loop: requests per second, Poisson"],
  ["--requests <n>", "requests of a round"],
  ["--duration <s>", "length of a round, in place of --requests"],
  ["--ttft <spec>", "time to first token of our server, as fakeai serve takes it"],
  ["--itl <spec>", "inter-token latency of our server"],
  ["--warmup <n>", "requests before each round that are thrown away"],
  ["--rounds <n>", "rounds (default 5); under 2 there are no intervals"],
  ["--seed <n>", "decides prompts, answers, arrivals and the order of arms (default 1)"],
  ["--timeout <s>", "a request without a byte for this long has failed (default 10, with --url 30)"],
  ["--trace <file>", "replay an Azure LLM CSV or a Mooncake JSONL, open loop, on each protocol"],
  ["--speed <x>", "replay this many times as fast"],
  ["--limit <n>", "replay the first n requests only"],
  ["--via <address>", "the same calls direct (--url) and through this gateway"],
  ["--delay <ms>", "the same as --rtt"],
  ["--out <dir>", "where result.json and report.html go (default results/runs/<time>-<suite>)"],
  ["--json", "the result as JSON on stdout"],
  ["--details", "every request with its token times, in requests.jsonl"],
  ["--baseline <file>", "an earlier result.json to compare with"],
  ["--list", "list the scenarios and end"],
];

interface BenchFlags extends BenchInput {
  readonly out?: string;
  readonly json?: boolean;
  readonly details?: boolean;
  readonly baseline?: string;
  readonly list?: boolean;
}

export function benchCommand(): Command {
  const command = new Program("bench").description("compare protocols, and say how sure the comparison is");
  for (const [name, help] of flags) command.addOption(new Option(name, help));
  addNetworkFlags(command);
  return command
    .addOption(new Option("--scenario <name|file>", "a scenario in place of a suite, repeatable").argParser(list))
    .addOption(new Option("--client <name>", "with --driver client, repeatable: openai, undici, ... or all").argParser(list))
    .addOption(new Option("--client-cmd <command>", "with --driver client, repeatable: any command that opens streams").argParser(list))
    .addOption(new Option("--api-key <key>", "sent to --url as a bearer token, never written").env("OPENAI_API_KEY"))
    .addOption(new Option("--header <line>", 'a header of every request, repeatable: "name: value"').argParser(list))
    .addOption(new Option("--require <text>", 'fail unless it holds, repeatable: "[scenario/][arm/]ttft.p99<150ms"').argParser(list))
    .addHelpText("after", examples)
    .action(async () => {
      process.exitCode = await bench(command);
    });
}

async function bench(command: Command): Promise<number> {
  const given = command.opts<BenchFlags>();
  if (given.list) {
    process.stdout.write(describeScenarios());
    return 0;
  }
  const options = resolveBench(given);
  const baseline = given.baseline === undefined ? null : await readEarlier(given.baseline);
  const progress = new Progress(process.stderr);
  const directory = given.out ?? join("results", "runs", `${timeName(new Date())}-${suiteLabel(options)}`);
  const interruption = listenForInterruption(
    () => progress.notice("interrupted: writing what was measured (again to end at once)"),
    () => progress.notice("ended at once: no result was written"),
  );
  let details: WriteStream | null = null;
  const observer: Observer = {
    progress: (text) => progress.update(text),
    notice: (text) => progress.notice(text),
    detail: (where, detail) => {
      if (details === null) {
        mkdirSync(directory, { recursive: true });
        details = createWriteStream(join(directory, "requests.jsonl"));
      }
      details.write(`${JSON.stringify({ ...where, ...detail })}\n`);
    },
  };
  let result: BenchResult;
  try {
    result = await runBench({
      options,
      command: ["fakeai", "bench", ...shownArguments(command)],
      details: given.details ?? false,
      observer,
      signal: interruption.signal,
    });
  } finally {
    progress.end();
    await ended(details);
  }
  await writeResult(directory, result);
  const report = join(directory, "report.html");
  writeFileSync(report, renderHtml(result));
  const comparison = baseline === null ? null : compareResults(baseline, result);
  if (given.json) process.stdout.write(`${JSON.stringify(result)}\n`);
  else {
    process.stdout.write(`${renderTable(result, { color: usesColor(), width: process.stdout.columns ?? 100 })}\n`);
    if (comparison !== null) process.stdout.write(`${describeComparison(comparison)}\n`);
    process.stdout.write(`result: ${join(directory, "result.json")}\nreport: ${report}\n`);
  }
  for (const reason of result.invalid.slice(0, 20)) process.stderr.write(`fakeai: invalid: ${reason}\n`);
  if (result.invalid.length > 20) process.stderr.write(`fakeai: and ${result.invalid.length - 20} more in result.json\n`);
  for (const { text } of result.requirements.filter(({ met }) => !met)) process.stderr.write(`fakeai: not met: ${text}\n`);
  interruption.end();
  // What hangs is not waited for.
  if (!result.complete && interruption.exitCode !== null) process.exit(interruption.exitCode);
  if (!result.complete || result.invalid.length > 0) return 3;
  const regressed = comparison !== null && comparison.regressions.length > 0;
  return regressed || result.requirements.some(({ met }) => !met) ? 1 : 0;
}

/** Everything that was written is in the file. */
function ended(stream: WriteStream | null): Promise<void> {
  return new Promise((resolve) => {
    if (stream === null) resolve();
    else stream.end(resolve);
  });
}

export function usesColor(): boolean {
  return process.stdout.isTTY && process.env["NO_COLOR"] === undefined;
}

async function readEarlier(path: string): Promise<BenchResult> {
  try {
    return await readResult(path);
  } catch (error) {
    throw new UsageError(`--baseline: ${(error as Error).message}`);
  }
}

/** "2026-11-24T10-15-00", in local time: a name that sorts and that every file system takes. */
function timeName(date: Date): string {
  const two = (value: number): string => String(value).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}T${two(date.getHours())}-${two(date.getMinutes())}-${two(date.getSeconds())}`;
}

/** The flags as given, for the record: without the key, and without the values of headers. */
export function shownArguments(command: Command): string[] {
  return command.options.flatMap((option) => {
    const key = option.attributeName();
    const value: unknown = command.opts()[key];
    if (value === undefined || command.getOptionValueSource(key) !== "cli") return [];
    if (value === true) return [option.long!];
    const values = [value as string | string[]].flat();
    return values.flatMap((text) => [option.long!, key === "apiKey" ? "***" : key === "header" ? `${text.split(":")[0]}: ***` : text]);
  });
}

function describeScenarios(): string {
  const lines = shippedScenarios().flatMap(({ id, title, isolates, variants, claims = [] }) => [
    `${id.padEnd(20)} ${title}`,
    `${"".padEnd(20)} isolates: ${isolates}`,
    ...variants.map(({ name, suites }) => `${"".padEnd(20)} - ${name} (${suites.join(", ") || "by name only"})`),
    ...claims.map(({ text }) => `${"".padEnd(20)} claim: ${text}`),
  ]);
  return `${lines.join("\n")}\n`;
}
