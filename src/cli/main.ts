/** From a command line to an exit code: finds the command, shows its help or runs it, and says in one line what went wrong. */
import { UsageError } from "../base/usage-error.ts";
import { printable } from "../base/printable.ts";
import type { Reached } from "./command.ts";
import { commandNamed, commands } from "./commands.ts";
import { outliveOutputs } from "./terminal.ts";

/** 0: it did what was asked; 1: it could not; 2: wrong usage. Those that a command adds are in its `--help-all`. */
const exitCodes = { done: 0, failed: 1, usage: 2 } as const;

/**
 * Runs a command line, without node and the script, and sets the exit code of the process. `reached` is told when a server
 * listens, before anything is printed, and when it has ended.
 */
export async function main(args: readonly string[], reached: Reached = () => {}): Promise<void> {
  const stdoutHasFailed = outliveOutputs();
  try {
    process.exitCode = await run(args, reached);
  } catch (error) {
    process.stderr.write(`fakeai: ${printable(complaint(error, args[0]))}\n`);
    process.exitCode = error instanceof UsageError ? exitCodes.usage : exitCodes.failed;
  }
  // Told only after the turn in which it was written.
  await new Promise((resolve) => setImmediate(resolve));
  if (stdoutHasFailed()) process.exitCode ||= exitCodes.failed;
}

async function run([name, ...rest]: readonly string[], reached: Reached): Promise<number> {
  if (name === undefined) {
    const { programHelp } = await import("./help.ts");
    process.stderr.write(programHelp(commands));
    return exitCodes.usage;
  }
  if (/^(-h|--help|--help-all)$/.test(name)) return await help(undefined, false);
  if (name === "help") return await help(rest[0], false);
  const command = await commandNamed(name);
  const { readLine } = await import("./line.ts");
  const line = await readLine(rest, command, await command.flags());
  if (line.help !== null) return await help(name, line.help === "all");
  const action = await command.action();
  return (await action(line, reached)) ?? exitCodes.done;
}

/** Prints the help of a command, or the program's. */
async function help(name: string | undefined, all: boolean): Promise<number> {
  const { commandHelp, programHelp } = await import("./help.ts");
  process.stdout.write(name === undefined ? programHelp(commands) : await commandHelp(await commandNamed(name), all));
  return exitCodes.done;
}

/** What went wrong, in one line, with a hint where the system's own words give none. */
function complaint(error: unknown, command: string | undefined): string {
  const { code, message, syscall } = error as NodeJS.ErrnoException;
  const isProxy = command === "proxy";
  const another = isProxy ? "--listen <port>, or --listen 0" : "--port or --protocol h1:<port>, or :0";
  const address = isProxy ? "--listen" : "--host";
  const toListen: Readonly<Record<string, string>> = {
    EADDRINUSE: `the port is taken; choose another with ${another} for a free one`,
    EACCES: "this port needs privileges; choose one above 1023",
    EADDRNOTAVAIL: `this machine has no such address; check ${address}`,
  };
  const toResolve: Readonly<Record<string, string>> = {
    ENOTFOUND: `the address cannot be resolved; check ${address}`,
    EAI_AGAIN: `the address cannot be resolved now; check ${address}`,
  };
  // By what failed: files and clients have the same codes, and other cures.
  const hints = syscall === "listen" || syscall === "bind" ? toListen : syscall === "getaddrinfo" ? toResolve : {};
  return code !== undefined && Object.hasOwn(hints, code) ? `${message} (${hints[code]})` : message;
}
