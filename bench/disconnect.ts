/**
 * Disconnect truth: 1,000 clients abort at random tokens. For every one of them, what the client had read must be at most
 * what the server counts as sent, and that at most what was due when the server noticed. The distance between the two
 * ends, and the time from abort to noticing, are the price of a client that leaves, per protocol and engine.
 *
 *   npm run bench:disconnect            (all rows)   |   npm run bench:disconnect -- h2   (rows of one protocol)
 */
import { fork } from "node:child_process";
import { Agent as HttpAgent, request as httpRequest } from "node:http";
import { connect } from "node:http2";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { fileURLToPath } from "node:url";
import { monotonicUs } from "../src/clock.ts";
import { Pacer } from "../src/core/pacer.ts";
import { createServer, type Engine, type Protocol } from "../src/index.ts";

const clients = 1000;
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
    h1Engine: engine,
    ttft: ttftUs / 1000,
    itl: itlUs / 1000,
    maxConcurrentStreams: streamsPerConnection,
  });
  process.send!(urls[protocol]!);
}

/** Opens one stream per client and aborts each when its token has come. */
async function abortAll(protocol: Protocol, origin: string): Promise<Aborted[]> {
  const isH2 = protocol === "h2" || protocol === "h2c";
  const body = JSON.stringify({ model: "m", stream: true, messages: [{ role: "user", content: "Hello" }] });
  const headers = (client: number): Record<string, string> => ({ "x-fakeai-output-tokens": String(plannedBase + client) });
  const sessions = isH2
    ? Array.from({ length: clients / streamsPerConnection }, () => connect(origin, { rejectUnauthorized: false }).on("error", () => {}))
    : [];
  const agent = origin.startsWith("https:") ? new HttpsAgent({ rejectUnauthorized: false }) : new HttpAgent();
  const one = (client: number): Promise<Aborted> =>
    new Promise((resolve) => {
      const at = 1 + Math.floor(Math.random() * lastToken);
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

function percentile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * share)]!;
}

async function measure(protocol: Protocol, engine: Engine): Promise<string> {
  const child = fork(fileURLToPath(import.meta.url), ["--serve", protocol, engine], { execArgv: ["--import", "tsx"] });
  const next = <T>(): Promise<T> => new Promise((resolve) => child.once("message", (message) => resolve(message as T)));
  const origin = await next<string>();
  const report = next<Noticed[]>();
  const [noticed, aborted] = await Promise.all([report, abortAll(protocol, origin)]);
  child.kill();
  let broken = 0;
  const unread: number[] = [];
  const lateMs: number[] = [];
  for (const { client, sent, startUs, noticedUs } of noticed) {
    const { read, abortedUs } = aborted[client]!;
    const due = Math.floor((noticedUs - startUs - ttftUs) / itlUs) + 1;
    if (read > sent || sent > due) broken++;
    unread.push(sent - read);
    lateMs.push((noticedUs - abortedUs) / 1000);
  }
  const cell = (values: readonly number[], share: number, digits: number): string => percentile(values, share).toFixed(digits);
  return `| ${protocol} ${engine} | ${noticed.length} | ${broken} | ${[0.5, 0.99, 1].map((share) => cell(unread, share, 0)).join(" / ")} | ${[0.5, 0.99, 1].map((share) => cell(lateMs, share, 2)).join(" / ")} |`;
}

const [first, ...rest] = process.argv.slice(2);
if (first === "--serve") {
  await serve(rest[0] as Protocol, rest[1] as Engine);
} else {
  console.log(
    "| protocol | aborted | read <= sent <= due broken | sent - read, p50 / p99 / max tokens | abort to noticing, p50 / p99 / max ms |",
  );
  console.log("| --- | --- | --- | --- | --- |");
  for (const { protocol, engine } of rows) if (first === undefined || first === protocol) console.log(await measure(protocol, engine));
  process.exit(0);
}
