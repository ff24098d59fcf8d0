/** `audit.html` and `audit.json`: what they hold, that nothing foreign is markup in them, and that people can read the page. */
import { gunzipSync } from "node:zlib";
import { readFileSync, writeFileSync } from "node:fs";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Ajv2020 } from "ajv/dist/2020.js";
import axe from "axe-core";
import { expect, test } from "vitest";
import { type PlayedRung } from "../../src/audit/judge.ts";
import { lineOf } from "../../src/audit/line.ts";
import { renderAuditPage } from "../../src/audit/page.ts";
import { rejudge } from "../../src/audit/run.ts";
import type { Audit } from "../../src/audit/types.ts";
import { openBrowser } from "../support/browser.ts";
import { hasChromium } from "../support/chromium.ts";
import { type Schema, schemaText } from "../support/schema-from-types.ts";
import { root } from "../support/process.ts";

const recorded = JSON.parse(gunzipSync(readFileSync(`${root}test/audit/fixtures/clients.json.gz`)).toString()) as Record<
  string,
  PlayedRung[]
>;
const judged = rejudge([...recorded["holds-chunks"]!, ...recorded["averages"]!]);
const audit: Audit = {
  version: 1,
  fakeai: "0.1.0",
  startedAt: "2026-11-29T18:00:00.000Z",
  durationS: 12.3,
  command: ["node", "client.mjs", "{base}"],
  tool: "client.mjs",
  toolVersion: null,
  documentation: "test/audit/clients/client.mjs",
  definitions: ["ttft is what it says"],
  protocol: "h1",
  repeats: 3,
  budgetS: 120,
  leftOut: ["cuts"],
  loadAverage: [1, 2],
  environment: "2 cores",
  ...judged,
  line: lineOf({ tool: "client.mjs", toolVersion: null, ...judged }),
};

const published = JSON.parse(readFileSync(`${root}results/audits/schema.json`, "utf8")) as Schema;
const ajv = new Ajv2020({ allowUnionTypes: true });
ajv.addVocabulary(["unit"]);

test("the schema is made of the types (npm run generate writes it anew)", async () => {
  await expect(schemaText("src/audit/types.ts", "Audit", true)).toMatchFileSnapshot("../../results/audits/schema.json");
}, 120_000);

test("an audit fits the schema, and what is none does not", () => {
  const validate = ajv.compile(published);
  expect(validate(JSON.parse(JSON.stringify(audit))) ? null : validate.errors).toBeNull();
  for (const wrong of [{ version: 2 }, { rungs: "none" }, { protocol: 1 }, { another: 1 }, { repeats: -1 }])
    expect(validate({ ...audit, ...wrong })).toBe(false);
});

test("every member of the schema says what it is, and every number its unit", () => {
  const wanting: string[] = [];
  const visit = (value: unknown, name: string): void => {
    if (typeof value !== "object" || value === null) return;
    const { type, unit, properties } = value as Schema;
    if (/number|integer/.test(JSON.stringify(type ?? null)) && !("const" in value) && unit === undefined) wanting.push(`${name}: unit`);
    for (const [member, part] of Object.entries((properties ?? {}) as Schema))
      if (typeof (part as Schema)["description"] !== "string") wanting.push(`${name}.${member}: description`);
    for (const [key, part] of Object.entries(value)) visit(part, `${name}.${key}`);
  };
  visit(published, "audit");
  expect(wanting).toEqual([]);
});

test("the page has the line, every figure, every rung, and no script", () => {
  const page = renderAuditPage(audit);
  expect(page).not.toMatch(/<script/i);
  expect(page).toContain("holds a chunk until its end is certain");
  expect(page).toContain('id="rung-constant"');
  expect(page).toContain("Left out to fit the budget: cuts.");
  expect(page.length).toBeLessThan(200_000);
});

test("what is biased stands first, with its bias on a rung where it is so", () => {
  const page = renderAuditPage(audit);
  const table = page.slice(page.indexOf("farthest off"), page.indexOf("Not reported"));
  const verdicts = [...table.matchAll(/class="badge \w+">([\w ]+)</g)].map((match) => match[1]);
  expect(verdicts.indexOf("right")).toBeGreaterThan(verdicts.lastIndexOf("biased"));
  for (const { quantity, statistic, verdict, name } of audit.figures.filter((figure) => figure.verdict === "right")) {
    const row = table.slice(table.indexOf(`<small>${name!}</small>`));
    const rung = /<small>(constant|jittered)<\/small>/.exec(row)?.[1];
    const own = audit.rungs.find((one) => one.name === rung)!.figures;
    expect(own.find((one) => one.quantity === quantity && one.statistic === statistic)?.verdict).toBe(verdict);
  }
});

test("nothing that came from a command or its report is markup", () => {
  const hostile = '"><img src=x onerror=alert(1)>&\u001B[2J';
  const copy = JSON.parse(JSON.stringify(audit)) as Audit;
  const spoil = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return;
    for (const [key, part] of Object.entries(value)) {
      const isFixed = ["verdict", "quantity", "statistic", "unit", "shape", "startedAt"].includes(key);
      if (typeof part === "string" && !isFixed) (value as Record<string, unknown>)[key] = hostile;
      else spoil(part);
    }
  };
  spoil(copy);
  const page = renderAuditPage(copy);
  expect(page).not.toContain("<img");
  // oxlint-disable-next-line no-control-regex
  expect(page).not.toMatch(/[\u0000-\u0008\u000B-\u001F]/);
});

test.runIf(hasChromium)(
  "in a browser: it passes axe at the levels A and AA, light and dark, wide and narrow, and is no wider than the screen",
  async () => {
    const file = join(mkdtempSync(join(tmpdir(), "fakeai-audit-page-")), "audit.html");
    writeFileSync(file, renderAuditPage(audit).replaceAll("<details>", "<details open>"));
    const browser = await openBrowser();
    try {
      await browser.open(pathToFileURL(file).href);
      await browser.evaluate(axe.source);
      for (const [width, scheme] of [
        [1200, "light"],
        [390, "dark"],
        [390, "light"],
      ] as const) {
        await browser.view({ width, height: 900, scheme });
        const found = await browser.evaluate<string[]>(
          `axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], resultTypes: ["violations"] }).then(({ violations }) => violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => id + ": " + html.slice(0, 120) + " " + failureSummary)))`,
        );
        expect(found).toEqual([]);
        expect(await browser.evaluate<number>("document.documentElement.scrollWidth - innerWidth")).toBeLessThanOrEqual(0);
      }
    } finally {
      await browser.close();
    }
  },
  60_000,
);
