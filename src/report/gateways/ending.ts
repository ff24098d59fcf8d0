/** The last thing on the screen of `fakeai gateway certify`: the faults, what each gateway adds, and whether to believe it. */
import { printable } from "../../base/printable.ts";
import { faultsOf } from "../../results/gateways/store.ts";
import type { Certificate, GatewayResult } from "../../results/gateways/types.ts";
import { codes, type Paint, type TableOptions } from "../table.ts";
import { addedText, boundText, checkNames, clientText, gatewayHeadline, machineText } from "./words.ts";

/** Lines that a screen has room for, without those that say where files are. */
const mostLines = 23;
const indent = "  ";

/** In at most 23 lines of the given width. Ends in a newline. */
export function renderGatewayEnding(result: GatewayResult, options: TableOptions): string {
  const { width } = options;
  const faults = faultsOf(result);
  const paint = (line: string, name: Paint): string => (options.color ? `\u001B[${codes[name]}m${line}\u001B[0m` : line);
  const cut = (text: string): string => {
    const shown = printable(text);
    return shown.length <= width ? shown : `${shown.slice(0, width - 1)}…`;
  };
  const head = [
    ...(result.complete ? [] : [paint(cut("Not complete: this is what was measured until it ended."), "yellow")]),
    ...result.invalid.slice(0, 2).map((reason) => paint(cut(`Not valid: ${reason}`), "red")),
    paint(cut(gatewayHeadline(result)), "bold"),
  ];
  const judged = result.claims.filter(({ verdict }) => verdict !== "not comparable");
  const believe = [clientText(result), machineText(result)].filter((text) => text !== "");
  const isLooked = result.certificates.some(({ leftOut }) => leftOut === null);
  // Of nothing there is nothing to believe.
  const tail = [
    ...judged.map(({ claim, verdict, measured }) => cut(`Claim        ${claim.gateway} "${claim.text}": ${verdict}: ${measured}`)),
    ...(result.claims.length > judged.length
      ? [cut(`Claims       ${result.claims.length - judged.length} not comparable: the page says why`)]
      : []),
    ...believe.map((text, index) => cut(`${index === 0 ? "Believe it?" : "           "}  ${text}`)),
  ].slice(0, isLooked ? 6 : 0);
  const room = mostLines - head.length - tail.length;
  const own = result.certificates.map((one) => linesOf(one, result).map(cut));
  const failed = faults.map(({ certificate, check }) =>
    paint(cut(`${indent}fault  ${certificate.id}, ${checkNames[check.id]}: ${check.seen}`), "red"),
  );
  // Faults first: they are why the exit code is 1. Then as many gateways as have room, each with all of its lines or with one.
  const shownFaults = limited(failed, Math.max(3, Math.floor(room / 2)));
  const left = room - shownFaults.length;
  const whole = own.flat();
  const body =
    whole.length <= left
      ? whole
      : limited(
          own.map(([first]) => first!),
          left,
        );
  return `${[...head, ...shownFaults, ...body, ...tail].slice(0, mostLines).join("\n")}\n`;
}

function limited(lines: readonly string[], most: number): string[] {
  if (lines.length <= most) return [...lines];
  return [...lines.slice(0, Math.max(0, most - 1)), `${indent}and ${lines.length - Math.max(0, most - 1)} more`];
}

/** What a gateway adds at the lowest rate, and up to which rate it keeps the bound. */
function linesOf(certificate: Certificate, { boundMs }: GatewayResult): string[] {
  const { id, levels, leftOut, version } = certificate;
  if (leftOut !== null) return [`${indent}${id}: left out: ${leftOut}`];
  const [first] = levels;
  const name = version === null ? id : `${id} (${version})`;
  if (first === undefined) return [`${indent}${name}: ${boundText(certificate, boundMs)}`];
  const cpu = levels.findLast(({ gatewayCpuUsPerToken, limit }) => gatewayCpuUsPerToken !== null && limit === null)?.gatewayCpuUsPerToken;
  return [
    `${indent}${name}: TTFT p50 ${addedText(first.addedTtftP50)}${cpu == null ? "" : `, ${cpu.toFixed(1)} µs of CPU a token`}`,
    `${indent}${indent}${boundText(certificate, boundMs)}`,
  ];
}
