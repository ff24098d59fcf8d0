/** The catalogue: each gateway's configuration leads to the server and listens where it is told. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { gateways, proxies } from "../../src/network/gateways/catalogue.ts";
import { gatewayProgram, type GatewaySettings } from "../../src/network/gateways/gateway.ts";

const directory = mkdtempSync(join(tmpdir(), "fakeai-catalogue-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const pem = { certPath: join(directory, "cert.pem"), keyPath: join(directory, "key.pem") };
writeFileSync(pem.certPath, "CERT");
writeFileSync(pem.keyPath, "KEY");

const settings: GatewaySettings = {
  upstream: { host: "127.0.0.1", port: 8001 },
  host: "127.0.0.1",
  ports: { h1: 9001, h2c: 9002, tls: 9003 },
  certificate: pem,
  buffering: false,
  upstreamHttp: "1.1",
  maxConcurrentStreams: 77,
  directory,
};

describe.each(Object.entries(gateways))("%s", (name, gateway) => {
  const ports = Object.fromEntries(gateway.clients.map((side) => [side, settings.ports[side]]));
  const asked = { ...settings, ports };
  const told = (one: GatewaySettings): string =>
    [gateway.config(one), ...gateway.args(join(directory, gateway.fileName), one), JSON.stringify(gateway.headers?.(one) ?? {})].join("\n");

  test("is told its ports and its server, and no other ports", () => {
    for (const port of Object.values(ports)) expect(told(asked)).toContain(String(port));
    expect(told(asked)).toMatch(/127\.0\.0\.1:8001|"address": "127\.0\.0\.1",\s+"port_value": 8001/);
    expect(told({ ...asked, ports: { h1: 9001 } })).not.toMatch(/900[23]|CERT|cert\.pem/);
  });

  test("what it can do changes what it is told, and what it cannot does not", () => {
    expect(told({ ...asked, buffering: true }) !== told(asked)).toBe(gateway.canBuffer);
    expect(gateway.upstreams[0]).toBe("1.1");
    for (const upstreamHttp of gateway.upstreams.slice(1)) expect(told({ ...asked, upstreamHttp })).not.toBe(told(asked));
  });

  test("its licence and its install are said; its version is told where it is installed", () => {
    expect(gateway.licence).toMatch(/^[A-Za-z0-9.-]+$/);
    expect(gateway.install).toMatch(/\S/);
    const program = gatewayProgram(gateway);
    if (program !== null) expect(gateway.version(program)).toMatch(/^\d+\.\d+/);
  });
});

test("a program that is not there has no path", () => {
  expect(gatewayProgram({ programs: ["/nowhere/gateway", "no-such-program-of-a-gateway"] })).toBeNull();
  expect(Object.keys(gateways)).toEqual(expect.arrayContaining(Object.keys(proxies)));
});
