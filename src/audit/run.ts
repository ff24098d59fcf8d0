/** Plays the ladder: a server with a known plan, the command against it, and what both say; as many rungs as the budget allows. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { makeDirectory } from "../base/directory.ts";
import { UsageError } from "../base/usage-error.ts";
import type { ReceivedRecord } from "../base/parent-channel.ts";
import type { ProtocolName } from "../results/types.ts";
import { describeEnvironment } from "../runner/processes/machine.ts";
import { RunError, startServerChild } from "../runner/processes/target.ts";
import { type CommandRun, filled, hasPlaceholder, runCommand, type Values } from "./command.ts";
import { judgeRungs, limitOf, type Observation, type PlayedRung, standingOf, summarize } from "./judge.ts";
import { type Course, courseOf, ladder, nextOnClimb, planOf, risingRungs, type Rung } from "./ladder.ts";
import { lineOf } from "./line.ts";
import type { ReplyFile } from "../settings/replies.ts";
import type { Reader } from "./readers/reader.ts";
import { readers, reportIn } from "./readers/readers.ts";
import type { Audit, RungResult } from "./types.ts";

export interface AuditOptions {
  /** The command with its placeholders. */
  readonly words: readonly string[];
  /** Folder of the audit: what the command prints and writes goes below it. */
  readonly folder: string;
  readonly budgetS: number;
  readonly repeats: number;
  /** Names of rungs; null: as many as the budget allows. */
  readonly rungs: readonly string[] | null;
  readonly protocol: ProtocolName;
  /** The reader of --map; null: the one that knows the output. */
  readonly reader: Reader | null;
  readonly signal: AbortSignal;
  readonly progress: (text: string) => void;
  readonly notice: (text: string) => void;
}

/** The model that {model} names. */
const model = "fakeai";
/** A key for tools that insist on one. The server takes any. */
const key = "sk-fakeai-audit";
/** Requests that a run may send and be known. */
const mostRequests = 50_000;
/** The way up has this part of the budget, once so many rungs of rising load were played. */
const climbShare = 0.5;
const fewestRising = 3;
/** No single run of a command takes longer. */
const mostRunMs = 600_000;

/** Nothing could be audited; the message says why in one line. */
export class AuditError extends Error {}

/** The rungs that --rungs names, in order. Throws UsageError. */
export function rungsNamed(words: readonly string[], names: readonly string[]): readonly Rung[] {
  return names.map((name) => {
    const rung = ladder.find((one) => one.name === name);
    if (rung === undefined)
      throw new UsageError(`--rungs: no rung "${name.slice(0, 40)}"; there are ${ladder.map((one) => one.name).join(", ")}`);
    if (rung.needs !== null && !hasPlaceholder(words, rung.needs))
      throw new UsageError(`--rungs: ${name} changes the command's load: put {${rung.needs}} into the command`);
    return rung;
  });
}

/** An audit, and what it was judged from. */
export interface Audited {
  readonly audit: Audit;
  readonly played: readonly PlayedRung[];
}

/** Runs an audit. Rejects with UsageError for a command that cannot be started, and with AuditError where nothing could be audited. */
export async function runAudit(options: AuditOptions): Promise<Audited> {
  const { words, budgetS, repeats, rungs: named, signal } = options;
  const startedAt = new Date();
  const begunMs = performance.now();
  const load = loadavg()[0]!;
  const elapsedS = (): number => (performance.now() - begunMs) / 1000;
  const player = new Player(options);
  const play = async (rung: Rung): Promise<PlayedRung | null> => {
    const observations: Observation[] = [];
    for (let repeat = 1; repeat <= repeats && !signal.aborted; repeat++) {
      options.progress(`${rung.name} ${repeat}/${repeats}, ${Math.round(elapsedS())} of ${budgetS} s`);
      observations.push(await player.play(rung, repeat));
    }
    return signal.aborted ? null : playedRung(rung, words, observations);
  };
  const course = named === null ? courseOf((needed) => hasPlaceholder(words, needed)) : rungsNamed(words, named);
  const { played, leftOut } = await playCourse(course, { budgetS, elapsedS, play });
  if (played.length === 0) throw new AuditError("interrupted before the first rung was over");
  const results = judgeRungs(played);
  const came = results.some(({ repeats: runs }) => runs.some(({ traffic }) => traffic.requests > 0));
  if (!came) throw new AuditError(nothingCame(options, results));
  return { audit: auditOf({ options, results, player, startedAt, durationS: elapsedS(), load, leftOut }), played };
}

/** How a course is played. */
export interface Playing {
  readonly budgetS: number;
  /** Since it began. */
  readonly elapsedS: () => number;
  /** All repeats of a rung; null: it was interrupted. */
  readonly play: (rung: Rung) => Promise<PlayedRung | null>;
}

/** Plays what was named, or a course: as many rungs as the budget allows, in the order of the ladder, and the names of those that it does not. */
export async function playCourse(
  course: Course | readonly Rung[],
  { budgetS, elapsedS, play }: Playing,
): Promise<{ readonly played: readonly PlayedRung[]; readonly leftOut: readonly string[] }> {
  const played: PlayedRung[] = [];
  let longestS = 0;
  let isOver = false;
  // A rung of half its repeats would decide nothing.
  const fits = (): boolean => !isOver && (played.length === 0 || elapsedS() + longestS <= budgetS);
  const one = async (rung: Rung): Promise<void> => {
    const before = elapsedS();
    const result = await play(rung);
    longestS = Math.max(longestS, elapsedS() - before);
    if (result === null) isOver = true;
    else played.push(result);
  };
  const inOrder = async (rungs: readonly Rung[]): Promise<string[]> => {
    for (const [index, rung] of rungs.entries()) {
      if (!fits()) return rungs.slice(index).map(({ name }) => name);
      await one(rung);
    }
    return [];
  };
  if (!("climb" in course)) return { leftOut: await inOrder(course), played };
  await one(course.first);
  const outcomes = new Map<number, "passed" | "ended">();
  const leftOut: string[] = [];
  const { climb } = course;
  for (let next = nextOnClimb(climb.length, outcomes); next !== null; next = nextOnClimb(climb.length, outcomes)) {
    const rung = climb[next]!;
    const isItsShareSpent = played.length >= fewestRising && elapsedS() + longestS > budgetS * climbShare;
    if (!fits() || isItsShareSpent) {
      leftOut.push(rung.name);
      break;
    }
    await one(rung);
    if (isOver) break;
    const results = judgeRungs(played);
    const standing = standingOf(results.at(-1)!, results[0]!);
    outcomes.set(next, standing === "right" || standing === "unclear" ? "passed" : "ended");
  }
  leftOut.push(...(await inOrder(course.others)));
  const place = ({ name }: PlayedRung): number => ladder.findIndex((rung) => rung.name === name);
  return { played: played.toSorted((a, b) => place(a) - place(b)), leftOut };
}

function playedRung(rung: Rung, words: readonly string[], observations: readonly Observation[]): PlayedRung {
  return {
    name: rung.name,
    title: rung.title,
    plan: planOf(rung),
    concurrency: hasPlaceholder(words, "concurrency") ? rung.load.concurrency : null,
    ratePerSecond: hasPlaceholder(words, "rate") ? rung.load.ratePerSecond : null,
    observations,
  };
}

function nothingCame({ words }: AuditOptions, results: readonly RungResult[]): string {
  const notes = results.flatMap((rung) => rung.notes);
  const hasAddress = hasPlaceholder(words, "url") || hasPlaceholder(words, "base");
  const hint = hasAddress ? "" : ": put {url} or {base} into the command, unless it reads OPENAI_BASE_URL";
  return `no request of the command reached the server${hint}${notes.length > 0 ? ` (${notes[0]!})` : ""}`;
}

interface Finished {
  readonly options: AuditOptions;
  readonly results: readonly RungResult[];
  readonly player: Player;
  readonly startedAt: Date;
  readonly durationS: number;
  readonly load: number;
  readonly leftOut: readonly string[];
}

function auditOf({ options, results, player, startedAt, durationS, load, leftOut }: Finished): Audit {
  const { words, protocol, repeats, budgetS } = options;
  const environment = describeEnvironment(false, "serve");
  const { reader, version } = player;
  const figures = summarize(results);
  const limit = limitOf(results, risingRungs);
  const round = (value: number): number => Math.round(value * 100) / 100;
  return {
    version: 1,
    fakeai: environment.fakeai,
    startedAt: startedAt.toISOString(),
    durationS: round(durationS),
    command: words.map(shownWord),
    tool: reader?.tool ?? null,
    toolVersion: version,
    documentation: reader?.documentation ?? null,
    definitions: reader?.definitions ?? [],
    protocol,
    repeats,
    budgetS,
    leftOut,
    loadAverage: [round(load), round(loadavg()[0]!)],
    environment: `${environment.cores} cores, ${environment.cpu}, ${environment.os}, Node ${environment.node}`,
    rungs: results,
    figures,
    limit,
    line: lineOf({ tool: reader?.tool ?? null, toolVersion: version, rungs: results, figures, limit }),
  };
}

/** A word of the command for the record: without keys. */
function shownWord(word: string): string {
  return word
    .replace(/((?:api[-_]?key|token|secret|password|authorization)["']?\s*[=:]\s*["']?(?:bearer\s+)?)[^\s"']+/gi, "$1***")
    .replaceAll(/\bsk-[\w-]{8,}/g, "sk-***");
}

/** Runs the command on a rung. */
class Player {
  readonly #options: AuditOptions;
  /** The reader that knew the output, once one did. */
  reader: Reader | null;
  version: string | null = null;

  constructor(options: AuditOptions) {
    this.#options = options;
    this.reader = options.reader;
  }

  async play(rung: Rung, repeat: number): Promise<Observation> {
    const { protocol, folder } = this.#options;
    const rules = rung.replies === null ? null : rulesFile(rung.replies(protocol === "h2c" || protocol === "h2"));
    const server = await startServerChild({
      protocols: [protocol],
      engine: "node",
      ttft: rung.flags["ttft"]!,
      itl: rung.flags["itl"]!,
      outputTokens: Number(rung.flags["output-tokens"]),
      maxConcurrentStreams: 256,
      seed: repeat,
      cpu: null,
      stamps: false,
      flags: [
        "--keep-requests",
        String(mostRequests),
        ...Object.entries(rung.flags).flatMap(([name, value]) =>
          plannedFlags.has(name) ? [] : value === "" ? [`--${name}`] : [`--${name}`, value],
        ),
        ...(rules === null ? [] : ["--replies", rules]),
      ],
    });
    try {
      await server.ask({ ask: "record", knobs: {} });
      const out = join(folder, "runs", `${rung.name}-${repeat}`);
      makeDirectory(out);
      const url = server.origins[protocol]!;
      const run = await runCommand({
        words: filled(this.#options.words, this.#values(rung, url, out)),
        env: environmentOf(url, server.caPath),
        out,
        timeoutMs: mostRunMs,
        signal: this.#options.signal,
      });
      writeFileSync(join(out, "stdout.txt"), run.stdout);
      writeFileSync(join(out, "stderr.txt"), run.stderr);
      const records = await recordsOf(server);
      if (server.died !== null) throw new AuditError(server.died);
      if (records === null) throw new AuditError("the server did not tell what came in");
      return { records, ...this.#read(run), exitCode: run.exitCode, wallS: run.wallS, machine: run.machine };
    } catch (error) {
      throw error instanceof RunError ? new AuditError(error.message) : error;
    } finally {
      await server.close();
      if (rules !== null) rmSync(dirname(rules), { recursive: true, force: true });
    }
  }

  #values({ load: { concurrency, ratePerSecond, seconds, turns } }: Rung, url: string, out: string): Values {
    const { words } = this.#options;
    const requests = hasPlaceholder(words, "concurrency")
      ? concurrency * turns
      : hasPlaceholder(words, "rate")
        ? ratePerSecond * seconds
        : 20;
    return {
      url,
      base: `${url}/v1`,
      model,
      out,
      concurrency: String(concurrency),
      rate: String(ratePerSecond),
      requests: String(Math.max(20, requests)),
      seconds: String(seconds),
    };
  }

  #read(run: CommandRun): Pick<Observation, "report" | "fault"> {
    const output = { stdout: run.stdout, stderr: run.stderr, files: run.files };
    if (run.isOverdue) return { report: null, fault: `the command took longer than ${mostRunMs / 1000} s and was ended` };
    try {
      const { reader } = this.#options;
      const found = reader === null ? reportIn(output) : withReader(reader, reader.read(output));
      if (found === null) {
        const known =
          reader === null
            ? `no reader knows what it printed or wrote (there are ${readers.map(({ tool }) => tool).join(", ")}, and --map)`
            : "nothing that --map names was found";
        return { report: null, fault: known };
      }
      this.reader = found.reader;
      this.version ??= found.report.version;
      return { report: found.report, fault: null };
    } catch (error) {
      return { report: null, fault: `its report could not be read: ${(error as Error).message.slice(0, 200)}` };
    }
  }
}

function withReader(reader: Reader, report: ReturnType<Reader["read"]>): ReturnType<typeof reportIn> {
  return report === null ? null : { reader, report };
}

/** Flags that the server child has members for. */
const plannedFlags: ReadonlySet<string> = new Set(["ttft", "itl", "output-tokens"]);

function rulesFile(replies: ReplyFile): string {
  const file = join(mkdtempSync(join(tmpdir(), "fakeai-audit-")), "replies.json");
  writeFileSync(file, JSON.stringify(replies));
  return file;
}

/** Answers under way end within this, after the command has. */
const settleMs = 300;

async function recordsOf(server: Awaited<ReturnType<typeof startServerChild>>): Promise<readonly ReceivedRecord[] | null> {
  const underWay = (records: readonly ReceivedRecord[] | null): boolean => records?.some(({ ended }) => ended === null) === true;
  const records = await server.ask({ ask: "received" });
  if (!underWay(records)) return records;
  // What the command left open is noticed when its connections close.
  await new Promise((resolve) => setTimeout(resolve, settleMs));
  return server.ask({ ask: "received" });
}

function environmentOf(url: string, caPath: string | null): Record<string, string> {
  return {
    OPENAI_BASE_URL: `${url}/v1`,
    OPENAI_API_BASE: `${url}/v1`,
    OPENAI_API_KEY: key,
    ...(caPath === null ? {} : { NODE_EXTRA_CA_CERTS: caPath, SSL_CERT_FILE: caPath, REQUESTS_CA_BUNDLE: caPath, CURL_CA_BUNDLE: caPath }),
  };
}

/** Judges recorded rungs: what `--details` kept, or a test's. */
export function rejudge(played: readonly PlayedRung[]): Pick<Audit, "rungs" | "figures" | "limit"> {
  const rungs = judgeRungs(played);
  return { rungs, figures: summarize(rungs), limit: limitOf(rungs, risingRungs) };
}
