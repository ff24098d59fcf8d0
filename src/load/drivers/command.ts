/**
 * A client that is a command: a program in any language that takes an address from its environment and opens streams. It is
 * measured from outside, and more exactly where it records when it saw each token (`FAKEAI_RECORD`).
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monotonicUs } from "../../base/clock.ts";
import { guardGroup } from "../../base/children.ts";
import { clockTickUs, statOf } from "../../base/proc.ts";
import { pinned } from "./stream.ts";

/** One stream as the application saw it; microseconds of the monotonic clock. */
export interface SeenStream {
  /** The `x-client-request-id` that the request had. */
  readonly key: string;
  /** When the application sent the request; 0: never. */
  readonly startUs: number;
  readonly tokens: number;
  /** When the application got each token. */
  readonly tokenUs: readonly number[];
  /** The error that the library threw; null: none. */
  readonly error: string | null;
}

/** The record of a command. Null: it cannot measure that. */
export interface ClientRecord {
  readonly beganUs: number;
  readonly endedUs: number;
  /** User and system time of the process between the two. */
  readonly cpuUs: number | null;
  /** Resident memory before the streams, and while all were open. */
  readonly idleRssBytes: number | null;
  readonly rssBytes: number | null;
  readonly streams: readonly SeenStream[];
}

export interface CommandJob {
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** It is killed after this long. */
  readonly timeoutMs: number;
  /** Sample what its processes use: for a command that may write no record. */
  readonly sampled: boolean;
  readonly cpu: number | null;
  readonly signal: AbortSignal;
}

export interface CommandRun {
  /** Why the run may not be used; null where it ended well. */
  readonly failure: string | null;
  readonly startedUs: number;
  readonly endedUs: number;
  /** Null without a record. */
  readonly record: ClientRecord | null;
  /** Samples of what all of its processes had used. */
  readonly samples: readonly UsageSample[];
}

interface UsageSample {
  readonly atUs: number;
  /** User and system time, of children that have ended too. */
  readonly cpuUs: number;
}

const sampleEveryMs = 100;
/** Samples between two searches for new processes of the group: a search costs more than the samples. */
const lookEvery = 5;

/** Commands that still run. They end with this process, and so do the processes they started. */
const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) end(child);
});

/** Ends a command and all processes it has started: it leads its own process group. */
function end({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, "SIGKILL");
  } catch {
    // It has already ended.
  }
}

/** Runs a command to its end. Never rejects: an error is in the run's `failure`. */
export async function runCommand({ command, env, timeoutMs, sampled, cpu, signal }: CommandJob): Promise<CommandRun> {
  const folder = mkdtempSync(join(tmpdir(), "fakeai-client-"));
  const recordPath = join(folder, "record.jsonl");
  const [program, ...args] = pinned(command, cpu);
  const startedUs = monotonicUs();
  const child = spawn(program!, args, {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...env, FAKEAI_RECORD: recordPath },
    detached: true,
  });
  running.add(child);
  const release = child.pid === undefined ? () => {} : guardGroup(child.pid, folder);
  let complaint = "";
  child.stderr.on("data", (chunk: Buffer) => {
    complaint = `${complaint}${chunk.toString()}`.slice(-4000);
  });
  const samples: UsageSample[] = [];
  let members: readonly string[] = [];
  let looks = 0;
  const sample = (): void => {
    if (child.pid === undefined) return;
    if (looks++ % lookEvery === 0) members = membersOf(child.pid);
    const usage = usageOfAll(members, child.pid);
    if (usage !== null) samples.push({ atUs: monotonicUs(), ...usage });
  };
  const sampler = sampled ? setInterval(sample, sampleEveryMs) : null;
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    end(child);
  }, timeoutMs);
  const onAbort = (): void => end(child);
  signal.addEventListener("abort", onAbort);
  if (signal.aborted) onAbort();
  try {
    const how = await new Promise<string | null>((resolve) => {
      child.on("error", ({ message }) => resolve(message));
      child.on("exit", (code, killedBy) => resolve(code === 0 ? null : `ended by ${killedBy ?? `itself with exit code ${code}`}`));
    });
    const endedUs = monotonicUs();
    // Processes that it left in the background would disturb the next run.
    end(child);
    const said = lastLine(complaint);
    const failure = timedOut ? `did not end within ${Math.round(timeoutMs / 1000)} s and was killed` : how;
    const read = failure === null ? readRecord(recordPath) : null;
    const wrong = typeof read === "string" ? read : null;
    return {
      failure: failure === null ? wrong : `the command ${failure}${said === "" ? "" : `: ${said}`}`,
      startedUs,
      endedUs,
      record: typeof read === "string" ? null : read,
      samples,
    };
  } finally {
    running.delete(child);
    release();
    if (sampler !== null) clearInterval(sampler);
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The line of an error output that says most: the one that names an error, else the last. */
function lastLine(text: string): string {
  const lines = text.split("\n").map((line) => line.trim());
  const line = lines.findLast((one) => /^\w*Error\b/.test(one)) ?? lines.findLast((one) => one !== "") ?? "";
  return line.slice(0, 200);
}

const inGroup = (stat: readonly string[] | null, group: number): stat is readonly string[] => stat !== null && Number(stat[2]) === group;

/** Ids of the processes of a group; none where the system has no /proc. */
function membersOf(group: number): readonly string[] {
  try {
    return readdirSync("/proc").filter((pid) => /^\d+$/.test(pid) && inGroup(statOf(pid), group));
  } catch {
    return [];
  }
}

/** What the processes of a group have used together; null where none is left, or without /proc. */
function usageOfAll(pids: readonly string[], group: number): Omit<UsageSample, "atUs"> | null {
  const tickUs = clockTickUs();
  const stats = pids.map(statOf).filter((stat) => inGroup(stat, group));
  if (tickUs === null || stats.length === 0) return null;
  let ticks = 0;
  // User and system time are fields 14 and 15, those of children that have ended 16 and 17.
  for (const stat of stats) for (const field of [11, 12, 13, 14]) ticks += Number(stat[field]);
  return { cpuUs: ticks * tickUs };
}

const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);
const numberOrNull = (value: unknown): number | null => (isNumber(value) ? value : null);

/** The record of a run; null without one; or in one line why it cannot be used. */
function readRecord(path: string): ClientRecord | string | null {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return null;
  }
  try {
    return parseRecord(text);
  } catch (error) {
    return `the record cannot be used: ${(error as Error).message.split("\n")[0]}`;
  }
}

/**
 * A record: lines of JSON, the first about the run, the others one stream each.
 * @throws Error in one line where the text is no record.
 */
export function parseRecord(text: string): ClientRecord {
  const [head, ...lines] = text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);
  if (head?.["kind"] !== "fakeai.client") throw new Error('its first line is not {"kind":"fakeai.client",...}');
  const { beganUs, endedUs } = head;
  if (!isNumber(beganUs) || !isNumber(endedUs) || endedUs < beganUs) throw new Error("beganUs and endedUs are no span of time");
  const streams = lines.map(({ key, startUs, tokenUs, tokens, error }, i): SeenStream => {
    if (typeof key !== "string" || !isNumber(startUs) || !Array.isArray(tokenUs) || !tokenUs.every(isNumber))
      throw new Error(`line ${i + 2} has no key, startUs and tokenUs`);
    return { key, startUs, tokens: numberOrNull(tokens) ?? tokenUs.length, tokenUs, error: typeof error === "string" ? error : null };
  });
  return {
    beganUs,
    endedUs,
    cpuUs: numberOrNull(head["cpuUs"]),
    idleRssBytes: numberOrNull(head["idleRssBytes"]),
    rssBytes: numberOrNull(head["rssBytes"]),
    streams,
  };
}
