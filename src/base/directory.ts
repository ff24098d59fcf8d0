/** Making directories, and where this program keeps what it may lose. */
import { mkdirSync, rmdirSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";

/**
 * Makes a directory and those above it, level by level. node's own recursive mkdir does not end where a level that it made is
 * missing all the same, as under /proc.
 * @returns the directories that were made, the uppermost first.
 * @throws the system's error: ENOTDIR where a file is in the way, EACCES, EROFS, ENOENT, ENOSPC.
 */
export function makeDirectory(path: string): string[] {
  const missing: string[] = [];
  let at = resolve(path);
  for (; !isDirectory(at); at = dirname(at)) missing.unshift(at);
  for (const [index, directory] of missing.entries()) {
    try {
      mkdirSync(directory);
    } catch (error) {
      // Another process may have been first.
      if ((error as NodeJS.ErrnoException).code === "EEXIST" && isDirectory(directory)) continue;
      removeDirectories(missing.slice(0, index));
      throw error;
    }
  }
  return missing;
}

/** Removes directories that `makeDirectory` has made, as far as they are empty. */
export function removeDirectories(made: readonly string[]): void {
  for (const directory of made.toReversed()) {
    try {
      rmdirSync(directory);
    } catch {
      return;
    }
  }
}

/** false: there is nothing. Throws where something else is in the way. */
function isDirectory(path: string): boolean {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return false;
  if (stats.isDirectory()) return true;
  throw Object.assign(new Error(`ENOTDIR: ${path} is no directory`), { code: "ENOTDIR" });
}

/** Where this user's programs keep what can be made again. Throws where there is no home. */
export function cacheDirectory(): string {
  if (process.env["XDG_CACHE_HOME"]) return join(process.env["XDG_CACHE_HOME"], "fakeai");
  if (process.platform === "darwin") return join(homedir(), "Library", "Caches", "fakeai");
  if (process.platform === "win32" && process.env["LOCALAPPDATA"]) return join(process.env["LOCALAPPDATA"], "fakeai", "Cache");
  return join(homedir(), ".cache", "fakeai");
}
