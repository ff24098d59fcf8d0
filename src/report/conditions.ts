/** What a verdict holds for. Every report says it beside the verdict: an experiment shows nothing about other conditions. */
import { protocolTraits } from "../results/protocols.ts";
import type { ArmResult, ClaimResult, Comparison, ScenarioResult } from "../results/types.ts";
import { behindOf, digits } from "./format.ts";

type Tested = Pick<ScenarioResult, "arms" | "workload" | "conditions">;

/**
 * What a comparison holds for, each part a phrase: the arms ("node, no TLS, RTT 40 ms"), the load ("1,000 streams started at
 * once, ITL 10 ms, 30 tokens"), what the scenario adds, and who fell behind the plan.
 */
export function conditionsOf(scenario: Tested, { baseline, candidate }: Pick<Comparison, "baseline" | "candidate">): string[] {
  const { arms, conditions = "" } = scenario;
  const both = [candidate, baseline].map((name) => arms.find(({ id }) => id === name)).filter((arm) => arm !== undefined);
  return [armsText(both), loadText(scenario), conditions, behindOf(both).join(", ")].filter((text) => text !== "");
}

/** What a claim was tested with. Its own conditions have those of the scenario's variant in them. */
export function claimConditions(scenario: Tested, { comparison, conditions = "" }: ClaimResult): string[] {
  const tested = conditions === "" ? "" : `tested with ${conditions}`;
  if (comparison === null) return [tested].filter((text) => text !== "");
  const { arms, workload } = scenario;
  return [tested, ...conditionsOf({ arms, workload }, comparison)].filter((text) => text !== "");
}

function armsText(both: readonly ArmResult[]): string {
  const distinct = (values: readonly string[]): string => [...new Set(values)].join(" against ");
  if (both.length === 0) return "";
  return [
    distinct(both.map(({ engine }) => engine)),
    distinct(both.map(cipherOf)),
    `RTT\u00A0${distinct(both.map(({ rttMs }) => digits(rttMs)))}\u00A0ms`,
  ].join(", ");
}

function cipherOf({ cipher, protocol }: ArmResult): string {
  return cipher ?? (protocolTraits[protocol].isEncrypted ? "TLS, cipher unknown" : "no TLS");
}

/** The load as it was run; what a result does not say is left out. */
function loadText({ workload, arms }: Tested): string {
  const { mode, streams, stream, rampMs, outputTokens, page, trace, tape } = workload;
  const parts: string[] = [];
  if (mode === "open") parts.push(openText(workload));
  else if (typeof page === "string") parts.push("one page of calls at a time");
  else if (typeof streams === "number") {
    const started =
      stream !== true || streams === 1 || rampMs === undefined
        ? ""
        : rampMs === 0
          ? " started at once"
          : ` started over ${shown(rampMs)}\u00A0ms`;
    parts.push(streams === 1 ? "one at a time" : `${digits(streams)}\u00A0${stream === true ? "streams" : "at once"}${started}`);
  }
  // Another server's pace is its own.
  const paced = stream === true && !arms.some(({ engine }) => engine === "external");
  if (paced && workload["ttft"] !== undefined) parts.push(`TTFT\u00A0${pace(workload["ttft"])}`);
  if (paced && workload["itl"] !== undefined) parts.push(`ITL\u00A0${pace(workload["itl"])}`);
  if (
    typeof outputTokens === "number" &&
    typeof page !== "string" &&
    typeof trace !== "string" &&
    typeof tape !== "string" &&
    workload["method"] === "POST"
  )
    parts.push(`${digits(outputTokens)}\u00A0tokens`);
  return [...parts, ...networkTexts(workload["network"])].join(", ");
}

function openText({ rate, trace, tape }: Tested["workload"]): string {
  if (typeof tape === "string") return "open loop, calls and arrivals of a tape";
  if (typeof trace === "string") return "open loop, lengths and arrivals of a trace";
  return typeof rate === "number" ? `open loop, ${digits(rate)}\u00A0requests/s` : "open loop";
}

type Value = Tested["workload"][string] | undefined;

function shown(value: Value): string {
  return typeof value === "number" ? digits(value) : String(value);
}

/** A number, or the text of a flag, which is one of milliseconds unless it says otherwise. */
function pace(value: Value): string {
  return typeof value === "number" || /^[\d.]+$/.test(String(value)) ? `${digits(Number(value))}\u00A0ms` : String(value);
}

/** Settings of the network beside its round trip: "stall 1%,40ms". A result has them as JSON. */
function networkTexts(network: Value): string[] {
  if (typeof network !== "string") return [];
  let settings: unknown;
  try {
    settings = JSON.parse(network);
  } catch {
    return [];
  }
  if (typeof settings !== "object" || settings === null) return [];
  return Object.entries(settings).flatMap(([name, value]) => {
    if (name === "rtt") return [];
    return [`${name} ${typeof value === "object" ? JSON.stringify(value) : String(value)}`];
  });
}
