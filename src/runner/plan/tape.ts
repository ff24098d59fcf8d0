/** The tape that a workload replays: its calls as requests, with the answers that are expected, and the variant that asks them. */
import { basename } from "node:path";
import { UsageError } from "../../base/usage-error.ts";
import type { PlannedRequest } from "../../load/job.ts";
import type { ProtocolName } from "../../results/types.ts";
import { defaultRounds } from "../../settings/bench.ts";
import { bytesOf, redacted, type TapeCall, type TapeHead } from "../../tape/form.ts";
import { playableOf, replayedBytes } from "../../tape/playback.ts";
import { readTape } from "../../tape/reader.ts";
import { isOfConnection } from "../../tape/redact.ts";
import { type ArmSpec, defaultWorkload, type MetricRef, type TapeSpec, type Variant } from "./scenario.ts";

interface KnownTape {
  readonly head: TapeHead;
  readonly calls: readonly TapeCall[];
  /** Of each call. */
  readonly requests: readonly PlannedRequest[];
}

/** Tapes that were read, by their folders: every round of every arm asks for its calls. */
const tapes = new Map<string, KnownTape>();

/** Reads a tape before anything is planned. Rejects with UsageError that names the line and the member of the first fault. */
export async function loadTape(folder: string): Promise<void> {
  if (tapes.has(folder)) return;
  const { head, calls } = await readTape(folder, "--tape");
  tapes.set(folder, { head, calls, requests: calls.map(requestOf) });
}

function known({ folder }: TapeSpec): KnownTape {
  const tape = tapes.get(folder);
  if (tape === undefined) throw new UsageError(`--tape: ${folder} was not read`);
  return tape;
}

function callsOf(spec: TapeSpec): readonly TapeCall[] {
  return known(spec).calls.slice(0, spec.limit ?? Infinity);
}

/** A call as it was asked, and the answer that it got. */
function requestOf(call: TapeCall): PlannedRequest {
  const { method, path, query, headers, body } = call.request;
  const { status, end } = call.response;
  const sent: Record<string, string> = {};
  for (const [name, value] of headers as readonly (readonly [string, string])[]) {
    const isOurs = name === "host" || name === "content-length" || name.startsWith("x-fakeai-");
    if (!isOurs && value !== redacted && !isOfConnection(name)) sent[name] = name in sent ? `${sent[name]!}, ${value}` : value;
  }
  const type = call.response.headers.find(([name]) => name === "content-type")?.[1] ?? "";
  const coding = call.response.headers.find(([name]) => name === "content-encoding")?.[1] ?? "identity";
  return {
    method,
    // Brackets do not belong in a query, and any value matches where none was kept.
    path: query === "" ? path : `${path}?${query.replaceAll(redacted, "redacted")}`,
    body: body?.text ?? "",
    ...(body?.base64 === undefined ? {} : { bytes: bytesOf(body) }),
    tokens: null,
    stream: type.startsWith("text/event-stream") && coding === "identity",
    // Of several calls that fit, rounds and arms get the same one.
    headers: { ...sent, "x-fakeai-call": String(call.call) },
    recorded: { status, bodyBytes: method === "HEAD" ? 0 : replayedBytes(playableOf(call), true), isCut: end === "cut" },
  };
}

/** The requests of a tape: in its order, and for an open loop at its times, the first at 0. */
export function tapeRequests(spec: TapeSpec): PlannedRequest[] {
  const calls = callsOf(spec);
  const fromUs = Math.min(...calls.map(({ atUs }) => atUs));
  const { requests } = known(spec);
  return calls.map(({ atUs }, index) => ({ ...requests[index]!, atUs: Math.round((atUs - fromUs) / spec.speed) }));
}

/** Seconds that a replay of a tape takes at its own arrival times. */
export function tapeSeconds(spec: TapeSpec): number {
  const calls = callsOf(spec);
  const fromUs = Math.min(...calls.map(({ atUs }) => atUs));
  return Math.max(...calls.map(({ atUs, response }) => atUs + response.endUs - fromUs)) / 1e6 / spec.speed;
}

/** How long the longest silence within a call is, and the longest call, milliseconds: what may take so long is no fault. */
export function tapeWaits(spec: TapeSpec): { readonly silentMs: number; readonly wholeMs: number } {
  let [silentUs, wholeUs] = [0, 0];
  for (const { response } of callsOf(spec)) {
    const times = [0, response.headUs, ...response.pieces.map(({ us }) => us), response.endUs];
    for (let i = 1; i < times.length; i++) silentUs = Math.max(silentUs, times[i]! - times[i - 1]!);
    wholeUs = Math.max(wholeUs, response.endUs);
  }
  return { silentMs: silentUs / 1000 / spec.speed, wholeMs: wholeUs / 1000 / spec.speed };
}

/** Calls that were under way at once. */
function mostAtOnce(spec: TapeSpec): number {
  const turns = callsOf(spec).flatMap(({ atUs, response }) => [
    { atUs, by: 1 },
    { atUs: atUs + response.endUs, by: -1 },
  ]);
  let [now, most] = [0, 1];
  for (const { by } of turns.sort((one, other) => one.atUs - other.atUs || one.by - other.by)) most = Math.max(most, (now += by));
  return most;
}

/** What was recorded, in one line. */
export function describeTape(spec: TapeSpec): string {
  const { head, calls } = known(spec);
  const used = callsOf(spec);
  const streams = used.filter((_, index) => known(spec).requests[index]!.stream).length;
  const cut = used.filter(({ response }) => response.end === "cut").length;
  const of = used.length < calls.length ? ` of ${calls.length}` : "";
  return (
    `the tape: ${used.length}${of} calls to ${head.to}, recorded ${head.recordedAt} in ${head.upstream}, ` +
    `${streams} of them streams${cut > 0 ? `, ${cut} broken off` : ""}`
  );
}

function arm(protocol: ProtocolName, connections: ArmSpec["connections"]): ArmSpec {
  return { id: protocol, protocol, connections, engine: "node", role: "protocol", driver: "stream", reuse: "keep", behind: null };
}

const decisive: readonly MetricRef[] = [
  { metric: "ttftFromIntended", statistic: "p90" },
  { metric: "e2elFromIntended", statistic: "p90" },
];
const described: readonly MetricRef[] = [
  { metric: "ttftFromIntended", statistic: "p50" },
  { metric: "e2elFromIntended", statistic: "p50" },
  { metric: "itl", statistic: "p99" },
];

/** Connections are open before the first call; beyond what was under way at once there is room for calls that take longer. */
const room = 1.25;

/** The calls of a tape over each protocol: at its arrival times, or with `streams` in its order, so many at once. */
export function tapeVariant(spec: TapeSpec, streams: number | null): Variant {
  const pace = spec.speed === 1 ? "" : `, ${spec.speed} times as fast`;
  const first = spec.limit === null ? "" : `, first ${spec.limit}`;
  const inOrder = streams === null ? "" : ", in order";
  return {
    scenario: "tape",
    title: "Replay of a tape",
    isolates: "HTTP version under the calls of a tape: the same requests, and the same bytes at the same times",
    question: "{variant}",
    name: `${basename(spec.folder)}${first}${pace}${inOrder}`,
    workload: {
      ...defaultWorkload,
      ttft: "as recorded",
      itl: "as recorded",
      mode: streams === null ? "open" : "closed",
      streams: streams ?? Math.ceil(mostAtOnce(spec) * room) + 1,
      requests: callsOf(spec).length,
      tape: spec,
    },
    arms: [arm("h1", "streams"), arm("h2c", 1), arm("h1s", "streams"), arm("h2", 1)],
    pairs: [
      { baseline: "h1", candidate: "h2c", kind: "protocol", metrics: decisive, described },
      { baseline: "h1s", candidate: "h2", kind: "protocol", metrics: decisive, described },
    ],
    claims: [],
    varies: [],
    rounds: defaultRounds,
  };
}
