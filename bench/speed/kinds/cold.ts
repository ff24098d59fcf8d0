/** From spawning the process to the first answer, and what an idle process holds. */
import { median } from "../../support/statistics.ts";
import type { Material } from "../measures.ts";
import type { Measured, Run } from "../rounds.ts";
import type { ColdRow } from "../rows.ts";
import { ask, cpuUs, rssKb, start, startFakeai } from "../subjects.ts";

interface ColdSample {
  /** Wall time from spawning the process to the whole of the first answer. */
  readonly answeredMs: number;
  /** CPU time of all its threads until then. */
  readonly cpuMs: number;
  /** Resident memory after a second without requests. */
  readonly idleMb: number;
}

const idleMs = 1000;

/** A server of node:http that answers at once: what the runtime alone takes. */
const bareServer = `require("node:http").createServer((request, response) => {
  request.resume();
  response.end("{}");
}).listen(0, "127.0.0.1", function () {
  console.log(JSON.stringify({ listening: [{ url: "http://127.0.0.1:" + this.address().port }] }));
});`;

const subjects = { h1: "h1", h2c: "h2c", "bare node:http": null } as const;
type Name = keyof typeof subjects;

export async function coldRow(row: ColdRow, run: Run, { unary }: Material): Promise<Measured> {
  const samples: Record<string, ColdSample[]> = {};
  // V8 keeps the code of a start for the next one, and for the second it keeps that of the first answer too.
  const unmeasured = 2;
  for (let round = -unmeasured; round < run.rounds; round++) {
    for (const [name, wire] of Object.entries(subjects)) {
      const startedMs = performance.now();
      const subject = wire === null ? await start("bare node:http", ["-e", bareServer]) : await startFakeai(wire, []);
      const answer = await ask(wire ?? "h1", subject.port, unary);
      const answeredMs = performance.now() - startedMs;
      const cpuMs = cpuUs(subject.pid) / 1000;
      await new Promise((resolve) => setTimeout(resolve, idleMs));
      const idleMb = rssKb(subject.pid) / 1024;
      if (round >= 0) (samples[name] ??= []).push({ answeredMs, cpuMs, idleMb });
      // In order, so that the code can be kept.
      process.kill(subject.pid, "SIGTERM");
      await subject.ended;
      if (answer.status !== 200) throw new Error(`status ${answer.status}`);
    }
  }
  const of = (name: Name, pick: keyof ColdSample): number[] => samples[name]!.map((sample) => sample[pick]);
  const worst = (pick: keyof ColdSample): number => Math.max(median(of("h1", pick)), median(of("h2c", pick)));
  const show = (name: Name): string =>
    `${name} ${Math.round(median(of(name, "answeredMs")))} ms (worst ${Math.round(Math.max(...of(name, "answeredMs")))}), CPU ${Math.round(median(of(name, "cpuMs")))} ms, idle ${median(of(name, "idleMb")).toFixed(1)} MiB`;
  return {
    lines: [
      {
        what: row.what,
        measured: `${show("h1")}; ${show("h2c")}`,
        against: show("bare node:http"),
        ratio: null,
        target: `at most ${row.targetMs} ms, ${row.targetMb} MiB`,
        met: worst("answeredMs") <= row.targetMs && worst("idleMb") <= row.targetMb,
      },
    ],
    samples,
  };
}
