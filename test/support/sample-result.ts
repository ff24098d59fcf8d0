/** A result as a quick suite leaves it, from seeded random numbers through our own recorder: nothing in it was measured. */
import { Random, seedOf } from "../../src/core/random/random.ts";
import { summarizeArm } from "../../src/results/arms.ts";
import { compareArms } from "../../src/results/compare.ts";
import { adjustComparisons, type ComparisonSpec, judgeClaim } from "../../src/results/verdict.ts";
import { Recorder, summarize } from "../../src/results/recorder.ts";
import { sweepResult } from "../../src/results/sweeps.ts";
import { checkRequirements, parseRequirement } from "../../src/results/requirements.ts";
import type {
  ArmDescription,
  ArmResult,
  BenchResult,
  Claim,
  Comparison,
  DistributionMetric,
  Environment,
  MetricName,
  MetricSummary,
  RoundResult,
  RunSlices,
  ScenarioResult,
  Statistic,
} from "../../src/results/types.ts";

const cipher = "TLSv1.3 TLS_AES_128_GCM_SHA256";
const negotiated = { h1: "http/1.1", h1s: "http/1.1", h2c: "h2c", h2: "h2", h3: "h3", ws: "websocket", wss: "websocket" } as const;

/** What an arm's figures are drawn around: microseconds, bytes. */
interface Levels {
  readonly requests: number;
  readonly tokens: number;
  readonly plannedTtft: number;
  readonly itl: number;
  /** Added to each token by server, transport and client. */
  readonly delay: number;
  readonly connect: number | null;
  readonly cpuPerRequest: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly openLoop: boolean;
  /** Sees tokens. */
  readonly stream: boolean;
}

const basic: Levels = {
  requests: 100,
  tokens: 30,
  plannedTtft: 100_000,
  itl: 20_000,
  delay: 300,
  connect: null,
  cpuPerRequest: 400,
  bytesSent: 480,
  bytesReceived: 7000,
  openLoop: false,
  stream: true,
};

function round(seed: number, number: number, position: number, levels: Levels): RoundResult {
  const random = new Random(seedOf(seed * 1000 + number), 11);
  const recorders = new Map<DistributionMetric, Recorder>();
  const record = (name: DistributionMetric, value: number): void => {
    let recorder = recorders.get(name);
    if (recorder === undefined) recorders.set(name, (recorder = new Recorder("us")));
    recorder.record(value);
  };
  const luck = Math.exp(0.01 * random.normal());
  const delay = (): number => levels.delay * luck * Math.exp(0.6 * random.normal()) * (random.unit() < 0.01 ? 12 : 1);
  for (let request = 0; request < levels.requests; request++) {
    if (!levels.stream) {
      record("e2el", levels.delay * luck * Math.exp(0.3 * random.normal()));
      continue;
    }
    const planned = levels.plannedTtft;
    const first = planned + delay();
    record("plannedTtft", planned);
    record("ttfe", first - random.unit() * 60);
    record("ttft", first);
    if (levels.connect !== null) record("connect", levels.connect * Math.exp(0.1 * random.normal()));
    let at = first;
    let due = planned;
    for (let token = 1; token < levels.tokens; token++) {
      due += levels.itl;
      const late = delay();
      const next = Math.max(at, due + late);
      record("itl", next - at);
      record("serverLateness", late * 0.4);
      record("transport", late * 0.5);
      record("client", late * 0.1);
      at = next;
    }
    record("e2el", at);
    record("tpot", (at - first) / (levels.tokens - 1));
    if (levels.openLoop) {
      const wait = 200 * -Math.log(random.unit());
      record("scheduleDelay", wait);
      record("ttftFromIntended", first + wait);
      record("e2elFromIntended", at + wait);
    }
  }
  const durationUs = levels.stream ? levels.plannedTtft + levels.itl * levels.tokens : levels.delay * levels.requests * 0.1 * luck;
  const perSecond = (count: number): number => (count * 1e6) / durationUs;
  const metrics: Partial<Record<MetricName, MetricSummary | null>> = {
    durationUs: summarize([durationUs], "us"),
    requestsPerSecond: summarize([perSecond(levels.requests)], "1/s"),
    serverCpuUsPerRequest: summarize([levels.cpuPerRequest * luck], "us"),
    clientCpuUsPerRequest: summarize([levels.cpuPerRequest * 1.4 * luck], "us"),
    bytesSentPerRequest: summarize([levels.bytesSent], "bytes"),
    bytesReceivedPerRequest: summarize([levels.bytesReceived], "bytes"),
    serverRssBytes: summarize([9e7 * luck], "bytes"),
  };
  if (levels.stream) {
    metrics.tokensPerSecond = summarize([perSecond(levels.requests * levels.tokens)], "1/s");
    metrics.serverCpuUsPerToken = summarize([(levels.cpuPerRequest / levels.tokens) * luck], "us");
    metrics.clientCpuUsPerToken = summarize([((levels.cpuPerRequest * 1.4) / levels.tokens) * luck], "us");
  } else metrics.itl = metrics.ttft = null;
  for (const [name, recorder] of recorders) metrics[name] = recorder.summary();
  return {
    round: number,
    position,
    startedAt: new Date(Date.UTC(2026, 0, 2, 10, 0, number * 3 + position)).toISOString(),
    requests: { sent: levels.requests, completed: levels.requests, failed: 0, errors: {} },
    metrics,
    invalid: [],
  };
}

type ArmPlan = Pick<ArmDescription, "id" | "protocol"> &
  Partial<ArmDescription> & { readonly levels?: Partial<Levels>; readonly invalid?: string };

interface ScenarioPlan {
  readonly id: string;
  readonly title: string;
  readonly isolates: string;
  readonly variant?: string;
  readonly levels?: Partial<Levels>;
  readonly rttMs?: number;
  readonly arms: readonly ArmPlan[];
  readonly compare: readonly (readonly [MetricName, Statistic, string, string, "described"?])[];
  readonly conditions?: string;
  readonly claim?: Claim;
  readonly notes?: readonly string[];
}

function scenarioOf(plan: ScenarioPlan, seed: number, rounds: number): ScenarioResult {
  const arms = plan.arms.map((arm, index): ArmResult => {
    const { levels, invalid, id, protocol, engine = "node", role = "protocol", driver = "stream", connections = 10, streams = 10 } = arm;
    const all = { ...basic, ...plan.levels, ...levels };
    const list = Array.from({ length: rounds }, (_, number) => round(seed * 100 + index, number, (index + number) % plan.arms.length, all));
    const failing = list.map((one) => ({
      ...one,
      requests: { sent: 100, completed: 88, failed: 12, errors: { "status 503": 9, timeout: 3 } },
      invalid: [invalid ?? ""],
    }));
    return summarizeArm({ id, protocol, engine, role, driver, connections, streams }, invalid === undefined ? list : failing, {
      negotiated: negotiated[protocol],
      cipher: protocol === "h1s" || protocol === "h2" ? cipher : null,
      rttMs: plan.rttMs ?? 0,
    });
  });
  const comparisons = plan.compare.map(([metric, statistic, baseline, candidate, described]): Comparison => {
    const kind = arms.some(({ id, role }) => role === "engine" && (id === baseline || id === candidate)) ? "engine" : "protocol";
    const spec: ComparisonSpec = { metric, statistic, baseline, candidate, kind };
    return compareArms(arms, { ...spec, described: described !== undefined });
  });
  const { id, title, isolates, variant = "", conditions, claim, notes = [], levels } = plan;
  return {
    id,
    title,
    isolates,
    variant,
    ...(conditions === undefined ? {} : { conditions }),
    workload: {
      requests: levels?.requests ?? basic.requests,
      tokens: levels?.tokens ?? basic.tokens,
      "ttft ms": 100,
      "itl ms": 20,
      mode: "closed",
    },
    arms,
    comparisons,
    claims: claim === undefined ? [] : [judgeClaim(claim, comparisons[0] ?? null)],
    notes,
    skipped: null,
  };
}

function plans(): ScenarioPlan[] {
  const mux = (streams: number): ScenarioPlan => ({
    id: "mux-scale",
    title: "Many streams at once",
    isolates: "What multiplexing costs or saves as streams grow",
    variant: `${streams} streams`,
    levels: { requests: Math.min(streams, 200), itl: 10_000, delay: 150 + streams * 4 },
    arms: [
      { id: "h1", protocol: "h1", connections: streams, streams, levels: { cpuPerRequest: 420 } },
      { id: "h2c-1", protocol: "h2c", connections: 1, streams, levels: { cpuPerRequest: 640, delay: 200 + streams * 9 } },
      { id: "h2c-4", protocol: "h2c", connections: 4, streams, levels: { cpuPerRequest: 600, delay: 180 + streams * 7 } },
    ],
    compare: [
      ["itl", "p99", "h1", "h2c-1"],
      ["itl", "p99", "h1", "h2c-4"],
      ["serverCpuUsPerToken", "mean", "h1", "h2c-1", "described"],
    ],
  });
  return [
    {
      id: "unary",
      title: "Unary requests",
      isolates: "Requests per second and CPU per request",
      levels: { requests: 2000, stream: false, delay: 900, cpuPerRequest: 70 },
      arms: [
        { id: "h1", protocol: "h1", driver: "h2load" },
        { id: "h2c", protocol: "h2c", driver: "h2load", levels: { delay: 1400, cpuPerRequest: 120 } },
        { id: "h1-uws", protocol: "h1", engine: "uws", role: "engine", driver: "h2load", levels: { delay: 350, cpuPerRequest: 24 } },
        { id: "h1-autocannon", protocol: "h1", driver: "autocannon" },
      ],
      compare: [
        ["requestsPerSecond", "mean", "h1", "h2c"],
        ["serverCpuUsPerRequest", "mean", "h1", "h2c"],
        ["serverCpuUsPerRequest", "mean", "h1", "h1-uws"],
      ],
      claim: { text: "Binary framing makes requests 20% cheaper", source: "the usual slide", gain: 0.2 },
    },
    {
      id: "stream",
      title: "Paced token streams",
      isolates: "What a user of a chat sees",
      arms: [
        { id: "h1", protocol: "h1" },
        { id: "h2c", protocol: "h2c", connections: 1, levels: { delay: 330 } },
        { id: "h1s", protocol: "h1s", levels: { delay: 340, bytesReceived: 9300 } },
        { id: "h2", protocol: "h2", connections: 1, levels: { delay: 360, bytesReceived: 7900 } },
        { id: "h1-uws", protocol: "h1", engine: "uws", role: "engine", levels: { delay: 180, cpuPerRequest: 150 } },
      ],
      compare: [
        ["ttft", "p50", "h1", "h2c"],
        ["itl", "p99", "h1", "h2c"],
        ["ttft", "p50", "h1s", "h2"],
        ["itl", "p99", "h1s", "h2"],
        ["serverCpuUsPerToken", "mean", "h1", "h1-uws"],
      ],
    },
    mux(50),
    mux(200),
    mux(1000),
    {
      id: "connection-overhead",
      title: "Cold and warm connections",
      isolates: "Handshakes: one connection for each request against one for all",
      rttMs: 40,
      levels: { tokens: 2, plannedTtft: 5000, itl: 1000 },
      arms: [
        { id: "h1s", protocol: "h1s", connections: 100, levels: { connect: 82_000 } },
        { id: "h2", protocol: "h2", connections: 1, levels: { connect: 83_000, plannedTtft: 3000 } },
      ],
      compare: [["ttft", "p50", "h1s", "h2"]],
      claim: { text: "Multiplexing eliminates connection overhead", source: "the usual slide", gain: 0.3 },
    },
    {
      id: "header-bytes",
      title: "Header compression",
      isolates: "Bytes that HPACK saves",
      levels: { tokens: 5 },
      arms: [
        { id: "h1", protocol: "h1" },
        { id: "h2c", protocol: "h2c", connections: 1, levels: { bytesSent: 150 } },
      ],
      compare: [["bytesSentPerRequest", "mean", "h1", "h2c"]],
      conditions: "the same headers in each request",
      claim: {
        text: "HPACK halves what is sent",
        source: "RFC 7541's readers",
        gain: 0.5,
        conditions: "a GET; the same headers in each request",
      },
    },
    {
      id: "trace",
      title: "Sample of real traffic",
      isolates: "Arrivals and lengths as they were",
      levels: { openLoop: true },
      arms: [
        { id: "h1", protocol: "h1" },
        { id: "h2c", protocol: "h2c", invalid: "12 of 100 requests failed: status 503 (9), timeout (3)" },
      ],
      compare: [["ttftFromIntended", "p99", "h1", "h2c"]],
      notes: ["Open loop: latency counts from the planned send time."],
    },
  ];
}

const environment: Environment = {
  fakeai: "0.1.0",
  node: "v20.20.2",
  os: "Debian GNU/Linux 12",
  kernel: "6.18.0",
  cpu: "Example CPU @ 3.00GHz",
  cores: 8,
  memoryBytes: 33_000_000_000,
  loadAverage: [0.4, 0.3, 0.2],
  pinned: true,
  engines: { node: "v20.20.2", uws: "20.0.8" },
  tools: { h2load: "1.52.0", autocannon: "9.0.0", taskset: null },
  target: "own server",
};

/** The whole sample. The same seed gives the same result. */
export function sampleResult(seed = 1, rounds = 5): BenchResult {
  const run = plans().map((plan, index) => scenarioOf(plan, seed * 50 + index, rounds));
  const adjusted = adjustComparisons(run.flatMap(({ comparisons }) => comparisons));
  const scenarios: ScenarioResult[] = [];
  for (const scenario of run) {
    const comparisons = adjusted.splice(0, scenario.comparisons.length);
    const claims = scenario.claims.map((claim) => judgeClaim(claim, comparisons[0] ?? null));
    scenarios.push({ ...scenario, comparisons, claims });
  }
  scenarios.push({
    id: "multi-resource",
    title: "One page, 20 calls",
    isolates: "Parallel calls of one page",
    variant: "",
    workload: {},
    arms: [],
    comparisons: [],
    claims: [],
    notes: [],
    skipped: "left out to fit two minutes",
  });
  return {
    kind: "fakeai.bench",
    schemaVersion: 1,
    suite: "quick",
    command: ["fakeai", "bench"],
    seed,
    startedAt: new Date(Date.UTC(2026, 0, 2, 10, 0, 0, seed)).toISOString(),
    durationS: 104.2,
    complete: true,
    environment,
    calibration: {
      rows: [
        { protocol: "h1", streams: 500, tokensPerSecond: 50_000, itlError: 0.002, clientCpuShare: 0.41, ok: true },
        { protocol: "h1", streams: 1000, tokensPerSecond: 98_000, itlError: 0.031, clientCpuShare: 0.83, ok: true },
        { protocol: "h2c", streams: 500, tokensPerSecond: 50_000, itlError: 0.004, clientCpuShare: 0.52, ok: true },
        { protocol: "h2c", streams: 1000, tokensPerSecond: 91_000, itlError: 0.092, clientCpuShare: 0.99, ok: false },
      ],
      limitTokensPerSecond: { h1: 98_000, h2c: 50_000 },
    },
    scenarios,
    requirements: checkRequirements(
      ["stream/h2c/ttft.p99<150ms", "header-bytes/bytesSentPerRequest<200B"].map(parseRequirement),
      scenarios,
    ),
    invalid: [],
  };
}

/** The sample with its mux-scale scenarios as the points of a sweep. */
export function withSweep(result: BenchResult): BenchResult {
  const counts = [50, 200, 1000];
  const sweep = sweepResult(
    {
      kind: "list",
      scenario: "mux-scale",
      variant: "",
      axes: [
        {
          name: "streams",
          label: "streams at once",
          unit: "count",
          scale: "log",
          values: counts.map((count) => ({ text: String(count), x: count })),
        },
      ],
      points: counts.map((count) => ({ variant: `${count} streams`, at: { streams: String(count) }, x: count, load: "given" })),
      slo: null,
      stopped: null,
    },
    result.scenarios,
  );
  return { ...result, sweeps: [sweep] };
}

/** The sample with its first streamed scenario cut into ten slices, a tenth of them without a token. */
export function withSlices(result: BenchResult): BenchResult {
  const slices: RunSlices = {
    everyUs: 500_000,
    requestsPerSecond: Array.from({ length: 10 }, (_, index) => 20 + (index % 3)),
    failedPerSecond: Array.from({ length: 10 }, () => 0),
    tokensPerSecond: Array.from({ length: 10 }, (_, index) => (index === 0 ? 300 : 480 + index)),
    eventsPerSecond: Array.from({ length: 10 }, (_, index) => (index === 0 ? 300 : 480 + index)),
    underWay: Array.from({ length: 10 }, () => 10),
    ttftP50Us: Array.from({ length: 10 }, (_, index) => (index === 9 ? null : 100_000 + 500 * index)),
    itlP50Us: Array.from({ length: 10 }, (_, index) => (index === 9 ? null : 20_000 + 50 * index)),
    e2elP50Us: Array.from({ length: 10 }, () => null),
  };
  const scenarios = result.scenarios.map((scenario) =>
    scenario.id === "stream"
      ? { ...scenario, arms: scenario.arms.map((arm) => ({ ...arm, rounds: arm.rounds.map((round) => ({ ...round, slices })) })) }
      : scenario,
  );
  return { ...result, scenarios };
}

/** A scenario of a result. */
export function scenarioNamed(result: BenchResult, id: string): ScenarioResult {
  const found = result.scenarios.find((scenario) => scenario.id === id);
  if (found === undefined) throw new Error(`no scenario ${id}`);
  return found;
}

/** An arm of one of its scenarios. */
export function armNamed(result: BenchResult, scenario: string, id: string): ArmResult {
  const found = scenarioNamed(result, scenario).arms.find((arm) => arm.id === id);
  if (found === undefined) throw new Error(`no arm ${id}`);
  return found;
}
