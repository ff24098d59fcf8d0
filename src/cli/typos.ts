/** What an unknown command or flag was meant to be: a typo of ours, or what other tools call it. Loaded when there is one. */
import { proxies } from "../network/gateways/catalogue.ts";
import { type Flag, flagName } from "../settings/flags.ts";
import { didYouMean, guesses, saysUnspoken } from "../base/guess.ts";
import { serveWords, type Words } from "../settings/words.ts";

/** ": did you mean serve?", or "". */
export function guessAtCommand(name: string, commands: readonly string[]): string {
  return Object.hasOwn(commandWords, name) ? `: did you mean ${commandWords[name]}?` : didYouMean(name, commands);
}

/** ": did you mean --streams?", or "". `name` has its dashes. */
export function guessAtFlag(name: string, command: string, flags: readonly Flag[]): string {
  const words = flagWords[command] ?? {};
  const word = name.replace(/^--?/, "");
  const unspoken = saysUnspoken(word);
  if (unspoken !== "") return unspoken;
  if (Object.hasOwn(words, word)) return `: did you mean ${words[word]}?`;
  // A typo may be one of another tool's word, too. Letters alone are near to everything.
  const known = new Map([
    ...flags.map(({ key }) => [`--${flagName(key)}`, `--${renamed[key] ?? flagName(key)}`] as const),
    ...Object.entries(words).filter(([other]) => other.length > 3),
  ]);
  const meant = new Set(guesses(name, [...known.keys()]).map((near) => known.get(near)!));
  return meant.size === 0 ? "" : `: did you mean ${[...meant].join(" or ")}?`;
}

/** Flags of `fakeai serve` that still work under an old name of ours, by key: a guess says the new name. */
const renamed: Readonly<Record<string, string>> = { engine: "scheduler" };

const commandWords: Words = {
  server: "serve",
  start: "serve",
  mock: "serve",
  fake: "serve",
  listen: "serve",
  up: "serve",
  benchmark: "bench",
  load: "bench",
  loadtest: "bench",
  "load-test": "bench",
  test: "bench",
  run: "bench",
  attack: "bench",
  measure: "bench",
  diff: "compare",
  combine: "merge",
  join: "merge",
  html: "report",
  plot: "report",
  show: "report",
  network: "proxy",
  netem: "proxy",
  toxiproxy: "proxy",
  ...Object.fromEntries(Object.keys(proxies).map((name) => [name, `proxy-config ${name}`])),
  gateway: "proxy-config",
  check: "doctor",
  info: "doctor",
  version: "--version",
  "--v": "--version",
  "-v": "--version",
  "-?": "--help",
};

/** wrk, oha, hey, h2load, autocannon, vegeta, k6, locust, guidellm, `vllm bench serve`, aiperf, llmperf and curl. */
const benchWords: Words = {
  // How many at once.
  c: "--streams or --connections",
  m: "--streams",
  p: "--streams",
  concurrency: "--streams",
  "max-concurrency": "--streams",
  "max-concurrent-streams": "--streams",
  "num-concurrent-requests": "--streams",
  parallel: "--streams",
  users: "--streams",
  vus: "--streams",
  workers: "--streams",
  clients: "--client or --connections",
  conns: "--connections",
  // How many, and for how long.
  n: "--requests",
  a: "--requests",
  num: "--requests",
  amount: "--requests",
  iterations: "--requests",
  "num-prompts": "--requests",
  "num-requests": "--requests",
  "max-requests": "--requests",
  "request-count": "--requests",
  "max-num-completed-requests": "--requests",
  z: "--duration",
  d: "--duration, or --body for a request's body",
  D: "--duration",
  time: "--duration",
  "run-time": "--duration",
  "max-seconds": "--duration",
  "benchmark-duration": "--duration",
  "measurement-interval": "--duration",
  repeat: "--rounds",
  repetitions: "--rounds",
  runs: "--rounds",
  samples: "--rounds",
  "num-warmups": "--warmup",
  "warm-up-time": "--warmup",
  "warmup-requests": "--warmup",
  "warmup-request-count": "--warmup",
  // How fast.
  q: "--rate",
  r: "--rate",
  R: "--rate",
  qps: "--rate",
  rps: "--rate",
  "request-rate": "--rate",
  "arrival-rate": "--rate",
  "overall-rate": "--rate",
  overallRate: "--rate",
  "rate-type": "--rate for an open loop, --streams for a closed one",
  T: "--timeout",
  t: "--timeout",
  "connection-active-timeout": "--timeout",
  "connection-inactivity-timeout": "--timeout",
  // Where to.
  u: "--url",
  "base-url": "--url",
  target: "--url",
  host: "--url",
  server: "--url",
  address: "--url",
  proxy: "--via",
  gateway: "--via",
  path: "--endpoint",
  "endpoint-type": "--endpoint",
  H: "--header",
  headers: "--header",
  k: "--insecure",
  "skip-verify": "--insecure",
  "tls-skip-verify": "--insecure",
  ca: "--cacert",
  "root-certs": "--cacert",
  key: "--api-key",
  token: "--api-key",
  http1: "--protocol h1",
  "http1.1": "--protocol h1",
  h1: "--protocol h1",
  http2: "--protocol h2 or --protocol h2c",
  h2: "--protocol h2",
  h2c: "--protocol h2c",
  http3: "--protocol h3",
  h3: "--protocol h3",
  quic: "--protocol h3",
  "http2-prior-knowledge": "--protocol h2c",
  "http-version": "--protocol",
  "alpn-list": "--protocol",
  // What is asked.
  data: "--body",
  "input-file": "--body, or --trace to replay traffic",
  "dataset-path": "--dataset for texts, --trace for times and lengths",
  "input-len": "--input-tokens",
  "random-input-len": "--input-tokens",
  "prompt-tokens": "--input-tokens",
  "mean-input-tokens": "--input-tokens",
  "synthetic-input-tokens-mean": "--input-tokens",
  "output-len": "--output-tokens",
  "random-output-len": "--output-tokens",
  "max-tokens": "--output-tokens",
  tokens: "--output-tokens",
  "mean-output-tokens": "--output-tokens",
  "output-tokens-mean": "--output-tokens",
  "random-seed": "--seed",
  ttfb: "--ttft",
  tpot: "--itl",
  latency: "--ttft and --itl of our server, or --rtt of the network",
  // What comes of it.
  o: "--out",
  output: "--out",
  "output-path": "--out",
  "output-file": "--out",
  "result-dir": "--out",
  "results-dir": "--out",
  "save-result": "--out",
  "output-format": "--json",
  goodput: "--slo",
  threshold: "--require",
  thresholds: "--require",
};

/** tc netem and toxiproxy. */
const proxyWords: Words = {
  port: "--listen",
  p: "--listen",
  l: "--listen",
  target: "--to",
  upstream: "--to",
  url: "--to",
  server: "--to",
  backend: "--to",
  delay: "--rtt",
  latency: "--rtt",
  lag: "--rtt",
  ping: "--rtt",
  drop: "--stall",
  rate: "--bandwidth",
  throughput: "--bandwidth",
  reset: "--cut",
  "reset-peer": "--cut",
  disconnect: "--cut",
};

/** By the command's name. */
export const flagWords: Readonly<Record<string, Words>> = {
  serve: serveWords,
  bench: benchWords,
  proxy: proxyWords,
  compare: { out: "> file", output: "> file", o: "> file" },
  "proxy-config": { upstream: "--to", port: "--listen", cert: "--tls-cert", key: "--tls-key", output: "> file" },
  report: { html: "--out", output: "--out", o: "--out", png: "--svg", images: "--svg", charts: "--svg" },
  merge: { output: "--out", o: "--out" },
};
