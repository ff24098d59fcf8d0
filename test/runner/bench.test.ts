/** `fakeai bench` as a user meets it: the built program, real servers, exit codes. */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createSecureServer } from "node:http2";
import { createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import { beforeAll, describe, expect, test } from "vitest";
import { localhostCertificate } from "../../src/base/certificate.ts";
import type { BenchResult, ScenarioResult } from "../../src/results/types.ts";
import { takesEverything } from "../../src/runner/plan/body.ts";
import { describeStream } from "../../src/runner/via.ts";
import { available, type Ended, runCli, type RunOptions, serve } from "../support/process.ts";
import { eventually } from "../support/wait.ts";
import { quicRuns } from "../support/targets.ts";
import { freePort, listen } from "../support/servers.ts";

const folder = mkdtempSync(join(tmpdir(), "fakeai-bench-"));
let runs = 0;

/** Small enough for a test, and still every part of a run. */
const tiny = ["--streams", "4", "--requests", "8", "--warmup", "2", "--rounds", "2", "--ttft", "10", "--itl", "2", "--output-tokens", "5"];

interface Benched extends Ended {
  readonly directory: string;
  readonly result: BenchResult;
}

async function bench(args: readonly string[], options: RunOptions = {}): Promise<Benched> {
  const directory = join(folder, String(runs++));
  const ended = await runCli(["bench", "--keep-disturbed", "--out", directory, ...args], options).ended;
  return {
    ...ended,
    directory,
    get result() {
      return JSON.parse(readFileSync(join(directory, "result.json"), "utf8")) as BenchResult;
    },
  };
}

/** Again where another program on this machine got in the generator's way, which the bench says by itself. */
async function undisturbed(args: readonly string[]): Promise<Benched> {
  for (let attempt = 1; ; attempt++) {
    const ended = await bench(args);
    const isDisturbed = ended.code === 3 && ended.result.invalid.every((reason) => reason.includes("client-limited"));
    if (!isDisturbed || attempt === 3) return ended;
  }
}

const armsOf = ({ arms }: ScenarioResult): string[] => arms.map(({ id }) => id);

describe.skipIf(!quicRuns)("a network that is of TCP or of QUIC alone", () => {
  const reasons = {
    "--loss": /h2 left out: the network loses datagrams, and TCP has none/,
    "--stall": /h3 left out: the network stalls segments of TCP, and datagrams have none/,
  };
  test.each([
    ["--loss", "5%"],
    ["--stall", "5%,40ms"],
  ] as const)("%s %s: who is left out is said as it happens, and why in what is compared", { timeout: 60_000 }, async (flag, value) => {
    const { stderr, result } = await bench(["--scenario", "stream", "--protocol", "h2,h3", ...tiny, "--rounds", "1", flag, value]);
    const [scenario] = result.scenarios;
    expect(stderr.split("\n").filter((line) => reasons[flag].test(line))).toEqual([expect.stringMatching(/^fakeai: stream: /)]);
    expect(scenario!.notes).toContainEqual(expect.stringMatching(reasons[flag]));
    const isLeftOut = scenario!.comparisons.filter(({ baseline, candidate }) =>
      [baseline, candidate].includes(flag === "--loss" ? "h2" : "h3"),
    );
    expect(isLeftOut.length).toBeGreaterThan(0);
    for (const { reason } of isLeftOut) expect(reason).toMatch(/^h\w+ is left out: the network (?:loses|stalls)/);
  });
});

describe("a small comparison on all four protocols", () => {
  let ended: Benched;
  beforeAll(async () => {
    ended = await undisturbed(["--scenario", "stream", ...tiny, "--json", "--details", "--require", "stream/h2c/ttft.p50<10s"]);
  }, 60_000);

  test("ends well, with the result alone on stdout and progress on stderr", () => {
    expect(ended.stderr).toMatch(/^fakeai: about \d+ s: stream\n\[ {2}\d s\] /);
    expect(ended.code).toBe(0);
    expect(JSON.parse(ended.stdout)).toEqual(JSON.parse(JSON.stringify(ended.result)));
  });

  test("every request of every round is accounted for, on the protocol that was asked for", () => {
    const [scenario] = ended.result.scenarios;
    expect(armsOf(scenario!).slice(0, 4)).toEqual(["h1", "h2c", "h1s", "h2"]);
    const proof = { h1: "http/1.1", h1s: "http/1.1", h2c: "h2c", h2: "h2", h3: "h3", ws: "websocket", wss: "websocket" };
    for (const arm of scenario!.arms) {
      expect(arm.negotiated).toBe(proof[arm.protocol]);
      expect(arm.rounds).toHaveLength(2);
      for (const { requests, invalid } of arm.rounds)
        expect([requests, invalid]).toEqual([{ sent: 8, completed: 8, failed: 0, errors: {} }, []]);
      expect(arm.metrics.itl!.count).toBe(2 * 8 * 4);
      expect(arm.metrics.ttft!.p50).toBeGreaterThanOrEqual(9900);
      expect(arm.metrics.serverLateness!.count).toBe(2 * 8 * 5);
      expect(arm.metrics.serverEventLoopDelayP99Us!.count).toBe(2);
      if (process.platform === "linux") expect(arm.metrics.serverCpuUsPerRequest!.mean).toBeGreaterThan(0);
    }
  });

  test("TLS is pinned to one suite", () => {
    const ciphers = ended.result.scenarios[0]!.arms.filter(({ protocol }) => protocol === "h1s" || protocol === "h2").map(
      ({ cipher }) => cipher,
    );
    expect(new Set(ciphers)).toEqual(new Set(["TLSv1.3 TLS_AES_128_GCM_SHA256"]));
  });

  test("like is compared with like", () => {
    const pairs = ended.result.scenarios[0]!.comparisons.filter(({ kind }) => kind === "protocol").map(
      ({ baseline, candidate }) => `${baseline} ${candidate}`,
    );
    expect(new Set(pairs)).toEqual(new Set(["h1 h2c", "h1s h2"]));
  });

  test("calibration, environment, requirement and command are in it", () => {
    const { calibration, environment, requirements, command, complete } = ended.result;
    expect(calibration!.rows.map(({ protocol }) => protocol)).toEqual(["h1", "h2c", "h1s", "h2"]);
    expect(environment.node).toBe(process.versions.node);
    expect(environment.engines["uws"]).toMatch(/^(?:uws-pack|@uwsjs\/core|uWebSockets\.js) \d+\.\d+\.\d+/);
    expect(environment.tools["autocannon"]).toMatch(/^\d+\.\d+\.\d+/);
    expect(requirements.map(({ met }) => met)).toEqual([true]);
    expect(command.slice(0, 2)).toEqual(["fakeai", "bench"]);
    expect(complete).toBe(true);
  });

  test("every request has its line", () => {
    const lines = readFileSync(join(ended.directory, "requests.jsonl"), "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { arm: string; round: number; tokenUs: number[] });
    expect(lines).toHaveLength(ended.result.scenarios[0]!.arms.length * 2 * 8);
    expect(lines.every(({ tokenUs }) => tokenUs.length === 5)).toBe(true);
  });

  test("a page lies beside it, and report, compare and merge read it", async () => {
    expect(existsSync(join(ended.directory, "report.html"))).toBe(true);
    expect((await runCli(["report", ended.directory]).ended).code).toBe(0);
    const same = await runCli(["compare", ended.directory, ended.directory]).ended;
    expect([same.code, same.stderr]).toEqual([0, ""]);
    // The same rounds as those of another run.
    const again = join(folder, "again");
    mkdirSync(again);
    writeFileSync(join(again, "result.json"), JSON.stringify({ ...ended.result, startedAt: new Date().toISOString() }));
    const merged = await runCli(["merge", ended.directory, again, "--out", join(folder, "merged"), "--json"]).ended;
    expect(merged.code).toBe(0);
    expect((JSON.parse(merged.stdout) as BenchResult).scenarios[0]!.arms[0]!.metrics.itl!.count).toBe(2 * 2 * 8 * 4);
  });
});

test("a load that no machine carries: what was read is printed, not what was offered, and who fell behind", async () => {
  // 3,000 streams by 2 ms are 1,500,000 tokens/s.
  const plan = ["--streams", "3000", "--requests", "3000", "--itl", "2", "--output-tokens", "60", "--rounds", "1", "--full"];
  const { result, stdout } = await bench(["--scenario", "stream", "--protocol", "h2c", ...plan]);
  const { rows, limitTokensPerSecond } = result.calibration!;
  expect(rows[0]!.offeredTokensPerSecond).toBe(1_500_000);
  expect(Math.max(limitTokensPerSecond["h2c"]!, ...rows.map(({ tokensPerSecond }) => tokensPerSecond))).toBeLessThan(1_000_000);
  const { pace } = result.scenarios[0]!.arms[0]!.rounds[0]!;
  expect(pace!.reachedTokensPerSecond).toBeLessThan(pace!.plannedTokensPerSecond! / 2);
  expect(pace!.behind.map(({ who }) => who)).toContain("server");
  const said = stdout.replaceAll(/\s+/g, " ");
  expect(said).toMatch(/h2c: server behind the plan in 1 of 1 rounds: .* tokens\/s reached of .* planned/);
  expect(said).toMatch(/Believe it\? .* behind the plan: stream, h2c/);
}, 240_000);

test("a baseline of another plan: exit 2 with what differs; --allow-missing passes it", async () => {
  const args = ["--scenario", "stream", ...tiny, "--protocol", "h1"];
  const before = await undisturbed(args);
  const same = await undisturbed([...args, "--rounds", "3", "--baseline", before.directory]);
  // Two rounds of a few milliseconds may be slower by chance; all of them are compared.
  expect([0, 1]).toContain(same.code);
  expect(same.stderr).not.toMatch(/not compared/u);
  const other = [...args, "--streams", "5", "--baseline", before.directory];
  const strict = await undisturbed(other);
  expect(strict.stderr).toMatch(/^fakeai: not compared with --baseline: stream: the workloads differ: .*streams 4 and 5/mu);
  expect(strict.code).toBe(2);
  expect((await undisturbed([...other, "--allow-missing"])).code).toBe(0);
}, 90_000);

test("a single protocol: figures and intervals, no verdicts, exit 0", async () => {
  const { code, result } = await undisturbed(["--scenario", "mux-scale", "--protocol", "h2c", ...tiny]);
  expect(code).toBe(0);
  const [scenario] = result.scenarios;
  expect(new Set(scenario!.arms.map(({ protocol }) => protocol))).toEqual(new Set(["h2c"]));
  expect(scenario!.arms[0]!.intervals["ttft.p50"]).toBeDefined();
  expect(scenario!.comparisons.every(({ verdict }) => verdict === "not compared")).toBe(true);
  expect(scenario!.claims.every(({ verdict }) => verdict === "not compared")).toBe(true);
});

test("a requirement that is not met: exit 1, named", async () => {
  const { code, stderr } = await undisturbed(["--scenario", "stream", "--protocol", "h1", ...tiny, "--require", "ttft.p99<1us"]);
  expect(code).toBe(1);
  expect(stderr).toMatch(/not met: ttft\.p99<1us/);
});

test("a requirement on what was not measured: exit 2, named; --allow-missing passes it", async () => {
  const args = ["--scenario", "header-bytes", "--protocol", "h1", "--requests", "5", "--rounds", "1", "--require", "scheduleDelay.p99<1s"];
  const [strict, lenient] = [await bench(args), await bench([...args, "--allow-missing"])];
  expect(strict.stderr).toMatch(/^fakeai: not measured: scheduleDelay\.p99<1s$/mu);
  expect(strict.result.requirements).toMatchObject([{ met: false, outcome: "not measured" }]);
  expect([strict.code, lenient.code]).toEqual([2, 0]);
});

describe.concurrent("wrong usage is one line and exit 2", () => {
  test.each([
    [["--nonsense"]],
    [["--scenario", "nope"]],
    [["--rounds", "0"]],
    [["--via", "http://127.0.0.1:1"]],
    [["--url", "http://127.0.0.1:1", "--via", "ftp://127.0.0.1"]],
    [["--trace", "/nowhere.csv"]],
    [["--baseline", "/nowhere"]],
    [["--require", "ttft"]],
    [["--scenario", "stream", "--require", "stream/h9/ttft.p99<150ms"]],
    [["--scenario", "stream", "--require", "unary/h1/ttft.p99<150ms"]],
    [["--protocol", "h1", "--scenario", "stream", "--require", "h2c/ttft.p99<150ms"]],
  ])("%j", async (args) => {
    const { code, stdout, stderr } = await bench(args);
    expect(stderr.trimEnd().split("\n").at(-1)).toMatch(/^fakeai: |^error|^\(Did/);
    expect(stderr).not.toMatch(/ at .*\.js:\d+/);
    expect([code, stdout]).toEqual([2, ""]);
  });
});

describe.concurrent("what a driver would measure wrongly is not measured: exit 3 with the reason", () => {
  test.each([
    ["autocannon", "h1", "2", /h1.*: autocannon refuses: more streams than connections would be pipelined/],
    ["autocannon", "h2c", "4", /h2c.*: autocannon refuses: autocannon speaks HTTP\/1\.1 only/],
    ...(available("h2load") ? [["h2load", "h1", "2", /h1.*: h2load refuses: on HTTP\/1\.1 h2load would pipeline/] as const] : []),
  ] as const)("%s on %s with 4 streams on %s connections", async (driver, protocol, connections, reason) => {
    const flags = ["--driver", driver, "--protocol", protocol, "--streams", "4", "--connections", connections];
    const { code, stderr, result } = await bench(["--scenario", "unary", ...flags]);
    expect(stderr).toMatch(reason);
    expect(code).toBe(3);
    expect(result.scenarios[0]!.arms[0]!.metrics).toEqual({});
  });
});

test("without h2load: unary says so and runs on our own generator; asked for by name it is wrong usage", async () => {
  const nothing = mkdtempSync(join(tmpdir(), "fakeai-nothing-"));
  const env = { PATH: nothing };
  const [ran, asked, doctor] = await Promise.all([
    bench(["--scenario", "unary", "--protocol", "h1", "--rounds", "1"], { env }),
    bench(["--scenario", "unary", "--driver", "h2load"], { env }),
    runCli(["doctor"], { env }).ended,
  ]);
  const [scenario] = ran.result.scenarios;
  expect(scenario!.notes).toContainEqual(expect.stringMatching(/^h2load is not installed \(fakeai doctor\): on stream/));
  expect(new Set(scenario!.arms.map(({ driver }) => driver))).toEqual(new Set(["stream"]));
  for (const { rounds } of scenario!.arms) expect(rounds[0]!.requests.completed).toBe(2000);
  expect([asked.code, asked.stdout]).toEqual([2, ""]);
  expect(asked.stderr).toMatch(/h2load is not installed; `fakeai doctor` says how to get it/);
  expect(doctor.stdout).toMatch(/h2load +missing\. Debian.*macOS.*Fedora/);
  expect(doctor.stdout).toMatch(/unary +h2load is missing: runs on stream/);
});

test("--list and doctor say what there is", async () => {
  const list = await runCli(["bench", "--list"]).ended;
  expect(list.stdout).toMatch(/mux-scale.*\n.*isolates/);
  const doctor = await runCli(["doctor"]).ended;
  expect(doctor.stdout).toMatch(/h2load .*\n/);
  expect([list.code, doctor.code]).toEqual([0, 0]);
});

describe.concurrent("servers that misbehave end in exit 3 with the reason", () => {
  async function listening(server: Server): Promise<{ port: number; stop: () => void }> {
    return { port: await listen(server), stop: () => server.close() };
  }

  async function against(
    onPost: (request: IncomingMessage, response: ServerResponse) => void,
    args: readonly string[] = [],
  ): Promise<Benched> {
    const server = createServer((request, response) => {
      if (request.method === "GET") response.end('{"object":"list","data":[]}');
      else {
        request.resume();
        request.on("end", () => onPost(request, response));
      }
    });
    const { port, stop } = await listening(server);
    try {
      return await bench(["--url", `http://127.0.0.1:${port}`, "--scenario", "stream", ...tiny.slice(0, 8), "--timeout", "1", ...args]);
    } finally {
      server.closeAllConnections();
      stop();
    }
  }

  test("one that answers 503", async () => {
    const { code, stderr, result } = await against((_request, response) => response.writeHead(503).end("busy"));
    expect(stderr).toMatch(/does not speak h2c/);
    expect(stderr).toMatch(/requests failed: status 503 \(\d+\)/);
    expect(code).toBe(3);
    expect(result.scenarios[0]!.arms[0]!.metrics.ttft ?? null).toBeNull();
  });

  test("one that hangs", async () => {
    const { code, stderr } = await against(() => {});
    expect(stderr).toMatch(/timeout/);
    expect(code).toBe(3);
  });

  test("one that cuts its streams", async () => {
    const { code, stderr } = await against((_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write('data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n', () => response.destroy());
    });
    expect(stderr).toMatch(/requests failed: (connection closed|reset)/);
    expect(code).toBe(3);
  });

  test("one that ends its streams early, politely", async () => {
    const { code, stderr } = await against((_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.end('data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n');
    });
    expect(stderr).toMatch(/incomplete stream/);
    expect(code).toBe(3);
  });

  test("one that changes its protocol after it was probed", async () => {
    const { cert, key } = await localhostCertificate();
    const h2 = createSecureServer({ cert, key }, (_request, response) => response.end("{}"));
    // Without ALPN: the handshake goes well, and the client then speaks HTTP/1.1.
    // It hangs up on each request, so that the probe of HTTP/1.1 need not wait.
    const h1 = createTlsServer({ cert, key }, (socket) => socket.on("error", () => {}).on("data", () => socket.destroy()));
    let connections = 0;
    // h1s is probed first, then h2; what comes later is the run.
    const front = createTcpServer((socket) => (++connections === 2 ? h2 : h1).emit("connection", socket));
    const port = await listen(front);
    const { code, stderr } = await bench([
      "--url",
      `https://127.0.0.1:${port}`,
      "--insecure",
      "--protocol",
      "h2",
      "--scenario",
      "stream",
      ...tiny.slice(0, 8),
      "--timeout",
      "2",
    ]);
    front.close();
    expect(stderr).toMatch(/invalid: .*protocol: h2 was asked for, the server chose http\/1\.1/);
    expect(code).toBe(3);
  });

  test("one whose certificate is not trusted: what to do about it", async () => {
    const { cert, key } = await localhostCertificate();
    const server = createSecureServer({ cert, key }, (_request, response) => response.end("{}"));
    const port = await listen(server);
    const { code, stdout, stderr, result } = await bench(["--url", `https://127.0.0.1:${port}`, "--scenario", "stream"]);
    server.close();
    expect(stderr).toMatch(/does not speak h2: self-signed certificate \(trust it with --cacert <file>, or --insecure\)/);
    expect(stdout).not.toMatch(/nterrupted/);
    expect([code, result.complete, result.environment.pinned]).toEqual([3, false, false]);
  });

  test("nobody there", async () => {
    const { code, stderr, result } = await bench(["--url", "http://127.0.0.1:1", "--scenario", "stream"]);
    expect(stderr).toMatch(/speaks no protocol that was asked for/);
    expect(code).toBe(3);
    expect(result.complete).toBe(false);
  });
});

describe("any server by its address", () => {
  test("the key goes out with every request and is written nowhere", async () => {
    const seen = new Set<string | undefined>();
    const server = createServer((request, response) => {
      seen.add(request.headers.authorization);
      if (request.method === "GET") {
        response.end("{}");
        return;
      }
      request.resume();
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.end('data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n');
    });
    const port = await listen(server);
    const { code, stdout, stderr, directory, result } = await bench(
      [
        "--url",
        `http://127.0.0.1:${port}/v1`,
        "--scenario",
        "stream",
        ...tiny.slice(0, 8),
        "--header",
        "x-tenant: hush",
        "--details",
        "--json",
      ],
      { env: { OPENAI_API_KEY: "sk-do-not-tell" } },
    );
    server.close();
    expect([...seen]).toEqual(["Bearer sk-do-not-tell"]);
    expect(code).toBe(0);
    // Nothing of ours answered: what only stamps and /proc tell is not there, and the rest is.
    const { metrics } = result.scenarios[0]!.arms[0]!;
    expect(metrics.ttft!.count).toBe(2 * 8);
    for (const name of ["serverLateness", "transport", "plannedTtft", "serverCpuUsPerRequest", "serverRssBytes"] as const)
      expect(metrics[name] ?? null).toBeNull();
    for (const text of [
      stdout,
      stderr,
      readFileSync(join(directory, "result.json"), "utf8"),
      readFileSync(join(directory, "report.html"), "utf8"),
      readFileSync(join(directory, "requests.jsonl"), "utf8"),
    ])
      expect(text).not.toMatch(/sk-do-not-tell|hush/);
  });

  test("a server of ours: both protocols, both stamps, no CPU figures; through a delay", async () => {
    const server = await serve(["--protocol", "h2:0", "--ttft", "10", "--itl", "2", "--output-tokens", "5"]);
    const { url } = server.listening[0]!;
    const { code, result, stderr } = await bench([
      "--url",
      url,
      "--cacert",
      server.caPath!,
      "--scenario",
      "stream",
      ...tiny,
      "--delay",
      "20",
    ]);
    await server.stop();
    expect(stderr).not.toMatch(/invalid/);
    expect(code).toBe(0);
    for (const arm of result.scenarios[0]!.arms) {
      expect(arm.engine).toBe("external");
      expect(arm.rttMs).toBe(20);
      expect(arm.metrics.serverCpuUsPerRequest).toBeNull();
      expect(arm.metrics.serverLateness!.count).toBeGreaterThan(0);
      expect(arm.metrics.ttft!.p50).toBeGreaterThan(29_000);
    }
  });

  test("a body of one's own", async () => {
    const path = join(folder, "body.json");
    writeFileSync(
      path,
      JSON.stringify({ model: "mine", stream: true, max_tokens: 3, ignore_eos: true, messages: [{ role: "user", content: "hi" }] }),
    );
    const { code, result } = await undisturbed(["--scenario", "stream", "--protocol", "h1", "--body", path, ...tiny.slice(0, 12)]);
    expect(code).toBe(0);
    expect(result.scenarios[0]!.arms[0]!.metrics.itl!.count).toBe(2 * 8 * 2);
  });
});

test("a trace is replayed request for request", async () => {
  const path = join(folder, "trace.csv");
  const rows = Array.from({ length: 20 }, (_, i) => `2024-01-01 00:00:0${Math.floor(i / 4)}.${i % 4}000000,${10 + i},${1 + (i % 5)}`);
  writeFileSync(path, `TIMESTAMP,ContextTokens,GeneratedTokens\n${rows.join("\n")}\n`);
  const { code, result, stderr } = await bench([
    "--trace",
    path,
    "--speed",
    "10",
    "--limit",
    "15",
    "--rounds",
    "2",
    "--ttft",
    "5",
    "--itl",
    "1",
    "--warmup",
    "2",
  ]);
  expect(stderr).not.toMatch(/invalid/);
  expect(code).toBe(0);
  expect(result.scenarios.map(({ variant }) => variant)).toEqual([`${basename(path)}, first 15, 10 times as fast`]);
  for (const { rounds, metrics } of result.scenarios[0]!.arms) {
    expect(rounds.map(({ requests }) => requests.completed)).toEqual([15, 15]);
    expect(metrics.ttftFromIntended!.count).toBe(30);
  }
});

async function relay(url: string, init: RequestInit, response: ServerResponse): Promise<void> {
  const answer = await fetch(url, init);
  response.writeHead(answer.status, { "content-type": answer.headers.get("content-type")! });
  response.end(Buffer.from(await answer.arrayBuffer()));
}

test("through a gateway: what it adds, whether it streams, whether an abort goes through", async () => {
  const server = await serve(["--protocol", "h1:0,h2c:0"]);
  const upstream = new URL(server.listening[0]!.url);
  // A gateway that buffers whole answers, drops our header and never hears of an abort.
  const gateway = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      const headers = {
        "x-fakeai-ttft": String(request.headers["x-fakeai-ttft"] ?? 0),
        "x-fakeai-itl": String(request.headers["x-fakeai-itl"] ?? 0),
      };
      const body = request.method === "POST" ? { body: Buffer.concat(parts) } : {};
      void relay(`${upstream.origin}${request.url}`, { method: request.method!, headers, ...body }, response);
    });
  });
  const via = `http://127.0.0.1:${await listen(gateway)}`;
  const { code, result, stderr } = await bench([
    "--url",
    upstream.origin,
    "--via",
    via,
    "--rounds",
    "2",
    "--ttft",
    "20",
    "--itl",
    "5",
    "--requests",
    "10",
  ]);
  gateway.closeAllConnections();
  gateway.close();
  await server.stop();
  expect(stderr).not.toMatch(/invalid/);
  expect(code).toBe(0);
  const [scenario] = result.scenarios;
  expect(armsOf(scenario!)).toEqual(["direct-h1", "via-h1"]);
  const ttft = scenario!.comparisons.find(({ metric, statistic }) => metric === "ttft" && statistic === "p50")!;
  expect(ttft.difference!.estimate).toBeGreaterThan(50_000);
  expect(scenario!.notes).toContainEqual(expect.stringMatching(/^direct-h1: .*tokens were not coalesced; the stamps came through$/));
  expect(scenario!.notes).toContainEqual(expect.stringMatching(/^via-h1: .*tokens were coalesced; no stamps came through$/));
  expect(scenario!.notes).toContainEqual(expect.stringMatching(/^via-h1: an abort did not reach the server/));
});

test("stamps without the clock that they are of are told apart", async () => {
  const events = [0, 1, 2].map((i) => `data: {"choices":[{"delta":{"content":"a"}}],"fakeai":{"due":${i},"sent":${i}}}\n\n`);
  const head = (hasClock: boolean): Record<string, string> => ({
    "content-type": "text/event-stream",
    ...(hasClock ? { "x-fakeai-clock": "monotonic-us; boot=1" } : {}),
  });
  const stub = createServer((request, response) => {
    response.writeHead(200, head(request.url === "/with")).end(events.join(""));
  });
  const origin = `http://127.0.0.1:${await listen(stub)}`;
  const look = (path: string): Promise<string> =>
    describeStream(
      { origin, protocol: "h1", path, method: "POST", headers: {}, tls: { ca: null, insecure: false, cipher: null } },
      { model: "any", accepted: takesEverything },
    );
  try {
    expect(await look("/with")).toMatch(/; the stamps came through$/);
    expect(await look("/without")).toMatch(/; the stamps came through, the x-fakeai-clock header was dropped$/);
  } finally {
    stub.closeAllConnections();
    stub.close();
  }
});

const nginx = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"].find(existsSync);
if (nginx === undefined) {
  if (process.env["CI"] === "true") throw new Error("nginx is missing: CI has to install it");
  console.warn("nginx is not installed: its test is skipped");
}

test.skipIf(nginx === undefined)("through nginx: it streams, keeps our stamps, and passes an abort on", async () => {
  const server = await serve(["--protocol", "h1:0"]);
  const upstream = server.listening[0]!.url;
  const place = mkdtempSync(join(tmpdir(), "fakeai-nginx-"));
  const port = await freePort();
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${place}/${name};`).join(" ");
  writeFileSync(
    join(place, "nginx.conf"),
    `daemon off; master_process off; pid ${place}/pid; error_log ${place}/error.log;
events {}
http {
  access_log off; ${paths}
  upstream fakeai { server ${new URL(upstream).host}; keepalive 64; }
  server {
    listen 127.0.0.1:${port};
    location / { proxy_pass http://fakeai; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }
  }
}
`,
  );
  const child = spawn(nginx!, ["-p", place, "-c", join(place, "nginx.conf")], { stdio: "ignore" });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  try {
    await eventually(async () => (await fetch(`http://127.0.0.1:${port}/health`).catch(() => null)) !== null, "nginx answers");
    const flags = ["--protocol", "h1", "--rounds", "2", "--ttft", "20", "--itl", "10", "--requests", "10"];
    const { code, result, stderr } = await undisturbed(["--url", upstream, "--via", `http://127.0.0.1:${port}`, ...flags]);
    expect(stderr).not.toMatch(/invalid/);
    expect(code).toBe(0);
    const [scenario] = result.scenarios;
    expect(scenario!.notes).toContainEqual(expect.stringMatching(/^via-h1: .*tokens were not coalesced; the stamps came through$/));
    expect(scenario!.notes).toContainEqual("via-h1: an abort reaches the server");
    const measured = scenario!.comparisons.map(({ metric, statistic, difference }) => [`${metric}.${statistic}`, difference !== null]);
    // What it adds to the first token and to each: by the client's clock, and by the stamps.
    for (const name of ["ttft.p50", "ttft.p99", "transport.p50", "transport.p99"]) expect(measured).toContainEqual([name, true]);
  } finally {
    child.kill("SIGTERM");
    await Promise.all([ended, server.stop()]);
  }
});
