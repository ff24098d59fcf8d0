/**
 * Ten minutes of everything at once: paced streams on all four protocols, of which 10% are aborted by their clients, 5% are not
 * read for a while and 5% get a fault on purpose. Every request is accounted for on both ends, pacing is looked at each minute,
 * and in the end nothing may be left.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { describeEnvironment } from "../../src/runner/processes/machine.ts";
import { writtenBy } from "../support/page.ts";
import { soak, type SoakResult, type SoakWindow } from "./soak.ts";

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
    streams: { type: "string", default: "1000" },
    seed: { type: "string", default: "1" },
    output: { type: "string", default: fileURLToPath(new URL("../../results/soak/", import.meta.url)) },
  },
});
const minutes = Number(values.minutes);
const streams = Number(values.streams);
if (!(minutes > 0 && minutes <= 1440)) throw new Error("--minutes is a number above 0");
if (!Number.isInteger(streams / 4) || streams < 4) throw new Error("--streams is a multiple of 4");

const percent = (ratio: number | null): string => (ratio === null ? "" : `${(ratio * 100).toFixed(3)}%`);
const ms = (us: number): string => (us / 1000).toFixed(2);
const mb = (bytes: number): string => (bytes / 1e6).toFixed(1);

function lineOf({
  atS,
  active,
  rssBytes,
  serverCpuShare,
  serverWaitShare,
  clientCpuShare,
  clientEventLoopDelayP99Us,
  pacing,
}: SoakWindow): string {
  const each = (pick: (facts: SoakWindow["pacing"][number]) => string): string => pacing.map(pick).join(" / ");
  return [
    atS.toFixed(0),
    active,
    each(({ itlError }) => percent(itlError)),
    each(({ latenessP50Us }) => ms(latenessP50Us)),
    each(({ latenessP99Us }) => ms(latenessP99Us)),
    each(({ latenessMaxUs }) => ms(latenessMaxUs)),
    each(({ arrivalP99Us }) => ms(arrivalP99Us)),
    `${mb(rssBytes)} MB`,
    `${Math.round(serverCpuShare * 100)}% / ${Math.round(clientCpuShare * 100)}%`,
    serverWaitShare === null ? "" : `${(serverWaitShare * 100).toFixed(1)}%`,
    ms(clientEventLoopDelayP99Us),
  ].join(" | ");
}

/** What is not as it has to be. */
function failuresOf({ accounts, windows, heapRatio, rssRatio, options }: SoakResult): string[] {
  const isJudged = options.warmupMs >= judgedWarmupMs;
  const off = windows.flatMap(({ atS, pacing }) =>
    pacing
      .filter(({ itlError }) => itlError === null || Math.abs(itlError) > mostItlError)
      .map(({ protocol, itlError }) => `${protocol}: mean ITL off by ${percent(itlError)} in the window that ended at ${atS.toFixed(0)} s`),
  );
  const late = windows.filter(({ pacing }) => pacing.some(({ latenessP99Us }) => latenessP99Us > mostLatenessP99Us));
  const worstUs = Math.max(...windows.flatMap(({ pacing }) => pacing.map(({ latenessP99Us }) => latenessP99Us)));
  return [
    ...accounts,
    ...off,
    ...(late.length === 0
      ? []
      : [
          `lateness p99 is above ${ms(mostLatenessP99Us)} ms in ${late.length} of ${windows.length} windows (ended at ${late.map(({ atS }) => atS.toFixed(0)).join(", ")} s), up to ${ms(worstUs)} ms`,
        ]),
    ...(heapRatio <= mostHeapRatio || !isJudged ? [] : [`the heap grew to ${heapRatio.toFixed(3)}`]),
    ...(rssRatio <= mostRssRatio || !isJudged ? [] : [`RSS grew to ${rssRatio.toFixed(3)}`]),
  ];
}

function pageOf(result: SoakResult, failures: readonly string[], startedAt: string): string {
  const { tally, server, heldBefore, heldAfter } = result;
  const kinds = (["whole", "abort", "stall", "fault"] as const).map(
    (kind) =>
      `| ${{ whole: "read whole", abort: "aborted", stall: "stalled", fault: "faulted" }[kind]} | ${tally.planned[kind]} | ${tally.asPlanned[kind]} |`,
  );
  const faults = Object.entries(tally.faults)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([spec, { planned, asPlanned }]) => `| \`${spec}\` | ${planned} | ${asPlanned} |`);
  const protocols = result.windows[0]?.pacing.map(({ protocol }) => protocol).join(" / ") ?? "";
  return `# Soak

${writtenBy("soak", startedAt, describeEnvironment(result.pinned, "fakeai"))}${result.pinned ? ", the server's main thread on a core of its own, all else on the other" : ""}).
${result.options.streams} paced streams at any time, evenly over h1, h1s (uWebSockets.js), h2c and h2 (node:http2), ${(result.options.durationMs / 60_000).toFixed(1)} minutes after
${(result.options.warmupMs / 1000).toFixed(0)} s of the same load (V8 compiles until it has seen some 40,000 requests): 10% aborted at a random token, 5% not read for one to three seconds, 5% with a fault on purpose.

**${failures.length === 0 ? "All of it holds." : failures.join("; ")}**

| streams | planned | came as planned |
| --- | --- | --- |
${[...kinds, ...faults].join("\n")}

${tally.requests - tally.resent} requests, ${tally.lost} lost, ${tally.resent} sent again because a GOAWAY on purpose had refused them unseen, ${tally.connections} connections. The server counted
${server.finishedStreams} finished and ${server.abortedStreams} aborted streams, and held ${server.heldTokens} tokens for readers that did not read. After the last stream sessions,
streams, sockets and timers were back to 0; heap after a collection ${mb(heldBefore.heapBytes)} -> ${mb(heldAfter.heapBytes)} MB (x ${result.heapRatio.toFixed(3)}, at most ${mostHeapRatio}), RSS ${mb(heldBefore.rssBytes)} -> ${mb(heldAfter.rssBytes)} MB
(x ${result.rssRatio.toFixed(3)}, at most ${mostRssRatio.toFixed(2)}), both against what was held after the warm-up. Mean ITL over all: ${Object.entries(
    result.itlError,
  )
    .map(([protocol, error]) => `${protocol} ${percent(error)}`)
    .join(", ")}.

Each window: ${protocols}; lateness is the server's (sent minus due, by stamps), arrival is read by the client minus due. The server waited for its
core while its main thread was ready to run and another thread had it: the engine's own collectors and compilers, or another process.

| at, s | streams | mean ITL off by (at most ${percent(mostItlError)}) | lateness p50, ms | p99 (at most ${ms(mostLatenessP99Us)}) | max | arrival p99, ms | server RSS | CPU server / client | server waited for its core | client's loop late p99, ms |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
${result.windows.map((window) => `| ${lineOf(window)} |`).join("\n")}
`;
}

const startedAt = new Date().toISOString();
const durationMs = minutes * 60_000;
console.log("at s | streams | ITL off | late p50 | p99 | max | arrival p99 | RSS | CPU | waited for core | client late p99");
const result = await soak({
  streams,
  warmupMs: Math.min(judgedWarmupMs, durationMs * 0.4),
  durationMs,
  windowMs: Math.min(60_000, durationMs / 3),
  seed: Number(values.seed),
  mostTokens: 250,
  pinned: true,
  onWindow: (window) => console.log(lineOf(window)),
});
const failures = failuresOf(result);
mkdirSync(values.output, { recursive: true });
const report = { kind: "fakeai.soak", startedAt, environment: describeEnvironment(result.pinned, "fakeai"), failures, ...result };
writeFileSync(`${values.output}/result.json`, `${JSON.stringify(report, null, 2)}\n`);
writeFileSync(`${values.output}/README.md`, pageOf(result, failures, startedAt));
console.log(failures.length === 0 ? "all of it holds" : failures.join("\n"));
process.exitCode = failures.length === 0 ? 0 : 1;
