/** The rows of the speed table: what is measured, against what, and the target. */
import type { Twin, Wire } from "./subjects.ts";

interface Base {
  readonly id: string;
  readonly what: string;
}

/** CPU per token of paced streams, against the raw engine and (on h1) the C loop. */
export interface PacedRow extends Base {
  readonly kind: "paced";
  readonly wire: Wire;
  /** null: there is none that speaks this. */
  readonly control: "uws" | "http" | "http2" | null;
  readonly engineFlags?: readonly string[];
  readonly twin?: Twin;
  readonly connections: number;
  readonly streamsPerConnection: number;
  readonly itlMs: number;
  readonly controlTarget: number;
  readonly loopTarget: number | null;
  /** Against each other fake server, where they were asked for. */
  readonly peerTarget: number;
}

/** Answers per second at a full core, against the raw engine with a constant answer and against other fake servers. */
export interface WholeRow extends Base {
  readonly kind: "whole";
  readonly mode: "unpaced" | "unary";
  readonly wire: Wire;
  /** null: there is none that speaks this. */
  readonly control: "uws" | "http2" | null;
  readonly engineFlags?: readonly string[];
  readonly twin?: Twin;
  readonly connections: number;
  readonly streamsPerConnection: number;
  readonly controlTarget: number;
  readonly aimockTarget: number;
  /** Against other fake servers, by name. */
  readonly peerTargets: Readonly<Record<string, number>>;
}

/** How well the schedule is kept. */
export interface PacingRow extends Base {
  readonly kind: "pacing";
  readonly wire: Wire;
  readonly timer: "standard" | "precise";
  readonly connections: number;
  readonly streamsPerConnection: number;
  readonly itlMs: number;
}

/** How far the slowest first tokens of streams that start within a second are behind the median, and how long a stream stood still. */
export interface TtftRow extends Base {
  readonly kind: "ttft";
  readonly connections: number;
  readonly itlMs: number;
  /** p99 less p50 of the TTFT, and the longest gap, milliseconds. */
  readonly targets: readonly [tailMs: number, gapMs: number];
}

/** Resident memory of streams that wait for their first token. */
export interface WaitingRow extends Base {
  readonly kind: "waiting";
  readonly wire: Wire;
  readonly control: "uws" | "http2";
  readonly connections: number;
  readonly streamsPerConnection: number;
  readonly targetKb: number;
}

/** CPU per token at two numbers of streams and one rate. */
export interface SizeRow extends Base {
  readonly kind: "size";
  readonly wire: Wire;
  readonly connections: readonly [number, number];
  readonly streamsPerConnection: readonly [number, number];
  readonly itlMs: readonly [number, number];
}

/** CPU per token of two workers against one, and how they share the connections. All on one core: the other is the load's. */
export interface WorkersRow extends Base {
  readonly kind: "workers";
  readonly wire: Wire;
  readonly connections: number;
  readonly streamsPerConnection: number;
  readonly itlMs: number;
  readonly target: number;
}

export interface HeapRow extends Base {
  readonly kind: "heap";
  readonly tokens: number;
}

export interface ColdRow extends Base {
  readonly kind: "cold";
  readonly targetMs: number;
  /** Resident when idle, MiB. */
  readonly targetMb: number;
}

/** Answers of two workers that share both cores with the load. */
export interface SharedRow extends Base {
  readonly kind: "shared";
  readonly wire: Wire;
  readonly connections: number;
  /** Of the CPU time of a request to one process's. */
  readonly costTarget: number;
  /** Of the requests per second to other fake servers', by name. */
  readonly rateTargets: Readonly<Record<string, number>>;
}

export type Row = PacedRow | WholeRow | PacingRow | TtftRow | WaitingRow | SizeRow | WorkersRow | SharedRow | HeapRow | ColdRow;

const paced = (
  id: string,
  wire: Wire,
  control: PacedRow["control"],
  connections: number,
  streamsPerConnection: number,
  itlMs: number,
  engineFlags?: readonly string[],
): PacedRow => ({
  kind: "paced",
  id,
  what: `${id.startsWith("node") ? "node:http " : ""}${wire} paced, ${connections * streamsPerConnection} streams at ${itlMs} ms: CPU per token`,
  wire,
  control,
  connections,
  streamsPerConnection,
  itlMs,
  controlTarget: control === "http" ? 1.05 : 1.1,
  loopTarget: control === "uws" ? 1.35 : null,
  peerTarget: 1,
  ...(engineFlags ? { engineFlags } : {}),
});

const pacing = (wire: Wire, timer: PacingRow["timer"], connections: number, streamsPerConnection: number, itlMs: number): PacingRow => ({
  kind: "pacing",
  id: `pacing-${wire}-${timer}-${connections * streamsPerConnection}`,
  what: `${wire} ${timer} timer, ${connections * streamsPerConnection} streams at ${itlMs} ms: lateness`,
  wire,
  timer,
  connections,
  streamsPerConnection,
  itlMs,
});

const whole = (mode: WholeRow["mode"], wire: Wire, controlTarget: number, aimockTarget: number): WholeRow => ({
  kind: "whole",
  id: `${mode}-${wire}`,
  what: mode === "unpaced" ? `${wire} unpaced, 100 tokens an answer: events per second` : `${wire} unary: requests per second`,
  mode,
  wire,
  control: wire === "h1" ? "uws" : "http2",
  connections: wire === "h1" ? 32 : 8,
  streamsPerConnection: wire === "h1" ? 1 : 16,
  controlTarget,
  aimockTarget,
  peerTargets: mode === "unary" && wire === "h1" ? { llmposter: 1.1, VidaiMock: 1 } : {},
});

/** fakeai's own engine of HTTP/2 against node's, with the same requests and the same answers. */
const ownEngine = ["--h2-engine", "own"];
const onNode = (target: number): Twin => ({ name: "fakeai on node:http2", flags: ["--h2-engine", "node"], target });

const ownPaced = (wire: "h2c" | "h2", connections: number, streamsPerConnection: number, itlMs: number, target: number): PacedRow => ({
  ...paced(
    `own-${wire}-paced-${connections * streamsPerConnection}`,
    wire,
    wire === "h2c" ? "http2" : null,
    connections,
    streamsPerConnection,
    itlMs,
    ownEngine,
  ),
  what: `${wire} paced, own engine, ${connections * streamsPerConnection} streams at ${itlMs} ms: CPU per token`,
  controlTarget: 0.8,
  twin: onNode(target),
});

const ownWhole = (mode: WholeRow["mode"], wire: Wire, target: number): WholeRow => ({
  ...whole(mode, wire, mode === "unary" ? 2 : 1.25, 7),
  id: `own-${mode}-${wire}`,
  what: `${wire} ${mode}, own engine: ${mode === "unpaced" ? "events" : "requests"} per second`,
  control: wire === "h2c" ? "http2" : null,
  engineFlags: ownEngine,
  peerTargets: mode === "unary" && wire === "h2c" ? { VidaiMock: 1.5 } : {},
  twin: onNode(target),
  connections: 5,
  streamsPerConnection: 10,
});

const workers = (wire: Wire, connections: number, streamsPerConnection: number, itlMs: number): WorkersRow => ({
  kind: "workers",
  id: `workers-${wire}`,
  what: `${wire} paced, ${connections * streamsPerConnection} streams at ${itlMs} ms, 2 workers against 1: CPU per token`,
  wire,
  connections,
  streamsPerConnection,
  itlMs,
  target: 1.1,
});

export const rows: readonly Row[] = [
  paced("h1-paced-100", "h1", "uws", 100, 1, 20),
  { ...paced("h1-paced-1000", "h1", "uws", 1000, 1, 20), controlTarget: 1.08, loopTarget: 1.25 },
  paced("h1-paced-4000", "h1", "uws", 4000, 1, 50),
  paced("h2c-paced-1000", "h2c", "http2", 10, 100, 20),
  paced("h2c-paced-4000", "h2c", "http2", 40, 100, 50),
  paced("node-h1-paced-1000", "h1", "http", 1000, 1, 20, ["--h1-engine", "node"]),
  whole("unpaced", "h1", 0.75, 10),
  whole("unpaced", "h2c", 0.6, 7),
  whole("unary", "h1", 0.75, 4),
  whole("unary", "h2c", 0.75, 4),
  {
    ...whole("unary", "h1", 0.5, 4),
    id: "default-unary-h1",
    what: "h1 unary, default profile: requests per second",
    // Controls have the head and the body of the minimal one.
    control: null,
    engineFlags: ["--profile", "openai"],
  },
  ownPaced("h2c", 10, 100, 20, 0.55),
  ownPaced("h2c", 40, 100, 50, 0.55),
  ownPaced("h2", 10, 100, 20, 0.55),
  ownWhole("unary", "h2c", 3.5),
  ownWhole("unpaced", "h2c", 2),
  ownWhole("unary", "h2", 3.5),
  ownWhole("unpaced", "h2", 2),
  pacing("h1", "standard", 100, 1, 20),
  pacing("h1", "standard", 1000, 1, 20),
  pacing("h1", "standard", 5000, 1, 100),
  pacing("h1", "standard", 10000, 1, 200),
  pacing("h1", "precise", 100, 1, 20),
  pacing("h1", "precise", 1000, 1, 20),
  pacing("h2c", "precise", 1, 100, 20),
  pacing("h2c", "precise", 10, 100, 20),
  pacing("h2c", "standard", 1, 100, 20),
  pacing("h2c", "standard", 10, 100, 20),
  pacing("h2c", "standard", 50, 100, 100),
  pacing("h2c", "standard", 100, 100, 200),
  ...[500, 1000].map((streams): TtftRow => ({
    kind: "ttft",
    id: `ttft-h1-${streams}`,
    what: `h1, ${streams} streams that start within a second, ITL 20 ms: TTFT's p99 less its p50; the longest gap`,
    connections: streams,
    itlMs: 20,
    targets: [2, 24],
  })),
  {
    kind: "waiting",
    id: "waiting-h1",
    what: "h1, streams waiting for their first token: RSS per stream",
    wire: "h1",
    control: "uws",
    connections: 10000,
    streamsPerConnection: 1,
    targetKb: 3,
  },
  {
    kind: "waiting",
    id: "waiting-h2c",
    what: "h2c, streams waiting for their first token: RSS per stream",
    wire: "h2c",
    control: "http2",
    connections: 100,
    streamsPerConnection: 100,
    targetKb: 9.5,
  },
  {
    kind: "size",
    id: "size-h1",
    what: "h1 at 50,000 tokens/s, 10,000 streams against 1,000: CPU per token",
    wire: "h1",
    connections: [1000, 10000],
    streamsPerConnection: [1, 1],
    itlMs: [20, 200],
  },
  {
    kind: "size",
    id: "size-h2c",
    what: "h2c at 50,000 tokens/s, 10,000 streams against 1,000: CPU per token",
    wire: "h2c",
    // One number of connections: what a system call carries must not change with the number of streams.
    connections: [10, 10],
    streamsPerConnection: [100, 1000],
    itlMs: [20, 200],
  },
  workers("h1", 1000, 1, 20),
  workers("h2c", 20, 50, 20),
  { kind: "heap", id: "heap", what: "heap after 10 million tokens", tokens: 10_000_000 },
  {
    kind: "shared",
    id: "shared-unary-h1",
    what: "h1 unary, default profile, 2 workers on both cores with the load",
    wire: "h1",
    connections: 50,
    costTarget: 1.1,
    rateTargets: { llmposter: 1, VidaiMock: 1 },
  },
  {
    kind: "cold",
    id: "cold",
    what: "from spawning the process to the first answer; resident memory when idle",
    targetMs: 60,
    targetMb: 45,
  },
];
