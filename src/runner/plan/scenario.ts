/** Scenarios: read from their files, checked against `scenarios/schema.json`, and spread into the variants that are run. */
import { protocolTraits } from "../../results/protocols.ts";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { Ajv2020, type ErrorObject, type ValidateFunction } from "ajv/dist/2020.js";
import { UsageError } from "../../base/usage-error.ts";
import { mergeNetworks, type NetworkInput } from "../../network/impairment.ts";
import type { SweepPlace } from "../../results/sweep.ts";
import type { Claim, MetricName, Statistic, WorkPart } from "../../results/types.ts";
import type { ViaSpec } from "../processes/gateway.ts";
import { defaultRounds, type SuiteName } from "../../settings/bench.ts";
import { didYouMean } from "../../base/guess.ts";
import { checkNetwork } from "../processes/network.ts";
import type { ArmFile, ClaimFile, MetricText, ScenarioFile, VariantFile, WorkloadFile } from "./scenario-file.ts";

export type { ScenarioFile };

/** Members of a workload that may be left out altogether. */
type Unset =
  | "tokensPerChunk"
  | "rate"
  | "rateOfCapacity"
  | "sharedPrefix"
  | "cacheBust"
  | "dataset"
  | "page"
  | "trace"
  | "session"
  | "server"
  | "abort"
  | "background";

/** Which calls of a tape are replayed, and how fast. */
export interface TapeSpec {
  /** Path of the tape's folder. */
  readonly folder: string;
  /** Times as fast as recorded: arrivals and answers. */
  readonly speed: number;
  /** Calls that are replayed, in tape order; null: all. */
  readonly limit: number | null;
}

/** What is asked of the server, the same in every arm; null: not asked for. `WorkloadFile` says what each member means. */
export type Workload = Readonly<Required<Omit<WorkloadFile, Unset | "rttMs">>> & {
  readonly [Member in Unset]: NonNullable<WorkloadFile[Member]> | null;
} & {
  /** A tape of `--tape`, which no scenario's file names. */
  readonly tape: TapeSpec | null;
};

/** One way of doing the workload. `ArmFile` says what each member means. */
export type ArmSpec = Omit<ArmFile, "via"> &
  Readonly<Required<Pick<ArmFile, "engine" | "role" | "driver" | "reuse">>> & {
    /** What ends its protocol in front of the server; the server then speaks h1. */
    readonly via?: ViaSpec;
    /** Name of the gateway of `--via` that it talks to; null: it talks to the server. */
    readonly behind: string | null;
  };

/** What a verdict is about: "ttft.p99", taken apart. */
export interface MetricRef {
  readonly metric: MetricName;
  readonly statistic: Statistic;
}

/** Two arms that are compared, by their ids. */
export interface PairSpec {
  readonly baseline: string;
  readonly candidate: string;
  readonly kind: "protocol" | "engine";
  /** What decides: one verdict each. */
  readonly metrics: readonly MetricRef[];
  /** What is shown beside them, without a verdict. */
  readonly described?: readonly MetricRef[];
}

/** A claim, with the metric and the arms that test it. */
export interface ClaimSpec extends Claim, MetricRef {
  readonly baseline: string;
  readonly candidate: string;
  /** Why this gain. */
  readonly threshold: string;
}

/** One runnable experiment. */
export interface Variant {
  readonly scenario: string;
  readonly title: string;
  readonly isolates: string;
  /** Empty where a scenario has one variant. */
  readonly name: string;
  /** With names of the workload's numbers in braces, and {variant} for the variant's. */
  readonly question?: string;
  /** "ttft.p50", one of the metrics of a pair. */
  readonly decides?: string;
  /** Its values in a sweep. */
  readonly point?: SweepPlace;
  /** What its verdicts hold for, beside the load and the arms. */
  readonly conditions?: string;
  readonly workload: Workload;
  readonly arms: readonly ArmSpec[];
  readonly pairs: readonly PairSpec[];
  readonly claims: readonly ClaimSpec[];
  /** What the arms' work may differ in. */
  readonly varies: readonly WorkPart[];
  readonly rounds: number;
}

/** Where the shipped scenarios are; the same from `src/runner` and from `dist/runner`. */
export const scenarioDirectory: string = fileURLToPath(new URL("../../../scenarios/", import.meta.url));

/** The order in which suites run; files that are not named follow by name. */
const order = ["stream", "mux-scale", "connection-overhead", "header-bytes", "unary", "trace", "multi-resource", "parse-cost", "open-loop"];

/** A workload where nothing is said. */
export const defaultWorkload: Workload = {
  method: "POST",
  path: "/v1/chat/completions",
  stream: true,
  ttft: 0,
  itl: 0,
  tokensPerChunk: null,
  inputTokens: 16,
  sharedPrefix: null,
  cacheBust: null,
  dataset: null,
  outputTokens: 32,
  mode: "closed",
  streams: 1,
  rampMs: 0,
  requests: 1,
  warmup: 0,
  rate: null,
  rateOfCapacity: null,
  arrivals: "poisson",
  headerBytes: 0,
  headerBytesDiffer: false,
  network: {},
  repeat: 1,
  clientWork: false,
  page: null,
  trace: null,
  tape: null,
  session: null,
  includeUsage: true,
  server: null,
  abort: null,
  background: null,
};

/** Members of a workload that a question may name: those that have a number wherever it is run. */
const workloadNumbers = Object.entries(defaultWorkload).flatMap(([name, value]) => (typeof value === "number" ? [name] : []));

/** Every shipped scenario, in the order of the suites. */
export function shippedScenarios(): ScenarioFile[] {
  const rank = (id: string): number => (order.indexOf(id) + order.length + 1) % (order.length + 1);
  return readdirSync(scenarioDirectory)
    .filter((name) => name.endsWith(".json") && name !== "schema.json")
    .map((name) => readScenario(scenarioDirectory + name))
    .sort((a, b) => rank(a.id) - rank(b.id) || a.id.localeCompare(b.id));
}

/** A scenario by its shipped name or by the path of a file. Throws UsageError. */
export function scenarioNamed(nameOrPath: string): ScenarioFile {
  const shipped = `${scenarioDirectory}${nameOrPath}.json`;
  if (/^[a-z0-9-]+$/.test(nameOrPath) && nameOrPath !== "schema" && existsSync(shipped)) return readScenario(shipped);
  if (existsSync(nameOrPath)) return readScenario(nameOrPath);
  const known = shippedScenarios().map(({ id }) => id);
  throw new UsageError(
    `--scenario: "${nameOrPath}" is neither a scenario (${known.join(", ")}) nor a file${didYouMean(nameOrPath, known)}`,
  );
}

/** Reads and checks a file. Throws UsageError in one line. */
function readScenario(path: string): ScenarioFile {
  const name = basename(path);
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new UsageError(`--scenario: ${name} is not JSON (${(error as Error).message.split("\n")[0]})`);
  }
  return checkScenario(value, name);
}

/** Checks what a file holds: its shape by the schema, and that what it names exists. Throws UsageError in one line. */
export function checkScenario(value: unknown, name: string): ScenarioFile {
  const wrong = (reason: string): UsageError => new UsageError(`--scenario: ${name}: ${reason}`);
  const validate = validator();
  if (!validate(value)) throw wrong(`${shapeError(validate.errors![0]!)} (see scenarios/schema.json)`);
  const file = value as ScenarioFile;
  const reason = nameError(file);
  if (reason !== null) throw wrong(reason);
  const inMessages = (key: string, direction: "up" | "down" | null): string =>
    `--scenario: ${name}: network.${direction === null ? "" : `${direction}.`}${key}`;
  for (const { workload = {} } of [file, ...file.variants]) {
    if (workload.rttMs !== undefined && workload.network?.rtt !== undefined) throw wrong("rttMs and network.rtt are one thing");
    checkNetwork(workload.network ?? {}, inMessages);
  }
  for (const { network = {} } of file.arms) checkNetwork(network, inMessages);
  return file;
}

let compiled: ValidateFunction | undefined;

/** `verbose`: an error carries the value and the names that are known in its place. */
function validator(): ValidateFunction {
  compiled ??= new Ajv2020({ allErrors: false, allowUnionTypes: true, verbose: true }).compile(
    JSON.parse(readFileSync(`${scenarioDirectory}schema.json`, "utf8")) as object,
  );
  return compiled;
}

/** What is wrong with the shape: the member, the reason, and what was meant, where a name is near. */
function shapeError({ instancePath, keyword, message, params, data, parentSchema }: ErrorObject): string {
  const reason = (message ?? "is wrong").replaceAll(",", keyword === "type" ? " or " : ",");
  const place = `${instancePath || "the file"} ${reason}`;
  const known = (parentSchema ?? {}) as { readonly properties?: object; readonly enum?: readonly unknown[]; readonly const?: unknown };
  if (keyword === "additionalProperties") {
    const member = String(params["additionalProperty"]);
    return `${place} ("${member}")${didYouMean(member, Object.keys(known.properties ?? {}))}`;
  }
  if (keyword !== "enum" && keyword !== "const") return place;
  const values = known.enum?.map(String) ?? [String(known.const)];
  const guess = typeof data === "string" ? didYouMean(data, values) : "";
  if (guess !== "") return place + guess;
  return `${place} (${values.length <= 10 ? values.join(", ") : `such as ${values[0]}`})`;
}

/** Why the names of a file do not fit together, or null. */
function nameError(file: ScenarioFile): string | null {
  const { arms, variants, compare, claims = [] } = file;
  const ids = new Set(arms.map(({ id }) => id));
  const names = new Set(variants.map(({ name }) => name));
  if (ids.size < arms.length) return "two arms share an id";
  if (names.size < variants.length) return "two variants share a name";
  const namedArms = [...compare, ...claims].flatMap(({ baseline, candidate }) => [baseline, candidate]);
  const unknownArm = [...namedArms, ...variants.flatMap((variant) => variant.arms ?? [])].find((id) => !ids.has(id));
  if (unknownArm !== undefined) return `no arm is called "${unknownArm}"${didYouMean(unknownArm, [...ids])}`;
  const decision = [file, ...variants].find(
    ({ decides, metrics = file.metrics }) => decides !== undefined && !metrics.includes(decides),
  )?.decides;
  if (decision !== undefined) return `decides is none of its metrics ("${decision}")`;
  const named = [file, ...variants].flatMap(({ question = "" }) => [...question.matchAll(/\{([^}]*)\}/gu)].map(([, member]) => member!));
  const unknownNumber = named.find((member) => member !== "variant" && !workloadNumbers.includes(member));
  if (unknownNumber !== undefined)
    return `question: {${unknownNumber}} is no number of a workload${didYouMean(unknownNumber, workloadNumbers)}`;
  const unknownVariant = claims.flatMap((claim) => claim.variants ?? []).find((variant) => !names.has(variant));
  if (unknownVariant !== undefined) return `no variant is called "${unknownVariant}"${didYouMean(unknownVariant, [...names])}`;
  return null;
}

/** The variants of a scenario; with a suite, those that belong to it. */
export function variantsOf(file: ScenarioFile, suite: SuiteName | null): Variant[] {
  return file.variants.filter(({ suites }) => suite === null || suites.includes(suite)).map((variant) => variantOf(file, variant));
}

function variantOf(file: ScenarioFile, variant: VariantFile): Variant {
  const arms = file.arms.filter(({ id }) => variant.arms === undefined || variant.arms.includes(id)).map(armOf);
  const ids = new Set(arms.map(({ id }) => id));
  const isRun = ({ baseline, candidate }: { readonly baseline: string; readonly candidate: string }): boolean =>
    ids.has(baseline) && ids.has(candidate);
  return {
    scenario: file.id,
    title: file.title,
    isolates: file.isolates,
    name: file.variants.length === 1 ? "" : variant.name,
    ...questionOf(file, variant),
    ...(variant.conditions === undefined ? {} : { conditions: variant.conditions }),
    workload: workloadOf(file, variant),
    arms,
    pairs: pairsOf(file, variant).filter(isRun),
    claims: (file.claims ?? [])
      .filter(({ variants }) => variants === undefined || variants.includes(variant.name))
      .filter(isRun)
      .map((claim) => claimOf(claim, variant)),
    varies: file.varies ?? [],
    rounds: variant.rounds ?? file.rounds ?? defaultRounds,
  };
}

function questionOf({ question, decides, variants }: ScenarioFile, variant: VariantFile): Pick<Variant, "question" | "decides"> {
  const common = question === undefined || variants.length === 1 || question.includes("{variant}") ? question : `${question}, {variant}`;
  const asked = variant.question ?? common;
  const deciding = variant.decides ?? decides;
  return { ...(asked === undefined ? {} : { question: asked }), ...(deciding === undefined ? {} : { decides: deciding }) };
}

/** A pair with metrics of its own shows nothing beside them. */
function pairsOf(file: ScenarioFile, variant: VariantFile): PairSpec[] {
  const named = variant.metrics === undefined ? file : { metrics: variant.metrics, described: variant.described };
  const metrics = named.metrics.map(metricRef);
  const described = (named.described ?? []).map(metricRef);
  return file.compare.map(({ baseline, candidate, kind = "protocol", metrics: own }) =>
    own === undefined ? { baseline, candidate, kind, metrics, described } : { baseline, candidate, kind, metrics: own.map(metricRef) },
  );
}

/** A claim of one variant: its conditions are those of both. */
function claimOf({ text, source, gain, threshold, baseline, candidate, metric, ...claim }: ClaimFile, variant: VariantFile): ClaimSpec {
  const conditions = [claim.conditions, variant.conditions].filter((part) => part !== undefined).join("; ");
  return { text, source, gain, threshold, conditions, baseline, candidate, ...metricRef(metric) };
}

function armOf({ via, ...arm }: ArmFile): ArmSpec {
  return {
    engine: protocolTraits[arm.protocol].isQuic ? "quiche" : "node",
    role: "protocol",
    driver: "stream",
    reuse: "keep",
    behind: null,
    ...arm,
    ...(via === undefined ? {} : { via: typeof via === "string" ? { proxy: via } : via }),
  };
}

function workloadOf(file: ScenarioFile, variant: VariantFile): Workload {
  const { rttMs: _, ...given } = { ...file.workload, ...variant.workload };
  return { ...defaultWorkload, ...given, network: mergeNetworks(networkOf(file.workload), networkOf(variant.workload ?? {})) };
}

function networkOf({ rttMs, network = {} }: WorkloadFile): NetworkInput {
  return rttMs === undefined ? network : { ...network, rtt: rttMs };
}

/** Takes "ttft.p99" apart. */
function metricRef(text: MetricText): MetricRef {
  // The type of the text is these two types with a point between them.
  const [metric, statistic] = text.split(".") as [MetricName, Statistic];
  return { metric, statistic };
}
