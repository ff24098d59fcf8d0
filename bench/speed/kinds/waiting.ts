/** Resident memory of streams that wait for their first token. */
import { median, pairedRatio } from "../../support/statistics.ts";
import { type Material, measurePaced } from "../measures.ts";
import { type Samples, two } from "../page.ts";
import { type Measured, push, type Run } from "../rounds.ts";
import type { WaitingRow } from "../rows.ts";
import { startControl, startFakeai } from "../subjects.ts";

export async function waitingRow(row: WaitingRow, run: Run, material: Material): Promise<Measured> {
  const { wire, connections, streamsPerConnection } = row;
  const samples: Samples = {};
  const streams = connections * streamsPerConnection;
  const perStream: Record<string, number[]> = {};
  const fresh = Math.min(run.rounds, 5);
  const flags = ["--ttft", "60000", "--itl", "20"];
  const starters = [
    () => startFakeai(wire, flags),
    () => startControl(row.control, [...flags, "--mode", "paced", "--recording", material.recordingFile]),
  ];
  // A new process each time: memory that a process has once taken does not come back.
  for (let round = 0; round < fresh; round++) {
    for (const starter of starters) {
      const subject = await starter();
      try {
        await measurePaced(
          subject,
          { ...row, connections: 10, itlMs: 20 },
          { spreadMs: 100, warmMs: 100, windowMs: 10, waiting: true },
          material.endlessFile,
        );
        const timing = { spreadMs: 3000, warmMs: 500, windowMs: 10, waiting: true };
        const sample = await measurePaced(subject, { ...row, itlMs: 20 }, timing, material.endlessFile);
        push(samples, subject.name, sample);
        (perStream[subject.name] ??= []).push((sample.rssKb - sample.rssBeforeKb) / streams);
      } finally {
        await subject.stop();
      }
    }
  }
  const own = median(perStream["fakeai"]!);
  const control = `raw ${row.control}`;
  return {
    lines: [
      {
        what: row.what,
        measured: `${two(own)} KB`,
        against: `${control} ${two(median(perStream[control]!))} KB`,
        ratio: fresh > 1 ? pairedRatio(perStream["fakeai"]!, perStream[control]!) : null,
        target: `at most ${row.targetKb} KB`,
        met: own <= row.targetKb,
      },
    ],
    samples,
  };
}
