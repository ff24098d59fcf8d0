/** What a parent learns of requests, and the chunk of the role that leaves ahead. */
import { afterEach, expect, test } from "vitest";
import type { ReceivedRecord } from "../../src/base/parent-channel.ts";
import { receivedRecords } from "../../src/server/received.ts";
import { type StartedServer, startServer } from "../../src/server/server.ts";
import { freePorts, resolveConfig } from "../../src/settings/server.ts";
import type { ServerOptions } from "../../src/settings/options.ts";
import { chat } from "../support/chat.ts";

let server: StartedServer | null = null;
afterEach(() => server?.close(0));

async function started(options: ServerOptions): Promise<StartedServer> {
  const all: ServerOptions = { ttft: 30, itl: 2, outputTokens: 4, h1Engine: "node", keepRequests: 20, ...options };
  server = await startServer(resolveConfig(all, freePorts));
  server.streamLog.begin();
  return server;
}

async function ask(body: object, headers: Record<string, string> = {}): Promise<string> {
  const response = await fetch(`${server!.urls.h1!}/v1/chat/completions`, { method: "POST", headers, body: JSON.stringify(body) });
  return response.text();
}

const records = (): ReceivedRecord[] => receivedRecords(server!.requests, server!.streamLog.read()!.streams);
const ofTimes = ({ stream }: ReceivedRecord) => ({ frames: stream!.sentUs.length, tokens: [...stream!.tokens], events: stream!.events });

test("a stream's frames, its events of every kind, its parameters; of its prompt a digest", async () => {
  await started({ tokensPerChunk: 3 });
  const body = chat({ stream: true, max_tokens: 8, temperature: 0.5 });
  await ask(body);
  await ask(body, { "x-stainless-retry-count": "1" });
  await ask({ ...body, messages: [{ role: "user", content: "another" }], stream: false });
  const [first, again, unary] = records() as [ReceivedRecord, ReceivedRecord, ReceivedRecord];
  expect(first).toMatchObject({ method: "POST", protocol: "h1", connection: 1, status: 200, ended: "finished", retry: null });
  expect(first.parameters).toMatchObject({ stream: "true", max_tokens: "8", temperature: "0.5" });
  expect(JSON.stringify(records())).not.toContain("another");
  // The role and the first three tokens, the fourth, the finish and [DONE].
  expect(ofTimes(first)).toEqual({ frames: 2, tokens: [3, 1], events: 5 });
  expect(again.prompt).toBe(first.prompt);
  expect(again.retry).toBe(1);
  expect(unary.prompt).not.toBe(first.prompt);
  expect(unary.stream).toBeNull();
  expect(unary.endedUs!).toBeGreaterThan(30_000);
});

test("a stream with a fault is recorded as far as it went", async () => {
  await started({ fault: "truncate(after=2)" });
  await ask(chat({ stream: true }));
  const [record] = records();
  expect(record).toMatchObject({ ended: "finished", stream: { planned: 4 } });
  expect([...record!.stream!.tokens]).toEqual([1, 1]);
});

test("reasoning is told apart", async () => {
  await started({ profile: "vllm", replies: [{ reply: { reasoning: "one two three" } }] });
  await ask(chat({ stream: true }));
  const { stream } = records()[0]!;
  expect(stream!.reasoning).toBeGreaterThan(1);
  expect(stream!.planned).toBe(stream!.reasoning + 4);
});

test.each([
  ["openai", {}],
  ["vllm", {}],
  ["openai", { stamps: true, tokensPerChunk: 2 }],
  ["openai", { stamps: true }],
] as const)("earlyRole: the role alone leaves at once, and the same events in all (%s %j)", async (profile, more) => {
  await started({ profile, earlyRole: true, seed: 3, ttft: 150, ...more });
  const body = chat({ stream: true, seed: 5, stream_options: { include_usage: true } });
  const early = await ask(body);
  const [record] = records();
  expect(record!.firstWriteUs!).toBeLessThan(record!.stream!.sentUs[0]!);
  expect(record!.stream!.sentUs[0]! - record!.stream!.dueUs[0]!).toBeGreaterThanOrEqual(0);
  expect(record!.stream!.dueUs[0]).toBe(150_000);
  server!.changeKnobs({ "early-role": false });
  const usual = await ask(body);
  expect(records()[1]!.firstWriteUs!).toBeGreaterThanOrEqual(150_000);
  const unstamped = (text: string): string => text.replaceAll(/,"fakeai":\{[^}]*\}/g, "");
  expect(unstamped(early)).toBe(unstamped(usual));
  expect(early.split('"role":"assistant"')).toHaveLength(2);
});

test("earlyRole: with the first token where that is due at once", async () => {
  await started({ earlyRole: true, ttft: 0 });
  await ask(chat({ stream: true }));
  const [{ stream }] = records() as [ReceivedRecord];
  expect(stream!.events).toBe(7);
});
