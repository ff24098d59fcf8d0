/** How a bench says how far it is, on a terminal and in a log. */
import { describe, expect, test } from "vitest";
import { Progress } from "../../src/cli/progress.ts";

describe("progress", () => {
  const into = (isTTY: boolean): { lines: string[]; progress: Progress } => {
    const lines: string[] = [];
    return { lines, progress: new Progress({ isTTY, columns: 20, write: (text: string) => lines.push(text) }) };
  };

  test("a terminal gets one line that is rewritten and cut to its width", () => {
    const { lines, progress } = into(true);
    progress.update("something that is far too long");
    progress.notice("said");
    expect(lines).toEqual(["\r\x1b[K[  0 s] something t", "\r\x1b[K", "fakeai: said\n"]);
  });

  test("a log gets few lines", () => {
    const { lines, progress } = into(false);
    for (let i = 0; i < 1000; i++) progress.update(`step ${i}`);
    progress.end();
    expect(lines).toEqual(["[  0 s] step 0\n"]);
  });
});
