/**
 * Writes the sample trace that comes with fakeai, in the columns of the Azure LLM inference traces:
 *
 *   node --import tsx bench/sample-trace.ts > scenarios/traces/sample.csv
 *
 * No real traffic is in it: arrivals are a Poisson process whose rate swings between 10 and 30 requests/s in ten seconds,
 * prompts are lognormal with a median of 400 tokens, answers with a median of 60, both drawn from one seed.
 */
import { purpose, Random, seedOf } from "../src/core/random/random.ts";

const seconds = 30;
const random = new Random(seedOf(20_260_101), purpose.length);
const lognormal = (median: number, sigma: number, most: number): number =>
  Math.max(1, Math.min(most, Math.round(median * Math.exp(sigma * random.normal()))));
const rateAt = (second: number): number => 20 + 10 * Math.sin((2 * Math.PI * second) / 10);
const mostRate = 30;

const lines = ["TIMESTAMP,ContextTokens,GeneratedTokens"];
let second = 0;
for (;;) {
  // Thinning (Lewis and Shedler, 1979): arrivals at the highest rate, kept with the probability of the present one.
  second -= Math.log(random.unit()) / mostRate;
  if (second >= seconds) break;
  if (random.unit() * mostRate > rateAt(second)) continue;
  const time = new Date(Date.UTC(2026, 0, 1) + Math.round(second * 1000)).toISOString().replace("T", " ").replace("Z", "0000");
  lines.push(`${time},${lognormal(400, 1, 4000)},${lognormal(60, 0.7, 400)}`);
}
process.stdout.write(`${lines.join("\n")}\n`);
