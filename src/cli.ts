#!/usr/bin/env node
import { readFileSync } from "node:fs";

const args: readonly string[] = process.argv.slice(2);
// Asked for by scripts, often: it loads nothing else.
if (args[0] === "--version" || args[0] === "-V") {
  const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string };
  process.stdout.write(`${version}\n`);
} else {
  const { main } = await import("./cli/main.ts");
  await main(args);
}
