/** Servers under measurement: each a process of its own, on a core of its own where that is asked for. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Of the repository. */
export const root: string = fileURLToPath(new URL("../../", import.meta.url));
export const cliPath: string = fileURLToPath(new URL("../../dist/cli.js", import.meta.url));

/** Whether processes can be bound to cores here. */
export const canPin: boolean = spawnSync("taskset", ["--version"]).status === 0;

/** A process that serves. */
export interface Served {
  readonly pid: number;
  /** What it wrote to stdout until it was ready. */
  readonly line: string;
  /** Milliseconds from spawning it to that. */
  readonly readyMs: number;
  /** Resolves when it has ended. */
  readonly ended: Promise<void>;
  stop(): Promise<void>;
}

export interface StartOptions {
  /** The core that it has to stay on; null: any. */
  readonly core: number | null;
  readonly env?: NodeJS.ProcessEnv;
}

/** Servers that run. One that is stopped by SIGSTOP does not end with this process by itself, not even by Ctrl-C. */
const children = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});
for (const [signal, status] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const) {
  process.once(signal, () => process.exit(status));
}

/** Starts a program. It ends with this process at the latest. */
export function spawnOnCore(program: readonly string[], stdout: "pipe" | "ignore", { core, env = {} }: StartOptions): ChildProcess {
  const command = [...(core === null ? [] : ["taskset", "-c", String(core)]), ...program];
  const stdio = ["ignore", stdout, stdout === "pipe" ? "inherit" : "ignore"] as const;
  const child = spawn(command[0]!, command.slice(1), { stdio: [...stdio], env: { ...process.env, ...env } });
  children.add(child);
  child.once("exit", () => children.delete(child));
  return child;
}

/** How to wait for the end of a child, and how to bring it about. */
export function endOf(child: ChildProcess): Pick<Served, "ended" | "stop"> {
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  return {
    ended,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** Starts node with these arguments. Resolves with its first line on stdout; rejects when there is none within 20 s. */
export async function startNode(name: string, args: readonly string[], options: StartOptions): Promise<Served> {
  const startedMs = performance.now();
  const child = spawnOnCore([process.execPath, ...args], "pipe", options);
  const end = endOf(child);
  try {
    const line = await firstLine(child);
    return { pid: child.pid!, line, readyMs: performance.now() - startedMs, ...end };
  } catch (error) {
    await end.stop();
    throw new Error(`${name} did not start: ${(error as Error).message}`, { cause: error });
  }
}

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    child.stdout!.on("data", (chunk) => {
      text += String(chunk);
      if (text.includes("\n")) resolve(text);
    });
    child.once("exit", (code) => reject(new Error(`it ended with ${String(code)}`)));
    setTimeout(() => reject(new Error("nothing on stdout in 20 s")), 20_000).unref();
  });
}

/** The first address in what `fakeai serve --json` says. */
export const urlIn = (line: string): string => (JSON.parse(line) as { listening: { url: string }[] }).listening[0]!.url;

/** `fakeai serve` with these flags, as it was built. */
export async function serveFakeai(flags: readonly string[], core: number | null): Promise<Served & { readonly url: string }> {
  const served = await startNode("fakeai serve", [cliPath, "serve", "--json", ...flags], { core });
  return { ...served, url: urlIn(served.line) };
}
