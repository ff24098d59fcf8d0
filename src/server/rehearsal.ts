/**
 * A rehearsal: before a server listens it answers itself, so that no client's first request pays for code that V8 has not compiled yet. A
 * second server of the same settings, in this process and on free ports of loopback, gets requests until they take no less CPU time.
 * Of it nothing stays but warm code: it has counts, numbers of requests, limits and faults of its own.
 */
import { servedProtocols } from "../core/protocols.ts";
import { latencyUnits, parseDistribution } from "../core/random/distribution.ts";
import { noRateLimits } from "../core/limits/rate-limit.ts";
import type { ServerConfig } from "../settings/server.ts";
import type { Listening } from "./listening.ts";

/** What a rehearsal took. */
export interface Rehearsed {
  readonly tookMs: number;
  readonly requests: number;
  /** CPU time of a request and of its client, in the first batch and in the best; microseconds. */
  readonly firstUs: number;
  readonly bestUs: number;
}

/** What it needs of a server. */
interface Rehearsing {
  readonly listening: readonly Listening[];
  close(graceMs: number): Promise<void>;
}

/** Requests on each protocol that are under way at once. */
const batch = 16;
/** It ends when this many batches in a row bring less than `gain` below the best before them. */
const patience = 4;
const gain = 0.1;
/** It ends then at the latest: a processor that others use may never settle. By CPU time, as a pod may have little of it in a second. */
const mostCpuMs = 3000;
const mostMs = 20_000;

/** `start` starts a server. Rejects with what kept it from starting, or from answering. */
export async function rehearse(config: ServerConfig, start: (config: ServerConfig) => Promise<Rehearsing>): Promise<Rehearsed> {
  const beganMs = performance.now();
  const cpuBefore = process.cpuUsage();
  const hasTime = (): boolean => {
    const { user, system } = process.cpuUsage(cpuBefore);
    return (user + system) / 1000 < mostCpuMs && performance.now() - beganMs < mostMs;
  };
  const server = await start(rehearsalOf(config));
  const model = config.model.models?.[0] ?? "fakeai";
  try {
    const clients = await Promise.all(server.listening.map(clientOf));
    const perRequest: number[] = [];
    let best = Infinity;
    let sinceBest = 0;
    while (sinceBest < patience && hasTime()) {
      const before = process.cpuUsage();
      await Promise.all(clients.flatMap((client) => Array.from({ length: batch }, (_, i) => client.ask(...requestOf(i, model)))));
      const { user, system } = process.cpuUsage(before);
      const us = (user + system) / (clients.length * batch);
      perRequest.push(us);
      sinceBest = us < best * (1 - gain) ? 0 : sinceBest + 1;
      best = Math.min(best, us);
    }
    for (const client of clients) client.close();
    return {
      tookMs: performance.now() - beganMs,
      requests: perRequest.length * clients.length * batch,
      firstUs: perRequest[0]!,
      bestUs: best,
    };
  } finally {
    await server.close(0);
  }
}

/**
 * Where it listens, and its clients come from. Linux has all of 127.0.0.0/8: no free port that it takes there is one that another worker
 * is about to listen on.
 */
const loopback = process.platform === "linux" ? "127.0.0.2" : "127.0.0.1";

/** The same server without what waits, refuses, fails on purpose or is seen from outside. */
function rehearsalOf(config: ServerConfig): ServerConfig {
  const { endpoints, model, scheduler } = config;
  // HTTP/3 and WebSocket hand requests to the same code.
  const heard = endpoints.filter(({ protocol }) => !servedProtocols[protocol].isQuic && servedProtocols[protocol].upgradedFrom === null);
  const us = (spec: string): ReturnType<typeof parseDistribution> => parseDistribution(spec, latencyUnits("--warm"));
  return {
    ...config,
    warm: false,
    host: loopback,
    endpoints:
      heard.length === 0
        ? [{ protocol: "h1", port: 0, sharesPort: false }]
        : heard.map(({ protocol, sharesPort }) => ({ protocol, port: 0, sharesPort })),
    altSvc: false,
    model: { ...model, ttft: us("1"), itl: us("500us") },
    scheduler: scheduler && {
      ...scheduler,
      requestOverheadUs: 0,
      requestOverheadPerTokenUs: 0,
      stepTime: us("1"),
      stepTimePerSeqUs: 0,
      prefillTimePerTokenUs: 0,
    },
    apiKeys: null,
    rateLimits: noRateLimits,
    keepRequests: 0,
    replies: null,
    replay: null,
    faults: [],
    admin: null,
    workers: 1,
  };
}

/** Streams of two providers and whole answers, in turn: path and body. */
function requestOf(index: number, model: string): [path: string, body: string] {
  const messages = [{ role: "user", content: "Warm up, please." }];
  const asked = { model, messages, max_tokens: 16, stream: index % 4 !== 3 };
  return [index % 4 === 2 ? "/v1/messages" : "/v1/chat/completions", JSON.stringify(asked)];
}

interface Client {
  /** Resolves when the whole answer is there. Rejects where the connection fails. */
  ask(path: string, body: string): Promise<void>;
  close(): void;
}

const headers = { "content-type": "application/json" };
/** The server is this process: its certificate proves nothing to it. */
const socketOptions = { rejectUnauthorized: false, localAddress: loopback };

async function clientOf({ protocol, url }: Listening): Promise<Client> {
  const { isHttp2, isEncrypted } = servedProtocols[protocol];
  if (isHttp2) {
    const { connect } = await import("node:http2");
    const session = connect(url, socketOptions);
    // What becomes of a session becomes of its streams, which are waited for.
    session.on("error", () => {});
    return {
      ask: (path, body) =>
        new Promise((resolve, reject) => {
          const stream = session.request({ ...headers, ":method": "POST", ":path": path });
          stream.on("error", reject).on("end", resolve);
          stream.on("close", () => reject(new Error("the stream was closed")));
          stream.resume().end(body);
        }),
      close: () => session.destroy(),
    };
  }
  const { Agent, request } = isEncrypted ? await import("node:https") : await import("node:http");
  const agent = new Agent({ keepAlive: true, ...socketOptions });
  return {
    ask: (path, body) =>
      new Promise((resolve, reject) => {
        const asked = request(`${url}${path}`, { method: "POST", headers, agent }, (answer) =>
          answer.on("error", reject).on("end", resolve).resume(),
        );
        asked.on("error", reject).end(body);
      }),
    close: () => agent.destroy(),
  };
}
