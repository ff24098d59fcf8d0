/** Which jobs cannot be run: by any driver, or by those that repeat one request. */
import { protocolTraits } from "../results/protocols.ts";
import { standardLanes } from "./client/ws.ts";
import type { LoadJob, PlannedRequest } from "./job.ts";

/** Above this share of a core a generator is too busy to be on time. */
export const cpuShareLimit = 0.95;

/** Why a job makes no sense for any driver, in one line, or null. */
export function jobFault(job: LoadJob): string | null {
  const { endpoint, connections, streams, mode, requests, windows, background } = job;
  const encrypted = endpoint.origin.startsWith("https:");
  if (encrypted !== protocolTraits[endpoint.protocol].isEncrypted) return `${endpoint.protocol} does not go with ${endpoint.origin}`;
  if (!(connections >= 1 && streams >= 1)) return "a load needs at least one connection and one stream";
  if (requests.length === 0) return "a load needs at least one request";
  const starts = requests.filter(({ after }) => after === undefined);
  if (mode === "open" && starts.some(({ atUs }, i) => !(atUs !== undefined && atUs >= 0 && atUs >= (starts[i - 1]?.atUs ?? 0))))
    return "an open loop needs a rising send time for every request";
  if (requests.some(({ after, joins = [] }, i) => after !== undefined && ![after, ...joins].every((index) => index >= 0 && index < i)))
    return "a turn follows an earlier request";
  // A connection's window can only be made larger (RFC 9113, section 6.9.2).
  if (
    windows &&
    !(windows.streamBytes >= 1 && windows.streamBytes < 2 ** 31 && windows.connectionBytes >= 65_535 && windows.connectionBytes < 2 ** 31)
  )
    return "a stream's window is at least 1 byte, a connection's at least 65,535, and both below 2^31";
  const fault = useFault(job);
  if (fault !== null) return fault;
  const unsaid = protocolTraits[endpoint.protocol].isWebSocket ? webSocketFault(job) : null;
  if (unsaid !== null) return unsaid;
  const sent = [endpoint.headers, ...[...requests, ...(background?.requests ?? [])].map(({ headers }) => headers ?? {})];
  const bad = sent
    .flatMap((headers) => Object.entries(headers))
    .find(([name, value]) => !/^[\w!#$%&'*+.^`|~-]+$/.test(name) || /[\r\n\0]/.test(value));
  if (bad !== undefined) return `"${bad[0].slice(0, 40)}" is no header that can be sent`;
  return null;
}

/** Why connections cannot be used as the job says. */
function useFault({ endpoint, connections, reuse, requests, pipelining = 1, atStreamLimit, background }: LoadJob): string | null {
  const { isMultiplexed: isH2, isWebSocket } = protocolTraits[endpoint.protocol];
  if (pipelining > 1) {
    if (isH2) return `pipelining is a thing of HTTP/1.1: ${isWebSocket ? "WebSocket has lanes" : "HTTP/2 multiplexes"}`;
    if (reuse !== "keep") return "requests are pipelined on connections that are kept";
    if (requests.some(({ abortAfter }) => abortAfter !== undefined) || background !== undefined)
      return "a request that is given up, or not read, would take those pipelined behind it along";
  }
  if (atStreamLimit !== undefined && atStreamLimit !== "invalid" && (!isH2 || isWebSocket))
    return "only HTTP/2 and 3 tell a limit on streams";
  if (background?.unreadMs !== undefined && protocolTraits[endpoint.protocol].isQuic)
    return "the QUIC engine reads whatever comes: no stream of HTTP/3 can be left unread";
  if (background !== undefined) {
    if (background.requests.length === 0) return "a load beside the measured one needs at least one request";
    if (reuse === "new") return "a load beside the measured one needs connections that are kept";
    if (!isH2 && connections < background.requests.length + 1)
      return `on HTTP/1.1 ${background.requests.length} streams beside the measured ones need as many connections, and those another`;
  }
  if (requests.some(({ abortAfter, tokens }) => abortAfter !== undefined && !(abortAfter >= 1 && abortAfter < (tokens ?? Infinity))))
    return "a request is given up after one token at least, and before its last";
  return null;
}

/** Why requests cannot be messages of the Responses API over WebSocket, or null. */
function webSocketFault({ endpoint, connections, streams, reuse, stream, requests, warmup, background }: LoadJob): string | null {
  const all = [...requests, ...warmup, ...(background?.requests ?? [])];
  const isResponse = (path: string): boolean => /\/responses(\?|$)/.test(path);
  if (all.some(({ method = endpoint.method, path = endpoint.path }) => method !== "POST" || !isResponse(path)))
    return "WebSocket carries POST /v1/responses and nothing else";
  if (all.some((request) => !(request.stream ?? stream))) return "over WebSocket every answer is streamed";
  if (all.some(({ body }) => !body.trimStart().startsWith("{"))) return "over WebSocket every request is a JSON object";
  const own = all.filter(({ headers }) => headers !== undefined);
  if (own.some(({ headers }) => Object.keys(headers!).some((name) => !name.startsWith("x-fakeai-"))))
    return "a message has no headers: its metadata stands in for those of a fakeai server alone";
  if (own.some(({ body }) => body.includes('"metadata"'))) return "a request with headers of its own cannot have metadata over WebSocket";
  const perConnection = Math.ceil((streams + (background?.requests.length ?? 0)) / connections);
  const lanes = endpoint.lanes ?? standardLanes;
  if (reuse === "keep" && perConnection > lanes)
    return `a WebSocket takes ${lanes} responses at once, ${perConnection} are wanted: more connections are needed`;
  if (reuse !== "new" && perConnection > 1 && requests.some(({ abortAfter }) => abortAfter !== undefined))
    return "a response is given up with its WebSocket, which would take those on its other lanes along";
  return background?.unreadMs === undefined ? null : "on a WebSocket no response can be left unread beside others";
}

/** What only our own generator does, in one line, or null. */
export function onlyOurs({ endpoint, windows, pipelining = 1, atStreamLimit, background, requests }: LoadJob): string | null {
  if (protocolTraits[endpoint.protocol].isWebSocket) return "only our own generator speaks WebSocket";
  if (windows?.connectionCredit === "read") return "only our own generator holds back a connection's window for a stream that is not read";
  if (endpoint.headerTableBytes !== undefined) return "only our own generator bounds the table of its headers";
  if (pipelining > 1) return "only our own generator pipelines, and sees when the tokens of each answer come";
  if (atStreamLimit !== undefined && atStreamLimit !== "invalid")
    return "only our own generator counts how long requests wait for a stream";
  if (background !== undefined) return "only our own generator keeps other streams beside the measured ones";
  if (requests.some(({ abortAfter }) => abortAfter !== undefined)) return "only our own generator gives requests up on purpose";
  if (requests.some(({ headers }) => headers !== undefined)) return "only our own generator sends headers of their own with some requests";
  if (requests.some(({ after }) => after !== undefined)) return "only our own generator sends a turn when the one before it has ended";
  if (requests.some(({ prompt }) => prompt !== undefined)) return "only our own generator makes the words of each prompt";
  return null;
}

/** The one request that a job repeats (send times aside), or null. */
export function uniformRequest({ requests }: LoadJob): PlannedRequest | null {
  const [first] = requests;
  const isLike = (other: PlannedRequest): boolean =>
    other.body === first!.body &&
    other.path === first!.path &&
    other.method === first!.method &&
    other.tokens === first!.tokens &&
    other.stream === first!.stream;
  return first !== undefined && requests.every(isLike) ? first : null;
}

/** true, or in one line why autocannon would not run this job, or run it wrongly. */
export function autocannonSupports(job: LoadJob): true | string {
  const fault = jobFault(job);
  if (fault !== null) return fault;
  const ours = onlyOurs(job);
  if (ours !== null) return ours;
  if (protocolTraits[job.endpoint.protocol].isMultiplexed)
    return "autocannon speaks HTTP/1.1 only; over HTTP/2 it gets no response and reports no error";
  if (job.mode === "open") return "autocannon sends each second's requests in a burst, and times none from when it was due";
  if (job.reuse !== "keep") return "autocannon keeps its connections";
  if (job.streams !== job.connections) return "more streams than connections would be pipelined: a stream then waits for the one before it";
  if (job.requests.length < job.connections) return "autocannon needs at least one request for each connection";
  if (uniformRequest(job) === null) return "autocannon sends the same request each time";
  return true;
}
