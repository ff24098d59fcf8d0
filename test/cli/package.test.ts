/** What `npm pack` makes, installed into an empty folder. */
import { execFile, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, expect, test } from "vitest";
import { markdownPaths, readPage } from "../docs/markdown.ts";
import { root, runCli, serve } from "../support/process.ts";

const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), "fakeai-pack-"));
const installed = join(folder, "node_modules", "fakeai");
let packed: string[] = [];
let tarball = "";
let missing: string | null = null;

/** Programs that judge a package; kept, because they take a minute to fetch. */
const tools = join(root, "node_modules", ".cache", "package-tools");
const toolNames = ["jest@30", "@arethetypeswrong/cli@0.18", "publint@0.3"];
/** Why they cannot be fetched; null: they are there. */
function fetchTools(): string | null {
  if (existsSync(join(tools, "node_modules", "publint"))) return null;
  mkdirSync(tools, { recursive: true });
  const install = ["install", "--prefix", tools, "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts", ...toolNames];
  const { status, stderr } = spawnSync("npm", install);
  return status === 0 ? null : stderr.toString();
}

beforeAll(async () => {
  const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", folder], { cwd: root });
  // The scripts of the package print before npm does.
  const [{ filename, files }] = JSON.parse(stdout.slice(stdout.search(/^\[/m))) as [{ filename: string; files: { path: string }[] }];
  packed = files.map(({ path }) => path);
  tarball = join(folder, filename);
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "empty", private: true }));
  const install = spawnSync("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", join(folder, filename)], { cwd: folder });
  if (install.status !== 0) missing = install.stderr.toString();
  missing ??= fetchTools();
  if (missing === null) symlinkSync(join(root, "node_modules", "openai"), join(folder, "node_modules", "openai"));
  if (missing !== null && process.env["CI"] === "true") throw new Error(missing);
}, 180_000);

test("holds what is built from src, and no more", () => {
  const sources = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".ts"));
  const built = sources.flatMap((path) => [".js", ".d.ts"].map((ending) => `dist/${path.replace(/\.ts$/, ending)}`));
  const scenarios = readdirSync(join(root, "scenarios"), { recursive: true, encoding: "utf8" })
    .filter((path) => /\.\w+$/.test(path) && !path.includes("node_modules"))
    .map((path) => `scenarios/${path}`);
  const documents = markdownPaths().filter((path) => path.startsWith("docs/") || path.startsWith("results/"));
  const pictures = ["docs", "results"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".svg") && !path.startsWith("runs"))
      .map((path) => `${folder}/${path}`),
  );
  const others = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "NOTICE",
    "README.md",
    "package.json",
    "results/schema.json",
    "results/audits/schema.json",
    "results/gateways/schema.json",
    "docs/replies.schema.json",
    "docs/tape.schema.json",
  ];
  built.push("dist/bundle.cjs", "dist/index.cjs", "dist/index.d.cts");
  expect(packed.sort()).toEqual([...built, ...scenarios, ...documents, ...pictures, ...others, "src/listeners/README.md"].sort());
});

test("npx runs it", async ({ skip }) => {
  if (missing !== null) skip(`npm cannot install: ${missing}`);
  const { stdout } = await run("npx", ["--no-install", "fakeai", "--version"], { cwd: folder });
  expect(stdout.trim()).toBe((JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string }).version);
  for (const bin of [["fakeai", "serve"], ["fakeai-server"]]) {
    // npx itself is started without a shell: its own script, run by this node.
    const npx = runCli(["--no-install", ...bin, "--json", "--port", "0"], { script: npxPath(), cwd: folder, detached: true });
    const { listening } = JSON.parse(await npx.firstLine) as { listening: { url: string }[] };
    const answer = await fetch(`${listening[0]!.url}/v1/chat/completions`, {
      method: "POST",
      body: JSON.stringify({ model: "m", messages: [{ role: "user", content: "Hi" }] }),
    });
    expect(answer.status).toBe(200);
    process.kill(-npx.child.pid!, "SIGINT");
    await npx.ended;
  }
});

function npxPath(): string {
  return join(spawnSync("npm", ["root", "--global"]).stdout.toString().trim(), "npm", "bin", "npx-cli.js");
}

test(
  "without the package of HTTP/3 its protocol is refused with a hint, and its arms are left out",
  { timeout: 60_000 },
  async ({ skip }) => {
    if (missing !== null) skip(`npm cannot install: ${missing}`);
    const script = join(installed, "dist", "cli.js");
    expect(existsSync(join(folder, "node_modules", "@currentspace"))).toBe(false);
    const hint = "fakeai: --protocol h3: HTTP/3 needs a package that is not installed: npm install @currentspace/http3@0.9\n";
    for (const args of [
      ["serve", "--protocol", "h3"],
      ["serve", "--protocol", "h1:0,h3:0"],
      ["bench", "--protocol", "h2,h3"],
    ])
      expect(await runCli(args, { script, cwd: folder }).ended).toMatchObject({ code: 2, stdout: "", stderr: hint });
    const arms = ["h2", "h3"].map((protocol) => ({ id: protocol, protocol, connections: 1 }));
    const scenario = join(folder, "with-h3.json");
    const workload = { ttft: 5, itl: 1, outputTokens: 3, streams: 2, requests: 8, warmup: 2 };
    const about = { id: "with-h3", title: "With HTTP/3", question: "protocols", isolates: "nothing" };
    writeFileSync(
      scenario,
      JSON.stringify({
        ...about,
        workload,
        arms,
        variants: [{ name: "all", suites: ["quick"] }],
        metrics: ["ttft.p50"],
        compare: [{ baseline: "h2", candidate: "h3" }],
      }),
    );
    const bench = await runCli(
      ["bench", "--scenario", scenario, "--rounds", "2", "--keep-disturbed", "--full", "--out", join(folder, "out")],
      {
        script,
        cwd: folder,
      },
    ).ended;
    expect(`${bench.stdout}${bench.stderr}`.replace(/\s+/g, " ")).toMatch(
      /with-h3: h3 left out: engine quiche: .*npm install @currentspace\/http3@0\.9/,
    );
    expect(bench.stdout).toMatch(/\bh2\b/);
  },
);

test("is a library, with types", async ({ skip }) => {
  if (missing !== null) skip(`npm cannot install: ${missing}`);
  const script = join(folder, "library.mjs");
  writeFileSync(
    script,
    `import { createServer } from "fakeai";
const server = await createServer({ outputTokens: 3 });
const response = await fetch(server.urls.h1 + "/v1/chat/completions", {
  method: "POST", body: JSON.stringify({ model: "m", messages: [{ role: "user", content: "Hi" }] }),
});
console.log((await response.json()).usage.completion_tokens, server.stats().generationTokens);
await server.close();
`,
  );
  expect((await run(process.execPath, [script], { cwd: folder })).stdout).toBe("3 3\n");
  expect(readFileSync(join(installed, "dist", "index.d.ts"), "utf8")).toContain("createServer");
});

/** The one program of this language in the guide of test suites. */
const guided = (language: string): string => readPage("docs/library.md").blocks.find((block) => block.language === language)!.text;

/** A test file of Jest or vitest, whose `test` and `expect` are global. */
const suite = (load: string): string => `${load}
test("answers on each protocol", async () => {
  const server = await createServer({ protocol: "h1,h1s,h2c,h2", outputTokens: 3 });
  const response = await fetch(server.urls.h1 + "/v1/chat/completions", {
    method: "POST", body: JSON.stringify({ model: "m", messages: [{ role: "user", content: "Hi" }] }),
  });
  expect((await response.json()).usage.completion_tokens).toBe(3);
  expect(server.listening).toHaveLength(4);
  await server.close();
  await expect(createServer({ ttftt: 3 })).rejects.toThrow(UsageError);
});
`;

test("CommonJS requires it, and Jest does", async ({ skip }) => {
  if (missing !== null) skip(`npm cannot install: ${missing}`);
  const program = 'require("fakeai").createServer().then((server) => server.close().then(() => console.log(server.listening[0].engine)))';
  const imported =
    'import("fakeai").then(async ({ createServer }) => { const s = await createServer(); await s.close(); console.log(s.listening[0].engine); })';
  const [required, own] = await Promise.all([program, imported].map((code) => run(process.execPath, ["-e", code], { cwd: folder })));
  expect(required!.stdout).toBe(own!.stdout);
  // Two files: each loads the library anew in the same process.
  for (const name of ["one", "two"])
    writeFileSync(join(folder, `${name}.jest.cjs`), suite('const { createServer, UsageError } = require("fakeai");'));
  writeFileSync(join(folder, "guide.jest.cjs"), guided("cjs"));
  const jest = [join(tools, "node_modules", "jest", "bin", "jest.js"), "--rootDir", folder, "--runInBand", "--testMatch", "**/*.jest.cjs"];
  const { stderr } = await run(process.execPath, jest, { cwd: folder });
  expect(stderr).toMatch(/Tests: +3 passed, 3 total/);
}, 60_000);

test("vitest runs it, by the helper too", async ({ skip }) => {
  if (missing !== null) skip(`npm cannot install: ${missing}`);
  writeFileSync(join(folder, "one.test.mjs"), suite('import { createServer, UsageError } from "fakeai";'));
  writeFileSync(join(folder, "guide.test.ts"), guided("ts"));
  symlinkSync(join(root, "node_modules", "vitest"), join(folder, "node_modules", "vitest"));
  const vitest = [join(root, "node_modules", "vitest", "vitest.mjs"), "run", "--root", folder, "--globals"];
  const { stdout } = await run(process.execPath, vitest, { cwd: folder, env: { ...process.env, NO_COLOR: "1" } });
  expect(stdout).toMatch(/Tests +2 passed/);
}, 60_000);

test("pytest runs it by the fixture of the guide", async ({ skip }) => {
  if (missing !== null) skip(`npm cannot install: ${missing}`);
  if (spawnSync("python3", ["-m", "pytest", "--version"]).status !== 0) {
    if (process.env["CI"] === "true") throw new Error("python3 has no pytest");
    skip("python3 has no pytest");
  }
  writeFileSync(join(folder, "test_fakeai.py"), guided("python"));
  expect((await run("python3", ["-m", "pytest", "-q", "test_fakeai.py"], { cwd: folder })).stdout).toMatch(/1 passed/);
}, 60_000);

test("has types for ES modules and CommonJS, for node16 and for bundlers", async ({ skip }) => {
  if (missing !== null) skip(`npm cannot install: ${missing}`);
  const use = `const options: ServerOptions = { ttft: 5 };
export const server: Promise<FakeAiServer> = createServer(options);
export const isUsage = (error: unknown): error is UsageError => error instanceof UsageError;
export const running: Promise<number> = server.then((one) => one.stats().running);
// @ts-expect-error: no option of this name.
void createServer({ ttftt: 5 });
`;
  const names = "createServer, type FakeAiServer, type ServerOptions, UsageError";
  writeFileSync(join(folder, "use.mts"), `import { ${names} } from "fakeai";\n${use}`);
  writeFileSync(join(folder, "use.cts"), `import { ${names} } from "fakeai";\n${use}`);
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  const strict = ["--noEmit", "--strict", "--target", "es2022", "--types", "node", "--typeRoots", join(root, "node_modules", "@types")];
  const compile = (...args: string[]): Promise<unknown> => run(process.execPath, [tsc, ...strict, ...args], { cwd: folder });
  await compile("--module", "node16", "use.mts", "use.cts");
  await compile("--module", "esnext", "--moduleResolution", "bundler", "use.mts");
  const bin = (name: string): string => join(tools, "node_modules", ".bin", name);
  // The helper for vitest is an ES module only, as vitest itself is.
  await run(bin("attw"), [tarball, "--exclude-entrypoints", "vitest"]);
  expect((await run(bin("publint"), ["run", "--strict", installed])).stdout).toContain("All good");
}, 60_000);

test("is ready in well under a second", async ({ skip }) => {
  if (missing !== null) skip(`npm cannot install: ${missing}`);
  const times: number[] = [];
  for (let round = 0; round < 3; round++) {
    const startedMs = performance.now();
    const server = await serve(["--port", "0"], { script: join(installed, "dist", "cli.js"), cwd: folder });
    times.push(performance.now() - startedMs);
    await server.stop();
  }
  console.info(`start to ready line: ${times.map((ms) => ms.toFixed(0)).join(", ")} ms`);
  expect(times.sort((a, b) => a - b)[1]).toBeLessThan(1000);
});
