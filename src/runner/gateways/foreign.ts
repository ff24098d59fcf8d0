/** Gateways before a server that is not ours: what can be said of them without knowing what the server did. */
import type { Endpoint } from "../../load/job.ts";
import { compareEvents } from "../../results/gateways/fidelity.ts";
import type { Check, CheckId } from "../../results/gateways/types.ts";
import type { ProtocolName } from "../../results/types.ts";
import type { GatewaySettings } from "../../settings/gateway.ts";
import { parseAddress, pathAt } from "../processes/address.ts";
import { probe } from "../processes/probe.ts";
import { RunError } from "../processes/target.ts";
import { askAnswers, checkHead, checkHeld, type Checked, describeFidelity, eventsBetween, type Ways } from "./checks.ts";

/** A server that runs already. */
export interface ForeignServer {
  /** By what it speaks. */
  readonly endpoints: Readonly<Partial<Record<ProtocolName, Endpoint>>>;
}

/** Asks it what it speaks. Throws RunError where it cannot be reached. */
export async function reachServer(url: string, { caFile, insecure, headers }: GatewaySettings): Promise<ForeignServer> {
  const { target, results } = await probe({ url, caFile, insecure, headers, named: null });
  const path = pathAt(parseAddress(url, "--url"), "/v1/chat/completions");
  const endpoints = Object.fromEntries(
    Object.entries(target.origins).map(([protocol, origin]) => [
      protocol,
      { origin, protocol, path, method: "POST", headers: { "content-type": "application/json", ...headers }, tls: target.tls } as Endpoint,
    ]),
  );
  if (Object.keys(endpoints).length === 0) {
    const why = results.find(({ refused }) => refused !== null)?.refused ?? "no answer";
    throw new RunError(`--url: ${url} speaks nothing that is known (${why}): is a server there?`);
  }
  return { endpoints };
}

/** What only a server of ours can be told to do, or has seen. */
const needOurs: readonly CheckId[] = ["abort", "errors", "retries", "stall", "cut", "stream-limit"];

/** The checks that need nothing of the server: each answer beside the one that comes direct to the same request. */
export async function checkForeign(ways: Ways, progress: (what: string) => void): Promise<Checked> {
  const unknown = (id: CheckId, seen: string): Check => ({ id, verdict: "unknown", seen });
  progress("events");
  const sent = await askAnswers(ways, ways.direct);
  const again = await askAnswers(ways, ways.direct);
  const received = await askAnswers(ways, ways.through);
  const others = needOurs.map((id) => unknown(id, "only a server of ours can be asked for it, or tell of it: leave --url out"));
  const failed = received.find(({ events }) => events.length === 0);
  if (failed !== undefined) {
    const seen = `no streamed answer came through (${failed.head === null ? failed.ended : `status ${failed.head.status}`})`;
    return { checks: [{ id: "events", verdict: "fault", seen }, ...others], fidelity: null, upstreamHttp: null };
  }
  const same = compareEvents(eventsBetween(sent, again));
  const fidelity = compareEvents(eventsBetween(sent, received));
  const found = describeFidelity(fidelity);
  const isSteady = same.lost + same.repeated + same.reordered + same.changed + same.broken === 0;
  // Each answer has an id and a time of its own: by bytes they can only be compared where the server repeats these.
  const isSameBytes = same.identical === same.sent;
  const differs = "the server's own answers to one request differ, so that what came through cannot be compared";
  const checks = found.map((check) => {
    if (check.id === "events" && !isSteady) return unknown("events", differs);
    return check.id === "bytes" && !isSameBytes ? unknown("bytes", differs) : check;
  });
  progress("reads");
  const held = await checkHeld({ set: () => Promise.resolve() }, ways);
  return { checks: [...checks, held, checkHead(sent[0]!, received[0]!), ...others], fidelity, upstreamHttp: null };
}
