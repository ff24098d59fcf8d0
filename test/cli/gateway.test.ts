/** `fakeai gateway`: wrong usage in one line, and a whole run against a bad gateway. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { expect, test } from "vitest";
import { UsageError } from "../../src/base/usage-error.ts";
import { noPlant, type Plant } from "../../src/network/plant.ts";
import { type Proxy, startProxy } from "../../src/network/proxy.ts";
import type { GatewayResult } from "../../src/results/gateways/types.ts";
import { gatewayFlags, settleGateway } from "../../src/settings/gateway.ts";
import { type GivenFlags, settingsOf } from "../../src/settings/parse.ts";
import { createServer as createFake } from "../../src/index.ts";
import { root, runCli } from "../support/process.ts";
import { listen } from "../support/servers.ts";

test.each<[GivenFlags, RegExp]>([
  [{}, /^name a gateway: --start nginx, or --via /],
  [{ via: ["a=http://127.0.0.1:1"] }, /^--via: give the server that the gateway leads to a port/],
  [
    { start: ["nginx=/bin/sh"], url: "http://127.0.0.1:1" },
    /^--start: a gateway that is started leads to a server of ours; --url goes with --via/,
  ],
  [
    { via: ["a=http://127.0.0.1:1"], url: "http://127.0.0.1:1", port: "8000" },
    /^--port is that of a server of ours: leave it out beside --url/,
  ],
  [{ start: ["nginx=/bin/sh"], upstream: "h3" }, /^--upstream: "h3" is not one of h1, h1s, h2c, h2/],
  [{ start: ["nginx=/bin/sh"], protocol: "h3" }, /^--protocol: "h3" is not one of h1, h1s, h2c, h2/],
  [{ start: ["litellm=/bin/sh"], protocol: "h2c,h2" }, /^--protocol: litellm speaks none of h2c, h2: leave it out/],
  [{ start: ["nginx=/bin/sh"], port: "8000" }, /^--port is for gateways that run already: name them with --via/],
  [{ start: ["nginx=/bin/sh"], upstream: "h2" }, /^--upstream is for gateways that run already/],
  [{ start: ["nginx=/nowhere/nginx"] }, /^--start: \/nowhere\/nginx is not a program that can be run/],
  [{ start: ["nginx=/etc"] }, /^--start: \/etc is not a program that can be run/],
  [{ start: ["squid"] }, /^--start: "squid" is not one of nginx, haproxy, /],
  [{ start: ["caddy:buffering=/bin/sh"] }, /^--start: caddy has no "buffering" \(it has caddy:h2\)/],
  [{ start: ["litellm:h2=/bin/sh"] }, /^--start: litellm has no "h2": it has one configuration/],
  [{ start: ["nginx=/bin/sh", "nginx=/bin/sh"] }, /^two gateways are called nginx/],
  [{ start: ["nginx=/bin/sh"], streams: "4,1" }, /^--streams: 4,1 does not ascend/],
  [{ start: ["nginx=/bin/sh"], rounds: "1" }, /^--rounds: "1" is not a whole number from 2/],
  [{ start: ["nginx=/bin/sh"], header: ["x"] }, /^--header: a header looks like "name: value"/],
  [{ start: ["nginx=/bin/sh"], header: ["host: x"] }, /^--header: host is set by the connection/],
])("%j is wrong usage", (given, message) => {
  const settle = (): unknown => settleGateway(settingsOf(gatewayFlags, given));
  expect(settle).toThrow(UsageError);
  expect(settle).toThrow(message);
});

test.each<[readonly string[], number, RegExp]>([
  [["--port", "8000", "--via", "x"], 2, /^fakeai: --via: "x" is not an address \(for example [^\n]*\)\n$/],
  [["--port", "8000", "--via", "a=ftp://127.0.0.1:9"], 2, /^fakeai: --via: ftp: is neither http: nor https:\n$/],
  [
    ["--port", "8000", "--via", "a=http://127.0.0.1:8000"],
    2,
    /^fakeai: --via: http:\/\/127\.0\.0\.1:8000 is where our own server listens \(--port\): a has to be another address\n$/,
  ],
  [
    ["--port", "8000", "--via", "a=http://127.0.0.1:9", "--cacert", "/nowhere"],
    2,
    /^fakeai: --cacert: cannot read \/nowhere \(ENOENT\)\n$/,
  ],
  [
    ["--url", "http://127.0.0.1:9", "--via", "a=http://127.0.0.1:9"],
    3,
    /\nfakeai: --url: http:\/\/127\.0\.0\.1:9 speaks nothing [^\n]*\n$/,
  ],
])(
  "certify %j",
  async (flags, expected, message) => {
    const { code, stdout, stderr } = await runCli(["gateway", "certify", ...flags]).ended;
    expect(stderr).toMatch(message);
    expect(stdout).toBe("");
    expect(code).toBe(expected);
  },
  30_000,
);

test.each<[GivenFlags, readonly string[]]>([
  [{ start: ["nginx=/bin/sh"] }, ["h1", "h2c"]],
  [{ port: "8000", via: ["a=http://127.0.0.1:1"] }, ["h1", "h2c"]],
  [{ port: "8000", via: ["a=https://127.0.0.1:1"] }, ["h1s", "h2"]],
  [{ port: "8000", via: ["a=https://127.0.0.1:1", "b=http://127.0.0.1:2"] }, ["h1", "h2c", "h1s", "h2"]],
  [{ port: "8000", via: ["a=https://127.0.0.1:1"], protocol: "h1" }, ["h1"]],
])("%j compares %j", (given, protocols) => {
  expect(settleGateway(settingsOf(gatewayFlags, given)).protocols).toEqual(protocols);
});

test("an action that there is not, and the catalogue", async () => {
  const { code, stderr } = await runCli(["gateway", "certfy"]).ended;
  expect(stderr).toBe('fakeai: "certfy" is neither certify nor list: did you mean certify?\n');
  expect(code).toBe(2);
  const list = await runCli(["gateway", "list"]).ended;
  expect(list.code).toBe(0);
  expect(list.stdout).toMatch(/^nginx +(not installed|[\d.]+ at \/)/);
  expect(list.stdout).toMatch(/\n +speaks h1, h2c, h1s, h2; also haproxy:buffering, haproxy:h2\n/);
}, 30_000);

/** A port that is free: a proxy has to know it before the server is there. */
async function freePort(): Promise<number> {
  const reserved = createServer();
  const port = await listen(reserved);
  await new Promise((resolve) => reserved.close(resolve));
  return port;
}

function proxyTo(port: number, plant: Partial<Plant>): Promise<Proxy> {
  const idle = { latencyUs: 0, jitterUs: null, bandwidth: null, stall: null, cut: null, loss: 0 };
  const target = { host: "127.0.0.1", port };
  return startProxy({ target, impairment: { up: idle, down: idle }, seed: 1, plant: { ...noPlant, ...plant } });
}

const short = ["--streams", "1", "--rounds", "2", "--duration", "0.2", "--ttft", "20", "--itl", "5"];

test("a gateway that loses events, from start to exit code", async () => {
  const out = mkdtempSync(join(tmpdir(), "fakeai-certify-"));
  const port = await freePort();
  const proxy = await proxyTo(port, { lose: 0.02 });
  const flags = [...short, "--protocol", "h1", "--out", out];
  const via = `bad=http://127.0.0.1:${proxy.port}`;
  const { code, stdout, stderr } = await runCli(["gateway", "certify", "--port", String(port), "--via", via, ...flags]).ended;
  await proxy.close();
  expect(stderr).not.toMatch(/fakeai: invalid/);
  expect(code).toBe(1);
  expect(stdout).toMatch(/^\d faults? in 1 of 1 gateway and protocol\n {2}fault {2}bad-h1, events: /);
  const result = JSON.parse(readFileSync(join(out, "gateway.json"), "utf8")) as GatewayResult;
  const ajv = new Ajv2020({ allowUnionTypes: true });
  ajv.addVocabulary(["unit"]);
  expect(ajv.validate(JSON.parse(readFileSync(`${root}results/gateways/schema.json`, "utf8")) as object, result)).toBe(true);
  const [{ fidelity, levels, config }] = result.certificates as [GatewayResult["certificates"][number]];
  expect(fidelity).toMatchObject({ repeated: 0, reordered: 0, changed: 0 });
  expect(fidelity!.lost).toBeGreaterThan(0);
  expect(config).toBeNull();
  expect(levels.map(({ streams, direct }) => [streams, direct.failed])).toEqual([[1, 0]]);
  expect(readFileSync(join(out, "gateway.html"), "utf8")).toMatch(/^<!doctype html>/);
  rmSync(out, { recursive: true });
}, 60_000);

/** Runs `gateway certify` and reads what it has left. */
async function certified(flags: readonly string[]): Promise<{ code: number | null; stderr: string; result: GatewayResult }> {
  const out = mkdtempSync(join(tmpdir(), "fakeai-certify-"));
  const { code, stderr } = await runCli(["gateway", "certify", ...short, ...flags, "--out", out]).ended;
  const result = JSON.parse(readFileSync(join(out, "gateway.json"), "utf8")) as GatewayResult;
  rmSync(out, { recursive: true });
  return { code, stderr, result };
}

test("before a server that is not ours what answers tell is looked at, and the rest is unknown", async () => {
  await using server = await createFake({ ttft: 20, itl: 5, outputTokens: 10 });
  const url = server.urls.h1!;
  const proxy = await proxyTo(Number(new URL(url).port), { lose: 0.2 });
  const { code, result } = await certified(["--url", url, "--via", `bad=http://127.0.0.1:${proxy.port}`, "--protocol", "h1"]);
  await proxy.close();
  const [bad] = result.certificates;
  const verdicts = Object.fromEntries(bad!.checks.map(({ id, verdict }) => [id, verdict]));
  expect(verdicts).toMatchObject({ events: "fault", head: "kept", abort: "unknown", errors: "unknown", cut: "unknown" });
  expect(bad!.levels.map(({ direct }) => direct.failed)).toEqual([0]);
  expect(code).toBe(1);
}, 60_000);

test("a gateway that leads to another server is not blamed for it", async () => {
  await using other = await createFake({ ttft: 20, itl: 5, outputTokens: 10 });
  const proxy = await proxyTo(Number(new URL(other.urls.h1!).port), {});
  const port = await freePort();
  const via = `astray=http://127.0.0.1:${proxy.port}`;
  const { code, result } = await certified(["--port", String(port), "--via", via, "--protocol", "h1"]);
  await proxy.close();
  const reason = `what it answers does not come from our server: it has to lead to http://127.0.0.1:${port}`;
  expect(result.certificates).toMatchObject([{ id: "astray-h1", leftOut: reason, checks: [] }]);
  expect(code).toBe(3);
}, 60_000);
