/** The dashboard: figures out of a scrape, for browsers and for a terminal, and nothing that a scrape does not show. */
import { get, type IncomingMessage } from "node:http";
import { describe, expect, test } from "vitest";
import { figuresBetween, quantile } from "../../src/api/operations/dashboard/figures.ts";
import { mostViewers } from "../../src/api/operations/dashboard/routes.ts";
import { checkScreen, dashboardLines } from "../../src/cli/dashboard.ts";
import { createServer } from "../../src/index.ts";

/** Resolves with the answer once its head is there; its body is read by the caller. */
function ask(url: string, headers: Readonly<Record<string, string>> = {}): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => get(url, { headers, agent: false }, resolve).on("error", reject));
}

async function bodyOf(answer: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of answer) text += String(chunk);
  return text;
}

/** The first figures that an event stream sends, for which `isEnough` holds. */
async function figuresFrom(
  answer: IncomingMessage,
  isEnough: (figures: Record<string, unknown>) => boolean,
): Promise<Record<string, unknown>> {
  let text = "";
  for await (const chunk of answer) {
    text += String(chunk);
    for (const line of text.split("\n")) {
      if (!line.startsWith("data: {") || !line.endsWith("}")) continue;
      const figures = JSON.parse(line.slice(6)) as Record<string, unknown>;
      if (isEnough(figures)) return figures;
    }
  }
  throw new Error(`no such figures in ${text}`);
}

describe.each(["node", "uws"] as const)("on %s", (engine) => {
  test("a browser gets a page, any other client the endpoints, and figures come while tokens leave", async () => {
    await using server = await createServer({
      h1Engine: engine,
      protocol: "h1",
      apiKey: "secret-key",
      ttft: 1,
      itl: 5,
      outputTokens: 2000,
    });
    const url = server.urls.h1!;
    const json = JSON.parse(await bodyOf(await ask(url, { accept: "*/*" }))) as { endpoints: string[] };
    expect(json.endpoints).toContain("POST /v1/chat/completions");
    expect(json.endpoints).toContain("GET /metrics");
    expect(json.endpoints).toContain("GET /v1/realtime");
    expect(json.endpoints).not.toContain("POST /v1/realtime");
    const page = await ask(url, { accept: "text/html,application/xhtml+xml" });
    expect(page.headers["content-security-policy"]).toContain("default-src 'none'");
    const html = await bodyOf(page);
    // One file: nothing is asked of another host, and no key is in it.
    expect(html).not.toMatch(/https?:\/\/|secret-key/);

    const body = JSON.stringify({ model: "m", stream: true, messages: [{ role: "user", content: "a secret prompt" }] });
    const headers = { authorization: "Bearer secret-key", "content-type": "application/json" };
    const chat = await fetch(`${url}/v1/chat/completions`, { method: "POST", headers, body });
    const events = await ask(`${url}/dashboard/events`);
    expect(events.headers["content-type"]).toBe("text/event-stream");
    const figures = await figuresFrom(events, ({ tokensPerSecond }) => (tokensPerSecond as number) > 0);
    expect(figures).toMatchObject({ streams: 1, faults: {}, queue: null });
    expect(JSON.stringify(figures)).not.toMatch(/secret/);
    events.destroy();
    await chat.body!.cancel();
  });

  test("viewers are bounded, a page of another origin reads nothing, and a closing server waits for no viewer", async () => {
    const server = await createServer({ h1Engine: engine, protocol: "h1", cors: "https://example.com" });
    const events = `${server.urls.h1!}/dashboard/events`;
    const viewers = await Promise.all(Array.from({ length: mostViewers }, () => ask(events)));
    for (const viewer of viewers) viewer.resume().on("error", () => {});
    const refused = await ask(events);
    expect(refused.statusCode).toBe(503);
    expect(await bodyOf(refused)).toContain("At most 8 viewers");
    viewers[0]!.destroy();
    await expect
      .poll(async () => {
        const answer = await ask(events, { origin: "https://example.com" });
        answer.destroy();
        return [answer.statusCode, answer.headers["access-control-allow-origin"]];
      })
      .toEqual([200, undefined]);
    const startedMs = performance.now();
    await server.close(30_000);
    expect(performance.now() - startedMs).toBeLessThan(10_000);
  });
});

const scrape = (tokens: number, late: readonly [number, number, number]): string =>
  `# HELP x y
vllm:num_requests_running{model_name="a\\"b"} 3
vllm:generation_tokens_total{model_name="m"} ${tokens}
fakeai_http_responses_total{status="200"} 10
fakeai_pacing_error_seconds_bucket{le="0.001"} ${late[0]}
fakeai_pacing_error_seconds_bucket{le="0.01"} ${late[1]}
fakeai_pacing_error_seconds_bucket{le="+Inf"} ${late[2]}
fakeai_open_connections{protocol="h1",engine="uws"} 4
fakeai_open_connections{protocol="h2",engine="node"} 2
fakeai_faults_total{fault="reset"} 7
`;

test("figures are those between two scrapes", () => {
  const figures = figuresBetween({ text: scrape(100, [10, 10, 10]), atMs: 0 }, { text: scrape(300, [60, 110, 110]), atMs: 2000 });
  expect(figures).toEqual({
    overS: 2,
    streams: 3,
    tokensPerSecond: 100,
    responsesPerSecond: 0,
    // Half of 100 below 1 ms, and the rest spread up to 10 ms.
    lateness: { p50Ms: 1, p99Ms: expect.closeTo(1 + 9 * 0.98, 9) as number },
    connections: { h1: 4, h2: 2 },
    faults: { reset: 7 },
    queue: null,
  });
  // Nothing was sent: nothing is known of lateness. A server that was started anew counts from 0.
  const quiet = figuresBetween({ text: scrape(300, [60, 110, 110]), atMs: 0 }, { text: scrape(50, [60, 110, 110]), atMs: 1000 });
  expect([quiet.lateness.p50Ms, quiet.tokensPerSecond]).toEqual([null, 50]);
});

test("a batched scheduler's queue is shown, also of several processes", () => {
  const text = `${scrape(0, [0, 0, 0])}vllm:num_requests_waiting{model_name="m"} 5\nvllm:kv_cache_usage_perc{model_name="m"} 0.5\n`;
  const figures = figuresBetween({ text, atMs: 0 }, { text, atMs: 1000 });
  expect(figures.queue).toEqual({ waiting: 5, cacheShare: 0.5 });
  expect(dashboardLines(figures, 80, 24).at(-1)).toBe("queue        5 waiting, cache 50% used");
});

test("a quantile beyond the last edge is that edge, and of nothing none", () => {
  const upTo = [
    [1, 0],
    [2, 1],
    [Infinity, 10],
  ] as const;
  expect([quantile(0.05, upTo), quantile(0.99, upTo), quantile(0.5, []), quantile(0.5, [[1, 0]])]).toEqual([1.5, 2, null, null]);
});

test("the lines of a terminal fit it", () => {
  const figures = figuresBetween({ text: scrape(0, [0, 0, 0]), atMs: 0 }, { text: scrape(1e7, [5, 9, 9]), atMs: 1000 });
  for (const columns of [12, 40, 80]) for (const line of dashboardLines(figures, columns, 24)) expect(line.length).toBeLessThan(columns);
  expect(dashboardLines(figures, 80, 3)).toHaveLength(2);
  expect(dashboardLines(figures, 80, 24)).toContain("connections  h1 4, h2 2");
});

test("without a terminal there is nothing to draw on", () => {
  expect(() => checkScreen({ isTTY: false, write: () => {} }, { TERM: "xterm" })).toThrow(/--dashboard: it is drawn on a terminal/);
});
