/** The rounds of a variant: every arm in each, in an order that changes, and a warm-up before them that is thrown away. */
import type { LoadReport } from "../load/job.ts";
import type { MachineLoad, RoundResult } from "../results/types.ts";
import { shifted } from "../results/totals.ts";
import { SkippedRound } from "../shards/meeting.ts";
import { shareName } from "../shards/share.ts";
import { jobOf, type LiveArm, type RunContext } from "./arms.ts";
import { disturbedPrefix, isLimit } from "../results/validity.ts";
import { worstOf } from "../results/machine.ts";
import { faultsOf, joined, measure, type Measured } from "./measure.ts";
import { judgePace } from "./pace.ts";
import type { BenchOptions } from "./plan/options.ts";
import { orderOfRounds } from "./plan/order.ts";
import type { ArmSpec, Variant, Workload } from "./plan/scenario.ts";

/** What one arm has shown. */
export interface ArmRounds {
  readonly arm: LiveArm;
  readonly rounds: RoundResult[];
  /** Of the runs in these rounds. */
  readonly reports: LoadReport[];
  /** Of the runs in the warm-up. */
  readonly warmUps: LoadReport[];
  /** What the last run has shown of the server's capacity: of all shards, where there are several. */
  capacity: { readonly completed: number; readonly durationUs: number } | null;
  /** It answers nothing, or its tool fails: it is not run again, and its reasons are the result. */
  isDead: boolean;
}

export interface VariantRounds {
  /** In the order of the arms. */
  readonly seen: readonly ArmRounds[];
  /** Generators at their limit where that is no fault: how it showed, by the id of the arm. */
  readonly limited: ReadonlyMap<string, string>;
  /** With the rate and the number of requests that were found in the warm-up. */
  readonly workload: Workload;
}

/** The number of the warm-up among the rounds. */
const warmUpRound = -1;

/** Runs all rounds, or those before the signal. */
export async function runRounds(context: RunContext, variant: Variant, arms: readonly LiveArm[], notes: string[]): Promise<VariantRounds> {
  const rounds = new Rounds(context, variant, arms);
  const workload = await rounds.warmUp(notes);
  await rounds.measure(workload);
  if (context.signal.aborted) notes.push("interrupted: rounds are missing");
  return { seen: rounds.seen, limited: rounds.limited, workload };
}

class Rounds {
  readonly seen: readonly ArmRounds[];
  readonly limited: Map<string, string> = new Map();
  readonly #context: RunContext;
  readonly #variant: Variant;
  #warmUps = 0;

  constructor(context: RunContext, variant: Variant, arms: readonly LiveArm[]) {
    this.#context = context;
    this.#variant = variant;
    this.seen = arms.map((arm) => ({ arm, rounds: [], reports: [], warmUps: [], capacity: null, isDead: false }));
  }

  /**
   * The whole load once for each arm, so that code gets compiled. Where the load depends on what the server can take, a
   * closed loop of the first arm shows that. Returns the workload of the rounds.
   */
  async warmUp(notes: string[]): Promise<Workload> {
    const { signal, options } = this.#context;
    const { workload } = this.#variant;
    const measuresCapacity = needsCapacity(workload, options);
    const first = measuresCapacity ? closed(workload) : workload;
    let found = workload;
    for (const [index, one] of this.seen.entries()) {
      if (signal.aborted) break;
      await this.#run(one, warmUpRound, 0, first);
      if (!measuresCapacity || index > 0) continue;
      // Code that is just being compiled has no capacity to speak of.
      await this.#run(one, warmUpRound, 0, first);
      const { capacity } = one;
      if (capacity !== null && capacity.durationUs > 0) found = withCapacity(workload, one.arm, capacity, options, notes);
    }
    return found;
  }

  async measure(workload: Workload): Promise<void> {
    const { rounds } = this.#variant;
    const { signal, options } = this.#context;
    for (const [round, order] of orderOfRounds(this.seen.length, rounds, options.seed).entries()) {
      for (const [position, index] of order.entries()) {
        const one = this.seen[index]!;
        if (!signal.aborted && !one.isDead) await this.#run(one, round, position, workload);
      }
    }
  }

  /** One round of one arm: the job as often as the workload repeats it. */
  async #run(one: ArmRounds, round: number, position: number, workload: Workload): Promise<void> {
    const { arm } = one;
    const { signal, meeting } = this.#context;
    const isWarmUp = round === warmUpRound;
    const key = this.#keyOf(arm, round);
    // The others have done it before this shard came back.
    const past = meeting?.past(key);
    if (past !== undefined) {
      one.capacity = past;
      if (past.dead) one.isDead = true;
      return;
    }
    const job = jobOf(this.#context, workload, arm, round, workload.rate);
    const progress = this.#progressOf(arm, round, job.requests.length);
    const runs: Measured[] = [];
    const faults = new Set<string>();
    let isSkipped = false;
    const limits = new Set<string>();
    const limitedBefore = this.limited.get(arm.description.id);
    progress(null);
    for (let repeat = 0; repeat < workload.repeat && !signal.aborted; repeat++) {
      const meet = meeting === null ? undefined : (): Promise<number> => meeting.start(key, repeat);
      const measured = await measure(this.#context, arm, job, progress, meet).catch((error: Error) => error);
      // What the signal cut short is no measurement.
      if (signal.aborted) return;
      if (measured instanceof SkippedRound) {
        for (const reason of measured.reasons) faults.add(reason);
        isSkipped = true;
        break;
      }
      if (measured instanceof Error) {
        await meeting?.settle(key, { invalid: [measured.message], completed: 0, durationUs: 0, dead: true }).catch(() => {});
        // The tool itself fails, or refuses. What the arm has measured before stays.
        one.isDead = true;
        const failed = failedRound(round, position, [measured.message]);
        one.rounds.push(failed);
        this.#record(arm, failed);
        return;
      }
      runs.push(measured);
      const found = [...faultsOf(this.#context, arm, job, workload, measured), ...lateFaults(measured.report)];
      for (const fault of measured.report.invalid) limits.add(fault);
      for (const fault of this.#faultsOf(arm, found, isWarmUp)) faults.add(fault);
      if (!isWarmUp) this.#tellDetails(arm, round, measured.report);
      if (measured.report.requests.completed === 0) break;
    }
    if (runs.length === 0) {
      if (isSkipped) await this.#skip(one, round, position, key, [...faults]);
      return;
    }
    // An arm that answers nothing is not run again: what its warm-up saw is all that there is.
    if (isWarmUp && runs.every(({ report }) => report.requests.completed === 0))
      for (const { report } of runs) this.#tellDetails(arm, 0, report);
    const { requests, ...measured } = joined(runs);
    this.#context.observer.live?.({ kind: "measured", arm: arm.description.id, metrics: measured.metrics });
    const pace = judgePace(runs, measured.metrics, [...limits], arm, workload, this.#context.external === null);
    const machine = this.#judge(arm, round, runs, faults);
    // A limit in a round that is left out says nothing of the arm.
    if (machine.leftOut && limitedBefore === undefined) this.limited.delete(arm.description.id);
    (isWarmUp ? one.warmUps : one.reports).push(...runs.map(({ report }) => report));
    const isSilent = requests.completed === 0;
    one.capacity = { completed: runs.at(-1)!.report.requests.completed, durationUs: runs.at(-1)!.report.durationUs };
    // What a warm-up was like is no fault of the run.
    const settled = await this.#settle(one, key, isWarmUp && !isSilent ? [] : [...faults], isSilent);
    if (settled === null) return;
    if (isSilent) one.isDead = true;
    if (isWarmUp && !isSilent) return;
    const result: RoundResult = {
      round: Math.max(0, round),
      position,
      startedAt: runs[0]!.startedAt,
      requests,
      ...measured,
      invalid: [...faults, ...settled],
      pace,
      machine,
      ...this.#totalsOf(runs),
    };
    one.rounds.push(result);
    this.#record(arm, result);
  }

  /** What the other shards find wrong with a round, when all have ended it; null: the run has ended meanwhile. */
  async #settle(one: ArmRounds, key: string, invalid: readonly string[], dead: boolean): Promise<string[] | null> {
    const { meeting } = this.#context;
    if (meeting === null) return [];
    const { completed, durationUs } = one.capacity ?? { completed: 0, durationUs: 0 };
    const settled = await meeting.settle(key, { invalid, completed, durationUs, dead }).catch(() => null);
    if (settled === null) return null;
    if (settled.dead) one.isDead = true;
    one.capacity = settled;
    const own = `${shareName(meeting.share)}: `;
    return settled.invalid.filter((reason) => !reason.startsWith(own));
  }

  /** A round that is not run, since one of the shards is not there for it. */
  async #skip(one: ArmRounds, round: number, position: number, key: string, reasons: readonly string[]): Promise<void> {
    one.capacity = null;
    const settled = await this.#settle(one, key, [], false);
    if (settled === null || round === warmUpRound) return;
    const result = failedRound(round, position, [...new Set([...reasons, ...settled])]);
    one.rounds.push(result);
    this.#record(one.arm, result);
  }

  /** The sums behind the figures, on the session's clock; nothing where this process makes the whole load. */
  #totalsOf(runs: readonly Measured[]): Pick<RoundResult, "totals" | "beginUs"> {
    const { meeting } = this.#context;
    if (meeting === null) return {};
    const totals = runs.flatMap(({ report }) =>
      report.totals === undefined ? [] : [shifted(report.totals, meeting.shiftUs(report.startedUs))],
    );
    const [first] = runs;
    return { totals, beginUs: first!.report.startedUs + meeting.shiftUs(first!.report.startedUs) };
  }

  #record({ description }: LiveArm, result: RoundResult): void {
    const { scenario, name } = this.#variant;
    this.#context.meeting?.record({ scenario, variant: name, arm: description.id }, result);
  }

  /** What all shards call a round. */
  #keyOf({ description }: LiveArm, round: number): string {
    const { scenario, name } = this.#variant;
    // The warm-up may run the same arm twice.
    const number = round === warmUpRound ? `warm-up ${this.#warmUps++}` : `round ${round + 1}`;
    return [scenario, ...(name === "" ? [] : [name]), description.id, number].join(", ");
  }

  /**
   * What else the machine did in a round. A disturbed round is left out, unless `--keep-disturbed` was given: that is a fault
   * of the round, and the generator's lateness is explained by it.
   */
  #judge({ description }: LiveArm, round: number, runs: readonly Measured[], faults: Set<string>): MachineLoad {
    const worst = worstOf(runs.map(({ machine }) => machine));
    const leftOut = worst.disturbed.length > 0 && !this.#context.options.keepDisturbed;
    if (round === warmUpRound || worst.disturbed.length === 0) return worst;
    const why = worst.disturbed.join("; ");
    this.#context.observer.notice(`${description.id}, round ${round + 1} was disturbed${leftOut ? " and is left out" : ""}: ${why}`);
    if (!leftOut) return { ...worst, leftOut };
    for (const fault of faults) if (isLimit(fault)) faults.delete(fault);
    faults.add(`${disturbedPrefix}: ${why}`);
    return { ...worst, leftOut };
  }

  /** The faults that count. A limit of the generator that is none of this arm's goes to `limited`. */
  #faultsOf(arm: LiveArm, faults: readonly string[], isWarmUp: boolean): string[] {
    return faults.filter((fault) => {
      if (!isLimit(fault) || !mayBeLimited(this.#variant, arm.spec)) return true;
      if (!isWarmUp) this.limited.set(arm.description.id, fault);
      return false;
    });
  }

  #tellDetails({ description }: LiveArm, round: number, { details }: LoadReport): void {
    const { scenario, name } = this.#variant;
    for (const detail of details) this.#context.observer.detail({ scenario, variant: name, arm: description.id, round }, detail);
  }

  #progressOf({ description }: LiveArm, round: number, total: number): (done: number | null) => void {
    const { scenario, name, rounds } = this.#variant;
    const label = `${scenario}${name === "" ? "" : ` (${name})`}`;
    const text = `${label}: ${description.id}, ${round === warmUpRound ? "warm-up" : `round ${round + 1} of ${rounds}`}`;
    return (done) => this.#context.observer.progress(done === null ? text : `${text}, ${done} of ${total} requests`);
  }
}

/** A shard that begins later than this after the common instant has not begun together with the others. */
const lateLimitUs = 50_000;

function lateFaults({ totals }: LoadReport): string[] {
  const lateUs = totals?.lateUs ?? 0;
  return lateUs > lateLimitUs
    ? [`late: it began ${(lateUs / 1000).toFixed(0)} ms after the common instant (bound ${lateLimitUs / 1000} ms)`]
    : [];
}

function failedRound(round: number, position: number, invalid: readonly string[]): RoundResult {
  const requests = { sent: 0, completed: 0, failed: 0, errors: {} };
  return { round: Math.max(0, round), position, startedAt: new Date().toISOString(), requests, metrics: {}, invalid };
}

/**
 * Whether a generator at its limit is no fault of this arm. That is so where the client's work belongs to what is compared;
 * for arms that decide nothing about protocols a note says it.
 */
function mayBeLimited({ workload, pairs, claims }: Variant, { id, role }: ArmSpec): boolean {
  const decides = [...pairs.filter(({ kind }) => kind === "protocol"), ...claims].some(
    ({ baseline, candidate }) => id === baseline || id === candidate,
  );
  return workload.clientWork || role === "engine" || !decides;
}

/** Whether the load depends on what the server can take. */
function needsCapacity({ rate, rateOfCapacity, trace }: Workload, { durationS }: BenchOptions): boolean {
  return rateOfCapacity !== null || (durationS !== null && rate === null && trace === null);
}

function closed(workload: Workload): Workload {
  return { ...workload, mode: "closed", rate: null };
}

/** The workload with the rate, and the number of requests, that a closed loop has just shown to be right. */
function withCapacity(
  workload: Workload,
  arm: LiveArm,
  { completed, durationUs }: NonNullable<ArmRounds["capacity"]>,
  { durationS }: BenchOptions,
  notes: string[],
): Workload {
  const capacity = (completed / durationUs) * 1e6;
  const rate = workload.rateOfCapacity === null ? null : capacity * workload.rateOfCapacity;
  if (rate !== null) notes.push(`capacity of ${arm.description.id} in a closed loop: ${Math.round(capacity)} requests/s`);
  // Fewer requests than streams would never have all of them under way.
  const least = rate === null ? Math.max(1, workload.streams) : 1;
  return {
    ...workload,
    rate,
    requests: durationS === null ? workload.requests : Math.max(least, Math.round((rate ?? capacity) * durationS)),
  };
}
