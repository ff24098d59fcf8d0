/** Proxies in front: the configuration that we print, as it runs; and scenarios that go through one. */
import { spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createServer, type FakeAiServer } from "../../src/index.ts";
import { proxies } from "../../src/network/gateways/catalogue.ts";
import { gatewayProgram } from "../../src/network/gateways/gateway.ts";
import { startGateway } from "../../src/runner/processes/gateway.ts";
import { toolVersions } from "../../src/runner/processes/machine.ts";
import type { BenchResult } from "../../src/results/types.ts";
import { checkScenario, variantsOf } from "../../src/runner/plan/scenario.ts";
import { available, runCli } from "../support/process.ts";
import { withoutEmptyLines } from "../support/chat.ts";

const nginx = gatewayProgram(proxies.nginx);
if (nginx === null) {
  if (process.env["CI"] === "true") throw new Error("nginx is missing: CI has to install it");
  console.warn("nginx is not installed: its tests are skipped");
}
const curl = available("curl");
const directory = mkdtempSync(join(tmpdir(), "fakeai-gateway-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
describe("fakeai proxy-config", () => {
  test("nginx: minimal, without a word about what was not asked for", async () => {
    const { code, stdout, stderr } = await runCli(["proxy-config", "nginx", "--listen", "h2c:9080", "--to", "[::1]:8000"]).ended;
    expect(stderr).toBe("");
    expect(code).toBe(0);
    expect(stdout).toContain("listen 127.0.0.1:9080 http2;");
    expect(stdout).toContain("server [::1]:8000 max_fails=0;");
    expect(stdout).toContain("proxy_buffering off;");
    expect(stdout).toContain("proxy_http_version 1.1;");
    expect(stdout).not.toMatch(/ssl/);
    const own = await runCli(["proxy-config", "nginx", "--buffering", "on", "--upstream-http", "1.0"]).ended;
    expect(own.stdout).toContain("proxy_buffering on;");
    expect(own.stdout).toContain("proxy_http_version 1.0;");
    expect(own.stdout).not.toContain("proxy_set_header Connection");
    expect(own.stdout).toMatch(/listen 127\.0\.0\.1:9443 ssl http2;.*\n +ssl_certificate ".+\.pem";\n +ssl_certificate_key ".+\.pem";/);
  });

  test("an upstream with a base path: clients ask for it through the proxy as well", async () => {
    const { stdout } = await runCli(["proxy-config", "nginx", "--to", "http://127.0.0.1:8001/api/v3/"]).ended;
    expect(stdout).toContain("server 127.0.0.1:8001 max_fails=0;");
    expect(stdout).toContain("# Paths go through as they are: the base URL of clients ends in /api/v3 here too.");
  });

  test.each([
    [["traefik"], /^fakeai: "traefik" is not one of nginx, haproxy, caddy, apache, envoy\n$/],
    [["envoy", "--upstream-http", "1.0"], /^fakeai: --upstream-http: envoy asks a server in 1\.1 or 2, not in 1\.0\n$/],
    [["caddy", "--buffering", "on"], /^fakeai: --buffering: caddy has no configuration that gathers answers\n$/],
    [["nginx", "--to", "https://127.0.0.1:8001"], /^fakeai: --to: the server behind speaks HTTP\/1.1 in cleartext .*\n$/],
    [["nginx", "--to", "http://user:secret@127.0.0.1:8001"], /^fakeai: --to: credentials in an address go nowhere: clients send them\n$/],
    [["nginx", "--listen", "h3:443"], /^fakeai: --listen: "h3" is not one of h1, h2c, h2.*\n$/],
    [["nginx", "--listen", "h2c:9000,h1:9000"], /^fakeai: --listen: two of them share a port\n$/],
    [["nginx", "--listen", "h2c:0"], /^fakeai: --listen: "h2c:0" needs a port from 1 to 65535 .*\n$/],
    [["nginx", "--buffering", "maybe"], /^fakeai: --buffering: "maybe" is neither on nor off\n$/],
    [["nginx", "--host", "a;b"], /^fakeai: --host: "a;b" is not an address\n$/],
    [["nginx", "--tls-cert", "x.pem"], /^fakeai: --tls-cert and --tls-key go together\n$/],
    [["nginx", "--dir", "/nowhere"], /^fakeai: --dir: \/nowhere is not a directory that can be written to\n$/],
    [["nginx", "--dir", "/dev/null"], /^fakeai: --dir: \/dev\/null is not a directory that can be written to\n$/],
    [["nginx", "--dir", "/tmp/$x"], /^fakeai: --dir, .*\n$/],
    [[], /^fakeai: missing argument <proxy>: .*nginx \(see fakeai proxy-config --help\)\n$/],
  ])("%j is wrong usage", async (args, message) => {
    const { code, stdout, stderr } = await runCli(["proxy-config", ...args]).ended;
    expect(stderr).toMatch(message);
    expect(code).toBe(2);
    expect(stdout).toBe("");
  });
});

describe.skipIf(nginx === null || !curl)("nginx", () => {
  // What a test that fails leaves running.
  const ends: (() => Promise<unknown>)[] = [];
  afterEach(() => Promise.all(ends.splice(0).map((end) => end())));
  let server: FakeAiServer;
  beforeAll(async () => {
    server = await createServer({ protocol: "h1:0", ttft: 20, itl: 10, outputTokens: 30 });
  });
  afterAll(async () => {
    await server.close();
  });

  const ask = async (
    url: string,
    flags: readonly string[],
    body = '{"model":"m","stream":true,"messages":[{"role":"user","content":"Hello"}]}',
  ): Promise<string> => {
    const child = spawn("curl", ["-sN", "-w", "%{http_version} %{time_starttransfer}", ...flags, "-d", body, url]);
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
    await new Promise((resolve) => child.once("close", resolve));
    return text;
  };

  test("as it is started for a scenario: every protocol passes, tokens at once, and nothing is left behind", async () => {
    const upstream = server.urls.h1!;
    const places = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith("fakeai-nginx-"));
    const before = places();
    const gateway = await startGateway({
      via: { proxy: "nginx" },
      upstream,
      protocols: ["h1", "h1s", "h2c", "h2"],
      maxConcurrentStreams: 100,
      cpu: null,
    });
    ends.push(() => gateway.close());
    const direct = withoutEmptyLines(await ask(`${upstream}/v1/chat/completions`, ["-H", "x-fakeai-seed: 7"])).replace(
      /[\d.]+ [\d.]+$/,
      "",
    );
    const flags = { h1: [], h1s: ["-k", "--http1.1"], h2c: ["--http2-prior-knowledge"], h2: ["-k"] } as const;
    for (const protocol of ["h1", "h1s", "h2c", "h2"] as const) {
      const answer = await ask(`${gateway.origins[protocol]}/v1/chat/completions`, ["-H", "x-fakeai-seed: 7", ...flags[protocol]]);
      const [, body, version, first] = /^(.*\n\n)([\d.]+) ([\d.]+)$/s.exec(answer)!;
      expect(withoutEmptyLines(body!)).toBe(direct);
      expect(version).toBe(protocol.startsWith("h1") ? "1.1" : "2");
      // The whole takes 310 ms.
      expect(Number(first)).toBeLessThan(0.2);
    }
    expect(gateway.usage()!.cpuUs).toBeGreaterThan(0);
    expect(gateway.died).toBeNull();
    await gateway.close();
    expect(places().filter((name) => !before.includes(name))).toEqual([]);
  });

  test("the printed configuration runs, with a body that does not fit into memory", async () => {
    const place = join(directory, "with blanks");
    mkdirSync(place);
    // Started by root, it takes the rights of an unprivileged user.
    chmodSync(directory, 0o755);
    const port = String(20_000 + (process.pid % 20_000));
    const args = ["proxy-config", "nginx", "--to", server.urls.h1!, "--listen", `h2c:${port}`, "--dir", place];
    const path = join(place, "nginx.conf");
    writeFileSync(path, (await runCli(args).ended).stdout);
    const child = spawn(nginx!, ["-c", path], { stdio: ["ignore", "ignore", "pipe"] });
    const ended = new Promise((resolve) => child.once("exit", resolve));
    ends.push(async () => {
      child.kill("SIGTERM");
      await ended;
    });
    const body = join(directory, "body.json");
    writeFileSync(body, JSON.stringify({ model: "m", max_tokens: 2, messages: [{ role: "user", content: "word ".repeat(100_000) }] }));
    const url = `http://127.0.0.1:${port}/v1/chat/completions`;
    const answer = await ask(url, ["--http2-prior-knowledge", "--retry", "20", "--retry-delay", "1", "--retry-connrefused"], `@${body}`);
    expect(answer).toMatch(/"completion_tokens": 2,/);
  });

  test("a server that is not there, a proxy that is not there", async () => {
    const needs = { upstream: server.urls.h1!, protocols: ["h2c"] as const, maxConcurrentStreams: 1, cpu: null };
    await expect(startGateway({ ...needs, via: { proxy: "squid" } })).rejects.toThrow(
      /^"squid" is no gateway that we can start \(nginx, haproxy, .*portkey\)$/,
    );
  });

  test("a scenario: native and through nginx, with its CPU time and what it does", async () => {
    const file = join(directory, "via.json");
    writeFileSync(
      file,
      JSON.stringify({
        id: "via-nginx",
        title: "t",
        isolates: "i",
        workload: { ttft: 20, itl: 5, outputTokens: 20, streams: 4, requests: 4, warmup: 4 },
        arms: [
          { id: "native", protocol: "h2", connections: 1 },
          { id: "nginx", protocol: "h2", connections: 1, via: "nginx" },
          {
            id: "late",
            protocol: "h2c",
            connections: 1,
            via: { proxy: "nginx", buffering: true, upstreamHttp: "1.0" },
            network: { rtt: 4 },
          },
        ],
        metrics: ["ttft.p50", "gatewayCpuUsPerToken.mean"],
        compare: [{ baseline: "native", candidate: "nginx" }],
        variants: [{ name: "one", suites: ["full"] }],
      }),
    );
    const out = join(directory, "out");
    const { code, stderr } = await runCli(["bench", "--keep-disturbed", "--scenario", file, "--rounds", "2", "--out", out]).ended;
    expect(stderr).not.toMatch(/invalid/);
    expect(code).toBe(0);
    const result = JSON.parse(readFileSync(join(out, "result.json"), "utf8")) as BenchResult;
    const { arms, notes } = result.scenarios[0]!;
    expect(arms.map(({ id, negotiated }) => [id, negotiated])).toEqual([
      ["native", "h2"],
      ["nginx", "h2"],
      ["late", "h2c"],
    ]);
    const [native, through, late] = arms.map(({ metrics }) => metrics);
    expect(native!.gatewayCpuUsPerToken).toBeUndefined();
    expect(through!.gatewayCpuUsPerToken!.mean).toBeGreaterThan(0);
    expect(through!.serverLateness).not.toBeNull();
    // Gathered: the first token comes with the twelfth or so, when a buffer of 4 KB is full.
    expect(through!.ttft!.p50).toBeLessThan(45_000);
    expect(late!.ttft!.p50).toBeGreaterThan(50_000);
    expect(notes).toContainEqual(
      expect.stringMatching(/^nginx: through nginx \(HTTP\/1\.1 to the server, buffering off\), which takes [\d.]+ µs/),
    );
    expect(notes).toContainEqual(expect.stringMatching(/^network of h2c, warm-up included: \d+ connections/));
  });
});

test("a scenario's via is a name or has settings, and nothing else", () => {
  const file = (via: unknown) => ({
    id: "x",
    title: "x",
    isolates: "x",
    workload: {},
    arms: [{ id: "a", protocol: "h2", connections: 1, via }],
    metrics: ["ttft.p50"],
    compare: [],
    variants: [{ name: "", suites: [] }],
  });
  expect(variantsOf(checkScenario(file("nginx"), "x.json"), null)[0]!.arms[0]!.via).toEqual({ proxy: "nginx" });
  expect(() => checkScenario(file("squid"), "x.json")).toThrow(/^--scenario: x\.json: \/arms\/0\/via/);
  expect(() => checkScenario(file({ proxy: "nginx", cache: true }), "x.json")).toThrow(/^--scenario: x\.json: \/arms\/0\/via/);
});

test("a program is looked for in PATH, and where it is known to be", () => {
  const gateway = proxies.nginx;
  expect(gatewayProgram({ ...gateway, programs: ["no-such-proxy", "/no/such/proxy"] })).toBeNull();
  expect(gatewayProgram({ ...gateway, programs: ["no-such-proxy", process.execPath] })).toBe(process.execPath);
  expect(gatewayProgram({ ...gateway, programs: ["sh"] })).toMatch(/^\/.*\/sh$/);
});

test("the version of each gateway is known where it is installed", () => {
  const versions = toolVersions();
  for (const [name, gateway] of Object.entries(proxies)) {
    const version = expect.stringMatching(/^\d+\.\d+/);
    expect(versions).toEqual(expect.objectContaining({ [name]: gatewayProgram(gateway) === null ? null : version }));
  }
});
