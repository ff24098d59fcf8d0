/** A bench as one shard of a load: it finds its number, agrees with the others on the plan, and meets them. */
import { createHash } from "node:crypto";
import { networkInterfaces } from "node:os";
import { hostInUrl, addressOf, isLoopback } from "../base/host.ts";
import { UsageError } from "../base/usage-error.ts";
import { ownVersion } from "../base/version.ts";
import type { BenchResult } from "../results/types.ts";
import { collected } from "../shards/collected.ts";
import { Meeting } from "../shards/meeting.ts";
import type { Plan } from "../shards/messages.ts";
import { mayDoWithoutToken, openRendezvous, type Rendezvous } from "../shards/rendezvous.ts";
import { type Share, shareName, shareOf } from "../shards/share.ts";
import type { Observer } from "./arms.ts";
import type { BenchOptions, ShardOptions } from "./plan/options.ts";
import { bustCacheAs } from "./plan/prompts.ts";
import { dealable } from "./plan/requests.ts";
import type { Variant } from "./plan/scenario.ts";

/** This process among the others. */
export interface Sharding {
  readonly share: Share;
  readonly meeting: Meeting;
  /**
   * Hands the result in. Resolves with the merged one where this process holds the rendezvous, with null where another does, and with
   * the reason, in a line, where there is none.
   */
  finish(result: BenchResult): Promise<BenchResult | string | null>;
  close(): Promise<void>;
}

export interface ShardRun {
  readonly options: BenchOptions;
  readonly variants: readonly Variant[];
  readonly observer: Observer;
  readonly signal: AbortSignal;
}

/** Null where the whole load is made here. Throws UsageError where the shards do not come together. */
export async function joinShards({ options, variants, observer, signal }: ShardRun): Promise<Sharding | null> {
  if (options.shard === null) return null;
  const { spec, rendezvous: at, token, joinMs, barrierMs } = options.shard;
  const share = shareOf(spec, process.env);
  for (const variant of variants) checkDealable(variant, share);
  const notice = (text: string): void => observer.notice(text);
  const held = share.shard === 1 ? await holdRendezvous(options.shard, share, notice) : null;
  let meeting: Meeting;
  try {
    observer.progress(`${shareName(share)}: waiting for the others`);
    meeting = await Meeting.join({
      share,
      host: at.host,
      port: held?.port ?? at.port,
      token,
      plan: planOfShards(options, variants),
      joinMs,
      // A request that hangs is given up after this long, and nothing of a round lasts longer than that.
      patienceMs: options.requestTimeoutMs + barrierMs,
      notice,
      signal,
    });
  } catch (error) {
    held?.end((error as Error).message);
    await held?.close();
    throw error;
  }
  bustCacheAs(Number.parseInt(meeting.session.slice(0, 8), 16));
  // Ctrl-C is meant for the run. SIGTERM is for this process: a pod that is evicted, a node that is drained. Its successor goes on, unless
  // the rendezvous goes with it.
  const isForAll = (): boolean => held !== null || signal.reason === "SIGINT";
  const onInterrupt = (): void => (isForAll() ? meeting.leave("it was interrupted") : meeting.close());
  if (signal.aborted) onInterrupt();
  signal.addEventListener("abort", onInterrupt, { once: true });
  return {
    share,
    meeting,
    async finish(result) {
      if (signal.aborted && !isForAll()) return `ended by ${String(signal.reason)}: the others go on, and wait for this shard to come back`;
      const isKept = await meeting.finish(result);
      if (held === null)
        return isKept ? null : `the rendezvous has not taken the result: merge those of all shards (fakeai merge --shards)`;
      try {
        return collected(await held.ended, share.of) ?? "no shard handed a result in";
      } catch (error) {
        return (error as Error).message;
      }
    },
    async close() {
      signal.removeEventListener("abort", onInterrupt);
      meeting.close();
      await held?.close();
    },
  };
}

/** Shard 1 holds the rendezvous where its address is this machine's, and nothing holds it yet. Throws UsageError. */
async function holdRendezvous(
  { rendezvous: { host, port }, token, joinMs, barrierMs }: ShardOptions,
  { of }: Share,
  notice: (text: string) => void,
): Promise<Rendezvous | null> {
  if (!(await isOurs(host))) return null;
  if (token === null && !mayDoWithoutToken(host))
    throw new UsageError(`--rendezvous: others reach ${host}: give all shards a --rendezvous-token (or FAKEAI_RENDEZVOUS_TOKEN)`);
  try {
    const held = await openRendezvous({ host, port, token, of, joinMs, barrierMs, notice });
    notice(`the rendezvous is at ${hostInUrl(host)}:${held.port}`);
    return held;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // fakeai rendezvous runs on this machine.
    if (code === "EADDRINUSE") return null;
    throw new UsageError(`--rendezvous: nothing can listen at ${hostInUrl(host)}:${port} (${code ?? (error as Error).message})`);
  }
}

async function isOurs(host: string): Promise<boolean> {
  if (isLoopback(host)) return true;
  try {
    const address = await addressOf(host);
    return isLoopback(address) || Object.values(networkInterfaces()).some((all) => all?.some((one) => one.address === address));
  } catch {
    // The name of a Service may come later than this process.
    return false;
  }
}

/** Every shard sends something in every round. Throws UsageError. */
function checkDealable({ scenario, workload }: Variant, { of }: Share): void {
  const requests = dealable(workload);
  const few = workload.streams < of ? `${workload.streams} streams` : requests < of ? `${requests} requests` : null;
  if (few !== null)
    throw new UsageError(
      `--shard: ${few} of ${scenario} cannot be split into ${of} parts: --streams and --requests are those of all shards together`,
    );
}

/** What is each shard's own, or only says where results go. */
const own: ReadonlySet<keyof BenchOptions> = new Set<keyof BenchOptions>(["shard", "headers", "body", "network"]);

/** What all shards have to agree on, by what people call it. Secrets are in it as their digests. */
export function planOfShards(options: BenchOptions, variants: readonly Variant[]): Plan {
  const digest = (value: unknown): string => createHash("sha256").update(JSON.stringify(value)).digest("base64").slice(0, 16);
  const flags = (Object.keys(options) as (keyof BenchOptions)[])
    .filter((key) => !own.has(key))
    .map((key): [string, string] => [settingName(key), JSON.stringify(options[key])]);
  return {
    "the version of fakeai": ownVersion(),
    ...Object.fromEntries(flags),
    "--header and --api-key": digest(options.headers),
    "--body": digest(options.body),
    "the network (--rtt, --stall, ...)": JSON.stringify(options.network),
    // A file may differ where its name does not.
    ...Object.fromEntries(
      variants.map((variant) => [`scenario ${variant.scenario}${variant.name === "" ? "" : ` (${variant.name})`}`, digest(variant)]),
    ),
  };
}

/** Members of the options that are called otherwise on a command line. */
const settingNames: Readonly<Partial<Record<keyof BenchOptions, string>>> = {
  urls: "--url",
  url: "the first --url",
  scenarios: "--scenario",
  protocols: "--protocol",
  durationS: "--duration",
  requirements: "--require",
  idleTimeoutMs: "--timeout",
  requestTimeoutMs: "--request-timeout",
  caFile: "--cacert",
  axes: "a list of values",
};

function settingName(key: keyof BenchOptions): string {
  return settingNames[key] ?? `--${key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}
