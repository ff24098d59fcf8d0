/**
 * The one way to every measurement of fakeai itself: `npm run measure` lists them, `npm run measure -- <name> --help` says
 * what one of them takes. Each runs in a process of its own, with the flags of node that it needs.
 *
 * Exit codes: 2 wrong usage, else those of the measurement (1: something was not as it has to be).
 */
import { spawn, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { Command, CommanderError } from "commander";
import { type Measurement, measurements } from "./measurements.ts";

const here = fileURLToPath(new URL(".", import.meta.url));

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

/** Wrong usage in one line: with commander's guess, or else with where the right usage is. */
function complaint(text: string): string {
  const line = text
    .replace(/^error: /, "")
    .replace(/^unknown command/, "unknown measurement")
    .replace(/^command-/, "")
    .trim()
    .replaceAll(/\s*\n\s*/g, " ");
  const see = args[0] !== undefined && Object.hasOwn(measurements, args[0]) ? `npm run measure -- ${args[0]} --help` : "npm run measure";
  return `measure: ${line}${line.endsWith("?)") ? "" : ` (see ${see})`}\n`;
}

const args = process.argv.slice(2);
const program = new Command("npm run measure --")
  .description("Measures fakeai itself. `fakeai bench` measures servers.")
  .usage("<name> [arguments]")
  .helpOption("--help", "what a measurement takes")
  .helpCommand(false)
  .configureHelp({ subcommandTerm: (command) => command.name(), helpWidth: 120 })
  .configureOutput({ outputError: (text, write) => write(complaint(text)) })
  .showSuggestionAfterError()
  .exitOverride();
for (const [name, measurement] of Object.entries(measurements)) {
  const { what, takes, writes, needsBuild } = measurement;
  const command = program.command(name).description(what).helpOption("--help", "this help");
  command.copyInheritedSettings(program);
  measurement.declare?.(command);
  command.addHelpText("after", `\nTakes: ${takes}\nWrites: ${writes}`).action(async () => {
    if (needsBuild) build();
    process.exitCode = await run(measurement, args.slice(1));
  });
}
try {
  if (args.length === 0) program.outputHelp();
  else await program.parseAsync(args, { from: "user" });
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  process.exitCode = error.exitCode === 0 ? 0 : 2;
}
