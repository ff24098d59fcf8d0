/** From a command line to an exit code: finds the command, shows its help or runs it, and says in one line what went wrong. */
import { UsageError } from "../base/usage-error.ts";
import type { Command } from "./command.ts";
import { commandNamed, commands } from "./commands.ts";
import { commandHelp, programHelp } from "./help.ts";
import { readLine } from "./line.ts";

/** 0: it did what was asked; 1: it could not; 2: wrong usage. Those that a command adds are in its `--help-all`. */
const exitCodes = { done: 0, failed: 1, usage: 2 } as const;

/** Runs a command line, without node and the script, and sets the exit code of the process. */
export async function main(args: readonly string[]): Promise<void> {
  ignoreClosedPipes();
  try {
    process.exitCode = await run(args);
  } catch (error) {
    process.stderr.write(`fakeai: ${complaint(error, args[0])}\n`);
    process.exitCode = error instanceof UsageError ? exitCodes.usage : exitCodes.failed;
  }
}

async function run([name, ...rest]: readonly string[]): Promise<number> {
  if (name === undefined) {
    process.stderr.write(programHelp(commands));
    return exitCodes.usage;
  }
  const first = rest[0];
  if (/^(-h|--help|--help-all)$/.test(name) || (name === "help" && first === undefined)) return print(programHelp(commands));
  if (name === "help") return print(await commandHelp(commandNamed(first!), false));
  const command = commandNamed(name);
  const line = readLine(rest, command, await command.flags());
  if (line.help !== null) return print(await commandHelp(command, line.help === "all"));
  return (await (await command.action())(line)) ?? exitCodes.done;
}

function print(text: string): number {
  process.stdout.write(text);
  return exitCodes.done;
}

/** A reader may leave first (head, a tee that Ctrl-C ends too): the command goes on. */
function ignoreClosedPipes(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
    });
  }
}

/** What went wrong, in one line, with a hint where the system's own words give none. */
function complaint(error: unknown, command: Command["name"] | undefined): string {
  const { code, message } = error as NodeJS.ErrnoException;
  const isProxy = command === "proxy";
  const another = isProxy ? "--listen <port>, or --listen 0" : "--port or --protocol h1:<port>, or :0";
  const address = isProxy ? "--listen" : "--host";
  const hints: Readonly<Record<string, string>> = {
    EADDRINUSE: `the port is taken; choose another with ${another} for a free one`,
    EACCES: "this port needs privileges; choose one above 1023",
    EADDRNOTAVAIL: `this machine has no such address; check ${address}`,
    ENOTFOUND: `the address cannot be resolved; check ${address}`,
    EAI_AGAIN: `the address cannot be resolved now; check ${address}`,
  };
  return code !== undefined && Object.hasOwn(hints, code) ? `${message} (${hints[code]})` : message;
}
