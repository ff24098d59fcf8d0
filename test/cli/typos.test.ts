/** Wrong words get the right guess, in one line, with exit code 2. */
import { describe, expect, test } from "vitest";
import { commands } from "../../src/cli/commands.ts";
import { flagWords, guessAtCommand, guessAtFlag } from "../../src/cli/typos.ts";
import { flagName } from "../../src/settings/flags.ts";
import { runCli } from "../support/process.ts";

const names = commands.map(({ name }) => name);
const flagsOf = (name: string) => commands.find((command) => command.name === name)!.flags();

test.each([
  ["server", "serve"],
  ["sevre", "serve"],
  ["benchmark", "bench"],
  ["loadtest", "bench"],
  ["comapre", "compare"],
  ["diff", "compare"],
  ["nginx", "proxy-config nginx"],
  ["proxyconfig", "proxy-config"],
  ["docter", "doctor"],
])("command %s: %s", (word, meant) => {
  expect(guessAtCommand(word, names)).toBe(`: did you mean ${meant}?`);
});

test.each([
  ["bench", "--ttfb", "--ttft"],
  ["bench", "--concurrency", "--streams"],
  ["bench", "--concurency", "--streams"],
  ["bench", "--max-conc", "--streams"],
  ["bench", "--num-prompts", "--requests"],
  ["bench", "--request-rate", "--rate"],
  ["bench", "--base-url", "--url"],
  ["bench", "-c", "--streams or --connections"],
  ["bench", "-n", "--requests"],
  ["bench", "-z", "--duration"],
  ["bench", "-H", "--header"],
  ["bench", "--clients", "--client or --connections"],
  ["bench", "--senario", "--scenario"],
  ["bench", "--input-token", "--input-tokens"],
  ["bench", "--stal", "--stall"],
  ["serve", "--tftf", "--ttft"],
  ["serve", "--latency", "--ttft"],
  ["serve", "--tls", "--protocol h2 or --protocol h1s"],
  ["serve", "--time-to-first-tokens", "--time-to-first-token"],
  ["proxy", "--upstream", "--to"],
  ["proxy", "--drop", "--stall"],
  ["proxy", "--jiter", "--jitter"],
  ["serve", "--engin", "--scheduler"],
  ["report", "--png", "--svg"],
  ["compare", "--outt", "> file"],
])("%s %s: %s", async (command, word, meant) => {
  expect(guessAtFlag(word, command, await flagsOf(command))).toBe(`: did you mean ${meant}?`);
});

test.each([
  ["bench", "-x"],
  ["bench", "--frobnicate"],
  ["serve", "--constructor"],
])("%s %s is near to nothing", async (command, word) => {
  expect(guessAtFlag(word, command, await flagsOf(command))).toBe("");
});

test.each([
  ["bench", "--grpc", "gRPC"],
  ["serve", "--grpc", "gRPC"],
])("%s %s: there is none", async (command, word, protocol) => {
  expect(guessAtFlag(word, command, await flagsOf(command))).toBe(`: there is no ${protocol} (docs/decisions.md says why)`);
});

test("what a guess names is there", async () => {
  for (const name of names) {
    const flags = await flagsOf(name);
    const known = new Set(flags.map(({ key }) => `--${flagName(key)}`));
    for (const [word, meant] of Object.entries(flagWords[name] ?? {})) {
      for (const [flag] of meant.matchAll(/--[a-z-]+/g)) expect(known).toContain(flag);
      // A word that is a flag of ours would never be looked up.
      expect(known).not.toContain(`--${word}`);
    }
  }
});

describe("a value that is none of a few", () => {
  test.each<[string[], RegExp]>([
    [["bench", "--suite", "ful"], /^fakeai: --suite: "ful" is neither quick nor full: did you mean full\?\n$/],
    [["bench", "--driver", "autocanon"], /: did you mean autocannon\?\n$/],
    [["bench", "--scenario", "muxscale"], /: did you mean mux-scale\?\n$/],
    [["bench", "--protocol", "http2"], /^fakeai: --protocol: "http2" is not one of .*: did you mean h2 or h2c\?\n$/],
    [["bench", "--protocol", "grpc"], /^fakeai: --protocol: "grpc" is not one of .*: there is no gRPC \(docs\/decisions\.md says why\)\n$/],
    [["serve", "--protocol", "http3"], /: did you mean h3\?\n$/],
    [["serve", "--preset", "togeter"], /: did you mean together-llama-2-70b\?\n$/],
    [["bench", "--driver", "client", "--client", "opanai"], /: did you mean openai\?\n$/],
    [["proxy-config", "ngnix"], /^fakeai: "ngnix" is not one of nginx, haproxy, caddy, apache, envoy: did you mean nginx\?\n$/],
    [["proxy-config", "nginx", "--listen", "http2:9080"], /"http2" is not one of h1, h2c, h2: did you mean h2 or h2c\?\n$/],
  ])("%j", async (args, message) => {
    const { code, stdout, stderr } = await runCli(args).ended;
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^[^\n]+\n$/);
    expect([code, stdout]).toEqual([2, ""]);
  });
});

describe("a line that does not fit its command", () => {
  test.each<[string[], RegExp]>([
    [["bench", "--concurrency", "4"], /^fakeai: unknown option --concurrency: did you mean --streams\?\n$/],
    [["bench", "--frobnicate"], /^fakeai: unknown option --frobnicate \(see fakeai bench --help-all\)\n$/],
    [["bench", "--json=yes"], /^fakeai: --json takes no value\n$/],
    [["bench", "--url"], /^fakeai: --url <address,\.\.\.> needs a value \(see fakeai bench --help\)\n$/],
    [["bench", "full"], /^fakeai: unexpected argument "full" \(see fakeai bench --help\)\n$/],
    [["compare", "a"], /^fakeai: missing argument <B>: .* \(see fakeai compare --help\)\n$/],
    [["merge", "a"], /^fakeai: missing argument <B>: /],
    [["--verison"], /^fakeai: unknown option --verison: did you mean --version\?\n$/],
    [["help", "bentch"], /^fakeai: unknown command bentch: did you mean bench\?\n$/],
  ])("%j", async (args, message) => {
    const { code, stdout, stderr } = await runCli(args).ended;
    expect(stderr).toMatch(message);
    expect([code, stdout]).toEqual([2, ""]);
  });

  test("nothing at all gets the help, as an error", async () => {
    const { code, stdout, stderr } = await runCli([]).ended;
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(/^Usage: fakeai <command>/);
  });

  test.each([[["help", "bench"]], [["bench", "--rounds", "0", "--nonsense", "-h"]]])("%j is a question, and answered", async (args) => {
    const { code, stdout, stderr } = await runCli(args).ended;
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^Usage: fakeai bench \[flags\]\n/);
  });
});
