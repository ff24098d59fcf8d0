/** The measurements of fakeai itself: what each tells, what it takes, and how it is started. */
import { rows } from "./speed/rows.ts";
import { engineNames } from "../test/listeners/fuzz/target.ts";
import { courtScenarios } from "./pages/court.ts";
import { audited } from "./tools/audited.ts";
import { tools } from "./tools/tools.ts";

/** An argument that is no flag. */
interface Argument {
  readonly name: string;
  readonly help: string;
  /** Nothing else is accepted. Default: any text. */
  readonly choices?: readonly string[];
  readonly isRequired?: boolean;
  /** As many as are wanted. */
  readonly isRepeatable?: boolean;
}

interface Flag {
  /** With its dashes. */
  readonly name: string;
  /** Placeholder of its value; without one it takes none. */
  readonly takes?: string;
  /** With its default. */
  readonly help: string;
}

export interface Measurement {
  /** What it measures, in one line. */
  readonly what: string;
  /** The file that node runs, from this folder. It reads its arguments from `process.argv`. */
  readonly module: string;
  /** It runs `dist/cli.js`, which is compiled first. */
  readonly needsBuild: boolean;
  /** Flags of node itself. */
  readonly nodeFlags?: readonly string[];
  /** How long the whole of it takes. */
  readonly takes: string;
  /** Where its figures go. */
  readonly writes: string;
  /** Checked before it starts, and handed to it as they were given. */
  readonly arguments?: readonly Argument[];
  readonly flags?: readonly Flag[];
}

export const measurements: Readonly<Record<string, Measurement>> = {
  speed: {
    what: "CPU per token, answers/s, lateness, memory: beside raw engines, a C loop and other fake servers",
    module: "speed/run.ts",
    needsBuild: true,
    takes: "an hour for all rows; two idle cores",
    writes: "results/speed",
    arguments: [{ name: "row", help: `rows, or how they begin: ${rows.map(({ id }) => id).join(", ")}`, isRepeatable: true }],
    flags: [
      { name: "--rounds", takes: "n", help: "rounds of each row (default 15)" },
      { name: "--beside", takes: "file", help: "paced, unpaced and unary rows beside another build: the path of its dist/cli.js" },
      {
        name: "--peers",
        help: "beside other fake servers too: those of `npm install --prefix bench/speed/peers`, and llmposter, llmsim, vidaimock, llm-d on the PATH or in bench/speed/peers/bin",
      },
    ],
  },
  where: {
    what: "where the CPU time of a row of `speed` goes, by V8's sampling profiler",
    module: "speed/where.ts",
    needsBuild: true,
    takes: "20 s a row; two idle cores",
    writes: "stdout",
    arguments: [
      {
        name: "row",
        help: "a paced, unpaced or unary row of `speed`",
        choices: rows.filter(({ kind }) => kind === "paced" || kind === "whole").map(({ id }) => id),
        isRequired: true,
        isRepeatable: true,
      },
    ],
  },
  micro: {
    what: "nanoseconds and heap bytes per token in our own code, without a socket",
    module: "micro.ts",
    needsBuild: false,
    nodeFlags: ["--expose-gc", "--max-semi-space-size=128"],
    takes: "20 s",
    writes: "stdout",
  },
  starts: {
    what: "how long 100 servers in one process take to start and to give their first answer, one after the other",
    module: "starts.ts",
    needsBuild: true,
    takes: "20 s",
    writes: "stdout",
  },
  pacing: {
    what: "how well the schedule is kept, by the server's stamps and by a client's own clock; CPU time per token",
    module: "pacing.ts",
    needsBuild: true,
    takes: "three minutes",
    writes: "stdout",
    arguments: [{ name: "protocol", help: "rows of one protocol, or of one API", choices: ["h1", "h2c", "ws", "chat", "responses"] }],
  },
  soak: {
    what: "1,000 streams with aborts, stalls, faults, and workers that die: all accounted for, nothing left, pacing kept",
    module: "soak/run.ts",
    needsBuild: true,
    takes: "14 minutes",
    writes: "results/soak",
    flags: [
      { name: "--minutes", takes: "n", help: "length, after a warm-up of up to four minutes (default 10)" },
      { name: "--streams", takes: "n", help: "streams at any time, a multiple of 4, of 7 with workers (default 1000, 1050)" },
      { name: "--h2-engine", takes: "engine", help: "of HTTP/2 without workers, node or own; workers have both (default node)" },
      {
        name: "--workers",
        takes: "n",
        help: "two servers of so many workers each; pacing is shown, not judged (default: one of one process)",
      },
      { name: "--kill-every", takes: "minutes", help: "with workers: between two kills of one; 0: never (default 5)" },
      { name: "--pause", takes: "s", help: "with workers: how long one, and a whole server, is stopped between; 0: never (default 2)" },
      { name: "--seed", takes: "n", help: "decides what each stream does (default 1)" },
      { name: "--output", takes: "folder", help: "where the figures go (default results/soak)" },
    ],
  },
  attacks: {
    what: "each attack of the listeners' table alone: what the server keeps, what other clients notice",
    module: "attacks.ts",
    needsBuild: false,
    takes: "20 minutes",
    writes: "results/attacks, and nowhere when single cases are named",
    arguments: [{ name: "batch", help: "how batches begin (h2c, h1-node), or single cases in them (h2/rapid_reset)", isRepeatable: true }],
    flags: [{ name: "--again", help: "the page of the figures that are there" }],
  },
  interop: {
    what: "clients of HTTP/2 that others wrote (Go, Rust, Python) against both engines: streams, trailers, aborts",
    module: "interop.ts",
    needsBuild: false,
    takes: "two minutes with their builds; go, cargo, a Python with httpx[http2]",
    writes: "results/clients",
    flags: [{ name: "--python", takes: "program", help: "a Python that has httpx and h2 (default python3)" }],
  },
  h2spec: {
    what: "h2spec's cases against fakeai, beside a bare node:http2 server",
    module: "h2spec.ts",
    needsBuild: false,
    takes: "fifteen minutes; h2spec on the PATH or in GOBIN",
    writes: "results/h2spec",
    flags: [{ name: "--rounds", takes: "n", help: "rounds of each server, protocol and mode (default 3)" }],
  },
  sessions: {
    what: "sessions of HTTP/2 at random, valid and not, that end: whether the server still counts anything of them",
    module: "sessions.ts",
    needsBuild: false,
    takes: "six minutes",
    writes: "stdout",
    flags: [
      { name: "--sessions", takes: "n", help: "sessions of each protocol (default 10000)" },
      { name: "--seed", takes: "n", help: "the first session's; each next has the next (default: any)" },
    ],
  },
  fuzz: {
    what: "a seeded search for requests that hold up others: what a neighbour notices of thousands of hostile ones",
    module: "fuzz.ts",
    needsBuild: true,
    takes: "half an hour for all engines",
    writes: "results/attacks, and nowhere with --only or fewer --cases",
    arguments: [{ name: "engine", help: "one engine", choices: engineNames.map(({ name }) => name), isRepeatable: true }],
    flags: [
      { name: "--seed", takes: "n", help: "decides every request (default 1)" },
      { name: "--cases", takes: "n", help: "cases for each engine (default: 5,000 and more, 200 and more for each endpoint)" },
      { name: "--only", takes: "n", help: "the case of this number alone, or those of a range, as 7-20" },
      { name: "--max-body", takes: "mb", help: "largest body, in 1,048,576 bytes (default 4, as the server's)" },
      { name: "--delay", takes: "ms", help: "how long one request may hold up a neighbour (default 25)" },
      { name: "--rss", takes: "mb", help: "how much one request may make the process grow, in 1,000,000 bytes (default 64)" },
      { name: "--table", help: "no search: the requests that once held up others, on the engines named (default h1-uws, h1-node, h2c)" },
      { name: "--tries", takes: "n", help: "with --table: how often each is made (default 10)" },
    ],
  },
  proxy: {
    what: "`fakeai proxy` with 10,000 connections, and at 1 Gbit/s over 40 ms: lateness, memory, fairness",
    module: "proxy.ts",
    needsBuild: true,
    takes: "two minutes; idle cores",
    writes: "results/proxy",
  },
  planted: {
    what: "whether planted faults of a gateway and 0.5 ms are found by `fakeai gateway certify`, and a plain proxy is cleared",
    module: "planted.ts",
    needsBuild: true,
    takes: "twelve minutes; two idle cores",
    writes: "results/gateways/planted.json",
    flags: [
      { name: "--runs", takes: "n", help: "of each (default 10)" },
      { name: "--part", takes: "name", help: "checks or delay (default both)" },
      { name: "--append", help: "to the runs that are there" },
    ],
  },
  loss: {
    what: "token streams over HTTP/1.1, 2 and 3 on a path where the system drops packets; set-up and CPU per token beside",
    module: "loss.ts",
    needsBuild: true,
    takes: "seven minutes; root, unshare, iptables, and @currentspace/http3; idle cores",
    writes: "results/h3",
    flags: [
      { name: "--rounds", takes: "n", help: "rounds of each arm and loss (default 8)" },
      { name: "--streams", takes: "n", help: "streams at a time (default 50)" },
      { name: "--tokens", takes: "n", help: "tokens of each (default 60)" },
      { name: "--itl", takes: "ms", help: "planned gap between two tokens (default 20)" },
      { name: "--loss", takes: "percents", help: "packets that are lost (default 0,1,2)" },
      { name: "--arms", takes: "names", help: "of h1s, h2, h2-6 and h3 (default: all)" },
      { name: "--out", takes: "folder", help: "where figures go (default results/h3)" },
      { name: "--again", help: "the table of the figures that are there" },
    ],
  },
  court: {
    what: "what is claimed of WebSocket for agents: the scenarios court*, the bytes of four arms by packets, and a verdict of each claim",
    module: "court.ts",
    needsBuild: true,
    takes: "20 minutes; root and tcpdump for the packets; two idle cores",
    writes: "results/court",
    arguments: [{ name: "part", help: "which (default all)", choices: [...courtScenarios, "packets"], isRepeatable: true }],
    flags: [
      { name: "--rounds", takes: "n", help: "rounds of each arm (default 4)" },
      { name: "--out", takes: "folder", help: "where figures go (default results/court)" },
      { name: "--keep-disturbed", help: "rounds that other processes disturbed count too" },
      { name: "--again", help: "claims and page from the files that are there" },
    ],
  },
  balance: {
    what: "HTTP/2 and HTTP/1.1 behind a balancer of connections, as a Kubernetes Service is: which of three servers gets what",
    module: "balance.ts",
    needsBuild: true,
    takes: "two minutes; root, unshare and iptables",
    writes: "results/distributed",
    flags: [
      { name: "--rounds", takes: "n", help: "rounds of each row (default 5)" },
      { name: "--only", takes: "row", help: "one row: h1, h2c-1, h2c-3, h2c-12 or h2c-hosts" },
      { name: "--out", takes: "dir", help: "where it goes (default results/distributed)" },
    ],
  },
  rendezvous: {
    what: "the meeting point of a load of many shards: time to meet, CPU, memory, and merging what they hand in",
    module: "rendezvous.ts",
    needsBuild: true,
    takes: "two minutes",
    writes: "stdout",
    arguments: [{ name: "shards", help: "how many (default 100 and 1000)", isRepeatable: true }],
    flags: [{ name: "--rounds", takes: "n", help: "rounds, each a barrier and its end (default 20)" }],
  },
  disconnect: {
    what: "clients that leave at a random token: what they read, what was sent, how soon it is noticed",
    module: "disconnect.ts",
    needsBuild: false,
    takes: "two minutes",
    writes: "results/disconnect, and nowhere when a protocol is named",
    arguments: [{ name: "protocol", help: "rows of one protocol", choices: ["h1", "h1s", "h2c", "h2"] }],
  },
  clients: {
    what: "what real client libraries make of each fault: error class, requests, time",
    module: "clients.ts",
    needsBuild: false,
    takes: "three minutes",
    writes: "stdout",
    arguments: [{ name: "fault", help: "faults as in the table's first column; h1, h2: all of a protocol", isRepeatable: true }],
  },
  tools: {
    what: "load tools of others, unchanged: what each reports beside the server's own log of the same requests",
    module: "tools/run.ts",
    needsBuild: true,
    takes: "ten minutes for all; a tool that is not on the PATH is left out",
    writes: "stdout",
    arguments: [{ name: "tool", help: "tools by name", choices: tools.map(({ name }) => name), isRepeatable: true }],
  },
  audits: {
    what: "ten whole audits of a client that reports its ITL 3% low, and ten of an honest one: caught, and cleared",
    module: "audits.ts",
    needsBuild: true,
    takes: "four minutes",
    writes: "results/audits/liar.json",
  },
  audited: {
    what: "audits of other benchmarks by `fakeai audit`: those that are on the PATH",
    module: "audited.ts",
    needsBuild: true,
    takes: "four minutes a tool; two idle cores",
    writes: "results/audits",
    arguments: [{ name: "tool", help: "which (default all)", choices: Object.keys(audited), isRepeatable: true }],
    flags: [
      { name: "--budget", takes: "s", help: "of each audit (default 200)" },
      { name: "--rungs", takes: "list", help: "rungs of each audit" },
      { name: "--tokenizer", takes: "folder", help: "what bench/tools/tokenizer.py has written; three of the tools need one" },
    ],
  },
  profiles: {
    what: "bytes and time per token of each wire profile",
    module: "profiles.ts",
    needsBuild: true,
    takes: "two minutes",
    writes: "stdout",
  },
  loader: {
    what: "how many streams one loader process can read before its own figures are off",
    module: "loader.ts",
    needsBuild: true,
    takes: "three minutes",
    writes: "stdout",
    arguments: [{ name: "protocol", help: "one protocol", choices: ["h1", "h2c"] }],
  },
  saturation: {
    what: "the batched scheduler under more and more clients, and how well --latency-from imitates it",
    module: "saturation.ts",
    needsBuild: true,
    takes: "five minutes",
    writes: "stdout",
    arguments: [{ name: "part", help: "the imitation alone", choices: ["imitation"] }],
  },
  pairs: {
    what: "verdicts of whole `fakeai bench` runs on arms that are equal, or of which one is 5% slower",
    module: "pairs.ts",
    needsBuild: true,
    takes: "half a minute a pair",
    writes: "test/fixtures/pairs.json, which a test replays",
    arguments: [
      { name: "kind", help: "what the arms are", choices: ["equal", "slower"], isRequired: true },
      { name: "first-last", help: "numbers of the pairs, as 1-20", isRequired: true },
    ],
  },
  replay: {
    what: "two servers of others, recorded and replayed: gaps between events by packets and by a client's reads, on every protocol",
    module: "replay/run.ts",
    needsBuild: true,
    takes: "two minutes, after `npm install --prefix bench/speed/peers`; packets where tcpdump may capture",
    writes: "results/replay, and nowhere with --dry",
    flags: [{ name: "--dry", help: "print the page only" }],
  },
  nodes: {
    what: "not a measurement: the tests of the HTTP surface under Node 22 and 24",
    module: "../test/nodes.ts",
    needsBuild: true,
    takes: "a minute",
    writes: "stdout",
    flags: [{ name: "--debian13", help: "on Debian 13 instead, where @uwsjs/core loads: Node 24 and 26; needs root and debootstrap" }],
  },
};
