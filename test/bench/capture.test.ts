/** Packets as tcpdump prints them, from a command of that name that prints what a test needs. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { capture } from "../../bench/replay/capture.ts";

/** Has `tcpdump` print a packet, and at its end, a moment after it has gone, how many it missed. */
function plant(missed: number): void {
  const folder = mkdtempSync(join(tmpdir(), "fakeai-tcpdump-"));
  const file = join(folder, "tcpdump");
  const ending = `(sleep 0.2; echo "${missed} packets dropped by kernel" >&2) & exit 0`;
  writeFileSync(
    file,
    `#!/bin/sh
trap '${ending}' INT
echo "listening on lo" >&2
echo "1.5 IP 127.0.0.1.8000 > 127.0.0.1.4000: Flags [P.], seq 1:9, ack 1, win 512, length 8"
while :; do sleep 0.05; done
`,
  );
  chmodSync(file, 0o755);
  const path = process.env["PATH"]!;
  process.env["PATH"] = `${folder}${delimiter}${path}`;
  onTestFinished(() => {
    process.env["PATH"] = path;
    rmSync(folder, { recursive: true });
  });
}

test("a capture has what was printed", async () => {
  plant(0);
  expect(await (await capture(8000)).stop()).toEqual([{ atS: 1.5, from: 8000, to: 4000, bytes: 8 }]);
});

test("a capture that missed packets is none", async () => {
  plant(3);
  await expect((await capture(8000)).stop()).rejects.toThrow("tcpdump missed 3 packets");
});
