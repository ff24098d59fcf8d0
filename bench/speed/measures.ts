/** The ways to measure a subject: paced streams, whole answers, waiting streams. */
import {
  type Answer,
  ask,
  cacheFile,
  chatPath,
  familyCpuUs,
  limitPath,
  runLoad,
  type Place,
  peakRssKb,
  type Subject,
  type Wire,
  workersOf,
} from "./subjects.ts";

/** Bytes that an event of a stream has on average; the model's name is padded to reach it. */
const eventBytes = 270;
/** Tokens of an answer in the unpaced rows. */
export const unpacedTokens = 100;
/** Tokens of an answer in the unary rows. */
export const unaryTokens = 10;

/** What every row asks for, and the answer that controls repeat. */
export interface Material {
  readonly model: string;
  /** Body of an endless stream; path of the file that holds it. */
  readonly endless: string;
  readonly endlessFile: string;
  readonly unpaced: string;
  readonly unpacedFile: string;
  readonly unary: string;
  readonly unaryFile: string;
  /** For controls. */
  readonly recordingFile: string;
  readonly eventBytes: number;
  readonly unaryBytes: number;
  readonly heads: { readonly stream: Readonly<Record<string, string>>; readonly unary: Readonly<Record<string, string>> };
}

/** What every engine adds by itself. */
const engineHeaders = new Set(["date", "connection", "keep-alive", "transfer-encoding", "content-length"]);

function headOf({ headers }: Answer): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !engineHeaders.has(name)));
}

const body = (model: string, more: object): string => JSON.stringify({ model, messages: [{ role: "user", content: "hi" }], ...more });

const contentEvents = (text: string): string[] => text.split(/(?<=\n\n)/).filter((event) => /"content":"[^"]/.test(event));
const meanLength = (texts: readonly string[]): number => texts.reduce((sum, text) => sum + text.length, 0) / texts.length;

/** Records an answer of fakeai's that runs without latency. */
export async function recordMaterial(fakeai: Subject): Promise<Material> {
  const askOnce = async (model: string, more: object): Promise<Answer> => {
    const answer = await ask("h1", fakeai.port, body(model, more));
    if (answer.status !== 200) throw new Error(`fakeai answered ${answer.status}: ${answer.text}`);
    return answer;
  };
  const probe = meanLength(contentEvents((await askOnce("m", { stream: true, max_tokens: 500, ignore_eos: true })).text));
  const model = "m".padEnd(1 + Math.max(0, Math.round(eventBytes - probe)), "o");
  const exactly = (tokens: number, stream: boolean): object => ({ stream, max_tokens: tokens, ignore_eos: true });
  const stream = await askOnce(model, exactly(unpacedTokens, true));
  const unary = await askOnce("m", exactly(unaryTokens, false));
  const heads = { stream: headOf(stream), unary: headOf(unary) };
  const recordingFile = cacheFile("unpaced.json", JSON.stringify({ events: stream.text.split(/(?<=\n\n)/), unary: unary.text, heads }));
  const write = (name: string, text: string): string => cacheFile(name, text);
  const endless = body(model, exactly(1_000_000, true));
  const unpacedBody = body(model, exactly(unpacedTokens, true));
  const unaryBody = body("m", exactly(unaryTokens, false));
  return {
    model,
    endless,
    endlessFile: write("endless-body.json", endless),
    unpaced: unpacedBody,
    unpacedFile: write("unpaced-body.json", unpacedBody),
    unary: unaryBody,
    unaryFile: write("unary-body.json", unaryBody),
    recordingFile,
    eventBytes: meanLength(contentEvents(stream.text)),
    unaryBytes: unary.text.length,
    heads,
  };
}

/** The recording of an endless stream: content alone, without beginning and end. */
export async function recordPaced(fakeai: Subject, { model, heads }: Material): Promise<string> {
  const { text } = await ask("h1", fakeai.port, body(model, { stream: true, max_tokens: 1000, ignore_eos: true }));
  return cacheFile("paced.json", JSON.stringify({ events: contentEvents(text).slice(1, -1), unary: "", heads }));
}

function expect(subject: Subject, holds: boolean, what: string): void {
  if (!holds) throw new Error(`${subject.name}: ${what}`);
}

/** A stream's events must parse, and be as long as they should be; returns the id of the first. */
function checkStream(subject: Subject, answer: Answer, bytes: number | null): string {
  expect(subject, answer.status === 200, `status ${answer.status}`);
  expect(subject, answer.contentType.startsWith("text/event-stream"), `content-type ${answer.contentType}`);
  const events = contentEvents(answer.text);
  const ids = new Set<string>();
  for (const event of events) {
    const chunk = JSON.parse(event.slice("data: ".length)) as { id: string; choices: { delta: { content: unknown } }[] };
    expect(subject, typeof chunk.choices[0]!.delta.content === "string", "an event without content");
    ids.add(chunk.id);
  }
  expect(subject, events.length > 0 && ids.size === 1, `${events.length} events with ${ids.size} ids`);
  if (bytes !== null) expect(subject, Math.abs(meanLength(events) - bytes) < 12, `events of ${meanLength(events)} bytes`);
  return [...ids][0]!;
}

/** The first events of an endless stream. */
export async function checkPaced(subject: Subject, wire: Wire, { endless }: Material): Promise<void> {
  checkStream(subject, await ask(wire, subject.port, endless, 8), eventBytes);
}

/** A whole stream; fakeai's differs from request to request. */
export async function checkUnpaced(subject: Subject, wire: Wire, { unpaced }: Material): Promise<void> {
  const first = await ask(wire, subject.port, unpaced);
  const second = await ask(wire, subject.port, unpaced);
  const ids = [first, second].map((answer) => checkStream(subject, answer, subject.name === "fakeai" ? eventBytes : null));
  const count = contentEvents(first.text).length;
  expect(subject, Math.abs(count - unpacedTokens) <= 2, `${count} tokens`);
  expect(subject, first.text.trimEnd().endsWith("data: [DONE]"), "no [DONE]");
  if (subject.name === "fakeai") expect(subject, ids[0] !== ids[1], "two responses with one id");
}

export async function checkUnary(subject: Subject, wire: Wire, { unary }: Material): Promise<void> {
  const answers = [await ask(wire, subject.port, unary), await ask(wire, subject.port, unary)];
  const ids = answers.map((answer) => {
    expect(subject, answer.status === 200, `status ${answer.status}`);
    const completion = JSON.parse(answer.text) as { id: string; choices: { message: { content: unknown } }[] };
    expect(subject, typeof completion.choices[0]!.message.content === "string", "no content");
    return completion.id;
  });
  if (subject.name === "fakeai") expect(subject, ids[0] !== ids[1], "two responses with one id");
}

export interface Quantiles {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** What the reader saw in its window. */
export interface PacedSample {
  readonly events: number;
  readonly bytes: number;
  readonly reads: number;
  readonly windowUs: number;
  readonly cpuUs: number;
  readonly rssBeforeKb: number;
  readonly rssKb: number;
  /** From each request to its first event. */
  readonly ttftUs?: Quantiles;
  /** Between two reads of events of one stream in the window. */
  readonly longestGapUs: number;
  readonly itlErrorSent?: number;
  readonly itlErrorSeen?: number;
  readonly lateSentUs?: Quantiles;
  readonly lateSeenUs?: Quantiles;
}

export interface Shape {
  readonly wire: Wire;
  readonly connections: number;
  readonly streamsPerConnection: number;
  readonly itlMs: number;
}

export interface Timing {
  readonly spreadMs: number;
  readonly warmMs: number;
  readonly windowMs: number;
  /** The streams wait for their first token. */
  readonly waiting?: boolean;
}

/** Opens the streams, reads for a window. Fails when the subject did not send what the schedule asks for, within a share of it. */
export async function measurePaced(
  subject: Subject,
  shape: Shape,
  timing: Timing,
  bodyFile: string,
  tolerance: number = 0.03,
): Promise<PacedSample> {
  const { wire, connections, streamsPerConnection, itlMs } = shape;
  const { spreadMs, warmMs, windowMs, waiting = false } = timing;
  const args = [
    wire,
    subject.port,
    connections,
    streamsPerConnection,
    spreadMs,
    warmMs,
    windowMs,
    [subject.pid, ...workersOf(subject.pid)].join(","),
    bodyFile,
    ...(waiting ? ["wait"] : []),
  ];
  const output = await runLoad(limitPath("reader"), args.map(String), 90_000);
  const sample = JSON.parse(output) as PacedSample;
  const expected = (connections * streamsPerConnection * sample.windowUs) / (itlMs * 1000);
  if (!waiting && Math.abs(sample.events / expected - 1) > tolerance) {
    throw new Error(`${subject.name}: ${sample.events} events where the schedule has ${Math.round(expected)}`);
  }
  return sample;
}

/** The C loop: CPU microseconds per send. */
export async function measureLoop(connections: number, bytes: number, seconds: number, rate: number): Promise<number> {
  const output = await runLoad(limitPath("send-limit"), [connections, bytes, seconds, rate].map(String), 30_000);
  const [, us, blocked] = /cpu_us_per_send=([\d.]+) would_block=(\d+)/.exec(output)!;
  if (Number(blocked) > 0) throw new Error(`send-limit: ${blocked} sends would have blocked`);
  return Number(us);
}

export interface WholeSample {
  readonly requestsPerSecond: number;
  /** Requests per second of CPU time: what a full core would answer. */
  readonly requestsPerCpuSecond: number;
  /** Share of a core that the server used. */
  readonly utilisation: number;
  readonly peakRssKb: number;
}

/** h2load with `requests` requests over `connections` connections of `streams` streams. */
export async function measureWhole(
  subject: Subject,
  wire: Wire,
  connections: number,
  streams: number,
  requests: number,
  bodyFile: string,
  place?: Place,
): Promise<WholeSample> {
  const url = `${wire === "h2" ? "https" : "http"}://127.0.0.1:${subject.port}${chatPath}`;
  const args = ["-n", requests, "-c", connections, "-m", streams, "-t", 1, "-d", bodyFile, "-H", "content-type: application/json"];
  const before = familyCpuUs(subject.pid);
  const output = await runLoad("h2load", [...(wire === "h1" ? ["--h1"] : []), ...args.map(String), url], 60_000, place);
  const usedUs = familyCpuUs(subject.pid) - before;
  const took = /finished in ([\d.]+)(us|ms|s),/.exec(output);
  const good = /status codes: (\d+) 2xx/.exec(output);
  if (!took || Number(good?.[1]) !== requests)
    throw new Error(`${subject.name}: h2load had ${good?.[1] ?? "no"} of ${requests} answers\n${output}`);
  const seconds = Number(took[1]) * { us: 1e-6, ms: 1e-3, s: 1 }[took[2] as "us" | "ms" | "s"];
  return {
    requestsPerSecond: requests / seconds,
    requestsPerCpuSecond: requests / (usedUs / 1e6),
    utilisation: usedUs / 1e6 / seconds,
    peakRssKb: peakRssKb(subject.pid),
  };
}
