/** The certificate on the screen and on its page. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import axe from "axe-core";
import { describe, expect, it } from "vitest";
import { renderGatewayEnding } from "../../../src/report/gateways/ending.ts";
import { renderGatewayPage } from "../../../src/report/gateways/page.ts";
import { openBrowser } from "../../support/browser.ts";
import { hasChromium } from "../../support/chromium.ts";
import { sampleGatewayResult } from "../../support/sample-gateway.ts";

const hostile = "<script>x</script>\u001B[2J\u202Eend";

describe("the ending", () => {
  it.each([40, 80, 120])("fits a screen of %i columns, with the faults first", (width) => {
    const lines = renderGatewayEnding(sampleGatewayResult(hostile), { color: false, width }).trimEnd().split("\n");
    expect(lines.length).toBeLessThanOrEqual(23);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(width);
    expect(lines[0]!.slice(0, 37)).toBe("2 faults in 1 of 3 gateways and proto".slice(0, 37));
    expect(lines[1]).toMatch(/^ {2}fault {2}haproxy:buffering-h2c, /);
    for (const character of ["\u001B", "\u202E"]) expect(lines.join("\n")).not.toContain(character);
  });

  it("says what is not known, and where it ended early", () => {
    const sample = sampleGatewayResult();
    const cut = { ...sample, complete: false, certificates: sample.certificates.map((one) => Object.assign(one, { levels: [] })) };
    const text = renderGatewayEnding(cut, { color: false, width: 120 });
    expect(text).toMatch(/^Not complete/);
    expect(text).toMatch(/no rate was offered/);
    expect(text).not.toMatch(/NaN|undefined|null|client at most/);
  });
});

describe("the page", () => {
  it("escapes what a gateway wrote, runs no script, and has every check and level", () => {
    const page = renderGatewayPage(sampleGatewayResult(hostile));
    expect(page).not.toMatch(/<script|NaN|undefined/);
    expect(page).not.toContain("\u001B");
    expect(page).toContain("&#60;script&#62;");
    expect(page.match(/class="badge violated"/g)).toHaveLength(4);
    expect(page).toContain("not at 278.4 requests/s: served 80%");
    expect(page).toContain("listen 127.0.0.1:9000;");
  });

  it.skipIf(!hasChromium)(
    "passes axe at the levels A and AA, wide and light, narrow and dark",
    async () => {
      const directory = await mkdtemp(path.join(os.tmpdir(), "fakeai-gateway-page-"));
      const file = path.join(directory, "gateway.html");
      await writeFile(file, renderGatewayPage(sampleGatewayResult()));
      const browser = await openBrowser();
      try {
        for (const { width, scheme } of [
          { width: 1280, scheme: "light" },
          { width: 390, scheme: "dark" },
        ] as const) {
          await browser.view({ width, height: 900, scheme });
          await browser.open(pathToFileURL(file).href);
          await browser.evaluate(axe.source);
          const found = await browser.evaluate<string[]>(
            `axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] }).then(({ violations }) => violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => id + ": " + html.slice(0, 120))))`,
          );
          expect(found).toEqual([]);
          expect(await browser.evaluate<number>("document.documentElement.scrollWidth")).toBeLessThanOrEqual(width);
        }
      } finally {
        await browser.close();
        await rm(directory, { recursive: true, force: true });
      }
    },
    60_000,
  );
});
