/** Beside each other what is one load: the shards that made it, and the servers that took it. */
import { validRounds } from "../results/arms.ts";
import { mergeSummaries } from "../results/recorder.ts";
import type { ArmResult, ServerRound, ShardRound } from "../results/types.ts";
import { digits, ms } from "./format.ts";
import type { Part } from "./markup.ts";
import { table } from "./tables.ts";

/** A table of parts. */
export interface PartsTable {
  readonly title: string;
  readonly header: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** "20.1" or, over rounds that differ, "20.1 to 20.4": percentiles of parts are never averaged. */
function range(values: readonly (number | null)[], shown: (value: number) => string): string {
  const known = values.filter((value) => value !== null);
  if (known.length === 0) return "–";
  const [low, high] = [shown(Math.min(...known)), shown(Math.max(...known))];
  return low === high ? low : `${low} to ${high}`;
}

const most = (values: readonly (number | null)[], shown: (value: number) => string): string => {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? "–" : shown(Math.max(...known));
};

function sum(values: readonly number[]): string {
  return values.reduce((total, value) => total + value, 0).toLocaleString("en-US");
}

/** By the key of its parts, over all valid rounds of an arm. */
function grouped<Value>(arm: ArmResult, of: "shards" | "servers", key: (value: Value) => string | number): Map<string, Value[]> {
  const groups = new Map<string, Value[]>();
  for (const round of validRounds(arm))
    for (const value of (round[of] ?? []) as readonly Value[]) {
      const name = String(key(value));
      groups.set(name, [...(groups.get(name) ?? []), value]);
    }
  return groups;
}

/** Shards that a screen has room for; the file has all. */
const mostParts = 64;

function shownOf(count: number): string {
  return count <= mostParts ? "" : ` (${mostParts} of ${count.toLocaleString("en-US")}: result.json has all)`;
}

/** An arm's shards and its servers; empty where one process asked one address. */
export function partsTables(arm: ArmResult): PartsTable[] {
  const shards = grouped<ShardRound>(arm, "shards", ({ shard }) => shard);
  const servers = grouped<ServerRound>(arm, "servers", ({ address }) => address);
  const tables: PartsTable[] = [];
  // On a narrow screen it is what a block is headed with: "2 of 4" says more than "2".
  const of = Math.max(...[...shards.keys()].map(Number));
  if (shards.size > 0)
    tables.push({
      title: `${arm.id} by shard, over its valid rounds${shownOf(shards.size)}`,
      header: ["shard", "requests", "req/s", "TTFT p50 ms", "TTFT p99 ms", "CPU of a core at most", "late at most ms", "MB read"],
      rows: [...shards].slice(0, mostParts).map(([name, all]) => [
        `${name} of ${of}`,
        sum(all.map(({ requests }) => requests.completed)),
        range(
          all.map(({ requestsPerSecond }) => requestsPerSecond),
          digits,
        ),
        range(
          all.map(({ ttftP50Us }) => ttftP50Us),
          ms,
        ),
        range(
          all.map(({ ttftP99Us }) => ttftP99Us),
          ms,
        ),
        most(
          all.map(({ cpuShare }) => cpuShare),
          (share) => `${digits(share * 100)}%`,
        ),
        most(
          all.map(({ lateUs }) => lateUs),
          ms,
        ),
        all.some(({ bytesReceived }) => bytesReceived === null)
          ? "–"
          : digits(all.reduce((total, { bytesReceived }) => total + (bytesReceived ?? 0), 0) / 1e6),
      ]),
    });
  const hasClocks = [...servers.values()].flat().some(({ clock }) => clock !== undefined);
  if (servers.size > 0)
    tables.push({
      title: `${arm.id} by server, over its valid rounds${shownOf(servers.size)}`,
      header: [
        "server",
        "connections a round",
        "requests",
        "failed",
        "TTFT p50 ms",
        "TTFT p99 ms",
        "ITL p50 ms",
        "ITL p99 ms",
        ...(hasClocks ? ["clock known to, ms"] : []),
      ],
      rows: Array.from([...servers].slice(0, mostParts), ([name, all]) => {
        const ttft = mergeSummaries(all.flatMap((one) => one.ttft ?? []));
        const itl = mergeSummaries(all.flatMap((one) => one.itl ?? []));
        return [
          name,
          range(
            all.map(({ connections }) => connections),
            digits,
          ),
          sum(all.map(({ completed }) => completed)),
          sum(all.map(({ failed }) => failed)),
          ms(ttft?.p50),
          ms(ttft?.p99),
          ms(itl?.p50),
          ms(itl?.p99),
          ...(hasClocks ? [clockText(all)] : []),
        ];
      }),
    });
  return tables;
}

/** How well the clock of a server was known in its worst round. */
function clockText(rounds: readonly ServerRound[]): string {
  const clocks = rounds.flatMap(({ clock }) => clock ?? []);
  if (clocks.length === 0) return "ours";
  const [first, ...others] = clocks.map(({ boundUs }) => boundUs ?? Infinity);
  const worst = Math.max(first!, ...others);
  const isCompared = clocks.every(({ reason }) => reason === null);
  return `${worst === Infinity ? "–" : digits(worst / 1000)}${isCompared ? "" : ", stamps not compared"}`;
}

/** The same on a page. */
export function partsOf(arms: readonly ArmResult[]): Part {
  return arms.flatMap(partsTables).map(({ title, header, rows }) => table(title, header, rows, true));
}
