import { dirname, join } from "node:path";
import { hostInUrl } from "../base/host.ts";
import { fileNameOf, printableJson } from "../base/printable.ts";
import { UsageError } from "../base/usage-error.ts";
import { placesText, renderEnding } from "../report/ending.ts";
import { renderTable } from "../report/table.ts";
import { gateOf, outcomesOfResult } from "../results/gates.ts";
import type { BenchResult } from "../results/types.ts";
import { runsDirectory } from "../settings/bench.ts";
import { givenByEnvironment } from "../settings/environment.ts";
import { settingsOf } from "../settings/parse.ts";
import { rendezvousFlags, type RendezvousSettings } from "../settings/shards.ts";
import { collected } from "../shards/collected.ts";
import { mayDoWithoutToken, openRendezvous, type Rendezvous } from "../shards/rendezvous.ts";
import type { Line } from "./command.ts";
import { refuseUnknownVariables } from "./environment.ts";
import { type Interruption, listenForInterruption } from "./interruption.ts";
import { ResultDirectory } from "./output.ts";
import { Progress } from "./progress.ts";
import { complainOfResult, gateCodes } from "./results.ts";
import { endingStyle, print, tableStyle } from "./terminal.ts";

/** `fakeai rendezvous`: attends one run of all shards, and writes its merged result. Its exit codes are those of that run. */
export async function rendezvous({ given }: Line): Promise<number> {
  refuseUnknownVariables(rendezvousFlags);
  const settings = settingsOf(rendezvousFlags, {
    ...givenByEnvironment(rendezvousFlags, process.env, ({ environment }) => environment),
    ...given,
  });
  const { shards, out, json, full } = settings;
  if (shards === null) throw new UsageError("--shards: say how many shards the load has");
  const progress = new Progress(process.stderr);
  const notice = (text: string): void => progress.notice(text);
  const place = out ?? join(runsDirectory, fileNameOf(`${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}-shards`));
  const directory = new ResultDirectory(place, out === null ? null : "--out", notice);
  const held = await open(settings, shards, notice).catch((error: unknown) => {
    directory.discard();
    throw error;
  });
  const interruption = listenForInterruption(
    () => held.end("the rendezvous was interrupted"),
    () => notice("ended at once: no result was written"),
  );
  notice(`${shards} shards meet at ${hostInUrl(held.host)}:${held.port}`);
  try {
    const end = await held.ended;
    const result = collected(end, shards);
    if (result === null) {
      directory.discard();
      throw new UsageError(`no shard handed a result in: ${end.reason ?? "the run ended"}`);
    }
    return await show(result, directory, { json, full }, interruption);
  } finally {
    await held.close();
    progress.end();
    interruption.end();
  }
}

async function open(
  { listen: { host, port }, rendezvousToken, rendezvousTimeout, barrierTimeout }: RendezvousSettings,
  of: number,
  notice: (text: string) => void,
): Promise<Rendezvous> {
  const token = rendezvousToken === "" ? null : rendezvousToken;
  if (token === null && !mayDoWithoutToken(host))
    throw new UsageError(`--listen: others reach ${host}: give a --rendezvous-token (or FAKEAI_RENDEZVOUS_TOKEN)`);
  try {
    return await openRendezvous({ host, port, token, of, joinMs: rendezvousTimeout * 1000, barrierMs: barrierTimeout * 1000, notice });
  } catch (error) {
    const { code = "unknown" } = error as NodeJS.ErrnoException;
    const hint = code === "EADDRINUSE" ? "another program has it: give another port" : "name an address of this machine";
    throw new UsageError(`--listen: nothing can listen at ${hostInUrl(host)}:${port} (${code}): ${hint}`);
  }
}

async function show(
  result: BenchResult,
  directory: ResultDirectory,
  { json, full }: Pick<RendezvousSettings, "json" | "full">,
  interruption: Interruption,
): Promise<number> {
  complainOfResult(result);
  await print(
    json ? `${printableJson(result)}\n` : `${full ? `${renderTable(result, tableStyle())}\n` : ""}${renderEnding(result, endingStyle())}`,
  );
  const { result: file, report, complaints } = await directory.write(result);
  if (complaints.length > 0) throw new Error(complaints.join("; "));
  if (!json) await print(placesText(report, dirname(file)));
  if (!result.complete && interruption.exitCode !== null) return interruption.exitCode;
  return gateCodes[gateOf(outcomesOfResult(result), false)];
}
