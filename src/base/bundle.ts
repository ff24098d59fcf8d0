/**
 * A program in one file, with the code that V8 compiled for it at an earlier start. Finding, reading and compiling 150 modules
 * takes most of the time until a server answers, and of the memory that it then holds.
 */
import { lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Script } from "node:vm";
import { cacheDirectory } from "./directory.ts";

/** Of the bundle, made by build.mjs: one expression, a function that gets what it calls. There is none where the sources run. */
const file = fileURLToPath(new URL("../bundle.cjs", import.meta.url));

export interface Bundle<Program> {
  readonly program: Program;
  /** Keeps the code that is compiled by now for the next start, unless this one had it. To be called with V8's flags unchanged. */
  readonly keep: () => void;
}

/**
 * Loads the bundle as `role`, which names the code that is kept: each role runs other parts of it. null: there is no bundle, the
 * runtime is not Node, or the user wants no compile cache (Node's own variable NODE_DISABLE_COMPILE_CACHE).
 */
export function loadBundle<Program>(role: string): Bundle<Program> | null {
  const { bun, deno } = process.versions;
  if (process.env["NODE_DISABLE_COMPILE_CACHE"] !== undefined || (bun ?? deno) !== undefined) return null;
  let source: string;
  let name: string;
  try {
    // It is ASCII, and V8 holds one byte a character.
    source = readFileSync(file, "latin1");
    const { size, mtimeMs } = statSync(file);
    // V8 itself refuses code of another version, of other flags, or of a source of another length.
    name = `${role}-${process.version}-${process.arch}-${size.toString(36)}-${Math.round(mtimeMs).toString(36)}`;
  } catch {
    return null;
  }
  const cachedData = readKept(name);
  const script = new Script(source, {
    filename: file,
    ...(cachedData !== null && { cachedData }),
  });
  const module = { exports: {} as Program };
  const run = script.runInThisContext() as (...parts: readonly unknown[]) => void;
  run(module.exports, createRequire(file), module, join(file, ".."), (specifier: string) => import(specifier));
  const isKept = cachedData !== null && script.cachedDataRejected !== true;
  return { program: module.exports, keep: () => isKept || keep(name, script.createCachedData()) };
}

/** Code is trusted as a program is: another user may not have written it. */
function readKept(name: string): Buffer | null {
  try {
    const folder = join(cacheDirectory(), "code");
    const path = join(folder, name);
    const isOurs = [folder, path].every((one) => {
      const { uid, mode } = lstatSync(one);
      return process.getuid === undefined || (uid === process.getuid() && (mode & 0o022) === 0);
    });
    return isOurs ? readFileSync(path) : null;
  } catch {
    return null;
  }
}

/** Writes it whole or not at all; where it cannot be kept the next start compiles again. */
function keep(name: string, code: Buffer): void {
  try {
    const folder = join(cacheDirectory(), "code");
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    // Of other builds of this program.
    const stem = name.split("-").slice(0, 3).join("-");
    for (const other of readdirSync(folder)) if (other.startsWith(`${stem}-`)) rmSync(join(folder, other), { force: true });
    const fresh = join(folder, `.${name}.${process.pid}`);
    writeFileSync(fresh, code, { mode: 0o600 });
    renameSync(fresh, join(folder, name));
  } catch {
    // A full disk, or no home directory.
  }
}
