/** `--warm`: who reaches a server finds its code compiled, and nothing else of its rehearsal. */
import { afterAll, expect, test } from "vitest";
import { runCli, type Serving, serve } from "../support/process.ts";

const servers: Serving[] = [];
afterAll(() => Promise.all(servers.map((server) => server.stop())));

async function started(...args: string[]): Promise<string> {
  const server = await serve(["--protocol", "h1:0,h2c:0", "--seed", "7", ...args]);
  servers.push(server);
  return server.listening[0]!.url;
}

const metrics = async (url: string): Promise<string> => (await fetch(`${url}/metrics`)).text();

async function answer(url: string): Promise<string> {
  const body = JSON.stringify({ model: "m", max_tokens: 24, stream: true, messages: [{ role: "user", content: "Hi" }] });
  const response = await fetch(`${url}/v1/chat/completions`, { method: "POST", headers: { "content-type": "application/json" }, body });
  const chunks = (await response.text()).matchAll(/"content":"([^"]*)"/g);
  return [...chunks].map((match) => match[1]).join("");
}

test("the first answer of a warm server is that of a cold one, and no count tells of the rehearsal", async () => {
  // What a rehearsal must not meet: keys, a fault for every request, a slow schedule.
  const limits = ["--api-key", "a-key", "--fault", "hang", "--ttft", "60000", "--rate-limit", "rpm=1"];
  const [cold, warm, limited] = await Promise.all([started(), started("--warm"), started("--warm", ...limits)]);
  const first = await answer(cold);
  expect(await answer(warm)).toBe(first);
  expect(first.length).toBeGreaterThan(10);
  const shown = await metrics(limited);
  expect(shown).toMatch(/^vllm:generation_tokens_total\{\S+ 0$/m);
  expect([...shown.matchAll(/^fakeai_(?:faults|http_responses|bounds_met)_total\{\S+ ([1-9]\d*)$/gm)]).toEqual([]);
});

test("a worker is warm before it listens, and each server says what that brought", async () => {
  const running = runCli(["serve", "--protocol", "h1:0", "--workers", "2", "--warm"]);
  await running.firstLine;
  running.child.kill("SIGTERM");
  const { code, stdout } = await running.ended;
  expect([code, stdout]).toEqual([
    0,
    expect.stringMatching(/^note warm after \d+ requests to itself in \d+ ms: \d+ us of CPU for each, \d+ at first$/m),
  ]);
});
