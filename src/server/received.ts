/** What a parent learns of the requests that came in: no text of a prompt, a digest of it. */
import { createHash } from "node:crypto";
import type { ReceivedRecord, StreamRecord } from "../base/parent-channel.ts";
import type { RequestLog } from "./request-log.ts";

/** Members of a body that hold what is asked: chat completions and Anthropic's messages, legacy completions, Responses. */
const asking: ReadonlySet<string> = new Set(["messages", "prompt", "input"]);

/** Members of a body that are told, and characters of each. */
const mostMembers = 40;
const mostCharacters = 200;

/** Joins the requests of a log with the streams that answered them. */
export function receivedRecords(requests: RequestLog, streams: readonly StreamRecord[]): ReceivedRecord[] {
  // A plan counts from the arrival of its request. Of several that arrived at once the first in order is meant.
  const waiting = new Map<number, StreamRecord[]>();
  for (const stream of streams) {
    const list = waiting.get(stream.receivedUs);
    if (list === undefined) waiting.set(stream.receivedUs, [stream]);
    else list.push(stream);
  }
  return requests.all().map((request): ReceivedRecord => {
    const { method, path, protocol, connection, status, ended, firstWriteMs, endedMs, headers, tokensSent, body } = request;
    const receivedUs = requests.receivedUsOf(request);
    const retry = headers["x-stainless-retry-count"];
    const { prompt, parameters } = askedIn(body);
    return {
      receivedUs,
      method,
      path,
      protocol,
      connection,
      status,
      ended,
      firstWriteUs: firstWriteMs === null ? null : firstWriteMs * 1000,
      tokensSent,
      endedUs: endedMs === null ? null : endedMs * 1000,
      prompt,
      parameters,
      retry: retry !== undefined && /^\d{1,6}$/.test(retry) ? Number(retry) : null,
      stream: tokensSent === null ? null : (waiting.get(receivedUs)?.shift() ?? null),
    };
  });
}

function askedIn(body: unknown): Pick<ReceivedRecord, "prompt" | "parameters"> {
  if (typeof body !== "object" || body === null || Array.isArray(body)) return { prompt: null, parameters: null };
  const members = Object.entries(body);
  const asked = members.filter(([name]) => asking.has(name));
  const others = members.filter(([name]) => !asking.has(name)).slice(0, mostMembers);
  return {
    prompt: asked.length === 0 ? null : createHash("sha256").update(JSON.stringify(asked)).digest("base64url"),
    parameters: Object.fromEntries(
      others.map(([name, value]) => [name.slice(0, mostCharacters), JSON.stringify(value).slice(0, mostCharacters)]),
    ),
  };
}
