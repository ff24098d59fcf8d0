/** `fakeai audit`: the whole way with a client of the tests, and its exit codes. What depends on the machine's quiet is in test/audit. */
import { existsSync, mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { filled, hasPlaceholder } from "../../src/audit/command.ts";
import { courseOf } from "../../src/audit/ladder.ts";
import { rungsNamed } from "../../src/audit/run.ts";
import type { Audit } from "../../src/audit/types.ts";
import { root, runCli } from "../support/process.ts";

const folder = mkdtempSync(join(tmpdir(), "fakeai-audit-cli-"));
const client = ["node", `${root}test/audit/clients/client.mjs`];
const map = `${root}test/audit/clients/map.yaml`;
const run = (args: readonly string[]) => runCli(["audit", ...args], { cwd: folder }).ended;

test("a client of its own: audit.json, audit.html, the records, the load that came", async () => {
  const out = join(folder, "honest");
  const { code, stdout, stderr } = await run([
    "--out",
    out,
    "--rungs",
    "errors",
    "--repeats",
    "2",
    "--map",
    map,
    "--details",
    "--",
    ...client,
    "honest",
    "{base}",
    "10",
    "5",
  ]);
  expect(stderr).toContain("errors 1/2");
  const audit = JSON.parse(readFileSync(join(out, "audit.json"), "utf8")) as Audit;
  expect(audit).toMatchObject({ tool: "client.mjs", protocol: "h1", repeats: 2, rungs: [{ name: "errors" }] });
  const [rung] = audit.rungs;
  for (const { exitCode, traffic } of rung!.repeats) {
    expect(exitCode).toBe(0);
    // Warm-up and load: 15 requests, of which the 4th, 9th and 14th were refused.
    expect(traffic.requests + traffic.warmUp).toBe(15);
    expect(traffic.completed).toBe(8);
    expect(traffic.refused).toBe(2);
    expect(traffic.connections).toBeGreaterThanOrEqual(1);
    expect(traffic.protocols).toEqual({ h1: 10 });
    expect(traffic.parameters).toMatchObject({ stream: ["true"], model: ['"m"'] });
  }
  const verdicts = Object.fromEntries(rung!.figures.map(({ quantity, verdict }) => [quantity, verdict]));
  expect(verdicts).toMatchObject({ completed: "right", failed: "right", requests: "right", outputTokens: "right" });
  expect([0, 1]).toContain(code);
  expect(stdout).toContain(audit.line);
  expect(readFileSync(join(out, "audit.html"), "utf8")).toContain("against the server");
  expect(existsSync(join(out, "observations.json"))).toBe(true);
  expect(readFileSync(join(out, "runs", "errors-1", "stdout.txt"), "utf8")).toContain('"outputTokens"');
}, 30_000);

test("without a reader the true side is told, and the exit code is 3", async () => {
  const out = join(folder, "unread");
  const { code, stdout } = await run([
    "--out",
    out,
    "--rungs",
    "constant",
    "--repeats",
    "2",
    "--",
    ...client,
    "honest",
    "{base}",
    "3",
    "3",
  ]);
  expect(code).toBe(3);
  expect(stdout).toContain("no reader knows what it printed or wrote");
  const audit = JSON.parse(readFileSync(join(out, "audit.json"), "utf8")) as Audit;
  expect(audit.tool).toBeNull();
  expect(audit.rungs[0]!.repeats.map(({ traffic }) => traffic.completed)).toEqual([6, 6]);
}, 30_000);

test.each([
  [
    ["--", "no-such-tool-here", "{base}"],
    "fakeai: cannot start no-such-tool-here (ENOENT): the command after -- is the tool and its arguments\n",
  ],
  [["--rungs", "constnat", "--", "true"], /^fakeai: --rungs: no rung "constnat"; there are constant, role, /],
  [["--rungs", "rate-80", "--", "true"], "fakeai: --rungs: rate-80 changes the command's load: put {rate} into the command\n"],
  [["--map", "/nowhere.yaml", "--", "true"], "fakeai: --map: cannot read /nowhere.yaml (ENOENT)\n"],
  [["--out", "/proc/x", "--", "true"], /^fakeai: --out: \/proc\/x cannot be written to \(ENOENT.*\): name another directory\n$/],
  [[], /^fakeai: missing argument <command>: after --/],
])("wrong usage: %j", async (args, message) => {
  const { code, stdout, stderr } = await run(args);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(
    stderr
      .split("\n")
      .filter((line) => line.startsWith("fakeai:"))
      .join("\n") + "\n",
  ).toMatch(message);
});

test("a command that asks nothing: exit 3, with a hint", async () => {
  const { code, stderr } = await run(["--out", join(folder, "idle"), "--rungs", "constant", "--repeats", "2", "--", "true"]);
  expect(code).toBe(3);
  expect(stderr).toContain(
    "fakeai: no request of the command reached the server: put {url} or {base} into the command, unless it reads OPENAI_BASE_URL",
  );
});

test("placeholders are filled, other braces stay", () => {
  const values = {
    url: "http://h:1",
    base: "http://h:1/v1",
    model: "m",
    out: "/o",
    concurrency: "5",
    rate: "10",
    requests: "20",
    seconds: "3",
  };
  expect(filled(["{base}/chat", '{"model":"{model}","n":{requests}}', "{other}"], values)).toEqual([
    "http://h:1/v1/chat",
    '{"model":"m","n":20}',
    "{other}",
  ]);
  expect(hasPlaceholder(["a", "-c{concurrency}"], "concurrency")).toBe(true);
});

test("a command climbs by the load that it can be given, else by the pace of tokens", () => {
  const climb = (...given: readonly string[]): string => courseOf((needed) => given.includes(needed)).climb[0]!.name;
  expect([climb(), climb("rate"), climb("concurrency"), climb("rate", "concurrency")]).toEqual([
    "pace-5",
    "rate-10",
    "streams-5",
    "streams-5",
  ]);
  expect(rungsNamed(["x", "{rate}"], ["rate-80", "constant"]).map(({ name }) => name)).toEqual(["rate-80", "constant"]);
});
