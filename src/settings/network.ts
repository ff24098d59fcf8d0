/** The flags of a network between client and server, which `fakeai proxy` and `fakeai bench` both take. */
import type { DirectionInput, NetworkInput } from "../network/impairment.ts";
import { type Flag, flagName } from "./flags.ts";

type Way = "up" | "down";

/** What both directions, or one of them, can be given. */
type Setting = "jitter" | "bandwidth" | "stall" | "cut" | "loss";

export type NetworkKey = "rtt" | Setting | `${"latency" | Setting}${Capitalize<Way>}`;

const group = "Network";

/** A row whose value is read by the network's own parser, see `parseNetwork`. */
type NetworkFlag = Flag<NetworkKey> & { readonly kind: "text" };

const settings: readonly Omit<Flag<Setting>, "kind" | "group">[] = [
  { key: "jitter", takes: "spec", help: "more on top, drawn for each read: 5, lognormal(2,1)" },
  { key: "bandwidth", takes: "rate", help: "10mbit or 1.2MB/s for all together; 2mbit/connection" },
  { key: "stall", takes: "p,time", help: "1%,40ms: 1% of segments hold all behind them 40 ms" },
  {
    key: "cut",
    takes: "when[,rst|fin]",
    help: "end connections: 100kb, 5s, 'exponential(30s)', 0.1%",
  },
  { key: "loss", takes: "p", help: "of UDP (h3): 1% of datagrams are lost" },
];

function flagsOf(way: Way): NetworkFlag[] {
  const to = way === "up" ? "to the server" : "to the client";
  const suffix = way === "up" ? "Up" : "Down";
  return [
    { key: `latency${suffix}`, kind: "text", takes: "ms", otherwise: "half of --rtt", help: `time ${to}`, group },
    ...settings.map(({ key, takes }): NetworkFlag => ({
      key: `${key}${suffix}`,
      kind: "text",
      takes: takes!,
      help: `--${key} of what goes ${to} only`,
      group,
    })),
  ];
}

/** In the order of the help. */
export const networkFlags: readonly NetworkFlag[] = [
  {
    key: "rtt",
    kind: "text",
    takes: "ms",
    otherwise: "0",
    help: "round-trip time, half of it each way",
    group,
    common: true,
  },
  ...settings.map((row): NetworkFlag => ({ ...row, kind: "text", group, common: true })),
  ...flagsOf("up"),
  ...flagsOf("down"),
];

/** What was given of them, by their keys. */
export function networkInputOf(values: Readonly<Record<string, unknown>>): NetworkInput {
  const all: Record<string, string> = {};
  const ways: Record<Way, Record<string, string>> = { up: {}, down: {} };
  for (const { key } of networkFlags) {
    const value = values[key];
    if (typeof value !== "string") continue;
    const [, name, way] = /^(.*)(Up|Down)$/.exec(key) ?? [];
    if (way === undefined) all[key] = value;
    else ways[way === "Up" ? "up" : "down"][name!] = value;
  }
  const some = (way: Record<string, string>): DirectionInput | undefined => (Object.keys(way).length === 0 ? undefined : way);
  const [up, down] = [some(ways.up), some(ways.down)];
  return { ...all, ...(up === undefined ? {} : { up }), ...(down === undefined ? {} : { down }) };
}

/** How a flag is called, for messages: "--stall-up". */
export function networkFlagName(key: string, direction: Way | null): string {
  return `--${flagName(key)}${direction === null ? "" : `-${direction}`}`;
}
