/**
 * A neighbour in a process of its own: it asks for /health all the time and reads one paced stream without end, each on a
 * connection of its own. From "begin" to "end" it keeps the longest that either took. Not part of the product.
 */
import { Agent, get, request as httpRequest } from "node:http";
import { connect } from "node:http2";
import { request as httpsRequest } from "node:https";
import type { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import { chat } from "../../support/chat.ts";
import { sleep } from "../../support/wait.ts";
import { CpuLog, cpuMsOf } from "./cpu.ts";

/** What a watcher is told first. */
export interface Watch {
  readonly healthOrigin: string;
  readonly origin: string;
  readonly isH2: boolean;
  /** The server's process. */
  readonly pid: number;
}

/** The longest of each since "begin", ms. */
export interface Seen {
  /** A /health, from sending it to its last byte. */
  readonly healthMs: number;
  /** How late a token of the stream was sent, by the server's stamps; null: none was sent. */
  readonly lateMs: number | null;
  /** How much longer than the schedule it took from one read of the stream to the next. */
  readonly gapMs: number;
  /** The longest of all three, each no longer than the serving thread ran in that time. */
  readonly heldMs: number;
  /** How long this process itself was held up: nothing above can be known better. */
  readonly ownMs: number;
  /** The stream or /health failed. */
  readonly fault: string | null;
}

const itlMs = 5;
const headers = { "x-fakeai-ttft": "1", "x-fakeai-itl": String(itlMs), "x-fakeai-output-tokens": "1000000", "x-fakeai-stamps": "1" };
const body = JSON.stringify(chat({ stream: true }));

let [healthMs, lateMs, gapMs, heldMs, ownMs] = [0, -Infinity, 0, 0, 0];
let fault: string | null = null;

let pid = 0;
const cpu = new CpuLog();

/** Notes what the serving thread has used by now. */
function note(nowMs: number): number {
  const usedMs = cpuMsOf(pid);
  cpu.add(nowMs, usedMs);
  return usedMs;
}

/** A wait that ends now. While the serving thread did not run, another program had the core. */
function waited(ms: number, nowMs: number): void {
  if (ms > heldMs) heldMs = Math.max(heldMs, Math.min(ms, note(nowMs) - cpu.at(nowMs - ms)));
}

/** How often /health was asked. */
const asked = { count: 0 };
const agent = new Agent({ keepAlive: true, maxSockets: 1 });

function health(origin: string): Promise<void> {
  return new Promise((resolve) => {
    const askedMs = performance.now();
    note(askedMs);
    asked.count++;
    const failed = (error: Error): void => {
      fault = `/health: ${error.message}`;
      resolve();
    };
    get(`${origin}/health`, { agent }, (response) => {
      response.resume();
      response.on("error", failed);
      response.on("end", () => {
        const nowMs = performance.now();
        healthMs = Math.max(healthMs, nowMs - askedMs);
        waited(nowMs - askedMs, nowMs);
        if (response.statusCode !== 200) fault = `/health: status ${response.statusCode}`;
        resolve();
      });
    }).on("error", failed);
  });
}

function read(stream: Readable): void {
  const decoder = new StringDecoder();
  let rest = "";
  let lastMs = performance.now();
  stream.on("data", (chunk: Buffer) => {
    const nowMs = performance.now();
    gapMs = Math.max(gapMs, nowMs - lastMs - itlMs);
    waited(nowMs - lastMs - itlMs, nowMs);
    lastMs = nowMs;
    const lines = (rest + decoder.write(chunk)).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      const stamps = /"fakeai":\{"due": *(\d+),"sent": *(\d+)/.exec(line);
      if (stamps === null) continue;
      const late = (Number(stamps[2]) - Number(stamps[1])) / 1000;
      lateMs = Math.max(lateMs, late);
      waited(late, nowMs);
    }
  });
  stream.on("error", (error: Error) => (fault = `the stream: ${error.message}`));
  stream.on("close", () => (fault = "the stream ended"));
}

function openStream({ origin, isH2 }: Watch): void {
  const failed = (error: Error): void => {
    fault = `the stream: ${error.message}`;
  };
  if (isH2) {
    const session = connect(origin, { rejectUnauthorized: false });
    session.on("error", failed);
    const stream = session.request({ ":method": "POST", ":path": "/v1/chat/completions", ...headers });
    read(stream);
    stream.end(body);
    return;
  }
  const request = origin.startsWith("https:") ? httpsRequest : httpRequest;
  request(`${origin}/v1/chat/completions`, { method: "POST", headers, rejectUnauthorized: false, agent: false }, read)
    .on("error", failed)
    .end(body);
}

async function watch(told: Watch): Promise<void> {
  pid = told.pid;
  openStream(told);
  let turnMs = performance.now();
  setInterval(() => {
    const nowMs = performance.now();
    ownMs = Math.max(ownMs, nowMs - turnMs - 4);
    turnMs = nowMs;
  }, 4);
  for (;;) {
    await health(told.healthOrigin);
    await sleep(2);
  }
}

/** Waits for a /health that began after the call: what is held up now shows in it. */
async function nextHealth(): Promise<void> {
  const after = asked.count + 2;
  while (asked.count < after) await sleep(1);
}

const seen = (): Seen => ({ healthMs, lateMs: lateMs === -Infinity ? null : lateMs, gapMs: Math.max(0, gapMs), heldMs, ownMs, fault });

process.on("message", (message: Watch | "begin" | "end") => {
  if (message === "begin") {
    [healthMs, lateMs, gapMs, heldMs, ownMs] = [0, -Infinity, 0, 0, 0];
    fault = null;
    cpu.begin();
    process.send!("begun");
  } else if (message === "end") {
    void nextHealth().then(() => process.send!(seen()));
  } else {
    void watch(message);
  }
});
process.on("disconnect", () => process.exit(0));
process.send!("ready");
