/**
 * Disconnect truth: 1,000 clients abort at random tokens. For every one of them, what the client had read must be at most
 * what the server counts as sent, and that at most what was due when the server noticed. The distance between the two
 * ends, and the time from abort to noticing, are the price of a client that leaves, per protocol and engine.
 */
import { fork } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { Agent as HttpAgent, request as httpRequest } from "node:http";
import { connect } from "node:http2";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { fileURLToPath } from "node:url";
import { monotonicUs } from "../src/base/clock.ts";
import { Pacer } from "../src/core/pacing/pacer.ts";
import { Random, seedOf } from "../src/core/random/random.ts";
import { createServer, type Engine, type Protocol } from "../src/index.ts";
import { describeEnvironment } from "../src/runner/processes/machine.ts";
import { table, writtenBy } from "./support/page.ts";
import { ascending, quantile } from "./support/statistics.ts";

const clients = 1000;
/** Each row is measured so often, with a server of its own and other tokens. */
const rounds = 5;
const streamsPerConnection = 100;
const ttftUs = 50_000;
const itlUs = 20_000;
const lastToken = 60;
/** Tokens planned are this and the number of the client: that is how the two ends know which stream they speak of. */
const plannedBase = 10_000;

/** The server's end of an abort. */
interface Noticed {
  readonly client: number;
  readonly sent: number;
  readonly startUs: number;
  readonly noticedUs: number;
}

/** The client's end of it. */
interface Aborted {
  readonly read: number;
  readonly abortedUs: number;
}

const rows: readonly { readonly protocol: Protocol; readonly engine: Engine }[] = [
  { protocol: "h1", engine: "uws" },
  { protocol: "h1", engine: "node" },
  { protocol: "h1s", engine: "uws" },
  { protocol: "h1s", engine: "node" },
  { protocol: "h2c", engine: "node" },
  { protocol: "h2", engine: "node" },
  { protocol: "h2c", engine: "own" },
  { protocol: "h2", engine: "own" },
];

async function serve(protocol: Protocol, engine: Engine): Promise<void> {
  const noticed: Noticed[] = [];
  const abort = Object.getOwnPropertyDescriptor(Pacer.prototype, "abort")!.value as (this: Pacer, emission: Emission) => void;
  type Emission = Parameters<Pacer["abort"]>[0];
  Pacer.prototype.abort = function (this: Pacer, emission: Emission): void {
    const { plan, index } = emission;
    noticed.push({ client: plan.outputTokens - plannedBase, sent: index, startUs: plan.startUs, noticedUs: monotonicUs() });
    abort.call(this, emission);
    if (noticed.length === clients) process.send!(noticed);
  };
  const { urls } = await createServer({
    protocol,
    ...(engine === "own" ? { h2Engine: engine } : { h1Engine: engine === "uws" ? engine : "node" }),
    ttft: ttftUs / 1000,
    itl: itlUs / 1000,
    maxConcurrentStreams: streamsPerConnection,
  });
  process.send!(urls[protocol]!);
}

/** Opens one stream per client and aborts each when its token has come. */
async function abortAll(protocol: Protocol, origin: string, round: number): Promise<Aborted[]> {
  const random = new Random(seedOf(round), 1);
  const isH2 = protocol === "h2" || protocol === "h2c";
  const body = JSON.stringify({ model: "m", stream: true, messages: [{ role: "user", content: "Hello" }] });
  const headers = (client: number): Record<string, string> => ({ "x-fakeai-output-tokens": String(plannedBase + client) });
  const sessions = isH2
    ? Array.from({ length: clients / streamsPerConnection }, () => connect(origin, { rejectUnauthorized: false }).on("error", () => {}))
    : [];
  const agent = origin.startsWith("https:") ? new HttpsAgent({ rejectUnauthorized: false }) : new HttpAgent();
  const one = (client: number): Promise<Aborted> =>
    new Promise((resolve) => {
      const at = 1 + Math.floor(random.unit() * lastToken);
      let read = 0;
      const onData = (chunk: Buffer, cut: () => void): void => {
        if (read >= at) return;
        // The first event has empty content, and is no token.
        read += chunk.toString("latin1").split('"content":"').length - 1 - (read === 0 ? 1 : 0);
        if (read < at) return;
        resolve({ read, abortedUs: monotonicUs() });
        cut();
      };
      if (isH2) {
        const stream = sessions[client % sessions.length]!.request({
          ":method": "POST",
          ":path": "/v1/chat/completions",
          ...headers(client),
        });
        stream.on("error", () => {});
        stream.on("data", (chunk: Buffer) => onData(chunk, () => stream.close(8)));
        stream.end(body);
      } else {
        const send = origin.startsWith("https:") ? httpsRequest : httpRequest;
        const request = send(`${origin}/v1/chat/completions`, { method: "POST", agent, headers: headers(client) }, (response) => {
          response.on("error", () => {});
          response.on("data", (chunk: Buffer) => onData(chunk, () => request.destroy()));
        });
        request.on("error", () => {});
        request.end(body);
      }
    });
  // Spread over a second: a burst would measure how fast connections are accepted.
  const all = await Promise.all(
    Array.from({ length: clients }, async (_, client) => {
      await new Promise((resolve) => setTimeout(resolve, client));
      return one(client);
    }),
  );
  setTimeout(() => sessions.forEach((session) => session.destroy()), 1000);
  return all;
}

/** Of the clients of one round. */
interface Quantiles {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

interface Round {
  readonly aborted: number;
  /** Clients of which read <= sent <= due did not hold. */
  readonly broken: number;
  /** Tokens that the server had sent and the client had not read. */
  readonly unreadTokens: Quantiles;
  /** Tokens that were due when the abort was noticed and had not been sent. */
  readonly unsentTokens: Quantiles;
  /** From the client's abort to the end of its response at the server. */
  readonly noticedMs: Quantiles;
}

interface Row {
  readonly protocol: Protocol;
  readonly engine: Engine;
  readonly rounds: readonly Round[];
}

function quantilesOf(values: readonly number[]): Quantiles {
  const sorted = ascending(values);
  return { p50: quantile(sorted, 0.5), p99: quantile(sorted, 0.99), max: quantile(sorted, 1) };
}

async function measure(protocol: Protocol, engine: Engine, round: number): Promise<Round> {
  const child = fork(fileURLToPath(import.meta.url), ["--serve", protocol, engine], { execArgv: ["--import", "tsx"] });
  const next = <T>(): Promise<T> => new Promise((resolve) => child.once("message", (message) => resolve(message as T)));
  const origin = await next<string>();
  const report = next<Noticed[]>();
  const [noticed, aborted] = await Promise.all([report, abortAll(protocol, origin, round)]);
  child.kill();
  let broken = 0;
  const unread: number[] = [];
  const unsent: number[] = [];
  const lateMs: number[] = [];
  for (const { client, sent, startUs, noticedUs } of noticed) {
    const { read, abortedUs } = aborted[client]!;
    const due = Math.floor((noticedUs - startUs - ttftUs) / itlUs) + 1;
    if (read > sent || sent > due) broken++;
    unread.push(sent - read);
    unsent.push(due - sent);
    lateMs.push((noticedUs - abortedUs) / 1000);
  }
  const [unreadTokens, unsentTokens, noticedMs] = [unread, unsent, lateMs].map(quantilesOf) as [Quantiles, Quantiles, Quantiles];
  return { aborted: noticed.length, broken, unreadTokens, unsentTokens, noticedMs };
}

/** The median of the rounds, and from where to where they went. */
function cell(values: readonly number[], digits: number): string {
  const { p50, max } = quantilesOf(values);
  const [middle, least, most] = [p50, Math.min(...values), max].map((value) => value.toFixed(digits));
  return least === most ? middle! : `${middle} (${least}-${most})`;
}

function cellsOf({ protocol, engine, rounds: all }: Row): (string | number)[] {
  const cells = (pick: (round: Round) => Quantiles, digits: number): string =>
    (["p50", "p99", "max"] as const)
      .map((name) =>
        cell(
          all.map((round) => pick(round)[name]),
          digits,
        ),
      )
      .join(" / ");
  const sum = (pick: (round: Round) => number): number => all.reduce((total, round) => total + pick(round), 0);
  return [
    `${protocol} ${engine}`,
    sum(({ aborted }) => aborted),
    sum(({ broken }) => broken),
    cells(({ unreadTokens }) => unreadTokens, 0),
    cells(({ unsentTokens }) => unsentTokens, 0),
    cells(({ noticedMs }) => noticedMs, 2),
  ];
}

const header = ["", "aborted", "broken", "sent - read, tokens", "due - sent, tokens", "abort to noticing, ms"];

const [first, ...rest] = process.argv.slice(2);
if (first === "--serve") {
  await serve(rest[0] as Protocol, rest[1] as Engine);
} else {
  const startedAt = new Date().toISOString();
  console.log(header.join(" | "));
  const measured: Row[] = [];
  for (const { protocol, engine } of rows.filter((row) => first === undefined || first === row.protocol)) {
    const all: Round[] = [];
    for (let round = 0; round < rounds; round++) all.push(await measure(protocol, engine, round));
    measured.push({ protocol, engine, rounds: all });
    console.log(cellsOf(measured.at(-1)!).join(" | "));
  }
  const broken = measured.some((row) => row.rounds.some((round) => round.broken > 0 || round.aborted !== clients));
  if (first === undefined) {
    const folder = fileURLToPath(new URL("../results/disconnect/", import.meta.url));
    const environment = describeEnvironment(false, "fakeai");
    mkdirSync(folder, { recursive: true });
    const settings = { clients, streamsPerConnection, ttftUs, itlUs, lastToken };
    writeFileSync(`${folder}result.json`, `${JSON.stringify({ startedAt, environment, settings, rows: measured }, null, 2)}\n`);
    writeFileSync(
      `${folder}README.md`,
      `# Clients that leave

${writtenBy("disconnect", startedAt, environment)}), from [result.json](result.json).

In each of ${rounds} rounds, ${clients.toLocaleString("en")} clients begin within a second, and each aborts when it has read a number of tokens drawn from 1 to ${lastToken}
(TTFT ${ttftUs / 1000} ms, ITL ${itlUs / 1000} ms): over HTTP/1.1 by closing its connection, over HTTP/2, ${streamsPerConnection} streams to a connection, by RST_STREAM.
Clients and server are processes of one machine, with one clock. A client counts as broken where *tokens it read <= tokens
the server counts as sent <= tokens due when the server noticed* does not hold. Each figure is p50 / p99 / max over the clients of a
round: the median of the rounds, and in parentheses where they lay. The time from abort to noticing is that of both event
loops and the kernel between; while it lasts, the server goes on sending. On h1s each client makes a TLS handshake of its own, all within that second: the clients' process
is busy then, and leaves with tokens in its sockets that it has not decrypted.

${table(header, measured.map(cellsOf))}
`,
    );
  }
  process.exit(broken ? 1 : 0);
}
