/** The command line as a user meets it: the built program, in a process of its own. */
import { mkdtempSync, writeFileSync } from "node:fs";
import { connect, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ownVersion } from "../../src/base/version.ts";
import { serverFlags } from "../../src/settings/server.ts";
import { loadUws } from "../../src/listeners/uws/module.ts";
import { cliPath, runCli, serve, type Serving } from "../support/process.ts";
import { chat, chunksOf } from "../support/chat.ts";
import { freePort, listen } from "../support/servers.ts";

const hasUws = (await loadUws()) !== null;
const folder = mkdtempSync(join(tmpdir(), "fakeai-"));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const ask = (origin: string, body: object = chat()): Promise<Response> =>
  fetch(`${origin}/v1/chat/completions`, { method: "POST", body: JSON.stringify(body) });
const tokensOf = async (origin: string): Promise<number> =>
  ((await (await ask(origin)).json()) as { usage: { completion_tokens: number } }).usage.completion_tokens;

/** Resolves when a server listens there, and has had the time to hear signals: one that prints nothing does not say so. */
async function accepts(port: number): Promise<void> {
  for (let isUp = false; !isUp; await new Promise((resolve) => setTimeout(resolve, 200))) {
    const socket = connect(port, "127.0.0.1");
    isUp = await new Promise((resolve) => {
      socket.once("connect", () => resolve(true));
      socket.once("error", () => resolve(false));
    });
    socket.destroy();
  }
}

describe("start", () => {
  test("one line per protocol, with engine, address and the latency it will keep", async () => {
    const running = runCli(["serve", "--protocol", "h1:0,h2c:0,h2:0", "--h1-engine", "node", "--ttft", "100", "--itl", "20:10"]);
    await running.firstLine;
    running.child.kill("SIGTERM");
    const { stdout, stderr, code } = await running.ended;
    const lines = stdout.trimEnd().split("\n");
    expect(lines[0]).toMatch(/^h1 {3}http:\/\/127\.0\.0\.1:\d+ {2}node {2}TTFT 100 ms, ITL 20:10, 128 tokens$/);
    expect(lines[1]).toMatch(/^h2c {2}http:\/\/127\.0\.0\.1:\d+ /);
    expect(lines[2]).toMatch(/^h2 {3}https:\/\/127\.0\.0\.1:\d+ /);
    expect(lines[3]).toMatch(/^trust it: curl --cacert (\S+) .*NODE_EXTRA_CA_CERTS=\1$/);
    expect(lines).toHaveLength(4);
    expect([stderr, code]).toEqual(["", 0]);
  });

  test("--json is one line that a program can read", async () => {
    const server = await serve(["--protocol", "h1:0,h2c:0", "--h2-engine", "own"]);
    expect(server.listening).toEqual([
      {
        protocol: "h1",
        engine: hasUws ? "uws" : "node",
        engineVersion: expect.stringMatching(hasUws ? /^(uws-pack|@uwsjs\/core) 20\.\d+\.\d+$/ : /^node /) as string,
        url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/) as string,
      },
      {
        protocol: "h2c",
        engine: "own",
        engineVersion: `fakeai ${ownVersion()} on node ${process.versions.node}`,
        url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/) as string,
      },
    ]);
    expect((await server.stop()).stdout.trimEnd().split("\n")).toHaveLength(1);
  });

  test("--quiet prints nothing", async () => {
    const port = await freePort();
    const running = runCli(["serve", "--quiet", "--port", String(port)]);
    await accepts(port);
    running.child.kill("SIGTERM");
    expect(await running.ended).toMatchObject({ stdout: "", stderr: "", code: 0 });
  });

  test.each<[string, Record<string, string>, string]>([
    ["the environment", { FAKEAI_JSON: "true" }, ""],
    ["the file", {}, "json: true\n"],
  ])("--json and --quiet by %s", async (_where, env, yaml) => {
    const config = file(`print-${yaml.length}.yaml`, `port: 0\n${yaml}`);
    const json = runCli(["serve", "--config", config], { env });
    expect(JSON.parse(await json.firstLine)).toHaveProperty("listening");
    json.child.kill("SIGTERM");
    expect((await json.ended).code).toBe(0);

    const port = await freePort();
    const quiet = file(`quiet-${yaml.length}.yaml`, `protocol: h2c:${port}\n${yaml.replace("json", "quiet")}`);
    const silent = runCli(["serve", "--config", quiet], { env: yaml === "" ? { FAKEAI_QUIET: "1" } : {} });
    await accepts(port);
    silent.child.kill("SIGTERM");
    expect(await silent.ended).toMatchObject({ stdout: "", stderr: "", code: 0 });
  });

  test("fakeai-server is fakeai serve", async () => {
    const running = runCli(["--json", "--port", "0"], { script: cliPath.replace("cli.js", "cli/fakeai-server.js") });
    const { listening } = JSON.parse(await running.firstLine) as { listening: { url: string }[] };
    expect((await fetch(`${listening[0]!.url}/health`)).status).toBe(200);
    running.child.kill("SIGINT");
    expect((await running.ended).code).toBe(0);
  });

  test("--http2 adds h2; --host listens elsewhere", async () => {
    const server = await serve(["--port", "0", "--http2", "--protocol", "h1,h2:0", "--host", "127.0.0.2"]);
    expect(server.listening.map(({ protocol }) => protocol)).toEqual(["h1", "h2"]);
    expect(server.listening[0]!.url).toContain("127.0.0.2");
    expect(server.caPath).toMatch(/\.pem$/);
    await server.stop();
  });

  test("from nothing to the first answer (printed, not judged)", async () => {
    const times: number[] = [];
    for (let round = 0; round < 5; round++) {
      const startedMs = performance.now();
      const server = await serve(["--port", "0"]);
      expect((await ask(server.listening[0]!.url)).status).toBe(200);
      times.push(performance.now() - startedMs);
      await server.stop();
    }
    console.info(`cold start to first answered request: ${times.map((ms) => ms.toFixed(0)).join(", ")} ms`);
  });
});

describe("where a knob comes from", () => {
  test("the command line wins over the environment, the environment over the file", async () => {
    const config = file("three.yaml", "output-tokens: 3\nttft: 1ms\nmodel: [a, b]\nstamps: true\nport: 0\n");
    const fromFile = await serve(["--config", config]);
    const url = fromFile.listening[0]!.url;
    const body = (await (await ask(url, chat({ model: "a" }))).json()) as { usage: { completion_tokens: number }; fakeai?: object };
    expect(body.usage.completion_tokens).toBe(3);
    expect(body.fakeai).toBeDefined();
    expect((await ask(url, chat({ model: "c" }))).status).toBe(404);
    await fromFile.stop();

    const env = { FAKEAI_OUTPUT_TOKENS: "4", FAKEAI_CONFIG: config, FAKEAI_STAMPS: "false", FAKEAI_MODEL: "c,gpt-4o" };
    const fromEnvironment = await serve([], { env });
    expect(await tokensOf(fromEnvironment.listening[0]!.url)).toBe(4);
    expect(await (await ask(fromEnvironment.listening[0]!.url)).text()).not.toContain('"fakeai"');
    await fromEnvironment.stop();

    const fromFlags = await serve(["--output-tokens", "5", "--model", "x", "--model", "gpt-4o"], { env });
    expect(await tokensOf(fromFlags.listening[0]!.url)).toBe(5);
    await fromFlags.stop();
  });

  test("every flag is in the help, and how its variable is called", async () => {
    const { stdout, code } = await runCli(["serve", "--help-all"]).ended;
    expect(code).toBe(0);
    for (const { key } of serverFlags) {
      const flag = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
      expect(stdout).toContain(`--${flag}`);
    }
    expect(stdout.replace(/\s+/g, " ")).toContain(
      "Every flag can also be an environment variable (FAKEAI_TTFT=100, FAKEAI_TOKENS_PER_CHUNK=4)",
    );
  });

  test("--version", async () => {
    expect(await runCli(["--version"]).ended).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) as string });
  });
});

describe("wrong usage is one line and exit 2", () => {
  test.each<[string, string[], RegExp]>([
    ["an unknown profile", ["serve", "--profile", "azure"], /--profile: "azure" is not one of openai, vllm, openrouter, minimal/],
    ["an unknown mode", ["serve", "--mode", "parrot"], /--mode: "parrot" is neither random nor echo/],
    ["no tokens in an event", ["serve", "--tokens-per-chunk", "0"], /--tokens-per-chunk: 0 is not a whole number from 1 to 1024/],
    ["an unknown command", ["sevre"], /^fakeai: unknown command sevre: did you mean serve\?\n$/],
    ["an unknown command like no other", ["x"], /^fakeai: unknown command x \(see fakeai --help\)\n$/],
    ["an unknown flag", ["serve", "--tftf", "5"], /^fakeai: unknown option --tftf: did you mean --ttft\?\n$/],
    ["a flag without its value", ["serve", "--ttft"], /^fakeai: --ttft <spec> needs a value \(see fakeai serve --help\)\n$/],
    ["an unknown protocol", ["serve", "--protocol", "h4"], /"h4" is not one of h1, h1s, h2c, h2, h3/],
    ["a protocol twice", ["serve", "--protocol", "h1,h1:0"], /named twice/],
    ["a port out of range", ["serve", "--protocol", "h1:70000"], /65535/],
    ["a port that is no number", ["serve", "--port", "http"], /whole number/],
    ["two ports for h1", ["serve", "--port", "1", "--protocol", "h1:2"], /two ports for h1/],
    ["two protocols on one port", ["serve", "--protocol", "h1:9000,h2c:9000"], /share a port/],
    ["--port without h1", ["serve", "--port", "9000", "--protocol", "h2c"], /--port is the port of h1/],
    ["a latency that cannot be read", ["serve", "--ttft", "fast"], /^fakeai: --ttft: .*for example/],
    ["a negative latency", ["serve", "--itl", "normal(-5,2)"], /--itl/],
    ["a length that cannot be read", ["serve", "--output-tokens", "1e9"], /--output-tokens/],
    ["a timer that does not exist", ["serve", "--timer", "exact"], /neither standard nor precise/],
    ["an engine that does not exist", ["serve", "--h1-engine", "deno"], /neither uws nor node/],
    ["half a certificate", ["serve", "--tls-cert", "a.pem"], /go together/],
    [
      "a certificate that is not there",
      ["serve", "--protocol", "h2:0", "--tls-cert", "no.pem", "--tls-key", "no.pem"],
      /cannot read no\.pem \(ENOENT\)/,
    ],
    ["a certificate that is none", ["serve", "--protocol", "h2:0", "--tls-cert", cliPath, "--tls-key", cliPath], /not a PEM certificate/],
    ["no streams at all", ["serve", "--max-concurrent-streams", "0"], /--max-concurrent-streams/],
    ["a size that cannot be read", ["serve", "--max-body", "big"], /--max-body/],
    ["a text file that is not there", ["serve", "--text-file", "no.txt"], /--text-file: cannot read/],
    ["a config file that is not there", ["serve", "--config", "no.yaml"], /--config: cannot read/],
    ["a config file that is no YAML", ["serve", "--config", file("bad.yaml", "a: [b\nc: }")], /not YAML/],
    ["a config file that is a list", ["serve", "--config", file("list.yaml", "- a\n")], /keys and values/],
    ["an unknown key", ["serve", "--config", file("unknown.yaml", "tftf: 5\n")], /unknown key "tftf": did you mean ttft\?$/m],
    ["another tool's key", ["serve", "--config", file("other.yaml", "latency: 5\n")], /unknown key "latency": did you mean ttft\?$/m],
    ["a key like no other", ["serve", "--config", file("none.yaml", "zzzz: 5\n")], /unknown key "zzzz"; keys are .*output-tokens/],
    ["a key with keys of its own", ["serve", "--config", file("nested.yaml", "ttft:\n  men: 5\n")], /"ttft" must be a text or number/],
    ["a key of the wrong type", ["serve", "--config", file("type.yaml", "seed: many\n")], /"seed" must be a whole number/],
  ])("%s", async (_what, args, message) => {
    const { code, stdout, stderr } = await runCli(args).ended;
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^fakeai: .*\n$/);
    expect([code, stdout]).toEqual([2, ""]);
  });

  test("a boolean variable that is none", async () => {
    const { code, stderr } = await runCli(["serve"], { env: { FAKEAI_STAMPS: "perhaps" } }).ended;
    expect([code, stderr]).toEqual([2, 'fakeai: FAKEAI_STAMPS: "perhaps" is neither true nor false\n']);
  });

  test.runIf(hasUws)("a stall time-out that uWebSockets.js cannot keep; node can", async () => {
    const { code, stderr } = await runCli(["serve", "--port", "0", "--stall-timeout", "20000"]).ended;
    expect(code).toBe(2);
    expect(stderr).toMatch(/^fakeai: --stall-timeout beyond 10000: .*--h1-engine node, or leave it out\n$/);
    const server = await serve(["--port", "0", "--stall-timeout", "20000", "--h1-engine", "node"]);
    expect((await server.stop()).code).toBe(0);
  });
});

test.runIf(hasUws).each([
  ["--head-timeout", "5000"],
  ["--idle-timeout", "5000"],
  ["--body-timeout", "20000"],
])("%s, which uWebSockets.js decides by itself, is refused there and kept by node", async (flag, value) => {
  const { code, stderr } = await runCli(["serve", "--port", "0", flag, value]).ended;
  expect([code, stderr.split("\n").length]).toEqual([2, 2]);
  expect(stderr).toMatch(new RegExp(`^fakeai: ${flag}.*uWebSockets\\.js.*--h1-engine node`));
  const server = await serve(["--port", "0", flag, value, "--h1-engine", "node"]);
  expect((await server.stop()).code).toBe(0);
});

describe.runIf(hasUws)("heads on uWebSockets.js", () => {
  const statusOf = async (server: Serving, bytes: number): Promise<number> => {
    const { status } = await fetch(`${server.listening[0]!.url}/health`, { headers: { "x-pad": "x".repeat(bytes) } });
    return status;
  };

  test("are as large as --max-head says, in workers too", async () => {
    for (const args of [[], ["--workers", "2"]]) {
      const server = await serve(["--port", "0", "--max-head", "64kb", ...args]);
      expect(server.listening[0]!.engine).toBe("uws");
      expect([await statusOf(server, 60_000), await statusOf(server, 70_000)]).toEqual([200, 431]);
      await server.stop();
    }
  });

  test("are never larger than the environment says: what was asked for beyond is refused, the default is noted", async () => {
    const env = { UWS_HTTP_MAX_HEADERS_SIZE: "8192" };
    const { code, stderr } = await runCli(["serve", "--port", "0", "--max-head", "64kb"], { env }).ended;
    expect([code, stderr]).toEqual([
      2,
      "fakeai: --max-head 64kb: uWebSockets.js takes heads of up to 8192 bytes in this process; set UWS_HTTP_MAX_HEADERS_SIZE=65536 in the environment of the program, or use --h1-engine node\n",
    ]);
    const server = await serve(["--port", "0"], { env });
    expect([await statusOf(server, 7000), await statusOf(server, 9000)]).toEqual([200, 431]);
    await server.stop();
  });
});

describe("a port that is taken is one line and exit 1", () => {
  const engines = hasUws ? ["uws", "node"] : ["node"];
  test.each<[string, string]>(engines.flatMap((first) => [...engines, "h2c"].map((second): [string, string] => [first, second])))(
    "%s first, then %s",
    async (first, second) => {
      const holder = await serve(["--port", "0", "--h1-engine", first]);
      const { port } = new URL(holder.listening[0]!.url);
      const args = second === "h2c" ? ["--protocol", `h2c:${port}`] : ["--port", port, "--h1-engine", second];
      const { code, stdout, stderr } = await runCli(["serve", ...args]).ended;
      expect(stderr).toMatch(/^fakeai: [^\n]+the port is taken[^\n]+\n$/);
      expect([code, stdout]).toEqual([1, ""]);
      expect((await fetch(`${holder.listening[0]!.url}/health`)).status).toBe(200);
      await holder.stop();
    },
  );

  test.each([...engines, "h2c"])("an address that this machine has not is not called a taken port: %s", async (engine) => {
    const listener = engine === "h2c" ? ["--protocol", "h2c:0"] : ["--port", "0", "--h1-engine", engine];
    const elsewhere = await runCli(["serve", ...listener, "--host", "192.0.2.1"]).ended;
    expect(elsewhere.stderr).toMatch(/^fakeai: [^\n]*EADDRNOTAVAIL[^\n]*check --host\)\n$/);
    expect([elsewhere.code, elsewhere.stdout]).toEqual([1, ""]);
    const unknown = await runCli(["serve", ...listener, "--host", "no-such-host.invalid"]).ended;
    expect(unknown.stderr).toMatch(/^fakeai: [^\n]*(ENOTFOUND|EAI_AGAIN)[^\n]*check --host\)\n$/);
    expect(unknown.code).toBe(1);
  });

  test("held by a stranger", async () => {
    const stranger = createTcpServer();
    const port = await listen(stranger);
    expect((await runCli(["serve", "--port", String(port)]).ended).code).toBe(1);
    stranger.close();
  });

  test("when one of several cannot start, none goes on", async () => {
    const holder = await serve(["--protocol", "h2c:0"]);
    const { port } = new URL(holder.listening[0]!.url);
    expect((await runCli(["serve", "--protocol", `h1:0,h2c:${port}`]).ended).code).toBe(1);
    await holder.stop();
  });
});

test("streams over the built program too", async () => {
  const server = await serve(["--port", "0", "--output-tokens", "5"]);
  expect(chunksOf(await (await ask(server.listening[0]!.url, chat({ stream: true }))).text())).toHaveLength(7);
  await server.stop();
});
