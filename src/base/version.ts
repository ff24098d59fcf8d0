/** Which version of fakeai this is. */
import { readFileSync } from "node:fs";

/** The version of our package. */
export function ownVersion(): string {
  return (JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string }).version;
}
