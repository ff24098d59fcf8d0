/** The table of commands: what each one takes, what its help says, and the module that runs it. */
import { UsageError } from "../base/usage-error.ts";
import type { Command, Section } from "./command.ts";

const result = "result.json, or its directory";

const startAndStop: Command["exitCodes"] = [
  ["0", "ended by SIGINT or SIGTERM"],
  ["1", "could not start"],
  ["2", "wrong usage"],
];

const doneOrNot: Command["exitCodes"] = [
  ["0", "done"],
  ["1", "could not be done"],
  ["2", "wrong usage"],
];

const networkValues: Section = {
  heading: "A network's values",
  rows: [
    ["jitter", "a number is uniform from 0 to it; a read never overtakes another"],
    ["bandwidth", "connections take turns; mbit is 10^6 bits, MB 10^6 bytes; /connection is for each"],
    ["stall", "share, time: a segment is 1400 bytes of a connection; 1%/packet,40ms counts what was read at once"],
    ["cut", "after so many bytes, after a time, or with a share of segments; 5s,fin closes, 5s or 5s,rst resets"],
  ],
};

export const commands: readonly Command[] = [
  {
    name: "serve",
    summary: "start the fake model server",
    takes: [],
    flags: async () => (await import("./sources.ts")).serveFlags,
    examples: [
      ["fakeai serve --ttft 100 --itl 20", "milliseconds"],
      ["fakeai serve --protocol h1,h2c,h2 --ttft 'lognormal(200,0.5)' --itl 20:10"],
      ["fakeai serve --config fakeai.yaml"],
    ],
    more: async () => [
      (await import("./fault-help.ts")).faultSection(),
      {
        heading: "Environment and file",
        text:
          "Every flag can also be an environment variable (FAKEAI_TTFT=100, FAKEAI_TOKENS_PER_CHUNK=4) or a key of the " +
          "configuration file (ttft: 100, tokens-per-chunk: 4). " +
          "The command line wins over the environment, the environment over the file.",
      },
    ],
    exitCodes: [...startAndStop, ["130, 143", "ended at once by a second signal"]],
    action: async () => (await import("./serve.ts")).serve,
  },
  {
    name: "bench",
    summary: "compare protocols, and say how sure that is",
    takes: [],
    flags: async () => (await import("../settings/bench.ts")).benchFlags,
    examples: [
      ["fakeai bench", "the quick suite, under two minutes"],
      ["fakeai bench --scenario mux-scale --streams 200", "one scenario, changed"],
      ["fakeai bench --url https://api.example.com/v1 --model m --scenario stream"],
    ],
    more: async () => [
      {
        heading: "More examples",
        rows: [
          ["fakeai bench --protocol h2", "one protocol: figures with intervals, no comparison"],
          ["fakeai bench --trace AzureLLMInferenceTrace_conv.csv --speed 10", "recorded traffic"],
          ["fakeai bench --driver client --client openai --client undici", "client libraries"],
          ['fakeai bench --driver client --client-cmd "python3 my_client.py"', "a client of your own"],
          ["fakeai bench --require 'stream/h2c/ttft.p99<150ms' --baseline results/main", "in CI"],
        ],
      },
      {
        heading: "Environment",
        rows: [
          ["OPENAI_API_KEY", "what --api-key is when it is not given"],
          ["NO_COLOR", "no colors in the table"],
        ],
      },
      networkValues,
    ],
    exitCodes: [
      ["0", "good; refuted claims too"],
      ["1", "a requirement is not met, or something is worse than --baseline"],
      ["2", "wrong usage, or --baseline or --require names what was not measured or cannot be compared (--allow-missing passes it)"],
      [
        "3",
        "a run, or --baseline, is invalid or incomplete: failed or lost requests, another protocol than asked for, what a driver would measure wrongly " +
          "such as pipelining, a generator at its limit",
      ],
      ["130, 143, 129", "interrupted by SIGINT, SIGTERM or SIGHUP: what was measured is written and marked incomplete"],
    ],
    action: async () => (await import("./bench.ts")).bench,
  },
  {
    name: "compare",
    summary: "compare two results; exit code 1 where B is slower",
    takes: [
      { name: "A", help: result },
      { name: "B", help: "the same, later or changed" },
    ],
    flags: async () => (await import("../settings/results.ts")).compareFlags,
    examples: [
      ["fakeai compare before after"],
      ["fakeai compare before after --all", "every metric"],
      ["fakeai compare before after --json", "for programs"],
    ],
    exitCodes: [
      ["0", "all of B was compared, and nothing is slower"],
      ["1", "B is slower than A in some metric"],
      ["2", "wrong usage, no result to read, or a part of B that A has nothing to compare with (--allow-missing passes it)"],
      ["3", "A or B, or an arm that both have, is invalid or incomplete"],
    ],
    action: async () => (await import("./compare.ts")).compare,
  },
  {
    name: "merge",
    summary: "make one result of several machines or rounds",
    takes: [
      { name: "A", help: result },
      { name: "B", help: "another; more may follow", isRepeatable: true },
    ],
    flags: async () => (await import("../settings/results.ts")).mergeFlags,
    examples: [
      ["fakeai merge run-1 run-2"],
      ["fakeai merge machine-a machine-b machine-c --out results/all"],
      ["fakeai merge --shards results/run/shard-1 results/run/shard-2", "parts of one load (bench --shard)"],
    ],
    exitCodes: [
      ["0", "merged and written; each requirement is met"],
      ["1", "a requirement is not met"],
      ["2", "wrong usage, what cannot be merged, or a requirement that nothing measured (--allow-missing passes it)"],
      ["3", "a merged run is invalid or incomplete; it is written"],
    ],
    action: async () => (await import("./merge.ts")).merge,
  },
  {
    name: "rendezvous",
    summary: "the place where the shards of one load meet",
    takes: [],
    flags: async () => (await import("../settings/shards.ts")).rendezvousFlags,
    examples: [
      ["fakeai rendezvous --shards 4", "on this machine"],
      ["fakeai rendezvous --shards 4 --listen 0.0.0.0:7700 --out results/run"],
      ["fakeai bench --shard 2/4 --rendezvous host:7700 --url ...", "each shard"],
    ],
    more: async () => [
      {
        heading: "What it does",
        text:
          "Shards agree there on one plan, meet before each run of each arm, begin at one instant, and hand in what they have. It " +
          "merges that exactly and ends with the exit codes of a bench. Without it shard 1 does so, where --rendezvous names its " +
          "own machine.",
      },
    ],
    exitCodes: [
      ["0", "merged and written; each requirement is met"],
      ["1", "it could not begin, or a requirement is not met"],
      ["2", "wrong usage, or the shards did not come together"],
      ["3", "the merged run is invalid or incomplete; it is written"],
      ["130, 143, 129", "interrupted by SIGINT, SIGTERM or SIGHUP: the run ends for all, what was measured is written"],
    ],
    action: async () => (await import("./rendezvous.ts")).rendezvous,
  },
  {
    name: "report",
    summary: "show a result as a table, and write its page",
    takes: [{ name: "R", help: result }],
    flags: async () => (await import("../settings/results.ts")).reportFlags,
    examples: [
      ["fakeai report results/main"],
      ["fakeai report results/main --svg images"],
      ["fakeai report results/main --export csv > measurements.csv", "also jsonl, junit, github, markdown, prometheus"],
    ],
    exitCodes: doneOrNot,
    action: async () => (await import("./report.ts")).report,
  },
  {
    name: "record",
    summary: "write a real server's answers to a tape to replay",
    takes: [],
    flags: async () => (await import("../settings/record.ts")).recordFlags,
    examples: [
      ["fakeai record --to https://api.example.com/v1 --out tape", "then fakeai serve --replay tape"],
      ["fakeai record --to http://127.0.0.1:9000 --out tape --protocol h1,h2c"],
      ["fakeai record --to https://api.example.com/v1 --to-protocol h2 --out tape"],
    ],
    more: async () => [
      {
        heading: "What it does",
        text:
          "Clients ask it in place of the server: calls pass through as they are, and each is written with the time of every event. " +
          "Keys, cookies and other values of headers are never written, but for a list that says nothing of a person; names stay. " +
          "A signal ends it, with what is on the tape on stdout.",
      },
    ],
    exitCodes: startAndStop,
    action: async () => (await import("./record.ts")).record,
  },
  {
    name: "proxy",
    summary: "put a network between clients and a server",
    takes: [],
    flags: async () => (await import("../settings/proxy.ts")).proxyFlags,
    examples: [
      ["fakeai proxy --listen 9000 --to 127.0.0.1:8000 --rtt 40 --jitter 2"],
      ["fakeai proxy --to https://api.example.com --bandwidth 10mbit --stall 1%,40ms"],
      ["fakeai proxy --to 127.0.0.1:8080 --cut-down 'exponential(30s),fin' --seed 7"],
    ],
    more: async () => [
      {
        heading: "What it does",
        text:
          "Every protocol on TCP passes unread: h1, h1s, h2c and h2 alike. Two delays add up. The TCP handshake of a client is " +
          "with the proxy and takes no time; in its place the client's first bytes wait for one round trip. A stall is what a " +
          "lost segment looks like from above TCP: everything behind it on its connection waits too. No congestion window is " +
          "modelled. Equal seeds and byte streams meet equal impairments, connection by connection in the order in which they " +
          "are accepted. A signal ends it, with what it did on stdout.",
      },
      networkValues,
    ],
    exitCodes: startAndStop,
    action: async () => (await import("./proxy.ts")).proxy,
  },
  {
    name: "proxy-config",
    summary: "configure a gateway from HTTP/2 to HTTP/1.1",
    takes: [{ name: "proxy", help: "a gateway that fakeai knows, such as nginx" }],
    flags: async () => (await import("../settings/proxy.ts")).proxyConfigFlags,
    examples: [
      ["fakeai proxy-config nginx > /tmp/nginx.conf && nginx -c /tmp/nginx.conf"],
      ["fakeai proxy-config nginx --to 127.0.0.1:9000 --listen h2c:9080"],
      ["fakeai proxy-config nginx --buffering on --upstream-http 1.0", "nginx's own defaults"],
    ],
    more: async () => [
      {
        heading: "What to do with it",
        text:
          "nginx stays in the foreground until it is ended. It needs no root: ports are above 1023, and what it writes goes " +
          'below --dir. A scenario with "via": "nginx" starts it from the same text.\n' +
          'curl -N --http2-prior-knowledge http://127.0.0.1:9080/v1/chat/completions -d "$BODY" asks through it.',
      },
    ],
    exitCodes: doneOrNot,
    action: async () => (await import("./proxy-config.ts")).proxyConfig,
  },
  {
    name: "gateway",
    summary: "certify gateways: what they add, and what they break",
    takes: [{ name: "action", help: "certify, or list: the gateways that can be started" }],
    flags: async () => (await import("../settings/gateway.ts")).gatewayFlags,
    examples: [
      ["fakeai gateway certify --start nginx --start haproxy:buffering", "installed, from minimal configurations"],
      ["fakeai gateway certify --port 8000 --via mine=http://127.0.0.1:9000", "one that runs, and leads to port 8000"],
      ["fakeai gateway list"],
    ],
    more: async () => [
      {
        heading: "What it does",
        text:
          "A server of ours stands behind each gateway and knows what it sends, when, and who asked. Events are compared one by " +
          "one with what was sent; aborts, errors, stalls and cuts are made and looked for at the other end. Then rates from few " +
          "streams to saturation go direct and through in turns. gateway.json and gateway.html hold the result.",
      },
    ],
    exitCodes: [
      ["0", "no fault was found"],
      ["1", "a fault was found, or the result could not be written"],
      ["2", "wrong usage"],
      ["3", "no gateway could be looked at, or the server behind was not there or ended"],
      ["130, 143, 129", "interrupted by SIGINT, SIGTERM or SIGHUP: what was measured is written and marked incomplete"],
    ],
    action: async () => (await import("./gateway.ts")).gateway,
  },
  {
    name: "audit",
    summary: "hold another tool's figures against the server's records",
    takes: [{ name: "command", help: "after --, the tool and its arguments, such as -- wrk -d 3s {url}", isRepeatable: true }],
    flags: async () => (await import("../settings/audit.ts")).auditFlags,
    examples: [
      ["fakeai audit -- vllm bench serve --base-url {url} --save-result ..."],
      ["fakeai audit -- sh -c 'vegeta attack ... | vegeta report -type json'"],
      ["fakeai audit --map figures.yaml -- python3 my_bench.py", "a tool without a reader"],
    ],
    more: async () => [
      {
        heading: "Placeholders",
        rows: [
          ["{url}, {base}", "the server's origin; the same with /v1. OPENAI_BASE_URL is the second, OPENAI_API_KEY any key"],
          ["{model}", "a name of a model"],
          ["{out}", "a folder of the run's own, for files of the tool; the working directory is looked through too"],
          ["{concurrency}, {rate}", "a load that changes: with one of them there are rungs of rising load"],
          ["{requests}, {seconds}", "how many requests, or how long, go with that load"],
        ],
      },
    ],
    exitCodes: [
      ["0", "no figure is biased, and one at least is right"],
      ["1", "a figure is biased"],
      ["2", "wrong usage, or a command that cannot be started"],
      ["3", "nothing could be audited: no request came, or no figure could be decided"],
      ["130, 143, 129", "interrupted by SIGINT, SIGTERM or SIGHUP: the rungs that were over are judged and written"],
    ],
    action: async () => (await import("./audit.ts")).audit,
  },
  {
    name: "doctor",
    summary: "show what is installed, and what that enables",
    takes: [],
    flags: async () => [],
    examples: [["fakeai doctor"]],
    exitCodes: doneOrNot,
    action: async () => (await import("./doctor.ts")).doctor,
  },
];

/** Throws UsageError where there is none of that name. */
export async function commandNamed(name: string): Promise<Command> {
  const found = commands.find((command) => command.name === name);
  if (found !== undefined) return found;
  const { guessAtCommand } = await import("./typos.ts");
  const names = [...commands.map((command) => command.name), "--help", "--version"];
  const meant = guessAtCommand(name, names);
  const what = name.startsWith("-") ? "option" : "command";
  throw new UsageError(`unknown ${what} ${name.slice(0, 60)}${meant === "" ? " (see fakeai --help)" : meant}`);
}
