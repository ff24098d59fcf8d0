/** The server's table of flags, and what follows from it. */
import { describe, expect, test } from "vitest";
import { UsageError } from "../../src/base/usage-error.ts";
import { flagTables } from "../../src/settings/flags.ts";
import type { ServerOptions } from "../../src/settings/options.ts";
import { freePorts, resolveConfig, type ServerConfig, serverFlags } from "../../src/settings/server.ts";

/** What is in force, in a form that can be compared: distributions by their specs and constants. */
function inForce(options: ServerOptions): unknown {
  const { options: _given, ...config } = resolveConfig(options, freePorts) satisfies ServerConfig;
  return JSON.parse(JSON.stringify(config));
}

describe("the table", () => {
  test("has each key once, and flags of a group stand together", () => {
    const keys = serverFlags.map(({ key }) => key);
    expect(new Set(keys).size).toBe(keys.length);
    const groups = serverFlags.map(({ group }) => group);
    const changes = groups.filter((group, index) => group !== groups[index - 1]);
    expect(changes).toEqual([...new Set(groups)]);
  });

  test("says defaults in their own member, never in the help", () => {
    for (const { help } of serverFlags) {
      expect(help).not.toMatch(/\bdefault/i);
      expect(help).not.toContain("\n");
    }
  });

  /** What flags of a replay do nothing without. */
  const dependent = (key: string): ServerOptions => (/^replay[A-Z]/.test(key) ? { replay: "tape" } : {});
  const defaults = serverFlags.filter((flag) => flag.default !== undefined);
  test.each(defaults.map((flag) => [flag.key, flag] as const))("the default of %s is what holds without it", (key, flag) => {
    const base: ServerOptions = flag.group.startsWith("Continuous batching") ? { scheduler: "batched" } : dependent(key);
    // Some knobs that are given, whatever their value, say that uWebSockets.js cannot be used.
    const { notOnUws: _given, ...explicit } = inForce({ ...base, [key]: flag.default }) as Record<string, unknown>;
    const { notOnUws: _absent, ...implicit } = inForce(base) as Record<string, unknown>;
    expect(explicit).toEqual(implicit);
  });

  test("as Markdown it has a row for each flag", () => {
    const rows = flagTables(serverFlags)
      .split("\n")
      .filter((line) => line.startsWith("| `--"));
    expect(rows).toHaveLength(serverFlags.length);
    expect(rows).toContain("| `--grace <ms>` | `10000` | time that responses get to finish on SIGTERM; may change at run time |");
    expect(rows).toContain("| `--port <port>` | 8000 | port of h1; 0 picks a free one |");
  });
});

describe("a typo gets a guess", () => {
  test.each<[ServerOptions, string]>([
    [{ protocol: "http2" }, '--protocol: "http2" is not one of h1, h1s, h2c, h2, h3, ws, wss: did you mean h2 or h2c?'],
    [{ protocol: "http/1.1:8000" }, '--protocol: "http/1.1:8000" is not one of h1, h1s, h2c, h2, h3, ws, wss: did you mean h1?'],
    [{ protocol: "h2,https" }, '--protocol: "https" is not one of h1, h1s, h2c, h2, h3, ws, wss: did you mean h1s or h2?'],
    [{ protocol: "H2" }, '--protocol: "H2" is not one of h1, h1s, h2c, h2, h3, ws, wss: did you mean h2?'],
    [{ protocol: "quic" }, '--protocol: "quic" is not one of h1, h1s, h2c, h2, h3, ws, wss: did you mean h3?'],
    [{ protocol: "smtp" }, '--protocol: "smtp" is not one of h1, h1s, h2c, h2, h3, ws, wss, with a port if you like (h1:8000)'],
    [{ profile: "vlm" as never }, '--profile: "vlm" is not one of openai, vllm, openrouter, minimal: did you mean vllm?'],
    [{ mode: "eco" as never }, '--mode: "eco" is neither random nor echo: did you mean echo?'],
    [{ scheduler: "batch" as never }, '--scheduler: "batch" is neither independent nor batched: did you mean batched?'],
    [{ tokenizer: "o200k" as never }, '--tokenizer: "o200k" is neither o200k_base nor cl100k_base: did you mean o200k_base?'],
    [{ timer: "fast" as never }, '--timer: "fast" is neither standard nor precise'],
  ])("%j", (options, message) => {
    expect(() => resolveConfig(options, freePorts)).toThrow(new UsageError(message));
  });

  test("a preset's too", () => {
    expect(() => resolveConfig({ preset: "llama-3.1-8b-h10" }, freePorts)).toThrow(/: did you mean llama-3\.1-8b-h100\?$/);
  });
});

describe("values of a wrong type, which types do not keep out of JavaScript", () => {
  test.each<[keyof ServerOptions, unknown]>([
    ["host", 5],
    ["stamps", "yes"],
    ["seed", "one"],
    ["model", [1]],
    ["rateLimit", 60],
    ["protocol", [1]],
    ["apiKey", 7],
    ["ttft", {}],
    ["grace", "10s"],
  ])("%s", (key, value) => {
    expect(() => resolveConfig({ [key]: value }, freePorts)).toThrow(UsageError);
  });

  test("null asks for the default", () => {
    expect(inForce({ ttft: null as never, grace: null as never, model: null as never })).toEqual(inForce({}));
  });
});
