import { existsSync, mkdtempSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { makeDirectory, removeDirectories } from "../../src/base/directory.ts";

const folder = mkdtempSync(join(tmpdir(), "fakeai-directory-"));

test("makes what is missing, says what that was, and removes it again", () => {
  const deep = join(folder, "a", "b");
  const made = makeDirectory(deep);
  expect(made).toEqual([join(folder, "a"), deep]);
  expect(statSync(deep).isDirectory()).toBe(true);
  expect(makeDirectory(deep)).toEqual([]);
  writeFileSync(join(folder, "a", "kept"), "");
  removeDirectories(made);
  expect(existsSync(deep)).toBe(false);
  expect(existsSync(join(folder, "a", "kept"))).toBe(true);
});

test("a file in the way is an error", () => {
  const file = join(folder, "file");
  writeFileSync(file, "");
  expect(() => makeDirectory(file)).toThrow(/ENOTDIR/);
  expect(() => makeDirectory(join(file, "x"))).toThrow(/ENOTDIR/);
});

test.runIf(existsSync("/proc/self"))("a place where no directory can be made is an error, and soon", () => {
  expect(() => makeDirectory("/proc/x")).toThrow(/ENOENT|EPERM|EACCES/);
  expect(() => makeDirectory("/proc/x/y/z")).toThrow(/ENOENT|EPERM|EACCES/);
});
