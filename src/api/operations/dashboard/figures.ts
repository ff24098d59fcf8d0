/**
 * What a dashboard shows, out of the exposition text of `/metrics`: so it shows nothing that a scrape does not, and with several
 * processes the sum of all.
 */

/** Quantiles of what happened between two looks; null: nothing did. */
export interface Lateness {
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
}

/** What a server does, over the seconds between two scrapes. */
export interface Figures {
  /** Length of time that the rates and the lateness are of, seconds. */
  readonly overS: number;
  /** Responses under way. */
  readonly streams: number;
  readonly tokensPerSecond: number;
  readonly responsesPerSecond: number;
  /** Handed to the transport, minus due. */
  readonly lateness: Lateness;
  /** Open TCP connections by protocol. */
  readonly connections: Readonly<Record<string, number>>;
  /** Faults on purpose so far, by name. */
  readonly faults: Readonly<Record<string, number>>;
  /** Of a batched scheduler: requests that wait, and the share of the KV cache in use. null: streams are independent. */
  readonly queue: { readonly waiting: number; readonly cacheShare: number } | null;
}

/** A scrape, when it was made. */
export interface Scrape {
  readonly text: string;
  /** Of a monotonic clock. */
  readonly atMs: number;
}

interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

function samplesOf(text: string): Sample[] {
  return text.split("\n").flatMap((line) => {
    const match = /^([a-z_:]+)(?:\{(.*)\})? (\S+)$/iu.exec(line);
    if (match === null) return [];
    const [, name = "", inside = "", value] = match;
    const labels = [...inside.matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/giu)].map(([, label, own]) => [label!, own!] as const);
    return [{ name, labels: Object.fromEntries(labels), value: Number(value) }];
  });
}

function sum(samples: readonly Sample[], name: string): number {
  return samples.reduce((total, sample) => total + (sample.name === name ? sample.value : 0), 0);
}

function by(samples: readonly Sample[], name: string, label: string): Record<string, number> {
  const found: Record<string, number> = {};
  for (const { name: own, labels, value } of samples) if (own === name) found[labels[label]!] = (found[labels[label]!] ?? 0) + value;
  return found;
}

/** Counts up to each edge, by the edge in seconds. */
function buckets(samples: readonly Sample[], name: string): Map<number, number> {
  const found = samples.filter((sample) => sample.name === `${name}_bucket`);
  return new Map(found.map(({ labels, value }) => [labels["le"] === "+Inf" ? Infinity : Number(labels["le"]), value]));
}

/**
 * A quantile of counts up to edges, in the unit of the edges: within a bucket values are taken to be spread evenly, as Prometheus'
 * histogram_quantile does; beyond the last edge it is that edge. null: there are no values.
 */
export function quantile(share: number, upTo: readonly (readonly [edge: number, count: number])[]): number | null {
  const total = upTo.at(-1)?.[1] ?? 0;
  if (total <= 0) return null;
  const rank = share * total;
  const index = upTo.findIndex(([, count]) => count >= rank);
  const [edge, count] = upTo[index]!;
  const [from, before] = index === 0 ? [0, 0] : upTo[index - 1]!;
  if (edge === Infinity) return from;
  return count === before ? edge : from + ((edge - from) * (rank - before)) / (count - before);
}

/** What happened between two scrapes. A counter that fell belongs to a server that was started anew, and counts from 0. */
export function figuresBetween(before: Scrape, after: Scrape): Figures {
  const [from, to] = [samplesOf(before.text), samplesOf(after.text)];
  const overS = Math.max(0.001, (after.atMs - before.atMs) / 1000);
  const grown = (name: string): number => {
    const [first, last] = [sum(from, name), sum(to, name)];
    return last < first ? last : last - first;
  };
  const [earlier, later] = [buckets(from, "fakeai_pacing_error_seconds"), buckets(to, "fakeai_pacing_error_seconds")];
  const upTo = [...later].map(([edge, count]) => [edge, Math.max(0, count - (earlier.get(edge) ?? 0))] as const);
  const inMs = (seconds: number | null): number | null => (seconds === null ? null : seconds * 1000);
  const isBatched = to.some(({ name }) => name === "vllm:kv_cache_usage_perc");
  return {
    overS,
    streams: sum(to, "vllm:num_requests_running"),
    tokensPerSecond: grown("vllm:generation_tokens_total") / overS,
    responsesPerSecond: grown("fakeai_http_responses_total") / overS,
    lateness: { p50Ms: inMs(quantile(0.5, upTo)), p99Ms: inMs(quantile(0.99, upTo)) },
    connections: by(to, "fakeai_open_connections", "protocol"),
    faults: by(to, "fakeai_faults_total", "fault"),
    queue: isBatched ? { waiting: sum(to, "vllm:num_requests_waiting"), cacheShare: sum(to, "vllm:kv_cache_usage_perc") } : null,
  };
}
