/** What is claimed of gateways in public, as data, and what a run says to it in the claim's own terms. */
import { addedSpan } from "./delay.ts";
import type { Certificate, ClaimOutcome, Level, PublishedClaim } from "./types.ts";

/** As published; looked up in November 2026. */
export const publishedClaims: readonly PublishedClaim[] = [
  {
    gateway: "litellm",
    text: "2 ms (p50), 8 ms (p95), 13 ms (p99) overhead at 1,170 requests a second",
    source: "docs.litellm.ai/docs/benchmarks",
    conditions: "four instances of 4 CPUs each",
    leavesOut:
      "its own header's timer: the wait before the handler runs is not in it; end to end the same page has 150 ms at p95; with two instances it says 12, 29 and 43 ms; others measured 4.34 ms of one, call after call on localhost (cuihuan/llm-gateway-bench, data/overhead.json)",
    limitMs: 2,
    statistic: "p50",
    atPerSecond: 1170,
    needs: "four instances of 4 CPUs each",
  },
  {
    gateway: "portkey",
    text: "under 1 ms latency",
    source: "github.com/Portkey-AI/gateway, README",
    conditions: "none are said",
    leavesOut:
      "which percentile, at which rate, and of what; its own FAQ says 20 to 40 ms for the hosted service; by its code version 1.15.2 waits 25 ms before the first event of a streamed answer; others measured 2.37 ms, call after call on localhost (cuihuan/llm-gateway-bench, data/overhead.json)",
    limitMs: 1,
    statistic: null,
    atPerSecond: null,
    needs: null,
  },
  {
    gateway: "bifrost",
    text: "11 µs overhead at 5,000 requests a second",
    source: "docs.getbifrost.ai/benchmarking",
    conditions: "t3.xlarge, a mock upstream that answers after 1.5 s",
    leavesOut:
      "internal timers, without the reading of JSON (26.8 µs), the call itself and the parsing of the answer (2.11 ms): no added latency; its own table at 500 requests a second says 0.99 ms",
    limitMs: 0.011,
    statistic: null,
    atPerSecond: 5000,
    needs: "its binary, which no registry here has",
  },
  {
    gateway: "tensorzero",
    text: "under 1 ms (p99) at 10,000 requests a second",
    source: "tensorzero.com/docs/gateway/benchmarks",
    conditions: "c7i.xlarge with 4 vCPUs, a mock upstream",
    leavesOut: "streamed answers; the repository is archived since June 2026",
    limitMs: 1,
    statistic: "p99",
    atPerSecond: 10_000,
    needs: "its binary, which no registry here has",
  },
  {
    gateway: "kong",
    text: "228% of Portkey's throughput and 859% of LiteLLM's",
    source: "konghq.com, blog",
    conditions: "requests a second at saturation",
    leavesOut: "latency: a throughput at saturation says nothing of what a call takes below it",
    limitMs: null,
    statistic: null,
    atPerSecond: null,
    needs: "its binary, which no registry here has",
  },
];

/** Holds the claims against a run. Claims of a gateway that is in it are judged on each of its protocols' best case: the least added. */
export function judgeClaims(certificates: readonly Certificate[], claims: readonly PublishedClaim[] = publishedClaims): ClaimOutcome[] {
  return claims.map((claim) => {
    const own = certificates.filter(({ gateway, leftOut }) => gateway.split(":")[0] === claim.gateway && leftOut === null);
    return judge(claim, own);
  });
}

function judge(claim: PublishedClaim, certificates: readonly Certificate[]): ClaimOutcome {
  const found = certificates
    .flatMap((certificate) => {
      const told = levelsFor(claim, certificate.levels).flatMap((level) => {
        const added = claim.statistic === "p99" ? level.addedTtftP99 : level.addedTtftP50;
        return added === null ? [] : [{ certificate, level, added }];
      });
      const undisturbed = told.filter(({ level }) => !isDisturbed(level));
      return undisturbed.length > 0 ? undisturbed : told;
    })
    .toSorted((a, b) => a.added.estimateUs - b.added.estimateUs)[0];
  if (found === undefined) {
    const why = certificates.length === 0 ? "it was not measured in this run" : "no level of this run tells";
    return { claim, verdict: "not comparable", measured: claim.needs === null ? why : `it needs ${claim.needs}` };
  }
  const { certificate, level, added } = found;
  const shown = `${certificate.id} added ${addedSpan(added)} to TTFT (${claim.statistic ?? "p50"}) at ${level.requestsPerSecond.toFixed(1)} requests/s`;
  if (claim.needs !== null) return { claim, verdict: "not comparable", measured: `${shown}; the claim needs ${claim.needs}` };
  if (claim.limitMs === null) return { claim, verdict: "not comparable", measured: shown };
  if (claim.atPerSecond !== null && level.requestsPerSecond < claim.atPerSecond * 0.9)
    return { claim, verdict: "not comparable", measured: `${shown}; ${claim.atPerSecond} were not reached here` };
  if (isDisturbed(level))
    return {
      claim,
      verdict: "not comparable",
      measured: `${shown}, but other processes disturbed ${level.disturbedRuns} of ${2 * level.rounds} runs`,
    };
  const limitUs = claim.limitMs * 1000;
  if (added.highUs <= limitUs) return { claim, verdict: "reproduced", measured: shown };
  if (added.lowUs > limitUs) return { claim, verdict: "refuted", measured: shown };
  return { claim, verdict: "not comparable", measured: `${shown}: the interval holds the number` };
}

/** Whether other processes disturbed more than half of the runs. */
function isDisturbed({ disturbedRuns, rounds }: Level): boolean {
  return disturbedRuns > rounds;
}

/** The level that a claim speaks of: that of its rate, or the next above. Where it names none, all: the best of them counts. */
function levelsFor({ atPerSecond }: PublishedClaim, levels: readonly Level[]): readonly Level[] {
  const usable = levels.filter(({ limit, through }) => limit !== "client or server" && through.failed === 0);
  if (atPerSecond === null) return usable;
  const level = usable.find(({ requestsPerSecond }) => requestsPerSecond >= atPerSecond * 0.9) ?? usable.at(-1);
  return level === undefined ? [] : [level];
}
