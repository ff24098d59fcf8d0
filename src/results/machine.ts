/** What the machine did, of several runs or machines. */
import type { MachineLoad } from "./types.ts";

/** The figures of several runs as those of one round: the worst of each. */
export function worstOf(loads: readonly MachineLoad[]): MachineLoad {
  const worst = (key: Exclude<keyof MachineLoad, "disturbed" | "leftOut">): number | null =>
    loads.reduce<number | null>((most, load) => (load[key] === null ? most : Math.max(most ?? 0, load[key])), null);
  return {
    watchedUs: worst("watchedUs"),
    othersCpuShare: worst("othersCpuShare"),
    stealShare: worst("stealShare"),
    serverWaitShare: worst("serverWaitShare"),
    loadWaitShare: worst("loadWaitShare"),
    serverPauseUs: worst("serverPauseUs"),
    serverPausedShare: worst("serverPausedShare"),
    loadPauseUs: worst("loadPauseUs"),
    loadPausedShare: worst("loadPausedShare"),
    disturbed: [...new Set(loads.flatMap(({ disturbed }) => disturbed))],
    leftOut: false,
  };
}
