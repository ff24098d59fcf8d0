/**
 * Entry of a loader process: one job at a time, as messages from its parent.
 *
 * In: { driver, job }, { go } (the measured part may begin), { abort }. Out: { phase }, { done }, { report } or { error }.
 */
import { PauseMeter, type Pauses } from "../base/pauses.ts";
import { generate } from "./generator.ts";
import type { LoadJob, LoadReport } from "./job.ts";

export type ToLoader =
  | { readonly kind: "job"; readonly driver: "stream" | "autocannon"; readonly job: LoadJob }
  /** The measured part may begin: at this instant of the monotonic clock, or at once. */
  | { readonly kind: "go"; readonly atUs?: number }
  | { readonly kind: "abort" };
export type FromLoader =
  | { readonly kind: "phase"; readonly phase: "begin" | "end" }
  | { readonly kind: "progress"; readonly done: number }
  | { readonly kind: "report"; readonly report: LoadReport }
  | { readonly kind: "error"; readonly message: string };

function tell(message: FromLoader): void {
  process.send?.(message);
}

let abort = new AbortController();
let go: (atUs?: number) => void = () => {};

async function run(driver: "stream" | "autocannon", job: LoadJob): Promise<void> {
  abort = new AbortController();
  const meter = new PauseMeter();
  let pauses: Pauses | undefined;
  try {
    const run = driver === "stream" ? generate : (await import("./drivers/autocannon.ts")).generateWithAutocannon;
    const report = await run(job, {
      signal: abort.signal,
      onPhase(phase) {
        tell({ kind: "phase", phase });
        if (phase === "end") pauses = meter.read();
        // In both phases the parent reads the CPU time of the server before the load goes on.
        return new Promise((resolve) => {
          go = (atUs) => {
            // Only the measured part counts, without the wait for the parent.
            if (phase === "begin") meter.read();
            resolve(atUs);
          };
        });
      },
      onProgress: (done) => tell({ kind: "progress", done }),
    });
    tell({ kind: "report", report: { ...report, ...(pauses === undefined ? {} : { pauses }) } });
  } catch (error) {
    tell({ kind: "error", message: (error as Error).message });
  } finally {
    meter.stop();
  }
}

process.on("message", (message: ToLoader) => {
  if (message.kind === "job") void run(message.driver, message.job);
  else if (message.kind === "go") go(message.atUs);
  else abort.abort();
});
// Ctrl-C reaches this process too, but the parent says when to stop.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => {});
// The parent may be killed.
process.on("disconnect", () => process.exit(0));
