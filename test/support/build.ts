/** Compiles src to dist once, before all tests: those that start the command line run what was built. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

export default function build(): void {
  const cwd = fileURLToPath(new URL("../../", import.meta.url));
  const { status, stdout } = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"], { cwd });
  if (status !== 0) throw new Error(`the build failed: ${stdout.toString()}`);
}
