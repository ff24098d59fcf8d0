/** The guides do what they say: each command and program in them runs as it stands, on ports that are free, or says where it runs. */
import { execFile, spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { commands } from "../../src/cli/commands.ts";
import { readLine } from "../../src/cli/line.ts";
import type { BenchResult } from "../../src/results/types.ts";
import { resolveBench } from "../../src/runner/plan/options.ts";
import { benchFlags } from "../../src/settings/bench.ts";
import { settleReplies } from "../../src/settings/replies.ts";
import { standardPorts } from "../../src/settings/server.ts";
import { cliPath, root, runCli, type Serving, serve } from "../support/process.ts";
import { commandsOf, guides, type Page } from "./markdown.ts";

const run = promisify(execFile);

/** Commands that do not run here, and why. */
const exceptions: readonly { readonly command: RegExp; readonly why: string }[] = [
  {
    command: /^npm install( --prefix (scenarios\/clients|bench\/speed\/peers))?$/,
    why: "it makes folders that tests and measurements run in",
  },
  { command: /^npm install (undici|gpt-tokenizer@4)$/, why: "this folder has it" },
  { command: /^npm install (uNetworking\/uWebSockets\.js#\S+|@currentspace\/http3@\S+)$/, why: "100 MB; .ci/run installs the latter" },
  { command: /^npm (test|run check)$/, why: "it runs this" },
  { command: /^npx vitest run /, why: "it runs tests, as this is run" },
  { command: /^npm run generate$/, why: "generated.test.ts and the tests of the schemas compare what it writes" },
  { command: /^npm run build$/, why: "beforeAll runs it" },
  { command: /^npm run format$/, why: "it would change the sources; the linter's check of the format is the same program" },
  { command: /^npm run bench$/, why: "it takes minutes" },
  { command: /^npm run measure -- \w+$/, why: "it takes minutes; each is named in the table, which follows from theirs" },
  { command: /^npx fakeai gateway certify /, why: "gateway.test.ts and planted.test.ts run these flags, on ports that are free" },
  { command: /^docker /, why: "there is no registry of images here; deploy.test.ts holds the files against what is there" },
  { command: /^(helm|kubectl|sbatch) /, why: "there is no cluster here; deploy/try makes one, and results/distributed has its log" },
  { command: /^npx fakeai rendezvous --shards/, why: "it waits for shards; test/runner/shards.test.ts runs them" },
  { command: /^npx fakeai audit /, why: "its exit code is the verdict on another program; test/cli/audit.test.ts runs it" },
  {
    command: /^npx fakeai (bench|compare|merge)(?! --help$| --help-all$| --list$)/,
    why: "bench.test.ts runs these flags, each in seconds",
  },
];

interface Typed {
  readonly page: Page;
  readonly command: string;
}

const typed: readonly Typed[] = guides.flatMap((page) => commandsOf(page).map((command) => ({ page, command })));
const excepted = ({ command }: Typed): boolean => exceptions.some((exception) => exception.command.test(command));
const isVariable = ({ command }: Typed): boolean => /^[A-Z]+=/.test(command);
const running = typed.filter((one) => !excepted(one) && !isVariable(one));
const serving = running.filter(({ command }) => /^npx fakeai serve (?!--help|--preset list)/.test(command));
const proxying = running.filter(({ command }) => command.startsWith("npx fakeai proxy --listen "));
const recording = running.filter(({ command }) => command.startsWith("npx fakeai record --to "));
const asking = running.filter(({ command }) => command.startsWith("curl "));
/** All others: they end by themselves. */
const ending = running.filter((one) => ![...serving, ...proxying, ...recording, ...asking].includes(one));
const named = (list: readonly Typed[]): [string, Typed][] => list.map((one) => [`${one.page.path}: ${one.command}`, one]);

const folder = mkdtempSync(join(tmpdir(), "fakeai-docs-"));
let server: Serving;

/** The text with the ports of the server that runs here. */
function onFreePorts(text: string): string {
  let mapped = text;
  for (const { protocol, url } of server.listening) mapped = mapped.replaceAll(`127.0.0.1:${standardPorts[protocol]}`, new URL(url).host);
  return mapped;
}

/** The words of a command line, without the quotes of a shell. */
function wordsOf(command: string): string[] {
  return [...command.matchAll(/(?:'[^']*'|"[^"]*"|[^\s'"])+/g)].map(([word]) => word.replaceAll(/'([^']*)'|"([^"]*)"/g, "$1$2"));
}

/** The arguments of `fakeai serve`, each protocol on a free port. */
function servingArgs(command: string): string[] {
  const args = wordsOf(command).slice(3);
  const at = args.indexOf("--protocol");
  const list = at < 0 ? "h1" : args.splice(at, 2)[1]!;
  const free = list.split(",").map((name) => `${name.replace(/:\d+$/, "")}:0`);
  return [...args, "--protocol", free.join(",")];
}

beforeAll(async () => {
  const first = serving.find(({ page }) => page.path === "README.md")!;
  // docs/operations.md asks /admin/config of a server like this one.
  server = await serve([...servingArgs(first.command), "--admin"]);
  mkdirSync(join(folder, "node_modules"));
  for (const name of ["@anthropic-ai", "@google", "ollama", "openai", "undici"])
    symlinkSync(join(root, "node_modules", name), join(folder, "node_modules", name));
  symlinkSync(root, join(folder, "node_modules", "fakeai"));
  for (const name of ["results", "scenarios"]) symlinkSync(join(root, name), join(folder, name));
  mkdirSync(join(folder, "tape"));
  copyFileSync(join(root, "test/fixtures/tape.jsonl"), join(folder, "tape/tape.jsonl"));
  // docs/deploy.md has written it from the log of a job.
  copyFileSync(join(root, "results/experiments/quick.json"), join(folder, "result.json"));
  const settings = guides.find(({ path }) => path === "docs/serve.md")!.blocks.find(({ language }) => language === "yaml")!;
  writeFileSync(join(folder, "fakeai.yaml"), settings.text.replace("protocol: h1,h2c", "protocol: h1:0,h2c:0"));
}, 60_000);
afterAll(() => server.stop());

test("every exception is needed, and every block is of a known kind", () => {
  expect(running.length).toBeGreaterThan(25);
  expect(exceptions.filter(({ command }) => !typed.some((one) => command.test(one.command)))).toEqual([]);
  const languages = new Set(guides.flatMap(({ blocks }) => blocks.map(({ language }) => language)));
  expect([...languages].sort()).toEqual(["cjs", "js", "json", "python", "sh", "text", "ts", "yaml"]);
  expect(ending.map(({ command }) => command).filter((command) => !/^(npx fakeai|npm run measure)\b/.test(command))).toEqual([]);
});

test("every npm script that is named is there", () => {
  const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { scripts: Record<string, string> };
  const scriptsNamed = typed.flatMap(({ command }) => /^npm run (\S+)/.exec(command)?.[1] ?? []);
  expect(scriptsNamed.length).toBeGreaterThan(0);
  for (const name of scriptsNamed) expect(scripts).toHaveProperty([name]);
});

describe("a server starts, and is healthy", () => {
  test.each(named(serving))("%s", async (_name, { command }) => {
    const args = command.includes("--config") ? wordsOf(command).slice(3) : servingArgs(command);
    const started = await serve(args, { cwd: folder });
    try {
      const h1 = started.listening.find(({ protocol }) => protocol === "h1")!;
      expect((await fetch(`${h1.url}/health`)).status).toBe(200);
    } finally {
      expect((await started.stop()).code).toBe(0);
    }
  });
});

test.each(named(proxying))("%s", async (_name, { command }) => {
  const args = wordsOf(onFreePorts(command)).slice(2);
  const proxy = runCli(args.map((word) => (word === "9000" ? "0" : word)));
  const line = await proxy.firstLine;
  const [, port] = /127\.0\.0\.1:(\d+)/.exec(line)!;
  // Tests of the proxy's own send datagrams; what listens here for HTTP/1.1 reads none.
  if (!args.includes("--udp")) expect((await fetch(`http://127.0.0.1:${port}/health`)).status).toBe(200);
  proxy.child.kill("SIGTERM");
  expect((await proxy.ended).code).toBe(0);
});

test.each(named(recording))("%s", async (_name, { command }) => {
  const args = wordsOf(onFreePorts(command)).slice(2);
  const recorder = runCli(
    args.map((word) => (word === "9000" ? "0" : word === "tape" ? "new-tape" : word)),
    { cwd: folder },
  );
  const line = await recorder.firstLine;
  const response = await fetch(`http://127.0.0.1:${/127\.0\.0\.1:(\d+)/.exec(line)![1]}/v1/models`);
  expect(response.status).toBe(200);
  await response.text();
  recorder.child.kill("SIGTERM");
  const { code, stdout } = await recorder.ended;
  expect([code, stdout.trim().split("\n").at(-1)]).toEqual([0, expect.stringMatching(/^recorded 1 call, \d+ bytes$/)]);
});

const curl = spawnSync("curl", ["--version"]).stdout?.toString() ?? "";
const curlSpeaksH2 = curl.includes("HTTP2");

describe.runIf(curlSpeaksH2 || process.env["CI"] === "true")("an answer", () => {
  test.each(named(asking))("%s", async (_name, { page, command }) => {
    const variables = typed.filter((one) => one.page === page && isVariable(one)).map((one) => one.command);
    const { stdout } = await run("bash", ["-c", [...variables, `${onFreePorts(command)} --fail`].join("\n")]);
    if (command.includes("truncate")) expect(stdout).toMatch(/^data: \{[\s\S]*\}\n\n$/);
    else if (command.includes("$BODY")) expect(stdout).toMatch(/^data: \{[\s\S]*\ndata: \[DONE\]\n\n$/);
    else expect(stdout).not.toBe("");
    expect(stdout.includes('"fakeai":{"due":')).toBe(command.includes("stamps"));
  });
});

describe("it ends well", () => {
  test.each(named(ending))("%s", async (_name, { command }) => {
    const own = command.replaceAll("/tmp/", `${folder}/`).replace("npx fakeai", `'${process.execPath}' '${cliPath}'`);
    const cwd = command.startsWith("npm run ") ? root : folder;
    const { stdout } = await run("bash", ["-c", own], { cwd, maxBuffer: 16_000_000 });
    const written = / > \/tmp\/(\S+)/.exec(command)?.[1];
    const text = written === undefined ? stdout : readFileSync(join(folder, written), "utf8");
    expect(text.split("\n").length).toBeGreaterThan(3);
  });
});

test("every flag that is named is one", () => {
  const helps = commands.map(({ name }) => spawnSync(process.execPath, [cliPath, name, "--help-all"]).stdout.toString());
  const flag = /(?<![\w-])--[a-z][a-z0-9-]+/g;
  const known = new Set(helps.join("\n").match(flag));
  const others = new Set([
    "--help",
    "--help-all",
    "--http2-prior-knowledge",
    "--prefix",
    // Of node.
    "--experimental-vm-modules",
    "--experimental-quic",
    "--max-old-space-size",
    // Of bun.
    "--bun",
    // Of docker, helm and sbatch.
    "--build",
    "--build-arg",
    "--rm",
    "--set",
    "--array",
  ]);
  const code = guides.flatMap((page) => [...commandsOf(page), ...(page.prose.match(/`[^`\n]+`/g) ?? [])]);
  const flags = new Set(code.flatMap((text) => text.match(flag) ?? []));
  expect(flags.size).toBeGreaterThan(60);
  expect([...flags].filter((name) => !known.has(name) && !others.has(name))).toEqual([]);
});

test("flags of a bench go together, wherever one is named", async () => {
  const bench = commands.find(({ name }) => name === "bench")!;
  const named = typed.filter(({ command }) => command.startsWith("npx fakeai bench"));
  expect(named.length).toBeGreaterThan(20);
  const refused: string[] = [];
  for (const { command } of named) {
    try {
      const asked = await readLine(wordsOf(command).slice(3), bench, benchFlags);
      if (asked.help === null) resolveBench(asked.given);
    } catch (error) {
      refused.push(`${command}: ${String(error)}`);
    }
  }
  expect(refused).toEqual([]);
});

test("each of ten questions has one command", () => {
  const page = guides.find(({ path }) => path === "docs/questions.md")!;
  const parts = page.text.split(/^## /m).slice(1);
  expect(parts.map((part) => part.match(/^```sh\nnpx fakeai .+\n```$/gm)?.length)).toEqual(Array.from({ length: 10 }, () => 1));
  expect(parts.filter((part) => !/^.+\?\n/.test(part))).toEqual([]);
});

/** Runs a program with Node, as its reader would in a folder with the packages that it imports. */
async function runProgram(name: string, text: string): Promise<string> {
  const path = join(folder, name);
  writeFileSync(path, onFreePorts(text));
  return (await run(process.execPath, [path], { cwd: folder, env: { ...process.env, NODE_EXTRA_CA_CERTS: server.caPath! } })).stdout;
}

describe("programs", () => {
  const programs = guides.flatMap(({ path, blocks }) =>
    blocks.filter(({ language }) => language === "js").map(({ text }) => ({ path, text })),
  );

  test("are all run here", () => {
    expect(programs.map(({ path }) => path)).toEqual([
      "README.md",
      "README.md",
      "docs/clients.md",
      "docs/library.md",
      "docs/library.md",
      "docs/realtime.md",
      "docs/websocket.md",
    ]);
  });
  test("the OpenAI SDK over HTTP/1.1", async () => {
    expect(await runProgram("h1.mjs", programs[0]!.text)).toMatch(/\w+ \w+/);
  });
  test("the OpenAI SDK over HTTP/2", async () => {
    const asks = programs[0]!.text.slice(programs[0]!.text.indexOf("const stream"));
    expect(await runProgram("h2.mjs", `${programs[1]!.text}\n${asks}`)).toMatch(/\w+ \w+/);
  });
  test("which puts streams on one connection at once", async () => {
    const asks = `
      const order = [];
      const ask = async () => {
        const stream = await client.chat.completions.create({ model: "any", stream: true, messages: [{ role: "user", content: "Hi" }] });
        for await (const chunk of stream) if (!order.includes(stream)) order.push(stream);
        order.push("ended");
      };
      await Promise.all(Array.from({ length: 10 }, ask));
      console.log(order.indexOf("ended"));`;
    expect(await runProgram("h2-at-once.mjs", `${programs[1]!.text}\n${asks}`)).toBe("10\n");
  });
  test("the SDKs of each API, in JavaScript and in Python", async ({ skip }) => {
    const text = join(folder, "said.txt");
    writeFileSync(text, "Said.");
    const speaking = await serve(["--port", "0", "--text-file", text]);
    try {
      const { host } = new URL(speaking.listening[0]!.url);
      const said = "Said.\n".repeat(7);
      expect(await runProgram("clients.mjs", programs[2]!.text.replaceAll("127.0.0.1:8000", host))).toBe(said);
      const program = guides.find(({ path }) => path === "docs/clients.md")!.blocks.find(({ language }) => language === "python")!.text;
      if (spawnSync("python3", ["-c", program.slice(0, program.indexOf("\n\n"))]).status !== 0)
        skip("python3 lacks an SDK: pip install openai anthropic google-genai ollama");
      expect((await run("python3", ["-c", program.replaceAll("127.0.0.1:8000", host)])).stdout).toBe(said);
    } finally {
      await speaking.stop();
    }
  });
  test("the library", async () => {
    const said = /\/\/ (.+)$/m.exec(programs[3]!.text)![1]!;
    const [first, second] = (await runProgram("library.mjs", programs[3]!.text)).split("\n");
    expect(first).toBe(said);
    expect(Number(second)).toBeGreaterThan(0);
  });
  test("replies by rule", async () => {
    expect(await runProgram("replies.mjs", programs[4]!.text)).toBe("429\n429\n200\n404\n");
  });
  test("the OpenAI SDK over WebSocket", async () => {
    const speaking = await serve(["--protocol", "h1:0,ws:0"]);
    try {
      const { host } = new URL(speaking.listening.find(({ protocol }) => protocol === "h1")!.url);
      expect(await runProgram("ws.mjs", programs[6]!.text.replace("127.0.0.1:8000", host))).toMatch(/\w+ \w+/);
    } finally {
      await speaking.stop();
    }
  });
  test("the OpenAI SDK of Realtime", async () => {
    const speaking = await serve(["--protocol", "h1s:0,wss:0"]);
    try {
      const { host } = new URL(speaking.listening.find(({ protocol }) => protocol === "h1s")!.url);
      expect(await runProgram("realtime.mjs", programs[5]!.text.replace("127.0.0.1:8001", host))).toMatch(/\w+ \w+/);
    } finally {
      await speaking.stop();
    }
  });
  test("and as a file", async () => {
    const file = guides.find(({ path }) => path === "docs/library.md")!.blocks.find(({ language }) => language === "yaml");
    writeFileSync(join(folder, "replies.yaml"), file!.text);
    const { rules, unmatched } = await settleReplies(join(folder, "replies.yaml"), false);
    expect([rules.length, unmatched, rules[0]!.match.user!("the FORECAST")]).toEqual([1, "error", true]);
  });
});

describe("the Python of docs/exports.md", () => {
  const page = guides.find(({ path }) => path === "docs/exports.md")!;
  const programs = page.blocks.filter(({ language }) => language === "python").map(({ text }) => text);
  // Debian's own Python has Debian's pandas, where another comes first on the path.
  const withPandas = ["python3", "/usr/bin/python3"].find((python) => spawnSync(python, ["-c", "import pandas"]).status === 0);
  const isDemanded = process.env["CI"] === "true";

  beforeAll(() => {
    const csv = spawnSync(process.execPath, [cliPath, "report", `${root}results/experiments/quick.json`, "--export", "csv"]).stdout;
    writeFileSync(join(folder, "measurements.csv"), csv);
  });

  test.each([...(withPandas !== undefined || isDemanded ? ([["with pandas", 0]] as const) : []), ["without", 1]] as const)(
    "%s says what the result says",
    async (_name, index) => {
      const { stdout } = await run(index === 0 ? withPandas! : "python3", ["-c", programs[index]!.replaceAll("/tmp/", `${folder}/`)]);
      const quick = JSON.parse(readFileSync(`${root}results/experiments/quick.json`, "utf8")) as BenchResult;
      const { ratio, rounds } = quick.scenarios
        .find(({ variant }) => variant === "1000 streams")!
        .comparisons.find(({ metric, candidate }) => metric === "itl" && candidate === "h2c-1")!;
      expect(stdout.trimEnd().split("\n").at(-1)).toBe(`ratio ${ratio!.estimate.toFixed(4)} over ${rounds} rounds`);
      expect(page.prose).toContain(`\`ratio ${ratio!.estimate.toFixed(4)} over ${rounds} rounds\``);
    },
  );
});

test("the scenario that docs/scenarios.md writes runs", async () => {
  const scenario = guides.find(({ path }) => path === "docs/scenarios.md")!.blocks.find(({ language }) => language === "json");
  writeFileSync(join(folder, "mine.json"), scenario!.text);
  const args = ["bench", "--scenario", "mine.json", "--rounds", "1", "--out", join(folder, "mine"), "--json"];
  const { code, stdout } = await runCli(args, { cwd: folder }).ended;
  // On a machine that is busy the run may be invalid (3), never misread (2).
  expect([0, 3]).toContain(code);
  expect(JSON.parse(stdout)).toMatchObject({ scenarios: [{ id: "mine" }] });
}, 60_000);
