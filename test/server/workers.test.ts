/** `--workers`: processes that share the ports, as clients see them. */
import { readdirSync, readFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { connect as connectH2 } from "node:http2";
import { request as httpsRequest } from "node:https";
import { describe, expect, test } from "vitest";
import { createServer, UsageError } from "../../src/index.ts";
import { loadUws } from "../../src/listeners/uws/module.ts";
import { runCli, serve, type Serving } from "../support/process.ts";
import { chat, chunksOf, textOf } from "../support/chat.ts";
import { eventually, sleep } from "../support/wait.ts";

const hasUws = (await loadUws()) !== null;

interface Got {
  /** 0: the connection broke before the head. */
  readonly status: number;
  readonly body: string;
  readonly headers: Readonly<Record<string, unknown>>;
}

/** One request on a connection of its own. A stream that is cut gives what came until then. */
function ask(
  server: Serving,
  protocol: string,
  path = "/v1/chat/completions",
  body?: object,
  headers: Record<string, string> = {},
): Promise<Got> {
  const { url } = server.listening.find((listening) => listening.protocol === protocol)!;
  const tls = url.startsWith("https") ? { ca: readFileSync(server.caPath!) } : {};
  return new Promise((resolve) => {
    let text = "";
    if (protocol.startsWith("h2")) {
      const session = connectH2(url, tls).on("error", () => {});
      const stream = session.request({ ":method": body ? "POST" : "GET", ":path": path, ...headers });
      let got = { status: 0, headers: {} };
      stream.on("response", (head) => {
        got = { status: head[":status"]!, headers: head };
      });
      stream.on("data", (chunk: Buffer) => (text += chunk.toString()));
      stream.on("error", () => {});
      stream.on("close", () => {
        session.destroy();
        resolve({ ...got, body: text });
      });
      stream.end(body && JSON.stringify(body));
      return;
    }
    const call = (url.startsWith("https") ? httpsRequest : httpRequest)(
      `${url}${path}`,
      { method: body ? "POST" : "GET", agent: false, headers, ...tls },
      (response) => {
        const done = (): void => resolve({ status: response.statusCode!, headers: response.headers, body: text });
        response.on("data", (chunk: Buffer) => (text += chunk.toString()));
        response.on("end", done);
        response.on("error", done);
      },
    );
    call.on("error", () => resolve({ status: 0, headers: {}, body: text }));
    call.end(body && JSON.stringify(body));
  });
}

const manyAsk = (count: number, action: () => Promise<Got>): Promise<Got[]> => Promise.all(Array.from({ length: count }, action));
const isWhole = ({ body }: Got): boolean => body.trimEnd().endsWith("data: [DONE]");

/** The samples of `/metrics` by name and labels. */
async function metrics(server: Serving): Promise<Map<string, number>> {
  const { body } = await ask(server, server.listening[0]!.protocol, "/metrics");
  const lines = body.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ") + 1))]));
}

const perWorker = async (server: Serving, name: string): Promise<number[]> => {
  const samples = await metrics(server);
  return [0, 1].map((worker) => samples.get(`${name}{worker="${worker}"}`)!);
};

/** Process ids of the workers: children of the primary. */
function workersOf(server: Serving): number[] {
  const { pid } = server.child;
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").trim().split(" ").map(Number);
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

const everyPort = ["--protocol", "h1:0,h1s:0,h2c:0,h2:0", "--workers", "2"];
const engines = hasUws ? ["uws", "node"] : ["node"];
const linux = process.platform === "linux";

describe.each(engines)("h1 on %s", (engine) => {
  test("both workers answer on every protocol, and one page of metrics counts all", async () => {
    const server = await serve([...everyPort, "--h1-engine", engine, "--output-tokens", "3"]);
    let asked = 0;
    for (const { protocol } of server.listening) {
      const before = await perWorker(server, "fakeai_worker_http_responses_total");
      const answers = await manyAsk(24, () => ask(server, protocol, undefined, chat({ stream: true })));
      expect(answers.filter((answer) => isWhole(answer))).toHaveLength(24);
      const after = await perWorker(server, "fakeai_worker_http_responses_total");
      after.forEach((count, worker) => expect(count - before[worker]!).toBeGreaterThan(1));
      asked += 24;
    }
    const samples = await metrics(server);
    expect(samples.get('vllm:request_success_total{model_name="fakeai",finished_reason="stop"}')).toBe(asked);
    expect(samples.get('vllm:generation_tokens_total{model_name="fakeai"}')).toBe(asked * 3);
    expect(samples.get('vllm:time_to_first_token_seconds_count{model_name="fakeai"}')).toBe(asked);
    expect(samples.get("fakeai_worker_restarts_total")).toBe(0);
    const { code, signal, stderr } = await server.stop();
    expect([code, signal, stderr]).toEqual([0, null, ""]);
  });

  test("SIGTERM under many streams on every protocol: each finishes, exit 0", async () => {
    const server = await serve([...everyPort, "--h1-engine", engine, "--ttft", "300", "--itl", "100", "--output-tokens", "30"]);
    const streams = Promise.all(
      server.listening.map(({ protocol }) => manyAsk(25, () => ask(server, protocol, undefined, chat({ stream: true })))),
    );
    await eventually(async () => (await metrics(server)).get('vllm:num_requests_running{model_name="fakeai"}') === 100, "all run");
    const { code, signal } = await server.stop();
    for (const answers of await streams) expect(answers.map((answer) => isWhole(answer))).toEqual(answers.map(() => true));
    expect([code, signal]).toEqual([0, null]);
  });

  test("SIGTERM with a short grace: what is left is cut so that clients see it, exit 0", async () => {
    const server = await serve([...everyPort, "--h1-engine", engine, "--itl", "50", "--output-tokens", "1000", "--grace", "200"]);
    const streams = Promise.all(
      server.listening.map(({ protocol }) => manyAsk(10, () => ask(server, protocol, undefined, chat({ stream: true })))),
    );
    await eventually(async () => (await metrics(server)).get('vllm:num_requests_running{model_name="fakeai"}') === 40, "all run");
    const before = performance.now();
    const { code, signal } = await server.stop();
    expect(performance.now() - before).toBeLessThan(2000);
    for (const answers of await streams) expect(answers.some((answer) => isWhole(answer))).toBe(false);
    expect([code, signal]).toEqual([0, null]);
  });

  test("a second signal ends all at once", async () => {
    const server = await serve([...everyPort, "--h1-engine", engine, "--itl", "50", "--output-tokens", "1000", "--grace", "60000"]);
    const workers = linux ? workersOf(server) : [];
    const streams = manyAsk(4, () => ask(server, "h1", undefined, chat({ stream: true })));
    await eventually(async () => (await metrics(server)).get('vllm:num_requests_running{model_name="fakeai"}') === 4, "all run");
    server.child.kill("SIGINT");
    // Within 100 ms of reading the first one it would be taken for the same one, and a busy machine reads late.
    await sleep(500);
    const { code, signal } = await server.stop();
    expect([code, signal]).toEqual([143, null]);
    await eventually(() => !workers.some((pid) => isAlive(pid)), "no worker is left");
    await streams;
  });

  test.runIf(linux)("a killed worker loses its own streams only, keeps what it counted, and is started again", async () => {
    const server = await serve([...everyPort, "--h1-engine", engine, "--itl", "100", "--output-tokens", "30"]);
    for (let i = 0; i < 10; i++) await ask(server, "h1", undefined, chat({ stream: true, max_tokens: 2 }), { "x-fakeai-itl": "0" });
    const streams = Promise.all(
      server.listening.map(({ protocol }) => manyAsk(20, () => ask(server, protocol, undefined, chat({ stream: true })))),
    );
    await eventually(async () => (await metrics(server)).get('vllm:num_requests_running{model_name="fakeai"}') === 80, "all run");
    const open = await perWorker(server, "fakeai_worker_open_connections");
    const success = 'vllm:request_success_total{model_name="fakeai",finished_reason="length"}';
    const before = await metrics(server);
    expect(before.get(success)).toBe(10);
    const [victim, sibling] = workersOf(server) as [number, number];
    process.kill(victim, "SIGKILL");
    const answers = (await streams).flat();
    const whole = answers.filter((answer) => isWhole(answer)).length;
    // The scrape itself had a connection to one of them.
    expect(open.some((count) => Math.abs(whole - count) <= 1)).toBe(true);
    expect(whole).toBeGreaterThan(8);
    expect(whole).toBeLessThan(72);
    await eventually(async () => workersOf(server).filter((pid) => pid > 0).length === 2, "two workers");
    expect(workersOf(server)).toContain(sibling);
    await eventually(async () => {
      await manyAsk(6, () => ask(server, "h1", undefined, chat({ max_tokens: 1 }), { "x-fakeai-itl": "0" }));
      return (await perWorker(server, "fakeai_worker_open_connections")).length === 2;
    }, "both are asked");
    const after = await metrics(server);
    expect(after.get("fakeai_worker_restarts_total")).toBe(1);
    for (const [name, value] of before) {
      if (/_total|_count|_bucket|_sum/.test(name)) expect([name, after.get(name)! >= value]).toEqual([name, true]);
    }
    const { code, signal, stderr } = await server.stop();
    expect(stderr).toMatch(/^fakeai: worker \d \(process \d+\) ended by SIGKILL; starting it again\n$/);
    expect([code, signal]).toEqual([0, null]);
  });

  test.runIf(linux)("without its primary a worker ends by itself", async () => {
    const server = await serve([...everyPort, "--h1-engine", engine, "--itl", "50", "--output-tokens", "1000"]);
    const workers = workersOf(server);
    const streams = manyAsk(4, () => ask(server, "h1", undefined, chat({ stream: true })));
    await eventually(async () => (await metrics(server)).get('vllm:num_requests_running{model_name="fakeai"}') === 4, "all run");
    server.child.kill("SIGKILL");
    await eventually(() => !workers.some((pid) => isAlive(pid)), "no worker is left");
    await streams;
  });
});

describe("what all workers have in common", () => {
  const fast = ["--workers", "2", "--port", "0"];

  test("texts and ids: those of one process, in turns, each once, after a restart too", async () => {
    const one = await createServer({ outputTokens: "uniform(50,500)", seed: 7 });
    const expected = new Map<string, number>();
    for (let index = 0; index < 200; index++) {
      const answer = await fetch(`${one.urls.h1}/v1/chat/completions`, { method: "POST", body: JSON.stringify(chat({ stream: true })) });
      expected.set(textOf(chunksOf(await answer.text())), index);
    }
    expect(expected.size).toBe(200);
    await one.close(0);
    const server = await serve([...fast, "--output-tokens", "uniform(50,500)", "--seed", "7"]);
    const askMany = async (): Promise<{ indexes: (number | undefined)[]; ids: string[]; texts: string[] }> => {
      const all = (await manyAsk(30, () => ask(server, "h1", undefined, chat({ stream: true })))).map(({ body }) => chunksOf(body));
      const texts = all.map((chunks) => textOf(chunks));
      return { indexes: texts.map((text) => expected.get(text)), ids: all.map(([first]) => first!.id), texts };
    };
    const first = await askMany();
    const counts = await perWorker(server, "fakeai_worker_http_responses_total");
    const indexes = first.indexes.sort((a, b) => a! - b!);
    for (const parity of [0, 1]) {
      const own = indexes.filter((index) => index! % 2 === parity);
      // Worker k of 2 has used k, k + 2, ... without a gap.
      expect(own).toEqual(own.map((_, position) => parity + 2 * position));
      expect(own.length).toBeLessThanOrEqual(counts[parity]!);
    }
    expect(new Set(first.texts).size).toBe(30);
    if (linux) {
      process.kill(workersOf(server)[0]!, "SIGKILL");
      await eventually(async () => (await metrics(server)).get("fakeai_worker_restarts_total") === 1, "it is started again");
      await sleep(500);
    }
    const second = await askMany();
    expect(new Set([...first.texts, ...second.texts]).size).toBe(60);
    expect(new Set([...first.ids, ...second.ids]).size).toBe(60);
    await server.stop();
  });

  test("faults: those of one process, in turns", async () => {
    const fault = ["status(503)@40%", "delay(1ms)@30%"];
    const body = JSON.stringify(chat({ max_tokens: 1 }));
    /** What each of so many requests met, on one connection of HTTP/2 and so in one worker. */
    const drawn = async (url: string, count: number): Promise<string[]> => {
      const session = connectH2(url);
      const met: string[] = [];
      for (let index = 0; index < count; index++) {
        const stream = session.request({ ":method": "POST", ":path": "/v1/chat/completions" });
        stream.on("response", (head) => met.push(String(head["x-fakeai-fault"])));
        stream.resume().end(body);
        await new Promise((resolve) => stream.on("close", resolve));
      }
      session.destroy();
      return met;
    };
    const one = await createServer({ protocol: "h2c", fault, seed: 7 });
    const all = await drawn(one.urls.h2c!, 80);
    await one.close(0);
    expect(new Set(all)).toEqual(new Set(["undefined", "status", "delay", "delay, status"]));
    const server = await serve(["--workers", "2", "--protocol", "h2c:0", "--seed", "7", ...fault.flatMap((spec) => ["--fault", spec])]);
    const { url } = server.listening[0]!;
    const turns = [await drawn(url, 40), await drawn(url, 40)].map((met) => met.join(" "));
    const everyOther = [0, 1].map((parity) => all.filter((_, index) => index % 2 === parity).join(" "));
    expect(new Set(turns)).toEqual(new Set(everyOther));
    await server.stop();
  });

  test("a small rate limit admits exactly what it says", async () => {
    const server = await serve([...fast, "--rate-limit", "rpm=20", "--output-tokens", "1"]);
    const statuses = (await manyAsk(60, () => ask(server, "h1", undefined, chat()))).map(({ status }) => status);
    const counts = await perWorker(server, "fakeai_worker_http_responses_total");
    counts.forEach((count) => expect(count).toBeGreaterThan(1));
    // One comes back every three seconds.
    const admitted = statuses.filter((status) => status === 200).length;
    expect(admitted).toBeGreaterThanOrEqual(20);
    expect(admitted).toBeLessThanOrEqual(22);
    expect(statuses.filter((status) => status === 429)).toHaveLength(60 - admitted);
    const { headers } = await ask(server, "h1", undefined, chat());
    expect(headers).toMatchObject({ "x-ratelimit-limit-requests": "20", "x-ratelimit-remaining-requests": "0" });
    expect(Number(headers["retry-after-ms"])).toBeGreaterThan(0);
    await server.stop();
  });

  test("a large one is off by a block at most, and limits can change", async () => {
    const server = await serve([...fast, "--rate-limit", "rpm=400", "--output-tokens", "1", "--admin"]);
    const began = performance.now();
    const admittedOf = async (count: number): Promise<number> => {
      let admitted = 0;
      for (let left = count; left > 0; left -= 50) {
        const answers = await manyAsk(50, () => ask(server, "h1", undefined, chat()));
        admitted += answers.filter(({ status }) => status === 200).length;
      }
      return admitted;
    };
    const admitted = await admittedOf(600);
    const block = 400 / 50;
    const refilled = ((performance.now() - began) / 60_000) * 400;
    expect(admitted).toBeGreaterThanOrEqual(Math.min(600, 400 - block));
    expect(admitted).toBeLessThanOrEqual(400 + refilled + block + 1);
    const changed = await ask(server, "h1", "/admin/config", { "rate-limit": null });
    expect(changed.status).toBe(200);
    expect(await admittedOf(100)).toBe(100);
    await server.stop();
  });

  test("a changed knob is in force in all workers when the change is answered; a wrong one in none", async () => {
    const server = await serve([...fast, "--output-tokens", "3", "--admin"]);
    const lengths = async (): Promise<number[]> => {
      const answers = await manyAsk(24, () => ask(server, "h1", undefined, chat()));
      return [
        ...new Set(answers.map(({ body }) => (JSON.parse(body) as { usage: { completion_tokens: number } }).usage.completion_tokens)),
      ];
    };
    expect(await lengths()).toEqual([3]);
    for (const tokens of [5, 6, 7]) {
      const { status, body } = await ask(server, "h1", "/admin/config", { "output-tokens": tokens });
      expect([status, (JSON.parse(body) as Record<string, unknown>)["output-tokens"]]).toEqual([200, String(tokens)]);
      expect(await lengths()).toEqual([tokens]);
    }
    const wrong = await ask(server, "h1", "/admin/config", { "output-tokens": 9, itl: "fast" });
    expect(wrong.status).toBe(400);
    expect(JSON.parse(wrong.body)).toMatchObject({ error: { param: "itl", code: "invalid_value" } });
    expect(await lengths()).toEqual([7]);
    if (linux) {
      process.kill(workersOf(server)[1]!, "SIGKILL");
      await eventually(async () => (await metrics(server)).get("fakeai_worker_restarts_total") === 1, "it is started again");
      await sleep(500);
      expect(await lengths()).toEqual([7]);
    }
    await server.stop();
  });
});

test.runIf(linux)("connections on their way to a worker that is killed before it takes them: another answers", async () => {
  const server = await serve(["--protocol", "h1:0,h1s:0,h2c:0,h2:0", "--workers", "2", "--h1-engine", "node", "--output-tokens", "3"]);
  const filesOf = (): number => readdirSync(`/proc/${server.child.pid}/fd`).length;
  await ask(server, "h1", "/health");
  const files = filesOf();
  const [victim] = workersOf(server) as [number, number];
  process.kill(victim, "SIGSTOP");
  const asked = Promise.all(
    server.listening.map(({ protocol }) => manyAsk(4, () => ask(server, protocol, undefined, chat({ stream: true })))),
  );
  // Long enough for what the other worker can answer.
  await sleep(500);
  process.kill(victim, "SIGKILL");
  const answers = (await asked).flat();
  expect(answers.filter((answer) => isWhole(answer))).toHaveLength(16);
  await eventually(() => workersOf(server).length === 2 && filesOf() <= files, "the primary keeps no connection");
  const { code, signal } = await server.stop();
  expect([code, signal]).toEqual([0, null]);
});

test.runIf(linux)("a fault that no worker can make changes nothing: a worker that starts anew serves as before", async () => {
  const server = await serve(["--workers", "2", "--protocol", "h1:0", "--h1-engine", engines[0]!, "--admin", "--output-tokens", "3"]);
  const refused = await ask(server, "h1", "/admin/config", { fault: ["goaway"] });
  expect([refused.status, JSON.parse(refused.body)]).toMatchObject([400, { error: { param: "fault", code: "invalid_value" } }]);
  process.kill(workersOf(server)[1]!, "SIGKILL");
  await eventually(async () => {
    if ((await metrics(server)).get("fakeai_worker_restarts_total") !== 1) return false;
    await manyAsk(6, () => ask(server, "h1", undefined, chat({ max_tokens: 1 })));
    return (await perWorker(server, "fakeai_worker_open_connections")).length === 2 && workersOf(server).length === 2;
  }, "it is started again");
  await sleep(500);
  expect(workersOf(server)).toHaveLength(2);
  const { stderr } = await server.stop();
  expect(stderr).toMatch(/^fakeai: worker 1 \(process \d+\) ended by SIGKILL; starting it again\n$/);
});

describe("start", () => {
  test("--json and the lines say how many workers there are", async () => {
    const server = await serve(["--workers", "2", "--protocol", "h1:0,h2c:0"]);
    expect(JSON.parse(await server.firstLine)).toMatchObject({ workers: 2, listening: [{ protocol: "h1" }, { protocol: "h2c" }] });
    expect((await server.stop()).stdout.trimEnd().split("\n")).toHaveLength(1);
    const plain = runCli(["serve", "--workers", "2", "--port", "0"]);
    await plain.firstLine;
    plain.child.kill("SIGTERM");
    expect((await plain.ended).stdout).toMatch(/^h1 {3}http:.*\n(HTTP\/1\.0 .*\n)?2 workers share the port\n$/);
  });

  test.each(["h1", "h2c"])("a port that %s of others holds is one line and exit 1", async (holding) => {
    const holder = await serve(["--protocol", `${holding}:0`, "--workers", "2"]);
    const { port } = new URL(holder.listening[0]!.url);
    for (const workers of ["1", "2"]) {
      for (const protocol of [`h1:${port},h2c:0`, `h2c:${port}`]) {
        const { code, stdout, stderr } = await runCli(["serve", "--workers", workers, "--protocol", protocol]).ended;
        expect(stderr).toMatch(/^fakeai: [^\n]+the port is taken[^\n]+\n$/);
        expect([code, stdout]).toEqual([1, ""]);
      }
    }
    expect((await holder.stop()).code).toBe(0);
  });

  test.each([
    ["0", /^fakeai: --workers: 0 is not a whole number from 1 to 256\n$/],
    ["many", /^fakeai: --workers: "many" is neither a whole number nor auto\n$/],
  ])("--workers %s is wrong usage", async (value, message) => {
    const { code, stderr } = await runCli(["serve", "--workers", value]).ended;
    expect(stderr).toMatch(message);
    expect(code).toBe(2);
  });

  test("what only a worker finds out is wrong usage too, and nothing is left running", async () => {
    const { code, stderr } = await runCli([
      "serve",
      "--workers",
      "2",
      "--protocol",
      "h1:0",
      "--h1-engine",
      "uws",
      "--stall-timeout",
      "20000",
    ]).ended;
    expect(stderr).toMatch(/^fakeai: --(stall-timeout|h1-engine)[^\n]+\n$/);
    expect(code).toBe(2);
  });

  test("createServer starts one process", async () => {
    await expect(createServer({ workers: 2 })).rejects.toThrow(UsageError);
  });
});

describe.runIf(linux).each(engines)("a worker that is stopped, h1 on %s", (engine) => {
  /** The first answer of many connections: those that are dealt to the stopped worker wait. */
  const first = (action: () => Promise<Got>): Promise<Got> => Promise.race(Array.from({ length: 16 }, action));

  test("keeps no change and no scrape waiting, is named, and changes when it runs again", async () => {
    const server = await serve(["--port", "0", "--workers", "2", "--admin", "--h1-engine", engine]);
    const [, pid] = workersOf(server);
    process.kill(pid!, "SIGSTOP");
    const before = performance.now();
    const changed = await first(() => ask(server, "h1", "/admin/config", { ttft: 5 }));
    expect(performance.now() - before).toBeLessThan(4000);
    expect([changed.status, JSON.parse(changed.body)]).toMatchObject([503, { error: { code: "worker_not_changed" } }]);
    expect((JSON.parse(changed.body) as { error: { message: string } }).error.message).toMatch(
      new RegExp(
        `^Worker (0|1) \\(process ${pid}\\) gave no answer for 1000 ms: stopped, or stuck\\. What runs again changes then\\. Worker (0|1) changed\\.$`,
      ),
    );
    const { body } = await first(() => ask(server, "h1", "/admin/config"));
    expect(JSON.parse(body)).toMatchObject({ ttft: "5" });
    // It was late once: no scrape waits for it again.
    const scraped = performance.now();
    const page = await first(() => ask(server, "h1", "/metrics"));
    expect(performance.now() - scraped).toBeLessThan(900);
    expect(
      page.body
        .match(/^fakeai_worker_answers\{worker="\d"\} \d$/gm)
        ?.map((line) => line.at(-1))
        .sort(),
    ).toEqual(["0", "1"]);
    expect((await first(() => ask(server, "h1", "/health"))).status).toBe(200);

    process.kill(pid!, "SIGCONT");
    await eventually(async () => {
      const answers = await manyAsk(16, () => ask(server, "h1", "/admin/config"));
      return answers.every(({ body }) => (JSON.parse(body) as { ttft: unknown }).ttft === "5");
    }, "both have changed");
    await eventually(async () => (await perWorker(server, "fakeai_worker_answers")).join() === "1,1", "both answer");
    expect((await ask(server, "h1", "/admin/config", { ttft: 6 })).status).toBe(200);
    expect((await server.stop()).code).toBe(0);
  });

  test("does not hold up the end: it is killed when the grace is over", async () => {
    const server = await serve(["--port", "0", "--workers", "2", "--grace", "1500", "--h1-engine", engine]);
    const pids = workersOf(server);
    process.kill(pids[0]!, "SIGSTOP");
    const before = performance.now();
    const { code, signal } = await server.stop();
    const took = performance.now() - before;
    expect([code, signal]).toEqual([0, null]);
    expect(took).toBeGreaterThan(1400);
    expect(took).toBeLessThan(3000);
    expect(pids.some((pid) => isAlive(pid))).toBe(false);
  });
});

// On node the first process accepts the connections, so no worker could answer.
test.runIf(linux && hasUws)("a first process that is stopped is named", async () => {
  const server = await serve(["--port", "0", "--workers", "2"]);
  process.kill(server.child.pid!, "SIGSTOP");
  const { status, body } = await ask(server, "h1", "/metrics").finally(() => process.kill(server.child.pid!, "SIGCONT"));
  expect([status, body]).toEqual([503, expect.stringContaining(`The first process (${server.child.pid}) gave no answer`) as string]);
  expect((await ask(server, "h1", "/metrics")).status).toBe(200);
  expect((await server.stop()).code).toBe(0);
});
