/** Load tools of others: how each is started against `fakeai serve`, and what it reports. Nothing in them is changed. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { mean, quantile, ascending } from "../support/statistics.ts";

/** `readDelayMs` is the time from a token's stamp `sent` to the moment at which a client library hands it on. */
export type Metric = "ttftMs" | "itlMs" | "e2eMs" | "requestsPerSecond" | "readDelayMs";
export type Statistic = "mean" | "p50" | "p99";

/** A figure that a tool reports. Times are milliseconds. */
export interface Reading {
  readonly metric: Metric;
  /** Of a rate: always "mean". */
  readonly statistic: Statistic;
  readonly value: number;
  /** The tool's own name for it. */
  readonly name: string;
}

export type ToolProtocol = "h1" | "h2c" | "h2";

/** What a tool is run on. */
export interface Target {
  readonly protocol: ToolProtocol;
  /** Of the chat endpoint. */
  readonly url: string;
  /** File with the body of every request. */
  readonly bodyPath: string;
  /** Folder for the tool's files, empty. */
  readonly folder: string;
}

export interface Tool {
  /** As it is named on the command line of this measurement. */
  readonly name: string;
  /** What has to be on the PATH. */
  readonly program: string;
  /** How to install it. */
  readonly install: string;
  /** The command that prints its version. */
  readonly version: readonly string[];
  readonly protocols: readonly ToolProtocol[];
  /** Default: both. HTTP/2 is always node's. */
  readonly engines?: readonly ("uws" | "node")[];
  /** The command. `{program}`: the file of the program. */
  command(target: Target): readonly string[];
  /** Reads what it reported. Throws where that has another form. */
  read(stdout: string, target: Target): readonly Reading[];
}

/** Planned tokens of each answer. */
export const outputTokens = 20;
/** Requests of a run, and how many at a time. */
export const requests = 20;
export const concurrency = 5;
/** Length of a run of a tool that takes a time and no count, seconds. */
const durationS = 2.5;

const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url));
const json = ["content-type: application/json"] as const;

/** A number, from the first group of `pattern`. */
function find(text: string, pattern: RegExp): number {
  const found = pattern.exec(text)?.[1];
  if (found === undefined) throw new Error(`no ${String(pattern)} in what the tool printed`);
  return Number(found);
}

const unitsMs: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000, m: 60_000 };

/** "528.41ms", "1.05s", "199us": milliseconds. `pattern` has one group with number and unit. */
function findMs(text: string, pattern: RegExp): number {
  const found = pattern.exec(text)?.[1];
  const [, number, unit] = /^([\d.]+)(us|ms|s|m)$/.exec(found ?? "") ?? [];
  if (number === undefined || unit === undefined) throw new Error(`no ${String(pattern)} in what the tool printed`);
  return Number(number) * unitsMs[unit]!;
}

const reading = (metric: Metric, statistic: Statistic, value: number, name: string): Reading => ({ metric, statistic, value, name });

const curl: Tool = {
  name: "curl",
  program: "curl",
  install: "apt install curl",
  version: ["--version"],
  protocols: ["h1", "h2c", "h2"],
  command: ({ protocol, url, bodyPath }) => [
    "sh",
    "-c",
    // A process for each request: curl 7.88 cannot send a second request on a cleartext HTTP/2 connection (exit 16, on any server).
    `for n in ${Array.from({ length: requests / concurrency }, (_, index) => index).join(" ")}; do "$@" || exit; done`,
    "sh",
    "{program}",
    "--silent",
    "--insecure",
    { h1: "--http1.1", h2c: "--http2-prior-knowledge", h2: "--http2" }[protocol],
    "--header",
    json[0],
    "--data",
    `@${bodyPath}`,
    "--output",
    "/dev/null",
    "--write-out",
    "%{http_version} %{time_starttransfer} %{time_total}\\n",
    url,
  ],
  read(stdout, { protocol }) {
    const rows = stdout
      .trim()
      .split("\n")
      .map((line) => line.split(" "));
    const spoken = protocol === "h1" ? "1.1" : "2";
    if (rows.some(([version]) => version !== spoken)) throw new Error(`not every answer came over HTTP/${spoken}`);
    const times = (column: number): number[] => rows.map((row) => Number(row[column]) * 1000);
    return [reading("ttftMs", "mean", mean(times(1)), "time_starttransfer"), reading("e2eMs", "mean", mean(times(2)), "time_total")];
  },
};

const ab: Tool = {
  name: "ab",
  program: "ab",
  install: "apt install apache2-utils",
  version: ["-V"],
  protocols: ["h1"],
  // It speaks HTTP/1.0, which uWebSockets.js answers with 505.
  engines: ["node"],
  command: ({ url, bodyPath }) => [
    "{program}",
    "-q",
    "-l",
    "-n",
    String(requests),
    "-c",
    String(concurrency),
    "-p",
    bodyPath,
    "-T",
    "application/json",
    url,
  ],
  read(stdout) {
    if (/^Non-2xx responses/m.test(stdout)) throw new Error("ab was refused");
    return [
      reading("ttftMs", "mean", find(stdout, /^Waiting: +\d+ +(\d+)/m), "Waiting"),
      reading("e2eMs", "mean", find(stdout, /^Total: +\d+ +(\d+)/m), "Total"),
      reading("requestsPerSecond", "mean", find(stdout, /^Requests per second: +([\d.]+)/m), "Requests per second"),
    ];
  },
};

const wrk: Tool = {
  name: "wrk",
  program: "wrk",
  install: "apt install wrk",
  version: ["-v"],
  protocols: ["h1"],
  command: ({ url }) => [
    "{program}",
    "-t",
    "1",
    "-c",
    String(concurrency),
    "-d",
    `${Math.ceil(durationS)}s`,
    "--latency",
    "-s",
    here("post.lua"),
    url,
  ],
  read: (stdout) => [
    reading("e2eMs", "mean", findMs(stdout, /^ +Latency +([\d.]+\w+)/m), "Latency Avg"),
    reading("e2eMs", "p50", findMs(stdout, /^ +50% +([\d.]+\w+)/m), "50%"),
    reading("e2eMs", "p99", findMs(stdout, /^ +99% +([\d.]+\w+)/m), "99%"),
    reading("requestsPerSecond", "mean", find(stdout, /^Requests\/sec: +([\d.]+)/m), "Requests/sec"),
  ],
};

const h2load: Tool = {
  name: "h2load",
  program: "h2load",
  install: "apt install nghttp2-client",
  version: ["--version"],
  protocols: ["h1", "h2c", "h2"],
  command: ({ protocol, url, bodyPath }) => [
    "{program}",
    ...(protocol === "h1" ? ["--h1", "-c", String(concurrency)] : ["-c", "1", "-m", String(concurrency)]),
    "-n",
    String(requests),
    "-d",
    bodyPath,
    "-H",
    json[0],
    url,
  ],
  read(stdout) {
    if (find(stdout, /(\d+) succeeded/) !== requests) throw new Error("h2load counts a request as failed");
    const readings = [
      reading("e2eMs", "mean", findMs(stdout, /^time for request: +\S+ +\S+ +(\S+)/m), "time for request"),
      reading("requestsPerSecond", "mean", find(stdout, /([\d.]+) req\/s/), "req/s"),
    ];
    return [reading("ttftMs", "mean", findMs(stdout, /^time to 1st byte: +\S+ +\S+ +(\S+)/m), "time to 1st byte"), ...readings];
  },
};

const hey: Tool = {
  name: "hey",
  program: "hey",
  install: "go install github.com/rakyll/hey@latest",
  version: [],
  protocols: ["h1", "h2"],
  command: ({ protocol, url, bodyPath }) => [
    "{program}",
    ...(protocol === "h2" ? ["-h2"] : []),
    "-n",
    String(requests),
    "-c",
    String(concurrency),
    "-m",
    "POST",
    "-T",
    "application/json",
    "-D",
    bodyPath,
    url,
  ],
  read: (stdout) => [
    reading("ttftMs", "mean", find(stdout, /^ +resp wait:\s+([\d.]+) secs/m) * 1000, "resp wait"),
    reading("e2eMs", "mean", find(stdout, /^ +Average:\s+([\d.]+) secs/m) * 1000, "Average"),
    reading("requestsPerSecond", "mean", find(stdout, /^ +Requests\/sec:\s+([\d.]+)/m), "Requests/sec"),
  ],
};

const vegeta: Tool = {
  name: "vegeta",
  program: "vegeta",
  install: "go install github.com/tsenart/vegeta/v12@latest",
  version: ["-version"],
  protocols: ["h1", "h2c", "h2"],
  command: ({ protocol, url, bodyPath }) => [
    "sh",
    "-c",
    // An open loop: a request each tenth of a second.
    `echo "POST ${url}" | "{program}" attack ${protocol === "h2c" ? "-h2c " : ""}${protocol === "h1" ? "-http2=false " : ""}-insecure -body "${bodyPath}" -header "${json[0]}" -rate 10 -duration ${requests / 10}s | "{program}" report -type json`,
  ],
  read(stdout) {
    const { latencies, throughput, success } = JSON.parse(stdout) as {
      latencies: { mean: number; "50th": number; "99th": number };
      throughput: number;
      success: number;
    };
    if (success !== 1) throw new Error("vegeta counts a request as failed");
    return [
      reading("e2eMs", "mean", latencies.mean / 1e6, "latencies.mean"),
      reading("e2eMs", "p50", latencies["50th"] / 1e6, "latencies.50th"),
      reading("e2eMs", "p99", latencies["99th"] / 1e6, "latencies.99th"),
      reading("requestsPerSecond", "mean", throughput, "throughput"),
    ];
  },
};

interface LocustEntry {
  readonly name: string;
  readonly num_requests: number;
  readonly num_failures: number;
  readonly total_response_time: number;
  /** Counts by rounded milliseconds. */
  readonly response_times: Readonly<Record<string, number>>;
}

const locust: Tool = {
  name: "locust",
  program: "locust",
  install: "pip install locust",
  version: ["--version"],
  protocols: ["h1"],
  command: ({ url }) => [
    "{program}",
    "-f",
    here("locustfile.py"),
    "--headless",
    "--only-summary",
    "--json",
    "--skip-log",
    "--loglevel",
    "ERROR",
    "-u",
    String(concurrency),
    "-r",
    String(concurrency),
    "-t",
    "3s",
    "--stop-timeout",
    "2",
    "-H",
    new URL(url).origin,
  ],
  read(stdout) {
    const entries = JSON.parse(stdout.slice(stdout.indexOf("["))) as LocustEntry[];
    const entryOf = (name: string): LocustEntry => {
      const entry = entries.find((entry) => entry.name === name);
      if (entry === undefined || entry.num_failures > 0) throw new Error(`locust has no entry ${name}, or failures in it`);
      return entry;
    };
    const average = (name: string): number => entryOf(name).total_response_time / entryOf(name).num_requests;
    const all = Object.entries(entryOf("ttft").response_times).flatMap(([ms, count]) => Array<number>(count).fill(Number(ms)));
    return [
      reading("ttftMs", "mean", average("ttft"), "Average of ttft"),
      reading("ttftMs", "p50", quantile(ascending(all), 0.5), "Median of ttft"),
      reading("itlMs", "mean", average("itl"), "Average of itl"),
      reading("e2eMs", "mean", average("e2e"), "Average of e2e"),
    ];
  },
};

interface StreamAnswer {
  readonly ttftMs: number;
  readonly itlMs: number;
  readonly e2eMs: number;
  readonly readDelayMs: readonly number[];
}

/** A library for Python, read as its documentation reads. */
const library = (name: "requests" | "urllib3"): Tool => ({
  name,
  program: "python3",
  install: `pip install ${name}`,
  version: ["-c", `import ${name}; print(${name}.__version__)`],
  protocols: ["h1"],
  command: ({ url, bodyPath }) => ["{program}", here("stream.py"), name, url, bodyPath, String(requests), String(concurrency)],
  read(stdout) {
    const answers = JSON.parse(stdout) as StreamAnswer[];
    const delays = ascending(answers.flatMap(({ readDelayMs }) => readDelayMs));
    return [
      reading("ttftMs", "mean", mean(answers.map(({ ttftMs }) => ttftMs)), "first token"),
      reading("itlMs", "mean", mean(answers.map(({ itlMs }) => itlMs)), "between tokens"),
      reading("e2eMs", "mean", mean(answers.map(({ e2eMs }) => e2eMs)), "whole answer"),
      reading("readDelayMs", "p50", quantile(delays, 0.5), "read - stamp"),
      reading("readDelayMs", "p99", quantile(delays, 0.99), "read - stamp"),
    ];
  },
});

/** Before a tool that wants a tokenizer: one without a download, written by the Python that the tool is installed in. */
const withTokenizer = (folder: string, command: readonly string[]): string[] => [
  "sh",
  "-c",
  '"$(dirname "$1")/python3" "$2" "$3" >&2 && shift 3 && exec "$@"',
  "sh",
  "{program}",
  here("tokenizer.py"),
  `${folder}/tokenizer`,
  ...command,
];

interface GuidellmReport {
  readonly benchmarks: readonly {
    readonly metrics: Readonly<
      Record<
        string,
        { readonly successful: { readonly mean: number; readonly median: number; readonly percentiles: { readonly p99: number } } }
      >
    >;
  }[];
}

const guidellm: Tool = {
  name: "guidellm",
  program: "guidellm",
  install: "pip install guidellm",
  version: ["--version"],
  // It speaks HTTP/2 where TLS chooses it, so not in cleartext.
  protocols: ["h1", "h2"],
  // A run takes up to a minute: the default engine alone.
  engines: ["uws"],
  command: ({ url, folder }) =>
    withTokenizer(folder, [
      // aiperf takes no folder as a tokenizer with this set.
      "env",
      "HF_HUB_OFFLINE=1",
      "{program}",
      "run",
      "--backend",
      `kind=openai_http,target=${new URL(url).origin},model=m,request_format=/v1/chat/completions,verify=false`,
      "--profile",
      `kind=concurrent,streams=${concurrency}`,
      "--constraint",
      `kind=max_requests,count=${requests}`,
      "--tokenizer",
      `kind=huggingface_auto,model=${folder}/tokenizer`,
      "--data",
      `kind=synthetic_text,prompt_tokens=32,output_tokens=${outputTokens}`,
      "--output",
      `kind=json,path=${folder}/report.json`,
      "--disable-console",
    ]),
  read(_stdout, { folder }) {
    const { metrics } = (JSON.parse(readFileSync(`${folder}/report.json`, "utf8")) as GuidellmReport).benchmarks[0]!;
    const of = (name: string): GuidellmReport["benchmarks"][0]["metrics"][""]["successful"] => metrics[name]!.successful;
    return [
      reading("ttftMs", "mean", of("time_to_first_token_ms").mean, "time_to_first_token_ms"),
      reading("ttftMs", "p50", of("time_to_first_token_ms").median, "time_to_first_token_ms"),
      reading("itlMs", "mean", of("inter_token_latency_ms").mean, "inter_token_latency_ms"),
      reading("e2eMs", "mean", of("request_latency").mean * 1000, "request_latency"),
      reading("requestsPerSecond", "mean", of("requests_per_second").mean, "requests_per_second"),
    ];
  },
};

const aiperf: Tool = {
  name: "aiperf",
  program: "aiperf",
  install: "pip install aiperf",
  version: ["--version"],
  protocols: ["h1"],
  engines: ["uws"],
  command: ({ url, folder }) =>
    withTokenizer(folder, [
      "{program}",
      "profile",
      "--model",
      "m",
      "--url",
      new URL(url).origin,
      "--endpoint-type",
      "chat",
      "--streaming",
      "--use-server-token-count",
      "--concurrency",
      String(concurrency),
      "--request-count",
      String(requests),
      "--isl",
      "32",
      "--osl",
      String(outputTokens),
      "--tokenizer",
      `${folder}/tokenizer`,
      "--artifact-dir",
      `${folder}/report`,
      "--ui",
      "none",
    ]),
  read(_stdout, { folder }) {
    const report = JSON.parse(readFileSync(`${folder}/report/profile_export_aiperf.json`, "utf8")) as Readonly<
      Record<string, { readonly avg: number; readonly p50: number; readonly p99: number }>
    >;
    const of = (name: string): { readonly avg: number; readonly p50: number } => report[name]!;
    return [
      reading("ttftMs", "mean", of("time_to_first_token").avg, "time_to_first_token avg"),
      reading("ttftMs", "p50", of("time_to_first_token").p50, "time_to_first_token p50"),
      reading("itlMs", "mean", of("inter_token_latency").avg, "inter_token_latency avg"),
      reading("e2eMs", "mean", of("request_latency").avg, "request_latency avg"),
      reading("requestsPerSecond", "mean", of("request_throughput").avg, "request_throughput"),
    ];
  },
};

export const tools: readonly Tool[] = [
  curl,
  ab,
  wrk,
  h2load,
  hey,
  vegeta,
  locust,
  library("requests"),
  library("urllib3"),
  guidellm,
  aiperf,
];
