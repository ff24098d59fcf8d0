/** From spawning the process to the first answer, and what an idle process holds. */
import { median } from "../../support/statistics.ts";
import type { Material } from "../measures.ts";
import type { Measured, Run } from "../rounds.ts";
import type { ColdRow } from "../rows.ts";
import { ask, cpuUs, rssKb, startFakeai } from "../subjects.ts";

interface ColdSample {
  /** Wall time from spawning the process to the whole of the first answer. */
  readonly answeredMs: number;
  /** CPU time of all its threads until then. */
  readonly cpuMs: number;
  /** Resident memory after a second without requests. */
  readonly idleMb: number;
}

const idleMs = 1000;

export async function coldRow(row: ColdRow, run: Run, { unary }: Material): Promise<Measured> {
  const samples: Record<string, ColdSample[]> = {};
  // V8 keeps the code of a start for the next one, and for the second it keeps that of the first answer too.
  const unmeasured = 2;
  for (const wire of ["h1", "h2c"] as const) {
    for (let round = -unmeasured; round < run.rounds; round++) {
      const startedMs = performance.now();
      const subject = await startFakeai(wire, []);
      const answer = await ask(wire, subject.port, unary);
      const answeredMs = performance.now() - startedMs;
      const cpuMs = cpuUs(subject.pid) / 1000;
      await new Promise((resolve) => setTimeout(resolve, idleMs));
      const idleMb = rssKb(subject.pid) / 1024;
      if (round >= 0) (samples[wire] ??= []).push({ answeredMs, cpuMs, idleMb });
      // In order, so that the code can be kept.
      process.kill(subject.pid, "SIGTERM");
      await subject.ended;
      if (answer.status !== 200) throw new Error(`status ${answer.status}`);
    }
  }
  const of = (wire: string, pick: keyof ColdSample): number[] => samples[wire]!.map((sample) => sample[pick]);
  const worst = (pick: keyof ColdSample): number => Math.max(...Object.keys(samples).map((wire) => median(of(wire, pick))));
  const show = (wire: string): string =>
    `${wire} ${Math.round(median(of(wire, "answeredMs")))} ms (worst ${Math.round(Math.max(...of(wire, "answeredMs")))}), CPU ${Math.round(median(of(wire, "cpuMs")))} ms, idle ${median(of(wire, "idleMb")).toFixed(1)} MiB`;
  return {
    lines: [
      {
        what: row.what,
        measured: Object.keys(samples).map(show).join("; "),
        against: null,
        ratio: null,
        target: `at most ${row.targetMs} ms, ${row.targetMb} MiB`,
        met: worst("answeredMs") <= row.targetMs && worst("idleMb") <= row.targetMb,
      },
    ],
    samples,
  };
}
