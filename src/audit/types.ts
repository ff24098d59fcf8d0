/**
 * What an audit leaves behind: `audit.json`. This file is the only description of it; `results/audits/schema.json` is made of it.
 * Units are in the names of members, or in a `unit` beside the value. What was not seen is null, never 0.
 */
import type { Count, Milliseconds, PerSecond, Ratio, Seconds } from "../results/units.ts";

/** @unit the figure's unit */
type InUnit = number;

export const quantityNames = [
  "ttft",
  "ttfe",
  "ttfb",
  "itl",
  "itlPerToken",
  "tpot",
  "ntpot",
  "e2e",
  "e2eAnswered",
  "e2eEnded",
  "requests",
  "completed",
  "failed",
  "outputTokens",
  "outputTokensPerRequest",
  "inputTokens",
  "inputTokensPerRequest",
  "requestRate",
  "answerRate",
  "outputTokenRate",
  "concurrency",
  "askedRate",
  "askedConcurrency",
] as const;

/** What a figure is a figure of. `quantities` says what each is. */
export type Quantity = (typeof quantityNames)[number];

export const statisticNames = ["mean", "min", "p50", "p90", "p95", "p99", "max", "total"] as const;

/** "total" of counts; a rate is its "mean". */
export type Statistic = (typeof statisticNames)[number];

export type FigureUnit = "ms" | "1/s" | "tokens" | "requests" | "streams";

/** A figure that a tool reports, in our unit. */
export interface Reported {
  /** What the tool says that it is, by its documentation. */
  readonly quantity: Quantity;
  /** Which statistic of it. */
  readonly statistic: Statistic;
  /** The value, in the quantity's unit. */
  readonly value: InUnit;
  /** The tool's own name for it. */
  readonly name: string;
}

/** What of the load was asked for, as far as the tool's report or the command says. null: it does not say. */
export interface Asked {
  /** Requests at once. */
  readonly concurrency: Count | null;
  /** Requests a second. */
  readonly ratePerSecond: PerSecond | null;
}

/** What a reader found in what a tool printed or wrote. */
export interface Report {
  /** The tool's name. */
  readonly tool: string;
  /** Its version, where its report names it. */
  readonly version: string | null;
  /** Its figures. */
  readonly figures: readonly Reported[];
  /** The load that was asked for. */
  readonly asked: Asked;
  /** Values behind its latencies, where it says; null: it does not. */
  readonly samples: Count | null;
}

/** Why a figure differs from the truth, as far as it can be told. */
export type CauseName =
  | "counts-role-chunk"
  | "first-byte"
  | "first-content"
  | "counts-all-events"
  | "counts-chunks"
  | "per-token"
  | "per-chunk"
  | "includes-first-token"
  | "holds-chunks"
  | "reads-whole-body"
  | "averages-percentiles"
  | "counts-failed"
  | "counts-cut"
  | "coordinated-omission"
  | "extra-samples"
  | "falls-behind"
  | "whole-milliseconds"
  | "two-digits"
  | "constant-factor"
  | "client-saturated"
  | "counts-warm-up"
  | "another-tokenizer"
  | "whole-run"
  | "whole-seconds"
  | "from-first-head"
  | "whole-answers";

/** One reason, in words. */
export interface Cause {
  /** Its name. */
  readonly name: CauseName;
  /** What was seen, in one sentence. */
  readonly text: string;
}

/**
 * right: the whole interval lies within the tolerance. biased: the whole interval lies beyond it. undecided: neither, or the
 * machine was too busy to tell. not-reported: the tool does not report it. not-comparable: it is reported, and there is nothing
 * to hold it against.
 */
export type Verdict = "right" | "biased" | "undecided" | "not-reported" | "not-comparable";

/** One figure of one rung: what was reported, what was true, how far apart. */
export interface FigureResult {
  /** What it is a figure of. */
  readonly quantity: Quantity;
  /** Which statistic. */
  readonly statistic: Statistic;
  /** Unit of all its values. */
  readonly unit: FigureUnit;
  /** The tool's own name for it. */
  readonly name: string;
  /** As reported, a value for each repeat that reported it. */
  readonly reported: readonly InUnit[];
  /** The truth of the same repeats; of a percentile the value by linear interpolation. */
  readonly truth: readonly InUnit[];
  /** Reported less true: mean over the repeats, with its 95% interval (t); null: fewer than two repeats, or no truth. */
  readonly bias: {
    /** Mean. */
    readonly estimate: InUnit;
    /** Lower end. */
    readonly low: InUnit;
    /** Upper end. */
    readonly high: InUnit;
    /** Mean of the bias by the mean of the truth; null: the truth is 0. */
    readonly ratio: Ratio | null;
  } | null;
  /** Differences that are no bias, in the figure's unit. */
  readonly tolerance: InUnit;
  /** The verdict. */
  readonly verdict: Verdict;
  /** Why, as far as it can be told. */
  readonly causes: readonly Cause[];
}

/** How requests came. */
export interface Arrivals {
  /**
   * constant: at equal distances. poisson: at random, independent of each other. bursts: many at a time. closed-loop: each when an
   * answer had ended. few: too few to tell. irregular: none of these.
   */
  readonly shape: "constant" | "poisson" | "bursts" | "closed-loop" | "few" | "irregular";
  /** Coefficient of variation of the distances between arrivals; null: fewer than three. */
  readonly variation: Ratio | null;
  /** Part of the arrivals that came within 2 ms of the one before. */
  readonly together: Ratio;
  /** Part of the arrivals, the first ones left out, that came within 10 ms after an answer had ended. */
  readonly afterAnEnd: Ratio;
  /** Longest time without an arrival. */
  readonly longestGapMs: Milliseconds;
}

/** What reached the server in one repeat, by its own records. Nothing of it is the tool's word. */
export interface Traffic {
  /** Requests of completions. */
  readonly requests: Count;
  /** Of these: requests before the load itself, which ended before it began. */
  readonly warmUp: Count;
  /** Other requests, such as GET /v1/models. */
  readonly others: Count;
  /** Answers that went whole. */
  readonly completed: Count;
  /** Answers of 400 and above. */
  readonly refused: Count;
  /** Answers that this server cut, on purpose. */
  readonly cut: Count;
  /** Answers that the tool gave up. */
  readonly aborted: Count;
  /** Requests that repeat one which had failed: by the client's own header, or the same bytes again; null: not to be told. */
  readonly retries: Count | null;
  /** Requests a second, from the first arrival to the last. */
  readonly arrivalsPerSecond: PerSecond | null;
  /** How they came. */
  readonly arrivals: Arrivals;
  /** Requests under way, weighted by time, from the first arrival to the last end; null: none was. */
  readonly meanConcurrency: InUnit | null;
  /** Most at once. */
  readonly maxConcurrency: Count;
  /** Mean of requests under way in each of 24 slices of the run. */
  readonly concurrency: readonly InUnit[];
  /** From the first arrival to the last end. */
  readonly durationS: Seconds;
  /** Connections; null: the engine does not tell. */
  readonly connections: Count | null;
  /** Requests by protocol spoken. */
  readonly protocols: Readonly<Record<string, Count>>;
  /** Different prompts. */
  readonly prompts: Count;
  /** Parameters of the bodies: up to five values of each, as JSON. */
  readonly parameters: Readonly<Record<string, readonly string[]>>;
  /** Output tokens sent. */
  readonly outputTokens: Count;
  /** Events with tokens that the server sent a second, over the run. */
  readonly eventsPerSecond: PerSecond | null;
  /** How late the server was against its own plan, 99th percentile; null: nothing was streamed. */
  readonly serverLateP99Ms: Milliseconds | null;
}

/** What the tool's processes had of the machine in one repeat; null where the system does not tell. */
export interface Machine {
  /** CPU time by wall time: 1 is a whole core. */
  readonly cores: Ratio;
  /** Part of the time in which they could have run that they waited for a core. */
  readonly waiting: Ratio;
  /** Mean wait for a core, each time one of their threads was ready. */
  readonly waitMs: Milliseconds;
}

/** One run of the command. */
export interface Repeat {
  /** Its exit code; null: a signal ended it. */
  readonly exitCode: Count | null;
  /** From its start to its end. */
  readonly wallS: Seconds;
  /** What reached the server. */
  readonly traffic: Traffic;
  /** What the tool had of the machine. */
  readonly machine: Machine | null;
  /** Why its figures were not read; null: they were. */
  readonly fault: string | null;
}

/** One rung of the ladder: a plan of the server, and what the tool made of it. */
export interface RungResult {
  /** Its name. */
  readonly name: string;
  /** What the server does. */
  readonly title: string;
  /** Flags of `fakeai serve`, and rules for answers in words. */
  readonly plan: string;
  /** Requests at once that the command was given; null: it has no {concurrency}. */
  readonly concurrency: Count | null;
  /** Requests a second that the command was given; null: it has no {rate}. */
  readonly ratePerSecond: PerSecond | null;
  /** Each run. */
  readonly repeats: readonly Repeat[];
  /** Each figure. */
  readonly figures: readonly FigureResult[];
  /** What is no figure: load that was not reached, warm-up that was left out, retries. */
  readonly notes: readonly string[];
}

/** A figure over all rungs. */
export interface FigureSummary {
  /** What it is a figure of. */
  readonly quantity: Quantity;
  /** Which statistic. */
  readonly statistic: Statistic;
  /** The tool's own name; null: it does not report it. */
  readonly name: string | null;
  /** biased where it is so on a rung, else right where it is so on one. */
  readonly verdict: Verdict;
  /** Rungs on which it is right. */
  readonly right: readonly string[];
  /** Rungs on which it is biased. */
  readonly biased: readonly string[];
  /** Rungs on which it could not be decided. */
  readonly undecided: readonly string[];
  /** Causes seen on any rung. */
  readonly causes: readonly Cause[];
}

/** The load at which the tool's figures left the truth. */
export interface Limit {
  /** Events with tokens a second, as the server sent them, on the first rung of rising load with a latency that the load made wrong. */
  readonly eventsPerSecond: PerSecond | null;
  /** The rung; null: no rung of rising load was biased. */
  readonly rung: string | null;
  /** The figure. */
  readonly figure: string | null;
  /** The most events a second at which latencies were right. */
  readonly rightUpToEventsPerSecond: PerSecond | null;
  /** Where it ended before the tool was wrong; null: the tool was, or no rung ended. */
  readonly beforeIt: {
    /** server: it was late against its own plan. machine: the tool waited for a core, and was late. */
    readonly end: "server" | "machine";
    /** The rung. */
    readonly rung: string;
    /** Events with tokens a second on it. */
    readonly eventsPerSecond: PerSecond;
    /** How late the server was on it, 99th percentile, median of the runs; null: nothing was streamed. */
    readonly serverLateP99Ms: Milliseconds | null;
  } | null;
}

/** `audit.json`. */
export interface Audit {
  /** Version of this form. */
  readonly version: 1;
  /** Version of fakeai. */
  readonly fakeai: string;
  /** When it began, ISO 8601. */
  readonly startedAt: string;
  /** How long it took. */
  readonly durationS: Seconds;
  /** The command, with its placeholders; keys are hidden. */
  readonly command: readonly string[];
  /** The tool, by the reader of its report; null: no reader knows it, and only the true side is here. */
  readonly tool: string | null;
  /** Its version, where its report names it. */
  readonly toolVersion: string | null;
  /** Where its documentation says what it measures; null: without a reader. */
  readonly documentation: string | null;
  /** What its documentation says of figures whose name promises something else. */
  readonly definitions: readonly string[];
  /** Protocol of the server. */
  readonly protocol: string;
  /** Repeats of each rung. */
  readonly repeats: Count;
  /** Time that was allowed. */
  readonly budgetS: Seconds;
  /** Rungs that were left out for it. */
  readonly leftOut: readonly string[];
  /** Load average (1 min) when it began and ended. */
  readonly loadAverage: readonly [InUnit, InUnit];
  /** The machine, in words. */
  readonly environment: string;
  /** Each rung. */
  readonly rungs: readonly RungResult[];
  /** Each figure, over the rungs. */
  readonly figures: readonly FigureSummary[];
  /** The tool's limit. */
  readonly limit: Limit;
  /** The line for a README. */
  readonly line: string;
}
