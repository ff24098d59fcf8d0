/** Whole answers per second of CPU time: bodies in one piece, or streams without latency. */
import { median, pairedRatio } from "../../support/statistics.ts";
import { checkUnary, checkUnpaced, type Material, measureWhole, unaryTokens, unpacedTokens, type WholeSample } from "../measures.ts";
import { type Line, type Samples, two } from "../page.ts";
import { installedPeers, isPeer, type PeerName, startPeer, wireFor } from "../peers.ts";
import { atLeast, buildLimit, interleave, type Measured, progress, push, type Run } from "../rounds.ts";
import type { WholeRow } from "../rows.ts";
import { otherBuild, startControl, startFakeai, startOtherBuild, startTwin } from "../subjects.ts";

/** How long a server is loaded before it is measured: V8 compiles for some seconds, in which an answer can take thrice its CPU time. */
const warmUpMs = 4000;

/** Returns the answers per second of a server that has warmed up, by loads of a second. */
async function warmUp(load: (requests: number) => Promise<WholeSample>, fewest: number): Promise<number> {
  const startMs = performance.now();
  let requestsPerSecond = 0;
  do {
    requestsPerSecond = (await load(Math.max(fewest, Math.round(requestsPerSecond)))).requestsPerSecond;
  } while (performance.now() - startMs < warmUpMs);
  return requestsPerSecond;
}

export async function wholeRow(row: WholeRow, run: Run, material: Material): Promise<Measured> {
  const { mode, wire, control, connections, streamsPerConnection } = row;
  const flags = ["--output-tokens", "100", ...(row.engineFlags ?? [])];
  const samples: Samples = {};
  const bodyFile = mode === "unpaced" ? material.unpacedFile : material.unaryFile;
  const peers = run.peers ? installedPeers(mode) : [];
  const sizes = new Map<string, number>();
  /** Peers whose answers are not what the row is about. */
  const unfit = new Set<string>();
  const targets: Partial<Record<PeerName, number>> = { aimock: row.aimockTarget, ...row.peerTargets };
  const check = mode === "unpaced" ? checkUnpaced : checkUnary;
  await interleave(
    run,
    [
      () => startFakeai(wire, flags),
      ...(row.twin === undefined ? [] : [() => startTwin(row.twin!, wire, flags)]),
      ...(run.beside === null ? [] : [() => startOtherBuild(run.beside!, wire, flags)]),
      ...(control === null ? [] : [() => startControl(control, ["--mode", mode, "--recording", material.recordingFile])]),
      ...peers.map((name) => () => startPeer(name, mode === "unary" ? unaryTokens : unpacedTokens)),
    ],
    async (subject, round) => {
      if (unfit.has(subject.name)) return;
      const subjectWire = wireFor(subject.name, wire);
      const load = (requests: number): Promise<WholeSample> =>
        measureWhole(subject, subjectWire, connections, subjectWire === "h1" ? 1 : streamsPerConnection, requests, bodyFile);
      if (round % 5 === 0) {
        try {
          await check(subject, subjectWire, material);
        } catch (error) {
          // Of fakeai and its controls that ends the measurement. Another server's answers may be of another kind.
          if (!isPeer(subject.name)) throw error;
          progress(`${row.id}: without ${(error as Error).message}`);
          unfit.add(subject.name);
          return;
        }
        sizes.set(subject.name, Math.round((await warmUp(load, connections * 10)) * 1.5));
      }
      push(samples, subject.name, await load(sizes.get(subject.name)!));
    },
  );
  const of = (name: string): WholeSample[] => samples[name] as WholeSample[];
  const perCpu = (name: string): number[] => of(name).map(({ requestsPerCpuSecond }) => requestsPerCpuSecond);
  const unit = mode === "unpaced" ? "events/s" : "req/s";
  const scale = mode === "unpaced" ? unpacedTokens : 1;
  const show = (name: string): string => {
    const wall = median(of(name).map(({ requestsPerSecond }) => requestsPerSecond)) * scale;
    const share = Math.round(median(of(name).map(({ utilisation }) => utilisation)) * 100);
    return `${Math.round(wall).toLocaleString("en")} ${unit} (${Math.round(median(perCpu(name)) * scale).toLocaleString("en")} per CPU second, core ${share}%)`;
  };
  // Per CPU second: where the load is the slower side, plain requests per second would flatter the slower server.
  const line = (name: string, target: number | null): Line => {
    const ratio = pairedRatio(perCpu("fakeai"), perCpu(name));
    return {
      what: row.what,
      measured: show("fakeai"),
      against: `${name} ${show(name)}`,
      ratio,
      target: target === null ? "" : `at least ${two(target)}`,
      met: target === null ? null : atLeast(ratio, target),
    };
  };
  return {
    lines: [
      ...(control === null ? [] : [line(`raw ${control}`, row.controlTarget)]),
      ...(row.twin === undefined ? [] : [line(row.twin.name, row.twin.target)]),
      ...(run.beside === null ? [] : [line(otherBuild, 1 / buildLimit)]),
      ...peers.filter((name) => !unfit.has(name)).map((name) => line(name, targets[name] ?? null)),
    ],
    samples,
  };
}
