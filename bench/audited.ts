/**
 * Audits benchmarks of others, each by `fakeai audit` with the build that is here, and keeps what it found in `results/audits`. One
 * that is not installed is named and passed over. They are looked for on the PATH.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { lineOf } from "../src/audit/line.ts";
import { renderAuditPage } from "../src/audit/page.ts";
import type { Audit } from "../src/audit/types.ts";
import { cliPath, root } from "./support/server.ts";
import { audited } from "./tools/audited.ts";

const { values, positionals } = parseArgs({
  options: { budget: { type: "string", default: "200" }, rungs: { type: "string" }, tokenizer: { type: "string" } },
  allowPositionals: true,
});

const place = mkdtempSync(join(tmpdir(), "fakeai-audited-"));
const here = (file: string): string => fileURLToPath(new URL(`tools/${file}`, import.meta.url));
for (const file of ["post.lua", "locustfile.py", "chat.js"]) copyFileSync(here(file), join(place, file));
writeFileSync(join(place, "body.json"), JSON.stringify({ model: "fakeai", stream: true, messages: [{ role: "user", content: "Hello" }] }));
if (values.tokenizer !== undefined) symlinkSync(values.tokenizer, join(place, "tokenizer"));
mkdirSync(join(place, "bin"));
writeFileSync(join(place, "bin", "fakeai"), `#!/bin/sh\nexec "${process.execPath}" "${cliPath}" "$@"\n`, { mode: 0o755 });
const path = [process.env["PATH"] ?? "", join(root, "node_modules/.bin"), join(place, "bin")].join(delimiter);
const env = { ...process.env, PATH: path, FAKEAI_BODY: join(place, "body.json") };

/** The version that a tool prints: the first number with a point. */
function versionOf(words: readonly string[]): string | null {
  const { stdout, stderr } = spawnSync(words[0]!, words.slice(1), { env, cwd: place, encoding: "utf8", timeout: 60_000 });
  return /\d+\.\d[\w.+-]*/.exec(`${stdout}${stderr}`)?.[0] ?? null;
}

/** That of a Go module: programs of `go install` do not know theirs. */
function moduleVersion(program: string): string | null {
  const { stdout } = spawnSync("sh", ["-c", `go version -m "$(command -v ${program})"`], { env, encoding: "utf8" });
  return /^\s+mod\s+\S+\s+v(\S+)/m.exec(stdout)?.[1] ?? null;
}

let missing = 0;
for (const name of positionals.length === 0 ? Object.keys(audited) : positionals) {
  const { words, version, install } = audited[name]!;
  const out = join(place, "out", name);
  const rungs = values.rungs === undefined ? [] : ["--rungs", values.rungs];
  const flags = ["audit", "--out", out, "--budget", values.budget, "--details", ...rungs];
  spawnSync(process.execPath, [cliPath, ...flags, "--", ...words], { env, cwd: place, stdio: ["ignore", "inherit", "inherit"] });
  const file = join(out, "audit.json");
  const text = existsSync(file) ? readFileSync(file, "utf8") : "";
  if (text === "") {
    missing++;
    console.error(`${name}: not audited (${install})`);
    continue;
  }
  const audit = JSON.parse(text) as Audit;
  const toolVersion = audit.toolVersion ?? (version === null ? moduleVersion(name) : versionOf(version));
  const shown: Audit = { ...audit, toolVersion, line: lineOf({ ...audit, toolVersion }) };
  writeFileSync(join(root, "results/audits", `${name}.json`), `${JSON.stringify(shown)}\n`);
  writeFileSync(join(root, "results/audits", `${name}.html`), renderAuditPage(shown));
  // What it was judged from: large, and not published.
  copyFileSync(join(out, "observations.json"), join(tmpdir(), `fakeai-audited-${name}.json`));
}
rmSync(place, { recursive: true });
if (missing > 0) process.exitCode = 1;
