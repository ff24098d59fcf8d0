/** What the certificates in `results/gateways` have found, as parts of their page: nothing stands there that their files do not say. */
import { addedText, boundText, checkNames, rateText } from "../../src/report/gateways/words.ts";
import { digits } from "../../src/report/format.ts";
import { judgeClaims } from "../../src/results/gateways/claims.ts";
import type { Certificate, CheckVerdict, GatewayResult, Level } from "../../src/results/gateways/types.ts";
import { table } from "../support/page.ts";

/** A result by the name of its folder. */
export type GatewayResults = Readonly<Record<string, GatewayResult>>;

const all = (results: GatewayResults): Certificate[] => Object.values(results).flatMap(({ certificates }) => certificates);

/** When, on what and how busy each was, with its command. */
export function gatewayRuns(results: GatewayResults): string {
  return table(
    ["run", "command", "machine", "taken", "load before, after"],
    Object.entries(results).map(([name, { command, environment, startedAt, loadAverageAfter }]) => [
      `[${name}](${name}/gateway.json)`,
      `\`${command.join(" ")}\``,
      `${environment.cores} cores, ${environment.cpu}, Node ${environment.node}`,
      startedAt.slice(0, 16).replace("T", " "),
      `${digits(environment.loadAverage[0] ?? 0)}, ${digits(loadAverageAfter[0] ?? 0)}`,
    ]),
  );
}

const none = "–";

/** What each adds at the lowest rate, what it takes, and up to which rate it was followed. */
export function gatewaysTable(results: GatewayResults): string {
  return table(
    ["gateway", "version", "TTFT, median", "way of a token, median", "at", "CPU, µs a request", "µs a token", "memory, MB", "bound"],
    Object.entries(results).flatMap(([name, { boundMs, certificates }]) =>
      certificates
        .filter(({ leftOut }) => leftOut === null)
        .map((one): string[] => {
          const first = one.levels.find(({ limit }) => limit !== "client or server");
          const kept = one.levels.filter(({ limit }) => limit === null);
          return [
            `${one.id} (${name})`,
            one.version ?? "not told",
            first === undefined ? none : addedText(first.addedTtftP50),
            first === undefined ? none : addedText(first.addedTokenP50),
            first === undefined ? none : rateText(first),
            spanOf(kept.length === 0 ? one.levels : kept, ({ gatewayCpuUsPerRequest }) => gatewayCpuUsPerRequest),
            spanOf(kept.length === 0 ? one.levels : kept, ({ gatewayCpuUsPerToken }) => gatewayCpuUsPerToken),
            spanOf(one.levels, ({ gatewayRssBytes }) => (gatewayRssBytes === null ? null : gatewayRssBytes / 1e6)),
            boundText(one, boundMs),
          ];
        }),
    ),
  );
}

/** From the least to the most over the levels. */
function spanOf(levels: readonly Level[], figure: (level: Level) => number | null): string {
  const values = levels.map(figure).filter((value) => value !== null);
  if (values.length === 0) return none;
  const [low, high] = [Math.min(...values), Math.max(...values)].map((value) => value.toPrecision(2)).map(Number);
  return low === high ? String(low) : `${low} to ${high}`;
}

/** How far the measurement itself reached, without a gateway. */
export function ownLimitsTable(results: GatewayResults): string {
  const rows = Object.entries(results).flatMap(([name, { ownLimits = [] }]) =>
    ownLimits.map(({ protocol, keptPerSecond, passedPerSecond, reason, clientCpuShare }) => [
      name,
      protocol,
      keptPerSecond === null ? none : `${digits(keptPerSecond)}/s`,
      passedPerSecond === null ? "not met" : `${digits(passedPerSecond)}/s: ${reason ?? ""}`,
      clientCpuShare === null ? none : `${Math.round(clientCpuShare * 100)}% of a core`,
    ]),
  );
  return rows.length === 0 ? "Not told by these runs." : table(["run", "protocol", "kept up to", "not at", "client at the highest"], rows);
}

const order: readonly CheckVerdict[] = ["fault", "changed", "unknown"];

/** All that is not as without the gateway, faults first; then those with nothing of the kind. */
export function gatewayFindings(results: GatewayResults): string {
  const looked = all(results).filter(({ leftOut }) => leftOut === null);
  const rows = order.flatMap((verdict) =>
    looked.flatMap(({ id, checks }) =>
      checks.filter((check) => check.verdict === verdict).map((check) => [id, verdict, checkNames[check.id], check.seen]),
    ),
  );
  const clean = looked.filter(({ checks }) => checks.every(({ verdict }) => verdict === "kept" || verdict === "unknown"));
  const left = all(results).filter(({ leftOut }) => leftOut !== null);
  return [
    table(["gateway", "verdict", "what", "seen"], rows),
    ...(clean.length === 0 ? [] : [`No fault, and nothing changed: ${clean.map(({ id }) => id).join(", ")}.`]),
    ...(left.length === 0 ? [] : [`Left out: ${left.map(({ id, leftOut }) => `${id} (${leftOut!})`).join(", ")}.`]),
  ].join("\n\n");
}

/** Public claims, held against all runs. */
export function gatewayClaims(results: GatewayResults): string {
  return table(
    ["gateway", "claim", "verdict", "measured", "conditions", "it leaves out"],
    judgeClaims(all(results)).map(({ claim, verdict, measured }) => [
      claim.gateway,
      `${claim.text} (${claim.source})`,
      verdict,
      measured,
      claim.conditions,
      claim.leavesOut,
    ]),
  );
}
