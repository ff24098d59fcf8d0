/**
 * Record and replay beside two servers of others: the times of a stream's events as the server sent them to the recorder, and as
 * `fakeai serve --replay` sends them to a client, both by packets on the loopback interface; the same by reads of a client, on every
 * protocol; and whether the bytes are the same.
 *
 * Streams follow one another. Events that left within a millisecond are one burst: which packets they share is a matter of the kernel.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { spawnSync } from "node:child_process";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describeEnvironment } from "../../src/runner/processes/machine.ts";
import { bytesOf, type TapeCall } from "../../src/tape/form.ts";
import { table, writtenBy } from "../support/page.ts";
import { cliPath, endOf, spawnOnCore, startNode } from "../support/server.ts";
import { ascending, quantile } from "../support/statistics.ts";
import { answersOf, canCapture, capture } from "./capture.ts";

const streams = 10;
/** Events within so many milliseconds are one burst. */
const burstMs = 1;
const root = fileURLToPath(new URL("../../", import.meta.url));
const modules = `${root}bench/speed/peers/node_modules/`;
const folder = mkdtempSync(join(tmpdir(), "fakeai-replay-"));

interface Stranger {
  readonly name: string;
  readonly version: string;
  readonly args: (port: number) => readonly string[];
}

const words = " word".repeat(40);

function file(name: string, text: string): string {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
}

function binOf(name: string, bin: string): { readonly path: string; readonly version: string } {
  const { bin: bins, version } = JSON.parse(readFileSync(`${modules}${name}/package.json`, "utf8")) as {
    bin: Record<string, string>;
    version: string;
  };
  return { path: `${modules}${name}/${bins[bin]!}`, version };
}

function strangers(): Stranger[] {
  const aimock = binOf("@copilotkit/aimock", "llmock");
  const mock = binOf("@dwmkerr/mock-llm", "mock-llm");
  const streamingProfile = { ttft: 80, tps: 60, jitter: 0.6 };
  const fixtures = file(
    "aimock.json",
    JSON.stringify({ fixtures: [{ match: { userMessage: "hi" }, response: { content: words }, streamingProfile }] }),
  );
  const answer = {
    id: "chatcmpl-1",
    object: "chat.completion",
    created: 1,
    model: "m",
    choices: [{ index: 0, message: { role: "assistant", content: words }, finish_reason: "stop" }],
  };
  const config = file(
    "mock-llm.yaml",
    `streaming:\n  chunkSize: 5\n  chunkIntervalMs: 25\nrules:\n  - path: "/v1/chat/completions"\n    match: "@"\n    response:\n      status: 200\n      content: '${JSON.stringify(answer)}'\n`,
  );
  return [
    {
      name: "aimock",
      version: aimock.version,
      args: (port) => [aimock.path, "-p", String(port), "-f", fixtures, "-c", "5", "--log-level", "silent"],
    },
    { name: "mock-llm", version: mock.version, args: () => [mock.path, "--config", config] },
  ];
}

interface Read {
  readonly body: Buffer;
  /** Bytes of the body up to each read, and its time: milliseconds from the request. */
  readonly reads: readonly { readonly bytes: number; readonly atMs: number }[];
}

type Protocol = "h1" | "h1s" | "h2c" | "h2";
const protocols: readonly Protocol[] = ["h1", "h1s", "h2c", "h2"];

/** One stream, on a connection of its own. */
function ask(origin: string, protocol: Protocol, body: string, ca: string | undefined): Promise<Read> {
  const parts: Buffer[] = [];
  const reads: { bytes: number; atMs: number }[] = [];
  let startMs = 0;
  const read = (bytes: Buffer): void => {
    reads.push({ bytes: (reads.at(-1)?.bytes ?? 0) + bytes.length, atMs: performance.now() - startMs });
    parts.push(bytes);
  };
  return new Promise((resolve, reject) => {
    const done = (): void => resolve({ body: Buffer.concat(parts), reads });
    if (protocol === "h1" || protocol === "h1s") {
      const module = protocol === "h1" ? http : https;
      const agent = new module.Agent({ keepAlive: false });
      const request = module.request(
        `${origin}/v1/chat/completions`,
        {
          method: "POST",
          agent,
          headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body) },
          ...(ca === undefined ? {} : { ca }),
        },
        (response) => {
          response.on("data", read);
          response.on("end", done);
        },
      );
      request.on("socket", (socket) => socket.once(protocol === "h1" ? "connect" : "secureConnect", () => (startMs = performance.now())));
      request.on("error", reject);
      request.end(body);
      return;
    }
    const session = http2.connect(origin, ca === undefined ? {} : { ca });
    session.on("error", reject);
    session.on("connect", () => {
      startMs = performance.now();
      const stream = session.request({ ":method": "POST", ":path": "/v1/chat/completions", "content-type": "application/json" });
      stream.on("data", read);
      stream.on("end", () => {
        session.close();
        done();
      });
      stream.end(body);
    });
  });
}

/** Times of bursts: those that follow within a millisecond belong to the one before. */
function bursts(atMs: readonly number[]): number[] {
  const found: number[] = [];
  for (const at of atMs) if (found.length === 0 || at - found.at(-1)! > burstMs) found.push(at);
  return found;
}

interface Comparison {
  readonly compared: number;
  readonly left: number;
  /** Milliseconds by which an event came later than in the recording; sorted. */
  readonly lateMs: readonly number[];
  /** Milliseconds by which a gap between two bursts differs, without its sign; sorted. */
  readonly gapMs: readonly number[];
}

/** Streams with the same number of bursts, one beside the other. */
function compare(recorded: readonly (readonly number[])[], replayed: readonly (readonly number[])[]): Comparison {
  const lateMs: number[] = [];
  const gapMs: number[] = [];
  let compared = 0;
  recorded.forEach((one, index) => {
    const [before, after] = [bursts(one), bursts(replayed[index] ?? [])];
    if (before.length !== after.length || before.length < 2) return;
    compared++;
    before.forEach((at, burst) => {
      lateMs.push(after[burst]! - at);
      if (burst > 0) gapMs.push(Math.abs(after[burst]! - after[burst - 1]! - (at - before[burst - 1]!)));
    });
  });
  return { compared, left: recorded.length - compared, lateMs: ascending(lateMs), gapMs: ascending(gapMs) };
}

/** The events of a call as the tape has them: those that came together are one, with the bytes up to its end. */
interface Taped {
  readonly body: Buffer;
  readonly events: readonly { readonly atMs: number; readonly endsAt: number }[];
}

/** When a client had read each event of a call. */
function eventTimes({ events }: Taped, { reads }: Read): number[] {
  return events.map(({ endsAt }) => reads.find(({ bytes }) => bytes >= endsAt)!.atMs);
}

/** Events of all streams, each beside its recorded time. */
function compareReads(calls: readonly Taped[], answers: readonly Read[]): Comparison {
  const lateMs: number[] = [];
  const gapMs: number[] = [];
  calls.forEach((call, index) => {
    const times = eventTimes(call, answers[index]!);
    call.events.forEach(({ atMs }, event) => {
      lateMs.push(times[event]! - atMs);
      if (event > 0) gapMs.push(Math.abs(times[event]! - times[event - 1]! - (atMs - call.events[event - 1]!.atMs)));
    });
  });
  return { compared: calls.length, left: 0, lateMs: ascending(lateMs), gapMs: ascending(gapMs) };
}

function taped(tape: string): Taped[] {
  const calls = readFileSync(join(tape, "tape.jsonl"), "utf8")
    .trim()
    .split("\n")
    .slice(1)
    .map((line) => JSON.parse(line) as TapeCall)
    .sort((one, other) => one.call - other.call);
  return calls.map(({ response }) => {
    const events: { atMs: number; endsAt: number }[] = [];
    let endsAt = 0;
    for (const piece of response.pieces) {
      endsAt += bytesOf(piece).length;
      if (events.at(-1)?.atMs === piece.us / 1000) events.pop();
      events.push({ atMs: piece.us / 1000, endsAt });
    }
    return { body: Buffer.concat(response.pieces.map(bytesOf)), events };
  });
}

const bodyOf = (index: number): string =>
  JSON.stringify({ model: "m", stream: true, user: `u${index}`, messages: [{ role: "user", content: "hi" }] });
const digits = (value: number | undefined): string => (value === undefined ? "none" : value.toFixed(2));

interface Row {
  readonly server: string;
  readonly against: string;
  readonly protocol: Protocol;
  readonly comparison: Comparison;
  readonly meanGapMs: number;
}

async function measure({
  name,
  version,
  args,
}: Stranger): Promise<{ readonly rows: Row[]; readonly sameBytes: number; readonly events: number }> {
  const port = 20_000 + Math.floor(Math.random() * 20_000);
  const child = spawnOnCore([process.execPath, ...args(port)], "ignore", { core: null, env: { PORT: String(port), HOST: "127.0.0.1" } });
  const server = endOf(child);
  const tape = join(folder, name);
  try {
    for (let tries = 0; ; tries++) {
      const isThere = await ask(`http://127.0.0.1:${port}`, "h1", bodyOf(0), undefined).then(
        ({ body }) => body.length > 0,
        () => false,
      );
      if (isThere) break;
      if (tries === 100) throw new Error(`${name} did not answer`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const recorder = await startNode(
      "record",
      [cliPath, "record", "--json", "--to", `http://127.0.0.1:${port}`, "--out", tape, "--port", "0"],
      { core: null },
    );
    const recorderUrl = (JSON.parse(recorder.line) as { listening: { url: string }[] }).listening[0]!.url;
    const recording = canCapture ? await capture(port) : null;
    const passed: Read[] = [];
    for (let index = 0; index < streams; index++) passed.push(await ask(recorderUrl, "h1", bodyOf(index), undefined));
    const recordedPackets = recording === null ? null : await recording.stop();
    process.kill(recorder.pid, "SIGTERM");
    await recorder.ended;
    const calls = taped(tape);
    const replay = await startNode(
      "replay",
      [cliPath, "serve", "--json", "--replay", tape, "--protocol", protocols.map((protocol) => `${protocol}:0`).join(",")],
      { core: null },
    );
    const { listening, caPath } = JSON.parse(replay.line.split("\n")[0]!) as {
      listening: { protocol: Protocol; url: string }[];
      caPath: string;
    };
    const ca = readFileSync(caPath, "utf8");
    const rows: Row[] = [];
    let sameBytes = 0;
    const gaps = calls.flatMap(({ events }) => events.flatMap(({ atMs }, index) => (index === 0 ? [] : [atMs - events[index - 1]!.atMs])));
    const meanGapMs = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
    for (const { protocol, url } of listening) {
      const h1Port = Number(new URL(url).port);
      const replaying = canCapture && protocol === "h1" ? await capture(h1Port) : null;
      const reads: Read[] = [];
      for (let index = 0; index < streams; index++)
        reads.push(await ask(url, protocol, bodyOf(index), protocol.endsWith("s") || protocol === "h2" ? ca : undefined));
      sameBytes += reads.filter(({ body }, index) => body.equals(calls[index]!.body) && body.equals(passed[index]!.body)).length;
      rows.push({
        server: `${name} ${version}`,
        against: "reads of a client beside the tape",
        protocol,
        comparison: compareReads(calls, reads),
        meanGapMs,
      });
      if (replaying === null || recordedPackets === null) continue;
      const [before, after] = [answerPackets(recordedPackets, port), answersOf(await replaying.stop(), h1Port)];
      rows.push({
        server: `${name} ${version}`,
        against: "packets of the replay beside packets of the server",
        protocol,
        comparison: compare(before, after),
        meanGapMs,
      });
    }
    await replay.stop();
    const events = calls.reduce((sum, { body }) => sum + body.toString("utf8").split("\n\n").length - 1, 0);
    return { rows, sameBytes, events };
  } finally {
    await server.stop();
  }
}

/** The recorder keeps connections to its server: streams that follow one another on one are told apart by the requests between them. */
function answerPackets(packets: Parameters<typeof answersOf>[0], port: number): number[][] {
  const answers: number[][] = [];
  let askedS = 0;
  for (const { atS, to, from, bytes } of packets) {
    if (bytes === 0) continue;
    if (to === port) {
      askedS = atS;
      if (answers.length === 0 || answers.at(-1)!.length > 0) answers.push([]);
    } else if (from === port && answers.length > 0) answers.at(-1)!.push((atS - askedS) * 1000);
  }
  return answers;
}

/** What keeps others from the cores: "SCHED_FIFO" under `chrt -f 10`, which all processes here then have. */
const policy = /SCHED_\w+/.exec(spawnSync("chrt", ["-p", String(process.pid)]).stdout?.toString() ?? "")?.[0] ?? "SCHED_OTHER";
const startedAt = new Date().toISOString();
const loadBefore = loadavg()[0]!;
const all: Awaited<ReturnType<typeof measure>>[] = [];
for (const stranger of strangers()) all.push(await measure(stranger));
const rows = all.flatMap((one) => one.rows);
const environment = describeEnvironment(false, "fakeai");
const shown = table(
  ["server", "protocol", "compared", "streams", "gap, mean", "gap differs, p50", "p90", "p99", "later, p50", "p99"],
  rows.map(({ server, protocol, against, comparison, meanGapMs }) => [
    server,
    protocol,
    against,
    `${comparison.compared} of ${streams}`,
    `${digits(meanGapMs)} ms`,
    digits(quantile(comparison.gapMs, 0.5)),
    digits(quantile(comparison.gapMs, 0.9)),
    digits(quantile(comparison.gapMs, 0.99)),
    digits(quantile(comparison.lateMs, 0.5)),
    digits(quantile(comparison.lateMs, 0.99)),
  ]),
  6,
);
const same = all.reduce((sum, one) => sum + one.sameBytes, 0);
const bodies = all.length * protocols.length * streams;
const page = `# Record and replay

${writtenBy("replay", startedAt, environment)}, load ${loadBefore.toFixed(1)} before it and ${loadavg()[0]!.toFixed(1)} behind; scheduled as ${policy}).

Two servers of others were recorded through \`fakeai record\`, ${streams} streams each, one after the other (${all.map((one) => one.events).join(" and ")} events), and
replayed on each protocol. Of ${bodies} answers of the replay ${same} had the bytes that the server had sent, to the byte, and so had the answers
that passed through the recorder.

${shown}

All in milliseconds. *Packets* are those that tcpdump sees on the loopback interface, without TLS: from a request's packet to each of its
answer's, of the real server while it was recorded, and of the replay. *Reads* are those of a client in node, beside the times on the
tape: they hold what the client's own event loop adds. Of packets those within a millisecond of each other are one burst. *Gap differs* is the
difference of a gap between two events (or bursts) from the recorded one, without its sign; *later* is by how much one comes after its recorded time from
the request on. Streams whose bursts are not as many on both sides are not compared by packets: two events that the kernel or a busy machine put together
have no times of their own there.

On a machine that is not idle these figures are those of its scheduler. Under \`chrt -f 10 npm run measure -- replay\` all processes of the
measurement go before others, which says SCHED_FIFO above; what is left are turns of a millisecond and the work of each process.
`;
console.log(page);
if (!process.argv.includes("--dry")) {
  mkdirSync(`${root}results/replay`, { recursive: true });
  writeFileSync(`${root}results/replay/README.md`, page);
}
rmSync(folder, { recursive: true, force: true });
process.exit(0);
