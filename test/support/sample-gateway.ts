/** A result of `fakeai gateway certify` with every kind of finding, made up. */
import { judgeClaims } from "../../src/results/gateways/claims.ts";
import {
  type Certificate,
  type Check,
  checkIds,
  type GatewayResult,
  type Level,
  type LevelSide,
} from "../../src/results/gateways/types.ts";
import { sampleResult } from "./sample-result.ts";

const side: LevelSide = {
  sent: 40,
  completed: 40,
  failed: 0,
  ttftP50Us: 51_000,
  ttftP99Us: 54_000,
  itlP50Us: 20_000,
  itlP99Us: 22_000,
  achievedShare: 0.99,
  readsPerEvent: 1,
};

function level(streams: number, changes: Partial<Level> = {}): Level {
  const added = { estimateUs: 510, lowUs: 320, highUs: 700 };
  return {
    streams,
    requestsPerSecond: streams * 4.35,
    rounds: 5,
    direct: side,
    through: { ...side, ttftP50Us: 51_510 },
    addedTtftP50: added,
    addedTtftP99: { estimateUs: 900, lowUs: -100, highUs: 1900 },
    addedTokenP50: added,
    addedTokenP99: null,
    addedItlP99: added,
    gatewayCpuUsPerRequest: 300,
    gatewayCpuUsPerToken: 30,
    gatewayRssBytes: 14_000_000,
    clientCpuShare: 0.12,
    clientPauseUs: 4000,
    disturbedRuns: 1,
    limit: null,
    reason: null,
    ...changes,
  };
}

function certificate(gateway: string, changes: Partial<Certificate>, faults: readonly Check[] = []): Certificate {
  return {
    id: `${gateway}-${changes.protocol ?? "h1"}`,
    gateway,
    protocol: "h1",
    upstreamHttp: "HTTP/1.1",
    version: "1.2.3",
    licence: "MIT",
    config: `# ${gateway}\nlisten 127.0.0.1:9000;\n`,
    fidelity: {
      answers: 8,
      sent: 1032,
      received: 1032,
      identical: 1032,
      rewritten: 0,
      lost: 0,
      repeated: 0,
      reordered: 0,
      changed: 0,
      resplit: 0,
      finished: 8,
      withUsage: 8,
      withDone: 8,
      broken: 0,
    },
    checks: checkIds.map((id) => faults.find((one) => one.id === id) ?? { id, verdict: "kept", seen: `${id} as direct` }),
    levels: [level(1), level(16), level(64, { limit: "gateway", reason: "served 80% of what was offered" })],
    keptPerSecond: 69.6,
    passedPerSecond: 278.4,
    leftOut: null,
    ...changes,
  };
}

/** `hostile` stands in every text that a gateway or a server may have written. */
export function sampleGatewayResult(hostile = ""): GatewayResult {
  const { environment } = sampleResult();
  const certificates = [
    certificate("nginx", {}),
    certificate("haproxy:buffering", { protocol: "h2c" }, [
      { id: "held", verdict: "fault", seen: `tokens are held back and let out together: 24 events in 4 reads${hostile}` },
      { id: "errors", verdict: "fault", seen: `429 came as 500${hostile}` },
    ]),
    certificate("mine", { version: null, licence: null, config: null, levels: [], keptPerSecond: null, passedPerSecond: null }),
    certificate("litellm", {
      protocol: "h2c",
      fidelity: null,
      checks: [],
      levels: [],
      leftOut: `litellm does not speak h2c to clients${hostile}`,
    }),
  ];
  return {
    kind: "fakeai.gateway",
    schemaVersion: 1,
    command: ["fakeai", "gateway", "certify", "--start", "nginx"],
    seed: 1,
    startedAt: "2026-11-29T17:54:00.000Z",
    durationS: 58.8,
    complete: true,
    environment,
    loadAverageAfter: [1, 1, 1],
    ttftMs: 50,
    itlMs: 20,
    outputTokens: 10,
    boundMs: 10,
    delayBoundMs: 0.4,
    runS: 2,
    certificates,
    claims: judgeClaims(certificates),
    invalid: [],
  };
}
