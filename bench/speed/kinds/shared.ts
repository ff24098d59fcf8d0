/** Two workers on both cores, which they share with the load: what a request costs and how many there are. */
import { median, pairedRatio } from "../../support/statistics.ts";
import { checkUnary, type Material, measureWhole, unaryTokens, type WholeSample } from "../measures.ts";
import { type Line, type Samples, two } from "../page.ts";
import { installedPeers, type PeerName, startPeer } from "../peers.ts";
import { atLeast, atMost, interleave, type Measured, push, type Run } from "../rounds.ts";
import type { SharedRow } from "../rows.ts";
import { startFakeai, type Subject } from "../subjects.ts";

const oneProcess = "fakeai, one process";

export async function sharedRow(row: SharedRow, run: Run, material: Material): Promise<Measured> {
  const { wire, connections, costTarget, rateTargets } = row;
  const samples: Samples = {};
  const free = { core: null };
  const flags = ["--profile", "openai"];
  const peers = run.peers ? installedPeers("unary").filter((name) => Object.hasOwn(rateTargets, name)) : [];
  const sizes = new Map<string, number>();
  await interleave(
    run,
    [
      () => startFakeai(wire, [...flags, "--workers", "2"], [], free),
      async (): Promise<Subject> => ({ ...(await startFakeai(wire, flags, [], free)), name: oneProcess }),
      ...peers.map((name) => () => startPeer(name, unaryTokens, null, free)),
    ],
    async (subject, round) => {
      const load = (requests: number): Promise<WholeSample> =>
        measureWhole(subject, wire, connections, 1, requests, material.unaryFile, free);
      if (round % 5 === 0) {
        await checkUnary(subject, wire, material);
        let perSecond = 20_000;
        for (let second = 0; second < 3; second++) perSecond = (await load(Math.round(perSecond))).requestsPerSecond;
        sizes.set(subject.name, Math.round(perSecond));
      }
      push(samples, subject.name, await load(sizes.get(subject.name)!));
    },
  );
  const of = (name: string): WholeSample[] => samples[name] as WholeSample[];
  const costs = (name: string): number[] => of(name).map(({ requestsPerCpuSecond }) => 1e6 / requestsPerCpuSecond);
  const rates = (name: string): number[] => of(name).map(({ requestsPerSecond }) => requestsPerSecond);
  const show = (name: string): string =>
    `${Math.round(median(rates(name))).toLocaleString("en")} req/s, ${two(median(costs(name)))} us a request`;
  const cost = pairedRatio(costs("fakeai"), costs(oneProcess));
  const lines: Line[] = [
    {
      what: `${row.what}: CPU a request`,
      measured: show("fakeai"),
      against: `${oneProcess} ${show(oneProcess)}`,
      ratio: cost,
      target: `at most ${two(costTarget)}`,
      met: atMost(cost, costTarget),
    },
    ...peers.map((name: PeerName): Line => {
      const ratio = pairedRatio(rates("fakeai"), rates(name));
      const target = rateTargets[name]!;
      return {
        what: `${row.what}: requests per second`,
        measured: show("fakeai"),
        against: `${name} ${show(name)}`,
        ratio,
        target: `at least ${two(target)}`,
        met: atLeast(ratio, target),
      };
    }),
  ];
  return { lines, samples };
}
