/** Chromium without a window, for tests of what people see and of what pages may do. In CI it has to be there. */
import { existsSync } from "node:fs";

const found = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((file) => existsSync(file));
const isNeeded = process.env["CI"] === "true";
if (found === undefined && !isNeeded) console.warn("chromium is missing: tests in a browser are left out (apt install chromium)");

export const hasChromium: boolean = found !== undefined || isNeeded;
export const chromium: string = found ?? "chromium";

/** Flags of a browser that keeps to itself. `profile` is a directory of its own. */
export function chromiumFlags(profile: string): string[] {
  return [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    `--user-data-dir=${profile}`,
  ];
}
