/**
 * Does the server keep its schedule? TTFT 100 ms, ITL 20 ms, 60 tokens at rising numbers of streams, judged twice:
 * by the server's stamps and by a client in another process that looks only at its own clock.
 *
 * The server runs on core 0 and the client on core 1 where taskset is installed. Streams start spread over a second:
 * a burst of requests would measure how fast this machine accepts requests, not how it keeps a schedule.
 */
import { Agent, request as httpRequest } from "node:http";
import { connect, type ClientHttp2Session } from "node:http2";
import { monotonicUs } from "../src/base/clock.ts";
import { canPin, serveFakeai } from "./support/server.ts";
import { ascending, mean, quantile } from "./support/statistics.ts";

const ttftMs = 100;
const itlMs = 20;
const tokens = 60;
const rounds = 5;

interface Row {
  readonly protocol: "h1" | "h2c";
  readonly engine: "uws" | "node";
  /** HTTP/2 connections; on HTTP/1.1 each stream has its own. */
  readonly connections: number;
  readonly streams: number;
}

const rows: Row[] = [
  { protocol: "h1", engine: "uws", connections: 1, streams: 1 },
  { protocol: "h1", engine: "uws", connections: 100, streams: 100 },
  { protocol: "h1", engine: "uws", connections: 1000, streams: 1000 },
  { protocol: "h1", engine: "node", connections: 100, streams: 100 },
  { protocol: "h1", engine: "node", connections: 1000, streams: 1000 },
  { protocol: "h2c", engine: "node", connections: 1, streams: 100 },
  { protocol: "h2c", engine: "node", connections: 10, streams: 1000 },
];

/** One stream as the client saw it, microseconds. */
interface Trace {
  readonly startUs: number;
  readonly arrivalsUs: number[];
  readonly dueUs: number[];
  readonly sentUs: number[];
}

function startServer({ protocol, engine }: Row): ReturnType<typeof serveFakeai> {
  const flags = ["--protocol", `${protocol}:0`, "--h1-engine", engine, "--stamps", "--max-concurrent-streams", "1000"];
  const timing = ["--ttft", String(ttftMs), "--itl", String(itlMs), "--output-tokens", String(tokens)];
  return serveFakeai([...flags, ...timing], canPin ? 0 : null);
}

const body = JSON.stringify({ model: "bench", stream: true, messages: [{ role: "user", content: "hi" }] });
const path = "/v1/chat/completions";
const stampPattern = /"content":"(?:[^"\\]|\\.)+"\}.*?"due": *(\d+),"sent": *(\d+)\}\}/g;

function reader(trace: Trace): (chunk: Buffer) => void {
  return (chunk) => {
    const nowUs = monotonicUs();
    for (const [, due, sent] of chunk.toString("latin1").matchAll(stampPattern)) {
      trace.arrivalsUs.push(nowUs);
      trace.dueUs.push(Number(due));
      trace.sentUs.push(Number(sent));
    }
  };
}

const newTrace = (): Trace => ({ startUs: monotonicUs(), arrivalsUs: [], dueUs: [], sentUs: [] });

function h1Stream(url: string, agent: Agent): Promise<Trace> {
  return new Promise((resolve, reject) => {
    const trace = newTrace();
    const request = httpRequest(`${url}${path}`, { method: "POST", agent, headers: { "content-length": body.length } }, (response) => {
      response.on("data", reader(trace));
      response.on("end", () => resolve(trace));
      response.on("error", reject);
    });
    request.on("error", reject);
    request.end(body);
  });
}

function h2Stream(session: ClientHttp2Session): Promise<Trace> {
  return new Promise((resolve, reject) => {
    const trace = newTrace();
    const stream = session.request({ ":method": "POST", ":path": path });
    stream.on("data", reader(trace));
    stream.on("end", () => resolve(trace));
    stream.on("error", reject);
    stream.end(body);
  });
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** The traces of each round. */
async function measure(row: Row): Promise<Trace[][]> {
  const server = await startServer(row);
  const { url } = server;
  const agent = new Agent({ keepAlive: true, maxSockets: Infinity });
  const sessions = row.protocol === "h2c" ? Array.from({ length: row.connections }, () => connect(url)) : [];
  try {
    const traces: Trace[][] = [];
    // The first round warms up both ends and opens every connection.
    for (let round = 0; round <= rounds; round++) {
      const running: Promise<Trace>[] = [];
      const startedMs = performance.now();
      while (running.length < row.streams) {
        const due = Math.min(row.streams, Math.ceil(((performance.now() - startedMs) / 1000) * row.streams));
        while (running.length < due) {
          running.push(row.protocol === "h1" ? h1Stream(url, agent) : h2Stream(sessions[running.length % sessions.length]!));
        }
        await pause(1);
      }
      const results = await Promise.all(running);
      if (round > 0) traces.push(results);
    }
    return traces;
  } finally {
    agent.destroy();
    for (const session of sessions) session.destroy();
    await server.stop();
  }
}

/** Over all rounds; in brackets the least and the most of a round. */
function summarise(byRound: readonly Trace[][]): Record<string, string> {
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
    "late first>last": `${late(0).toFixed(2)}>${late(-1).toFixed(2)}`,
  };
}

const only = process.argv[2];
console.error(
  `node ${process.versions.node}, ${canPin ? "server on core 0, client on core 1" : "not pinned"}, ${rounds} rounds a row; times in ms`,
);
const table: Record<string, Record<string, string>> = {};
for (const row of rows.filter(({ protocol }) => only === undefined || protocol === only)) {
  const name = `${row.protocol} ${row.engine} ${row.streams} on ${row.connections}`;
  console.error(name);
  table[name] = summarise(await measure(row));
}
console.table(table);
