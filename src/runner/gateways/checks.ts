/** What a gateway does to answers, beside the time that it takes: each check compares with the same request sent direct. */
import { compareEvents, type EventsOf } from "../../results/gateways/fidelity.ts";
import type { Check, CheckId, CheckVerdict, Fidelity, UpstreamProtocol } from "../../results/gateways/types.ts";
import { openConnection } from "../../load/client/open.ts";
import type { Endpoint } from "../../load/job.ts";
import { takesEverything, bodyOf } from "../plan/body.ts";
import { type Capture, capture, captureOn, within } from "./capture.ts";
import type { Truth } from "./truth.ts";

/** Where requests go: to the server itself, and through the gateway. */
export interface Ways {
  readonly direct: Endpoint;
  readonly through: Endpoint;
  readonly model: string;
  /** The gateway was told to ask in HTTP/1.0, which the server's log does not tell from 1.1; default false. */
  readonly asksInHttp10?: boolean;
}

export interface Checked {
  readonly checks: readonly Check[];
  readonly fidelity: Fidelity | null;
  /** HTTP version in which the server was asked; null: it was not. */
  readonly upstreamHttp: UpstreamProtocol | null;
  /** It answers, and not with what the server sent: it leads to another one, and nothing can be said of it. Default false. */
  readonly leadsElsewhere?: boolean;
}

const timeoutMs = 15_000;
/** Answers whose events are compared, and tokens of each: an event in a hundred that is lost is missed once in 20,000 runs. */
const comparedAnswers = 8;
const comparedTokens = 125;

const check = (id: CheckId, verdict: CheckVerdict, seen: string): Check => ({ id, verdict, seen });

/** All checks of a gateway, one after the other; `progress` hears of each. Throws RunError where the server is gone. */
export async function checkGateway(truth: Truth, ways: Ways, progress: (what: string) => void): Promise<Checked> {
  progress("events");
  const { fidelity, checks: events, upstreamHttp, first, leadsElsewhere = false } = await checkEvents(truth, ways);
  const checks: Check[] = [...events];
  if (fidelity === null) return { checks, fidelity, upstreamHttp, leadsElsewhere };
  progress("reads");
  checks.push(await checkHeld(truth, ways), checkHead(first.direct, first.through));
  progress("an abort");
  checks.push(await checkAbort(truth, ways));
  progress("errors");
  checks.push(...(await checkErrors(truth, ways)));
  progress("a stall");
  checks.push(await checkStall(truth, ways));
  progress("a cut");
  checks.push(await checkCut(truth, ways));
  checks.push(checkHttp2(first.through, upstreamHttp));
  await truth.set({ fault: null });
  return { checks, fidelity, upstreamHttp };
}

/**
 * A request whose answer is its own prompt, so many different words: what comes depends on nothing that a gateway may leave out of
 * a request, such as a parameter that it does not know.
 */
function bodyFor({ through: { path }, model }: Ways, outputTokens: number, seed: number): string {
  return bodyOf({
    path,
    stream: true,
    prompt: Array.from({ length: outputTokens }, (_, index) => wordOf(index)).join(" "),
    outputTokens,
    seed,
    model,
    accepted: takesEverything,
    includeUsage: true,
  });
}

/** The words of prompts: "aaa", "aab" and so on, each another. */
function wordOf(index: number): string {
  const letter = (place: number): string => String.fromCharCode(97 + (Math.floor(index / 26 ** place) % 26));
  return `${letter(2)}${letter(1)}${letter(0)}`;
}

/** How the server answers in every check. */
const echoing = { mode: "echo", fault: null } as const;

interface ComparedEvents extends Checked {
  readonly first: { readonly direct: Capture; readonly through: Capture };
}

/** The answers that are compared, of one way. */
export async function askAnswers(ways: Ways, endpoint: Endpoint): Promise<Capture[]> {
  const all: Capture[] = [];
  // In twos: a gateway that mixes streams up shows it, and a slow machine is not flooded.
  for (let from = 0; from < comparedAnswers; from += 2)
    all.push(
      ...(await Promise.all([from, from + 1].map((seed) => capture(endpoint, { body: bodyFor(ways, comparedTokens, seed), timeoutMs })))),
    );
  return all;
}

/** What of the one list came in the other, request by request. */
export function eventsBetween(sent: readonly Capture[], received: readonly Capture[]): EventsOf[] {
  const dataOf = ({ events }: Capture): string[] => events.map(({ data }) => data);
  return sent.map((one, index) => ({ sent: dataOf(one), received: dataOf(received[index]!), whole: received[index]!.ended === "end" }));
}

export async function checkEvents(truth: Truth, ways: Ways): Promise<ComparedEvents> {
  await truth.set({ ...echoing, ttft: 20, itl: 2, stamps: false });
  const sent = await askAnswers(ways, ways.direct);
  await truth.set({ ...echoing });
  const received = await askAnswers(ways, ways.through);
  const { streams } = await truth.recorded();
  const spoken = streams.at(-1)?.spoken;
  const upstreamHttp = spoken === undefined ? null : spoken === "h2" ? "HTTP/2" : ways.asksInHttp10 === true ? "HTTP/1.0" : "HTTP/1.1";
  const first = { direct: sent[0]!, through: received[0]! };
  if (streams.length === 0 && received.some(({ events }) => events.length > 0))
    return { checks: [], fidelity: null, upstreamHttp: null, first, leadsElsewhere: true };
  if (received.every(({ events }) => events.length === 0)) {
    const { head, ended, text } = received[0]!;
    const why = head === null ? ended : `status ${head.status}${text === "" ? "" : `: ${text.slice(0, 200)}`}`;
    const reached = streams.length === 0 ? ", and none was asked of the server" : "";
    return {
      checks: [check("events", "fault", `no streamed answer came through${reached} (${why})`)],
      fidelity: null,
      upstreamHttp,
      first,
    };
  }
  const fidelity = compareEvents(eventsBetween(sent, received));
  return { checks: describeFidelity(fidelity), fidelity, upstreamHttp, first };
}

/** The checks that follow from what became of events. */
export function describeFidelity(fidelity: Fidelity): Check[] {
  const { answers, sent, received, identical, rewritten, lost, repeated, reordered, changed, resplit } = fidelity;
  const { finished, withUsage, withDone, broken } = fidelity;
  const wrong = Object.entries({ lost, repeated, "out of order": reordered, changed, "answers broken off": broken }).filter(
    ([, count]) => count > 0,
  );
  const events = `${received} events of ${sent} in ${answers} answers`;
  const shown =
    wrong.length === 0 ? "none lost, repeated, out of order or changed" : wrong.map(([what, count]) => `${count} ${what}`).join(", ");
  const missing = Object.entries({ finish_reason: finished, usage: withUsage, "[DONE]": withDone }).filter(([, count]) => count < answers);
  return [
    check("events", wrong.length > 0 ? "fault" : "kept", `${events}: ${shown}`),
    check(
      "bytes",
      identical === sent && received === sent ? "kept" : "changed",
      identical === sent && received === sent
        ? `all ${sent} events byte for byte`
        : `${identical} of ${sent} events byte for byte, ${rewritten} with the same text in other bytes${resplit === 0 ? "" : `, ${resplit} answers in other pieces`}`,
    ),
    check(
      "end",
      missing.length > 0 ? "fault" : "kept",
      missing.length === 0
        ? "finish_reason, usage and [DONE] in each answer"
        : missing.map(([what, count]) => `${what} in ${count} of ${answers} answers`).join(", "),
    ),
  ];
}

/** Tokens of a look at reads, and the gap between them: long beside what a busy machine holds up. */
const heldTokens = 20;
const heldItlMs = 40;
/** Looks, as long as each seems to be held back: a client that was late once reads together what came apart. */
const looks = 5;
/** Events that share a read by right: the role with the first token, the finish, the usage and [DONE] with the last. */
const togetherByRight = 4;

export async function checkHeld(truth: Pick<Truth, "set">, ways: Ways): Promise<Check> {
  await truth.set({ ...echoing, ttft: 60, itl: heldItlMs });
  const readsOf = ({ events }: Capture): number => new Set(events.map(({ atUs }) => atUs)).size;
  let seen = "";
  for (let look = 0; look < looks; look++) {
    const body = bodyFor(ways, heldTokens, look);
    const [direct, through] = await Promise.all([ways.direct, ways.through].map((endpoint) => capture(endpoint, { body, timeoutMs })));
    const [reads, ownReads] = [readsOf(through!), readsOf(direct!)];
    const count = through!.events.length;
    const later = ((through!.events[0]?.atUs ?? 0) - (direct!.events[0]?.atUs ?? 0)) / 1000;
    seen = `${count} events in ${reads} reads of the socket (direct: ${ownReads}), the first ${Math.abs(later).toFixed(1)} ms ${later < 0 ? "earlier" : "later"}, at ${heldItlMs} ms a token`;
    if (count > 0 && count - reads <= Math.max(togetherByRight, direct!.events.length - ownReads)) return check("held", "kept", seen);
  }
  return check("held", "fault", `tokens are held back and let out together: ${seen}`);
}

export function checkHead(direct: Capture, through: Capture): Check {
  const [one, other] = [direct.head, through.head];
  if (one === null || other === null) return check("head", "unknown", "no head came");
  if (other.status !== one.status || !other.contentType.includes("event-stream"))
    return check(
      "head",
      "fault",
      `status ${other.status}, content-type ${other.contentType || "none"} in place of ${one.status}, ${one.contentType}`,
    );
  const lost = [
    ...(one.requestId !== null && other.requestId === null ? ["x-request-id"] : []),
    ...(one.clock !== null && other.clock === null ? ["x-fakeai-clock"] : []),
    ...(one.contentType === other.contentType ? [] : [`content-type (${one.contentType} is ${other.contentType})`]),
  ];
  return lost.length === 0
    ? check("head", "kept", "status, content-type, x-request-id and headers that it cannot know")
    : check("head", "changed", `not as the server sent it: ${lost.join(", ")}`);
}

/** How long an abort may take to reach the server. */
const abortMs = 2000;

export async function checkAbort(truth: Truth, ways: Ways): Promise<Check> {
  await truth.set({ ...echoing, ttft: 20, itl: 20 });
  const before = (await truth.counted()).aborted;
  const through = await capture(ways.through, { body: bodyFor(ways, 1000, 1), timeoutMs, leaveAfter: 3 });
  if (through.ended !== "left") return check("abort", "unknown", `no stream to leave: ${through.ended}`);
  const noticed = await within(abortMs, async () => ((await truth.counted()).aborted > before ? true : null));
  return noticed === null
    ? check("abort", "fault", `the server was not told within ${abortMs / 1000} s: it goes on generating for a client that has left`)
    : check("abort", "kept", `the server knew of it ${noticed.ms.toFixed(0)} ms after the client left`);
}

/** Errors that are asked for: the fault's name, the status that it is, and whether it says when to come back. */
const errors = [
  { fault: "invalid_request", status: 400 },
  { fault: "invalid_api_key", status: 401 },
  { fault: "rate_limit(retry_after=1)", status: 429 },
  { fault: "server_error", status: 500 },
  { fault: "status(503,retry_after=1)", status: 503 },
] as const;

export async function checkErrors(truth: Truth, ways: Ways): Promise<Check[]> {
  const turned: string[] = [];
  const dropped: string[] = [];
  const reworded: string[] = [];
  const retried: string[] = [];
  for (const { fault, status } of errors) {
    await truth.set({ ...echoing, fault });
    const body = bodyFor(ways, 5, 1);
    const direct = await capture(ways.direct, { body, timeoutMs });
    const before = (await truth.counted()).faults;
    const through = await capture(ways.through, { body, timeoutMs });
    const asked = (await truth.counted()).faults - before;
    const got = through.head?.status ?? 0;
    if (got !== status) turned.push(`${status} came as ${got === 0 ? through.ended : got}`);
    else if (through.text !== direct.text) reworded.push(String(status));
    if (direct.head?.retryAfter != null && through.head?.retryAfter !== direct.head.retryAfter) dropped.push(String(status));
    if (asked > 1) retried.push(`${status} was asked ${asked} times`);
  }
  const lost = dropped.length === 0 ? [] : [`retry-after is lost of ${dropped.join(", ")}`];
  const words = reworded.length === 0 ? [] : [`other words with ${reworded.join(", ")}`];
  const seen = [...turned, ...lost, ...words];
  const all = errors.map(({ status }) => status).join(", ");
  return [
    check(
      "errors",
      turned.length + lost.length > 0 ? "fault" : words.length > 0 ? "changed" : "kept",
      seen.length === 0 ? `${all} as they are, with retry-after and their words` : seen.join("; "),
    ),
    check(
      "retries",
      retried.length > 0 ? "changed" : "kept",
      retried.length === 0
        ? `one request to the server for each of the client's, on ${all}`
        : `it asks again by itself: ${retried.join(", ")}`,
    ),
  ];
}

const silenceMs = 1500;

export async function checkStall(truth: Truth, ways: Ways): Promise<Check> {
  await truth.set({ ...echoing, ttft: 20, itl: 10, fault: `burst(after=5,silence=${silenceMs})` });
  const through = await capture(ways.through, { body: bodyFor(ways, 20, 1), timeoutMs });
  if (through.ended !== "end") return check("stall", "fault", `a silence of ${silenceMs} ms ended the answer: ${through.ended}`);
  const { events } = through;
  const early = events.filter(({ atUs }) => atUs < (events.at(-1)?.atUs ?? 0) - (silenceMs * 1000) / 2).length;
  return early === 0
    ? check("stall", "fault", `what came before a silence of ${silenceMs} ms was held until after it`)
    : check("stall", "kept", `${early} events before a silence of ${silenceMs} ms, the others behind it`);
}

/** How long the end of a cut stream may take to be told. */
const cutMs = 5000;

export async function checkCut(truth: Truth, ways: Ways): Promise<Check> {
  await truth.set({ ...echoing, ttft: 20, itl: 10, fault: "reset(after=5)" });
  const before = (await truth.counted()).faults;
  const through = await capture(ways.through, { body: bodyFor(ways, 20, 1), timeoutMs: cutMs });
  const asked = (await truth.counted()).faults - before;
  const isTold = through.events.some(({ data }) => data.includes('"error"'));
  const again = asked > 1 ? `; the server was asked ${asked} times` : "";
  const count = `after ${through.events.length} events`;
  if (through.ended === "end" && !isTold)
    return check("cut", "fault", `the server's reset reaches the client as an end in order ${count}${again}`);
  if (through.ended.startsWith("no end")) return check("cut", "fault", `the server's reset never reaches the client${again}`);
  const how = isTold ? "as an error event" : `as "${through.ended}"`;
  return check(
    "cut",
    "kept",
    `the server's reset reaches the client ${how} ${count}, ${(through.endUs / 1000).toFixed(0)} ms after the request${again}`,
  );
}

function checkHttp2({ negotiated, maxConcurrentStreams }: Capture, upstreamHttp: Checked["upstreamHttp"]): Check {
  const limit = maxConcurrentStreams === null ? "" : `, ${maxConcurrentStreams} streams a connection`;
  return check("http2", "kept", `${negotiated ?? "nothing"} from the client${limit}; ${upstreamHttp ?? "nothing"} to the server`);
}

/** Streams of one connection that a server allows, and how many a client asks for at once, in the check of that limit. */
export const streamLimit = 4;
const wantedStreams = 12;

/** More streams at once than the server allows on a connection. `truth` is a server with `streamLimit`. */
export async function checkStreamLimit(truth: Truth, ways: Ways): Promise<Check> {
  await truth.set({ ...echoing, ttft: 100, itl: 20 });
  // One before: then the gateway has read the limit in the server's SETTINGS, and none is refused for want of it.
  await capture(ways.through, { body: bodyFor(ways, 2, 100), timeoutMs });
  await truth.set({ ...echoing });
  const captures = await Promise.all(
    Array.from({ length: wantedStreams }, async (_, seed) => {
      const connection = await openConnection({ endpoint: ways.through, timeoutMs }).catch(() => null);
      if (connection === null) return null;
      const one = await captureOn(connection, ways.through, { body: bodyFor(ways, 10, seed), timeoutMs });
      connection.close();
      return one;
    }),
  );
  const good = captures.filter((one) => one?.ended === "end" && one.head?.status === 200);
  const { connectionsAccepted, streams } = await truth.recorded();
  const slowest = Math.max(0, ...good.map((one) => one!.endUs)) / 1000;
  const bad = captures.find((one) => one !== null && !good.includes(one));
  const opened = connectionsAccepted === null ? "" : `, on ${connectionsAccepted} new connections`;
  const seen = `${wantedStreams} streams at a server that allows ${streamLimit} on a connection: ${good.length} answered, the last after ${slowest.toFixed(0)} ms (280 planned)${opened}`;
  if (good.length === wantedStreams) return check("stream-limit", "kept", seen);
  const why = bad == null ? "no connection" : `${bad.head?.status ?? ""} ${bad.ended}`.trim();
  return check("stream-limit", "fault", `${seen}; ${wantedStreams - good.length} failed (${why}), ${streams.length} reached the server`);
}
