/** Every scenario over every protocol: which arms are run, and with what they are compared. */
import { loadQuic } from "../../src/base/quic.ts";
import { describe, expect, test } from "vitest";
import { protocolTraits } from "../../src/results/protocols.ts";
import { type ProtocolName, protocolNames } from "../../src/results/types.ts";
import { resolveBench } from "../../src/runner/plan/options.ts";
import { overridden, type Overridden } from "../../src/runner/plan/overrides.ts";
import { scenarioNamed, shippedScenarios, type Variant, variantsOf } from "../../src/runner/plan/scenario.ts";
import type { BenchInput } from "../../src/settings/bench.ts";

const plan = (id: string, input: BenchInput): Overridden => overridden(variantsOf(scenarioNamed(id), null), resolveBench(input));
const ids = ({ arms }: Variant): string[] => arms.map(({ id }) => id);
const pairs = (variant: Variant): string[] => variant.pairs.map(({ baseline, candidate }) => `${baseline} ${candidate}`);

describe.each(shippedScenarios().map(({ id }) => id))("%s", (id) => {
  test.each(protocolNames.filter((name) => !protocolTraits[name].isQuic || loadQuic() !== null))(
    "runs over %s, like against like",
    (protocol: ProtocolName) => {
      const { variants, pointless } = plan(id, { protocol });
      expect(variants.length).toBeGreaterThan(0);
      for (const variant of variants) {
        if (protocolTraits[protocol].isWebSocket) {
          // What no message can ask is left out, and says so.
          const why = pointless.get(variant);
          expect(ids(variant).length === 0).toBe(why !== undefined);
          if (why !== undefined) continue;
          expect(variant.workload.path).toBe("/v1/responses");
        }
        const arm = (name: string): Variant["arms"][number] | undefined => variant.arms.find((one) => one.id === name);
        expect(variant.arms.filter((one) => one.protocol === protocol && one.role === "protocol")).not.toEqual([]);
        // What is beside it is what it is compared with.
        for (const other of variant.arms)
          if (other.protocol !== protocol) expect(variant.pairs.map(({ baseline }) => baseline)).toContain(other.id);
        expect(new Set(ids(variant)).size).toBe(variant.arms.length);
        for (const { baseline, candidate, kind } of variant.pairs) {
          const [from, to] = [arm(baseline), arm(candidate)];
          if (from === undefined || to === undefined) continue;
          expect(protocolTraits[from.protocol].isEncrypted).toBe(protocolTraits[to.protocol].isEncrypted);
          // HTTP/3 is on an engine of its own, and decides nothing about the protocol beside another.
          const isOfEngines = protocolTraits[from.protocol].isQuic !== protocolTraits[to.protocol].isQuic;
          if (isOfEngines) expect(kind).toBe("engine");
          else expect([from.engine, from.role]).toEqual([to.engine, to.role]);
        }
        for (const { protocol: spoken, ...one } of variant.arms) {
          const { isMultiplexed, isWebSocket } = protocolTraits[spoken];
          if (isMultiplexed) expect([one.pipelining, one.driver === "autocannon"]).toEqual([undefined, false]);
          if (!isMultiplexed || isWebSocket)
            expect([one.windows, one.headerTableBytes, one.atStreamLimit]).toEqual([undefined, undefined, undefined]);
        }
      }
    },
  );
});

test("unary over TLS: h2 as often as it is there in cleartext, with h1s beside it", () => {
  const { variants, notes } = plan("unary", { protocol: "h2" });
  expect(variants.map(ids)).toEqual([["h2-1", "h2-4", "h1s"]]);
  expect(pairs(variants[0]!)).toEqual(["h1s h2-1", "h1s h2-4"]);
  expect(variants[0]!.arms.map(({ connections, driver }) => [connections, driver])).toEqual([
    [1, "h2load"],
    [4, "h2load"],
    ["streams", "h2load"],
  ]);
  expect(notes).toEqual(["unary has no arm for h2: h2-1, h2-4, h1s are made from h2c-1, h2c-4, h1"]);
});

test("arms that the file has stay as they are, and nothing is made beside them", () => {
  const { variants, notes } = plan("stream", { protocol: "h1,h2" });
  expect([variants.map(ids), notes]).toEqual([[["h1", "h2", "h1-uws"]], []]);
  expect(ids(plan("stream", {}).variants[0]!)).toEqual(["h1", "h2c", "h1s", "h2", "h1-uws"]);
});

test("a pair of engines stands where both are run, and nowhere else", () => {
  const withEngine = (input: BenchInput): string[] => pairs(plan("stream", input).variants[0]!).filter((pair) => pair.includes("uws"));
  expect(withEngine({ protocol: "h1,h2" })).toEqual(["h1 h1-uws"]);
  expect(withEngine({ protocol: "h1" })).toEqual([]);
  expect(withEngine({ url: "http://127.0.0.1:8000" })).toEqual([]);
});

test("a scenario of HTTP/1.1 alone goes over HTTP/2 with its own pairs, and one of HTTP/2 alone over HTTP/1.1", () => {
  const [chunks] = plan("chunking", { protocol: "h2" }).variants;
  expect([ids(chunks!), pairs(chunks!)]).toEqual([
    ["h2-1", "h2-4", "h2-16"],
    ["h2-1 h2-4", "h2-1 h2-16"],
  ]);
  expect(chunks!.arms.map(({ connections, headers }) => [connections, headers!["x-fakeai-tokens-per-chunk"]])).toEqual([
    [1, "1"],
    [1, "4"],
    [1, "16"],
  ]);
  const [nginx] = plan("nginx", { protocol: "h1s" }).variants;
  expect([ids(nginx!), new Set(nginx!.arms.map(({ connections }) => connections))]).toEqual([
    ["native-h1s", "nginx-h1s", "nginx-buffered-h1s", "nginx-default-h1s"],
    new Set(["streams"]),
  ]);
});

test("claims are tested with the arms that their file names, and with no others", () => {
  expect(plan("mux-scale", { protocol: "h1,h2c" }).variants.some(({ claims }) => claims.length > 0)).toBe(true);
  for (const protocol of ["h2c", "h1"]) expect(plan("cold", { protocol }).variants.flatMap(({ claims }) => claims)).toEqual([]);
});

test.skipIf(loadQuic() === null).each<[string, string[], string[]]>([
  ["stream", ["h2", "h3"], ["h2 h3"]],
  ["hol-stall", ["h2-1", "h3-1"], ["h2-1 h3-1"]],
  ["cold", ["h2-new", "h2-new-early", "h2-1", "h3-new", "h3-1"], ["h1s-new h2-new-early", "h2-1 h3-1", "h2-new h3-new"]],
  ["shard", ["h2-1", "h2-4", "h2-16", "h3-1", "h3-4", "h3-16"], []],
])("%s: of HTTP/2 and HTTP/3 alone, one is compared with the other and with nothing unasked", (id, arms, compared) => {
  const [variant] = plan(id, { protocol: "h2,h3" }).variants;
  expect(ids(variant!)).toEqual(arms);
  if (compared.length > 0) expect(pairs(variant!)).toEqual(compared);
  for (const { baseline, candidate, kind, metrics } of variant!.pairs)
    if (baseline.startsWith("h2") && candidate.startsWith("h3")) expect([kind, metrics.length > 0]).toEqual(["engine", true]);
  expect(new Set(pairs(variant!)).size).toBe(variant!.pairs.length);
});

test.skipIf(loadQuic() === null)("every scenario compares HTTP/3 with HTTP/2 where both are asked for", () => {
  for (const { id } of shippedScenarios())
    for (const protocol of ["h2,h3", "h1s,h2,h3"])
      for (const variant of plan(id, { protocol }).variants) {
        const asked = protocol.split(",");
        const compared = variant.pairs.filter(({ baseline, candidate, kind }) => {
          const [from, to] = [baseline, candidate].map((name) => variant.arms.find((arm) => arm.id === name)?.protocol);
          return from === "h2" && to === "h3" && kind === "engine";
        });
        expect([id, variant.name, compared.length > 0]).toEqual([id, variant.name, true]);
        expect([id, ...variant.arms.map((arm) => arm.protocol).filter((name) => !asked.includes(name))]).toEqual([id]);
      }
});

test("an address decides by its scheme, and a protocol that is asked for is made for it", () => {
  expect(ids(plan("unary", { url: "https://x" }).variants[0]!)).toEqual(["h1s", "h1s-autocannon", "h2-1", "h2-4"]);
  expect(ids(plan("unary", { url: "https://x", protocol: "h2" }).variants[0]!)).toEqual(["h2-1", "h2-4", "h1s"]);
  expect(ids(plan("stream", { url: "http://x" }).variants[0]!)).toEqual(["h1", "h2c"]);
});

test("over WebSocket every arm asks the Responses API, and what no message can ask is refused in a line", () => {
  const [stream] = plan("stream", { protocol: "h1,ws" }).variants;
  expect([ids(stream!), stream!.workload.path]).toEqual([["h1", "h1-uws", "ws"], "/v1/responses"]);
  expect(pairs(stream!)).toContain("h1 ws");
  expect(plan("stream", { protocol: "h1,h2c" }).variants[0]!.workload.path).toBe("/v1/chat/completions");
  // Beside another protocol the rest is run, and a note says what is not.
  const unary = plan("unary", { protocol: "h1,ws" });
  expect([unary.variants[0]!.arms.length > 0, unary.pointless.size]).toEqual([true, 0]);
  expect(unary.notes).toContainEqual(expect.stringMatching(/^unary has no WebSocket: over WebSocket every answer is streamed$/));
  expect(() => resolveBench({ protocol: "ws", endpoint: "chat" })).toThrow(
    /carries \/v1\/responses and nothing else; leave --endpoint out/,
  );
  expect(() => resolveBench({ protocol: "ws", url: "http://x/v1/chat/completions" })).toThrow(/leave the endpoint of --url out/);
});
