/** Gateways between client and server: what each adds, whether it streams, and whether an abort goes through it. */
import { protocolTraits } from "../results/protocols.ts";
import { openConnection } from "../load/client/open.ts";
import type { Endpoint } from "../load/job.ts";
import type { Connection } from "../load/client/connection.ts";
import { type ProtocolName, protocolNames, type ScenarioResult } from "../results/types.ts";
import { defaultRounds } from "../settings/bench.ts";
import { withoutSecrets } from "../load/words.ts";
import { ask, documentAt } from "./processes/probe.ts";
import { RunError } from "./processes/target.ts";
import { adapted } from "./plan/adapt.ts";
import type { External, RunContext } from "./arms.ts";
import { type ClosedGaps, closedGaps, describeReads, isCoalesced } from "./coalescing.ts";
import type { BenchOptions } from "./plan/options.ts";
import { runVariant } from "./experiment.ts";
import { type Asking, bodyOf } from "./plan/body.ts";
import { type ArmSpec, defaultWorkload, type MetricRef, type PairSpec, type Variant } from "./plan/scenario.ts";

const tokens = 30;
const ttftMs = 100;
const itlMs = 20;
const metrics: readonly MetricRef[] = [
  { metric: "ttft", statistic: "p50" },
  { metric: "ttft", statistic: "p99" },
  { metric: "transport", statistic: "p50" },
  { metric: "transport", statistic: "p99" },
  { metric: "itl", statistic: "p99" },
];

/** Runs the same calls direct and through each gateway, and looks at what statistics do not show. */
export async function runVia(context: RunContext, server: External): Promise<ScenarioResult> {
  const { options, gateways } = context;
  const plan = { "x-fakeai-ttft": options.ttft ?? String(ttftMs), "x-fakeai-itl": options.itl ?? String(itlMs) };
  // What was asked for by name is sent: the server's own words say why it does not go.
  const isOrdered = options.ttft !== null || options.itl !== null;
  const refusal = isOrdered ? null : await refusalOf(server, { ...plan, ...options.headers }, options);
  const headers = { ...(refusal === null ? plan : {}), ...options.headers };
  const paced: RunContext = { ...context, options: { ...options, headers } };
  const variant = adapted(viaVariant(server, gateways, options.protocols), paced.options);
  const notes: string[] = [];
  if (refusal !== null) notes.push(`the server keeps its own pace: it refuses x-fakeai-ttft and x-fakeai-itl (${refusal})`);
  for (const [name, gateway] of gateways) {
    const upstream = await sharedUpstream(server, gateway, headers, options);
    notes.push(gateways.size === 1 ? upstream : `${name}: ${upstream}`);
  }
  const result = await runVariant(paced, variant);
  notes.push(...result.notes);
  // A server that takes no plan has its own pace: what came direct says it.
  const plannedUs = result.arms.find(({ id }) => id.startsWith("direct-"))?.metrics.itl?.p50 ?? itlMs * 1000;
  for (const { id, protocol, behind } of variant.arms) {
    if (context.signal.aborted) break;
    const external = behind === null ? server : gateways.get(behind)!;
    const look = endpointOf(
      external,
      protocol,
      { ...headers, "content-type": "application/json", "x-fakeai-stamps": "1" },
      options.endpoint,
    );
    const asked = { model: options.model, accepted: external.accepted };
    const gapsOf = (name: string): ClosedGaps | null => {
      const arm = result.arms.find((one) => one.id === name);
      return arm === undefined ? null : closedGaps(arm, plannedUs);
    };
    const inRounds = { own: gapsOf(id), direct: behind === null ? null : gapsOf(`direct-${protocol}`) };
    if (look !== null) notes.push(`${id}: ${await describeStream(look, asked, inRounds)}`);
    if (behind !== null && look !== null) notes.push(`${id}: ${await describeAbort(look, server, asked)}`);
  }
  return { ...result, notes };
}

/** Why the server refuses a request with these headers that name a plan, in its words: one with a batched scheduler does. null: it takes it. */
async function refusalOf(
  { target, pathOf, accepted }: External,
  headers: Readonly<Record<string, string>>,
  { endpoint, model }: BenchOptions,
): Promise<string | null> {
  const protocol = protocolNames.find((name) => target.origins[name] !== undefined)!;
  const path = pathOf(endpoint ?? defaultWorkload.path);
  const json = { "content-type": "application/json" };
  const at = {
    origin: target.origins[protocol]!,
    protocol,
    path,
    method: "POST",
    headers: { ...headers, ...json },
    tls: target.tls,
  } as const;
  const body = bodyOf({ path, stream: true, prompt: "hello", outputTokens: 1, seed: 1, model, accepted });
  const { status, text } = await ask(at, body).catch(() => ({ status: 0, text: null }));
  return status === 400 && text !== null && text.includes("x-fakeai-") ? withoutSecrets(text, headers) : null;
}

/** What an answer says of the server that gave it; null where it says nothing. */
export type Origin = Pick<Seen, "clock" | "instance">;

/**
 * Says which model server `--url` and `--via` share. Throws RunError where stamps tell that they share none: the difference
 * would be that of two servers.
 */
export function upstreamOf(origin: string, direct: Origin | null, through: Origin | null): string {
  const differ = (key: keyof Origin): boolean => direct?.[key] != null && through?.[key] != null && direct[key] !== through[key];
  // Replicas of one name have a clock each.
  const isOne = direct?.instance != null && direct.instance === through?.instance;
  if (!isOne && (differ("instance") || differ("clock")))
    throw new RunError(
      `--via: behind the gateway another server answers than ${origin}: their ${differ("instance") ? "x-fakeai-instance" : "x-fakeai-clock"} differs. Let the gateway lead to ${origin}`,
    );
  if (isOne) return `direct and through the gateway one model server answers: ${origin}, instance ${direct.instance}`;
  const who = direct?.instance == null ? "the server says" : "the gateway passes on";
  return `direct answers ${origin}; whether the gateway leads to the same server is not known: ${who} no x-fakeai-instance`;
}

async function sharedUpstream(
  server: External,
  gateway: External,
  headers: Readonly<Record<string, string>>,
  { endpoint: path, model }: BenchOptions,
): Promise<string> {
  const originOf = (external: External): Promise<Origin | null> => {
    const protocol = protocolNames.find((name) => external.target.origins[name] !== undefined);
    return protocol === undefined ? Promise.resolve(null) : whoAnswers(external, protocol, headers, { endpoint: path, model });
  };
  const direct = Object.values(server.target.origins)[0] ?? "the server";
  return upstreamOf(direct, await originOf(server), await originOf(gateway));
}

/** What one answer says of the server behind a protocol's address; null: nothing. Never rejects. */
async function whoAnswers(
  external: External,
  protocol: ProtocolName,
  headers: Readonly<Record<string, string>>,
  { endpoint: path, model }: Pick<BenchOptions, "endpoint" | "model">,
): Promise<Origin | null> {
  const endpoint = endpointOf(external, protocol, { ...headers, "content-type": "application/json", "x-fakeai-stamps": "1" }, path);
  if (endpoint === null) return null;
  try {
    const connection = await openConnection({ endpoint, timeoutMs });
    try {
      return await look(connection, endpoint, { model, accepted: external.accepted }, 1, Infinity);
    } finally {
      connection.close();
    }
  } catch {
    // The rounds show what is wrong with it.
    return null;
  }
}

/**
 * Two addresses that lead to two servers, where stamps tell: what looks like a protocol's doing would be the difference of two
 * servers. null: one server, or it cannot be told.
 */
export async function twoServers(external: External, options: BenchOptions): Promise<string | null> {
  const origins = new Map(
    (Object.entries(external.target.origins) as [ProtocolName, string][]).map(([protocol, origin]) => [origin, protocol]),
  );
  if (origins.size < 2) return null;
  const seen: { readonly origin: string; readonly instance: string }[] = [];
  for (const [origin, protocol] of origins) {
    const instance = (await whoAnswers(external, protocol, options.headers, options))?.instance;
    if (instance != null) seen.push({ origin, instance });
  }
  const [first, ...others] = seen;
  const other = others.find(({ instance }) => instance !== first!.instance);
  return first === undefined || other === undefined
    ? null
    : `${first.origin} and ${other.origin} are two servers: their x-fakeai-instance differs (replicas of one share FAKEAI_SERVER_ID)`;
}

function viaVariant(server: External, gateways: ReadonlyMap<string, External>, asked: readonly ProtocolName[] | null): Variant {
  const armsOf = (external: External, behind: string | null): ArmSpec[] =>
    protocolNames
      .filter((protocol) => external.target.origins[protocol] !== undefined && (asked === null || asked.includes(protocol)))
      .map((protocol) => ({
        id: `${behind ?? "direct"}-${protocol}`,
        protocol,
        engine: "node",
        role: "protocol",
        driver: "stream",
        connections: protocolTraits[protocol].isMultiplexed ? 1 : "streams",
        reuse: "keep",
        behind,
      }));
  const direct = armsOf(server, null);
  const via = [...gateways].flatMap(([name, gateway]) => armsOf(gateway, name));
  const pairs = via.flatMap((arm): PairSpec[] => {
    const same = direct.find(({ protocol }) => protocol === arm.protocol);
    return same === undefined ? [] : [{ baseline: same.id, candidate: arm.id, kind: "protocol", metrics }];
  });
  return {
    scenario: "via",
    title: gateways.size === 1 ? "Direct and through the gateway" : `Direct and through ${[...gateways.keys()].join(", ")}`,
    isolates: "The gateway: the same calls with it and without it",
    // In the words of the load: whose pair it is stands before it.
    question: "{streams} paced streams",
    name: "",
    workload: { ...defaultWorkload, ttft: ttftMs, itl: itlMs, outputTokens: tokens, streams: 10, requests: 20, warmup: 10 },
    arms: [...direct, ...via],
    pairs,
    claims: [],
    varies: [],
    rounds: defaultRounds,
  };
}

function endpointOf(
  { target, pathOf }: External,
  protocol: ProtocolName,
  headers: Readonly<Record<string, string>>,
  path: string | null,
): Endpoint | null {
  const origin = target.origins[protocol];
  return origin === undefined
    ? null
    : { origin, protocol, path: pathOf(path ?? defaultWorkload.path), method: "POST", headers, tls: target.tls };
}

/** Model and parameters of the calls that are looked at. */
type Asked = Pick<Asking, "model" | "accepted">;

interface Seen {
  /** Events of each read that held any. */
  readonly sizes: readonly number[];
  readonly stamped: boolean;
  readonly clock: string | null;
  readonly instance: string | null;
  readonly failed: string | null;
}

const timeoutMs = 15_000;

/** Sends one streamed request and looks at each read; gives it up after `abortAfter` reads. */
async function look(connection: Connection, endpoint: Endpoint, asked: Asked, outputTokens: number, abortAfter: number): Promise<Seen> {
  const body = bodyOf({ ...asked, path: endpoint.path, stream: true, prompt: "hello", outputTokens, seed: 1 });
  const sizes: number[] = [];
  let readAtUs = -1;
  let stamped = false;
  let clock: string | null = null;
  let instance: string | null = null;
  return new Promise((resolve) => {
    const settle = (failed: string | null): void => {
      clearTimeout(timer);
      resolve({ sizes, stamped, clock, instance, failed });
    };
    const timer = setTimeout(() => settle("no end within 15 s"), timeoutMs);
    const giveUp = connection.send(
      { method: "POST", path: endpoint.path, body },
      {
        onResponse: (head) => {
          clock = head.clock;
          instance = head.instance;
        },
        onData: (bytes, start, end, readUs) => {
          const text = bytes.toString("latin1", start, end);
          const count = text.split("data: {").length - 1;
          // Frames and chunks of one read come one by one.
          if (count > 0 && readUs === readAtUs) sizes.push(sizes.pop()! + count);
          else if (count > 0) sizes.push(count);
          if (count > 0) readAtUs = readUs;
          stamped ||= text.includes('"fakeai":{"due"');
          if (sizes.length >= abortAfter) {
            giveUp();
            settle(null);
          }
        },
        onEnd: () => settle(null),
        onFail: (reason) => settle(reason),
      },
    );
  });
}

/** Answers that are looked at, as long as each seems to be held back. */
const looks = 3;

/** What the rounds showed of an arm, and of the direct arm on its protocol; null: nothing. */
interface InRounds {
  readonly own: ClosedGaps | null;
  readonly direct: ClosedGaps | null;
}

/** Looks at one streamed answer, for people: reads, events and stamps, beside what the rounds showed. Never rejects. */
export async function describeStream(endpoint: Endpoint, asked: Asked, inRounds: InRounds = { own: null, direct: null }): Promise<string> {
  try {
    const connection = await openConnection({ endpoint, timeoutMs });
    try {
      const { own, direct } = inRounds;
      let seen = await look(connection, endpoint, asked, tokens, Infinity);
      // A client that was late once reads tokens together that came apart: what is held back is so each time.
      for (let again = 1; again < looks && seen.failed === null && isCoalesced(seen, null, null); again++)
        seen = await look(connection, endpoint, asked, tokens, Infinity);
      const { sizes, stamped, clock, failed } = seen;
      if (failed !== null) return `the stream could not be looked at: ${failed}`;
      const coalesced = isCoalesced({ sizes }, own, direct);
      const stamps = stamped
        ? clock === null
          ? "the stamps came through, the x-fakeai-clock header was dropped"
          : "the stamps came through"
        : "no stamps came through";
      return `${describeReads({ sizes }, own, direct)}: ${coalesced ? "tokens were coalesced" : "tokens were not coalesced"}; ${stamps}`;
    } finally {
      connection.close();
    }
  } catch (error) {
    return `the stream could not be looked at: ${(error as Error).message}`;
  }
}

/** Aborts a long answer and asks the server behind whether it noticed. */
async function describeAbort(endpoint: Endpoint, server: External, asked: Asked): Promise<string> {
  const before = await abortedStreams(server);
  if (before === null) return "whether an abort reaches the server cannot be seen (it has no /metrics of a kind we know)";
  try {
    const connection = await openConnection({ endpoint, timeoutMs });
    const { failed } = await look(connection, endpoint, asked, 500, 3);
    if (failed !== null) return `the abort could not be tried: ${failed}`;
    try {
      const deadline = performance.now() + 3000;
      while (performance.now() < deadline) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        const after = await abortedStreams(server);
        if (after !== null && after > before) return "an abort reaches the server";
      }
      return "an abort did not reach the server within 3 s: it goes on generating";
    } finally {
      connection.close();
    }
  } catch (error) {
    return `the abort could not be tried: ${(error as Error).message}`;
  }
}

/** Aborted streams as the server counts them; null where it does not say. */
async function abortedStreams({ target, pathOf }: External): Promise<number | null> {
  const [protocol, origin] = (Object.entries(target.origins) as [ProtocolName, string][])[0]!;
  const text = await documentAt({ origin, protocol, path: pathOf("/metrics"), method: "GET", headers: {}, tls: target.tls });
  const count = /^(?:fakeai_aborted_streams_total|vllm:request_success_total\{[^}]*finished_reason="abort"[^}]*\}) (\d+)/m.exec(
    text ?? "",
  )?.[1];
  return count === undefined ? null : Number(count);
}
