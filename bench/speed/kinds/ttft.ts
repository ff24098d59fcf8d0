/** The tail of the TTFT, and the longest gap of a stream. */
import { median } from "../../support/statistics.ts";
import { type Material, measurePaced, type PacedSample, type Timing } from "../measures.ts";
import { type Line, two } from "../page.ts";
import { installedPeers, isPeer, pacedTokens, startPeer } from "../peers.ts";
import type { Measured, Run } from "../rounds.ts";
import type { TtftRow } from "../rows.ts";
import { startControl, startFakeai, startOtherBuild } from "../subjects.ts";

/** The first load of a server that has just started, which is what a user's first run meets, and the second. */
export async function ttftRow(row: TtftRow, run: Run, material: Material, recording: string): Promise<Measured> {
  const { connections, itlMs, targets } = row;
  const samples: Record<string, PacedSample[]> = {};
  const flags = ["--itl", String(itlMs), "--ttft", "100"];
  const shape = { wire: "h1" as const, connections, streamsPerConnection: 1, itlMs };
  const timing: Timing = { spreadMs: 1000, warmMs: 3 * itlMs, windowMs: 1500 };
  const starters = [
    () => startFakeai("h1", flags),
    // What a user does who wants the first load to be as the second.
    async () => ({ ...(await startFakeai("h1", [...flags, "--warm"])), name: "fakeai --warm" }),
    ...(run.beside === null ? [] : [() => startOtherBuild(run.beside!, "h1", flags)]),
    () => startControl("uws", ["--mode", "paced", "--itl", String(itlMs), "--ttft", "100", "--recording", recording]),
    ...(run.peers ? installedPeers("paced").map((name) => () => startPeer(name, pacedTokens, itlMs)) : []),
  ];
  for (let round = 0; round < run.rounds; round++) {
    for (const starter of starters) {
      const subject = await starter();
      const tolerance = isPeer(subject.name) ? 0.25 : 0.03;
      try {
        for (const name of [`${subject.name}, first load`, subject.name])
          (samples[name] ??= []).push(await measurePaced(subject, shape, timing, material.endlessFile, tolerance));
      } finally {
        await subject.stop();
      }
    }
  }
  const tailMs = ({ ttftUs }: PacedSample): number => (ttftUs!.p99 - ttftUs!.p50) / 1000;
  const gapMs = ({ longestGapUs }: PacedSample): number => longestGapUs / 1000;
  const lines = Object.entries(samples).map(([name, all]): Line => {
    const [tail, gap] = [median(all.map(tailMs)), median(all.map(gapMs))];
    const isOurs = name.startsWith("fakeai");
    return {
      what: `${row.what} (${name})`,
      measured: `${two(tail)} ms; ${two(gap)} ms`,
      against: null,
      ratio: null,
      target: isOurs ? `at most ${targets[0]} ms; ${targets[1]} ms` : "",
      met: isOurs ? tail <= targets[0] && gap <= targets[1] : null,
    };
  });
  return { lines, samples };
}
