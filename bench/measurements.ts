/** The measurements of fakeai itself: what each tells, what it takes, and how it is started. */
import { Argument, type Command } from "commander";
import { rows } from "./speed/rows.ts";

export interface Measurement {
  /** What it measures, in one line. */
  readonly what: string;
  /** The file that node runs, from this folder. It reads its arguments from `process.argv`. */
  readonly module: string;
  /** It runs `dist/cli.js`, which is compiled first. */
  readonly needsBuild: boolean;
  /** Flags of node itself. */
  readonly nodeFlags?: readonly string[];
  /** How long the whole of it takes, and where the figures go. */
  readonly takes: string;
  readonly writes: string;
  /** Declares its arguments. They are checked before it starts, and handed to it as they were given. */
  readonly declare?: (command: Command) => void;
}

/** Arguments of which each is one of `choices`; none: all of them. */
function oneOf(name: string, description: string, choices: readonly string[]): (command: Command) => void {
  return (command) => void command.addArgument(new Argument(name, description).choices(choices));
}

export const measurements: Readonly<Record<string, Measurement>> = {
  speed: {
    what: "CPU per token, answers/s, lateness, memory: beside raw engines, a C loop and other fake servers",
    module: "speed/run.ts",
    needsBuild: true,
    takes: "an hour for all rows; two idle cores",
    writes: "results/speed",
    declare: (command) =>
      command
        .argument("[row...]", `names of rows or how they begin: ${rows.map(({ id }) => id).join(", ")}`)
        .option("--rounds <n>", "rounds of each row", "15")
        .option("--peers", "beside other fake servers too, after `npm install --prefix bench/speed/peers`"),
  },
  where: {
    what: "where the CPU time of a row of `speed` goes, by V8's sampling profiler",
    module: "speed/where.ts",
    needsBuild: true,
    takes: "20 s a row; two idle cores",
    writes: "stdout",
    declare: oneOf(
      "<row...>",
      "paced, unpaced and unary rows of `speed`",
      rows.filter(({ kind }) => kind === "paced" || kind === "whole").map(({ id }) => id),
    ),
  },
  micro: {
    what: "nanoseconds and heap bytes per token in our own code, without a socket",
    module: "micro.ts",
    needsBuild: false,
    nodeFlags: ["--expose-gc", "--max-semi-space-size=128"],
    takes: "20 s",
    writes: "stdout",
  },
  pacing: {
    what: "how well the schedule is kept, by the server's stamps and by a client's own clock",
    module: "pacing.ts",
    needsBuild: true,
    takes: "two minutes",
    writes: "stdout",
    declare: oneOf("[protocol]", "rows of one protocol", ["h1", "h2c"]),
  },
  soak: {
    what: "1,000 streams with aborts, stalls and faults: all accounted for, nothing left, pacing kept",
    module: "soak/run.ts",
    needsBuild: false,
    takes: "14 minutes",
    writes: "results/soak",
    declare: (command) =>
      command
        .option("--minutes <n>", "length, after a warm-up of up to four minutes", "10")
        .option("--streams <n>", "streams at any time, a multiple of 4", "1000")
        .option("--seed <n>", "decides what each stream does", "1")
        .option("--output <folder>", "where the figures go", "results/soak"),
  },
  attacks: {
    what: "each attack of the listeners' table alone: what the server keeps, what other clients notice",
    module: "attacks.ts",
    needsBuild: false,
    takes: "20 minutes",
    writes: "results/attacks; nothing where single cases are named",
    declare: (command) => command.argument("[batch...]", "how batches begin (h2c, h1-node), or single cases in them (h2/rapid_reset)"),
  },
  disconnect: {
    what: "clients that leave at a random token: what they read, what was sent, how soon it is noticed",
    module: "disconnect.ts",
    needsBuild: false,
    takes: "two minutes",
    writes: "results/disconnect; nothing where a protocol is named",
    declare: oneOf("[protocol]", "rows of one protocol", ["h1", "h1s", "h2c", "h2"]),
  },
  clients: {
    what: "what real client libraries make of each fault: error class, requests, time",
    module: "clients.ts",
    needsBuild: false,
    takes: "three minutes",
    writes: "stdout",
    declare: (command) => command.argument("[fault...]", "faults as in the first column of the table, or h1 and h2 for all of a protocol"),
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
    declare: oneOf("[protocol]", "one protocol", ["h1", "h2c"]),
  },
  saturation: {
    what: "the batched scheduler under more and more clients, and how well --latency-from imitates it",
    module: "saturation.ts",
    needsBuild: true,
    takes: "five minutes",
    writes: "stdout",
    declare: oneOf("[part]", "the imitation alone", ["imitation"]),
  },
  pairs: {
    what: "verdicts of whole `fakeai bench` runs on arms that are equal, or of which one is 5% slower",
    module: "pairs.ts",
    needsBuild: true,
    takes: "half a minute a pair",
    writes: "test/fixtures/pairs.json, which a test replays",
    declare: (command) =>
      command
        .addArgument(new Argument("<kind>", "what the arms are").choices(["equal", "slower"]))
        .argument("<first-last>", "numbers of the pairs, as 1-20"),
  },
  nodes: {
    what: "not a measurement: the tests of the HTTP surface under Node 22 and 24",
    module: "../test/nodes.ts",
    needsBuild: true,
    takes: "a minute",
    writes: "stdout",
  },
};
