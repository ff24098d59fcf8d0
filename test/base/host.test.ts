/** Hosts: as a person writes them, as sockets take them, and as the printed addresses hold them. */
import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { connect as connectH2 } from "node:http2";
import { request as httpsRequest } from "node:https";
import { networkInterfaces } from "node:os";
import { describe, expect, onTestFinished, test } from "vitest";
import { bareHost, hostInUrl, isEveryAddress, isLoopback, reachableHost } from "../../src/base/host.ts";
import { createServer, UsageError } from "../../src/index.ts";
import { loadUws } from "../../src/listeners/uws/module.ts";
import { proxyConfigFlags, proxyFlags } from "../../src/settings/proxy.ts";
import { runCli } from "../support/process.ts";

test.each([
  ["[::1]", "::1", "[::1]"],
  ["::1", "::1", "[::1]"],
  ["::", "::", "[::]"],
  ["localhost", "localhost", "localhost"],
  ["192.0.2.1", "192.0.2.1", "192.0.2.1"],
  ["[localhost]", "[localhost]", "[localhost]"],
])("%s is %s, in a URL %s", (written, bare, inUrl) => {
  expect([bareHost(written), hostInUrl(bareHost(written))]).toEqual([bare, inUrl]);
});

test("what listens on every address is reached by loopback's", () => {
  for (const host of ["::", "0.0.0.0", "0:0:0:0:0:0:0:0"]) expect([isEveryAddress(host), reachableHost(host)]).toEqual([true, "127.0.0.1"]);
  for (const host of ["::1", "::2", "localhost", "0.0.0.1"]) expect([isEveryAddress(host), reachableHost(host)]).toEqual([false, host]);
});

test("loopback in every form, and nothing that only looks like it", () => {
  for (const host of ["::1", "[::1]", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1", "127.9.9.9", "LOCALHOST"]) expect(isLoopback(host)).toBe(true);
  for (const host of ["::", "::2", "::ffff:10.0.0.1", "1::1", "fe80::1%lo", "[localhost]", "127.0.0.1.example.com"])
    expect(isLoopback(host)).toBe(false);
});

const hasIpv6 = Object.values(networkInterfaces()).some((addresses) => addresses!.some(({ address }) => address === "::1"));
const engines = (await loadUws()) === null ? (["node"] as const) : (["uws", "node"] as const);

/** The status of `/health`. */
async function health(url: string, isHttp2: boolean, ca: string | null): Promise<number> {
  const trust = ca === null ? {} : { ca };
  if (isHttp2) {
    const session = connectH2(url, trust);
    session.on("error", () => {});
    onTestFinished(() => session.destroy());
    const [headers] = (await once(session.request({ ":path": "/health" }), "response")) as [{ ":status": number }];
    return headers[":status"];
  }
  const request = (ca === null ? httpRequest : httpsRequest)(`${url}/health`, { agent: false, ...trust });
  request.end();
  const [response] = (await once(request, "response")) as [{ statusCode: number; resume(): void }];
  response.resume();
  return response.statusCode;
}

describe.runIf(hasIpv6).each(engines)("h1 on %s, and the other protocols", (h1Engine) => {
  test.each([
    ["[::1]", ["[::1]"]],
    ["::", ["[::1]", "127.0.0.1"]],
    ["0.0.0.0", ["127.0.0.1"]],
  ])("--host %s is served at %j, and at the printed address", async (host, reached) => {
    await using server = await createServer({ host, protocol: "h1,h1s,h2c,h2", h1Engine });
    for (const { protocol, url } of server.listening) {
      const ca = url.startsWith("https:") ? server.ca : null;
      const addresses = reached.map((address) => Object.assign(new URL(url), { host: `${address}:${new URL(url).port}` }).origin);
      for (const address of [url, ...addresses]) expect(await health(address, protocol.startsWith("h2"), ca)).toBe(200);
    }
  });

  test("a name leads every protocol to the same address", async () => {
    await using server = await createServer({ host: "localhost", protocol: "h1,h2c", h1Engine });
    for (const { protocol, url } of server.listening) {
      const { port } = new URL(url);
      const answers = ["127.0.0.1", "[::1]"].map((address) => health(`http://${address}:${port}`, protocol === "h2c", null).catch(() => 0));
      expect(new Set(await Promise.all(answers))).toEqual(new Set([0, 200]));
    }
  });
});

test("a port or a URL in --host is refused with a hint", async () => {
  await expect(createServer({ host: "127.0.0.1:8000" })).rejects.toThrow(
    new UsageError('--host: "127.0.0.1:8000" names a port too: give 127.0.0.1, and the port with --port'),
  );
  for (const host of ["http://localhost", "a b", "[::1"])
    await expect(createServer({ host })).rejects.toThrow(/^--host: ".+" is neither a name nor an address/);
});

test("the flags of the proxies take brackets", () => {
  const parsed = (flags: readonly object[], key: string, value: string): unknown =>
    (flags as { key: string; parse: (value: string, name: string) => unknown }[])
      .find((flag) => flag.key === key)!
      .parse(value, `--${key}`);
  expect(parsed(proxyFlags, "to", "[::1]:8000")).toEqual({ host: "::1", port: 8000 });
  expect(parsed(proxyFlags, "listen", "[::1]:9000")).toEqual({ host: "::1", port: 9000 });
  expect(parsed(proxyConfigFlags, "host", "[::1]")).toBe("::1");
});

test.runIf(hasIpv6)("fakeai proxy prints addresses that can be copied", async () => {
  const { child, firstLine, ended } = runCli(["proxy", "--to", "[::1]:1", "--listen", "[::1]:0"]);
  expect(await firstLine).toMatch(/^proxy \[::1\]:\d+ {2}to \[::1\]:1 /);
  child.kill("SIGTERM");
  await ended;
});
