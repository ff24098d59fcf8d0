/** What stays in the heap after millions of tokens. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { HeapReport } from "../heap-server.ts";
import { type Material, unpacedTokens } from "../measures.ts";
import type { Measured, Run } from "../rounds.ts";
import type { HeapRow } from "../rows.ts";
import { runLoad } from "../subjects.ts";

export async function heapRow(row: HeapRow, _run: Run, material: Material): Promise<Measured> {
  const script = fileURLToPath(new URL("../heap-server.ts", import.meta.url));
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
        await runLoad("h2load", args, 120_000);
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
