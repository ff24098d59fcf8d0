/** The table of open files grows before it is full, and not in the thread that opens them. */
import { closeSync, openSync, readFileSync } from "node:fs";
import { devNull } from "node:os";
import { expect, onTestFinished, test } from "vitest";
import { FileTable } from "../../src/base/file-table.ts";
import { openFileLimit, openFiles } from "../../src/base/proc.ts";
import { eventually, sleep } from "../support/wait.ts";

const places = (): number => Number(/^FDSize:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "latin1"))?.[1] ?? 0);
const limit = openFileLimit() ?? Infinity;
const canGrow = process.platform === "linux" && places() > 0 && limit > 4 * places();

test.runIf(canGrow)("a table that is nearly full is doubled, and nothing stays open", async () => {
  const size = places();
  const table = new FileTable(limit);
  table.note(size - 65);
  await sleep(50);
  expect(places()).toBe(size);
  const files: number[] = [];
  onTestFinished(() => {
    for (const file of files) closeSync(file);
  });
  while (openFiles()! < size - 40) files.push(openSync(devNull, "r"));
  const open = openFiles()!;
  // The pool may have no core at first: each further connection tries anew.
  await eventually(async () => {
    table.note(open);
    await sleep(20);
    return places() === 2 * size;
  }, "the table is doubled");
  await eventually(() => openFiles() === open, "what was opened for it is closed");
});

test("within the limit of open files there is nothing to grow", () => {
  const table = new FileTable(16);
  const open = openFiles();
  table.note(1_000_000);
  expect(openFiles()).toBe(open);
});
