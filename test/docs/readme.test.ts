/** The README does what it says: its commands and programs are run as they stand, on ports that are free. */
import { execFile, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { standardPorts } from "../../src/settings/server.ts";
import { build, root, runCli, type Serving, serve } from "../support/process.ts";

const run = promisify(execFile);

/** Commands that are not run here, and why. */
const exceptions: readonly { readonly command: RegExp; readonly why: string }[] = [
  { command: /^npm install$/, why: "it made the folder that these tests run in" },
  { command: /^npm test$/, why: "it runs this" },
  { command: /^npm run check$/, why: "it runs this" },
  { command: /^npm run test:nodes$/, why: "it runs a suite under other versions of Node, and CI runs it" },
  { command: /^npm run bench(:\w+)?$/, why: "it takes minutes" },
  { command: /^npx fakeai serve --fault/, why: "faults.test.ts starts each of these" },
  { command: /x-fakeai-fault/, why: "its answer is broken on purpose; faults.test.ts asks the same" },
  { command: /^npx fakeai (bench|compare) /, why: "bench.test.ts runs these commands and flags, each in seconds" },
  { command: /^npm install (undici|gpt-tokenizer@4)$/, why: "this folder has it" },
];

interface Block {
  readonly language: string;
  readonly text: string;
}

const readme = readFileSync(join(root, "README.md"), "utf8");
const blocks: Block[] = [...readme.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, language, text]) => ({
  language: language!,
  text: text!,
}));
const prose = readme.replace(/^```[\s\S]*?^```$/gm, "");
const inline = [...prose.matchAll(/`((?:npx|npm|curl) [^`]+)`/g)].map(([, command]) => command!.replace(/\s+/g, " "));
const commands = [
  ...new Set(
    [
      ...blocks.filter(({ language }) => language === "sh").flatMap(({ text }) => text.trim().replaceAll(" \\\n  ", " ").split("\n")),
      ...inline,
    ]
      .flatMap((line) => line.replace(/\s+# .*$/, "").split(" && "))
      .map((command) => command.trim()),
  ),
];
const excepted = (command: string): boolean => exceptions.some((exception) => exception.command.test(command));
const serving = commands.filter((command) => /^npx fakeai serve(?! --help$| --fault)/.test(command));
const asking = commands.filter((command) => command.startsWith("curl ") && !command.includes("x-fakeai-fault"));
const variables = commands.filter((command) => /^[A-Z]+=/.test(command));
const programs = blocks.filter(({ language }) => language === "js");

let server: Serving;
const folder = mkdtempSync(join(tmpdir(), "fakeai-readme-"));

/** The text with the ports of the server that runs here. */
function onFreePorts(text: string): string {
  let mapped = text;
  for (const { protocol, url } of server.listening) mapped = mapped.replaceAll(`127.0.0.1:${standardPorts[protocol]}`, new URL(url).host);
  return mapped;
}

beforeAll(async () => {
  build();
  const args = serving[0]!
    .replace(/^npx fakeai serve /, "")
    .replace(/(--protocol) (\S+)/, (_all, flag: string, list: string) => `${flag} ${list.replaceAll(",", ":0,")}:0`)
    .split(" ");
  // The README opens /admin/config in words.
  server = await serve([...args, "--admin"]);
  mkdirSync(join(folder, "node_modules"));
  for (const name of ["openai", "undici"]) symlinkSync(join(root, "node_modules", name), join(folder, "node_modules", name));
  symlinkSync(root, join(folder, "node_modules", "fakeai"));
});
afterAll(() => server.stop());

test("every command is run or excepted, and every exception is needed", () => {
  const known = new Set([...serving, ...asking, ...variables, "npx fakeai serve --help"]);
  expect(commands.filter((command) => !known.has(command) && !excepted(command))).toEqual([]);
  expect(exceptions.filter(({ command }) => !commands.some((one) => command.test(one)))).toEqual([]);
  expect(blocks.map(({ language }) => language).filter((language) => language !== "sh" && language !== "js" && language !== "")).toEqual(
    [],
  );
});

test("every npm script that it names is there", () => {
  const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { scripts: Record<string, string> };
  const named = commands.flatMap((command) => /^npm run (\S+)/.exec(command)?.[1] ?? []);
  expect(named.length).toBeGreaterThan(0);
  for (const name of named) expect(scripts).toHaveProperty(name);
});

test("the help", async () => {
  expect(commands).toContain("npx fakeai serve --help");
  expect(await runCli(["serve", "--help"]).ended).toMatchObject({ code: 0, stdout: expect.stringContaining("--ttft") as string });
});

test("the first command serves what it says", () => {
  expect(server.listening.map(({ protocol }) => protocol)).toEqual(["h1", "h2c", "h2"]);
});

const curl = spawnSync("curl", ["--version"]).stdout?.toString() ?? "";
const curlSpeaksH2 = curl.includes("HTTP2");

test.runIf(curlSpeaksH2 || process.env["CI"] === "true").each(asking)("%s", async (command) => {
  const { stdout } = await run("bash", ["-c", [...variables, onFreePorts(command)].join("\n")]);
  if (command.includes("$BODY")) expect(stdout).toMatch(/^data: \{[\s\S]*\ndata: \[DONE\]\n\n$/);
  else expect(JSON.parse(stdout)).not.toHaveProperty("error");
});

/** Runs a program with Node, as its reader would in a folder with the packages that it imports. */
async function runProgram(name: string, text: string): Promise<string> {
  const path = join(folder, name);
  writeFileSync(path, onFreePorts(text));
  return (await run(process.execPath, [path], { cwd: folder, env: { ...process.env, NODE_EXTRA_CA_CERTS: server.caPath! } })).stdout;
}

describe("programs", () => {
  test("are three", () => {
    expect(programs).toHaveLength(3);
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
  test("the library", async () => {
    const said = /\/\/ (.+)$/m.exec(programs[2]!.text)![1]!;
    const [first, second] = (await runProgram("library.mjs", programs[2]!.text)).split("\n");
    expect(first).toBe(said);
    expect(Number(second)).toBeGreaterThan(0);
  });
});
