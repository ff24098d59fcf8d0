/** The requests that once held up every other: what each does now, and its table on the page of attacks. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describeEnvironment } from "../../src/runner/processes/machine.ts";
import { type Case, caseOf } from "../../test/listeners/fuzz/requests.ts";
import { corpus } from "../../test/listeners/fuzz/corpus.ts";
import { repeatedly, type Trial } from "../../test/listeners/fuzz/search.ts";
import type { EngineName } from "../../test/listeners/fuzz/target.ts";
import { measuredTable, readSearch, table } from "./page.ts";

/** A request of the corpus by its name, and what it did before one request had bounds (2026-11-29, Node 20, 2 cores, HTTP/1.1). */
interface Reproduction {
  readonly name: string;
  /** The longest /health on another connection; Infinity: it never came. null: it was not noted. */
  readonly stallSeconds: number | null;
  /** What RSS grew by, or the answer's size, where it was noted. */
  readonly noted?: string;
}

const reproductions: readonly Reproduction[] = [
  { name: "allOf of two references, 20 levels", stallSeconds: 2.6 },
  { name: "allOf of two references, 60 levels", stallSeconds: Infinity },
  { name: "1,000 items of 20,000 characters", stallSeconds: 1.8, noted: "RSS 468 MB" },
  { name: "2,500 items of 20,000 characters", stallSeconds: null },
  { name: "a stop of 80,000 near-periodic characters", stallSeconds: 9.2 },
  { name: "a class of 100,000 characters, 4,000 times", stallSeconds: 4.2 },
  { name: "2,048 embeddings of 2,048 dimensions", stallSeconds: 3.1, noted: "answer 90 MB" },
  { name: "20,000 tools, the last allowed 20,000 times", stallSeconds: 0.4 },
];

/** What stands beside them: a request that asks for nothing, for what the machine itself makes /health wait. */
const nothing = "beside them: GET /v1/models";

interface Row {
  readonly name: string;
  readonly bodyBytes: number;
  readonly status: number | null;
  /** The error's message; null: it was answered. */
  readonly message: string | null;
  readonly answerBytes: number;
  /** The longest of all tries. */
  readonly healthMs: number;
  /** The same, of what `Trial.delayMs` says. */
  readonly delayMs: number;
  readonly rssBytes: number;
  readonly faults: readonly string[];
}

interface EngineRows {
  readonly engine: string;
  readonly startedAt: string;
  readonly environment: ReturnType<typeof describeEnvironment>;
  readonly tries: number;
  readonly rows: readonly Row[];
}

export const reproductionsFile = "reproductions.json";

/** An answer of 90 MB is read to its end. */
const readMs = 30_000;

function caseNamed(name: string): Case & { kind: "request" } {
  const plan = { seed: 1, cases: corpus.length, maxBodyBytes: 0 };
  const given = caseOf(
    plan,
    corpus.findIndex((known) => known.name === name),
  );
  if (given.kind !== "request") throw new Error(`the corpus has no request ${name}`);
  return { ...given, readMs };
}

/** The message of an error's JSON, or what came of it. */
function messageOf(begin: string): string {
  return /"message":\s*"((?:[^"\\]|\\.)*)/.exec(begin)?.[1] ?? begin;
}

function rowOf(name: string, bodyBytes: number, trials: readonly Trial[]): Row {
  const most = (of: (trial: Trial) => number): number => Math.max(...trials.map(of));
  const { status, begin } = trials.at(-1)!;
  return {
    name,
    bodyBytes,
    status,
    message: status === 200 ? null : messageOf(begin),
    answerBytes: most(({ answerBytes }) => answerBytes),
    healthMs: Number(most(({ healthMs }) => healthMs).toFixed(1)),
    delayMs: Number(most(({ delayMs }) => delayMs).toFixed(1)),
    rssBytes: most(({ rssBytes }) => rssBytes),
    faults: [...new Set(trials.flatMap(({ fault }) => fault ?? []))],
  };
}

/** Makes each of them, with nothing beside them, so many times on one engine. */
export async function reproduce(engine: EngineName, tries: number): Promise<EngineRows> {
  const startedAt = new Date().toISOString();
  const named = reproductions.map(({ name }) => ({ name, given: caseNamed(name) }));
  const none: Case & { kind: "request" } = {
    kind: "request",
    category: "corpus",
    endpoint: "",
    method: "GET",
    target: "/v1/models",
    headers: [],
    body: null,
    asksForTrouble: false,
  };
  const all = [{ name: nothing, given: none }, ...named];
  const trials = await repeatedly(
    engine,
    all.map(({ given }) => given),
    tries,
  );
  const rows = all.map(({ name, given }, index) => rowOf(name, given.body?.length ?? 0, trials[index]!));
  return { engine: engine.name, startedAt, environment: describeEnvironment(false, "fakeai"), tries, rows };
}

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);

/** What a row did before. */
function beforeOf(name: string): string {
  const known = reproductions.find((each) => each.name === name);
  if (known === undefined) return "";
  const { stallSeconds, noted } = known;
  const stall = stallSeconds === null ? "not taken" : stallSeconds === Infinity ? "for ever" : `${stallSeconds.toFixed(1)} s`;
  return noted === undefined ? stall : `${stall}, ${noted}`;
}

export const reproductionsHeading = "## One budget a request";

/** The section of the page; empty where nothing was taken. */
export function reproductionsSection(folder: string): string {
  const path = join(folder, reproductionsFile);
  if (!existsSync(path)) return "";
  const engines = readSearch(path) as readonly EngineRows[];
  const header = ["request", "on", "body, bytes", "answer", "before: /health", "/health p100, ms", "held up p100, ms", "RSS, MB"];
  const names = engines[0]!.rows.map(({ name }) => name);
  const cells = names.flatMap((name) =>
    engines.flatMap(({ engine, rows }) =>
      rows
        .filter((row) => row.name === name)
        .map(({ bodyBytes, status, message, answerBytes, healthMs, delayMs, rssBytes, faults }) => [
          name,
          engine,
          bodyBytes,
          `${status ?? "none"}${message === null ? `, ${answerBytes} bytes` : `: ${message.replaceAll("|", "\\|")}`}${faults.map((fault) => `; **${fault}**`).join("")}`,
          beforeOf(name),
          healthMs.toFixed(1),
          delayMs.toFixed(1),
          megabytes(rssBytes),
        ]),
    ),
  );
  return `${reproductionsHeading}

Written by \`npm run measure -- fuzz --table\`, engine by engine: requests that each held up every other stream before one request had
[bounds](../../docs/serve.md#what-one-request-may-ask-for). Each is made ${engines[0]!.tries} times, and its answer read whole. The columns are the longest
/health on another connection of all tries, whatever made it wait; how long the request held up a neighbour (/health, or a token of a stream paced at
5 ms; of each wait no more than the serving thread ran in it, as in the search below); and by how much the process's peak RSS grew, the most of all tries. The first
row asks for nothing: what /health waits beside it is the machine's. "Before" is what was seen on 2026-11-29, on HTTP/1.1.

${table(header, cells, 3)}

${measuredTable(engines.map(({ engine, startedAt, environment }) => ({ what: engine, startedAt, environment })))}
`;
}
