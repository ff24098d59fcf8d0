/** Odd servers and odd networks, and what the bench says of each: the tables of docs/odd-servers.md. */
import { afterEach, describe, expect, test } from "vitest";
import { runBench } from "../../src/runner/bench.ts";
import { resolveBench } from "../../src/runner/plan/options.ts";
import { networks, servers, Started, type Stranger, tokens } from "../support/strangers.ts";

let started = new Started();
afterEach(() => {
  started.stop();
  started = new Started();
});

const key = "sk-strangers-0123456789";

/** One round of two requests. Everything that the bench says, and what came of the requests. */
async function benched({ protocol = "h1", network = {}, start }: Stranger) {
  const at = await start(started);
  const url = typeof at === "number" ? `http://127.0.0.1:${at}` : at;
  const said: string[] = [];
  const given = {
    url,
    protocol,
    apiKey: key,
    scenario: ["stream"],
    streams: "2",
    warmup: "0",
    rounds: "1",
    timeout: "1",
    keepDisturbed: true as const,
  };
  const result = await runBench({
    options: { ...resolveBench({ ...given, requests: "2", outputTokens: String(tokens) }), network },
    baseline: null,
    command: [],
    details: true,
    observer: { progress() {}, notice: (text) => said.push(text), detail: (_, detail) => said.push(JSON.stringify(detail)) },
    signal: new AbortController().signal,
  });
  said.push(...result.invalid, ...result.scenarios.flatMap(({ notes }) => notes));
  return { said: said.join("\n"), result };
}

/** Every request was answered, and its tokens were timed. */
function expectMeasured({ result, said }: Awaited<ReturnType<typeof benched>>): void {
  const rounds = result.scenarios.flatMap(({ arms }) => arms.flatMap((arm) => arm.rounds));
  expect(rounds.map(({ requests }) => requests, said)).toMatchObject([{ sent: 2, completed: 2, failed: 0, errors: {} }]);
  expect(result.invalid.filter((reason) => !/client-limited|disturbed/.test(reason))).toEqual([]);
}

describe.each([
  ["a server that", servers],
  ["a network that", networks],
])("%s", (_kind, strangers) => {
  test.each(strangers.map((stranger) => [stranger.does, stranger] as const))("%s", async (_does, stranger) => {
    const seen = await benched(stranger);
    if (stranger.says === null) expectMeasured(seen);
    else expect(seen.said).toContain(stranger.says);
    expect(seen.said).not.toContain(key);
    // oxlint-disable-next-line no-control-regex -- that is what must not be there
    expect(seen.said).not.toMatch(/[\u0000-\u0009\u000B-\u001F\u007F]/);
  });
});
