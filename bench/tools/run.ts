/**
 * Load tools of others, unchanged, against `fakeai serve`: what each reports beside what the server's own stream log says of the
 * same requests. The log has, for each token, the moment at which the server handed it to the transport.
 *
 * A tool that is not on the PATH is left out, with a line that says how to install it.
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { StreamRecord } from "../../src/base/parent-channel.ts";
import { startServerChild } from "../../src/runner/processes/target.ts";
import { table } from "../support/page.ts";
import { ascending, mean, quantile, spread } from "../support/statistics.ts";
import { type Metric, outputTokens, type Reading, type Statistic, type Target, type Tool, type ToolProtocol, tools } from "./tools.ts";

const rounds = 3;
const ttftMs = 100;
const itlMs = 20;
/** A tool that takes longer for one run hangs. */
const runTimeoutMs = 240_000;

const { positionals } = parseArgs({ allowPositionals: true });
const folder = mkdtempSync(join(tmpdir(), "fakeai-tools-"));
process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
const bodyPath = join(folder, "body.json");
writeFileSync(
  bodyPath,
  JSON.stringify({ model: "m", stream: true, max_tokens: outputTokens, messages: [{ role: "user", content: "Hello" }] }),
);

/** The file of a program on the PATH; null: there is none. */
function programPath(program: string): string | null {
  const { status, stdout } = spawnSync("/bin/sh", ["-c", 'command -v "$1"', "sh", program], { encoding: "utf8" });
  return status === 0 ? stdout.trim() : null;
}

interface Ran {
  readonly stdout: string;
  readonly status: number | null;
  readonly stderr: string;
}

function run([command, ...args]: readonly string[]): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(command!, args, { env: { ...process.env, FAKEAI_BODY: bodyPath }, timeout: runTimeoutMs });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    child.once("error", reject);
    child.once("close", (status) => resolve({ stdout, stderr, status }));
  });
}

/** What the log says: of the answers that went out whole. null: the log does not have it. */
function logged(streams: readonly StreamRecord[], metric: Metric, statistic: Statistic): number | null {
  const whole = streams.filter(({ planned, sentUs }) => sentUs.length === planned);
  if (whole.length === 0 || metric === "readDelayMs") return null;
  const lastUs = ({ sentUs }: StreamRecord): number => sentUs.at(-1)!;
  if (metric === "requestsPerSecond") {
    const fromUs = Math.min(...whole.map(({ receivedUs }) => receivedUs));
    const toUs = Math.max(...whole.map((stream) => stream.receivedUs + lastUs(stream)));
    return (whole.length / (toUs - fromUs)) * 1e6;
  }
  const valuesUs = whole.map((stream) => {
    const firstUs = stream.sentUs[0]!;
    if (metric === "ttftMs") return firstUs;
    return metric === "e2eMs" ? lastUs(stream) : (lastUs(stream) - firstUs) / (stream.planned - 1);
  });
  if (statistic === "mean") return mean(valuesUs) / 1000;
  return quantile(ascending(valuesUs), statistic === "p50" ? 0.5 : 0.99) / 1000;
}

interface Compared extends Reading {
  readonly log: number | null;
}

/** One run of a tool on a server of its own. */
async function measure(tool: Tool, program: string, protocol: ToolProtocol, engine: "uws" | "node"): Promise<Compared[]> {
  const server = await startServerChild({
    protocols: [protocol],
    engine,
    ttft: ttftMs,
    itl: itlMs,
    outputTokens,
    maxConcurrentStreams: 256,
    seed: 1,
    cpu: null,
  });
  try {
    const filesOfTool = mkdtempSync(join(folder, `${tool.name}-`));
    const target: Target = { protocol, url: `${server.origins[protocol]!}/v1/chat/completions`, bodyPath, folder: filesOfTool };
    await server.ask({ ask: "record", knobs: {} });
    const { stdout, stderr, status } = await run(tool.command(target).map((word) => word.replaceAll("{program}", program)));
    const log = await server.ask({ ask: "recorded" });
    if (log === null) throw new Error("the server did not answer");
    const said = `exit ${status}: ${stderr.trim().slice(-300) || stdout.trim().slice(-300)}`;
    let readings: readonly Reading[];
    try {
      readings = tool.read(stdout, target);
    } catch (error) {
      throw new Error(`${(error as Error).message} (${said})`, { cause: error });
    }
    return readings.map(({ metric, statistic, value, name }) => {
      return { metric, statistic, value, name, log: logged(log.streams, metric, statistic) };
    });
  } finally {
    await server.close();
  }
}

const digits = (metric: Metric): number => (metric === "requestsPerSecond" ? 2 : 1);

/** The rows of a tool on one protocol and engine: each figure over all rounds. */
async function rowsOf(tool: Tool, program: string, protocol: ToolProtocol, engine: "uws" | "node"): Promise<string[][]> {
  const all: Compared[][] = [];
  for (let round = 0; round < rounds; round++) all.push(await measure(tool, program, protocol, engine));
  return all[0]!.map(({ metric, statistic, name }, index) => {
    const of = all.map((readings) => readings[index]!);
    const show = (values: readonly number[]): string => spread(values, digits(metric));
    const known = of.flatMap(({ value, log }) => (log === null ? [] : [{ value, log }]));
    const figure = metric === "requestsPerSecond" ? metric : `${metric} ${statistic}`;
    return [
      tool.name,
      protocol === "h1" ? `h1 ${engine}` : protocol,
      `${figure}: ${name}`,
      show(of.map(({ value }) => value)),
      known.length === 0 ? "" : show(known.map(({ log }) => log)),
      known.length === 0 ? "" : show(known.map(({ value, log }) => value - log)),
    ];
  });
}

const wanted = positionals.length === 0 ? tools : tools.filter(({ name }) => positionals.includes(name));
/** Processes that wanted a core, over the minute before. */
const loadBefore = loadavg()[0]!.toFixed(1);
const rows: string[][] = [];
const notes: string[] = [];
for (const tool of wanted) {
  const program = programPath(tool.program);
  const version = program === null ? null : spawnSync(program, tool.version, { encoding: "utf8" });
  if (program === null || (tool.program === "python3" && version?.status !== 0)) {
    console.log(`${tool.name}: left out, it is not on the PATH (${tool.install})`);
    continue;
  }
  if (tool.version.length > 0) notes.push(`${tool.name}: ${(version!.stdout || version!.stderr).trim().split("\n")[0]!}`);
  for (const protocol of tool.protocols) {
    const engines = protocol === "h1" ? (tool.engines ?? (["uws", "node"] as const)) : (["node"] as const);
    for (const engine of engines) {
      try {
        const measured = await rowsOf(tool, program, protocol, engine);
        rows.push(...measured);
        for (const row of measured) console.error(row.join(" | "));
      } catch (error) {
        process.exitCode = 1;
        console.log(`${tool.name} on ${protocol}, engine ${engine}: ${(error as Error).message}`);
      }
    }
  }
}
if (rows.length > 0) {
  console.log(`\n${notes.join("\n")}\n`);
  console.log(
    `TTFT ${ttftMs} ms, ITL ${itlMs} ms, ${outputTokens} tokens; ${rounds} rounds, each with a server of its own: median (least to greatest)\nLoad average before: ${loadBefore}\n`,
  );
  console.log(table(["tool", "protocol", "figure", "the tool says", "the server's log", "difference"], rows, 3));
}
