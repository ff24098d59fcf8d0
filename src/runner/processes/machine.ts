/** The machine: what it is, which cores to use, and what a process on it has used. */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus, loadavg, release, totalmem, type as osType } from "node:os";
import { h2loadVersion } from "../../load/drivers/h2load.ts";
import { clockTickUs, rssBytesOf, statOf } from "../../base/proc.ts";
import { ownVersion } from "../../base/version.ts";
import { proxies } from "../../network/gateways/catalogue.ts";
import { type Gateway, gatewayProgram } from "../../network/gateways/gateway.ts";
import type { Environment } from "../../results/types.ts";

/** What a process has used so far. */
export interface ProcessUsage {
  /** User and system time of all threads. */
  readonly cpuUs: number;
  readonly rssBytes: number;
}

function readFile(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

/** Reads /proc; null where the system has none or the process is gone. */
export function usageOf(pid: number): ProcessUsage | null {
  const rssBytes = rssBytesOf(pid);
  if (rssBytes === null) return null;
  const cpuUs = schedulerTimeUs(pid) ?? tickTimeUs(pid);
  return cpuUs === null ? null : { cpuUs, rssBytes };
}

/** The scheduler's own count, in nanoseconds, summed over the threads: the ticks of `stat` are 10 ms. */
function schedulerTimeUs(pid: number): number | null {
  try {
    let totalNs = 0;
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const text = readFile(`/proc/${pid}/task/${thread}/schedstat`);
      if (text !== null) totalNs += Number(text.split(" ")[0]);
    }
    return totalNs > 0 ? totalNs / 1000 : null;
  } catch {
    return null;
  }
}

function tickTimeUs(pid: number): number | null {
  const stat = statOf(pid);
  const tickUs = clockTickUs();
  // User and system time are fields 14 and 15; `stat` begins with the third.
  return stat === null || tickUs === null ? null : (Number(stat[11]) + Number(stat[12])) * tickUs;
}

/** Cores for the two ends; null where they cannot be kept apart. */
export interface Pinning {
  readonly server: number;
  readonly load: number;
}

/** Two cores that this process may use and that are not two threads of one core where that can be avoided. */
export function choosePinning(): Pinning | null {
  if (spawnSync("taskset", ["--version"], { timeout: 5000, killSignal: "SIGKILL" }).status !== 0) return null;
  const allowed = parseCpuList(/Cpus_allowed_list:\s*(\S+)/.exec(readFile("/proc/self/status") ?? "")?.[1] ?? "");
  const server = allowed[0];
  if (server === undefined || allowed.length < 2) return null;
  const siblings = parseCpuList(readFile(`/sys/devices/system/cpu/cpu${server}/topology/thread_siblings_list`)?.trim() ?? "");
  const load = allowed.find((cpu) => cpu !== server && !siblings.includes(cpu)) ?? allowed[1]!;
  return { server, load };
}

/** "0-2,5" to [0, 1, 2, 5]. */
export function parseCpuList(text: string): number[] {
  return text
    .split(",")
    .filter((part) => /^\d+(-\d+)?$/.test(part))
    .flatMap((part) => {
      const [from, to] = part.split("-").map(Number);
      return Array.from({ length: (to ?? from!) - from! + 1 }, (_, i) => from! + i);
    });
}

/** Version of a package as a module in `from` (a folder, by default ours) would find it; null where it is missing. */
export function packageVersion(name: string, from?: string): string | null {
  // Not by resolving it: a package for `import` alone has nothing that `require` would find.
  for (const folder of createRequire(from === undefined ? import.meta.url : `${from}/index.js`).resolve.paths(name) ?? []) {
    const text = readFile(`${folder}/${name}/package.json`);
    if (text !== null) return (JSON.parse(text) as { version: string }).version;
  }
  return null;
}

function commandVersion(command: string, pattern: RegExp, flag = "--version"): string | null {
  const { status, stdout, stderr } = spawnSync(command, [flag], { encoding: "utf8", timeout: 5000 });
  return status === 0 ? (pattern.exec(`${stdout}${stderr}`)?.[1] ?? "present") : null;
}

function gatewayVersion(gateway: Gateway): string | null {
  const program = gatewayProgram(gateway);
  return program === null ? null : gateway.version(program);
}

/** Versions of everything a bench can use, null where missing. */
export function toolVersions(): Record<string, string | null> {
  return {
    h2load: h2loadVersion(),
    autocannon: packageVersion("autocannon"),
    taskset: commandVersion("taskset", /(\d+\.\d+\S*)/),
    curl: commandVersion("curl", /curl (\S+)/),
    ...Object.fromEntries(Object.entries(proxies).map(([name, gateway]) => [name, gatewayVersion(gateway)])),
  };
}

/** What results were taken on. */
export function describeEnvironment(pinned: boolean, target: string): Environment {
  const kernel = release();
  const distribution = /^PRETTY_NAME="?([^"\n]+)/m.exec(readFile("/etc/os-release") ?? "")?.[1];
  return {
    fakeai: ownVersion(),
    node: process.versions.node,
    os: distribution ?? osType(),
    kernel,
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    memoryBytes: totalmem(),
    loadAverage: loadavg(),
    pinned,
    engines: {
      nghttp2: process.versions["nghttp2"] ?? "unknown",
      openssl: process.versions.openssl,
    },
    tools: toolVersions(),
    target,
  };
}
