/** The words of a certificate: what stands on the screen and on the page alike. */
import type { Added, Certificate, CheckId, GatewayResult, Level } from "../../results/gateways/types.ts";
import { faultsOf } from "../../results/gateways/store.ts";
import { digits } from "../format.ts";

/** What is looked at, for people. */
export const checkNames: Readonly<Record<CheckId, string>> = {
  events: "events",
  bytes: "bytes of events",
  end: "end of answers",
  held: "tokens one by one",
  head: "head",
  abort: "aborts",
  errors: "errors",
  retries: "own retries",
  stall: "a stall",
  cut: "a cut",
  "stream-limit": "limit of streams",
  http2: "protocols",
  delay: "delay",
};

/** "2 faults in 3 gateways: haproxy:buffering" and so on: the whole in a sentence. */
export function gatewayHeadline(result: GatewayResult): string {
  const looked = result.certificates.filter(({ leftOut }) => leftOut === null);
  const faults = faultsOf(result);
  const names = new Set(faults.map(({ certificate }) => certificate.id));
  const gateways = `${looked.length} ${looked.length === 1 ? "gateway and protocol" : "gateways and protocols"}`;
  if (looked.length === 0) return "No gateway could be looked at";
  if (faults.length === 0) return `${gateways}: no fault was found`;
  return `${faults.length} ${faults.length === 1 ? "fault" : "faults"} in ${names.size} of ${gateways}`;
}

/** Microseconds as milliseconds, with a sign: "+0.52 ms". */
export function signedMs(us: number): string {
  return `${us < 0 ? "−" : "+"}${digits(Math.abs(us) / 1000).replace("−", "")} ms`;
}

/** "+0.52 ms (0.41 to 0.63)"; null: fewer than two rounds tell. */
export function addedText(added: Added | null): string {
  if (added === null) return "not known";
  const end = (us: number): string => digits(us / 1000);
  return `${signedMs(added.estimateUs)} (${end(added.lowUs)} to ${end(added.highUs)})`;
}

/** "4.3/s (1 stream)". */
export function rateText({ streams, requestsPerSecond }: Level): string {
  return `${digits(requestsPerSecond)}/s (${streams} ${streams === 1 ? "stream" : "streams"})`;
}

/** Up to which rate the bound was kept, where it was passed, and between them what intervals leave open. */
export function boundText({ keptPerSecond, passedPerSecond, levels, leftOut }: Certificate, boundMs: number): string {
  if (leftOut !== null) return leftOut;
  const last = levels.at(-1);
  if (last === undefined) return "no rate was offered";
  const bound = `at most ${digits(boundMs)} ms more TTFT at p99`;
  const offered = levels.findLast(({ limit }) => limit === null);
  const kept = keptPerSecond === null ? null : `${bound} up to ${digits(keptPerSecond)} requests/s`;
  const open =
    offered !== undefined && offered.requestsPerSecond > (keptPerSecond ?? 0)
      ? `${kept === null ? `${bound}: ` : ""}not decided up to ${digits(offered.requestsPerSecond)} requests/s, the intervals are wider`
      : null;
  const end =
    passedPerSecond !== null
      ? `not at ${digits(passedPerSecond)} requests/s: ${last.reason ?? ""}`
      : last.limit === "client or server"
        ? `at ${digits(last.requestsPerSecond)} requests/s the measurement's own limit: ${last.reason ?? ""}`
        : null;
  return [kept, open, end].filter((part) => part !== null).join("; ");
}

/** How far the measuring client was from its limit, over all levels; "": there are none. */
export function clientText({ certificates }: GatewayResult): string {
  const levels = certificates.flatMap((one) => one.levels);
  if (levels.length === 0) return "";
  const most = (values: readonly (number | null)[]): number => Math.max(0, ...values.map((value) => value ?? 0));
  const share = Math.round(most(levels.map(({ clientCpuShare }) => clientCpuShare)) * 100);
  const pause = digits(most(levels.map(({ clientPauseUs }) => clientPauseUs)) / 1000);
  return `client at most ${share}% of a core, it stood still for ${pause} ms at most`;
}

/** Runs that other processes disturbed, and the load of the machine. */
export function machineText({ certificates, environment, loadAverageAfter }: GatewayResult): string {
  const levels = certificates.flatMap((one) => one.levels);
  const disturbed = levels.reduce((sum, level) => sum + level.disturbedRuns, 0);
  const load = (average: readonly number[]): string => digits(average[0] ?? 0);
  const runs = levels.reduce((sum, level) => sum + 2 * level.rounds, 0);
  return `load ${load(environment.loadAverage)} before and ${load(loadAverageAfter)} after on ${environment.cores} cores; ${disturbed} of ${runs} runs disturbed, and counted`;
}
