/** What `npm pack` makes, installed into an empty folder. */
import { execFile, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, expect, test } from "vitest";
import { markdownPaths } from "../docs/markdown.ts";
import { root, runCli, serve } from "../support/process.ts";

const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), "fakeai-pack-"));
const installed = join(folder, "node_modules", "fakeai");
let packed: string[] = [];
let missing: string | null = null;

beforeAll(async () => {
  const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", folder], { cwd: root });
  // The scripts of the package print before npm does.
  const [{ filename, files }] = JSON.parse(stdout.slice(stdout.search(/^\[/m))) as [{ filename: string; files: { path: string }[] }];
  packed = files.map(({ path }) => path);
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "empty", private: true }));
  const install = spawnSync("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", join(folder, filename)], { cwd: folder });
  if (install.status !== 0) missing = install.stderr.toString();
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
  const others = ["CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "NOTICE", "README.md", "package.json", "results/schema.json"];
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
