/**
 * Does the server keep its schedule? TTFT 100 ms, ITL 20 ms, 60 tokens at rising numbers of streams, judged twice:
 * by the server's stamps and by a client in another process that looks only at its own clock.
 *
 * The server runs on core 0 and the client on core 1 where taskset is installed. Streams start spread over a second:
 * a burst of requests would measure how fast this machine accepts requests, not how it keeps a schedule.
 *
 * Rows of /v1/responses stand beside those of WebSocket, which has nothing else. CPU is the server's own, user and system, of all
 * rounds but the first, for each token; rows of few tokens have none.
 *
 * Rows of HTTP/3 stand beside HTTP/2 over TLS, read by our own client. Their CPU times compare engines: QUIC runs in user space behind
 * N-API, TCP in the kernel, whose time for packets that come in is charged to no process.
 */
import { once } from "node:events";
import { Agent, request as httpRequest } from "node:http";
import { connect, type ClientHttp2Session } from "node:http2";
import { readFileSync } from "node:fs";
import { WebSocket } from "ws";
import { monotonicUs } from "../src/base/clock.ts";
import { loadQuic, quicLack } from "../src/base/quic.ts";
import type { Connection } from "../src/load/client/connection.ts";
import { openConnection } from "../src/load/client/open.ts";
import { canPin, serveFakeai } from "./support/server.ts";
import { ascending, mean, quantile } from "./support/statistics.ts";

const ttftMs = 100;
const itlMs = 20;
const tokens = 60;
const rounds = 5;

interface Row {
  readonly protocol: "h1" | "h2c" | "ws" | "h2" | "h3";
  readonly engine: "uws" | "node" | "quiche";
  readonly api: "chat" | "responses";
  /** HTTP/2 connections, or WebSockets; on HTTP/1.1 each stream has its own. */
  readonly connections: number;
  readonly streams: number;
}

const rows: Row[] = [
  { protocol: "h1", engine: "uws", api: "chat", connections: 1, streams: 1 },
  { protocol: "h1", engine: "uws", api: "chat", connections: 100, streams: 100 },
  { protocol: "h1", engine: "uws", api: "chat", connections: 1000, streams: 1000 },
  { protocol: "h1", engine: "node", api: "chat", connections: 100, streams: 100 },
  { protocol: "h1", engine: "node", api: "chat", connections: 1000, streams: 1000 },
  { protocol: "h2c", engine: "node", api: "chat", connections: 1, streams: 100 },
  { protocol: "h2c", engine: "node", api: "chat", connections: 10, streams: 1000 },
  { protocol: "h1", engine: "uws", api: "responses", connections: 1000, streams: 1000 },
  { protocol: "h2c", engine: "node", api: "responses", connections: 10, streams: 1000 },
  { protocol: "ws", engine: "uws", api: "responses", connections: 10, streams: 1000 },
  { protocol: "ws", engine: "uws", api: "responses", connections: 1000, streams: 1000 },
  { protocol: "ws", engine: "node", api: "responses", connections: 10, streams: 1000 },
  { protocol: "h2", engine: "node", api: "chat", connections: 1, streams: 100 },
  { protocol: "h2", engine: "node", api: "chat", connections: 10, streams: 1000 },
  { protocol: "h3", engine: "quiche", api: "chat", connections: 1, streams: 100 },
  { protocol: "h3", engine: "quiche", api: "chat", connections: 10, streams: 1000 },
];

/** One stream as the client saw it, microseconds. */
interface Trace {
  readonly startUs: number;
  readonly arrivalsUs: number[];
  readonly dueUs: number[];
  readonly sentUs: number[];
}

function startServer({ protocol, engine }: Row): ReturnType<typeof serveFakeai> {
  const flags = ["--protocol", `${protocol}:0`, "--stamps", "--max-concurrent-streams", "1000"];
  if (engine !== "quiche") flags.push("--h1-engine", engine);
  // As many lanes as are asked for: OpenAI allows 32, 16 of them at a time.
  if (protocol === "ws") flags.push("--ws-max-lanes", "1000", "--ws-max-in-flight", "1000");
  const timing = ["--ttft", String(ttftMs), "--itl", String(itlMs), "--output-tokens", String(tokens)];
  return serveFakeai([...flags, ...timing], canPin ? 0 : null);
}

const requests = {
  chat: {
    path: "/v1/chat/completions",
    body: JSON.stringify({ model: "bench", stream: true, messages: [{ role: "user", content: "hi" }] }),
    stamps: /"content":"(?:[^"\\]|\\.)+"\}.*?"due": *(\d+),"sent": *(\d+)\}\}/g,
  },
  responses: {
    path: "/v1/responses",
    body: JSON.stringify({ model: "bench", stream: true, input: "hi" }),
    stamps: /"delta":"(?:[^"\\]|\\.)+",.*?"due": *(\d+),"sent": *(\d+)\}/g,
  },
} as const;
type Api = Row["api"];

function reader(trace: Trace, api: Api): (chunk: Buffer) => void {
  // An event may come in two reads.
  let rest = "";
  return (chunk) => {
    const nowUs = monotonicUs();
    const text = rest + chunk.toString("latin1");
    let end = 0;
    for (const match of text.matchAll(requests[api].stamps)) {
      trace.arrivalsUs.push(nowUs);
      trace.dueUs.push(Number(match[1]));
      trace.sentUs.push(Number(match[2]));
      end = match.index + match[0].length;
    }
    rest = text.slice(end);
  };
}

const newTrace = (): Trace => ({ startUs: monotonicUs(), arrivalsUs: [], dueUs: [], sentUs: [] });

/** Requests of HTTP/1.1 whose connection had ended before they came. */
let sentAgain = 0;

function h1Stream(url: string, agent: Agent, api: Api): Promise<Trace> {
  const { path, body } = requests[api];
  return new Promise((resolve, reject) => {
    const trace = newTrace();
    const request = httpRequest(`${url}${path}`, { method: "POST", agent, headers: { "content-length": body.length } }, (response) => {
      response.on("data", reader(trace, api));
      response.on("end", () => resolve(trace));
      response.on("error", reject);
    });
    // uWebSockets.js ends a connection that was idle for 11 s. Where this process was kept from running that long, it sends before it
    // reads of the end: the request was not begun, and is sent again, as node's documentation has it.
    request.on("error", (error: NodeJS.ErrnoException) => {
      if (request.reusedSocket && error.code === "ECONNRESET") {
        sentAgain++;
        resolve(h1Stream(url, agent, api));
      } else reject(error);
    });
    request.end(body);
  });
}

function h2Stream(session: ClientHttp2Session, api: Api): Promise<Trace> {
  const { path, body } = requests[api];
  return new Promise((resolve, reject) => {
    const trace = newTrace();
    const stream = session.request({ ":method": "POST", ":path": path });
    stream.on("data", reader(trace, api));
    stream.on("end", () => resolve(trace));
    stream.on("error", reject);
    stream.end(body);
  });
}

/** A connection of our own load client, over TLS. */
function open(url: string, protocol: "h2" | "h3"): Promise<Connection> {
  const tls = { ca: null, insecure: true, cipher: "TLS_AES_128_GCM_SHA256" };
  const endpoint = { origin: url, protocol, path: requests.chat.path, method: "POST" as const, headers: {}, tls };
  return openConnection({ endpoint, timeoutMs: 10_000 });
}

function ownStream(connection: Connection, api: Api): Promise<Trace> {
  const { path, body } = requests[api];
  return new Promise((resolve, reject) => {
    const trace = newTrace();
    const read = reader(trace, api);
    connection.send(
      { method: "POST", path, body },
      {
        onResponse: () => {},
        onData: (bytes, start, end) => read(bytes.subarray(start, end)),
        onEnd: () => resolve(trace),
        onFail: (reason, words) => reject(new Error(words ?? reason)),
      },
    );
  });
}

/** A WebSocket with a lane for each of its streams. */
class Lanes {
  readonly #socket: WebSocket;
  readonly #streams = new Map<string, { readonly read: (chunk: Buffer) => void; readonly done: () => void }>();

  constructor(url: string) {
    this.#socket = new WebSocket(url, { skipUTF8Validation: true, perMessageDeflate: false });
    this.#socket.on("message", (data: Buffer) => {
      const lane = /"stream_id":"(\d+)"\}$/.exec(data.toString("latin1", data.length - 40))![1]!;
      const stream = this.#streams.get(lane)!;
      stream.read(data);
      if (data.indexOf('{"type":"response.completed"') === 0) stream.done();
    });
  }

  static async open(url: string): Promise<Lanes> {
    const lanes = new Lanes(url);
    await once(lanes.#socket, "open");
    return lanes;
  }

  stream(lane: string): Promise<Trace> {
    return new Promise((resolve) => {
      const trace = newTrace();
      this.#streams.set(lane, { read: reader(trace, "responses"), done: () => resolve(trace) });
      this.#socket.send(JSON.stringify({ type: "response.create", model: "bench", input: "hi", stream_id: lane }));
    });
  }

  close(): void {
    this.#socket.terminate();
  }
}

/** CPU time of a process so far, microseconds (proc(5): utime and stime, in ticks of 10 ms). */
function cpuUs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

/** Rows of fewer tokens say nothing of CPU time, which comes in ticks. */
const leastTokensForCpu = 50_000;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

interface Measured {
  /** Of each round. */
  readonly traces: Trace[][];
  /** CPU time of the server for each token, microseconds; null: too few tokens. */
  readonly cpuUsPerToken: number | null;
}

async function measure(row: Row): Promise<Measured> {
  const server = await startServer(row);
  const { url } = server;
  const sockets =
    row.protocol === "ws" ? await Promise.all(Array.from({ length: row.connections }, () => Lanes.open(`${url}/v1/responses`))) : [];
  const agent = new Agent({ keepAlive: true, maxSockets: Infinity });
  const sessions = row.protocol === "h2c" ? Array.from({ length: row.connections }, () => connect(url)) : [];
  const { protocol } = row;
  const opened =
    protocol === "h2" || protocol === "h3" ? await Promise.all(Array.from({ length: row.connections }, () => open(url, protocol))) : [];
  try {
    const traces: Trace[][] = [];
    let warmUs = 0;
    // The first round warms up both ends and opens every connection.
    for (let round = 0; round <= rounds; round++) {
      const running: Promise<Trace>[] = [];
      const startedMs = performance.now();
      while (running.length < row.streams) {
        const due = Math.min(row.streams, Math.ceil(((performance.now() - startedMs) / 1000) * row.streams));
        while (running.length < due) {
          const index = running.length;
          if (row.protocol === "h1") running.push(h1Stream(url, agent, row.api));
          else if (row.protocol === "h2c") running.push(h2Stream(sessions[index % sessions.length]!, row.api));
          else if (opened.length > 0) running.push(ownStream(opened[index % opened.length]!, row.api));
          else running.push(sockets[index % sockets.length]!.stream(String(Math.floor(index / sockets.length))));
        }
        await pause(1);
      }
      const results = await Promise.all(running);
      if (round > 0) traces.push(results);
      else warmUs = cpuUs(server.pid);
    }
    const all = row.streams * tokens * rounds;
    return { traces, cpuUsPerToken: all < leastTokensForCpu ? null : (cpuUs(server.pid) - warmUs) / all };
  } finally {
    agent.destroy();
    for (const session of sessions) session.destroy();
    for (const connection of opened) connection.close();
    for (const socket of sockets) socket.close();
    await server.stop();
  }
}

/** Over all rounds; in brackets the least and the most of a round. */
function summarise({ traces: byRound, cpuUsPerToken }: Measured): Record<string, string> {
  const traces = byRound.flat();
  for (const { arrivalsUs } of traces)
    if (arrivalsUs.length !== tokens) throw new Error(`a stream had ${arrivalsUs.length} of ${tokens} tokens`);
  const gap = (times: readonly number[]): number => (times.at(-1)! - times[0]!) / (times.length - 1) / 1000;
  const lateness = ascending(traces.flatMap(({ dueUs, sentUs }) => sentUs.map((sent, i) => (sent - dueUs[i]!) / 1000)));
  const late = (index: number): number => mean(traces.map(({ dueUs, sentUs }) => (sentUs.at(index)! - dueUs.at(index)!) / 1000));
  const ttftOf = ({ startUs, arrivalsUs }: Trace): number => (arrivalsUs[0]! - startUs) / 1000;
  const ttft = ascending(traces.map(ttftOf));
  const spread = (of: (traces: readonly Trace[]) => number, digits: number): string => {
    const each = ascending(byRound.map(of));
    return `${of(traces).toFixed(digits)} (${each[0]!.toFixed(digits)}..${each.at(-1)!.toFixed(digits)})`;
  };
  /** How far the mean gap of the times that `pick` gives is from the planned one, percent. */
  const error =
    (pick: (trace: Trace) => readonly number[]) =>
    (some: readonly Trace[]): number =>
      (mean(some.map((trace) => gap(pick(trace)))) / mean(some.map(({ dueUs }) => gap(dueUs))) - 1) * 100;
  return {
    "TTFT p50": spread((some) => quantile(ascending(some.map(ttftOf)), 0.5), 2),
    "TTFT p99": quantile(ttft, 0.99).toFixed(2),
    "ITL err % stamps": spread(
      error(({ sentUs }) => sentUs),
      3,
    ),
    "ITL err % client": spread(
      error(({ arrivalsUs }) => arrivalsUs),
      3,
    ),
    "late p50": quantile(lateness, 0.5).toFixed(2),
    "late p99": quantile(lateness, 0.99).toFixed(2),
    "late max": lateness.at(-1)!.toFixed(2),
    "CPU us/token": cpuUsPerToken === null ? "" : cpuUsPerToken.toFixed(1),
    "late first>last": `${late(0).toFixed(2)}>${late(-1).toFixed(2)}`,
  };
}

const only = process.argv[2];
console.error(
  `node ${process.versions.node}, ${canPin ? "server on core 0, client on core 1" : "not pinned"}, ${rounds} rounds a row; times in ms`,
);
const table: Record<string, Record<string, string>> = {};
const runs = loadQuic() === null ? rows.filter(({ protocol }) => protocol !== "h3") : rows;
if (runs.length < rows.length) console.error(`rows of h3 are left out: ${quicLack()}`);
for (const row of runs.filter(({ protocol, api }) => only === undefined || protocol === only || api === only)) {
  const name = `${row.protocol} ${row.engine} ${row.api} ${row.streams} on ${row.connections}`;
  console.error(name);
  table[name] = summarise(await measure(row));
}
console.table(table);
if (sentAgain > 0) console.error(`${sentAgain} requests met a connection that had ended idle, and were sent again`);
