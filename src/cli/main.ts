/** The table of commands, and what their errors become: one line, an exit code. */
import { readFileSync } from "node:fs";
import { Command, CommanderError, Help } from "commander";
import { UsageError } from "../base/usage-error.ts";

/** Each command's module is loaded when it is asked for: a server starts without the libraries of a bench. */
const commands: readonly (readonly [name: string, load: () => Promise<Command>])[] = [
  ["serve", async () => (await import("./serve.ts")).serveCommand()],
  ["bench", async () => (await import("./bench.ts")).benchCommand()],
  ["proxy", async () => (await import("./proxy.ts")).proxyCommand()],
  ["proxy-config", async () => (await import("./proxy-config.ts")).proxyConfigCommand()],
  ["compare", async () => (await import("./results.ts")).compareCommand()],
  ["merge", async () => (await import("./results.ts")).mergeCommand()],
  ["report", async () => (await import("./results.ts")).reportCommand()],
  ["doctor", async () => (await import("./doctor.ts")).doctorCommand()],
];

/** Exit codes: 0 good, 1 could not run, 2 wrong usage; those of `fakeai bench` are in its help. */
export async function main(args: readonly string[]): Promise<void> {
  // Whoever reads may leave first (head, a tee that Ctrl-C ends too); what is being done goes on without a word.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
    });
  }
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string };
  const program = new Command("fakeai")
    .description("The load and performance testbench for everything that talks to LLMs")
    .version(version)
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(complaint(text, args[0])) })
    // Names such as FAKEAI_TTFT follow from the flags'; the help says so once.
    .configureHelp({
      optionDescription: (option) => (option.envVar?.startsWith("FAKEAI_") ? option.description : new Help().optionDescription(option)),
    })
    .showSuggestionAfterError();
  const named = commands.filter(([name]) => name === args[0]);
  for (const [, load] of named.length > 0 ? named : commands) program.addCommand(await load());
  for (const command of program.commands) command.copyInheritedSettings(program);
  try {
    await program.parseAsync(args, { from: "user" });
  } catch (error) {
    process.exitCode = exitCodeOf(error, args[0]);
  }
}

/** What commander says of wrong usage, in one line: with its suggestion, or else with where the right usage stands. */
function complaint(text: string, first: string | undefined): string {
  const line = text
    .replace(/^error: /, "")
    .trim()
    .replace(/\s*\n\s*/g, " ");
  const command = commands.some(([name]) => name === first) ? ` ${first}` : "";
  return `fakeai: ${line}${line.endsWith("?)") ? "" : ` (see fakeai${command} --help)`}\n`;
}

function exitCodeOf(error: unknown, command: string | undefined): number {
  // commander has printed its own complaint, or the help or version that was asked for.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  const { code, message } = error as NodeJS.ErrnoException;
  if (error instanceof UsageError) {
    process.stderr.write(`fakeai: ${message}\n`);
    return 2;
  }
  const isProxy = command === "proxy";
  const another = isProxy ? "--listen <port>, or --listen 0" : "--port or --protocol h1:<port>, or :0";
  const address = isProxy ? "--listen" : "--host";
  const hints: Record<string, string> = {
    EADDRINUSE: `the port is taken; choose another with ${another} for a free one`,
    EACCES: "this port needs privileges; choose one above 1023",
    EADDRNOTAVAIL: `this machine has no such address; check ${address}`,
    ENOTFOUND: `the address cannot be resolved; check ${address}`,
    EAI_AGAIN: `the address cannot be resolved now; check ${address}`,
  };
  const hint = code !== undefined && Object.hasOwn(hints, code) ? ` (${hints[code]})` : "";
  process.stderr.write(`fakeai: ${message}${hint}\n`);
  return 1;
}
