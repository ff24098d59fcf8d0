/** The server's limit of streams through a gateway that was not started here: before another server at the port that it leads to. */
import { afterAll, expect, test } from "vitest";
import { noPlant } from "../../../src/network/plant.ts";
import { startProxy } from "../../../src/network/proxy.ts";
import type { Certificate } from "../../../src/results/gateways/types.ts";
import type { Candidate } from "../../../src/runner/gateways/candidates.ts";
import { streamLimitsAt } from "../../../src/runner/gateways/certify.ts";
import { startServerChild } from "../../../src/runner/processes/target.ts";
import { gatewayFlags, settleGateway } from "../../../src/settings/gateway.ts";
import { settingsOf } from "../../../src/settings/parse.ts";
import { sampleGatewayResult } from "../../support/sample-gateway.ts";

const open: { close(): Promise<unknown> }[] = [];
afterAll(() => Promise.all(open.map((one) => one.close())));

test("those that ask in HTTP/2 are looked at; of the others it is said why not", async () => {
  const more = { ttft: 20, itl: 2, outputTokens: 10, maxConcurrentStreams: 100, seed: 1, cpu: null, stamps: false } as const;
  const server = await startServerChild({ protocols: ["h2c"], engine: "node", ...more });
  open.push(server);
  const port = Number(new URL(server.origins.h2c!).port);
  const idle = { latencyUs: 0, jitterUs: null, bandwidth: null, stall: null, cut: null, loss: 0 };
  const target = { host: "127.0.0.1", port };
  const proxy = await startProxy({ target, impairment: { up: idle, down: idle }, seed: 1, plant: noPlant });
  open.push(proxy);
  const settings = settleGateway(
    settingsOf(gatewayFlags, { via: [`plain=http://127.0.0.1:${proxy.port}`], port: String(port), upstream: "h2c", protocol: "h2c" }),
  );
  const candidate = (id: string): Candidate => ({
    id,
    name: id,
    protocol: "h2c",
    origin: `http://127.0.0.1:${proxy.port}`,
    pathOf: (path) => path,
    tls: server.tls,
    headers: {},
    child: null,
    started: null,
  });
  const [sample] = sampleGatewayResult().certificates;
  const certificates = new Map<string, Certificate>([
    ["plain", { ...sample!, upstreamHttp: "HTTP/2" }],
    ["older", { ...sample!, upstreamHttp: "HTTP/1.1" }],
  ]);
  const found = await streamLimitsAt(server, [candidate("plain"), candidate("older")], certificates, settings, (one) => open.push(one));
  // Each of its twelve connections is one to the server: none meets the limit.
  expect(found.get("plain")).toMatchObject({
    verdict: "kept",
    seen: expect.stringMatching(/^12 streams at a server that allows 4 on a connection: 12 answered/),
  });
  expect(found.get("older")).toMatchObject({ verdict: "unknown", seen: "it asks the server in HTTP/1.1, where there is no such limit" });
  expect(server.died).not.toBeNull();
}, 60_000);
