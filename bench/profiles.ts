/**
 * What each wire profile and shape costs: bytes and nanoseconds of our own code per token, from plan to frame; then, where
 * h2load is installed, the CPU time of a whole server per token that it sends over h1, paced, so that each is a write.
 */
import { spawn, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { Generator } from "../src/api/openai/generate.ts";
import { planMessage } from "../src/api/anthropic/messages.ts";
import { planResponse } from "../src/api/openai/responses.ts";
import { freePorts, resolveConfig } from "../src/settings/server.ts";
import type { ResponsePlan, RouteRequest } from "../src/core/seams.ts";
import { serveFakeai } from "./support/server.ts";
import { spread } from "./support/statistics.ts";

const rounds = 11;
const streams = 200;
const tokens = 1000;

const request: RouteRequest = {
  protocol: "h1",
  engine: "node",
  method: "POST",
  path: "/",
  query: "",
  ownHeaders: [],
  headerNames: () => [],
  header: (name) => (name === "anthropic-version" ? "2023-06-01" : undefined),
  receivedUs: 0,
};
const encoder = new TextEncoder();
const messages = [{ role: "user", content: "hi" }];
const chat = { model: "gpt-4o-mini", stream: true, max_tokens: tokens, ignore_eos: true, messages };

type Profile = "openai" | "vllm" | "openrouter" | "minimal";
interface Case {
  readonly name: string;
  readonly profile: Profile;
  readonly body: object;
  readonly tokensPerChunk?: number;
  readonly surface?: "responses" | "messages";
  readonly stamps?: boolean;
}

const cases: readonly Case[] = [
  ...(["minimal", "vllm", "openrouter", "openai"] as const).map((profile) => ({ name: `chat, ${profile}`, profile, body: chat })),
  { name: "chat, openai, without obfuscation", profile: "openai", body: { ...chat, stream_options: { include_obfuscation: false } } },
  { name: "chat, openai, with usage", profile: "openai", body: { ...chat, stream_options: { include_usage: true } } },
  { name: "chat, openai, stamped", profile: "openai", body: chat, stamps: true },
  { name: "chat, openai, 4 tokens per event", profile: "openai", body: chat, tokensPerChunk: 4 },
  { name: "chat, openai, n = 4", profile: "openai", body: { ...chat, n: 4, max_tokens: tokens / 4 } },
  {
    name: "chat, vllm, usage in each event",
    profile: "vllm",
    body: { ...chat, stream_options: { include_usage: true, continuous_usage_stats: true } },
  },
  { name: "chat, openai, logprobs", profile: "openai", body: { ...chat, logprobs: true } },
  {
    name: "responses, openai",
    profile: "openai",
    body: { model: "gpt-4o-mini", stream: true, input: "hi", max_output_tokens: tokens, ignore_eos: true },
    surface: "responses",
  },
  {
    name: "messages (Anthropic)",
    profile: "openai",
    body: { model: "claude", stream: true, max_tokens: tokens, messages },
    surface: "messages",
  },
];

/** Bytes and nanoseconds per token of one round. */
function round({ profile, body, tokensPerChunk = 1, surface, stamps = false }: Case): { bytes: number; ns: number } {
  const { model } = resolveConfig({ profile, tokensPerChunk, stamps, outputTokens: tokens }, freePorts);
  const generator = new Generator(model, "bench", () => 1_700_000_000);
  const encoded = encoder.encode(JSON.stringify(body));
  const plan = (): ResponsePlan => {
    if (surface === "responses") return planResponse(generator.model, "bench", request, encoded, null);
    if (surface === "messages") return planMessage(generator.model, "bench", request, encoded);
    return generator.plan("chat", request, encoded);
  };
  const drain = (): number => {
    const { frames, schedule } = plan();
    let bytes = 0;
    for (let index = 0; index < frames.length; index++) bytes += frames.frame(index, schedule.nextDueUs(index), 0).length;
    return bytes;
  };
  for (let i = 0; i < 30; i++) drain();
  let bytes = 0;
  const startedMs = performance.now();
  for (let i = 0; i < streams; i++) bytes += drain();
  const elapsedMs = performance.now() - startedMs;
  return { bytes: bytes / streams / tokens, ns: (elapsedMs * 1e6) / streams / tokens };
}

console.log(`${streams} streams of ${tokens} tokens, ${rounds} rounds: plan and frames, no socket; ns are the median (min to max)\n`);
console.log("| stream | bytes per token | ns per token |\n| --- | ---: | ---: |");
for (const one of cases) {
  const results = Array.from({ length: rounds }, () => round(one));
  const ns = results.map((result) => result.ns);
  console.log(`| ${one.name} | ${results[0]!.bytes.toFixed(0)} | ${spread(ns, 0)} |`);
}

const connections = 100;
const servedRounds = 5;

/** Microseconds of server CPU per token of each round. */
async function served(profile: Profile): Promise<number[]> {
  const server = await serveFakeai(["--port", "0", "--profile", profile, "--itl", "10", "--output-tokens", "200"], null);
  const { url } = server;
  try {
    const read = async (): Promise<[number, number]> => {
      const text = await (await fetch(`${url}/metrics`)).text();
      const value = (name: string): number => Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (.+)$`, "m").exec(text)![1]);
      return [value("process_cpu_seconds_total"), value("vllm:generation_tokens_total")];
    };
    const load = (requests: number): Promise<unknown> =>
      new Promise((resolve) => {
        const load = ["--h1", "-n", String(requests), "-c", String(connections), "-d", bodyFile, `${url}/v1/chat/completions`];
        spawn("h2load", load, { stdio: "ignore" }).on("close", resolve);
      });
    await load(connections);
    const results: number[] = [];
    for (let i = 0; i < servedRounds; i++) {
      const [cpuBefore, tokensBefore] = await read();
      await load(connections);
      const [cpuAfter, tokensAfter] = await read();
      results.push(((cpuAfter - cpuBefore) * 1e6) / (tokensAfter - tokensBefore));
    }
    return results;
  } finally {
    await server.stop();
  }
}

const bodyFile = "node_modules/.cache/bench-profiles-body.json";
if (spawnSync("h2load", ["--version"]).status === 0) {
  writeFileSync(bodyFile, JSON.stringify({ model: "gpt-4o-mini", stream: true, messages }));
  console.log(`\n${connections} streams over h1, ITL 10 ms, 200 tokens, ${servedRounds} rounds: server CPU, median (min to max)\n`);
  console.log("| profile | CPU per token |\n| --- | ---: |");
  for (const profile of ["minimal", "vllm", "openrouter", "openai"] as const) {
    console.log(`| ${profile} | ${spread(await served(profile), 1)} us |`);
  }
} else {
  console.log("\nh2load is not installed: the server's CPU is left out");
}
