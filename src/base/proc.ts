/** What /proc tells of processes (proc(5)), in units that do not depend on how the kernel was built. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** The fields of a process's `stat` from the third on, state; null where the process is gone or the system has no /proc. */
export function statOf(pid: number | string): readonly string[] | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name before them, in parentheses, may hold blanks.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  } catch {
    return null;
  }
}

/** Resident memory; null where it cannot be known. `statm` would count in pages of the machine's own size. */
export function rssBytesOf(pid: number): number | null {
  try {
    const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1];
    return kilobytes === undefined ? null : Number(kilobytes) * 1024;
  } catch {
    return null;
  }
}

let tickUs: number | null | undefined;

/** The unit of the times in `stat`, microseconds; null where the system does not say. Asked for once. */
export function clockTickUs(): number | null {
  if (tickUs === undefined) {
    const { status, stdout } = spawnSync("getconf", ["CLK_TCK"], { encoding: "utf8", timeout: 5000 });
    const perSecond = Number(stdout);
    tickUs = status === 0 && perSecond > 0 ? 1e6 / perSecond : null;
  }
  return tickUs;
}
