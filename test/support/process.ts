/** Running the built command line. */
import { type ChildProcess, type ChildProcessByStdio, spawn, spawnSync } from "node:child_process";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";
import type { Listening } from "../../src/index.ts";

export const root: string = fileURLToPath(new URL("../../", import.meta.url));
/** test/support/build.ts compiles it before all tests. */
export const cliPath: string = fileURLToPath(new URL("../../dist/cli.js", import.meta.url));

/** Processes that a test has not ended, as when it failed. */
const children = new Set<ChildProcess>();
afterAll(() => {
  for (const child of children) child.kill("SIGKILL");
});

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly child: ChildProcessByStdio<null, Readable, Readable>;
  readonly ended: Promise<Ended>;
  /** The first line on stdout. */
  readonly firstLine: Promise<string>;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly node?: string;
  /** Arguments of node itself. */
  readonly nodeArgs?: readonly string[];
  readonly script?: string;
  readonly cwd?: string;
  /** In a process group of its own, as a shell starts it: a signal for the group is a Ctrl-C. */
  readonly detached?: boolean;
}

export function runCli(
  args: readonly string[],
  { env = {}, node = process.execPath, nodeArgs = [], script = cliPath, cwd, detached = false }: RunOptions = {},
): Running {
  const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("FAKEAI_")));
  const child = spawn(node, [...nodeArgs, script, ...args], {
    env: { ...clean, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached,
    ...(cwd === undefined ? {} : { cwd }),
  });
  children.add(child);
  child.once("exit", () => children.delete(child));
  let stdout = "";
  let stderr = "";
  const firstLine = new Promise<string>((resolve, reject) => {
    child.stdout.on("data", (chunk: Buffer) => {
      stdout += chunk.toString();
      if (stdout.includes("\n")) resolve(stdout.split("\n")[0]!);
    });
    child.on("close", () => reject(new Error(`ended before its first line: ${stderr}`)));
  });
  firstLine.catch(() => {});
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  const ended = new Promise<Ended>((resolve) => child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr })));
  return { child, ended, firstLine };
}

export interface Serving extends Running {
  readonly listening: readonly Listening[];
  readonly caPath: string | null;
  /** SIGTERM, and what came of it. */
  stop(): Promise<Ended>;
}

/** `fakeai serve --json`, ready to be asked. */
export async function serve(args: readonly string[], options: RunOptions = {}): Promise<Serving> {
  const running = runCli(["serve", "--json", ...args], options);
  const { listening, caPath } = JSON.parse(await running.firstLine) as { listening: Listening[]; caPath: string | null };
  return {
    ...running,
    listening,
    caPath,
    stop: () => {
      running.child.kill("SIGTERM");
      return running.ended;
    },
  };
}

/** Whether a tool is there; in CI it has to be. */
export function available(tool: string): boolean {
  const found = spawnSync(tool, ["--version"]).status === 0;
  if (!found && process.env["CI"] === "true") throw new Error(`${tool} is missing: CI has to install it`);
  if (!found) console.warn(`${tool} is not installed: its tests are skipped`);
  return found;
}
