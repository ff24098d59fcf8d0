/** Running the audited command: its placeholders, its environment, what it prints and writes, and what it has of the machine. */
import { spawn } from "node:child_process";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { boundToUs, guardGroup } from "../base/children.ts";
import { statOf } from "../base/proc.ts";
import { UsageError } from "../base/usage-error.ts";
import type { Machine } from "./types.ts";

export const placeholders = ["url", "base", "model", "out", "concurrency", "rate", "requests", "seconds"] as const;

/** A value for each placeholder. */
export type Values = Readonly<Record<(typeof placeholders)[number], string>>;

const placeholder = new RegExp(`\\{(${placeholders.join("|")})\\}`, "g");

/** The words with their placeholders filled. Other braces, as JSON has them, stay. */
export function filled(words: readonly string[], values: Values): string[] {
  return words.map((word) => word.replace(placeholder, (_, name: keyof Values) => values[name]));
}

/** Whether a command has a placeholder. */
export function hasPlaceholder(words: readonly string[], name: (typeof placeholders)[number]): boolean {
  return words.some((word) => word.includes(`{${name}}`));
}

/** A file that the command wrote. */
export interface WrittenFile {
  readonly path: string;
  /** Its text, read when it is asked for. */
  text(): string;
}

/** What a run of the command left. */
export interface CommandRun {
  readonly stdout: string;
  readonly stderr: string;
  /** Files written since it began, in {out} first, the newest first. */
  readonly files: readonly WrittenFile[];
  /** null: a signal ended it. */
  readonly exitCode: number | null;
  /** Whether it was ended for taking too long. */
  readonly isOverdue: boolean;
  readonly wallS: number;
  /** null: the system does not tell. */
  readonly machine: Machine | null;
}

export interface CommandOptions {
  readonly words: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Folder for its files: {out}. */
  readonly out: string;
  /** It is ended after this. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Characters of stdout and of stderr that are kept. */
const mostPrinted = 16_000_000;
/** Milliseconds between two looks at the processes. */
const lookEveryMs = 200;
/** How long a group has after SIGTERM. */
const graceMs = 2000;

/** Runs it to its end. Rejects with UsageError where it cannot be started. */
export async function runCommand({ words, env, out, timeoutMs, signal }: CommandOptions): Promise<CommandRun> {
  const startedMs = Date.now();
  const begunMs = performance.now();
  const child = boundToUs(
    spawn(words[0]!, words.slice(1), { stdio: ["ignore", "pipe", "pipe"], detached: true, env: { ...process.env, ...env } }),
  );
  const text = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (chunk: string) => {
      if (text[name].length < mostPrinted) text[name] += chunk;
    });
  }
  const ended = new Promise<{ code: number | null }>((resolve, reject) => {
    child.on("error", (error: NodeJS.ErrnoException) =>
      reject(
        new UsageError(`cannot start ${words[0]!} (${error.code ?? error.message}): the command after -- is the tool and its arguments`),
      ),
    );
    child.on("close", (code) => resolve({ code }));
  });
  const group = child.pid;
  const unguard = group === undefined ? () => {} : guardGroup(group);
  const watch = group === undefined ? null : new GroupWatch(group);
  let isOverdue = false;
  let hard: NodeJS.Timeout | null = null;
  const end = (): void => {
    signalGroup(group, "SIGTERM");
    hard ??= setTimeout(() => signalGroup(group, "SIGKILL"), graceMs);
  };
  const overdue = setTimeout(() => {
    isOverdue = true;
    end();
  }, timeoutMs);
  signal.addEventListener("abort", end);
  try {
    const { code } = await ended;
    const wallS = (performance.now() - begunMs) / 1000;
    return {
      ...text,
      files: [...filesIn(out, startedMs, 6), ...filesIn(process.cwd(), startedMs, 3)],
      exitCode: code,
      isOverdue,
      wallS,
      machine: watch?.machine(wallS) ?? null,
    };
  } finally {
    clearTimeout(overdue);
    if (hard !== null) clearTimeout(hard);
    signal.removeEventListener("abort", end);
    watch?.stop();
    // What it left behind in its group would load the next run.
    signalGroup(group, "SIGKILL");
    unguard();
  }
}

function signalGroup(group: number | undefined, name: NodeJS.Signals): void {
  if (group === undefined) return;
  try {
    process.kill(-group, name);
  } catch {
    // Nothing of it is left.
  }
}

interface ThreadUse {
  readonly cpuNs: number;
  readonly waitNs: number;
  readonly turns: number;
}

/** Adds up what the threads of a process group have of the cores (proc(5): schedstat). The last fifth of a second may be missing. */
class GroupWatch {
  readonly #group: number;
  readonly #threads = new Map<string, ThreadUse>();
  readonly #others = new Set<string>();
  readonly #timer: NodeJS.Timeout;

  constructor(group: number) {
    this.#group = group;
    this.#timer = setInterval(() => this.#look(), lookEveryMs);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  machine(wallS: number): Machine | null {
    if (this.#threads.size === 0) return null;
    let [cpuNs, waitNs, turns] = [0, 0, 0];
    for (const use of this.#threads.values()) {
      cpuNs += use.cpuNs;
      waitNs += use.waitNs;
      turns += use.turns;
    }
    const round = (value: number): number => Math.round(value * 1000) / 1000;
    return {
      cores: round(cpuNs / 1e9 / wallS),
      waiting: cpuNs + waitNs > 0 ? round(waitNs / (cpuNs + waitNs)) : 0,
      waitMs: turns > 0 ? round(waitNs / turns / 1e6) : 0,
    };
  }

  #look(): void {
    for (const pid of entriesOf("/proc")) {
      if (!/^\d+$/.test(pid) || this.#others.has(pid)) continue;
      // Process group: the fifth field, and `stat` begins with the third.
      const stat = statOf(pid);
      if (stat === null) continue;
      if (Number(stat[2]) !== this.#group) {
        this.#others.add(pid);
        continue;
      }
      for (const thread of entriesOf(`/proc/${pid}/task`)) this.#read(pid, thread);
    }
  }

  #read(pid: string, thread: string): void {
    try {
      const [cpuNs = 0, waitNs = 0, turns = 0] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "latin1").split(" ").map(Number);
      this.#threads.set(`${pid}/${thread}`, { cpuNs, waitNs, turns });
    } catch {
      // It has ended.
    }
  }
}

function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Files of one run are few; a working directory may hold anything. */
const mostEntries = 5000;
const mostFileBytes = 67_108_864;
const passedOver: ReadonlySet<string> = new Set(["node_modules", ".git"]);

/** Files that were changed since a time, the newest first. */
function filesIn(folder: string, sinceMs: number, depth: number): WrittenFile[] {
  const found: { path: string; changedMs: number }[] = [];
  let left = mostEntries;
  const visit = (place: string, levels: number): void => {
    for (const name of entriesOf(place)) {
      if (--left < 0) return;
      const path = join(place, name);
      const stats = statSync(path, { throwIfNoEntry: false });
      if (stats?.isDirectory() === true && levels > 0 && !passedOver.has(basename(path))) visit(path, levels - 1);
      // File systems keep times of a few milliseconds.
      else if (stats?.isFile() === true && stats.mtimeMs >= sinceMs - 20 && stats.size > 0 && stats.size <= mostFileBytes)
        found.push({ path, changedMs: stats.mtimeMs });
    }
  };
  visit(folder, depth);
  return found
    .toSorted((a, b) => b.changedMs - a.changedMs)
    .map(({ path }) => {
      let text: string | null = null;
      return { path, text: () => (text ??= readFileSync(path, "utf8")) };
    });
}
