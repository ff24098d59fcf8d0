/** CPU per token of paced streams. */
import { median, pairedRatio } from "../../support/statistics.ts";
import { checkPaced, type Material, measureLoop, measurePaced, type PacedSample } from "../measures.ts";
import { type Line, type Samples, two } from "../page.ts";
import { installedPeers, isPeer, pacedTokens, startPeer } from "../peers.ts";
import { atMost, buildLimit, interleave, type Measured, push, type Run, timingOf } from "../rounds.ts";
import type { PacedRow } from "../rows.ts";
import { otherBuild, startControl, startFakeai, startOtherBuild, startTwin } from "../subjects.ts";

export async function pacedRow(row: PacedRow, run: Run, material: Material, recording: string): Promise<Measured> {
  const { wire, connections, streamsPerConnection, itlMs } = row;
  const samples: Samples = {};
  const costs: Record<string, number[]> = {};
  const cost = (name: string, us: number): void => {
    (costs[name] ??= []).push(us);
  };
  const { control } = row;
  const rate = (connections * streamsPerConnection * 1000) / itlMs;
  const flags = ["--itl", String(itlMs), "--ttft", String(itlMs), ...(row.engineFlags ?? [])];
  const peers = run.peers && wire === "h1" && row.engineFlags === undefined ? installedPeers("paced") : [];
  await interleave(
    run,
    [
      () => startFakeai(wire, flags),
      ...(row.twin === undefined ? [] : [() => startTwin(row.twin!, wire, flags)]),
      ...(run.beside === null ? [] : [() => startOtherBuild(run.beside!, wire, flags)]),
      ...(control === null
        ? []
        : [() => startControl(control, ["--mode", "paced", "--itl", String(itlMs), "--ttft", String(itlMs), "--recording", recording])]),
      ...peers.map((name) => () => startPeer(name, pacedTokens, itlMs)),
    ],
    async (subject, round) => {
      const measured = (tolerance: number): Promise<PacedSample> =>
        measurePaced(subject, row, timingOf(connections * streamsPerConnection, itlMs), material.endlessFile, tolerance);
      if (round % 5 === 0) {
        if (!isPeer(subject.name)) await checkPaced(subject, wire, material);
        // Not counted: code is compiled in it, and what stood still meanwhile is caught up with.
        await measured(0.5);
      }
      // Others keep their ITL less exactly: what a token costs can still be told.
      const sample = await measured(isPeer(subject.name) ? 0.25 : 0.03);
      push(samples, subject.name, sample);
      cost(subject.name, sample.cpuUs / sample.events);
      if (row.loopTarget === null || subject.name !== "fakeai") return;
      const us = await measureLoop(connections, Math.round(sample.bytes / sample.events), 1.5, rate);
      push(samples, "C loop", us);
      cost("C loop", us);
    },
  );
  const line = (name: string, target: number): Line => {
    const ratio = pairedRatio(costs["fakeai"]!, costs[name]!);
    return {
      what: row.what,
      measured: `${two(median(costs["fakeai"]!))} us`,
      against: `${name} ${two(median(costs[name]!))} us`,
      ratio,
      target: `at most ${target}`,
      met: atMost(ratio, target),
    };
  };
  const lines = [
    ...(control === null ? [] : [line(`raw ${control}`, row.controlTarget)]),
    ...(row.twin === undefined ? [] : [line(row.twin.name, row.twin.target)]),
    ...(row.loopTarget === null ? [] : [line("C loop", row.loopTarget)]),
    ...(run.beside === null ? [] : [line(otherBuild, buildLimit)]),
    ...peers.map((name) => line(name, row.peerTarget)),
  ];
  return { lines, samples };
}
