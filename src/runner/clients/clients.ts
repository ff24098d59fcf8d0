/** What client libraries cost: each one under the same paced streams, against what the server says it did. */
import { describeFailures } from "../../results/failures.ts";
import { protocolTraits } from "../../results/protocols.ts";
import { UsageError } from "../../base/usage-error.ts";
import { type CommandRun, runCommand } from "../../load/drivers/command.ts";
import { summarizeArm } from "../../results/arms.ts";
import { compareArms } from "../../results/compare.ts";
import { summarize } from "../../results/recorder.ts";
import type { ArmDescription, ArmResult, Comparison, MetricName, RoundResult, ScenarioResult, Statistic } from "../../results/types.ts";
import type { StreamLogged } from "../../base/parent-channel.ts";
import type { RunContext } from "../arms.ts";
import { armsOf, type ClientArm, type ClientChoice, environmentOf, estimatedSeconds, expectedMs, type Load } from "./arms.ts";
import { type ClientFindings, findingsOf, findingsWithoutRecord, rampCounts, rampOf } from "./metrics.ts";
import { orderOfRounds } from "../plan/order.ts";
import { defaultRounds } from "../../settings/bench.ts";
import { didYouMean } from "../../base/guess.ts";
import { RunError, type ServerChild, startServerChild } from "../processes/target.ts";

/** The three questions, as scenarios. */
export const clientScenarios = ["clients", "clients-rate", "clients-limit"] as const;
type ClientScenario = (typeof clientScenarios)[number];

/** Idle time-outs that a run may take in addition to its streams: a program has to start and to load its modules. */
const patience = 3;

interface Attempt {
  readonly run: CommandRun;
  readonly logged: StreamLogged | null;
  /** Connections that came to have as many streams open as they may. */
  readonly atStreamLimit: number;
  readonly startedAt: string;
}

class ClientBench {
  readonly #context: RunContext;
  readonly #arms: readonly ClientArm[];
  readonly #rounds: number;
  /** CPU per token by arm, as the paced streams have shown it, microseconds. */
  readonly #cpuPerToken = new Map<string, number>();

  constructor(context: RunContext, arms: readonly ClientArm[]) {
    this.#context = context;
    this.#arms = arms;
    this.#rounds = context.options.rounds ?? defaultRounds;
  }

  #pacedLoad(): Load {
    const { options } = this.#context;
    return {
      streams: options.streams ?? 100,
      outputTokens: options.outputTokens ?? 25,
      ttft: options.ttft ?? "100",
      // 1,000 tokens a second: what the costliest library takes in half of its core.
      itl: options.itl ?? "100",
      rampMs: 500,
      stopMs: 0,
      isWarm: true,
    };
  }

  /** The load of a ramp that ends at so many tokens per second. */
  #rampLoad(top: number): Load {
    const streams = this.#context.options.streams ?? 200;
    const itlMs = (streams * 1000) / top;
    return {
      streams,
      outputTokens: Math.ceil(rampMs / itlMs) + 1,
      ttft: "0",
      itl: `${Math.round(itlMs * 1000)}us`,
      rampMs,
      stopMs: rampMs,
      isWarm: true,
    };
  }

  #limitLoad(): Load {
    const { options } = this.#context;
    return {
      streams: options.streams ?? 100,
      outputTokens: 30,
      ttft: options.ttft ?? "100",
      itl: options.itl ?? "20",
      rampMs: 0,
      // Who hangs is left then, and is found to.
      stopMs: 8000,
      isWarm: false,
    };
  }

  /** Seconds that these questions take, roughly. */
  estimateSeconds(questions: readonly ClientScenario[]): number {
    const named = this.#arms.filter(({ name }) => name !== null).length;
    const multiplexed = this.#arms.filter(({ protocol }) => protocolTraits[protocol].isMultiplexed).length;
    const limit = this.#limitLoad();
    const seconds = {
      clients: this.#arms.length * this.#rounds * estimatedSeconds(this.#pacedLoad()),
      "clients-rate": named * (this.#rounds + usualProbes) * estimatedSeconds(this.#rampLoad(10_000)),
      // Some clients wait for streams to end, some open further connections.
      "clients-limit": multiplexed * this.#rounds * estimatedSeconds(limit, (1 + Math.ceil(limit.streams / streamLimit)) / 2),
    };
    return questions.reduce((sum, question) => sum + seconds[question], 1);
  }

  /** 100 paced streams: what a client adds. */
  async paced(notes: readonly string[]): Promise<ScenarioResult> {
    const load = this.#pacedLoad();
    const server = await this.#start(load, {});
    try {
      const results = await this.#runAll(server, this.#arms, load, (arm, attempt) => {
        const { run, logged } = attempt;
        if (logged === null) return { requests: noRequests, metrics: {} };
        const findings = run.record === null ? findingsWithoutRecord(run, logged) : findingsOf(run.record, logged);
        const cpu = findings.metrics.clientCpuUsPerToken;
        if (cpu) this.#cpuPerToken.set(arm.id, cpu.mean);
        return findings;
      });
      return {
        ...this.#head(
          "clients",
          "What a client library costs",
          "The client: the same streams, read by each library; times against the server's own",
          load,
        ),
        arms: results,
        comparisons: this.#comparisons(results),
        claims: [],
        notes: [...notes, ...pacedNotes(results)],
        skipped: null,
      };
    } finally {
      await server.close();
    }
  }

  /** Ever more streams: the rate of tokens at which a client falls behind. */
  async rate(): Promise<ScenarioResult> {
    const arms = this.#arms.filter(({ name }) => name !== null);
    const tops = new Map<string, number>();
    const found = new Set<string>();
    /** Rates at which it was the server that fell behind. */
    const serverLimits = new Map<string, number>();
    /** The most that was offered when an arm last kept up with it. */
    const keptUp = new Map<string, number>();
    const notes: string[] = [];
    const shown = this.#rampLoad(10_000);
    const server = await this.#start(shown, {});
    try {
      const results = await this.#runAll(
        server,
        arms,
        (arm) => this.#rampLoad(tops.get(arm.id) ?? Math.min(highestRate, 3e6 / (this.#cpuPerToken.get(arm.id) ?? 100))),
        (arm, { run, logged }, load) => {
          if (logged === null || run.record === null) return { requests: noRequests, metrics: {} };
          const { behindAt, serverLimitedAt, top } = rampOf(run.record, logged, Number.parseInt(load.itl, 10));
          // The ramp of the next round ends well above what this one has found.
          if (serverLimitedAt !== null) serverLimits.set(arm.id, Math.min(serverLimitedAt, serverLimits.get(arm.id) ?? Infinity));
          if (behindAt !== null || serverLimitedAt !== null) found.add(arm.id);
          else keptUp.set(arm.id, top);
          const next = behindAt === null ? (serverLimitedAt === null ? top * 2 : top) : behindAt * 1.6;
          tops.set(arm.id, Math.min(highestRate, Math.max(500, next)));
          return {
            requests: rampCounts(run.record, logged),
            metrics: { keepsUpTokensPerSecond: behindAt === null ? null : summarize([behindAt], "1/s") },
          };
        },
        { isProbed: (arm) => found.has(arm.id) },
      );
      for (const { id, rounds } of results) {
        const missed = rounds.filter(({ invalid, metrics }) => invalid.length === 0 && !metrics.keepsUpTokensPerSecond).length;
        const limit = serverLimits.get(id);
        if (missed === 0) continue;
        const why =
          limit === undefined
            ? `kept up with all that was offered, at most ${Math.round(keptUp.get(id) ?? 0)} tokens/s`
            : `the server fell behind before it, at ${Math.round(limit)} tokens/s`;
        notes.push(`${id}: in ${missed} of ${rounds.length} rounds ${why}`);
      }
      const head = this.#head(
        "clients-rate",
        "The rate of tokens at which a client falls behind",
        "The client's capacity: ever more streams, until the median token is seen more than 100 ms late for good",
        shown,
      );
      // Each arm has a pace of its own.
      const { itl: _itl, outputTokens: _tokens, ...workload } = head.workload;
      return { ...head, workload, arms: results, comparisons: [], claims: [], notes, skipped: null };
    } finally {
      await server.close();
    }
  }

  /** More streams than the server allows on a connection: what a client does then. */
  async limit(): Promise<ScenarioResult> {
    const arms = this.#arms.filter(({ protocol }) => protocolTraits[protocol].isMultiplexed);
    const load = this.#limitLoad();
    const head = this.#head(
      "clients-limit",
      `${load.streams} streams at once, ${streamLimit} allowed on a connection`,
      "SETTINGS_MAX_CONCURRENT_STREAMS: whether a client queues, opens another connection, or fails",
      load,
    );
    const workload = { ...head.workload, maxConcurrentStreams: streamLimit };
    const rest = { ...head, workload, comparisons: [], claims: [] };
    if (arms.length === 0) return { ...rest, arms: [], notes: [], skipped: "no client that was asked for speaks HTTP/2" };
    const server = await this.#start(load, { maxConcurrentStreams: streamLimit });
    const atLimit = new Map<string, number>();
    try {
      const results = await this.#runAll(
        server,
        arms,
        load,
        (arm, { run, logged, atStreamLimit }) => {
          if (logged === null) return { requests: noRequests, metrics: {} };
          atLimit.set(arm.id, (atLimit.get(arm.id) ?? 0) + atStreamLimit);
          return run.record === null ? findingsWithoutRecord(run, logged) : findingsOf(run.record, logged);
        },
        { failuresCount: true },
      );
      return {
        ...rest,
        arms: results,
        notes: results.map((arm) => behaviourOf(arm, atLimit.get(arm.id) ?? 0, load.streams)),
        skipped: null,
      };
    } finally {
      await server.close();
    }
  }

  async #start({ streams, ttft, itl, outputTokens }: Load, more: { maxConcurrentStreams?: number }): Promise<ServerChild> {
    const server = await startServerChild({
      protocols: [...new Set(this.#arms.map(({ protocol }) => protocol))],
      // One runtime for all protocols over TCP, and the one that counts connections.
      engine: "node",
      ttft,
      itl,
      outputTokens,
      maxConcurrentStreams: more.maxConcurrentStreams ?? Math.max(256, streams),
      seed: this.#context.options.seed,
      cpu: this.#context.pinning?.server ?? null,
      stamps: false,
    });
    const { engineVersions } = this.#context;
    for (const [name, version] of Object.entries(server.engineVersions)) if (name !== "node") engineVersions.set(name, version);
    return server;
  }

  /**
   * Rounds of all arms, in the bench's order. With `isProbed`, runs that are thrown away come before them, until it is true of
   * an arm. Failed requests make a round invalid unless they are what is looked for.
   */
  async #runAll(
    server: ServerChild,
    arms: readonly ClientArm[],
    loads: Load | ((arm: ClientArm) => Load),
    read: (arm: ClientArm, attempt: Attempt, load: Load) => ClientFindings,
    { isProbed, failuresCount = false }: { readonly isProbed?: (arm: ClientArm) => boolean; readonly failuresCount?: boolean } = {},
  ): Promise<ArmResult[]> {
    const { signal, observer, options } = this.#context;
    const rounds = new Map(arms.map((arm) => [arm, [] as RoundResult[]]));
    const spoken = new Map<ClientArm, string>();
    const runOne = async (arm: ClientArm, round: number, position: number): Promise<void> => {
      const load = typeof loads === "function" ? loads(arm) : loads;
      observer.progress(`${arm.id}, ${round < 0 ? "finding the range" : `round ${round + 1} of ${this.#rounds}`}`);
      const attempt = await this.#attempt(server, arm, load);
      if (signal.aborted) return;
      const { run, logged, startedAt } = attempt;
      const findings = read(arm, attempt, load);
      observer.live?.({ kind: "measured", arm: arm.id, metrics: findings.metrics });
      const faults = faultsOf(arm, attempt, findings, load, failuresCount);
      if (server.died !== null) faults.push(server.died);
      const protocol = logged?.streams.at(-1)?.spoken;
      if (protocol !== undefined) spoken.set(arm, protocol === "h2" && arm.protocol === "h2c" ? "h2c" : protocol);
      if (round >= 0)
        rounds.get(arm)!.push({ round, position, startedAt, requests: findings.requests, metrics: findings.metrics, invalid: faults });
      else if (run.failure !== null) observer.notice(`${arm.id}: ${run.failure}`);
    };
    const isReady = (arm: ClientArm): boolean => signal.aborted || isProbed === undefined || isProbed(arm);
    for (const arm of arms) for (let probe = 0; probe < mostProbes && !isReady(arm); probe++) await runOne(arm, -1, 0);
    for (const [round, order] of orderOfRounds(arms.length, this.#rounds, options.seed).entries())
      for (const [position, index] of order.entries()) if (!signal.aborted) await runOne(arms[index]!, round, position);
    return arms.map((arm) => {
      const streams = (typeof loads === "function" ? loads(arm) : loads).streams;
      return summarizeArm(this.#describe(server, arm, streams), rounds.get(arm)!, {
        negotiated: spoken.get(arm) ?? null,
        cipher: null,
        rttMs: 0,
      });
    });
  }

  #describe({ engines }: ServerChild, { id, protocol, client }: ClientArm, streams: number): ArmDescription {
    return { id, protocol, engine: engines[protocol]!, role: "protocol", driver: "client", client, connections: null, streams };
  }

  async #attempt(server: ServerChild, arm: ClientArm, load: Load): Promise<Attempt> {
    const { options, pinning, signal } = this.#context;
    const startedAt = new Date().toISOString();
    const before = await server.ask({ ask: "recorded" });
    const begun = await server.ask({ ask: "record", knobs: { ttft: load.ttft, itl: load.itl, "output-tokens": load.outputTokens } });
    if (begun === null) throw new RunError(server.died ?? "the server does not answer its bench");
    const run = await runCommand({
      command: arm.command.map((word) => word.replaceAll("{url}", server.origins[arm.protocol]!)),
      env: environmentOf(server, arm, load, options.seed),
      timeoutMs: expectedMs(load) + patience * options.idleTimeoutMs,
      sampled: arm.name === null,
      cpu: pinning?.load ?? null,
      signal,
    });
    const recorded = await server.ask({ ask: "recorded" });
    return {
      run,
      logged: recorded,
      atStreamLimit: (recorded?.atStreamLimit ?? 0) - (before?.atStreamLimit ?? 0),
      startedAt,
    };
  }

  #head(
    id: ClientScenario,
    title: string,
    isolates: string,
    { isWarm: _isWarm, stopMs: _stopMs, ...load }: Load,
  ): Pick<ScenarioResult, "id" | "title" | "isolates" | "variant" | "workload"> {
    return { id, title, isolates, variant: "", workload: { ...load, rounds: this.#rounds } };
  }

  /** Each client against Node's own on the same protocol, and each one's HTTP/2 against its HTTP/1.1. */
  #comparisons(arms: readonly ArmResult[]): Comparison[] {
    const pairs: { baseline: ClientArm; candidate: ClientArm; kind: Comparison["kind"] }[] = [];
    for (const candidate of this.#arms) {
      const baseline = this.#arms.find(({ protocol }) => protocol === candidate.protocol)!;
      if (baseline !== candidate) pairs.push({ baseline, candidate, kind: "client" });
    }
    for (const candidate of this.#arms) {
      const like = protocolTraits[candidate.protocol].baseline;
      const baseline = this.#arms.find(
        ({ client, protocol }) => client === candidate.client.replace(/ multiplexed$/, "") && protocol === like,
      );
      // HTTP/3 is served by an engine of its own, and so is no statement about the protocol.
      if (baseline !== undefined)
        pairs.push({ baseline, candidate, kind: protocolTraits[candidate.protocol].isQuic ? "engine" : "protocol" });
    }
    const sees = ({ id }: ClientArm, metric: MetricName): boolean => Boolean(arms.find((arm) => arm.id === id)?.metrics[metric]);
    return pairs.flatMap(({ baseline, candidate, kind }) =>
      comparedIn
        // A command that writes no record sees less, and that is no verdict.
        .filter(({ metric }) => [baseline, candidate].every((arm) => arm.name !== null || sees(arm, metric)))
        .map((ref) =>
          compareArms(arms, {
            ...ref,
            baseline: baseline.id,
            candidate: candidate.id,
            kind,
          }),
        ),
    );
  }
}

/** What clients are compared in: two metrics decide, the others are described beside them. */
const comparedIn: readonly { readonly metric: MetricName; readonly statistic: Statistic; readonly described?: boolean }[] = [
  { metric: "clientCpuUsPerToken", statistic: "mean" },
  { metric: "tokenAdded", statistic: "p50" },
  { metric: "tokenAdded", statistic: "p99", described: true },
  { metric: "ttftAdded", statistic: "p50", described: true },
];

const noRequests = { sent: 0, completed: 0, failed: 0, errors: {} };
/** The end of every ramp, tokens per second: a server on one core falls behind before that. */
const highestRate = 200_000;
/** Runs at most that look for the range in which a client falls behind. */
const mostProbes = 4;
/** Runs that it mostly takes. */
const usualProbes = 3;
/** How long streams are added to a ramp. */
const rampMs = 4000;
const streamLimit = 32;

/** Why a run's figures may not be used. */
function faultsOf(
  arm: ClientArm,
  { run, logged }: Attempt,
  { requests, faults: found = [] }: ClientFindings,
  { streams, stopMs }: Load,
  failuresCount: boolean,
): string[] {
  if (run.failure !== null) return [run.failure];
  if (logged === null) return ["the server has not told what it did"];
  const faults: string[] = [...found];
  if (logged.streams.length === 0) faults.push("the client opened no stream");
  if (arm.name !== null && run.record === null) faults.push("the client has written no record");
  // Without TLS it is called h2c at the client.
  const { negotiated } = protocolTraits[arm.protocol];
  const wanted = negotiated === "h2c" ? "h2" : negotiated;
  const other = logged.streams.find(({ spoken }) => spoken !== wanted);
  if (other !== undefined) faults.push(`the protocol changed: ${wanted} was asked for, ${other.spoken} was spoken`);
  if (requests.failed > 0 && !failuresCount && stopMs === 0) faults.push(describeFailures(requests));
  if (run.record !== null && run.record.streams.length !== streams)
    faults.push(`${run.record.streams.length} streams were opened, and not ${streams}`);
  return faults;
}

/** What a reader of the paced figures should know. */
function pacedNotes(arms: readonly ArmResult[]): string[] {
  return arms.flatMap(({ id, metrics, streams }) => {
    const { clientCpuUsPerToken: cpu, tokensPerSecond: rate, connectionsOpened } = metrics;
    const busy = cpu && rate ? (cpu.mean * rate.mean) / 1e6 : 0;
    const notes = busy > 0.6 ? [`${id}: used ${Math.round(busy * 100)}% of its core, so its times hold a backlog`] : [];
    if (connectionsOpened && connectionsOpened.max > streams)
      notes.push(`${id}: opened more connections than it has streams, its warm-up included`);
    return notes;
  });
}

/** In words, what a client did at the limit of streams. */
function behaviourOf({ id, rounds, metrics, invalid }: ArmResult, atLimit: number, offered: number): string {
  if (invalid.length > 0 || rounds.length === 0) return `${id}: ${invalid[0] ?? "not run"}`;
  const failed = rounds.reduce((sum, { requests }) => sum + requests.failed, 0);
  const connections = metrics.connectionsOpened?.max ?? null;
  const atOnce = metrics.streamsAtOnce?.max ?? 0;
  const reasons = [...new Set(rounds.flatMap(({ requests }) => Object.keys(requests.errors)))];
  const did = [
    `${atOnce >= offered ? "opens" : failed > 0 ? "keeps to" : "queues on"} ${connections} connection${connections === 1 ? "" : "s"}`,
    failed > 0 ? `${failed} of ${rounds.length * offered} requests fail (${reasons.slice(0, 2).join(", ")})` : "none fails",
    ...(atLimit > 0 ? [`${atLimit} connections met the limit`] : []),
  ];
  return `${id}: ${did.join(", ")}; at most ${atOnce} of ${offered} under way at once`;
}

/** Whether `--scenario` names one of these results. Throws UsageError for other names. */
function questionsOf(scenarios: readonly string[]): readonly ClientScenario[] {
  if (scenarios.length === 0) return clientScenarios;
  return scenarios.map((name) => {
    const found = clientScenarios.find((known) => known === name);
    if (found === undefined)
      throw new UsageError(
        `--scenario: with --driver client, "${name}" is not one of ${clientScenarios.join(", ")}${didYouMean(name, clientScenarios)}`,
      );
    return found;
  });
}

/** Runs what was asked for; the scenarios appear in `results` as they are done. Throws UsageError and RunError. */
export async function runClients(context: RunContext, choice: ClientChoice, results: ScenarioResult[]): Promise<void> {
  const { options, observer, signal } = context;
  const notes: string[] = [];
  const questions = questionsOf(options.scenarios);
  const arms = await armsOf(choice, options.protocols, notes);
  for (const note of notes) observer.notice(note);
  const bench = new ClientBench(context, arms);
  const seconds = bench.estimateSeconds(questions);
  const rough = seconds < 120 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
  observer.notice(`about ${rough}: ${arms.map(({ id }) => id).join(", ")}`);
  observer.live?.({ kind: "plan", seconds });
  for (const question of questions) {
    if (signal.aborted) return;
    const own = bench.estimateSeconds([question]);
    observer.live?.({ kind: "asking", question, seconds: own, arms: arms.map(({ id }) => id), runs: 0 });
    if (question === "clients") results.push(await bench.paced(notes));
    else if (question === "clients-limit") results.push(await bench.limit());
    else if (arms.some(({ name }) => name !== null)) results.push(await bench.rate());
  }
}
