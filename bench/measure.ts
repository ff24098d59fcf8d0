/**
 * The one way to every measurement of fakeai itself: `npm run measure` lists them, `npm run measure -- <name> --help` says
 * what one of them takes. Each runs in a process of its own, with the flags of node that it needs.
 *
 * Exit codes: 2 wrong usage, else those of the measurement (1: something was not as it has to be).
 */
import { spawn, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { UsageError } from "../src/base/usage-error.ts";
import { didYouMean } from "../src/base/guess.ts";
import { type Measurement, measurements } from "./measurements.ts";

const here = fileURLToPath(new URL(".", import.meta.url));
const see = (name: string): string => ` (see npm run measure -- ${name} --help)`;

/** Terms and what they mean, in two columns. */
function columns(rows: readonly (readonly [term: string, meaning: string])[]): string {
  const width = Math.max(...rows.map(([term]) => term.length));
  return rows.map(([term, meaning]) => `  ${term.padEnd(width)}  ${meaning}\n`).join("");
}

const flagForm = ({ name, takes }: { name: string; takes?: string }): string => `${name}${takes === undefined ? "" : ` <${takes}>`}`;

function list(): string {
  const rows = Object.entries(measurements).map(([name, { what }]) => [name, what] as const);
  return `Usage: npm run measure -- <name> [arguments]

Measures fakeai itself. \`fakeai bench\` measures servers.

${columns(rows)}
npm run measure -- <name> --help says what one of them takes.
`;
}

function help(name: string, { what, takes, writes, arguments: named = [], flags = [] }: Measurement): string {
  const forms = named.map(({ name: argument, isRequired, isRepeatable }) => {
    const form = `${argument}${isRepeatable ? "..." : ""}`;
    return isRequired ? `<${form}>` : `[${form}]`;
  });
  const rows = [
    ...named.map(
      ({ name: argument, help: text, choices }) => [argument, choices === undefined ? text : `${text}: ${choices.join(", ")}`] as const,
    ),
    ...flags.map((flag) => [flagForm(flag), flag.help] as const),
  ];
  return `Usage: npm run measure -- ${[name, ...forms, ...(flags.length === 0 ? [] : ["[flags]"])].join(" ")}

${what.slice(0, 1).toUpperCase()}${what.slice(1)}.

${rows.length === 0 ? "" : `${columns(rows)}\n`}Takes ${takes}. Its figures go to ${writes}.
`;
}

/** Throws UsageError for what the measurement does not take. */
function check(name: string, { arguments: named = [], flags = [] }: Measurement, args: readonly string[]): void {
  const options = flags.map((flag) => [flag.name.slice(2), { type: flag.takes === undefined ? "boolean" : "string" }] as const);
  const { tokens } = parseArgs({
    args: [...args],
    options: Object.fromEntries(options),
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const values = tokens.flatMap((token) => (token.kind === "positional" ? [token.value] : []));
  for (const token of tokens) {
    if (token.kind !== "option") continue;
    const flag = flags.find((known) => known.name === token.rawName);
    const guess = didYouMean(
      token.rawName,
      flags.map((known) => known.name),
    );
    if (flag === undefined) throw new UsageError(`unknown option ${token.rawName}${guess || see(name)}`);
    if ((flag.takes === undefined) !== (token.value === undefined)) {
      throw new UsageError(`${flagForm(flag)} ${flag.takes === undefined ? "takes no value" : "needs a value"}${see(name)}`);
    }
  }
  const missing = named[values.length];
  if (missing?.isRequired) throw new UsageError(`missing argument <${missing.name}>: ${missing.help}${see(name)}`);
  for (const [index, value] of values.entries()) {
    const argument = named[index] ?? named.findLast(({ isRepeatable }) => isRepeatable);
    if (argument === undefined) throw new UsageError(`unexpected argument ${JSON.stringify(value)}${see(name)}`);
    const { choices = [value] } = argument;
    if (!choices.includes(value)) {
      throw new UsageError(`${argument.name} ${JSON.stringify(value)} is not one of ${choices.join(", ")}${didYouMean(value, choices)}`);
    }
  }
}

function build(): void {
  const { status } = spawnSync("npm", ["run", "build", "--silent"], { cwd: `${here}..`, stdio: "inherit" });
  if (status !== 0) throw new Error("the build failed");
}

/** Runs a measurement to its end. Resolves to its exit code; 128 and more: it ended by a signal. */
function run({ module, nodeFlags = [] }: Measurement, args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...nodeFlags, "--import", "tsx", `${here}${module}`, ...args], { stdio: "inherit" });
    child.once("error", reject);
    child.once("exit", (code, signal) => resolve(code ?? (signal === "SIGINT" ? 130 : 143)));
    // A terminal sends Ctrl-C to both. The measurement stops its servers, and ends first.
    process.on("SIGINT", () => {});
    process.on("SIGTERM", () => child.kill("SIGTERM"));
  });
}

async function main([name, ...args]: readonly string[]): Promise<number> {
  if (name === undefined || name === "--help") {
    process.stdout.write(list());
    return 0;
  }
  const measurement = Object.hasOwn(measurements, name) ? measurements[name] : undefined;
  if (measurement === undefined) {
    const guess = didYouMean(name, Object.keys(measurements));
    throw new UsageError(`no measurement ${JSON.stringify(name)}${guess || " (npm run measure lists them)"}`);
  }
  if (args.includes("--help")) {
    process.stdout.write(help(name, measurement));
    return 0;
  }
  check(name, measurement, args);
  if (measurement.needsBuild) build();
  return run(measurement, args);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`measure: ${error.message}\n`);
  process.exitCode = 2;
}
