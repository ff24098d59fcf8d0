/**
 * What else the machine did during a round, and the rule that leaves a disturbed round out.
 *
 * Read at both ends of the measured part: /proc/stat (CPU time by kind), /proc/<pid>/stat of this process and its descendants
 * (theirs, to be taken off), /proc/<pid>/schedstat (run-queue delay; Documentation/scheduler/sched-stats.rst). Both ends tell
 * themselves of their pauses. Without /proc a figure is null, and no rule applies to it.
 */
import { readdirSync, readFileSync } from "node:fs";
import { monotonicUs } from "../../base/clock.ts";
import type { Pauses } from "../../base/pauses.ts";
import { clockTickUs } from "../../base/proc.ts";
import type { MachineLoad } from "../../results/types.ts";

/**
 * The rule, fixed beforehand: a round is disturbed where one of these is passed. Chosen by measurement: docs/bench.md has the
 * figures of quiet and of disturbed rounds.
 */
export const limits = {
  /** Share of all cores' time that other processes took, where a process of ours waited too. */
  othersCpuShare: 0.1,
  /** Share of the round that the server or the load stood in the run queue. Waiting for each other is no disturbance. */
  waitShare: 0.05,
  /** The share of others alone, where no wait is known: a server elsewhere, a load by a tool. */
  othersCpuShareAlone: 0.25,
  /** Share of all cores' time that the hypervisor gave to other machines. */
  stealShare: 0.05,
  /** Shares of a shorter time say nothing: the kernel counts CPU time in ticks of 10 ms. */
  watchedUs: 100_000,
  /** A single pause, and all of them as a share of the round. */
  pauseUs: 50_000,
  pausedShare: 0.05,
} as const;

/** Counts since boot or since a process began, at one moment. */
interface Moment {
  readonly atUs: number;
  readonly cores: number;
  /** User, nice and system time of all cores. Interrupts are left out: those of loopback are ours. */
  readonly busyUs: number;
  readonly stealUs: number;
  /** CPU time of this process and its descendants, ended children included. */
  readonly oursUs: number;
  /** Time in the run queue of the main thread, by process. */
  readonly waitUs: ReadonlyMap<number, number>;
}

/** The processes whose delay is looked at; null: not known, or not here. */
export interface Watched {
  readonly server: number | null;
  readonly load: number | null;
}

/** What both ends tell of themselves. */
export interface Told {
  readonly server: Pauses | null;
  readonly load: Pauses | null;
  /** Length of the measured part. */
  readonly durationUs: number;
  /** false: CPU time of others holds that of a server that is measured. */
  readonly othersKnown: boolean;
}

export interface WatchOptions {
  /** Where /proc is; another place in tests. */
  readonly proc?: string;
  /** The process that all of ours descend from. */
  readonly root?: number;
  readonly nowUs?: () => number;
  readonly tickUs?: number | null;
}

/** Watches the machine over one measured part. */
export class MachineWatch {
  readonly #proc: string;
  readonly #root: number;
  readonly #nowUs: () => number;
  readonly #tickUs: number | null;
  #from: Moment | null = null;
  #to: Moment | null = null;

  constructor({ proc = "/proc", root = process.pid, nowUs = monotonicUs, tickUs = clockTickUs() }: WatchOptions = {}) {
    this.#proc = proc;
    this.#root = root;
    this.#nowUs = nowUs;
    this.#tickUs = tickUs;
  }

  begin(watched: Watched): void {
    this.#from = this.#look(watched);
  }

  end(watched: Watched): void {
    this.#to = this.#look(watched);
  }

  /** What the machine did between `begin` and `end`. */
  load({ server, load }: Watched, told: Told): MachineLoad {
    const { durationUs, othersKnown } = told;
    const [from, to] = [this.#from, this.#to];
    const spanUs = from === null || to === null ? 0 : to.atUs - from.atUs;
    const ofCores = (us: number): number | null => (spanUs > 0 ? Math.max(0, us) / (spanUs * to!.cores) : null);
    const wait = (pid: number | null): number | null => {
      const before = pid === null ? undefined : from?.waitUs.get(pid);
      const after = pid === null ? undefined : to?.waitUs.get(pid);
      return before === undefined || after === undefined || spanUs === 0 ? null : Math.max(0, after - before) / spanUs;
    };
    const paused = (pauses: Pauses | null): number | null => (pauses === null || durationUs <= 0 ? null : pauses.totalUs / durationUs);
    const figures = {
      watchedUs: spanUs > 0 ? spanUs : null,
      othersCpuShare: from === null || to === null || !othersKnown ? null : ofCores(to.busyUs - from.busyUs - (to.oursUs - from.oursUs)),
      stealShare: from === null || to === null ? null : ofCores(to.stealUs - from.stealUs),
      serverWaitShare: wait(server),
      loadWaitShare: wait(load),
      serverPauseUs: told.server?.longestUs ?? null,
      serverPausedShare: paused(told.server),
      loadPauseUs: told.load?.longestUs ?? null,
      loadPausedShare: paused(told.load),
    };
    return { ...figures, disturbed: disturbances(figures), leftOut: false };
  }

  #look({ server, load }: Watched): Moment | null {
    const cpu = this.#read("stat");
    const tickUs = this.#tickUs;
    if (cpu === null || tickUs === null) return null;
    // "cpu  user nice system idle iowait irq softirq steal": the sum of all cores, and a line for each.
    const total = /^cpu +(.*)$/m.exec(cpu)?.[1]?.trim().split(/ +/).map(Number);
    if (total === undefined || total.length < 8) return null;
    const waits = [server, load].flatMap((pid): [number, number][] => {
      const text = pid === null ? null : this.#read(`${pid}/schedstat`);
      const ns = text === null ? NaN : Number(text.split(" ")[1]);
      return Number.isFinite(ns) ? [[pid!, ns / 1000]] : [];
    });
    return {
      atUs: this.#nowUs(),
      cores: Math.max(1, cpu.match(/^cpu\d/gm)?.length ?? 1),
      busyUs: (total[0]! + total[1]! + total[2]!) * tickUs,
      stealUs: total[7]! * tickUs,
      oursUs: this.#ticksOfOurs() * tickUs,
      waitUs: new Map(waits),
    };
  }

  #ticksOfOurs(): number {
    const parents = new Map<number, { readonly parent: number; readonly ticks: number }>();
    for (const name of this.#list()) {
      const stat = this.#read(`${name}/stat`);
      if (stat === null) continue;
      // From the third field on; the name before it may contain blanks. Parent: 4; utime, stime, cutime, cstime: 14 to 17.
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      const ticks = [11, 12, 13, 14].reduce((sum, at) => sum + Number(fields[at] ?? 0), 0);
      parents.set(Number(name), { parent: Number(fields[1]), ticks });
    }
    const isOurs = (pid: number, depth = 0): boolean =>
      pid === this.#root || (depth < 64 && parents.has(pid) && isOurs(parents.get(pid)!.parent, depth + 1));
    let sum = 0;
    for (const [pid, { ticks }] of parents) if (isOurs(pid)) sum += ticks;
    return sum;
  }

  #list(): string[] {
    try {
      return readdirSync(this.#proc).filter((name) => /^\d+$/.test(name));
    } catch {
      return [];
    }
  }

  #read(path: string): string | null {
    try {
      return readFileSync(`${this.#proc}/${path}`, "latin1");
    } catch {
      return null;
    }
  }
}

/** The rule: why a round with these figures is disturbed. Empty: it is not. */
export function disturbances(figures: Omit<MachineLoad, "disturbed" | "leftOut">): string[] {
  const { watchedUs, serverWaitShare, loadWaitShare } = figures;
  const isLong = watchedUs !== null && watchedUs >= limits.watchedUs;
  const othersCpuShare = isLong ? figures.othersCpuShare : null;
  const stealShare = isLong ? figures.stealShare : null;
  const found: string[] = [];
  const percent = (share: number): string => `${Math.round(share * 100)}%`;
  const waits = [
    { who: "the server", share: serverWaitShare },
    { who: "the load generator", share: loadWaitShare },
  ].flatMap(({ who, share }) => (share === null ? [] : [{ who, share }]));
  if (othersCpuShare !== null) {
    const others = `other processes took ${percent(othersCpuShare)} of the CPU time`;
    const waited = waits.filter(({ share }) => share > limits.waitShare);
    if (waits.length === 0) {
      if (othersCpuShare > limits.othersCpuShareAlone) found.push(others);
    } else if (othersCpuShare > limits.othersCpuShare && waited.length > 0) {
      found.push(`${others}, and ${waited.map(({ who, share }) => `${who} waited ${percent(share)} of the round for a core`).join(", ")}`);
    }
  }
  if (stealShare !== null && stealShare > limits.stealShare)
    found.push(`the hypervisor gave ${percent(stealShare)} of the CPU time to others`);
  for (const { who, longest, share } of [
    { who: "the server", longest: figures.serverPauseUs, share: figures.serverPausedShare },
    { who: "the load generator", longest: figures.loadPauseUs, share: figures.loadPausedShare },
  ]) {
    if (longest === null) continue;
    if (longest > limits.pauseUs || (share ?? 0) > limits.pausedShare)
      found.push(`${who} stood still for ${(longest / 1000).toFixed(0)} ms at once and ${percent(share ?? 0)} of the round in all`);
  }
  return found;
}
