/** What a network does to a connection, and the texts that say so on the command line and in scenario files. */
import { type Distribution, latencyUnits, parseDistribution, SpecError } from "../core/random/distribution.ts";

/** Bytes of one segment: slightly less than a TCP segment in Ethernet's 1500 bytes. */
export const segmentBytes = 1400;

/** A stall that one segment or packet may meet. */
export interface Stall {
  /** 0 to 1, for each unit. */
  readonly probability: number;
  /** Delay of the unit, and of all that follows on the connection, microseconds. */
  readonly holdUs: Distribution;
  /**
   * "segment": 1400 bytes of the stream, whatever the writes. "packet": the bytes of one read, in pieces of up to 1400: a
   * token that is written alone is one packet.
   */
  readonly per: "segment" | "packet";
}

/** A connection that is cut. */
export interface Cut {
  /** "bytes": after so many. "time": microseconds after it was accepted. "segment": 0 to 1, for each 1400 bytes. */
  readonly after:
    | { readonly kind: "bytes"; readonly bytes: number }
    | { readonly kind: "time"; readonly us: Distribution }
    | { readonly kind: "segment"; readonly probability: number };
  /** What both ends see: a reset, or a close. */
  readonly by: "rst" | "fin";
}

/** One direction. */
export interface Direction {
  /** Delay of every byte, microseconds. */
  readonly latencyUs: number;
  /** Further delay, microseconds, drawn for each read; null: none. The order stays. */
  readonly jitterUs: Distribution | null;
  /** null: not limited. */
  readonly bandwidth: { readonly bytesPerSecond: number; readonly shared: boolean } | null;
  readonly stall: Stall | null;
  readonly cut: Cut | null;
  /** Share of datagrams that are lost, each by itself, 0 to 1. TCP has none: its bytes all arrive. */
  readonly loss: number;
}

/** Both directions: up is from the client to the server. */
export interface Impairment {
  readonly up: Direction;
  readonly down: Direction;
}

// As scenario files have them: `scenarios/schema.json` takes comments and tags over.

/**
 * @minimum 0
 * @minLength 1
 */
type Time = string | number;
/** @minLength 1 */
type Text = string;

/** What both directions and each of them may be given. */
interface ImpairmentInput {
  /** Delay on top, drawn for each read, never overtaking: a distribution, or milliseconds (uniform from 0). */
  readonly jitter?: Time;
  /** 10mbit, 1.2MB/s: all connections of the arm share it in turns; 2mbit/connection: each has it. */
  readonly bandwidth?: Text;
  /** 1%,40ms: every 1400 bytes of a connection may hold it up so long; 1%/packet,40ms: every read may. A distribution works too. */
  readonly stall?: Text;
  /**
   * When connections end: 100kb, 5s, exponential(30s), or 0.1% for every 1400 bytes; with ,fin by a close, else by a reset.
   * The requests that are lost by it make a round invalid.
   */
  readonly cut?: Text;
  /** 1%: of UDP, datagrams that are lost, each by itself. TCP's part of a lossy path is stall. */
  readonly loss?: Text;
}

/** One direction as it is given. Missing settings come from those of both directions. */
export interface DirectionInput extends ImpairmentInput {
  /** One way, in place of half the round trip: milliseconds, or a text with a unit. */
  readonly latency?: Time;
}

/**
 * What `fakeai proxy` puts between client and server. "none" takes a setting away. A setting holds for each direction, unless
 * up (to the server) or down says otherwise.
 */
export interface NetworkInput extends ImpairmentInput {
  /** Round-trip time, half of it each way; a connection's handshake takes one. Milliseconds, or a text with a unit. */
  readonly rtt?: Time;
  /** To the server. */
  readonly up?: DirectionInput;
  /** To the client. */
  readonly down?: DirectionInput;
}

/** The settings of `base`, replaced by those that `over` has. */
export function mergeNetworks(base: NetworkInput, over: NetworkInput): NetworkInput {
  const merged = { ...base, ...over };
  const up = { ...base.up, ...over.up };
  const down = { ...base.down, ...over.down };
  return { ...merged, ...(Object.keys(up).length === 0 ? {} : { up }), ...(Object.keys(down).length === 0 ? {} : { down }) };
}

/** The network of one arm; null where nothing is impaired. Throws SpecError in one line; `name` gives the name of a setting in it. */
export function parseNetwork(input: NetworkInput, name: (key: string, direction: "up" | "down" | null) => string): Impairment | null {
  const halfUs = latencyUs(input.rtt, name("rtt", null)) / 2;
  const direction = (which: "up" | "down"): Direction => {
    const own = input[which] ?? {};
    const pick = (key: "jitter" | "bandwidth" | "stall" | "cut" | "loss"): [Given, string] =>
      own[key] === undefined ? [input[key], name(key, null)] : [own[key], name(key, which)];
    const cut = parseCut(...pick("cut"));
    return {
      latencyUs: own.latency === undefined ? halfUs : latencyUs(own.latency, name("latency", which)),
      jitterUs: parseJitter(...pick("jitter")),
      bandwidth: parseBandwidth(...pick("bandwidth")),
      stall: parseStall(...pick("stall")),
      // A time that is given for both is one time.
      cut: which === "up" && own.cut === undefined && cut?.after.kind === "time" ? null : cut,
      loss: parseLoss(...pick("loss")),
    };
  };
  const impairment: Impairment = { up: direction("up"), down: direction("down") };
  return [impairment.up, impairment.down].every(isIdle) ? null : impairment;
}

function isIdle({ latencyUs, jitterUs, bandwidth, stall, cut, loss }: Direction): boolean {
  return latencyUs === 0 && jitterUs === null && bandwidth === null && stall === null && cut === null && loss === 0;
}

/**
 * Why a network cannot carry a transport, in words that follow "it": what it would do is of the other one, or not done to datagrams.
 * null: it can. Where both kinds of trouble are given, each transport has its own.
 */
export function unfitFor(transport: "tcp" | "udp", { up, down }: Impairment): string | null {
  const has = (key: "stall" | "cut" | "bandwidth" | "loss"): boolean => [up, down].some((way) => way[key] !== null && way[key] !== 0);
  if (transport === "tcp")
    return has("loss") && !has("stall") ? "loses datagrams, and TCP has none (stall is its part of a lossy path)" : null;
  if (has("cut") || has("bandwidth")) return "has a bandwidth or cuts, which are of TCP alone";
  return has("stall") && !has("loss") ? "stalls segments of TCP, and datagrams have none (loss is their part)" : null;
}

/** Milliseconds of the round trip, before jitter. */
export function roundTripMs({ up, down }: Impairment): number {
  return (up.latencyUs + down.latencyUs) / 1000;
}

type Given = string | number | undefined;

const isAbsent = (given: Given): given is undefined => given === undefined || String(given).trim().toLowerCase() === "none";

function latencyUs(given: Given, name: string): number {
  if (isAbsent(given)) return 0;
  const { constant } = parseDistribution(given, { ...latencyUnits(name), max: 60_000_000, example: "40, 40ms or 500us" });
  if (constant === null) throw new SpecError(`${name}: a round trip is constant; let it vary with jitter (for example jitter 5)`);
  return constant;
}

function parseJitter(given: Given, name: string): Distribution | null {
  if (isAbsent(given)) return null;
  const units = { ...latencyUnits(name), max: 60_000_000, example: "5, 500us, uniform(0,10) or lognormal(2,1)" };
  const jitter = parseDistribution(given, units);
  if (jitter.constant === 0) return null;
  return jitter.constant === null ? jitter : parseDistribution(`uniform(0us,${jitter.constant}us)`, units);
}

/** Units of a rate, bytes per second. */
const rates: Readonly<Record<string, number>> = {
  bit: 1 / 8,
  kbit: 125,
  mbit: 125_000,
  gbit: 125_000_000,
  "b/s": 1,
  "kb/s": 1000,
  "mb/s": 1_000_000,
  "gb/s": 1_000_000_000,
};

function parseBandwidth(given: Given, name: string): Direction["bandwidth"] {
  if (isAbsent(given)) return null;
  const match = /^(\d+(?:\.\d+)?)([a-z]+(?:\/s)?)(\/connection)?$/.exec(String(given).trim().toLowerCase());
  const unit = rates[match?.[2] ?? ""] ?? rates[(match?.[2] ?? "").replace("bit/s", "bit")];
  if (!match || unit === undefined)
    throw new SpecError(`${name}: "${shorten(given)}" is no rate (for example 10mbit, 500kbit, 1.5MB/s or 2mbit/connection)`);
  const bytesPerSecond = Number(match[1]) * unit;
  if (!(bytesPerSecond >= 125 && bytesPerSecond <= 1.25e10))
    throw new SpecError(`${name}: "${shorten(given)}" is not between 1kbit and 100gbit`);
  return { bytesPerSecond, shared: match[3] === undefined };
}

/** "1%" or "0.01" to 0.01; null for anything else. */
function probability(text: string): number | null {
  const match = /^(\d+(?:\.\d*)?|\.\d+)(%?)$/.exec(text.trim());
  if (!match) return null;
  const value = Number(match[1]) / (match[2] === "%" ? 100 : 1);
  return value <= 1 ? value : null;
}

function parseStall(given: Given, name: string): Stall | null {
  if (isAbsent(given)) return null;
  const example = "for example 1%,40ms or 1%/packet,40ms";
  const match = /^([^,/]+)(?:\/(segment|packet))?,(.+)$/.exec(String(given).trim());
  if (!match) throw new SpecError(`${name}: "${shorten(given)}" is not a probability and a time (${example})`);
  const chance = probability(match[1]!);
  if (chance === null) throw new SpecError(`${name}: "${shorten(match[1])}" is no probability from 0% to 100% (${example})`);
  const holdUs = parseDistribution(match[3]!, { ...latencyUnits(name), max: 60_000_000, example: "1%,40ms" });
  return chance === 0 || holdUs.constant === 0 ? null : { probability: chance, holdUs, per: match[2] === "packet" ? "packet" : "segment" };
}

function parseLoss(given: Given, name: string): number {
  if (isAbsent(given)) return 0;
  const chance = probability(String(given));
  if (chance === null) throw new SpecError(`${name}: "${shorten(given)}" is no probability from 0% to 100% (for example 1%)`);
  return chance;
}

const sizes: Readonly<Record<string, number>> = { b: 1, kb: 1000, mb: 1_000_000, gb: 1_000_000_000 };

function parseCut(given: Given, name: string): Cut | null {
  if (isAbsent(given)) return null;
  const example = "for example 100kb, 5s, 0.1%, 'exponential(30s),fin'";
  const text = String(given).trim();
  const [, what, by] = /^(.+?)(?:,(rst|fin))?$/.exec(text)!;
  const how = by === "fin" ? "fin" : "rst";
  const [, other] = /,([a-z]+)$/i.exec(what!) ?? [];
  if (other !== undefined) throw new SpecError(`${name}: "${shorten(other)}" is neither rst nor fin (${example})`);
  const size = /^(\d+)(b|kb|mb|gb)$/i.exec(what!);
  if (size !== null) return { after: { kind: "bytes", bytes: Number(size[1]) * sizes[size[2]!.toLowerCase()]! }, by: how };
  if (what!.endsWith("%")) {
    const chance = probability(what!);
    if (chance === null) throw new SpecError(`${name}: "${shorten(what)}" is no probability from 0% to 100% (${example})`);
    return chance === 0 ? null : { after: { kind: "segment", probability: chance }, by: how };
  }
  if (/^[\d.]+$/.test(what!)) throw new SpecError(`${name}: is "${shorten(what)}" bytes, a time or a share? Give it a unit (${example})`);
  const units = { ...latencyUnits(name), example: "100kb, 5s, 0.1% or 'exponential(30s),fin'" };
  return { after: { kind: "time", us: parseDistribution(what!, units) }, by: how };
}

function shorten(given: Given): string {
  const shown = String(given).replace(/[^\x20-\x7e]/g, "?");
  return shown.length > 60 ? `${shown.slice(0, 57)}...` : shown;
}
