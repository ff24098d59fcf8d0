/** What is planted is found, and what is not there is not: faults of `fakeai proxy --plant`, nginx and HAProxy with and without buffering. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { gatewayProgram } from "../../../src/network/gateways/gateway.ts";
import { proxies } from "../../../src/network/gateways/catalogue.ts";
import { noPlant, type Plant } from "../../../src/network/plant.ts";
import { type Proxy, startProxy } from "../../../src/network/proxy.ts";
import type { CheckVerdict } from "../../../src/results/gateways/types.ts";
import { checkAbort, checkCut, checkErrors, checkEvents, checkHeld, checkStall, type Ways } from "../../../src/runner/gateways/checks.ts";
import { Truth } from "../../../src/runner/gateways/truth.ts";
import { type GatewayChild, startGateway } from "../../../src/runner/processes/gateway.ts";
import { type ServerChild, startServerChild } from "../../../src/runner/processes/target.ts";

let server: ServerChild;
let truth: Truth;
const open: { close(): Promise<unknown> }[] = [];
beforeAll(async () => {
  server = await startServerChild({
    protocols: ["h1"],
    engine: "node",
    ttft: 20,
    itl: 2,
    outputTokens: 10,
    maxConcurrentStreams: 100,
    seed: 1,
    cpu: null,
    stamps: false,
  });
  truth = new Truth(server);
});
afterAll(async () => {
  await Promise.all(open.map((one) => one.close()));
  await server.close();
});

const idle = { latencyUs: 0, jitterUs: null, bandwidth: null, stall: null, cut: null, loss: 0 };

function waysTo(origin: string): Ways {
  const at = { protocol: "h1", path: "/v1/chat/completions", method: "POST", headers: { "content-type": "application/json" } } as const;
  return { direct: { ...at, origin: server.origins.h1!, tls: server.tls }, through: { ...at, origin, tls: server.tls }, model: "m" };
}

async function planted(plant: Partial<Plant>): Promise<Ways> {
  const target = { host: "127.0.0.1", port: Number(new URL(server.origins.h1!).port) };
  const proxy: Proxy = await startProxy({ target, impairment: { up: idle, down: idle }, seed: 1, plant: { ...noPlant, ...plant } });
  open.push(proxy);
  return waysTo(`http://127.0.0.1:${proxy.port}`);
}

async function started(proxy: "nginx" | "haproxy", buffering: boolean): Promise<Ways> {
  const upstream = server.origins.h1!;
  const child: GatewayChild = await startGateway({
    via: { proxy, buffering, upstreamHttp: buffering && proxy === "nginx" ? "1.0" : "1.1" },
    upstream,
    protocols: ["h1"],
    maxConcurrentStreams: 100,
    cpu: null,
  });
  open.push(child);
  return waysTo(child.origins.h1!);
}

test("events that are lost, repeated, out of order: each is found as that, and none where nothing is planted", async () => {
  const share = 0.01;
  const found = await Promise.all(
    ([{}, { lose: share }, { repeat: share }, { reorder: share }] as const).map(async (plant) => checkEvents(truth, await planted(plant))),
  );
  const counts = found.map(({ fidelity }) => [fidelity!.lost, fidelity!.repeated, fidelity!.reordered].map((count) => count > 0));
  expect(counts).toEqual([
    [false, false, false],
    [true, false, false],
    [false, true, false],
    [false, false, true],
  ]);
  expect(found.map(({ checks }) => checks[0]!.verdict)).toEqual(["kept", "fault", "fault", "fault"]);
  expect(found[0]!.fidelity).toMatchObject({ sent: 1032, identical: 1032, finished: 8, withUsage: 8, withDone: 8 });
  expect(found[0]!.upstreamHttp).toBe("HTTP/1.1");
}, 60_000);

describe("tokens that are held back", () => {
  const installed = (name: "nginx" | "haproxy"): boolean => gatewayProgram(proxies[name]) !== null;
  test("four events that leave together; nginx and HAProxy with buffering, and not without", async () => {
    const cases: [string, CheckVerdict, Ways][] = [
      ["nothing planted", "kept", await planted({})],
      ["buffer=4", "fault", await planted({ buffer: 4 })],
    ];
    for (const name of ["nginx", "haproxy"] as const)
      if (installed(name))
        cases.push([name, "kept", await started(name, false)], [`${name}:buffering`, "fault", await started(name, true)]);
    const found = await Promise.all(cases.map(([, , ways]) => checkHeld(truth, ways)));
    expect(found.map(({ verdict }, index) => [cases[index]![0], verdict])).toEqual(cases.map(([name, verdict]) => [name, verdict]));
    expect(found[1]!.seen).toMatch(/^tokens are held back and let out together: 24 events in \d+ reads/);
  }, 60_000);
});

test("an abort that is kept from the server, and one that is not", async () => {
  const honest = await checkAbort(truth, await planted({}));
  expect(honest).toMatchObject({ id: "abort", verdict: "kept" });
  const swallowed = await checkAbort(truth, await planted({ swallowAbort: true }));
  expect(swallowed).toMatchObject({ verdict: "fault", seen: expect.stringMatching(/^the server was not told within 2 s/) });
}, 60_000);

test("errors, stalls and cuts pass an honest gateway as they are", async () => {
  const ways = await planted({});
  const [errors, retries] = await checkErrors(truth, ways);
  expect([errors, retries]).toMatchObject([
    { verdict: "kept", seen: "400, 401, 429, 500, 503 as they are, with retry-after and their words" },
    { verdict: "kept" },
  ]);
  expect(await checkStall(truth, ways)).toMatchObject({ verdict: "kept" });
  expect(await checkCut(truth, ways)).toMatchObject({ verdict: "kept" });
}, 60_000);
