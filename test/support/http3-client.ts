/**
 * An HTTP/3 client that is not ours: quiche's own layer of HTTP/3 and QPACK, by the public API of @currentspace/http3. It shares the
 * QUIC below with the server, and nothing above it.
 */
import { createRequire } from "node:module";
import type { Duplex } from "node:stream";
import { type Answer, type Ask, bytesOf, collect } from "./ask.ts";

type Headers = Record<string, string | string[]>;

/** A stream of the package: `Duplex`, with its id and its cut. */
export type Http3Stream = Duplex & { readonly id: number; close(code?: number): void };

/** What is used of a session. */
export interface Http3Session {
  request(headers: Headers, options?: { readonly endStream?: boolean }): Http3Stream;
  close(code?: number): Promise<void>;
  on(event: "close", listener: (info: { readonly errorCode: number }) => void): void;
  on(event: "goaway", listener: (info: { readonly lastStreamId: number }) => void): void;
  on(event: "error", listener: (error: Error) => void): void;
}

interface Package {
  connectAsync(this: void, authority: string, options: Readonly<Record<string, unknown>>): Promise<Http3Session>;
}

export async function openHttp3(origin: string, options: Readonly<Record<string, unknown>> = {}): Promise<Http3Session> {
  const { connectAsync } = createRequire(import.meta.url)("@currentspace/http3") as Package;
  const session = await connectAsync(origin, { rejectUnauthorized: false, runtimeMode: "portable", ...options });
  session.on("error", () => {});
  return session;
}

export async function connectHttp3(origin: string): Promise<{ ask(ask: Ask): Promise<Answer>; close(): Promise<void> }> {
  const session = await openHttp3(origin);
  return {
    ask: (ask) => askHttp3(session, origin, ask),
    close: () => session.close(),
  };
}

/** The package gives and takes header values as UTF-8, and so does a test: octets beyond ASCII pass as they are meant. */
const asText = (value: string | string[]): string | string[] =>
  Array.isArray(value) ? value.map((line) => Buffer.from(line, "latin1").toString("utf8")) : Buffer.from(value, "latin1").toString("utf8");

export function askHttp3(session: Http3Session, origin: string, ask: Ask): Promise<Answer> {
  const { method, path = "/v1/chat/completions", headers = {}, body, chunked } = ask;
  return new Promise((resolve, reject) => {
    const bytes = bytesOf(body);
    const startedMs = performance.now();
    const length = bytes === null || chunked ? {} : { "content-length": String(bytes.length) };
    const given = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, asText(value)]));
    const stream = session.request(
      {
        ":method": method ?? (bytes === null ? "GET" : "POST"),
        ":scheme": "https",
        ":authority": new URL(origin).host,
        ":path": path,
        ...length,
        ...given,
      },
      { endStream: bytes === null },
    );
    stream.on("error", reject);
    stream.on("close", () => reject(Object.assign(new Error("closed without an answer"), { code: "CLOSED" })));
    stream.on("response", ({ ":status": status, ...rest }: Headers) => {
      collect(stream, startedMs, (read) => resolve({ ...read, status: Number(status), headers: rest, httpVersion: "3.0" }), reject);
    });
    if (bytes !== null) stream.end(bytes);
  });
}
