/** Scenarios: experiments as data. Read from JSON files, checked against `scenarios/schema.json`, spread into variants. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { Ajv } from "ajv";
import { UsageError } from "../../base/usage-error.ts";
import type { ReceiveWindows } from "../../wire/h2/windows.ts";
import type { DriverName } from "../../load/job.ts";
import { mergeNetworks, type NetworkInput } from "../../network/impairment.ts";
import type { Claim, MetricName, ProtocolName, Statistic } from "../../results/types.ts";
import type { ViaSpec } from "../processes/gateway.ts";
import { defaultRounds, type SuiteName } from "../../settings/bench.ts";
import { didYouMean } from "../../settings/guess.ts";
import { checkNetwork } from "../processes/network.ts";

/** One call of a page: `count` of them go out at once with all others. */
export interface PageCall {
  readonly count: number;
  readonly method: "GET" | "POST";
  readonly path: string;
  /** Tokens of the answer to a POST. */
  readonly outputTokens?: number;
}

/** Settings of our own server that differ from its defaults. A server that is not ours has its own. */
export interface ServerSettings {
  /** Streams on one HTTP/2 connection; by default as many as the workload has. */
  readonly maxConcurrentStreams?: number;
  /** Flags of its batched scheduler, by their names; the workload's ttft and itl are then rough guesses for the bench alone. */
  readonly batching?: Readonly<Record<string, string | number>>;
}

/** Long answers beside the measured ones, on the same connections where these carry several. */
export interface BackgroundSpec {
  readonly streams: number;
  readonly outputTokens: number;
  /** Inter-token latency of our own server, as the workload's. */
  readonly itl: number | string;
  /** Nothing is taken of them for so many milliseconds, or "never". Without it they are read as they come. */
  readonly unreadMs?: number | "never";
}

/** What is asked of the server, the same in every arm. */
export interface Workload {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly stream: boolean;
  /** Time to first token of our own server: milliseconds, or a spec such as "lognormal(200,0.5)". */
  readonly ttft: number | string;
  /** Inter-token latency, in the same forms. */
  readonly itl: number | string;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Closed: a request follows an answer. Open: requests leave on a schedule, whatever the answers do. */
  readonly mode: "closed" | "open";
  /** Requests in flight at once; in an open loop their bound. */
  readonly streams: number;
  /** Closed loop: the first requests leave evenly over this long; 0: all at once, so that streams run in step. */
  readonly rampMs: number;
  /** Requests of a round. */
  readonly requests: number;
  /** Requests before each round that are thrown away. */
  readonly warmup: number;
  /** Requests per second of an open loop. */
  readonly rate: number | null;
  /** The rate as a share of what the first arm manages in a closed loop, measured before the rounds. */
  readonly rateOfCapacity: number | null;
  readonly arrivals: "constant" | "poisson";
  /** Extra bytes of request headers, as cookies and tracing put there. */
  readonly headerBytes: number;
  /** What is put between client and server. */
  readonly network: NetworkInput;
  /** Times that the load is run in a round, each on new connections; the round's wall time is their mean. */
  readonly repeat: number;
  /** What the client has to do is part of what is compared: a generator that uses its whole core for it is no fault. */
  readonly clientWork: boolean;
  /** A page of calls in place of `requests` equal ones. */
  readonly page: readonly PageCall[] | null;
  readonly trace: { readonly file: string; readonly speed: number; readonly seconds: number | null; readonly limit: number | null } | null;
  /** Asks for the usage at the end of a stream, where an event holds several tokens and cannot tell. */
  readonly includeUsage: boolean;
  readonly server: ServerSettings | null;
  /** A share of the requests, spread evenly, is given up after so many content events. */
  readonly abort: { readonly share: number; readonly afterTokens: number } | null;
  readonly background: BackgroundSpec | null;
}

/** One way of doing the workload. */
export interface ArmSpec {
  readonly id: string;
  readonly protocol: ProtocolName;
  readonly engine: "node" | "uws";
  readonly role: "protocol" | "engine";
  readonly driver: DriverName;
  /** "streams": one connection for each. */
  readonly connections: number | "streams";
  readonly reuse: "keep" | "new" | "grow";
  /** Sent with every request of this arm, over the others. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent with the streams beside the measured ones, over all others. */
  readonly backgroundHeaders?: Readonly<Record<string, string>>;
  /** HTTP/2: our receive windows. */
  readonly windows?: ReceiveWindows;
  /** HTTP/1.1: requests on a connection before the first is answered. */
  readonly pipelining?: number;
  /** HTTP/2: what is done where the server takes fewer streams than the workload has. */
  readonly atStreamLimit?: "queue" | "race";
  /** Over the workload's. */
  readonly network?: NetworkInput;
  /** What ends its protocol in front of the server; the server then speaks h1. */
  readonly via?: ViaSpec;
  /** Whom it talks to: the server, or the gateway of `--via` in front of it. */
  readonly place: "server" | "gateway";
}

/** "ttft.p99" */
export interface MetricRef {
  readonly metric: MetricName;
  readonly statistic: Statistic;
}

export interface PairSpec {
  readonly baseline: string;
  readonly candidate: string;
  readonly kind: "protocol" | "engine";
  /** What decides: one verdict each. */
  readonly metrics: readonly MetricRef[];
  /** What is shown beside them, without a verdict. */
  readonly described?: readonly MetricRef[];
}

export interface ClaimSpec extends Claim, MetricRef {
  readonly baseline: string;
  readonly candidate: string;
  /** Why this gain is asked for, where the source gives no number. */
  readonly threshold: string;
}

/** One runnable experiment. */
export interface Variant {
  readonly scenario: string;
  readonly title: string;
  readonly isolates: string;
  /** Empty where a scenario has one variant. */
  readonly name: string;
  readonly workload: Workload;
  readonly arms: readonly ArmSpec[];
  readonly pairs: readonly PairSpec[];
  readonly claims: readonly ClaimSpec[];
  readonly rounds: number;
}

/** Defaults are in `armOf`; a proxy's name is that proxy as it is by default. */
type ArmFile = Pick<ArmSpec, "id" | "protocol" | "connections"> &
  Partial<Omit<ArmSpec, "place" | "via">> & { readonly via?: string | ViaSpec };

interface PairFile {
  readonly baseline: string;
  readonly candidate: string;
  readonly kind?: "protocol" | "engine";
  readonly metrics?: readonly string[];
}

interface ClaimFile extends Claim {
  readonly metric: string;
  readonly baseline: string;
  readonly candidate: string;
  readonly threshold: string;
  readonly variants?: readonly string[];
}

interface VariantFile {
  readonly name: string;
  readonly suites: readonly SuiteName[];
  readonly workload?: WorkloadFile;
  readonly arms?: readonly string[];
  /** These two in place of the file's. */
  readonly metrics?: readonly string[];
  readonly described?: readonly string[];
  readonly rounds?: number;
}

/** `rttMs` is a short form of `network.rtt`. */
type WorkloadFile = Partial<Workload> & { readonly rttMs?: number };

/** A scenario as its file says it. */
export interface ScenarioFile {
  readonly id: string;
  readonly title: string;
  readonly isolates: string;
  readonly workload: WorkloadFile;
  readonly arms: readonly ArmFile[];
  readonly metrics: readonly string[];
  readonly described?: readonly string[];
  readonly compare: readonly PairFile[];
  readonly claims?: readonly ClaimFile[];
  readonly rounds?: number;
  readonly variants: readonly VariantFile[];
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
  inputTokens: 16,
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
  network: {},
  repeat: 1,
  clientWork: false,
  page: null,
  trace: null,
  includeUsage: false,
  server: null,
  abort: null,
  background: null,
};

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

let validate: ReturnType<Ajv["compile"]> | null = null;

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
  validate ??= new Ajv({ allErrors: false, allowUnionTypes: true }).compile(
    JSON.parse(readFileSync(`${scenarioDirectory}schema.json`, "utf8")) as object,
  );
  if (!validate(value)) {
    const [error] = validate.errors!;
    const extra = error!.keyword === "additionalProperties" ? ` ("${String(error!.params["additionalProperty"])}")` : "";
    throw new UsageError(
      `--scenario: ${name}: ${error!.instancePath || "the file"} ${error!.message ?? "is wrong"}${extra} (see scenarios/schema.json)`,
    );
  }
  const file = value as ScenarioFile;
  const ids = new Set(file.arms.map(({ id }) => id));
  const variants = new Set(file.variants.map((variant) => variant.name));
  if (ids.size < file.arms.length) throw new UsageError(`--scenario: ${name}: two arms share an id`);
  if (variants.size < file.variants.length) throw new UsageError(`--scenario: ${name}: two variants share a name`);
  const named = [...file.compare, ...(file.claims ?? [])].flatMap(({ baseline, candidate }) => [baseline, candidate]);
  for (const id of [...named, ...file.variants.flatMap(({ arms }) => arms ?? [])])
    if (!ids.has(id)) throw new UsageError(`--scenario: ${name}: no arm is called "${id}"`);
  for (const variant of (file.claims ?? []).flatMap((claim) => claim.variants ?? []))
    if (!variants.has(variant)) throw new UsageError(`--scenario: ${name}: no variant is called "${variant}"`);
  const inMessages = (key: string, direction: "up" | "down" | null): string =>
    `--scenario: ${name}: network.${direction === null ? "" : `${direction}.`}${key}`;
  for (const { workload = {} } of [file, ...file.variants]) {
    if (workload.rttMs !== undefined && workload.network?.rtt !== undefined)
      throw new UsageError(`--scenario: ${name}: rttMs and network.rtt are one thing`);
    checkNetwork(workload.network ?? {}, inMessages);
  }
  for (const { network = {} } of file.arms) checkNetwork(network, inMessages);
  return file;
}

/** The variants of a scenario; with a suite, those that belong to it. */
export function variantsOf(file: ScenarioFile, suite: SuiteName | null): Variant[] {
  return file.variants
    .filter(({ suites }) => suite === null || suites.includes(suite))
    .map((variant): Variant => {
      const arms = file.arms.filter(({ id }) => variant.arms === undefined || variant.arms.includes(id)).map(armOf);
      const has = (id: string): boolean => arms.some((arm) => arm.id === id);
      const named = variant.metrics === undefined ? file : { metrics: variant.metrics, described: variant.described };
      const metrics = named.metrics.map(metricRef);
      const described = (named.described ?? []).map(metricRef);
      return {
        scenario: file.id,
        title: file.title,
        isolates: file.isolates,
        name: file.variants.length === 1 ? "" : variant.name,
        workload: workloadOf(file, variant),
        arms,
        pairs: file.compare
          .filter(({ baseline, candidate }) => has(baseline) && has(candidate))
          .map(({ baseline, candidate, kind = "protocol", metrics: own }) =>
            own === undefined
              ? { baseline, candidate, kind, metrics, described }
              : { baseline, candidate, kind, metrics: own.map(metricRef) },
          ),
        claims: (file.claims ?? [])
          .filter(
            (claim) =>
              (claim.variants === undefined || claim.variants.includes(variant.name)) && has(claim.baseline) && has(claim.candidate),
          )
          .map(({ text, source, gain, threshold, baseline, candidate, metric }) => ({
            text,
            source,
            gain,
            threshold,
            baseline,
            candidate,
            ...metricRef(metric),
          })),
        rounds: variant.rounds ?? file.rounds ?? defaultRounds,
      };
    });
}

function armOf({ via, ...arm }: ArmFile): ArmSpec {
  return {
    engine: "node",
    role: "protocol",
    driver: "stream",
    reuse: "keep",
    place: "server",
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
function metricRef(text: string): MetricRef {
  const [metric, statistic] = text.split(".");
  return { metric: metric as MetricName, statistic: (statistic ?? "mean") as Statistic };
}
