/** CPU per token at two numbers of streams and one rate. */
import { median, pairedRatio } from "../../support/statistics.ts";
import { type Material, measureLoop, measurePaced } from "../measures.ts";
import { type Samples, two } from "../page.ts";
import { atMost, interleave, type Measured, push, rawEngine, type Run, showGrowth, timingOf } from "../rounds.ts";
import type { SizeRow } from "../rows.ts";
import { startControl, startFakeai, type Subject } from "../subjects.ts";

export async function sizeRow(row: SizeRow, run: Run, material: Material, recording: string): Promise<Measured> {
  const samples: Samples = {};
  const costs: number[][] = [[], []];
  const controls: number[][] = [[], []];
  const loops: number[][] = [[], []];
  const control = `raw ${rawEngine(row.wire)}`;
  const starters = [0, 1].flatMap((size) => {
    const latency = ["--itl", String(row.itlMs[size]!), "--ttft", String(row.itlMs[size]!)];
    const named = async (starting: Promise<Subject>): Promise<Subject> => {
      const subject = await starting;
      return { ...subject, name: `${subject.name} ${size}` };
    };
    return [
      () => named(startFakeai(row.wire, latency)),
      () => named(startControl(rawEngine(row.wire), [...latency, "--mode", "paced", "--recording", recording])),
    ];
  });
  await interleave(run, starters, async (subject) => {
    const size = Number(subject.name.at(-1));
    const isControl = subject.name.startsWith("raw");
    const connections = row.connections[size]!;
    const itlMs = row.itlMs[size]!;
    const streamsPerConnection = row.streamsPerConnection[size]!;
    const shape = { wire: row.wire, connections, streamsPerConnection, itlMs };
    const streams = connections * streamsPerConnection;
    const sample = await measurePaced(subject, shape, timingOf(streams, itlMs), material.endlessFile);
    push(samples, `${isControl ? `${control}, ` : ""}${streams} streams`, sample);
    (isControl ? controls : costs)[size]!.push(sample.cpuUs / sample.events);
    if (row.wire === "h1" && !isControl) {
      const us = await measureLoop(connections, 283, 1.5, (streams * 1000) / itlMs);
      push(samples, `C loop ${streams}`, us);
      loops[size]!.push(us);
    }
  });
  const ratio = pairedRatio(costs[1]!, costs[0]!);
  const raw = showGrowth(control, controls);
  const growth = row.wire === "h1" ? pairedRatio(loops[1]!, loops[0]!) : null;
  return {
    lines: [
      {
        what: row.what,
        measured: `${two(median(costs[1]!))} us against ${two(median(costs[0]!))} us`,
        against: growth ? `C loop's growth ${two(growth.ratio)} (${two(growth.low)} to ${two(growth.high)}), ${raw}` : raw,
        ratio,
        target: growth ? "no worse than the C loop's growth" : "within 20%",
        met: growth ? ratio.low <= growth.high : atMost(ratio, 1.2),
      },
    ],
    samples,
  };
}
