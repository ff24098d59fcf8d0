/**
 * A program in one file, with the code that V8 compiled for it at an earlier start. Finding, reading and compiling 150 modules
 * takes most of the time until a server answers, and of the memory that it then holds.
 */
import { chmodSync, lstatSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Script } from "node:vm";
import { cacheDirectory, makeDirectory } from "./directory.ts";
import { beginSmall } from "./young-generation.ts";

/** Of the bundle, made by build.mjs: one expression, a function that gets what it calls. There is none where the sources run. */
const file = fileURLToPath(new URL("../bundle.cjs", import.meta.url));

/** How much the kept code covers; the later one is read where there are both. */
type Stage = "started" | "ended";

export interface Bundle<Program> {
  readonly program: Program;
  /**
   * Keeps the code that is compiled by now for the next start, unless this one had it. "started": what a start needs, should the
   * process be killed. "ended": what was needed since, too; it sets V8's flags back to those of the start.
   */
  readonly keep: (stage: Stage) => void;
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
    name = `${stemOf(role)}-${size.toString(36)}-${Math.round(mtimeMs).toString(36)}`;
  } catch {
    return null;
  }
  const kept = readKept(name);
  const cachedData = kept?.code;
  const script = new Script(source, {
    filename: file,
    ...(cachedData !== undefined && { cachedData }),
  });
  const module = { exports: {} as Program };
  const run = script.runInThisContext() as (...parts: readonly unknown[]) => void;
  run(module.exports, createRequire(file), module, join(file, ".."), (specifier: string) => import(specifier));
  const had = script.cachedDataRejected === true ? undefined : kept?.stage;
  const saveCode = (stage: Stage): void => {
    if (had === stage || had === "ended") return;
    // V8 takes code only under the flags that it was made under.
    beginSmall();
    keep(stemOf(role), `${name}-${stage}`, script.createCachedData());
  };
  return { program: module.exports, keep: saveCode };
}

/** Each place where this program is installed, and each version of Node, keeps code of its own. */
function stemOf(role: string): string {
  let place = 0;
  for (let at = 0; at < file.length; at++) place = (Math.imul(place, 31) + file.charCodeAt(at)) >>> 0;
  return `${role}-${process.version}-${process.arch}-${place.toString(36)}`;
}

/** Code is trusted as a program is: another user may not have written it. */
function readKept(name: string): { readonly code: Buffer; readonly stage: Stage } | null {
  for (const stage of ["ended", "started"] as const) {
    try {
      const folder = join(cacheDirectory(), "code");
      const path = join(folder, `${name}-${stage}`);
      const isOurs = [folder, path].every((one) => {
        const { uid, mode } = lstatSync(one);
        return process.getuid === undefined || (uid === process.getuid() && (mode & 0o022) === 0);
      });
      if (isOurs) return { code: readFileSync(path), stage };
    } catch {
      // There is none.
    }
  }
  return null;
}

/** Writes it whole or not at all; where it cannot be kept the next start compiles again. */
function keep(stem: string, name: string, code: Buffer): void {
  try {
    const folder = join(cacheDirectory(), "code");
    // Code that others could write is not read.
    if (makeDirectory(folder).length > 0) chmodSync(folder, 0o700);
    // Of the build that was here before, and of less of this one.
    for (const other of readdirSync(folder)) if (other.startsWith(`${stem}-`)) rmSync(join(folder, other), { force: true });
    const fresh = join(folder, `.${name}.${process.pid}`);
    writeFileSync(fresh, code, { mode: 0o600 });
    renameSync(fresh, join(folder, name));
  } catch {
    // A full disk, or no home directory.
  }
}
