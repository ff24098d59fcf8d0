import { join } from "node:path";
import { fileNameOf, printable, printableJson } from "../base/printable.ts";
import { UsageError } from "../base/usage-error.ts";
import { didYouMean } from "../base/guess.ts";
import { gateways } from "../network/gateways/catalogue.ts";
import { gatewayProgram } from "../network/gateways/gateway.ts";
import { renderGatewayEnding } from "../report/gateways/ending.ts";
import { renderGatewayPage } from "../report/gateways/page.ts";
import { faultsOf, writeGatewayResult } from "../results/gateways/store.ts";
import { writeWhole } from "../results/store.ts";
import { checkAddresses } from "../runner/gateways/candidates.ts";
import { certify, estimateS } from "../runner/gateways/certify.ts";
import { RunError } from "../runner/processes/target.ts";
import { runsDirectory } from "../settings/bench.ts";
import { gatewayFlags, settleGateway } from "../settings/gateway.ts";
import { settingsOf } from "../settings/parse.ts";
import { shownArguments, timeName } from "./bench.ts";
import type { Line } from "./command.ts";
import { refuseUnknownVariables } from "./environment.ts";
import { listenForInterruption } from "./interruption.ts";
import { ResultDirectory, faultIn } from "./output.ts";
import { Progress } from "./progress.ts";
import { complain } from "./results.ts";
import { endingStyle, print } from "./terminal.ts";

/** What `fakeai gateway` can do. */
const actions = ["certify", "list"] as const;

/** `fakeai gateway`. Its exit codes are in `--help-all`. */
export async function gateway(line: Line): Promise<number> {
  const action = line.positionals[0]!;
  if (action === "list") {
    process.stdout.write(describeCatalogue());
    return 0;
  }
  if (action !== "certify")
    throw new UsageError(`"${action.slice(0, 60)}" is neither ${actions.join(" nor ")}${didYouMean(action, actions)}`);
  return certifyCommand(line);
}

async function certifyCommand({ given }: Line): Promise<number> {
  refuseUnknownVariables(gatewayFlags);
  const settings = settleGateway(settingsOf(gatewayFlags, given));
  checkAddresses(settings);
  const progress = new Progress(process.stderr);
  const path = settings.out ?? join(runsDirectory, fileNameOf(`${timeName(new Date())}-gateway`));
  const directory = new ResultDirectory(path, settings.out === null ? null : "--out", (text) => progress.notice(text));
  const interruption = listenForInterruption(
    () => progress.notice("interrupted: writing what was measured (again to end at once)"),
    () => progress.notice("ended at once: no result was written"),
  );
  progress.notice(`about ${Math.ceil(estimateS(settings) / 60)} min`);
  let result;
  try {
    result = await certify({
      settings,
      command: ["fakeai", "gateway", "certify", ...shownArguments(given)],
      progress: (text) => progress.update(text),
      notice: (text) => progress.notice(text),
      signal: interruption.signal,
    });
  } catch (error) {
    directory.discard();
    if (!(error instanceof RunError)) throw error;
    process.stderr.write(`fakeai: ${printable(error.message)}\n`);
    return 3;
  } finally {
    progress.end();
  }
  complain("invalid", result.invalid);
  // Shown first: a full disk must not take along what can still be read here.
  await print(settings.json ? `${printableJson(result)}\n` : renderGatewayEnding(result, endingStyle()));
  let isWritten = true;
  try {
    const file = await writeGatewayResult(path, result);
    const page = join(path, "gateway.html");
    await writeWhole(page, renderGatewayPage(result));
    if (!settings.json) await print(`${"Report".padEnd(12)} ${printable(page)}\n${"Figures".padEnd(12)} ${printable(file)}\n`);
  } catch (error) {
    isWritten = false;
    process.stderr.write(`fakeai: ${faultIn(error)}: the result was not written\n`);
  }
  interruption.end();
  if (!result.complete && interruption.exitCode !== null) return interruption.exitCode;
  if (result.invalid.length > 0) return 3;
  return faultsOf(result).length > 0 || !isWritten ? 1 : 0;
}

function describeCatalogue(): string {
  const rows = Object.entries(gateways).map(([name, kind]) => {
    const program = gatewayProgram(kind);
    const options = [...(kind.canBuffer ? [`${name}:buffering`] : []), ...(kind.upstreams.includes("2") ? [`${name}:h2`] : [])];
    const spoken = kind.clients.flatMap((side) => (side === "tls" ? ["h1s", "h2"] : [side]));
    const also = options.length === 0 ? "" : `; also ${options.join(", ")}`;
    return [
      `${name.padEnd(10)} ${(program === null ? "not installed" : `${kind.version(program) ?? "?"} at ${program}`).padEnd(44)} ${kind.licence}`,
      `${"".padEnd(10)} speaks ${spoken.join(", ")}${also}`,
      ...(program === null ? [`${"".padEnd(10)} ${kind.install}`] : []),
    ];
  });
  return `${rows.flat().join("\n")}\n`;
}
