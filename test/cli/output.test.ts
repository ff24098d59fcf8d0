/** Where results go: a place that cannot be used is found before the run, and one that fails later loses nothing that can be shown. */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { BenchResult } from "../../src/results/types.ts";
import { cliPath, type Ended, runCli } from "../support/process.ts";
import { sampleResult } from "../support/sample-result.ts";
import { eventually, sleep } from "../support/wait.ts";

const folder = mkdtempSync(join(tmpdir(), "fakeai-output-"));
const mounted: string[] = [];
afterAll(() => {
  for (const place of mounted) spawnSync("umount", [place]);
  rmSync(folder, { recursive: true, force: true });
});

/** A file system of so many kilobytes; null where this user may not mount one. */
function disk(kilobytes: number): string | null {
  const place = join(folder, `disk-${mounted.length}`);
  mkdirSync(place);
  if (spawnSync("mount", ["-t", "tmpfs", "-o", `size=${kilobytes}k`, "tmpfs", place]).status !== 0) {
    console.warn("no tmpfs can be mounted (root can): the test of a full disk is skipped");
    return null;
  }
  mounted.push(place);
  return place;
}

/** Takes what a disk has left, but for so many bytes. */
function fill(place: string, leftBytes: number): void {
  const { bavail, bsize } = statfsSync(place);
  writeFileSync(join(place, "fill"), Buffer.alloc(Math.max(0, bavail * bsize - leftBytes)));
}

/** A run of a second. */
const short = ["--scenario", "stream", "--protocol", "h1", "--streams", "4", "--requests", "40", "--rounds", "2", "--keep-disturbed"];
const paced = ["--ttft", "5", "--itl", "1", "--output-tokens", "6"];
const bench = (out: string, ...more: string[]): Promise<Ended> => runCli(["bench", ...short, ...paced, "--out", out, ...more]).ended;

describe("found before anything is measured", () => {
  test("a file in the way", async () => {
    const file = join(folder, "file");
    writeFileSync(file, "kept");
    const { code, stderr, stdout } = await bench(file);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(/^fakeai: --out: \S+ cannot be made \(ENOTDIR.*\): a directory that can be made and written to is needed\n$/);
    expect(readFileSync(file, "utf8")).toBe("kept");
  });

  test.runIf(existsSync("/proc/self"))("a place where a recursive mkdir of node does not end", async () => {
    const { code, stderr } = await bench("/proc/x/y");
    expect(code).toBe(2);
    expect(stderr).toMatch(/^fakeai: --out: \/proc\/x\/y cannot be made/);
  });

  test("a full disk", async ({ skip }) => {
    const place = disk(40) ?? skip();
    const { code, stderr } = await bench(join(place, "run"));
    expect(code).toBe(2);
    expect(stderr).toMatch(/cannot be written to \(ENOSPC/);
    // Nothing is left behind.
    expect(readdirSync(place)).toEqual([]);
  });

  test("wrong usage leaves no directory behind", async () => {
    const out = join(folder, "unused");
    const { code } = await bench(out, "--require", "stream/h2/ttft.p99<1ms");
    expect([code, existsSync(out)]).toEqual([2, false]);
  });
});

describe("failing after the run", () => {
  /** A bench into `run` of a disk that is filled while it runs, up to `leftBytes`. */
  async function filledDuring(place: string, leftBytes: number, more: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
    const out = join(place, "run");
    const running = runCli(["bench", ...short, ...paced, "--out", out, ...more], { env });
    await eventually(() => existsSync(out), "its directory is there", 30_000);
    // It has been tried by then, and nothing is measured yet.
    await sleep(500);
    fill(place, leftBytes);
    return running.ended;
  }

  test("a disk that fills up: the answers are shown, and the result is written elsewhere", async ({ skip }) => {
    const place = disk(1100) ?? skip();
    const { code, stdout, stderr } = await filledDuring(place, 0, ["--details"]);
    expect(stdout).toContain("Believe it?");
    expect(stderr).toMatch(/requests\.jsonl is not whole: ENOSPC/);
    const file = /the result is in (\S+)/.exec(stderr)![1]!;
    const result = JSON.parse(readFileSync(file, "utf8")) as BenchResult;
    expect(existsSync(join(file, "../report.html"))).toBe(true);
    rmSync(join(file, ".."), { recursive: true });
    expect(result.scenarios[0]!.arms[0]!.rounds).toHaveLength(2);
    expect([1, 3]).toContain(code);
    expect(readdirSync(join(place, "run"))).toEqual(["requests.jsonl"]);
  });

  test("no disk has room: the result is on stdout", async ({ skip }) => {
    const place = disk(1100) ?? skip();
    const { code, stdout, stderr } = await filledDuring(place, 0, [], { TMPDIR: place });
    expect(stderr).toMatch(/cannot be written to \(ENOSPC.*, nor \S+ \(ENOSPC.*\): the JSON on stdout is the result\n/);
    const result = JSON.parse(stdout.slice(stdout.indexOf("\n{") + 1)) as BenchResult;
    expect(result.scenarios[0]!.arms[0]!.rounds).toHaveLength(2);
    expect([1, 3]).toContain(code);
  });

  test("room for the result and not for its page: it is whole, and no half of a page is left", async ({ skip }) => {
    const place = disk(1200) ?? skip();
    const { code, stderr } = await filledDuring(place, 72_000, []);
    expect(stderr).toMatch(/report\.html cannot be written \(ENOSPC.*\): fakeai report \S+ --out <file> writes it anew/);
    const { scenarios } = JSON.parse(readFileSync(join(place, "run", "result.json"), "utf8")) as BenchResult;
    expect(scenarios[0]!.arms[0]!.rounds).toHaveLength(2);
    expect([1, 3]).toContain(code);
    expect(readdirSync(join(place, "run")).toSorted()).toEqual(["result.json"]);
  });

  test("a report on a full disk: the page of before stays, and no half of an image is left", async ({ skip }) => {
    const place = disk(200) ?? skip();
    const result = join(folder, "sample.json");
    const page = join(place, "report.html");
    writeFileSync(result, JSON.stringify(sampleResult()));
    writeFileSync(page, "the page of before");
    fill(place, 4096);
    const { code, stdout, stderr } = await runCli(["report", result, "--out", page]).ended;
    expect([code, stdout.length > 0]).toEqual([2, true]);
    expect(stderr).toMatch(/^fakeai: --out: cannot write \S+ \(ENOSPC/);
    expect(readFileSync(page, "utf8")).toBe("the page of before");
    const images = await runCli(["report", result, "--out", join(folder, "page.html"), "--svg", place]).ended;
    expect([images.code, images.stderr]).toEqual([2, expect.stringMatching(/^fakeai: --svg: cannot write to \S+ \(ENOSPC/)]);
    expect(readdirSync(place).toSorted()).toEqual(["fill", "report.html"]);
  });

  test.runIf(existsSync("/dev/full"))("a server whose stdout cannot be written to says so at once, and serves", async () => {
    const child = spawn(process.execPath, [cliPath, "serve", "--json", "--port", "0"], {
      stdio: ["ignore", openSync("/dev/full", "w"), "pipe"],
    });
    const line = await new Promise((resolve) => child.stderr!.once("data", (chunk: Buffer) => resolve(chunk.toString())));
    expect([line, child.exitCode]).toEqual([expect.stringMatching(/^fakeai: stdout: ENOSPC/), null]);
    child.kill("SIGTERM");
    await new Promise((resolve) => child.once("close", resolve));
  });

  /** The bench with stdout as given, which is closed at once where it is a pipe. */
  function benchTo(stdout: "pipe" | number, out: string): Promise<{ code: number | null; stderr: string }> {
    const child = spawn(process.execPath, [cliPath, "bench", ...short, ...paced, "--out", out], { stdio: ["ignore", stdout, "pipe"] });
    child.stdout?.destroy();
    let stderr = "";
    child.stderr!.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    return new Promise((resolve) => child.on("close", (code) => resolve({ code, stderr })));
  }

  test("a reader of stdout that has left", async () => {
    const out = join(folder, "left");
    const { code, stderr } = await benchTo("pipe", out);
    expect([0, 3]).toContain(code);
    expect(stderr).toContain(`result: ${join(out, "result.json")}`);
    expect(existsSync(join(out, "report.html"))).toBe(true);
  });

  test.runIf(existsSync("/dev/full"))("a stdout on a full disk", async () => {
    const out = join(folder, "full");
    const { code, stderr } = await benchTo(openSync("/dev/full", "w"), out);
    expect([1, 3]).toContain(code);
    expect(stderr).toContain("fakeai: stdout: ENOSPC");
    expect(stderr).toContain(`result: ${join(out, "result.json")}`);
    expect(existsSync(join(out, "report.html"))).toBe(true);
  });
});

describe("foreign text", () => {
  const evil = "\u001B]0;owned\u0007\u001B[2J\u009B31m";
  // oxlint-disable-next-line no-control-regex
  const acting = /[\u0000-\u0009\u000B-\u001F\u007F-\u009F\u202E]/u;
  const sample = sampleResult();
  const foreign: BenchResult = {
    ...sample,
    suite: evil,
    scenarios: [
      {
        ...sample.scenarios[0]!,
        id: `../../evil${evil}`,
        title: evil,
        notes: [evil],
        arms: sample.scenarios[0]!.arms.map((arm) => Object.assign(arm, { invalid: [`status 500: ${evil}`] })),
      },
    ],
    requirements: [],
    invalid: [evil],
  };
  const file = join(folder, "foreign.json");
  writeFileSync(file, JSON.stringify(foreign));

  test.each([
    ["report", ["report", file, "--out", join(folder, "page.html"), "--svg", join(folder, "deep", "svg")]],
    ["merge", ["merge", file, file, "--out", join(folder, "merged")]],
    ["merge --json", ["merge", file, file, "--out", join(folder, "merged"), "--json"]],
    ["compare", ["compare", file, file, "--all"]],
    ["compare --json", ["compare", file, file, "--json"]],
    ["a scenario that is not there", ["bench", "--scenario", evil]],
    ["a command that is not there", [evil]],
    ["a flag that is not there", ["bench", `--${evil}`]],
    ["a result that is not there", ["report", evil]],
    ["a trace that is not there", ["bench", "--trace", evil]],
    ["a URL that is none", ["bench", "--url", evil]],
    ["a preset that is none", ["serve", "--preset", evil]],
  ])("%s shows it harmless", async (_, args) => {
    const { stdout, stderr } = await runCli(args).ended;
    expect(`${stdout}${stderr}`).not.toBe("");
    expect(`${stdout}${stderr}`).not.toMatch(acting);
  });

  test("names of files that come from data stay inside the folder of --svg", async () => {
    const svg = join(folder, "inside", "svg");
    const { code } = await runCli(["report", file, "--out", join(folder, "page.html"), "--svg", svg]).ended;
    expect(code).toBe(0);
    expect(readdirSync(svg).length).toBeGreaterThan(0);
    expect(readdirSync(join(folder, "inside"))).toEqual(["svg"]);
    expect(readdirSync(folder).filter((name) => name.endsWith(".svg"))).toEqual([]);
  });
});
