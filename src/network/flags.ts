/** The network's settings as flags, for every command that takes them. */
import type { DirectionInput, NetworkInput } from "./impairment.ts";

interface NetworkFlag {
  /** "jitter-up" */
  readonly flag: string;
  readonly takes: string;
  readonly help: string;
}

const settings = [
  ["jitter", "spec", "more on top, drawn for each read, never overtaking: 5 (uniform from 0 to 5 ms), lognormal(2,1), ..."],
  ["bandwidth", "rate", "10mbit or 1.2MB/s for all connections together, in turns; 2mbit/connection for each"],
  ["stall", "p,time", "1%,40ms: each 1400 bytes of a connection may hold it up so long; 1%/packet,40ms: each read may"],
  ["cut", "when[,rst|fin]", "ends connections: 100kb, 5s, 'exponential(30s)', or 0.1% for each 1400 bytes (default rst)"],
] as const;

function flagsOf(direction: "up" | "down"): NetworkFlag[] {
  const way = direction === "up" ? "to the server" : "to the client";
  const flags = settings.map(([name, takes]) => ({ flag: `${name}-${direction}`, takes, help: `--${name} of what goes ${way} only` }));
  return [{ flag: `latency-${direction}`, takes: "ms", help: `time ${way}, in place of half of --rtt` }, ...flags];
}

/** In the order of the help. */
export const networkFlags: readonly NetworkFlag[] = [
  { flag: "rtt", takes: "ms", help: "round-trip time, half of it each way; a handshake takes one" },
  ...settings.map(([flag, takes, help]) => ({ flag, takes, help })),
  ...flagsOf("up"),
  ...flagsOf("down"),
];

const camel = (flag: string): string => flag.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());

/** What was given of them, by their names in camel case. */
export function networkInputOf(values: Readonly<Record<string, unknown>>): NetworkInput {
  const all: Record<string, string> = {};
  const ways: Record<"up" | "down", Record<string, string>> = { up: {}, down: {} };
  for (const { flag } of networkFlags) {
    const value = values[camel(flag)];
    if (typeof value !== "string") continue;
    const [, name, way] = /^(.*)-(up|down)$/.exec(flag) ?? [];
    if (way === "up" || way === "down") ways[way][name!] = value;
    else all[flag] = value;
  }
  const some = (way: Record<string, string>): DirectionInput | undefined => (Object.keys(way).length === 0 ? undefined : way);
  const [up, down] = [some(ways.up), some(ways.down)];
  return { ...all, ...(up === undefined ? {} : { up }), ...(down === undefined ? {} : { down }) };
}

/** How a flag is called, for messages. */
export function networkFlagName(key: string, direction: "up" | "down" | null): string {
  return direction === null ? `--${key}` : `--${key}-${direction}`;
}
