/**
 * Is fakeai as fast as this machine allows? Each row puts it beside the same work done by a raw engine (a control), by a
 * C loop, or by another fake server, in rounds that take turns, and gives the ratio with its interval.
 *
 * The server has core 0 for itself and the load core 1, so two cores must be idle.
 */
import { spawn } from "node:child_process";
import { cpus, release } from "node:os";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { HeapReport } from "./heap-server.ts";
import {
  checkPaced,
  checkUnary,
  checkUnpaced,
  type Material,
  measureLoop,
  measurePaced,
  measureWhole,
  type PacedSample,
  recordMaterial,
  recordPaced,
  type Timing,
  unpacedTokens,
  type WholeSample,
} from "./measures.ts";
import {
  type ColdRow,
  type HeapRow,
  type PacedRow,
  type PacingRow,
  type Row,
  rows,
  type SizeRow,
  type TtftRow,
  type WaitingRow,
  type WholeRow,
  type WorkersRow,
} from "./rows.ts";
import { type Line, type Result, type Samples, showRatio, two, writePage, writeResult } from "./page.ts";
import { median, pairedRatio, type Ratio } from "../support/statistics.ts";
import { installedPeers, isPeer, type PeerName, startPeer, wireFor } from "./peers.ts";
import {
  ask,
  buildAll,
  onCoreOne,
  startControl,
  startControls,
  otherBuild,
  startFakeai,
  startOtherBuild,
  startTwin,
  socketsOf,
  type Subject,
  workersOf,
} from "./subjects.ts";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: "string", default: "15" }, peers: { type: "boolean", default: false }, beside: { type: "string" } },
});
const rounds = Number(options.rounds);
const progress = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

/** The dist/cli.js of another build of fakeai that paced, unpaced and unary rows are held against. */
const beside = options.beside ?? null;
/** Another build is slower where it takes this many times as long. */
const buildLimit = 1.02;

/** At most `limit` when the interval's upper end is, or the median over at least 15 rounds. */
const atMost = (ratio: Ratio, limit: number): boolean => ratio.high <= limit || (ratio.rounds >= 15 && ratio.median <= limit);
const atLeast = (ratio: Ratio, limit: number): boolean => ratio.low >= limit || (ratio.rounds >= 15 && ratio.median >= limit);

const push = (samples: Samples, name: string, value: unknown): void => {
  (samples[name] ??= []).push(value);
};

/** Subjects in turns: forwards in even rounds, backwards in odd ones, started anew every fifth round. */
async function interleave(
  starters: readonly (() => Promise<Subject>)[],
  measure: (subject: Subject, round: number) => Promise<void>,
): Promise<void> {
  let running: Subject[] = [];
  try {
    for (let round = 0; round < rounds; round++) {
      if (round % 5 === 0) {
        await Promise.all(running.map((subject) => subject.stop()));
        running = [];
        for (const starter of starters) running.push(await starter());
      }
      for (const subject of round % 2 === 0 ? running : running.toReversed()) {
        // The others are stopped: their work after a load would run beside this one, on the same core and cache.
        for (const other of running) process.kill(other.pid, other === subject ? "SIGCONT" : "SIGSTOP");
        await measure(subject, round);
        // The server clears away what its clients left, before the next one is measured.
        await new Promise((resolve) => setTimeout(resolve, 150));
      }
    }
  } finally {
    await Promise.all(running.map((subject) => subject.stop()));
  }
}

const timingOf = (streams: number, itlMs: number): Timing => ({
  // The golden section keeps phases apart: with starts a round fraction of the ITL apart, dozens of streams would always be
  // due at the same microsecond.
  spreadMs: Math.max(1000, streams / 3) * 1.0618,
  // Tokens that were late while the streams were opened have been sent by then.
  warmMs: Math.max(400, 3 * itlMs),
  windowMs: Math.max(1500, 5 * itlMs),
});

async function pacedRow(row: PacedRow, material: Material, recording: string): Promise<{ lines: Line[]; samples: Samples }> {
  const { wire, connections, streamsPerConnection, itlMs } = row;
  const samples: Samples = {};
  const costs: Record<string, number[]> = {};
  const cost = (name: string, us: number): void => {
    (costs[name] ??= []).push(us);
  };
  const control = `raw ${row.control}`;
  const rate = (connections * streamsPerConnection * 1000) / itlMs;
  const flags = ["--itl", String(itlMs), "--ttft", String(itlMs), ...(row.engineFlags ?? [])];
  const peers = options.peers && wire === "h1" && row.engineFlags === undefined ? installedPeers("paced") : [];
  await interleave(
    [
      () => startFakeai(wire, flags),
      ...(row.twin === undefined ? [] : [() => startTwin(row.twin!, wire, flags)]),
      ...(beside === null ? [] : [() => startOtherBuild(beside, wire, flags)]),
      () => startControl(row.control, ["--mode", "paced", "--itl", String(itlMs), "--ttft", String(itlMs), "--recording", recording]),
      ...peers.map((name) => () => startPeer(name, itlMs)),
    ],
    async (subject, round) => {
      // Others keep their ITL less exactly: what a token costs can still be told.
      const tolerance = isPeer(subject.name) ? 0.25 : 0.03;
      const measured = (): Promise<PacedSample> =>
        measurePaced(subject, row, timingOf(connections * streamsPerConnection, itlMs), material.endlessFile, tolerance);
      if (round % 5 === 0) {
        if (!isPeer(subject.name)) await checkPaced(subject, wire, material);
        // Not counted: code is compiled in it.
        await measured();
      }
      const sample = await measured();
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
    line(control, row.controlTarget),
    ...(row.twin === undefined ? [] : [line(row.twin.name, row.twin.target)]),
    ...(row.loopTarget === null ? [] : [line("C loop", row.loopTarget)]),
    ...(beside === null ? [] : [line(otherBuild, buildLimit)]),
    ...peers.map((name) => line(name, row.peerTarget)),
  ];
  return { lines, samples };
}

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

async function wholeRow(row: WholeRow, material: Material): Promise<{ lines: Line[]; samples: Samples }> {
  const { mode, wire, control, connections, streamsPerConnection } = row;
  const flags = ["--output-tokens", "100", ...(row.engineFlags ?? [])];
  const samples: Samples = {};
  const bodyFile = mode === "unpaced" ? material.unpacedFile : material.unaryFile;
  const peers = options.peers ? installedPeers(mode) : [];
  const sizes = new Map<string, number>();
  /** Peers whose answers are not what the row is about. */
  const unfit = new Set<string>();
  const targets: Partial<Record<PeerName, number>> = { aimock: row.aimockTarget, ...row.peerTargets };
  const check = mode === "unpaced" ? checkUnpaced : checkUnary;
  await interleave(
    [
      () => startFakeai(wire, flags),
      ...(row.twin === undefined ? [] : [() => startTwin(row.twin!, wire, flags)]),
      ...(beside === null ? [] : [() => startOtherBuild(beside, wire, flags)]),
      ...(control === null ? [] : [() => startControl(control, ["--mode", mode, "--recording", material.recordingFile])]),
      ...peers.map((name) => () => startPeer(name)),
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
      ...(beside === null ? [] : [line(otherBuild, 1 / buildLimit)]),
      ...peers.filter((name) => !unfit.has(name)).map((name) => line(name, targets[name] ?? null)),
    ],
    samples,
  };
}

async function pacingRow(row: PacingRow, material: Material): Promise<{ lines: Line[]; samples: Samples }> {
  const { wire, timer, connections, streamsPerConnection, itlMs } = row;
  const samples: Samples = {};
  const precise = timer === "precise" ? ["--timer", "precise"] : [];
  const streams = connections * streamsPerConnection;
  await interleave(
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

/** The first load of a server that has just started, which is what a user's first run meets, and the second. */
async function ttftRow(row: TtftRow, material: Material): Promise<{ lines: Line[]; samples: Samples }> {
  const { connections, itlMs, targets } = row;
  const samples: Record<string, PacedSample[]> = {};
  const flags = ["--itl", String(itlMs), "--ttft", "100"];
  const shape = { wire: "h1" as const, connections, streamsPerConnection: 1, itlMs };
  const timing: Timing = { spreadMs: 1000, warmMs: 3 * itlMs, windowMs: 1500 };
  const starters = [
    () => startFakeai("h1", flags),
    ...(beside === null ? [] : [() => startOtherBuild(beside, "h1", flags)]),
    ...(options.peers ? installedPeers("paced").map((name) => () => startPeer(name, itlMs)) : []),
  ];
  for (let round = 0; round < rounds; round++) {
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

async function waitingRow(row: WaitingRow, material: Material): Promise<{ lines: Line[]; samples: Samples }> {
  const { wire, connections, streamsPerConnection } = row;
  const samples: Samples = {};
  const streams = connections * streamsPerConnection;
  const perStream: Record<string, number[]> = {};
  const fresh = Math.min(rounds, 5);
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

/** The raw engine that serves a protocol here. */
const rawEngine = (wire: PacedRow["wire"]): "uws" | "http2" => (wire === "h1" ? "uws" : "http2");

/** What a raw engine's cost grows by, between the same two cases. */
function showGrowth(name: string, [from, to]: readonly number[][]): string {
  const { ratio, low, high, median } = pairedRatio(to!, from!);
  return `${name}'s growth ${two(ratio)} (${two(low)} to ${two(high)}; median ${two(median)})`;
}

async function sizeRow(row: SizeRow, material: Material, recording: string): Promise<{ lines: Line[]; samples: Samples }> {
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
  await interleave(starters, async (subject) => {
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

async function workersRow(row: WorkersRow, material: Material, recording: string): Promise<{ lines: Line[]; samples: Samples }> {
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
  await interleave(starters, async (subject) => {
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

async function heapRow(row: HeapRow, material: Material): Promise<{ lines: Line[]; samples: Samples }> {
  const script = fileURLToPath(new URL("heap-server.ts", import.meta.url));
  const child = spawn("taskset", ["-c", "0", process.execPath, "--expose-gc", "--import", "tsx", script], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<string> => String((await lines.next()).value);
  try {
    const { listening } = JSON.parse(await next()) as { listening: { url: string }[] };
    const report = async (): Promise<HeapReport> => {
      child.stdin.write("\n");
      return JSON.parse(await next()) as HeapReport;
    };
    const load = async (tokens: number): Promise<void> => {
      for (const [index, flags] of [
        ["--h1", "-c", "32"],
        ["-c", "8", "-m", "16"],
      ].entries()) {
        const requests = Math.round(tokens / unpacedTokens / 2);
        const args = [...flags, "-n", String(requests), "-d", material.unpacedFile, `${listening[index]!.url}/v1/chat/completions`];
        await onCoreOne("h2load", args, 120_000);
      }
    };
    // Two waves of warm-up: engines and JIT keep what the first ones made them take.
    const reports: HeapReport[] = [];
    for (const tokens of [row.tokens / 5, row.tokens / 5, row.tokens / 2, row.tokens / 2]) {
      await load(tokens);
      await new Promise((resolve) => setTimeout(resolve, 300));
      reports.push(await report());
    }
    const [, before, , after] = reports as [HeapReport, HeapReport, HeapReport, HeapReport];
    const grownKb = (after.heapUsed + after.external - before.heapUsed - before.external) / 1024;
    const rssMb = (after.rss - before.rss) / 1_048_576;
    const millions = ((after.tokens - before.tokens) / 1e6).toFixed(1);
    return {
      lines: [
        {
          what: row.what,
          measured: `heap ${grownKb >= 0 ? "+" : ""}${grownKb.toFixed(0)} KB and RSS ${rssMb >= 0 ? "+" : ""}${rssMb.toFixed(1)} MB over ${millions} M tokens; longest GC pause ${after.longestPauseMs.toFixed(1)} ms`,
          against: null,
          ratio: null,
          target: "none (below 256 KB)",
          met: grownKb < 256,
        },
      ],
      samples: { reports },
    };
  } finally {
    child.kill("SIGKILL");
  }
}

async function coldRow(row: ColdRow, { unary }: Material): Promise<{ lines: Line[]; samples: Samples }> {
  const samples: Record<string, number[]> = {};
  for (const wire of ["h1", "h2c"] as const) {
    for (let round = 0; round < rounds; round++) {
      const startedMs = performance.now();
      const subject = await startFakeai(wire, []);
      const answer = await ask(wire, subject.port, unary);
      (samples[wire] ??= []).push(performance.now() - startedMs);
      await subject.stop();
      if (answer.status !== 200) throw new Error(`status ${answer.status}`);
    }
  }
  const [h1, h2c] = [samples["h1"]!, samples["h2c"]!];
  const worst = Math.max(median(h1), median(h2c));
  const measured = `h1 ${Math.round(median(h1))} ms (worst ${Math.round(Math.max(...h1))}), h2c ${Math.round(median(h2c))} ms (worst ${Math.round(Math.max(...h2c))})`;
  return {
    lines: [{ what: row.what, measured, against: null, ratio: null, target: `below ${row.targetMs} ms`, met: worst < row.targetMs }],
    samples,
  };
}

async function measureRow(row: Row): Promise<{ lines: Line[]; samples: Samples }> {
  const fakeai = await startFakeai("h1", []);
  let material: Material;
  let recording: string;
  try {
    material = await recordMaterial(fakeai);
    recording = await recordPaced(fakeai, material);
  } finally {
    await fakeai.stop();
  }
  switch (row.kind) {
    case "paced":
      return pacedRow(row, material, recording);
    case "whole":
      return wholeRow(row, material);
    case "pacing":
      return pacingRow(row, material);
    case "ttft":
      return ttftRow(row, material);
    case "waiting":
      return waitingRow(row, material);
    case "size":
      return sizeRow(row, material, recording);
    case "workers":
      return workersRow(row, material, recording);
    case "heap":
      return heapRow(row, material);
    case "cold":
      return coldRow(row, material);
    default:
      return row satisfies never;
  }
}

/** A row's own name, or how several begin. */
const isMeant = (id: string, name: string): boolean => (rows.some((row) => row.id === name) ? id === name : id.startsWith(name));
const chosen = rows.filter(({ id }) => positionals.length === 0 || positionals.some((name) => isMeant(id, name)));
if (chosen.length === 0 || !(rounds >= 1)) {
  progress(`no such row; the rows are ${rows.map(({ id }) => id).join(", ")}`);
  process.exit(2);
}
if (cpus().length < 2) throw new Error("two cores are needed: one for the server, one for the load");
if (options.peers && installedPeers("unary").length === 0)
  throw new Error(
    "--peers: first npm install --prefix bench/speed/peers, or cargo install --root bench/speed/peers llmposter llmsim vidaimock",
  );
const withC = buildAll();
const environment = { node: process.version, cpu: cpus()[0]!.model, cores: cpus().length, kernel: release() };
for (const row of chosen) {
  if (!withC && row.kind !== "whole" && row.kind !== "heap" && row.kind !== "cold") {
    progress(`${row.id}: skipped, it needs a C compiler (cc)`);
    continue;
  }
  progress(`${row.id}: ${row.what}`);
  const { lines, samples } = await measureRow(row);
  const command = `npm run measure -- speed --rounds ${rounds} ${options.peers ? "--peers " : ""}${row.id}`;
  const result: Result = { id: row.id, command, date: new Date().toISOString(), environment, lines, samples };
  writeResult(result);
  writePage();
  for (const { measured, against, ratio, target, met } of lines) {
    console.log(
      `${row.id}: ${measured}${against ? ` | ${against}` : ""}${ratio ? ` | ${showRatio(ratio)}` : ""} | ${target}: ${met === null ? "-" : met ? "met" : "MISSED"}`,
    );
  }
}
