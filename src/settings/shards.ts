/** The flags that make a bench a shard of a load, and those of `fakeai rendezvous`. */
import { UsageError } from "../base/usage-error.ts";
import { bareHost } from "../base/host.ts";
import { type FlagTable, positive, text, whole } from "./parse.ts";

/** Where something is reached, or listens. */
export interface HostAndPort {
  readonly host: string;
  readonly port: number;
}

/** `--shard`: "2/4", or with what the environment tells in place of a number. null: the environment tells it. */
export interface ShareSpec {
  readonly shard: number | null;
  readonly of: number | null;
}

/** Shards of a load at most. */
const mostShards = 10_000;

/** "2/4", "*", "*" with a number of shards. Throws UsageError. */
export function shareSpec(given: string): ShareSpec {
  const match = /^(\*|\d{1,6})(?:\/(\*|\d{1,6}))?$/.exec(given);
  const number = (part: string | undefined): number | null => (part === undefined || part === "*" ? null : Number(part));
  const [shard, of] = [number(match?.[1]), number(match?.[2])];
  const isPart = match !== null && !(shard !== null && of === null);
  if (!isPart || shard === 0 || of === 0 || (of ?? 0) > mostShards || (shard !== null && shard > of!))
    throw new UsageError(
      `--shard: "${given.slice(0, 60)}" is no part of a load: K/N with K from 1 to N (2/4), or */N where a launcher tells K`,
    );
  return { shard, of };
}

/** "host:port", "[::1]:port". */
export function hostAndPort(given: string, flag: string): HostAndPort {
  const match = /^(?<host>\[[^\]]+\]|[^:[\]\s/]+):(?<port>\d{1,5})$/.exec(given);
  const port = Number(match?.groups?.["port"]);
  if (match === null || port > 65_535) throw new UsageError(`${flag}: "${given.slice(0, 60)}" is no host:port (10.0.0.1:7700)`);
  return { host: bareHost(match.groups!["host"]!), port };
}

/** What a shard and its rendezvous both have to know of their meeting. */
export interface MeetingSettings {
  readonly rendezvousToken: string | null;
  /** Seconds. */
  readonly rendezvousTimeout: number;
  /** Seconds. */
  readonly barrierTimeout: number;
}

/** The flags of `fakeai rendezvous`. */
export interface RendezvousSettings extends MeetingSettings {
  readonly shards: number | null;
  readonly listen: HostAndPort;
  /** Path of a folder. */
  readonly out: string | null;
  readonly json: boolean;
  readonly full: boolean;
}

/** The flags of a meeting, in a command's own group of its help; `common`: they are on its first screen. */
export function meetingFlags(group: string, common: boolean): FlagTable<MeetingSettings> {
  const shown = { group, ...(common && { common }) };
  return [
    {
      key: "rendezvousToken",
      kind: "text",
      takes: "text",
      environment: "FAKEAI_RENDEZVOUS_TOKEN",
      parse: text,
      help: "what all shards show; may be left out on loopback",
      ...shown,
    },
    {
      key: "rendezvousTimeout",
      kind: "number",
      takes: "s",
      default: 300,
      parse: positive(86_400, "s"),
      help: "how long all shards may take to come",
      ...shown,
    },
    {
      key: "barrierTimeout",
      kind: "number",
      takes: "s",
      default: 60,
      parse: positive(3600, "s"),
      help: "how long a round waits for the last shard, or for one to come back",
      ...shown,
    },
  ];
}

const group = "Rendezvous";

/** In the order of the help. */
export const rendezvousFlags: FlagTable<RendezvousSettings> = [
  { key: "shards", kind: "integer", takes: "n", parse: whole(1, mostShards), help: "how many shards the load has", group, common: true },
  {
    key: "listen",
    kind: "text",
    takes: "host:port",
    default: "127.0.0.1:7700",
    parse: hostAndPort,
    help: "where they come to",
    group,
    common: true,
  },
  ...meetingFlags(group, true),
  {
    key: "out",
    kind: "text",
    takes: "dir",
    otherwise: "results/runs/<time>-shards",
    parse: text,
    help: "where the merged result goes",
    group,
    common: true,
  },
  { key: "json", kind: "boolean", help: "the merged result as JSON on stdout", group, common: true },
  { key: "full", kind: "boolean", help: "every figure of every arm before the answers", group, common: true },
];
