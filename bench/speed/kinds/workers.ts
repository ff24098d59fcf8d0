/** CPU per token of two workers against one. */
import { median, pairedRatio } from "../../support/statistics.ts";
import { type Material, measurePaced } from "../measures.ts";
import { type Samples, two } from "../page.ts";
import { atMost, interleave, type Measured, push, rawEngine, type Run, showGrowth, timingOf } from "../rounds.ts";
import type { WorkersRow } from "../rows.ts";
import { socketsOf, startControl, startControls, startFakeai, type Subject, workersOf } from "../subjects.ts";

export async function workersRow(row: WorkersRow, run: Run, material: Material, recording: string): Promise<Measured> {
  const { wire, connections, streamsPerConnection, itlMs, target } = row;
  const samples: Samples = {};
  const costs: Record<string, number[]> = {};
  const control = `raw ${rawEngine(wire)}`;
  const shares: number[] = [];
  const flags = ["--itl", String(itlMs), "--ttft", String(itlMs)];
  const starters = [1, 2].map((count) => async (): Promise<Subject> => {
    const subject = await startFakeai(wire, [...flags, "--workers", String(count)]);
    return { ...subject, name: String(count) };
  });
  const controlFlags = [...flags, "--mode", "paced", "--recording", recording];
  starters.push(
    () => startControl(rawEngine(wire), controlFlags),
    () => startControls(rawEngine(wire), controlFlags),
  );
  await interleave(run, starters, async (subject) => {
    const workers = subject.name.includes("raw") ? [] : workersOf(subject.pid);
    const idle = workers.map(socketsOf);
    const timing = timingOf(connections * streamsPerConnection, itlMs);
    // Every connection is open in the middle of the window.
    const looking = new Promise<void>((resolve) => {
      setTimeout(
        () => {
          const open = workers.map((pid, index) => socketsOf(pid) - idle[index]!);
          const total = open.reduce((sum, count) => sum + count, 0);
          if (workers.length > 1) shares.push(...open.map((count) => count / total));
          resolve();
        },
        timing.spreadMs + timing.warmMs + timing.windowMs / 2,
      );
    });
    const sample = await measurePaced(subject, row, timing, material.endlessFile);
    await looking;
    push(samples, `${subject.name} workers`, sample);
    (costs[subject.name] ??= []).push(sample.cpuUs / sample.events);
  });
  push(samples, "shares", shares);
  const ratio = pairedRatio(costs["2"]!, costs["1"]!);
  const [least, most] = [Math.min(...shares), Math.max(...shares)];
  const percent = (share: number): string => `${Math.round(share * 100)}%`;
  return {
    lines: [
      {
        what: row.what,
        measured: `${two(median(costs["2"]!))} us; each has ${percent(least)} to ${percent(most)} of the connections`,
        against: `1 worker ${two(median(costs["1"]!))} us; ${showGrowth(control, [costs[control]!, costs[`2 ${control}`]!])}`,
        ratio,
        target: `at most ${target}, 40-60% each`,
        met: atMost(ratio, target) && least >= 0.4 && most <= 0.6,
      },
    ],
    samples,
  };
}
