/** Files of bytes in test/golden. `UPDATE_GOLDEN=1` writes them anew; what then differs is a change of the wire, to be read like code. */
import { readFileSync, writeFileSync } from "node:fs";

const folder = new URL("../golden/", import.meta.url);

/** What the file `name`.http holds, after `bytes` were written to it where that is asked for. */
export function golden(name: string, bytes: string): string {
  const file = new URL(`${name}.http`, folder);
  if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(file, bytes);
  return readFileSync(file, "utf8");
}
