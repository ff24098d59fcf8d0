/**
 * Everything at once: paced streams on all protocols, of which 10% are aborted by their clients, 5% are not read for a while and
 * 5% get a fault on purpose. With workers, some of them are killed and stopped meanwhile. Every request is accounted for on both
 * ends, pacing is looked at each minute, and in the end nothing may be left.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { describeEnvironment } from "../../src/runner/processes/machine.ts";
import { table, writtenBy } from "../support/page.ts";
import { kindNames } from "./plan.ts";
import { lanesOf } from "./servers.ts";
import { type Account, soak, type SoakResult, type SoakWindow } from "./soak.ts";

/** Bounds of what a soak may show. */
const mostItlError = 0.005;
const mostHeapRatio = 1.02;
const mostRssRatio = 1.1;
/** Of each protocol in each window. */
const mostLatenessP99Us = 2500;
/**
 * V8 goes on compiling until it has seen some 40,000 requests, at about 170 of them a second. What is held after a shorter
 * warm-up is shown and not judged: its growth would be mostly that.
 */
const judgedWarmupMs = 240_000;

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    streams: { type: "string" },
    workers: { type: "string", default: "0" },
    "kill-every": { type: "string", default: "5" },
    pause: { type: "string", default: "2" },
    seed: { type: "string", default: "1" },
    "h2-engine": { type: "string", default: "node" },
    output: { type: "string", default: fileURLToPath(new URL("../../results/soak/", import.meta.url)) },
  },
});

function refuse(why: string): never {
  process.stderr.write(`measure: ${why}\n`);
  process.exit(2);
}

function numberOf(name: keyof typeof values, least: number, most: number, usual: number = NaN): number {
  const number = Number(values[name] ?? usual);
  if (!(number >= least && number <= most)) refuse(`--${name} is a number from ${least} to ${most}, not ${values[name] ?? ""}`);
  return number;
}

const minutes = numberOf("minutes", 0.1, 1440);
const workers = numberOf("workers", 0, 64);
const lanes = lanesOf(workers);
const streams = numberOf("streams", lanes, 100_000, workers === 0 ? 1000 : 1050);
const h2Engine = values["h2-engine"];
if (h2Engine !== "node" && h2Engine !== "own") refuse(`--h2-engine is node or own, not ${h2Engine}`);
if (workers > 0 && h2Engine === "own") refuse("--h2-engine: workers have both engines");
if (!Number.isInteger(workers) || workers === 1) refuse("--workers is 0, or a whole number of at least 2");
if (!Number.isInteger(streams / lanes)) refuse(`--streams is a multiple of ${lanes}`);

const percent = (ratio: number | null): string => (ratio === null ? "" : `${(ratio * 100).toFixed(3)}%`);
const ms = (us: number | null): string => (us === null ? "" : (us / 1000).toFixed(2));
const mb = (bytes: number): string => (bytes / 1e6).toFixed(1);

function cellsOf(window: SoakWindow): string[] {
  const {
    atS,
    active,
    rssBytes,
    loadAverage,
    serverCpuShare,
    serverWaitShare,
    clientCpuShare,
    clientEventLoopDelayP99Us,
    pacing,
    disturbed,
  } = window;
  const each = (pick: (facts: SoakWindow["pacing"][number]) => string): string => pacing.map(pick).join(" / ");
  return [
    atS.toFixed(0),
    `${active}`,
    each(({ itlError }) => percent(itlError)),
    each(({ latenessP50Us }) => ms(latenessP50Us)),
    each(({ latenessP99Us }) => ms(latenessP99Us)),
    each(({ latenessMaxUs }) => ms(latenessMaxUs)),
    each(({ arrivalP99Us }) => ms(arrivalP99Us)),
    `${mb(rssBytes)} MB`,
    `${Math.round(serverCpuShare * 100)}% / ${Math.round(clientCpuShare * 100)}%`,
    loadAverage.toFixed(1),
    workers > 0 ? disturbed.join("; ") : serverWaitShare === null ? "" : `${(serverWaitShare * 100).toFixed(1)}%`,
    ms(clientEventLoopDelayP99Us),
  ];
}

/** What is held at the end over what was held after the warm-up. Of workers, the largest of each time: those of the end are younger. */
function growthOf({ before, after }: Account): { what: string; beforeBytes: number; afterBytes: number; most: number }[] {
  if (before.processes.length > 0) {
    return ["primary", "worker"].map((what) => {
      const largest = ({ processes }: Account["before"]): number =>
        Math.max(...processes.flatMap((each) => (each.what === what ? each.rssBytes : [])));
      return { what: `RSS of a ${what}`, beforeBytes: largest(before), afterBytes: largest(after), most: mostRssRatio };
    });
  }
  return [
    { what: "heap", beforeBytes: before.heapBytes!, afterBytes: after.heapBytes!, most: mostHeapRatio },
    { what: "RSS", beforeBytes: before.rssBytes, afterBytes: after.rssBytes, most: mostRssRatio },
  ];
}

/** Files of the process that was started: a socket that it keeps is one. Those of a worker differ by what it has compiled. */
const filesOf = ({ processes }: Account["before"]): number | null => processes[0]?.files ?? null;

/** What is not as it has to be. With workers the machine may have other work, and those that die delay others: pacing is shown. */
function failuresOf({ accounts, windows, servers, options }: SoakResult): string[] {
  const failures = [...accounts];
  if (options.warmupMs >= judgedWarmupMs) {
    for (const account of servers) {
      for (const { what, beforeBytes, afterBytes, most } of growthOf(account)) {
        if (afterBytes > beforeBytes * most) failures.push(`${account.name}: ${what} grew to ${(afterBytes / beforeBytes).toFixed(3)}`);
      }
    }
  }
  for (const { name, before, after } of servers) {
    const files = filesOf(after);
    if (files !== null && files > filesOf(before)!) failures.push(`${name}: ${filesOf(before)} open files became ${files}`);
  }
  if (options.workers > 0) return failures;
  for (const { atS, pacing } of windows) {
    for (const { lane, itlError } of pacing) {
      if (itlError !== null && Math.abs(itlError) <= mostItlError) continue;
      failures.push(`${lane}: mean ITL off by ${percent(itlError)} in the window that ended at ${atS.toFixed(0)} s`);
    }
  }
  const worstOf = ({ pacing }: SoakWindow): number => Math.max(...pacing.map(({ latenessP99Us }) => latenessP99Us ?? Infinity));
  const late = windows.filter((window) => worstOf(window) > mostLatenessP99Us);
  if (late.length > 0) {
    const ends = late.map(({ atS }) => atS.toFixed(0)).join(", ");
    const worstUs = Math.max(...late.map(worstOf));
    failures.push(
      `lateness p99 is above ${ms(mostLatenessP99Us)} ms in ${late.length} of ${windows.length} windows (ended at ${ends} s), up to ${ms(worstUs)} ms`,
    );
  }
  return failures;
}

function streamTable(servers: readonly Account[]): string {
  const rows = new Map<string, [name: string, planned: number, asPlanned: number]>();
  const add = (name: string, planned: number, asPlanned: number): void => {
    const row = rows.get(name) ?? [name, 0, 0];
    rows.set(name, [name, row[1] + planned, row[2] + asPlanned]);
  };
  for (const { tally } of servers) {
    for (const kind of ["whole", "abort", "stall", "fault"] as const) add(kindNames[kind], tally.planned[kind], tally.asPlanned[kind]);
  }
  for (const { tally } of servers) {
    for (const [spec, { planned, asPlanned }] of Object.entries(tally.faults)) add(`\`${spec}\``, planned, asPlanned);
  }
  const all = [...rows.values()];
  const faults = all.slice(4).sort(([a], [b]) => (a < b ? -1 : 1));
  return table(["streams", "planned", "came as planned"], [...all.slice(0, 4), ...faults]);
}

function serverText(account: Account): string {
  const { name, tally, statuses, finished, aborted, heldTokens, restarts, deaths, untold, abortsUnseen, before, after } = account;
  const answered = Object.values(statuses).reduce((sum, count) => sum + count, 0);
  const growth = growthOf(account).map(
    ({ what, beforeBytes, afterBytes, most }) =>
      `${what} ${mb(beforeBytes)} -> ${mb(afterBytes)} MB (x ${(afterBytes / beforeBytes).toFixed(3)}, at most ${most.toFixed(2)})`,
  );
  const files = filesOf(after) === null ? "" : `, open files of the primary ${filesOf(before)} -> ${filesOf(after)}`;
  const died =
    deaths.length === 0
      ? ""
      : ` ${deaths.length} workers were killed, ${restarts} started again; ${tally.died} streams died with them (${tally.diedUnanswered} before the head of their answer), ${deaths.reduce((sum, { unopened }) => sum + unopened, 0)} connections while they were opened.
Clients had seen up to ${untold.answered} answers, ${untold.finished} ends and ${untold.aborted} aborts in the moment before a kill, which no count of the server need hold.`;
  return `**${account.lanes.join(", ")}**${name === "alone" ? "" : ` (\`fakeai serve --workers ${workers}\`)`}: ${tally.requests - tally.resent} requests, ${tally.lost} lost, ${tally.resent} sent again because a GOAWAY on purpose had refused them unseen, ${tally.connections} connections.${died}
The server counted ${answered} answers, ${finished} finished and ${aborted} aborted streams (its clients ${tally.requests - tally.resent - tally.diedUnanswered}, ${tally.requests - tally.resent - tally.died - tally.refusals - tally.aborts} and ${tally.aborts}), and held ${heldTokens} tokens for readers that did not read.${abortsUnseen === 0 ? "" : ` ${abortsUnseen} aborts came while a worker was stopped or within half a second of the planned end: the server may have finished those streams.`}
After the last stream its streams, sessions and connections were back to 0; ${growth.join(", ")}${files}, both against what was held after the warm-up.`;
}

function pageOf(result: SoakResult, failures: readonly string[], startedAt: string): string {
  const { servers, windows, options } = result;
  const names = windows[0]?.pacing.map(({ lane }) => lane).join(" / ") ?? "";
  const deaths = servers.flatMap((server) => server.deaths).sort((a, b) => a.atS - b.atS);
  const where =
    workers > 0
      ? ", the machine shared with other programs"
      : result.pinned
        ? ", the server's main thread on a core of its own, all else on the other"
        : "";
  const mixture = "10% aborted at a random token, 5% not read for one to three seconds, 5% with a fault on purpose";
  const disturbances =
    deaths.length === 0
      ? ""
      : `\nA worker is killed by SIGKILL each ${options.killEveryMs / 60_000} minutes, each third time after it was stopped for ${options.pauseMs / 1000} s; between two kills a worker, and then a whole server, is stopped for ${options.pauseMs / 1000} s.`;
  const killed =
    deaths.length === 0
      ? ""
      : `\n${table(
          [
            "at, s",
            "killed worker of",
            "stopped before, s",
            "its connections",
            "streams on them",
            "streams died",
            "in no process's hands",
            "connections not opened",
          ],
          deaths.map((death) => [
            death.atS.toFixed(0),
            death.server,
            (death.stoppedMs / 1000).toFixed(0),
            death.connections,
            death.underWay,
            death.died,
            death.unaccepted,
            death.unopened,
          ]),
        )}\n`;
  const bounds = workers > 0 ? ["", ""] : [` (at most ${percent(mostItlError)})`, ` (at most ${ms(mostLatenessP99Us)})`];
  const heads = [
    "at, s",
    "streams",
    `mean ITL off by${bounds[0]}`,
    "lateness p50, ms",
    `p99${bounds[1]}`,
    "max",
    "arrival p99, ms",
    "server RSS",
    "CPU server / client",
    "load",
    workers > 0 ? "what was done to it" : "server waited for its core",
    "client's loop late p99, ms",
  ];
  return `# ${workers > 0 ? "Soak with workers that die" : "Soak"}

${writtenBy("soak", startedAt, describeEnvironment(result.pinned, "fakeai"))}${where}).
${options.streams} paced streams at any time, evenly over ${names.replaceAll(" / ", ", ")}, ${(options.durationMs / 60_000).toFixed(1)} minutes after
${(options.warmupMs / 1000).toFixed(0)} s of the same load (V8 compiles until it has seen some 40,000 requests): ${mixture}.${disturbances}

${failures.length === 0 ? "**All of it holds.**" : `**What does not hold:**\n\n${failures.map((failure) => `- ${failure}`).join("\n")}`}

${streamTable(servers)}

${servers.map(serverText).join("\n\n")}
${killed}
Mean ITL over all: ${Object.entries(result.itlError)
    .map(([lane, error]) => `${lane} ${percent(error)}`)
    .join(", ")}.

Each window: ${names}; lateness is the server's (sent minus due, by stamps), arrival is read by the client minus due.${
    workers > 0
      ? " Other programs ran on the same cores: what is late here is not the server's alone."
      : ` The server waited for its
core while its main thread was ready to run and another thread had it: the engine's own collectors and compilers, or another process.`
  }

${table(heads, windows.map(cellsOf))}
`;
}

const startedAt = new Date().toISOString();
const durationMs = minutes * 60_000;
console.log(
  "at s | streams | ITL off | late p50 | p99 | max | arrival p99 | RSS | CPU | load | waited for core, or disturbed | client late p99",
);
const result = await soak({
  streams,
  warmupMs: Math.min(judgedWarmupMs, durationMs * 0.4),
  durationMs,
  windowMs: Math.min(60_000, durationMs / 3),
  seed: numberOf("seed", 0, Number.MAX_SAFE_INTEGER),
  mostTokens: 250,
  pinned: workers === 0,
  workers,
  h2Engine,
  killEveryMs: numberOf("kill-every", 0, 1440) * 60_000,
  pauseMs: numberOf("pause", 0, 60) * 1000,
  onWindow: (window) => console.log(cellsOf(window).join(" | ")),
});
const failures = failuresOf(result);
mkdirSync(values.output, { recursive: true });
const report = { kind: "fakeai.soak", startedAt, environment: describeEnvironment(result.pinned, "fakeai"), failures, ...result };
writeFileSync(`${values.output}/result.json`, `${JSON.stringify(report, null, 2)}\n`);
writeFileSync(`${values.output}/README.md`, pageOf(result, failures, startedAt));
console.log(failures.length === 0 ? "all of it holds" : failures.join("\n"));
process.exitCode = failures.length === 0 ? 0 : 1;
