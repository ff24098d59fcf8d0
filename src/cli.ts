#!/usr/bin/env node
import { readFileSync } from "node:fs";
import type { Bundle } from "./base/bundle.ts";
import type * as Program from "./cli/bundled.ts";

const args: readonly string[] = process.argv.slice(2);
// Asked for by scripts, often: it loads nothing else.
if (args[0] === "--version" || args[0] === "-V") {
  const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string };
  process.stdout.write(`${version}\n`);
} else {
  let program: Bundle<typeof Program> | null = null;
  if (args[0] === "serve") {
    // Before anything else is loaded.
    (await import("./base/young-generation.ts")).beginSmall();
    program = (await import("./base/bundle.ts")).loadBundle("serve");
  }
  const { main } = program?.program ?? (await import("./cli/main.ts"));
  await main(args, program?.keep);
}
