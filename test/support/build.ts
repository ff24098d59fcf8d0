/** Compiles src to dist once, before all tests: those that start the command line run what was built. */
import { spawnSync } from "node:child_process";
import { readdirSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));

export default function build(): void {
  // Another run in this folder may be using dist: what is up to date stays as it is.
  if (isBuilt()) return;
  const compile = ["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"];
  const { status, stdout } = spawnSync(process.execPath, compile, { cwd: root });
  if (status !== 0) throw new Error(`the build failed: ${stdout.toString()}`);
  const rest = spawnSync(process.execPath, ["build.mjs"], { cwd: root });
  if (rest.status !== 0) throw new Error(`build.mjs failed: ${rest.stderr.toString()}`);
}

/** Whether every source was compiled after its last change. */
function isBuilt(): boolean {
  const changedMs = (path: string): number => statSync(`${root}${path}`, { throwIfNoEntry: false })?.mtimeMs ?? -Infinity;
  return readdirSync(`${root}src`, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts"))
    .every((path) => changedMs(`dist/${path.replace(/\.ts$/, ".js")}`) >= changedMs(`src/${path}`));
}
