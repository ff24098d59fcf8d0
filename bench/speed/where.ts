/**
 * Where the CPU time of a row goes: fakeai and its control under V8's sampling profiler, microseconds per token or answer
 * by place. The profiler itself costs something, so only the comparison means anything.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Material, measurePaced, measureWhole, recordMaterial, recordPaced } from "./measures.ts";
import { type PacedRow, rows, type WholeRow } from "./rows.ts";
import { buildAll, cpuUs, startControl, startFakeai, type Subject } from "./subjects.ts";

/** What `--cpu-prof` writes, as far as it is read here. */
interface Profile {
  readonly nodes: readonly { readonly id: number; readonly callFrame: { readonly functionName: string; readonly url: string } }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const folders: readonly (readonly [part: string, place: string])[] = [
  ["node:internal/http2", "node: http2"],
  ["node:internal/streams", "node: streams"],
  ["node:", "node: other"],
  ["/dist/listeners/", "listeners"],
  ["/dist/core/", "core"],
  ["/dist/api/", "api"],
  ["/dist/server/", "server"],
  ["/dist/", "the rest of fakeai"],
  ["/fakeai-bench/", "control"],
];

function placeOf({ functionName, url }: Profile["nodes"][number]["callFrame"]): string {
  if (functionName === "(garbage collector)") return "collections";
  // V8 gives an inlined native call no frame of its own.
  return folders.find(([part]) => url.includes(part))?.[1] ?? "native code that JavaScript called";
}

/** Microseconds by place and by function. */
function read(path: string): { places: Map<string, number>; functions: Map<string, number>; totalUs: number } {
  const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(path, "utf8")) as Profile;
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  const places = new Map<string, number>();
  const functions = new Map<string, number>();
  let totalUs = 0;
  const add = (map: Map<string, number>, name: string, us: number): void => void map.set(name, (map.get(name) ?? 0) + us);
  for (const [index, id] of samples.entries()) {
    const frame = frames.get(id)!;
    // What the engine does between calls into JavaScript counts as idle too.
    if (frame.functionName === "(idle)" || frame.functionName === "(program)") continue;
    const us = timeDeltas[index]!;
    totalUs += us;
    add(places, placeOf(frame), us);
    add(functions, `${frame.functionName || "(anonymous)"} ${frame.url.split("/").slice(-2).join("/")}`, us);
  }
  return { places, functions, totalUs };
}

/** Loads the subject; returns how many tokens or answers it made with so much CPU time. */
async function load(subject: Subject, row: PacedRow | WholeRow, material: Material): Promise<(usedUs: number) => number> {
  const { wire, connections, streamsPerConnection } = row;
  if (row.kind === "whole") {
    const requests = row.mode === "unary" ? 100_000 : 40_000;
    await measureWhole(
      subject,
      wire,
      connections,
      streamsPerConnection,
      requests,
      row.mode === "unary" ? material.unaryFile : material.unpacedFile,
    );
    return () => requests;
  }
  const timing = { spreadMs: 1000, warmMs: 500, windowMs: 8000 };
  const sample = await measurePaced(subject, row, timing, material.endlessFile);
  // The events of the window alone are counted.
  return (usedUs) => (usedUs / sample.cpuUs) * sample.events;
}

/** On the server's own core the sampler would run only while the server sleeps, and see nothing but that. */
function freeSampler(pid: number): void {
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    if (Number(thread) !== pid) spawnSync("taskset", ["-pc", "0,1", thread]);
  }
}

async function profiled(
  start: (nodeFlags: readonly string[]) => Promise<Subject>,
  row: PacedRow | WholeRow,
  material: Material,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "fakeai-profile-"));
  try {
    const subject = await start(["--cpu-prof", "--cpu-prof-interval", "500", "--cpu-prof-dir", folder]);
    freeSampler(subject.pid);
    const before = cpuUs(subject.pid);
    const unitsFor = await load(subject, row, material);
    const usedUs = cpuUs(subject.pid) - before;
    process.kill(subject.pid, "SIGTERM");
    await subject.ended;
    const { places, functions, totalUs } = read(
      join(
        folder,
        readdirSync(folder).find((name) => name.endsWith(".cpuprofile"))!,
      ),
    );
    const units = unitsFor(usedUs);
    const show = (name: string, us: number): void =>
      console.log(`  ${(us / units).toFixed(3).padStart(8)} us ${((us / usedUs) * 100).toFixed(1).padStart(5)}%  ${name}`);
    const byTime = (map: Map<string, number>): [string, number][] => [...map].sort((a, b) => b[1] - a[1]);
    console.log(`\n${row.id}, ${subject.name}: ${(usedUs / units).toFixed(2)} us per ${row.kind === "paced" ? "token" : "answer"}`);
    for (const [name, us] of byTime(places)) show(name, us);
    show("engine, library and kernel outside JavaScript", Math.max(0, usedUs - totalUs));
    console.log("  by function:");
    for (const [name, us] of byTime(functions).slice(0, 14)) show(name, us);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const chosen = rows.filter((row) => (row.kind === "paced" || row.kind === "whole") && process.argv.slice(2).includes(row.id));
if (!buildAll()) throw new Error("a C compiler (cc) is needed: the reader of paced rows is a C program");
const first = await startFakeai("h1", ["--output-tokens", "100"]);
const material = await recordMaterial(first);
const recording = await recordPaced(first, material);
await first.stop();
for (const row of chosen) {
  if (row.kind !== "paced" && row.kind !== "whole") continue;
  const latency = row.kind === "paced" ? ["--itl", String(row.itlMs), "--ttft", String(row.itlMs)] : [];
  const tokens = row.kind === "paced" ? [] : ["--output-tokens", "100"];
  const mode = row.kind === "paced" ? "paced" : row.mode;
  const recorded = row.kind === "paced" ? recording : material.recordingFile;
  const engine = row.engineFlags ?? [];
  await profiled((flags) => startFakeai(row.wire, [...latency, ...tokens, ...engine], flags), row, material);
  const { control } = row;
  if (control !== null)
    await profiled((flags) => startControl(control, [...latency, "--mode", mode, "--recording", recorded], flags), row, material);
}
