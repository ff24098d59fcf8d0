/** The ways to the same routes, and one request function for all of them. */
import { readFileSync } from "node:fs";
import { Agent as HttpAgent, type IncomingMessage, request as httpRequest } from "node:http";
import { connect, type OutgoingHttpHeaders } from "node:http2";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { loadQuic, quicLack } from "../../src/base/quic.ts";
import type { Engine, FakeAiServer, Protocol, ServerOptions } from "../../src/index.ts";
import { loadUws } from "../../src/listeners/uws/module.ts";
import { type Siblings, type StartedServer, startServer } from "../../src/server/server.ts";
import { freePorts, resolveConfig } from "../../src/settings/server.ts";
import { type Answer, type Ask, bytesOf, collect } from "./ask.ts";
import { withoutEmptyLines } from "./chat.ts";
import { connectHttp3 } from "./http3-client.ts";

export type { Answer, Ask } from "./ask.ts";

export interface Target {
  readonly name: string;
  readonly protocol: Exclude<Protocol, "ws" | "wss">;
  readonly engine: Engine;
  /** What the client speaks. */
  readonly client: "http/1.1" | "h2" | "h3";
}

const allTargets: Target[] = [
  { name: "h1 on uws", protocol: "h1", engine: "uws", client: "http/1.1" },
  { name: "h1 on node", protocol: "h1", engine: "node", client: "http/1.1" },
  { name: "h1s on uws", protocol: "h1s", engine: "uws", client: "http/1.1" },
  { name: "h1s on node", protocol: "h1s", engine: "node", client: "http/1.1" },
  { name: "h2c", protocol: "h2c", engine: "node", client: "h2" },
  { name: "h2", protocol: "h2", engine: "node", client: "h2" },
  { name: "http/1.1 on the h2 port", protocol: "h2", engine: "node", client: "http/1.1" },
  { name: "h2c on our own engine", protocol: "h2c", engine: "own", client: "h2" },
  { name: "h2 on our own engine", protocol: "h2", engine: "own", client: "h2" },
  { name: "h3", protocol: "h3", engine: "quiche", client: "h3" },
];

const uwsRuns = (await loadUws()) !== null;
if (!uwsRuns) console.warn(`uWebSockets.js has no binary for Node ${process.versions.node}: its targets are left out`);

/** HTTP/3 needs an optional package. Where CI runs, a missing one is a failure. */
export const quicRuns: boolean = loadQuic() !== null;
if (!quicRuns && process.env["CI"] === "true") throw new Error(quicLack());
if (!quicRuns) console.warn(`h3 is left out: ${quicLack()}`);

const runs: Readonly<Record<Engine, boolean>> = { node: true, own: true, uws: uwsRuns, quiche: quicRuns };

/** The targets that this Node can start. */
export const targets: readonly Target[] = allTargets.filter(({ engine }) => runs[engine]);

/** The options of a server for a target. */
export function optionsOf({ protocol, engine, client }: Target): ServerOptions {
  if (engine === "own") return { protocol, h2Engine: engine };
  return client === "http/1.1" ? { protocol, h1Engine: engine === "uws" ? "uws" : "node" } : { protocol };
}

/** A started target. Requests of one target share a connection. */
export interface Started {
  readonly target: Target;
  readonly server: StartedServer;
  readonly origin: string;
  ask(ask: Ask): Promise<Answer>;
  /** Closes the client's connections and the server. */
  stop(): Promise<void>;
}

/** `siblings` takes the place of what workers share: a test's own counters and metrics. */
export async function start(target: Target, options: ServerOptions = {}, siblings: Siblings | null = null): Promise<Started> {
  const config = resolveConfig({ ...optionsOf(target), ...options }, freePorts);
  const server = await startServer(config, siblings);
  const origin = server.urls[target.protocol]!;
  const client = await clientOf(target, server, origin);
  return {
    target,
    server,
    origin,
    ask: (ask) => client.ask(ask),
    async stop() {
      await client.close();
      await server.close(0);
    },
  };
}

interface Client {
  ask(ask: Ask): Promise<Answer>;
  close(): void | Promise<void>;
}

async function clientOf(target: Target, server: StartedServer, origin: string): Promise<Client> {
  if (target.client === "h3") {
    const client = await connectHttp3(origin);
    return { ask: (ask) => client.ask(ask), close: () => client.close() };
  }
  return target.client === "h2" ? http2Client(server, origin) : http1Client(server, origin, target.engine);
}

const caOf = (server: FakeAiServer): { ca?: string } => (server.caPath === null ? {} : { ca: readFileSync(server.caPath, "utf8") });

function http1Client(server: FakeAiServer, origin: string, engine: Engine): Client {
  const secure = origin.startsWith("https:");
  const agent = secure ? new HttpsAgent({ keepAlive: true, ...caOf(server) }) : new HttpAgent({ keepAlive: true });
  return {
    ask: ({ method, path = "/v1/chat/completions", headers = {}, body, chunked }) =>
      new Promise((resolve, reject) => {
        const bytes = bytesOf(body);
        const startedMs = performance.now();
        const length = bytes === null || chunked ? {} : { "content-length": bytes.length };
        const options = { method: method ?? (bytes === null ? "GET" : "POST"), agent, headers: { ...length, ...headers } };
        const onResponse = (response: IncomingMessage): void =>
          collect(
            response,
            startedMs,
            (read) => {
              const isStream = engine === "uws" && response.headers["content-type"]?.startsWith("text/event-stream") === true;
              const body = isStream ? withoutEmptyLines(read.body) : read.body;
              resolve({ ...read, body, status: response.statusCode!, headers: response.headers, httpVersion: response.httpVersion });
            },
            reject,
          );
        const request = secure
          ? httpsRequest(`${origin}${path}`, options, onResponse)
          : httpRequest(`${origin}${path}`, options, onResponse);
        request.on("error", reject);
        if (bytes !== null && chunked) request.write(bytes.subarray(0, 1));
        request.end(bytes === null ? undefined : chunked ? bytes.subarray(1) : bytes);
      }),
    close: () => agent.destroy(),
  };
}

function http2Client(server: FakeAiServer, origin: string): Client {
  const session = connect(origin, caOf(server));
  session.on("error", () => {});
  return {
    ask: ({ method, path = "/v1/chat/completions", headers = {}, body, chunked }) =>
      new Promise((resolve, reject) => {
        const bytes = bytesOf(body);
        const startedMs = performance.now();
        const length = bytes === null || chunked ? {} : { "content-length": bytes.length };
        const stream = session.request(
          { ":method": method ?? (bytes === null ? "GET" : "POST"), ":path": path, ...length, ...headers } satisfies OutgoingHttpHeaders,
          { endStream: bytes === null },
        );
        stream.on("error", reject);
        // node's client reports no error where its connection ends before any answer.
        stream.on("close", () => reject(Object.assign(new Error("closed without an answer"), { code: "CLOSED" })));
        stream.on("response", (responseHeaders) => {
          const { ":status": status, ...rest } = responseHeaders;
          collect(stream, startedMs, (read) => resolve({ ...read, status: status!, headers: rest, httpVersion: "2.0" }), reject);
        });
        if (bytes !== null) stream.end(bytes);
      }),
    close: () => session.destroy(),
  };
}
