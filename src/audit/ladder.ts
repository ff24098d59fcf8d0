/** The rungs: what the server does on each, so that its right figures are known. */
import type { Reply, ReplyFile } from "../settings/replies.ts";

/** Planned of an answer where a rung says nothing else, milliseconds and tokens. */
const usual = { ttft: 100, itl: 20, tokens: 20 } as const;

/** What the command is given on a rung where it has these placeholders. */
export interface RungLoad {
  readonly concurrency: number;
  readonly ratePerSecond: number;
}

const usualLoad: RungLoad = { concurrency: 5, ratePerSecond: 10 };

export interface Rung {
  readonly name: string;
  readonly title: string;
  /** Flags of `fakeai serve`, without the dashes. */
  readonly flags: Readonly<Record<string, string>>;
  /** Rules for answers, by the number of the request; on HTTP/2 a reset is one of a stream. */
  readonly replies: ((isHttp2: boolean) => ReplyFile) | null;
  /** The rules in words. */
  readonly rules: string;
  readonly load: RungLoad;
  /** A placeholder without which the rung would repeat another. */
  readonly needs: "concurrency" | "rate" | null;
  /** Whether it is one of rising load. */
  readonly isRising: boolean;
}

/** Requests whose answers a rule decides one by one. Later ones are answered as usual. */
const mostRuled = 2000;

/** A rule of one reply for each request, made from its number, from 0. */
function ruled(replyTo: (number: number, isHttp2: boolean) => Reply): (isHttp2: boolean) => ReplyFile {
  return (isHttp2) => ({ replies: [{ reply: [...Array.from({ length: mostRuled }, (_, number) => replyTo(number, isHttp2)), {}] }] });
}

const flags = (ttft: number | string, itl: number | string, tokens: number): Record<string, string> => ({
  ttft: String(ttft),
  itl: String(itl),
  "output-tokens": String(tokens),
});

function rung(name: string, title: string, more: Partial<Rung> = {}): Rung {
  return {
    name,
    title,
    replies: null,
    rules: "",
    load: usualLoad,
    needs: null,
    isRising: false,
    ...more,
    flags: { ...flags(usual.ttft, usual.itl, usual.tokens), ...more.flags },
  };
}

/** Every rung, the most telling first: a budget leaves out the last ones. */
export const ladder: readonly Rung[] = [
  rung("constant", "a token every 20 ms after 100 ms", { isRising: true }),
  rung("role", "the chunk of the role at once, the first token after 100 ms", { flags: { "early-role": "" } }),
  rung("chunks", "four tokens in a chunk", { flags: { "tokens-per-chunk": "4", ...flags(usual.ttft, 10, 40) } }),
  rung("slow-first", "the first of every hundred requests waits a second longer", {
    replies: ruled((number) => (number % 100 === 0 ? { ttft: usual.ttft + 1000 } : {})),
    rules: "requests 1, 101, 201, ...: TTFT 1,100 ms",
  }),
  rung("errors", "one in five requests is refused", {
    replies: ruled((number) => (number % 5 === 3 ? { fault: number % 10 === 3 ? "rate_limit" : "server_error" } : {})),
    rules: "requests 4, 9, 14, ...: 429 and 500 in turn",
  }),
  rung("pace-5", "a token every 5 ms", { flags: flags(usual.ttft, 5, 80), isRising: true }),
  rung("stalls", "one in four answers stands still for 300 ms, then sends all that is due", {
    replies: ruled((number) => (number % 4 === 1 ? { fault: "burst(after=8,silence=300ms)" } : {})),
    rules: "requests 2, 6, 10, ...: after 8 tokens a silence of 300 ms",
  }),
  rung("jittered", "TTFT and gaps spread", { flags: flags("lognormal(100,0.3)", "lognormal(20,0.5)", usual.tokens) }),
  rung("cuts", "one in five answers is cut after 5 tokens", {
    replies: ruled((number, isHttp2) =>
      number % 5 === 3 ? { fault: number % 10 === 3 ? "truncate(after=5)" : isHttp2 ? "rst_stream(after=5)" : "reset(after=5)" } : {},
    ),
    rules: "requests 4, 9, 14, ...: the body ends in order, or by a reset, in turn",
  }),
  rung("reasoning", "reasoning before content, as vLLM sends it", {
    flags: { profile: "vllm" },
    replies: ruled(() => ({ reasoning: "First I think about what was asked, and then I answer it." })),
    rules: "every answer reasons first",
  }),
  rung("pace-2", "a token every 2 ms", { flags: flags(usual.ttft, 2, 200), isRising: true }),
  rung("pace-1", "a token every millisecond", { flags: flags(usual.ttft, 1, 400), isRising: true }),
  ...[1, 20, 50, 100, 200].map((concurrency) =>
    rung(`streams-${concurrency}`, `${concurrency} ${concurrency === 1 ? "request" : "requests"} at once`, {
      load: { ...usualLoad, concurrency },
      needs: "concurrency",
      isRising: true,
    }),
  ),
  ...[5, 20, 50, 100, 200].map((ratePerSecond) =>
    rung(`rate-${ratePerSecond}`, `${ratePerSecond} requests/s`, { load: { ...usualLoad, ratePerSecond }, needs: "rate", isRising: true }),
  ),
];

/** Names of the rungs of rising load. */
export const risingRungs: ReadonlySet<string> = new Set(ladder.filter(({ isRising }) => isRising).map(({ name }) => name));

/** A rung's plan in one line. */
export function planOf({ flags, rules }: Rung): string {
  const words = Object.entries(flags).map(([name, value]) => (value === "" ? `--${name}` : `--${name} ${value}`));
  return [words.join(" "), ...(rules === "" ? [] : [rules])].join("; ");
}
