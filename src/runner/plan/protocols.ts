/** Arms over the protocols that were asked for: those that a scenario has, and those that are made from them. */
import { protocolsOf, protocolTraits } from "../../results/protocols.ts";
import { type ProtocolName, protocolNames } from "../../results/types.ts";
import type { ArmSpec, PairSpec, Variant } from "./scenario.ts";

/** What is asked for. */
export interface Wanted {
  /** null: whatever the scenario has. */
  readonly protocols: readonly ProtocolName[] | null;
  /** Addresses that have to be spoken to; null: our own server, which speaks everything. */
  readonly urls: readonly string[] | null;
}

/** A variant over what was asked for. */
export interface Spoken {
  readonly variant: Variant;
  /** What was made, in one line; null: nothing. */
  readonly note: string | null;
  /** Why it was not made over WebSocket, though that was asked for; null: it was, or was not asked for. */
  readonly unfit: string | null;
}

/**
 * The variant over the protocols that are asked for. One that it has no arm for gets arms made from its others: from the same
 * ones with or without TLS, so that like stays with like, or, where it multiplexes in none or in all of them, from those.
 * Beside made arms stand the arms that they are compared with, made in the same way. Claims hold for the arms that a file names
 * and for no others.
 */
export function overProtocols(variant: Variant, { protocols, urls }: Wanted): Spoken {
  if (protocols === null && urls === null) return { variant, note: null, unfit: null };
  const unfit = whyNotWebSocket(variant);
  const speakable = protocolNames.filter(
    (name) =>
      (urls === null || urls.some((url) => protocolsOf(url).includes(name))) && (unfit === null || !protocolTraits[name].isWebSocket),
  );
  const own = variant.arms.filter(({ role }) => role === "protocol");
  const kept = variant.arms.filter(
    ({ protocol, role }) =>
      speakable.includes(protocol) &&
      (protocols === null || protocols.includes(protocol)) &&
      // Engines are compared beside protocols: with one protocol there is nothing to compare.
      (role === "protocol" || (protocols?.length !== 1 && urls === null)),
  );
  // HTTP/3 stands in files as an engine beside HTTP/2, as it has no other.
  const isThere = (protocol: ProtocolName): boolean =>
    kept.some((arm) => arm.protocol === protocol && (arm.role === "protocol" || protocolTraits[protocol].isQuic));
  const missing =
    protocols === null
      ? kept.length > 0
        ? []
        : [...new Set(own.map(({ protocol }) => twinIn(protocol, speakable)))]
      : protocols.filter((name) => !isThere(name) && speakable.includes(name));
  // Asked for with HTTP/2, HTTP/3 is compared with that; and where nothing else is asked for, with that alone.
  const besideH2 = protocols?.includes("h2") === true && protocols.some((name) => protocolTraits[name].isQuic);
  const made = new Made(variant, kept, besideH2 && protocols.length === 2 ? protocols : null);
  for (const protocol of missing) made.add(protocol);
  const arms = [...kept, ...made.arms];
  const twins = besideH2 ? pairsOfTwins(variant, arms, [...variant.pairs, ...made.pairs]) : [];
  // A pair with one arm left says that there is nothing to compare it with; engines were not asked about.
  const isTwin = (id: string): boolean => twins.some(({ baseline, candidate }) => id === baseline || id === candidate);
  const has = ({ baseline, candidate, kind = "protocol" }: Pick<PairSpec, "baseline" | "candidate"> & Partial<PairSpec>): boolean => {
    const present = kept.filter(({ id }) => id === baseline || id === candidate);
    return present.length >= (kind === "engine" || present.some(({ id }) => isTwin(id)) ? 2 : 1);
  };
  return {
    variant: {
      ...variant,
      arms,
      pairs: [...variant.pairs.filter(has), ...made.pairs, ...twins.filter(({ isNew }) => isNew).map(({ pair }) => pair)],
      claims: variant.claims.filter(has),
    },
    note: made.arms.length === 0 ? null : `${variant.scenario} has no arm for ${missing.join(", ")}: ${made.describe()}`,
    unfit: protocols?.some((name) => protocolTraits[name].isWebSocket) === true ? unfit : null,
  };
}

/** An arm of HTTP/3 and the one of HTTP/2 with the same name but for its protocol's. */
interface Twins {
  readonly baseline: string;
  readonly candidate: string;
  /** What they are compared in. */
  readonly pair: PairSpec;
  /** Nothing compares them yet. */
  readonly isNew: boolean;
}

function pairsOfTwins({ pairs: own }: Variant, arms: readonly ArmSpec[], known: readonly PairSpec[]): Twins[] {
  return arms.flatMap(({ id: candidate, protocol }): Twins[] => {
    if (!protocolTraits[protocol].isQuic) return [];
    const names = new Set([candidate.replace(protocol, "h2"), candidate.replace(`-${protocol}`, "")]);
    const baseline = arms.find((arm) => arm.protocol === "h2" && names.has(arm.id))?.id;
    if (baseline === undefined) return [];
    const like =
      known.find((pair) => pair.candidate === candidate) ??
      own.find((pair) => pair.candidate === baseline) ??
      own.find(({ kind }) => kind === "protocol");
    if (like === undefined) return [];
    const isNew = !known.some((pair) => pair.baseline === baseline && pair.candidate === candidate);
    return [{ baseline, candidate, pair: { ...like, baseline, candidate, kind: "engine" }, isNew }];
  });
}

/** Why a variant cannot be asked over WebSocket, in one line; null: it can. */
function whyNotWebSocket({ workload, arms }: Variant): string | null {
  const { method, path, page, stream, abort, background, headerBytesDiffer } = workload;
  if (method !== "POST" || page !== null || !/\/(chat\/completions|responses)(\?|$)/.test(path))
    return "WebSocket carries the Responses API and nothing else";
  if (!stream) return "over WebSocket every answer is streamed";
  if (headerBytesDiffer) return "a message of WebSocket has no headers";
  if (abort !== null) return "a response is given up with its WebSocket, and with it those on its other lanes";
  if (background?.unreadMs !== undefined) return "on a WebSocket no response can be left unread beside others";
  return arms.some(({ via }) => via !== undefined) ? "the proxies of a scenario are not set up for WebSocket" : null;
}

/** Whether an arm goes over WebSocket. */
export function isOverWebSocket({ protocol }: Pick<ArmSpec, "protocol">): boolean {
  return protocolTraits[protocol].isWebSocket;
}

/** The protocol itself or its twin with or without TLS, whichever can be spoken. */
function twinIn(protocol: ProtocolName, speakable: readonly ProtocolName[]): ProtocolName {
  const { overTls, inCleartext } = protocolTraits[protocol];
  return [protocol, overTls, inCleartext].find((name) => speakable.includes(name)) ?? protocol;
}

class Made {
  readonly arms: ArmSpec[] = [];
  readonly pairs: PairSpec[] = [];
  readonly #variant: Variant;
  readonly #kept: readonly ArmSpec[];
  /** The protocols that arms may have, also those that others are compared with; null: any. */
  readonly #only: readonly ProtocolName[] | null;
  /** Ids of the arms that arms were made from. */
  readonly #sources = new Set<string>();

  constructor(variant: Variant, kept: readonly ArmSpec[], only: readonly ProtocolName[] | null) {
    this.#variant = variant;
    this.#kept = kept;
    this.#only = only;
  }

  /** Adds the arms of one protocol, and those that they are compared with. */
  add(protocol: ProtocolName): void {
    const own = this.#variant.arms.filter(({ role }) => role === "protocol");
    const { isMultiplexed, isEncrypted, isQuic } = protocolTraits[protocol];
    const like = own.filter((arm) => protocolTraits[arm.protocol].isMultiplexed === isMultiplexed);
    const unlike = own.filter((arm) => protocolTraits[arm.protocol].isEncrypted === isEncrypted);
    const sources = like.length > 0 ? like : unlike.length > 0 ? unlike : own;
    const ids = new Map(sources.map((arm) => [arm.id, this.#make(arm, protocol)]));
    const way = isEncrypted ? "overTls" : "inCleartext";
    for (const pair of this.#variant.pairs) {
      if (pair.kind !== "protocol" || !ids.has(pair.candidate)) continue;
      const baseline = own.find(({ id }) => id === pair.baseline)!;
      const beside = protocolTraits[baseline.protocol][way];
      if (!ids.has(baseline.id) && this.#only?.includes(beside) === false) continue;
      const to = ids.get(baseline.id) ?? this.#make(baseline, beside);
      const candidate = ids.get(pair.candidate)!;
      const isKnown = this.pairs.some((one) => one.baseline === to && one.candidate === candidate);
      // HTTP/3 is on another engine than any other protocol that it is compared with.
      const kind = isQuic && !ids.has(baseline.id) ? "engine" : pair.kind;
      if (to !== candidate && !isKnown) this.pairs.push({ ...pair, baseline: to, candidate, kind });
    }
  }

  /** The id of the arm over another protocol, which is made where it is not there yet. */
  #make(arm: ArmSpec, protocol: ProtocolName): string {
    if (arm.protocol === protocol) {
      if (![...this.#kept, ...this.arms].some(({ id }) => id === arm.id)) this.arms.push(arm);
      return arm.id;
    }
    const id = arm.id.startsWith(arm.protocol) ? protocol + arm.id.slice(arm.protocol.length) : `${arm.id}-${protocol}`;
    const there = [...this.#kept, ...this.arms].find((one) => one.id === id);
    if (there === undefined) {
      this.arms.push({ ...carried(arm, protocol), id });
      this.#sources.add(arm.id);
    }
    return id;
  }

  /** "h2-1, h2-4, h1s are made from h2c-1, h2c-4, h1". */
  describe(): string {
    return `${this.arms.map(({ id }) => id).join(", ")} ${this.arms.length === 1 ? "is" : "are"} made from ${[...this.#sources].join(", ")}`;
  }
}

/** The arm over another protocol: what only the one that it leaves can do is left behind. */
function carried(arm: ArmSpec, protocol: ProtocolName): ArmSpec {
  const [from, to] = [protocolTraits[arm.protocol], protocolTraits[protocol]];
  // Autocannon speaks HTTP/1.1 only, and h2load as Debian has it no HTTP/3. None but our own speaks WebSocket.
  const isOurs = to.isWebSocket || (arm.driver === "autocannon" && to.isMultiplexed) || (arm.driver === "h2load" && to.isQuic);
  const driver = isOurs ? "stream" : arm.driver;
  const engine = to.isQuic ? "quiche" : from.isQuic || (to.isWebSocket && arm.engine === "own") ? "node" : arm.engine;
  const isAlike = from.isMultiplexed === to.isMultiplexed;
  if (isAlike && from.isQuic === to.isQuic && from.isWebSocket === to.isWebSocket) return { ...arm, protocol, driver, engine };
  // Windows, HPACK's table and the limit of streams are HTTP/2's; compressed messages are WebSocket's.
  const { windows: _windows, headerTableBytes: _table, pipelining: _pipelining, atStreamLimit: _limit, deflates: _deflates, ...rest } = arm;
  return { ...rest, protocol, driver, engine, connections: isAlike ? arm.connections : to.isMultiplexed ? 1 : "streams" };
}
