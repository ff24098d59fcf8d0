/**
 * Is fakeai as fast as this machine allows? Each row puts it beside the same work done by a raw engine (a control), by a
 * C loop, or by another fake server, in rounds that take turns, and gives the ratio with its interval.
 *
 * The server has core 0 for itself and the load core 1, so two cores must be idle.
 */
import { cpus, release } from "node:os";
import { parseArgs } from "node:util";
import { coldRow } from "./kinds/cold.ts";
import { heapRow } from "./kinds/heap.ts";
import { pacedRow } from "./kinds/paced.ts";
import { pacingRow } from "./kinds/pacing.ts";
import { sharedRow } from "./kinds/shared.ts";
import { sizeRow } from "./kinds/size.ts";
import { ttftRow } from "./kinds/ttft.ts";
import { waitingRow } from "./kinds/waiting.ts";
import { wholeRow } from "./kinds/whole.ts";
import { workersRow } from "./kinds/workers.ts";
import { type Material, recordMaterial, recordPaced } from "./measures.ts";
import { type Result, showRatio, writePage, writeResult } from "./page.ts";
import { installedPeers } from "./peers.ts";
import { type Measured, progress, type Run } from "./rounds.ts";
import { type Row, rows } from "./rows.ts";
import { buildAll, startFakeai } from "./subjects.ts";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: "string", default: "15" }, peers: { type: "boolean", default: false }, beside: { type: "string" } },
});
const rounds = Number(options.rounds);
const run: Run = { rounds, peers: options.peers, beside: options.beside ?? null };

async function measureRow(row: Row): Promise<Measured> {
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
      return pacedRow(row, run, material, recording);
    case "whole":
      return wholeRow(row, run, material);
    case "pacing":
      return pacingRow(row, run, material);
    case "ttft":
      return ttftRow(row, run, material, recording);
    case "waiting":
      return waitingRow(row, run, material);
    case "size":
      return sizeRow(row, run, material, recording);
    case "workers":
      return workersRow(row, run, material, recording);
    case "heap":
      return heapRow(row, run, material);
    case "shared":
      return sharedRow(row, run, material);
    case "cold":
      return coldRow(row, run, material);
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
