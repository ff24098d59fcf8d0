/** What HTTP/2 and HTTP/3 have alike above their frames: the fields of requests and of answers. */
import type { Endpoint } from "../job.ts";
import type { ResponseHead } from "./connection.ts";

/** Bytes of an answer's head: far above any. */
export const maxHeadBytes = 262_144;

/** Interim responses (1xx) before an answer. Servers send one or two: 100, 103. */
export const maxInterim = 32;

/** The fields that every request to an endpoint has, in the order in which they are sent; names in lower case. */
export function baseFields({ origin, headers }: Endpoint): (readonly [name: string, value: string])[] {
  const url = new URL(origin);
  return [
    [":scheme", url.protocol.slice(0, -1)],
    [":authority", url.host],
    ...Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value] as const),
  ];
}

/** The head of an answer as it is decoded, field by field; of a field that comes twice the last counts. */
export class HeadFields implements ResponseHead {
  status = 0;
  contentType = "";
  contentEncoding: string | null = null;
  location: string | null = null;
  retryAfter: string | null = null;
  requestId: string | null = null;
  clock: string | null = null;
  instance: string | null = null;
  fault: string | null = null;

  /** A 1xx: the answer's own head is still to come. */
  get isInterim(): boolean {
    return this.status >= 100 && this.status < 200;
  }

  take(name: string, value: string): void {
    if (name === ":status") this.status = Number(value);
    else if (name === "content-type") this.contentType = value;
    else if (name === "content-encoding") this.contentEncoding = value;
    else if (name === "location") this.location = value;
    else if (name === "retry-after") this.retryAfter = value;
    else if (name === "x-request-id") this.requestId = value;
    else if (name === "x-fakeai-clock") this.clock = value;
    else if (name === "x-fakeai-instance") this.instance = value;
    else if (name === "x-fakeai-fault") this.fault = value;
  }
}
