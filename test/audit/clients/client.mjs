/**
 * A small load generator of the tests, which reports its figures as JSON. Its mode says what it has wrong on purpose.
 *
 *   honest           nothing
 *   low-itl          every figure of ITL is 3% low
 *   holds-chunks     a chunk is seen when the next one comes, the last with the end
 *   counts-events    the chunks of role and finish count as tokens
 *   averages         percentiles are the means of each connection's percentiles
 *   falls-behind     an open loop with too few workers, which reports the rate that was asked for
 *
 * Arguments: mode, base URL, requests, requests at once; of falls-behind the last is requests a second.
 */
import { Agent, request } from "node:http";

const [mode, base, requestsText, atOnceText] = process.argv.slice(2);
const requests = Number(requestsText ?? 20);
const atOnce = Number(atOnceText ?? 5);
const answers = [];

/** Asks once, over a connection of its own worker. */
function ask(agent, number, worker) {
  const body = JSON.stringify({
    model: "m",
    stream: true,
    stream_options: { include_usage: true },
    messages: [{ role: "user", content: `Question ${number}` }],
  });
  const beganMs = performance.now();
  return new Promise((resolve) => {
    const fail = () => {
      answers.push({ worker, failed: true });
      resolve();
    };
    const sent = request(
      `${base}/chat/completions`,
      { method: "POST", agent, headers: { "content-type": "application/json" } },
      (response) => {
        const seen = [];
        let rest = "";
        let usage = 0;
        let done = false;
        response.setEncoding("utf8").on("data", (text) => {
          const nowMs = performance.now();
          const lines = (rest + text).split("\n");
          rest = lines.pop();
          for (const line of lines) {
            if (line === "data: [DONE]") done = true;
            if (!line.startsWith("data: {")) continue;
            const event = JSON.parse(line.slice(6));
            usage = event.usage?.completion_tokens ?? usage;
            const choice = event.choices[0];
            if (choice === undefined) continue;
            if (mode === "counts-events" || choice.delta.content || choice.delta.reasoning) seen.push(nowMs - beganMs);
          }
        });
        response.on("error", fail);
        response.on("end", () => {
          const endMs = performance.now() - beganMs;
          if (response.statusCode !== 200 || !done) return fail();
          const times = mode === "holds-chunks" ? [...seen.slice(1), endMs] : seen;
          answers.push({ worker, beganMs, endMs, times, tokens: mode === "counts-events" ? seen.length : usage });
          resolve();
        });
      },
    );
    sent.on("error", fail);
    sent.end(body);
  });
}

let next = 0;
async function closedLoop(worker, agent) {
  while (next < requests) await ask(agent, next++, worker);
  agent.destroy();
}

/** Each worker asks once before the load: connections are open and the code is compiled then. */
async function warmUp() {
  const agents = Array.from({ length: atOnce }, () => new Agent({ keepAlive: true, maxSockets: 1 }));
  await Promise.all(agents.map((agent, worker) => ask(agent, `before ${worker}`, worker)));
  answers.length = 0;
  return agents;
}

/** Wants a request each 1/rate seconds, and has two workers only. */
async function tooFewWorkers(rate) {
  const agent = new Agent({ keepAlive: true });
  const startMs = performance.now();
  const work = async (worker) => {
    while (next < requests) {
      const number = next++;
      const waitMs = startMs + (number / rate) * 1000 - performance.now();
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      await ask(agent, number, worker);
    }
  };
  await Promise.all([work(0), work(1)]);
  agent.destroy();
}

const agents = mode === "falls-behind" ? [] : await warmUp();
const startedMs = performance.now();
if (mode === "falls-behind") await tooFewWorkers(atOnce);
else await Promise.all(agents.map((agent, worker) => closedLoop(worker, agent)));
const durationS = (performance.now() - startedMs) / 1000;

const whole = answers.filter(({ failed }) => !failed);
const percentile = (sorted, share) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
const mean = (values) => values.reduce((total, value) => total + value, 0) / values.length;

function statistics(valuesOf) {
  const of = (list) => {
    const sorted = list.flatMap(valuesOf).sort((a, b) => a - b);
    return { mean: mean(sorted), p50: percentile(sorted, 0.5), p90: percentile(sorted, 0.9), p99: percentile(sorted, 0.99) };
  };
  if (mode !== "averages") return of(whole);
  const groups = [...new Set(whole.map(({ worker }) => worker))].map((worker) => of(whole.filter((answer) => answer.worker === worker)));
  return Object.fromEntries(["mean", "p50", "p90", "p99"].map((name) => [name, mean(groups.map((group) => group[name]))]));
}

const gapsOf = ({ times }) => times.slice(1).map((time, index) => time - times[index]);
const itl = statistics(gapsOf);
if (mode === "low-itl") for (const name of Object.keys(itl)) itl[name] *= 0.97;
const outputTokens = whole.reduce((total, { tokens }) => total + tokens, 0);
const lastEndMs = Math.max(...whole.map(({ beganMs, endMs }) => beganMs + endMs));
const busyS = (lastEndMs - startedMs) / 1000;
console.log(
  JSON.stringify({
    ttft: statistics(({ times }) => times.slice(0, 1)),
    itl,
    tpot: statistics(({ times, tokens }) => (tokens > 1 ? [(times.at(-1) - times[0]) / (tokens - 1)] : [])),
    e2e: statistics(({ endMs }) => [endMs]),
    requests: answers.length,
    completed: whole.length,
    failed: answers.length - whole.length,
    outputTokens,
    requestRate: mode === "falls-behind" ? atOnce : whole.length / busyS,
    askedRate: mode === "falls-behind" ? atOnce : null,
    askedConcurrency: mode === "falls-behind" ? null : atOnce,
    durationS,
  }),
);
