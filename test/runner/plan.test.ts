/** What a bench decides before it measures: options, scenarios, requests, the order of arms. */
import { readFileSync, readdirSync } from "node:fs";
import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { UsageError } from "../../src/base/usage-error.ts";
import { clockTickUs } from "../../src/base/proc.ts";
import { adapted, estimateSeconds } from "../../src/runner/plan/adapt.ts";
import { parseCpuList, usageOf } from "../../src/runner/processes/machine.ts";
import { resolveBench } from "../../src/runner/plan/options.ts";
import { orderOfRounds } from "../../src/runner/plan/order.ts";
import { overridden } from "../../src/runner/plan/overrides.ts";
import { seedOfCall } from "../../src/runner/plan/prompts.ts";
import { requestsOf } from "../../src/runner/plan/requests.ts";
import { skippedResult } from "../../src/runner/experiment.ts";
import { checkScenario, scenarioDirectory, scenarioNamed, shippedScenarios, variantsOf } from "../../src/runner/plan/scenario.ts";
import { protocolTraits } from "../../src/results/protocols.ts";
import type { ProtocolName } from "../../src/results/types.ts";
import type { BenchInput } from "../../src/settings/bench.ts";
import { traceOf } from "../../src/runner/plan/trace.ts";
import type { TraceRequest } from "../../src/load/trace.ts";
import { root } from "../support/process.ts";

describe("options", () => {
  const refused: readonly (readonly [object, RegExp])[] = [
    [{ suite: "huge" }, /--suite: "huge" is neither quick nor full/],
    [{ driver: "wrk" }, /--driver: "wrk" is not one of stream, autocannon, h2load/],
    [{ protocol: "quic" }, /--protocol: "quic"/],
    [{ url: "http://x", protocol: "h2" }, /h2 cannot be spoken to an http: address; h1, h2c, ws can/],
    [{ url: "localhost:8000" }, /--url/],
    [{ url: "http://user:secret@x" }, /credentials/],
    [{ via: ["http://x"] }, /--url/],
    [{ insecure: true }, /--insecure belongs to --url/],
    [{ ttft: "soon" }, /--ttft/],
    [{ itl: "-3" }, /--itl/],
    [{ rounds: "0" }, /--rounds: "0" is not a whole number from 1/],
    [{ streams: "many" }, /--streams: "many"/],
    [{ rate: "-1" }, /--rate/],
    [{ requests: "5", duration: "5" }, /give one of them/],
    [{ speed: "2" }, /belong to --trace/],
    [{ traceUnit: "s" }, /belong to --trace/],
    [{ trace: "x", traceUnit: "h" }, /--trace-unit: "h" is not one of s, ms, us/],
    [{ trace: "x", limit: "5", requests: "6" }, /--limit and --requests are one thing/],
    [{ trace: "x", rate: "5" }, /--speed, not --rate/],
    [{ header: ["no colon"] }, /--header/],
    [{ header: ["a: b\r\nc: d"] }, /--header/],
    [{ header: ["Host: x"] }, /host is set by the connection/],
    [{ endpoint: "v1/x" }, /--endpoint/],
    [{ body: "/nowhere/body.json" }, /--body: cannot read/],
    [{ require: ["nonsense"] }, /--require/],
    [{ url: "http://x", apiKey: "with blank" }, /--api-key/],
  ];
  test.each(refused)("%j is refused in one line", (input, message) => {
    let said = "";
    try {
      resolveBench(input);
    } catch (error) {
      expect(error).toBeInstanceOf(UsageError);
      said = (error as Error).message;
    }
    expect(said).toMatch(message);
    expect(said).not.toMatch(/\n|secret/);
  });

  test("a key becomes a bearer token for --url, and is not sent to our own server", () => {
    expect(resolveBench({ url: "http://x", apiKey: "sk-1" }).headers).toEqual({ authorization: "Bearer sk-1" });
    expect(resolveBench({ apiKey: "sk-1" }).headers).toEqual({});
  });

  test("endpoints have short names", () => {
    expect(resolveBench({ endpoint: "completions" }).endpoint).toBe("/v1/completions");
    expect(resolveBench({}).endpoint).toBeNull();
  });
});

describe("scenarios", () => {
  const shipped = shippedScenarios();
  const named = (id: string): ReturnType<typeof variantsOf> => variantsOf(scenarioNamed(id), null);

  test("the quick and the full suite have what they promise", () => {
    const quick = shipped.filter((file) => variantsOf(file, "quick").length > 0).map(({ id }) => id);
    expect(quick).toEqual(["stream", "mux-scale", "connection-overhead", "header-bytes", "unary", "trace"]);
    const full = shipped.filter((file) => variantsOf(file, "full").length > 0).map(({ id }) => id);
    const leading = [...quick, "multi-resource", "parse-cost", "open-loop"];
    expect(full.slice(0, leading.length)).toEqual(leading);
    // What is not named in the order of suites follows by name.
    expect(full.slice(leading.length)).toEqual(full.slice(leading.length).toSorted());
    for (const id of ["bytes", "calibrate", "cancel", "cap6", "chunking", "cold", "long-haul", "pipeline-trap", "priority", "slow-reader"])
      expect(full).toContain(id);
    for (const id of ["stream-cap", "window"]) expect(full).toContain(id);
  });

  test("what decides is named before the run, and a variant may name its own", () => {
    const [few, many] = variantsOf(scenarioNamed("mux-scale"), "quick");
    const names = (list: readonly { metric: string; statistic: string }[] = []): string[] =>
      list.map(({ metric, statistic }) => `${metric}.${statistic}`);
    expect(few!.pairs.map(({ metrics }) => names(metrics))).toEqual([["e2el.p50"], ["e2el.p50"]]);
    expect(names(few!.pairs[0]!.described)).toEqual(["ttft.p99", "itl.p99", "serverCpuUsPerToken.mean"]);
    expect(names(many!.pairs[0]!.metrics)).toEqual(["itl.p99", "serverCpuUsPerToken.mean"]);
    expect([few!.rounds, many!.rounds]).toEqual([5, 6]);
    const engine = variantsOf(scenarioNamed("stream"), "quick")[0]!.pairs.find(({ kind }) => kind === "engine")!;
    expect([names(engine.metrics), engine.described]).toEqual([["serverCpuUsPerToken.mean"], undefined]);
  });

  test("the quick suite fits its time with nothing left out", () => {
    const plan = shipped.flatMap((file) => variantsOf(file, "quick"));
    expect(plan.reduce((sum, variant) => sum + estimateSeconds(variant, null), 0)).toBeLessThan(92);
  });

  const court = shipped.filter(({ id }) => id === "court" || id.startsWith("court-"));

  test("four rounds of the transport court fit 20 minutes", () => {
    const plan = court.flatMap((file) => variantsOf(file, "full"));
    expect(plan.reduce((sum, variant) => sum + estimateSeconds({ ...variant, rounds: 4 }, null), 0)).toBeLessThan(18 * 60);
  });

  test("the transport court has every factor, and its pairs differ in one thing: the others are those of a claim", () => {
    const plan = court.flatMap((file) => variantsOf(file, "full"));
    const values = (of: (variant: (typeof plan)[number]) => unknown): Set<unknown> => new Set(plan.map(of));
    expect(values(({ workload }) => workload.network.rtt ?? 0)).toEqual(new Set([0, 40, 100]));
    expect(values(({ workload }) => workload.session!.calls)).toEqual(new Set([1, 5, 20, 40]));
    expect(values(({ workload }) => workload.inputTokens)).toEqual(new Set([250, 5000, 50_000]));
    expect(values(({ workload }) => workload.network.stall)).toContain("1%,40ms");
    const arms = plan.flatMap((variant) => variant.arms);
    expect([...new Set(arms.map(({ protocol }) => protocol))].toSorted()).toEqual(["h1", "h1s", "h2", "h2c", "ws", "wss"]);
    for (const { arms: own, pairs, claims } of plan) {
      const factors = (id: string): unknown[] => {
        const { protocol, history = "full", reuse, deflates = false } = own.find((arm) => arm.id === id)!;
        return [protocol, history, reuse, deflates];
      };
      const claimed = new Set(claims.map(({ baseline, candidate }) => `${baseline} ${candidate}`));
      for (const { baseline, candidate } of pairs) {
        const [one, other] = [factors(baseline), factors(candidate)];
        if (!claimed.has(`${baseline} ${candidate}`)) expect(one.filter((factor, at) => factor !== other[at])).toHaveLength(1);
      }
    }
  });

  test.each(shipped.map((file) => [file.id, file] as const))("%s compares like with like on one runtime", (_id, file) => {
    const secure = (protocol: ProtocolName): boolean => protocolTraits[protocol].isEncrypted;
    for (const variant of variantsOf(file, null)) {
      const arm = (id: string): (typeof variant.arms)[number] => variant.arms.find((one) => one.id === id)!;
      for (const { baseline, candidate, kind } of variant.pairs) {
        expect(secure(arm(baseline).protocol)).toBe(secure(arm(candidate).protocol));
        if (kind === "protocol") expect(arm(candidate).engine).toBe(arm(baseline).engine);
        else expect(arm(candidate).role).toBe("engine");
      }
      for (const { baseline, candidate } of variant.claims)
        expect([arm(candidate).role, arm(candidate).engine]).toEqual([arm(baseline).role, arm(baseline).engine]);
      expect(variant.rounds).toBeGreaterThanOrEqual(5);
      expect(estimateSeconds(variant, null)).toBeGreaterThan(0);
    }
  });

  test("every claim is tested somewhere, and every file has a line in the README", () => {
    const readme = readFileSync(`${scenarioDirectory}README.md`, "utf8");
    for (const file of shipped) {
      expect(readme).toContain(`| \`${file.id}\` `);
      const tested = new Set(variantsOf(file, "full").flatMap(({ claims }) => claims.map(({ text }) => text)));
      for (const { text } of file.claims ?? []) expect(tested).toContain(text);
    }
  });

  test("a claim carries the conditions of its own and of its variant, and none that a flag makes wrong", () => {
    const claims = shipped.flatMap((file) => variantsOf(file, null)).flatMap((variant) => variant.claims);
    expect(claims.length).toBeGreaterThan(30);
    // --streams, --ttft, --itl, --rtt, --rate, --output-tokens: the report says these as they were run.
    const named = /\d[\d,.]* ?(streams|ms|tokens|requests\/s|at once|rounds)/;
    expect(claims.filter(({ conditions }) => conditions === undefined || named.test(conditions))).toEqual([]);
    const [headers] = variantsOf(scenarioNamed("header-bytes"), "quick")[0]!.claims;
    expect(headers!.conditions).toMatch(/^a GET without a body; the same 2 KB in each request, .*4,096 bytes/);
    const file = JSON.parse(readFileSync(`${scenarioDirectory}bytes.json`, "utf8")) as { claims: { conditions?: string }[] };
    delete file.claims[0]!.conditions;
    expect(() => checkScenario(file, "mine.json")).toThrow("/claims/0 must have required property 'conditions'");
  });

  const good = JSON.parse(readFileSync(`${scenarioDirectory}stream.json`, "utf8")) as Record<string, unknown>;
  test.each([
    ["an unknown key", { ...good, extra: 1 }, 'the file must NOT have additional properties ("extra") (see scenarios/schema.json)'],
    ["a typo in a key", { ...good, metric: [] }, '("metric"): did you mean metrics?'],
    ["no arms", { ...good, arms: [] }, "/arms must NOT have fewer than 1 items"],
    ["a metric that does not exist", { ...good, metrics: ["speed.p50"] }, "/metrics/0 must be equal to one of the allowed values"],
    [
      "a typo in a metric",
      { ...good, metrics: ["tfft.p50"] },
      "/metrics/0 must be equal to one of the allowed values: did you mean ttft.p50?",
    ],
    ["a wrong mode", { ...good, workload: { mode: "shut" } }, "/workload/mode must be equal to one of the allowed values (closed, open)"],
    ["no latency", { ...good, workload: { ttft: null } }, "/workload/ttft must be number or string"],
    ["a negative latency", { ...good, workload: { itl: -1 } }, "/workload/itl must be >= 0"],
    ["a flag of batching that is none", { ...good, workload: { server: { batching: { "Max Seqs": 1 } } } }, "/workload/server/batching"],
    [
      "described without metrics",
      { ...good, variants: [{ name: "x", suites: [], described: ["itl.p99"] }] },
      "/variants/0 must have property metrics when property described is present",
    ],
    ["a pair of an unknown arm", { ...good, compare: [{ baseline: "h1", candidate: "h3" }] }, 'no arm is called "h3"'],
    ["fewer than five rounds", { ...good, rounds: 3 }, "/rounds must be >= 5"],
    ["no object", 5, "the file must be object"],
  ])("%s is refused in one line", (_what, value, message) => {
    expect(() => checkScenario(value, "x.json")).toThrow(message);
    expect(() => checkScenario(value, "x.json")).toThrow(/^--scenario: x\.json: .*$/);
  });

  test.each([
    [{ question: "{stream} streams" }, "question: {stream} is no number of a workload"],
    [{ decides: "itl.p50" }, 'decides is none of its metrics ("itl.p50")'],
  ])("a question that says nothing is refused: %j", (members, message) => {
    const file = { ...scenarioNamed("stream"), ...members };
    expect(() => checkScenario(file, "mine.json")).toThrow(message);
  });

  test("every shipped scenario asks a question of a few words", () => {
    for (const file of shippedScenarios())
      for (const variant of variantsOf(file, null)) {
        const { question } = skippedResult(variant, "not run");
        expect(question).toMatch(/^[^{}]{5,48}$/);
      }
  });

  test("an unknown name lists the known ones", () => {
    expect(() => scenarioNamed("nope")).toThrow(/"nope" is neither a scenario \(stream, mux-scale, .*\) nor a file/);
  });

  test("every request carries the same seed and the same bytes in every arm", () => {
    const workload = named("mux-scale")[0]!.workload;
    const wording = { model: "m", own: true, body: null, oneBody: false };
    const [a, b] = [requestsOf(workload, wording, 7, 2, null), requestsOf(workload, wording, 7, 2, null)];
    expect(a).toEqual(b);
    const seeds = a.map(({ body }) => (JSON.parse(body) as { seed: number }).seed);
    expect(new Set(seeds).size).toBe(a.length);
    const other = requestsOf(workload, wording, 7, 3, null).map(({ body }) => (JSON.parse(body) as { seed: number }).seed);
    expect(other.some((seed) => seeds.includes(seed))).toBe(false);
  });

  test("seeds of calls are whole numbers that do not meet", () => {
    expect(Number.isSafeInteger(seedOfCall(1_000_000, 1001, 999_999))).toBe(true);
    expect(seedOfCall(1, 0, 999_999)).toBeLessThan(seedOfCall(1, 1, 0));
  });

  test("the sample trace is what its generator makes, and a slice begins at 0", () => {
    const { stdout } = spawnSync(process.execPath, ["--import", "tsx", "bench/sample-trace.ts"], { cwd: root, encoding: "utf8" });
    expect(stdout).toBe(readFileSync(`${scenarioDirectory}traces/sample.csv`, "utf8"));
    const slice = traceOf({ file: "sample.csv", speed: 2, seconds: 5, limit: null });
    expect(slice[0]!.atMs).toBe(0);
    expect(slice.at(-1)!.atMs).toBeLessThan(2500);
    expect(slice.at(-1)!.atMs).toBeGreaterThan(2000);
    expect(traceOf({ file: "sample.csv", speed: 1, seconds: null, limit: 3 })).toHaveLength(3);
  });

  test("requests, duration and lengths that flags give hold for a trace too", () => {
    const [variant] = variantsOf(scenarioNamed("trace"), "full");
    const run = (flags: BenchInput): TraceRequest[] =>
      traceOf(adapted(variant!, resolveBench({ scenario: ["trace"], ...flags })).workload.trace!);
    const all = run({});
    expect(run({ requests: "7" })).toEqual(all.slice(0, 7));
    const seconds = run({ duration: "1.5" });
    expect(seconds.length).toBeGreaterThan(5);
    expect(seconds).toEqual(all.filter(({ atMs }) => atMs! < 1500));
    const lengths = run({ outputTokens: "5", inputTokens: "9" });
    expect(lengths.map(({ atMs }) => atMs)).toEqual(all.map(({ atMs }) => atMs));
    expect(new Set(lengths.map(({ inputTokens, outputTokens }) => `${inputTokens} ${outputTokens}`))).toEqual(new Set(["9 5"]));
  });

  test("every directory of scenarios is shipped", () => {
    const { files } = JSON.parse(readFileSync(`${root}package.json`, "utf8")) as { files: string[] };
    expect(files).toContain("scenarios");
    expect(readdirSync(`${scenarioDirectory}traces`)).toContain("sample.csv");
  });
});

describe("order of arms", () => {
  test("every round has every arm once, and every second round is the one before backwards", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 30 }), fc.integer(), (arms, rounds, seed) => {
        const orders = orderOfRounds(arms, rounds, seed);
        expect(orders).toHaveLength(rounds);
        for (const [round, order] of orders.entries()) {
          expect(order.toSorted((a, b) => a - b)).toEqual(Array.from({ length: arms }, (_, i) => i));
          if (round % 2 === 1) expect(order).toEqual(orders[round - 1]!.toReversed());
        }
        expect(orderOfRounds(arms, rounds, seed)).toEqual(orders);
      }),
    );
  });

  test("no arm goes first for good", () => {
    const firsts = orderOfRounds(3, 40, 1).map(([first]) => first);
    for (const arm of [0, 1, 2]) expect(firsts.filter((first) => first === arm).length).toBeGreaterThan(4);
  });
});

describe("machine", () => {
  test("lists of cores", () => {
    expect(parseCpuList("0-2,5")).toEqual([0, 1, 2, 5]);
    expect(parseCpuList("")).toEqual([]);
  });

  test.runIf(process.platform === "linux")("CPU time grows by what is used", () => {
    const before = usageOf(process.pid)!;
    const own = process.cpuUsage();
    for (const untilMs = performance.now() + 100; performance.now() < untilMs;);
    const { user, system } = process.cpuUsage(own);
    const used = usageOf(process.pid)!.cpuUs - before.cpuUs;
    expect(used / (user + system)).toBeGreaterThan(0.5);
    expect(used / (user + system)).toBeLessThan(2);
    expect(before.rssBytes / process.memoryUsage.rss()).toBeGreaterThan(0.5);
    expect(before.rssBytes / process.memoryUsage.rss()).toBeLessThan(2);
  });

  test("a system that does not say how long a tick is gets no guess", async () => {
    vi.resetModules();
    vi.stubEnv("PATH", "/nowhere");
    const { clockTickUs } = await import("../../src/base/proc.ts");
    expect(clockTickUs()).toBeNull();
    vi.unstubAllEnvs();
    expect(clockTickUs()).toBeNull();
  });

  test.runIf(process.platform === "linux")("a tick of the clock is some milliseconds", () => {
    expect(clockTickUs()).toBeGreaterThanOrEqual(100);
    expect(clockTickUs()).toBeLessThanOrEqual(100_000);
  });

  test("a process that is not there has used null", () => {
    expect(usageOf(2 ** 22 + 1)).toBeNull();
  });
});

describe("flags over what variants and arms differ in", () => {
  const plan = (name: string, suite: "quick" | "full", input: object): ReturnType<typeof overridden> =>
    overridden(variantsOf(scenarioNamed(name), suite), resolveBench(input));
  const names = (name: string, suite: "quick" | "full", input: object): string[] =>
    plan(name, suite, input).variants.map((variant) => variant.name);

  test("what becomes the same is run once, under a name that says what is run", () => {
    const { variants, notes } = plan("mux-scale", "quick", { streams: "20" });
    expect(variants.map(({ name, workload }) => [name, workload.streams])).toEqual([["20 streams", 20]]);
    expect(variants[0]!.arms.map(({ id }) => id)).toEqual(["h1", "h2c-1", "h2c-4"]);
    expect(notes).toEqual(['mux-scale: the flags make "1000 streams" the same as "50 streams"; it is run once']);
    expect(names("mux-scale", "quick", {})).toEqual(["50 streams", "1000 streams"]);
    expect(names("mux-scale", "quick", { streams: "1" })).toEqual(["1 stream"]);
    expect(names("mux-scale", "quick", { streams: "20", stall: "1%,40ms" })).toEqual(["20 streams"]);
    // One stream has five requests each, and so many more are another workload.
    expect(names("mux-scale", "full", { streams: "20" })).toEqual([
      "20 streams",
      "20 streams (as 50 streams)",
      "20 streams, ramped",
      "20 streams, TLS",
      "20 streams, ramped, TLS",
    ]);
  });

  test.each<[string, object, string[]]>([
    ["bytes", { outputTokens: "30" }, ["30 tokens", "30 tokens (as 50 tokens)", "30 tokens (as 200 tokens)", "30 tokens (as 1000 tokens)"]],
    ["stream-cap", { streams: "64" }, ["limit 4, 64 at once", "limit 32, 64 at once", "limit 100, 64 at once"]],
    ["cold", { rtt: "10" }, ["RTT 10 ms"]],
    ["mux-scale", { turns: "3", requests: "12" }, ["12 sessions, --turns 3", "12 sessions, TLS, --turns 3"]],
    ["open-loop", { rate: "200" }, ["200/s"]],
    ["calibrate", { itl: "8", streams: "100" }, ["100 streams, ITL 8 ms", "100 streams, ITL 8 ms (as 1000 streams, ITL 20 ms)"]],
    ["hol-stall", { stall: "3%,40ms" }, ["1% of segments, --stall 3%,40ms"]],
    ["cancel", { streams: "3" }, ["10% given up", "50% given up", "50% given up, RTT 40 ms"]],
  ])("%s with %j", (name, input, expected) => {
    const all = names(name, "full", input);
    for (const one of expected) expect(all).toContain(one);
    expect(new Set(all).size).toBe(all.length);
  });

  test("arms that become the same are one, and where none is left to compare that is said", () => {
    const [mux] = plan("mux-scale", "quick", { connections: "2" }).variants;
    expect(mux!.arms.map(({ id, connections }) => [id, connections])).toEqual([
      ["h1", 2],
      ["h2c-2", 2],
    ]);
    expect(mux!.pairs.map(({ baseline, candidate }) => [baseline, candidate])).toEqual([["h1", "h2c-2"]]);
    const { pointless } = plan("shard", "full", { connections: "2" });
    expect([...pointless.values()]).toContain("the flags make h2c-4, h2c-16 the same as another arm, and nothing is left to compare");
  });

  test("a question has the figures of the load as flags change it", () => {
    const questions = (name: string, suite: "quick" | "full", input: object): (string | undefined)[] =>
      plan(name, suite, input).variants.map((variant) => skippedResult(variant, "not run").question);
    expect(questions("stream", "quick", {})).toEqual(["100 paced streams"]);
    expect(questions("stream", "quick", { streams: "1" })).toEqual(["1 paced stream"]);
    expect(questions("stream", "quick", { streams: "2000" })).toEqual(["2,000 paced streams"]);
    expect(questions("bytes", "full", { outputTokens: "30" })[0]).toBe("bytes of a token, 30 tokens");
    expect(questions("websocket", "full", { turns: "3", requests: "12" })).toEqual(["12 sessions, --turns 3"]);
    expect(questions("websocket", "full", { toolCalls: "2", requests: "1" })).toEqual(["1 session, --turns 1, --tool-calls 2"]);
    expect(questions("cold", "full", { rtt: "10" })).toEqual(["connections for calls, RTT 10 ms"]);
    expect(questions("hol-stall", "full", { stall: "3%,40ms" })).toContain(
      "1% of segments stall, or of datagrams are lost, --stall 3%,40ms",
    );
  });

  test("without flags every shipped scenario stays as it is", () => {
    for (const file of shippedScenarios()) {
      const variants = variantsOf(file, null);
      const { variants: kept, notes, pointless } = overridden(variants, resolveBench({}));
      expect(kept.map(({ name, arms }) => [name, arms])).toEqual(variants.map(({ name, arms }) => [name, arms]));
      expect([notes, [...pointless]]).toEqual([[], []]);
    }
  });
});
