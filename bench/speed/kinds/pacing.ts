/** How well the schedule is kept: lateness by the stamps in the events. */
import { median } from "../../support/statistics.ts";
import { type Material, measurePaced } from "../measures.ts";
import type { Samples } from "../page.ts";
import { interleave, type Measured, push, type Run, timingOf } from "../rounds.ts";
import type { PacingRow } from "../rows.ts";
import { startFakeai } from "../subjects.ts";

export async function pacingRow(row: PacingRow, run: Run, material: Material): Promise<Measured> {
  const { wire, timer, connections, streamsPerConnection, itlMs } = row;
  const samples: Samples = {};
  const precise = timer === "precise" ? ["--timer", "precise"] : [];
  const streams = connections * streamsPerConnection;
  await interleave(
    run,
    [() => startFakeai(wire, ["--itl", String(itlMs), "--ttft", String(itlMs), "--stamps", ...precise])],
    async (subject) => {
      const timing = { ...timingOf(streams, itlMs), windowMs: Math.max(2000, 10 * itlMs) };
      push(samples, subject.name, await measurePaced(subject, row, timing, material.endlessFile));
    },
  );
  const all = samples["fakeai"] as Awaited<ReturnType<typeof measurePaced>>[];
  const of = (pick: (sample: (typeof all)[number]) => number): number => median(all.map(pick));
  const sent = {
    p50: of((s) => s.lateSentUs!.p50),
    p99: of((s) => s.lateSentUs!.p99),
    p999: of((s) => s.lateSentUs!.p999),
    max: Math.max(...all.map((s) => s.lateSentUs!.max)),
  };
  const seen = { p50: of((s) => s.lateSeenUs!.p50), p99: of((s) => s.lateSeenUs!.p99) };
  const error = Math.max(...all.map((s) => Math.abs(s.itlErrorSeen!)));
  const ms = (us: number): string => (us / 1000).toFixed(3);
  const core = Math.round(of((s) => s.cpuUs / s.windowUs) * 100);
  const measured =
    `late by ${ms(sent.p50)} / ${ms(sent.p99)} / ${ms(sent.p999)} / ${ms(sent.max)} ms (p50, p99, p99.9, max); ` +
    `at the client ${ms(seen.p50)} / ${ms(seen.p99)} ms; mean ITL off by ${(error * 100).toFixed(4)}%; core ${core}%`;
  const met = error < 0.005 && (timer === "precise" ? sent.p50 < 50 && sent.p99 < 500 : sent.p99 < 2500);
  const target = `mean within 0.5%, ${timer === "precise" ? "p50 below 0.05 ms, p99 below 0.5 ms" : "p99 below 2.5 ms"}`;
  return { lines: [{ what: row.what, measured, against: null, ratio: null, target, met }], samples };
}
