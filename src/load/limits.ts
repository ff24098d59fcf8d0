/** What makes a job senseless, for any driver or for those that know one request only. */
import type { LoadJob, PlannedRequest } from "./job.ts";

/** Above this share of a core a generator has nothing left to be on time with. */
export const cpuShareLimit = 0.95;

/** Why a job makes no sense for any driver, in one line, or null. */
export function jobFault({ endpoint, connections, streams, mode, requests, windows }: LoadJob): string | null {
  const encrypted = endpoint.origin.startsWith("https:");
  if (encrypted !== (endpoint.protocol === "h1s" || endpoint.protocol === "h2"))
    return `${endpoint.protocol} does not go with ${endpoint.origin}`;
  if (!(connections >= 1 && streams >= 1)) return "a load needs at least one connection and one stream";
  if (requests.length === 0) return "a load needs at least one request";
  if (mode === "open" && requests.some(({ atUs }, i) => !(atUs !== undefined && atUs >= 0 && atUs >= (requests[i - 1]?.atUs ?? 0))))
    return "an open loop needs a rising send time for every request";
  // A connection's window can only be made larger (RFC 9113, section 6.9.2).
  if (
    windows &&
    !(windows.streamBytes >= 1 && windows.streamBytes < 2 ** 31 && windows.connectionBytes >= 65_535 && windows.connectionBytes < 2 ** 31)
  )
    return "a stream's window is at least 1 byte, a connection's at least 65,535, and both below 2^31";
  const bad = Object.entries(endpoint.headers).find(([name, value]) => !/^[\w!#$%&'*+.^`|~-]+$/.test(name) || /[\r\n\0]/.test(value));
  if (bad !== undefined) return `"${bad[0].slice(0, 40)}" is no header that can be sent`;
  return null;
}

/** The request that all of a job's are alike to (send times aside), or null. */
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
  if (job.endpoint.protocol !== "h1" && job.endpoint.protocol !== "h1s")
    return "autocannon speaks HTTP/1.1 only; over HTTP/2 it gets no response and reports no error";
  if (job.mode === "open") return "autocannon sends each second's requests in a burst, and times none from when it was due";
  if (job.reuse !== "keep") return "autocannon keeps its connections";
  if (job.streams !== job.connections) return "more streams than connections would be pipelined: a stream then waits for the one before it";
  if (job.requests.length < job.connections) return "autocannon needs at least one request for each connection";
  if (uniformRequest(job) === null) return "autocannon sends the same request each time";
  return true;
}
