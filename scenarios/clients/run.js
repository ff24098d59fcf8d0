/**
 * One client library under the load of `fakeai bench --driver client`: opens streams and writes down when the application
 * saw each token. The environment tells what to do, as it tells any command of `--client-cmd`; see README.md.
 */
import { writeFileSync } from "node:fs";
import { adapters } from "./adapters.js";

const env = process.env;
const streams = Number(env.FAKEAI_STREAMS);
const tokens = Number(env.FAKEAI_OUTPUT_TOKENS);
const rampMs = Number(env.FAKEAI_RAMP_MS);
/** What is still under way so long after the beginning is left; 0: all is waited for. */
const stopMs = Number(env.FAKEAI_STOP_MS);
const warmTokens = Math.min(30, tokens);

/** What turns performance.now() into microseconds of the host's monotonic clock, which the server's stamps are of. */
const originUs = (() => {
  let best = { gapMs: Infinity, originUs: 0 };
  for (let round = 0; round < 32; round++) {
    const before = performance.now();
    const absoluteUs = Number(process.hrtime.bigint()) / 1000;
    const gapMs = performance.now() - before;
    if (gapMs < best.gapMs) best = { gapMs, originUs: absoluteUs - (before + gapMs / 2) * 1000 };
  }
  return best.originUs;
})();
const nowUs = () => originUs + performance.now() * 1000;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const rest = async () => {
  globalThis.gc?.();
  await sleep(50);
};

const ask = await adapters[env.FAKEAI_CLIENT].connect({ url: env.FAKEAI_URL, protocol: env.FAKEAI_PROTOCOL });

/** Times go where memory was taken before: what this file needs must not pass for what the client needs. */
function newStream(key, maxTokens) {
  return { key, maxTokens, startUs: 0, count: 0, times: new Float64Array(maxTokens).fill(0), error: null };
}

async function run(stream) {
  const { times } = stream;
  const onToken = () => {
    if (stream.count < times.length) times[stream.count] = nowUs();
    stream.count++;
  };
  stream.startUs = nowUs();
  try {
    await ask({ key: stream.key, maxTokens: stream.maxTokens, onToken });
  } catch (error) {
    stream.error = reasonOf(error);
  }
}

/** The innermost reason: wrappers say less than what they wrap. */
function reasonOf(error) {
  let inner = error;
  for (let depth = 0; depth < 5 && (inner?.cause ?? inner?.lastError); depth++) inner = inner.cause ?? inner.lastError;
  const name = inner?.code ?? inner?.name ?? "error";
  const [message] = String(inner?.message ?? inner).split("\n");
  return message === "" || message === name ? name : `${name}: ${message.slice(0, 120)}`;
}

const all = Array.from({ length: streams }, (_, i) => newStream(`run-${i}`, tokens));
let idleRssBytes = null;
if (env.FAKEAI_WARMUP === "1") {
  // Code gets compiled by a few streams and memory at rest is read; then every connection is opened.
  for (let turn = 0; turn < 3; turn++) {
    await Promise.all(Array.from({ length: Math.min(8, streams) }, (_, i) => run(newStream(`code-${turn}-${i}`, warmTokens))));
    // An application has the last token before the end of the answer is read: asked at once, a pool would open connections
    // beside those that are about to be free, and they would count as if the streams needed them.
    await rest();
  }
  idleRssBytes = process.memoryUsage.rss();
  await Promise.all(Array.from({ length: streams }, (_, i) => run(newStream(`warm-${i}`, warmTokens))));
  await rest();
}

/** Resident memory while every stream was open. */
const rss = [];
let underWay = 0;
const sampler = setInterval(() => underWay === streams && rss.push(process.memoryUsage.rss()), 50);
const cpuBefore = process.cpuUsage();
const beganUs = nowUs();
const ended = Promise.all(
  all.map(async (stream, i) => {
    if (rampMs > 0) await sleep((i * rampMs) / streams);
    underWay++;
    await run(stream);
    underWay--;
  }),
);
await (stopMs > 0 ? Promise.race([ended, sleep(stopMs)]) : ended);
const cpu = process.cpuUsage(cpuBefore);
const endedUs = nowUs();
clearInterval(sampler);

if (env.FAKEAI_RECORD) {
  const head = {
    kind: "fakeai.client",
    beganUs,
    endedUs,
    cpuUs: cpu.user + cpu.system,
    idleRssBytes,
    rssBytes: rss.sort((a, b) => a - b)[rss.length >> 1] ?? null,
  };
  const lines = all.map(({ key, startUs, count, times, error }) => {
    return { key, startUs, tokens: count, tokenUs: Array.from(times.subarray(0, count)), error };
  });
  writeFileSync(env.FAKEAI_RECORD, [head, ...lines].map((line) => JSON.stringify(line)).join("\n"));
}
// Connections that a library keeps open, and streams that were left, do not delay the exit.
process.exit(0);
