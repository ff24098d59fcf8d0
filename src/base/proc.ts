/** Facts about processes from /proc (proc(5)), in units that do not depend on the kernel's build. */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

/** Fields of a process's `stat`, from the third (state) on; null where the process is gone, or without /proc. */
export function statOf(pid: number | string): readonly string[] | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name before them stands in parentheses and may contain blanks.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  } catch {
    return null;
  }
}

/** Resident memory, bytes; null where it is not known. `statm` counts pages, whose size differs between machines. */
export function rssBytesOf(pid: number): number | null {
  try {
    const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1];
    return kilobytes === undefined ? null : Number(kilobytes) * 1024;
  } catch {
    return null;
  }
}

/** Resident memory of this process, bytes; null where it cannot be read: node opens a file of /proc for it. */
export function ownRssBytes(): number | null {
  try {
    return process.memoryUsage.rss();
  } catch {
    return null;
  }
}

let tickUs: number | null | undefined;

/** The unit of times in `stat`, microseconds; null where the system does not say. Read once. */
export function clockTickUs(): number | null {
  if (tickUs === undefined) {
    const { status, stdout } = spawnSync("getconf", ["CLK_TCK"], { encoding: "utf8", timeout: 5000 });
    const perSecond = Number(stdout);
    tickUs = status === 0 && perSecond > 0 ? 1e6 / perSecond : null;
  }
  return tickUs;
}

/**
 * How many files this process may have open (RLIMIT_NOFILE): the soft limit, which node has raised as far as it may when it
 * started; null where there is none, or the system does not say.
 */
export function openFileLimit(): number | null {
  let soft: string | number | undefined;
  try {
    soft = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "latin1"))?.[1];
  } catch {
    // Without /proc: node's own report asks getrlimit.
    const { userLimits } = process.report.getReport() as { userLimits?: { open_files?: { soft: string | number } } };
    soft = userLimits?.open_files?.soft;
  }
  const limit = Number(soft);
  return limit > 0 ? limit : null;
}

/** Files that this process has open; null where the system does not say. */
export function openFiles(): number | null {
  try {
    // One of them is the folder itself.
    return readdirSync("/dev/fd").length - 1;
  } catch {
    return null;
  }
}
