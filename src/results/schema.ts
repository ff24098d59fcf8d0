/**
 * The JSON schema (draft 2020-12) of `result.json`, published as `results/schema.json`. Fields it does not name are allowed:
 * a reader of this version reads what a later one adds.
 */
import { metricFacts } from "./metrics.ts";

/** A JSON schema, or a part of one. */
export type Schema = Readonly<Record<string, unknown>>;

type Fields = Readonly<Record<string, Schema>>;

function text(description: string): Schema {
  return { type: "string", description };
}

function flag(description: string): Schema {
  return { type: "boolean", description };
}

/** A number with its unit; every number has one, if only "count". */
function quantity(unit: string, description: string, more: Schema = {}): Schema {
  return { type: "number", unit, description, ...more };
}

function whole(description: string, more: Schema = {}): Schema {
  return { type: "integer", unit: "count", minimum: 0, description, ...more };
}

function oneOf(description: string, values: readonly (string | null)[]): Schema {
  return { enum: values, description };
}

function list(description: string, items: Schema): Schema {
  return { type: "array", description, items };
}

function map(description: string, values: Schema): Schema {
  return { type: "object", description, additionalProperties: values };
}

/** An object of which all fields are required but those named. */
function record(description: string, fields: Fields, optional: readonly string[] = []): Schema {
  return { type: "object", description, required: Object.keys(fields).filter((name) => !optional.includes(name)), properties: fields };
}

function reference(name: string, description: string): Schema {
  return { $ref: `#/$defs/${name}`, description };
}

function nullable(name: string, description: string): Schema {
  return { anyOf: [{ $ref: `#/$defs/${name}` }, { type: "null" }], description };
}

const own = "the metric's unit";
const protocol = oneOf("h1: HTTP/1.1; h1s: over TLS; h2c: HTTP/2 in cleartext; h2: over TLS", ["h1", "h1s", "h2c", "h2"]);
const metricName = oneOf("Name of a metric", Object.keys(metricFacts));
const statistic = oneOf("Statistic of the metric", ["mean", "std", "min", "p50", "p90", "p95", "p99", "p999", "max"]);
const reasons = (of: string): Schema => list(`Why ${of} may not be used; empty: it may`, text("Reason in one line"));

const defs: Fields = {
  summary: record("Statistics of one metric", {
    unit: oneOf("Unit of all values but count: microseconds, per second, bytes, count, or a share of 1", [
      "us",
      "1/s",
      "bytes",
      "count",
      "ratio",
    ]),
    count: whole("Values behind the statistics"),
    mean: quantity(own, "Arithmetic mean of the values as measured"),
    std: quantity(own, "Sample standard deviation (n - 1); 0 for one value"),
    min: quantity(own, "Least value"),
    p50: quantity(own, "Median, by nearest rank"),
    p90: quantity(own, "90th percentile, by nearest rank"),
    p95: quantity(own, "95th percentile, by nearest rank"),
    p99: quantity(own, "99th percentile, by nearest rank"),
    p999: quantity(own, "99.9th percentile, by nearest rank"),
    max: quantity(own, "Greatest value"),
    histogram: {
      type: ["string", "null"],
      description: "HDR histogram of whole units, 3 significant digits: V2, compressed, base64; null for scalars",
    },
  }),
  metrics: {
    type: "object",
    description: "Statistics by metric. null, or absent: the driver cannot see it",
    properties: Object.fromEntries(
      Object.entries(metricFacts).map(([name, { unit, description }]) => [name, { ...nullable("summary", description), unit }]),
    ),
  },
  interval: record("Two-sided 95% interval", {
    estimate: quantity(own, "Estimate over the rounds"),
    low: quantity(own, "Lower end"),
    high: quantity(own, "Upper end"),
  }),
  requests: record(
    "What happened to the requests of a round; sent = completed + failed + cut",
    {
      sent: whole("Requests sent"),
      completed: whole("Requests answered in full"),
      failed: whole("Requests that failed"),
      errors: map('Failures by reason, such as "status 503" or "timeout"', whole("Failures for this reason")),
      faulted: whole("Requests whose answer names a fault on purpose; left out where none does, or a driver cannot tell"),
      cut: whole("Requests that were under way when a ramp ended, and were left; left out where none was"),
    },
    ["faulted", "cut"],
  ),
  round: record("One arm in one round, the unit of every comparison", {
    round: whole("Number of the round; arms are paired by it"),
    position: whole("Place in the round's order of arms, from 0"),
    startedAt: text("When it began, ISO 8601"),
    requests: reference("requests", "Counts of requests"),
    metrics: reference("metrics", "What was measured in this round"),
    invalid: reasons("the round"),
  }),
  arm: record(
    "One way of talking to the server",
    {
      id: text("Name within the scenario"),
      protocol,
      engine: oneOf("What serves: uWebSockets.js, node's own modules, or a server that fakeai did not start", ["uws", "node", "external"]),
      role: oneOf("protocol: decides about protocols; engine: shown apart", ["protocol", "engine"]),
      driver: oneOf("What generated the load", ["stream", "autocannon", "h2load", "client"]),
      client: text("The client library with its version, or the command; absent for our own drivers"),
      connections: { ...whole("Connections; null: as many as the client thinks right"), type: ["integer", "null"] },
      streams: whole("Streams at once over all connections"),
      negotiated: {
        type: ["string", "null"],
        description: "Application protocol as negotiated, proven by the client; null: the driver cannot tell",
      },
      cipher: { type: ["string", "null"], description: "TLS version and cipher suite; null on cleartext" },
      rttMs: quantity("ms", "Round-trip time between client and server that was put in"),
      rounds: list("All rounds, invalid ones too", { $ref: "#/$defs/round" }),
      metrics: reference("metrics", "All valid rounds together: histograms added, scalars pooled"),
      intervals: map("Interval over the rounds, by metric.statistic", { $ref: "#/$defs/interval" }),
      invalid: reasons("the arm"),
    },
    ["client"],
  ),
  comparison: record(
    "Two arms in one metric, paired by round",
    {
      metric: metricName,
      statistic,
      baseline: text("Id of the arm compared with"),
      candidate: text("Id of the arm compared"),
      ratio: {
        ...nullable("interval", "Candidate over baseline: geometric mean of the rounds' ratios; null: not compared, or a value was 0"),
        unit: "ratio",
      },
      difference: nullable("interval", "Candidate minus baseline, in the metric's unit"),
      rounds: whole("Rounds that were paired"),
      method: oneOf("t-interval, or studentised bootstrap from 20 rounds", ["t", "bootstrap", null]),
      pRaw: { ...quantity("probability", "Two-sided p of this comparison alone", { minimum: 0, maximum: 1 }), type: ["number", "null"] },
      p: {
        ...quantity("probability", "Two-sided p after Holm's adjustment over the suite", { minimum: 0, maximum: 1 }),
        type: ["number", "null"],
      },
      smallestEffect: record("Smallest effect of interest", {
        ratio: quantity("ratio", "Relative effect: 0.02 is 2%"),
        us: { ...quantity("us", "Absolute effect, for latencies; null: none"), type: ["number", "null"] },
      }),
      verdict: oneOf("faster: the candidate is better (lower latency, higher rate, fewer bytes)", [
        "faster",
        "slower",
        "equivalent",
        "inconclusive",
        "described",
        "not compared",
      ]),
      reason: { type: ["string", "null"], description: "Why there is no verdict" },
      kind: oneOf("About protocols, engines or clients", ["protocol", "engine", "client"]),
      described: { type: "boolean", description: "true: shown without a verdict, beside the metrics that decide; absent: it decides" },
    },
    ["described"],
  ),
  claim: record("A claim and what became of it", {
    text: text("The claim"),
    source: text("Who made it"),
    gain: quantity("ratio", "Claimed gain as a relative improvement: 0.2 for 20% faster"),
    comparison: nullable("comparison", "The comparison that decides it"),
    measured: { ...nullable("interval", "Measured gain: time saved, or rate added"), unit: "ratio" },
    verdict: oneOf("What the interval says of the claimed gain", ["reproduced", "refuted", "inconclusive", "not compared"]),
    reason: { type: ["string", "null"], description: "Why it is not decided" },
  }),
  scenario: record("One scenario in one variant", {
    id: text("Name of the scenario"),
    title: text("Title"),
    isolates: text("What it isolates"),
    variant: text('Variant, such as "1000 streams"; empty where there is one'),
    workload: map("The workload as it was run", { type: ["string", "number", "boolean", "null"] }),
    arms: list("Arms", { $ref: "#/$defs/arm" }),
    comparisons: list("Comparisons", { $ref: "#/$defs/comparison" }),
    claims: list("Claims", { $ref: "#/$defs/claim" }),
    notes: list("What a reader should know", text("Note in one line")),
    skipped: { type: ["string", "null"], description: "Why it was not run; null: it was" },
  }),
  environment: record("The machine and its software", {
    fakeai: text("Version of fakeai"),
    node: text("Version of Node"),
    os: text("Operating system"),
    kernel: text("Kernel"),
    cpu: text("CPU model"),
    cores: whole("Logical cores"),
    memoryBytes: quantity("bytes", "Memory"),
    loadAverage: list("Load average over 1, 5 and 15 minutes before the run", quantity("count", "Runnable processes")),
    pinned: flag("Whether server and load ran on cores of their own"),
    engines: map("Version by engine", text("Version")),
    tools: map("Version by tool; null: missing", { type: ["string", "null"] }),
    target: text("What was loaded"),
  }),
  calibration: record("The load that the generator reproduces within 5%", {
    rows: list(
      "Loads tried",
      record("One load", {
        protocol,
        streams: whole("Streams at once"),
        tokensPerSecond: quantity("1/s", "Tokens read"),
        itlError: quantity("ratio", "Measured over planned mean ITL, minus 1"),
        clientCpuShare: quantity("ratio", "CPU time of the load process by elapsed time: 1 is one core"),
        ok: flag("Within 5%"),
      }),
    ),
    limitTokensPerSecond: map("Highest tokens per second reproduced, by protocol", quantity("1/s", "Tokens per second")),
  }),
  requirement: record("A requirement and whether it was met", {
    text: text("As given"),
    met: flag("Met in every arm it means"),
    measured: list(
      "What was measured",
      record("One arm", {
        scenario: text("Scenario"),
        arm: text("Arm"),
        value: { ...quantity(own, "Value; null: not measured"), type: ["number", "null"] },
      }),
    ),
  }),
};

/** The schema, as published. */
export const resultSchema: Schema = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  title: "fakeai bench result",
  ...record(
    "The whole of a bench run",
    {
      kind: { const: "fakeai.bench", description: "What this file is" },
      schemaVersion: { const: 1, description: "Version of this schema" },
      suite: text("Suite: quick, full, or custom"),
      command: list("Command line as given, secrets left out", text("Argument")),
      seed: { type: "integer", unit: "none", description: "Seed of workloads and of the order of arms" },
      startedAt: text("When it began, ISO 8601"),
      durationS: quantity("s", "How long it took"),
      complete: flag("false: interrupted; what was measured is here"),
      environment: reference("environment", "Where it ran; of a merged result, the first run's"),
      environments: list("Of a merged result: where every run in it ran", { $ref: "#/$defs/environment" }),
      calibration: nullable("calibration", "The generator's own limit; null: not calibrated"),
      scenarios: list("Scenarios, one for each variant", { $ref: "#/$defs/scenario" }),
      requirements: list("Requirements", { $ref: "#/$defs/requirement" }),
      invalid: reasons("the run"),
    },
    ["environments"],
  ),
  $defs: defs,
};
