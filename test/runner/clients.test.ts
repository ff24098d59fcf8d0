/** `--driver client`: client libraries and commands against the server's own log. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { UsageError } from "../../src/base/usage-error.ts";
import { freePorts, resolveConfig } from "../../src/settings/server.ts";
import { monotonicUs } from "../../src/base/clock.ts";
import { type ClientRecord, parseRecord, runCommand } from "../../src/load/drivers/command.ts";
import { clientImage } from "../../src/report/bars.ts";
import { checkResult } from "../../src/results/store.ts";
import type { ArmResult, BenchResult } from "../../src/results/types.ts";
import { environmentOf } from "../../src/runner/clients/arms.ts";
import { findingsOf, findingsWithoutRecord, mostAtOnce, rampCounts, rampOf } from "../../src/runner/clients/metrics.ts";
import { resolveBench } from "../../src/runner/plan/options.ts";
import { type StartedServer, startServer } from "../../src/server/server.ts";
import type { StreamLogged, StreamRecord } from "../../src/base/parent-channel.ts";
import { root, runCli } from "../support/process.ts";
import { quicRuns } from "../support/targets.ts";

function logged(streams: readonly Partial<StreamRecord>[]): StreamLogged {
  const times = { dueUs: new Int32Array(), sentUs: new Int32Array(), tokens: new Int32Array(), events: 0 };
  const whole = { key: null, spoken: "http/1.1", receivedUs: 0, planned: 0, reasoning: 0, promptTokens: 1, ...times } as const;
  return { streams: streams.map((stream) => ({ ...whole, ...stream })), connectionsAccepted: null };
}

const run = { beganUs: 0, endedUs: 1_000_000, cpuUs: 9000, idleRssBytes: 1e6, rssBytes: 3e6 };
const oneStream = { key: "a", receivedUs: 1000, planned: 3, dueUs: Int32Array.of(100, 200, 300), sentUs: Int32Array.of(110, 210, 310) };

describe("what a client and the server have seen becomes metrics", () => {
  test("times are paired by request and by token", () => {
    const record: ClientRecord = { ...run, streams: [{ key: "a", startUs: 900, tokens: 3, tokenUs: [1150, 1260, 1410], error: null }] };
    // A library that asks again leaves two requests of one name: the last one is answered.
    const { requests, metrics } = findingsOf(record, logged([{ key: "a", receivedUs: 500, planned: 3 }, oneStream]));
    expect(requests).toEqual({ sent: 1, completed: 1, failed: 0, errors: {} });
    expect(metrics.ttft?.mean).toBe(250);
    expect(metrics.ttftAdded?.mean).toBe(140);
    expect([metrics.tokenAdded?.min, metrics.tokenAdded?.max, metrics.tokenAdded?.count]).toEqual([40, 100, 3]);
    expect(metrics.serverLateness?.max).toBe(10);
    expect(metrics.clientCpuUsPerToken?.mean).toBe(3000);
    expect(metrics.clientRssBytesPerStream?.mean).toBe(2e6);
  });

  test.each<[string, Partial<ClientRecord["streams"][number]>, Partial<StreamRecord>]>([
    ["ECONNRESET", { error: "ECONNRESET" }, {}],
    ["the request never arrived", { key: "other" }, {}],
    ["wrong token count", { tokens: 2, tokenUs: [1150, 1260] }, {}],
    ["incomplete stream", {}, { sentUs: Int32Array.of(110) }],
  ])("%s fails, and is in no distribution", (reason, seen, sent) => {
    const whole = { key: "a", startUs: 900, tokens: 3, tokenUs: [1150, 1260, 1410], error: null };
    const { requests, metrics } = findingsOf({ ...run, streams: [{ ...whole, ...seen }] }, logged([{ ...oneStream, ...sent }]));
    expect(requests).toEqual({ sent: 1, completed: 0, failed: 1, errors: { [reason]: 1 } });
    expect([metrics.ttft, metrics.tokenAdded, metrics.clientCpuUsPerToken]).toEqual([null, null, null]);
  });

  test("a command without a record: what it cannot tell is null or absent", () => {
    const { requests, metrics } = findingsWithoutRecord({ samples: [] }, logged([oneStream, { planned: 3 }]));
    expect(requests).toMatchObject({ sent: 2, completed: 1, failed: 1 });
    expect(metrics.serverLateness?.count).toBe(3);
    expect(metrics.clientCpuUsPerToken).toBeNull();
    expect([metrics.ttft, metrics.tokenAdded, metrics.clientRssBytesPerStream].every((one) => one === undefined)).toBe(true);
  });

  test("its CPU time is taken in proportion between samples", () => {
    const samples = [0, 1, 2].map((i) => ({ atUs: 900 + i * 300, cpuUs: i * 600 }));
    const { metrics } = findingsWithoutRecord({ samples }, logged([oneStream]));
    expect(metrics.clientCpuUsPerToken?.mean).toBeCloseTo((310 * 2) / 3);
  });

  test("streams at once", () => {
    const stream = (receivedUs: number, us: number): Partial<StreamRecord> => ({ receivedUs, planned: 1, sentUs: Int32Array.of(us) });
    expect(mostAtOnce(logged([stream(0, 10), stream(10, 10), stream(15, 10), stream(16, 1)]).streams)).toBe(3);
    // One that never ended is under way for good.
    expect(mostAtOnce(logged([{ planned: 1 }, stream(50, 1), stream(60, 1)]).streams)).toBe(2);
  });
});

describe("where a client falls behind", () => {
  const itlUs = 10_000;
  /** A client that takes so long for each token, one after the other, while a stream more opens every 20 ms. */
  function simulated(tokenUs: number, serverLateUs: (us: number) => number = () => 0): { record: ClientRecord; log: StreamLogged } {
    const endUs = 4_000_000;
    const due: { stream: number; atUs: number }[] = [];
    for (let stream = 0; stream < 200; stream++) for (let i = 0; i < 400; i++) due.push({ stream, atUs: stream * 20_000 + i * itlUs });
    due.sort((a, b) => a.atUs - b.atUs);
    const seen = Array.from({ length: 200 }, (): number[] => []);
    let freeUs = 0;
    for (const { stream, atUs } of due) {
      freeUs = Math.max(freeUs, atUs) + tokenUs;
      if (freeUs < endUs) seen[stream]!.push(freeUs);
    }
    const streams = seen.map((tokenUs, i) => ({ key: String(i), startUs: i * 20_000, tokens: tokenUs.length, tokenUs, error: null }));
    const log = seen.map((_, i) => {
      const dueUs = Int32Array.from({ length: Math.min(400, Math.ceil((endUs - i * 20_000) / itlUs)) }, (_, token) => token * itlUs);
      return { key: String(i), receivedUs: i * 20_000, planned: 400, dueUs, sentUs: dueUs.map((us) => us + serverLateUs(i * 20_000 + us)) };
    });
    return { record: { ...run, endedUs: endUs, streams }, log: logged(log) };
  }

  test.each([200, 100, 80])("a client of %d us a token", (tokenUs) => {
    const { record, log } = simulated(tokenUs);
    const { behindAt } = rampOf(record, log, itlUs);
    // 100 ms of backlog have to gather first: a little above what it can take.
    expect(behindAt! * tokenUs).toBeGreaterThan(0.95e6);
    expect(behindAt! * tokenUs).toBeLessThan(1.5e6);
  });

  test("it is not the client that falls behind where the server has before", () => {
    const { record, log } = simulated(100, (us) => (us > 1_000_000 ? 60_000 : 0));
    expect(rampOf(record, log, itlUs)).toMatchObject({ behindAt: null, serverLimitedAt: expect.closeTo(5000, -3) as number });
  });

  test("streams that the end of a ramp leaves are neither completed nor failed; failures of one reason are counted", () => {
    const stream = (key: string, tokens: number, error: string | null) => ({ key, startUs: 1, tokens, tokenUs: [], error });
    const streams = [
      stream("a", 3, null),
      stream("b", 2, null),
      stream("c", 0, null),
      ...["d", "e", "f"].map((key) => stream(key, 1, "ECONNRESET")),
      stream("g", 0, "status 503"),
    ];
    const log = logged(["a", "b", "d", "e", "f"].map((key) => ({ key, planned: 3 })));
    expect(rampCounts({ ...run, streams }, log)).toEqual({
      sent: 7,
      completed: 1,
      failed: 4,
      errors: { ECONNRESET: 3, "status 503": 1 },
      cut: 2,
    });
    expect(rampCounts({ ...run, streams: streams.slice(0, 1) }, log)).toEqual({ sent: 1, completed: 1, failed: 0, errors: {} });
  });

  test.each<[string, Partial<ClientRecord["streams"][number]>, Partial<StreamRecord> | null, "lost" | "cut"]>([
    ["that has never arrived", {}, null, "lost"],
    ["that was asked for at the end", { startUs: 3_500_000 }, null, "cut"],
    ["that was never asked for", { startUs: 0 }, null, "cut"],
    ["whose last token was sent 1.5 s before the end", {}, { sentUs: Int32Array.of(10, 20, 2_400_000) }, "lost"],
    ["whose last token was sent 0.5 s before the end", {}, { sentUs: Int32Array.of(10, 20, 3_400_000) }, "cut"],
    ["that the server has not finished", {}, { sentUs: Int32Array.of(10, 20) }, "cut"],
  ])("a stream %s", (_, seen, sent, as) => {
    const streams = [{ key: "a", startUs: 90_000, tokens: 2, tokenUs: [], error: null, ...seen }];
    const log = logged(sent === null ? [] : [{ key: "a", receivedUs: 100_000, planned: 3, ...sent }]);
    const expected = as === "cut" ? { failed: 0, errors: {}, cut: 1 } : { failed: 1, errors: { lost: 1 } };
    expect(rampCounts({ ...run, endedUs: 4_000_000, streams }, log)).toEqual({ sent: 1, completed: 0, ...expected });
  });

  test("one that keeps up has no such rate", () => {
    const { record, log } = simulated(20);
    const { behindAt, top } = rampOf(record, log, itlUs);
    expect(behindAt).toBeNull();
    expect(top).toBeCloseTo(20_000, -3);
  });
});

describe("records", () => {
  const head = '{"kind":"fakeai.client","beganUs":1,"endedUs":5}';
  test("what is not said is null", () => {
    expect(parseRecord(`${head}\n{"key":"a","startUs":1,"tokenUs":[2,3]}\n\n`)).toEqual({
      beganUs: 1,
      endedUs: 5,
      cpuUs: null,
      idleRssBytes: null,
      rssBytes: null,
      streams: [{ key: "a", startUs: 1, tokens: 2, tokenUs: [2, 3], error: null }],
    });
  });
  test.each([
    ["", /first line/],
    ["{}", /first line/],
    ['{"kind":"fakeai.client","beganUs":5,"endedUs":1}', /no span of time/],
    [`${head}\n{"key":"a"}`, /line 2/],
    [`${head}\n{"key":"a","startUs":1,"tokenUs":["x"]}`, /line 2/],
  ])("%j is refused", (text, message) => {
    expect(() => parseRecord(text)).toThrow(message);
  });
  test("nothing but an error comes of any other text", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        expect(() => parseRecord(text)).toThrow(Error);
      }),
    );
  });
});

describe("commands", () => {
  test("trust the server by every name that tools have for it, whatever the user's own environment says", () => {
    vi.stubEnv("CURL_CA_BUNDLE", "/etc/other.pem");
    const arm = { id: "a", client: "a", protocol: "h2", name: null, command: [] } as const;
    const load = { streams: 1, outputTokens: 1, ttft: "0", itl: "0", rampMs: 0, stopMs: 0, isWarm: false };
    const env = environmentOf({ origins: { h2: "https://localhost:1" }, caPath: "/ca.pem" }, arm, load, 1);
    for (const name of ["FAKEAI_CA", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
      expect(env[name]).toBe("/ca.pem");
    vi.unstubAllEnvs();
  });

  const job = { env: { PATH: process.env["PATH"]! }, timeoutMs: 20_000, sampled: false, cpu: null, signal: new AbortController().signal };
  const shell = (text: string): readonly string[] => ["/bin/sh", "-c", text];

  test("an exit code is a failure, with what the command complained of", async () => {
    const { failure } = await runCommand({ ...job, command: shell("echo first >&2; echo last >&2; exit 3") });
    expect(failure).toBe("the command ended by itself with exit code 3: last");
  });
  test("a record that is none is a failure, none at all is not", async () => {
    expect((await runCommand({ ...job, command: shell("echo nonsense > $FAKEAI_RECORD") })).failure).toMatch(/the record cannot be used/);
    expect(await runCommand({ ...job, command: shell("true") })).toMatchObject({ failure: null, record: null });
  });
  test("a command that does not end is killed with all that it has started", async () => {
    const { failure } = await runCommand({ ...job, timeoutMs: 500, command: shell("sleep 301 & echo $! >&2; wait") });
    expect(failure).toMatch(/did not end within 1 s and was killed: \d+$/);
    const pid = Number(/\d+$/.exec(failure!)![0]);
    // A zombie, at most, until the process that inherited it looks.
    const state = (): string => {
      try {
        return readFileSync(`/proc/${pid}/stat`, "utf8").split(" ")[2]!;
      } catch {
        return "gone";
      }
    };
    await expect.poll(state, { timeout: 5000 }).toMatch(/gone|Z|X/);
  });
  test("what is not there cannot be started", async () => {
    expect((await runCommand({ ...job, command: ["/nowhere/client"] })).failure).toMatch(/ENOENT/);
  });
  test("its processes are looked at", async () => {
    const { samples } = await runCommand({ ...job, sampled: true, command: shell("i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done") });
    expect(process.platform === "linux" ? samples.at(-1)!.cpuUs : 1).toBeGreaterThan(0);
  });
});

interface Adapter {
  readonly protocols: readonly string[];
  connect(to: { url: string; protocol: string }): Promise<(ask: { key: string; maxTokens: number; onToken: () => void }) => Promise<void>>;
}
const { adapters } = (await import(pathToFileURL(join(root, "scenarios/clients/adapters.js")).href)) as {
  adapters: Record<string, Adapter>;
};

describe("each library", () => {
  let server: StartedServer;
  beforeAll(async () => {
    server = await startServer(resolveConfig({ protocol: "h1,h2c", h1Engine: "node", outputTokens: 7, ttft: 5, itl: 1 }, freePorts));
  });
  afterAll(() => server.close(0));

  const cases = Object.entries(adapters).flatMap(([name, { protocols }]) =>
    (["h1", "h2c"] as const).filter((protocol) => protocols.includes(protocol)).map((protocol) => [name, protocol] as const),
  );
  test.each(cases)("%s on %s sees each token once, between its stamp and the end", async (name, protocol) => {
    server.streamLog.begin();
    const ask = await adapters[name]!.connect({ url: server.urls[protocol]!, protocol });
    const seenUs: number[] = [];
    const startUs = monotonicUs();
    await ask({ key: "run-0", maxTokens: 7, onToken: () => seenUs.push(monotonicUs()) });
    const [stream, ...others] = server.streamLog.read()!.streams;
    expect(others).toEqual([]);
    expect(stream).toMatchObject({ key: "run-0", spoken: protocol === "h2c" ? "h2" : "http/1.1", planned: 7 });
    expect(seenUs).toHaveLength(7);
    expect(stream!.receivedUs).toBeGreaterThan(startUs);
    for (const [i, us] of seenUs.entries()) expect(us).toBeGreaterThan(stream!.receivedUs + stream!.sentUs[i]! - 100);
    // Those on `fetch` share a pool, which may have one open.
    expect(server.streamLog.read()!.connectionsAccepted).toBeLessThanOrEqual(1);
  });

  test("nothing is logged before it is asked for", async () => {
    await using other = await startServer(resolveConfig({ protocol: "h1", outputTokens: 1 }, freePorts));
    await fetch(`${other.urls.h1}/v1/models`);
    expect(other.streamLog.read()).toBeNull();
  });
});

describe("options", () => {
  test.each([
    [{ client: ["openai"] }, /belong to --driver client/],
    [{ driver: "client", url: "http://x" }, /--url does not go with --driver client/],
    [{ driver: "client", inputTokens: "5" }, /--input-tokens does not go with/],
    [{ driver: "client", clientCmd: [" "] }, /--client-cmd: the command is empty/],
  ])("%j is refused", (input, message) => {
    expect(() => resolveBench(input)).toThrow(UsageError);
    expect(() => resolveBench(input)).toThrow(message);
  });

  test("all but those apart, unless some or a command are named", () => {
    expect(resolveBench({ driver: "client" }).clients).toEqual({ names: ["all"], commands: [] });
    expect(resolveBench({ driver: "client", clientCmd: ["true"] }).clients).toEqual({ names: [], commands: ["true"] });
  });
});

const folder = mkdtempSync(join(tmpdir(), "fakeai-clients-"));
const tiny = ["--streams", "5", "--output-tokens", "6", "--ttft", "20", "--itl", "4", "--rounds", "2"];

interface Benched {
  readonly code: number | null;
  readonly stderr: string;
  readonly result: () => BenchResult;
  readonly page: () => string;
}

async function bench(args: readonly string[]): Promise<Benched> {
  const out = join(folder, String(Math.random()).slice(2));
  const { code, stderr } = await runCli(["bench", "--driver", "client", "--out", out, ...args]).ended;
  const read = (name: string): string => readFileSync(join(out, name), "utf8");
  return { code, stderr, result: () => checkResult(JSON.parse(read("result.json")), "result"), page: () => read("report.html") };
}

const armNamed = ({ scenarios }: BenchResult, id: string): ArmResult => scenarios.flatMap(({ arms }) => arms).find((arm) => arm.id === id)!;

/** A client in one line, without a record: opens its streams and reads them to the end. */
const oneLiner = `node -e "for (let i = 0; i < process.env.FAKEAI_STREAMS; i++) fetch('{url}/v1/chat/completions', { method: 'POST', body: JSON.stringify({ model: 'm', stream: true, messages: [{ role: 'user', content: 'x' }] }) }).then((r) => r.text())"`;

describe("fakeai bench --driver client", () => {
  test("libraries and a command, on HTTP/1.1 and HTTP/2", { timeout: 120_000 }, async () => {
    const clients = ["undici", "fetch", "node:http2"].flatMap((name) => ["--client", name]);
    const args = [...clients, "--client-cmd", `reader: ${oneLiner}`, "--protocol", "h1,h2c", "--scenario", "clients", ...tiny];
    const { code, stderr, result: read, page } = await bench(args);
    const result = read();
    // The command speaks HTTP/1.1 only, and on h2c that is no HTTP at all.
    expect(code).toBe(3);
    expect(result.invalid.filter((reason) => !reason.includes("reader-h2c"))).toEqual([]);
    expect(stderr).toContain("fetch does not speak h2c");
    const arms = result.scenarios[0]!.arms.map(({ id }) => id);
    expect(arms).toEqual(["undici-h1", "undici-h2c", "fetch-h1", "node-http2-h2c", "reader-h1", "reader-h2c"]);
    for (const id of arms.slice(0, 4)) {
      const { metrics, rounds, client, negotiated } = armNamed(result, id);
      expect(rounds.map(({ requests }) => requests.completed)).toEqual([5, 5]);
      expect(metrics.tokenAdded?.count).toBe(60);
      expect(metrics.plannedTtft?.p50).toBe(20_000);
      expect(metrics.ttft!.min).toBeGreaterThan(20_000);
      expect(metrics.clientCpuUsPerToken?.mean).toBeGreaterThan(0);
      expect(metrics.connectionsOpened?.mean).toBeGreaterThanOrEqual(id.endsWith("h2c") ? 1 : 5);
      expect(client).toMatch(/\d+\.\d+/);
      expect(negotiated).toBe(id.endsWith("h2c") ? "h2c" : "http/1.1");
    }
    expect(armNamed(result, "node-http2-h2c").metrics.connectionsOpened?.mean).toBe(1);
    // One for each stream: the streams that warm up leave none beside them.
    for (const id of ["undici-h1", "fetch-h1"]) expect(armNamed(result, id).metrics.connectionsOpened?.max).toBe(5);
    expect(stderr).toMatch(/about \d+ s: undici-h1, /);
    const estimated = Number(/about (\d+) s: /.exec(stderr)![1]);
    expect(estimated / result.durationS).toBeGreaterThan(0.25);
    expect(estimated / result.durationS).toBeLessThan(3);
    const command = armNamed(result, "reader-h1");
    expect(command.rounds.map(({ requests }) => requests.completed)).toEqual([5, 5]);
    expect(command.metrics.serverLateness?.count).toBe(60);
    expect([command.metrics.tokenAdded ?? null, command.metrics.ttft ?? null, command.metrics.clientRssBytesPerStream ?? null]).toEqual([
      null,
      null,
      null,
    ]);
    expect(result.scenarios[0]!.comparisons.length).toBeGreaterThan(0);
    expect(page()).toMatch(/<figcaption>added to a token p50 <small>[^<]*<\/small><\/figcaption><ul class="bars">/);
    expect(clientImage(result.scenarios[0]!)).toContain(">undici-h2c</text>");
  });

  test.skipIf(!quicRuns)("an arm names the engine that served it", { timeout: 60_000 }, async () => {
    const { result: read } = await bench([
      "--client-cmd",
      "true",
      "--protocol",
      "h1s,h3",
      "--scenario",
      "clients",
      ...tiny,
      "--rounds",
      "1",
    ]);
    const result = read();
    expect(result.scenarios[0]!.arms.map(({ id, engine }) => [id, engine])).toEqual([
      ["command-h1s", "node"],
      ["command-h3", "quiche"],
    ]);
    expect(result.environment.engines["quiche"]).toMatch(/\d/);
  });

  test("a client whose clock is another one is found out", () => {
    const record = { ...run, streams: [{ key: "a", startUs: 0, tokens: 3, tokenUs: [1100, 1200, 1300], error: null }] };
    expect(findingsOf(record, logged([oneStream])).faults).toEqual([expect.stringMatching(/100% of the tokens were seen before/)]);
  });

  test("at the limit of streams, over TLS: node:http2 sends all before it knows of one", { timeout: 60_000 }, async () => {
    const args = ["--client", "node:http2", "--protocol", "h2", "--scenario", "clients-limit", "--streams", "40", "--rounds", "1"];
    const { code, result } = await bench([...args, "--ttft", "20", "--itl", "1"]);
    expect(code).toBe(0);
    const [scenario] = result().scenarios;
    const [arm] = scenario!.arms;
    const { requests } = arm!.rounds[0]!;
    expect(arm!.metrics.streamsAtOnce?.mean).toBeLessThanOrEqual(32);
    expect(arm!.metrics.connectionsOpened?.mean).toBe(1);
    // Which of them are refused hangs on when SETTINGS arrive; each is answered or refused.
    expect(requests.completed + requests.failed).toBe(40);
    expect(requests.failed > 0).toBe(JSON.stringify(requests.errors).includes("REFUSED_STREAM"));
    expect(scenario!.notes[0]).toMatch(/^node-http2-h2: .* at most (2|3)\d of 40 under way at once$/);
  });

  test("a command that fails makes the run invalid; one that hangs is killed", { timeout: 60_000 }, async () => {
    const commands = ["--client-cmd", "echo no such thing >&2; exit 4", "--client-cmd", "sleep 300"];
    const { code, stderr } = await bench([...commands, "--scenario", "clients", ...tiny, "--rounds", "1", "--timeout", "0.5"]);
    expect(code).toBe(3);
    expect(stderr).toMatch(/command-1-h1, round 1: the command ended by itself with exit code 4: no such thing/);
    expect(stderr).toMatch(/command-2-h1, round 1: the command did not end within \d s and was killed/);
  });

  test("packages that are not installed are named, with the command that installs them", async () => {
    const elsewhere = mkdtempSync(join(tmpdir(), "fakeai-bare-"));
    for (const part of ["dist", "package.json"]) cpSync(join(root, part), join(elsewhere, part), { recursive: true });
    cpSync(join(root, "scenarios"), join(elsewhere, "scenarios"), { recursive: true, filter: (path) => !path.endsWith("node_modules") });
    mkdirSync(join(elsewhere, "node_modules"));
    const { dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { dependencies: Record<string, string> };
    for (const name of Object.keys(dependencies)) symlinkSync(join(root, "node_modules", name), join(elsewhere, "node_modules", name));
    const run = (...args: string[]): ReturnType<typeof runCli>["ended"] =>
      runCli(["bench", "--driver", "client", ...args], { script: join(elsewhere, "dist", "cli.js"), cwd: elsewhere }).ended;
    const one = await run("--client", "got");
    expect([one.code, one.stderr]).toEqual([2, "fakeai: --client: got is not installed: npm install --prefix scenarios/clients\n"]);
    const all = await run();
    expect([all.code, all.stderr]).toEqual([
      2,
      expect.stringMatching(/^fakeai: --client: .*got, axios.* are not installed: npm install [^\n]+\n$/),
    ]);
  });

  test.each([
    [["--client", "nobody"], /--client: "nobody" is not one of all, /],
    [["--client", "fetch", "--protocol", "h2"], /none of these clients speaks h2/],
    [["--client", "fetch", "--scenario", "stream"], /--scenario: with --driver client, "stream" is not one of clients, /],
  ])("%j is refused in one line", async (args, message) => {
    const { code, stderr } = await bench(args);
    expect([code, stderr]).toEqual([2, expect.stringMatching(message)]);
  });
});
