/** Which part of a load a shard sends. Every shard knows the whole plan and takes its own part, so that the union is the same whatever their number. */
import { UsageError } from "../base/usage-error.ts";

/** Shard `shard`, from 1, of `of`. */
export interface Share {
  readonly shard: number;
  readonly of: number;
}

/** A share of which the environment may tell the rest. */
interface ShareSpec {
  /** null: the environment tells it. */
  readonly shard: number | null;
  readonly of: number | null;
}

/** "shard 2 of 4". */
export function shareName({ shard, of }: Share): string {
  return `shard ${shard} of ${of}`;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** What a launcher tells its processes of their number and how many there are. */
interface Launcher {
  /** The variable with the process's number. */
  readonly variable: string;
  shard(value: number, environment: Environment): number;
  of(environment: Environment): string | undefined;
}

/** The innermost first: mpirun may run within a Slurm job. */
const launchers: readonly Launcher[] = [
  // Open MPI 4 and 5, docs.open-mpi.org, "Environment variables set by Open MPI": ranks count from 0.
  {
    variable: "OMPI_COMM_WORLD_RANK",
    shard: (rank) => rank + 1,
    of: (environment) => environment["OMPI_COMM_WORLD_SIZE"],
  },
  // Slurm, sbatch(1), "OUTPUT ENVIRONMENT VARIABLES": an array counts from where --array says, in its steps.
  {
    variable: "SLURM_ARRAY_TASK_ID",
    shard: (id, environment) =>
      (id - Number(environment["SLURM_ARRAY_TASK_MIN"] ?? 1)) / Number(environment["SLURM_ARRAY_TASK_STEP"] ?? 1) + 1,
    of: (environment) => environment["SLURM_ARRAY_TASK_COUNT"],
  },
  // Kubernetes, Indexed Jobs: indexes count from 0; how many there are is not told.
  { variable: "JOB_COMPLETION_INDEX", shard: (index) => index + 1, of: () => undefined },
];

const whole = /^\d{1,7}$/;

/** The share that a spec means here. Throws UsageError. */
export function shareOf({ shard, of }: ShareSpec, environment: Environment): Share {
  const launcher = launchers.find(({ variable }) => (environment[variable] ?? "") !== "");
  if (shard === null && launcher === undefined)
    throw new UsageError(
      `--shard: * takes the number from ${launchers.map(({ variable }) => variable).join(", ")}, and none is set: give K/N (2/4)`,
    );
  if (shard === null && !whole.test(environment[launcher!.variable]!))
    throw new UsageError(
      `--shard: ${launcher!.variable} is "${environment[launcher!.variable]!.slice(0, 60)}", and no number: give K/N (2/4)`,
    );
  const number = shard ?? launcher!.shard(Number(environment[launcher!.variable]), environment);
  const told = launcher?.of(environment) ?? "";
  if (of === null && !whole.test(told))
    throw new UsageError("--shard: how many shards there are is told by Slurm arrays and by Open MPI only: give */N (*/4)");
  const share = { shard: number, of: of ?? Number(told) };
  const from = shard === null ? ` (${launcher!.variable} is ${environment[launcher!.variable]})` : "";
  if (!Number.isInteger(number) || number < 1 || share.of < 1 || number > share.of)
    throw new UsageError(`--shard: there is no shard ${number} of ${share.of}${from}: shards count from 1`);
  return share;
}

/** How many of `total` things a shard has: as many as the others, or one more. */
export function partOf(total: number, { shard, of }: Share): number {
  return Math.floor(total / of) + (shard <= total % of ? 1 : 0);
}

/** Whether thing `index` is this shard's, where things are dealt in turn. */
export function isDealt(index: number, { shard, of }: Share): boolean {
  return index % of === shard - 1;
}

/**
 * Which shard each of `count` arrivals goes to, from 1: each by itself and equally likely, which thins a Poisson process into as many
 * Poisson processes (Kingman, Poisson Processes, 1993, section 5.1). `random` gives numbers in [0, 1). A shard that draws none takes one
 * from the shard that has the most, so that a short run leaves no shard without a request; `count` is no less than `of`.
 */
export function thinned(count: number, of: number, random: () => number): Uint32Array {
  const shards = Uint32Array.from({ length: count }, () => 1 + Math.floor(random() * of));
  const held = new Uint32Array(of + 1);
  for (const shard of shards) held[shard]!++;
  for (let empty = 1; empty <= of; empty++) {
    if (held[empty]! > 0) continue;
    const most = held.indexOf(held.reduce((a, b) => Math.max(a, b)));
    shards[shards.indexOf(most)] = empty;
    held[most]!--;
    held[empty] = 1;
  }
  return shards;
}
