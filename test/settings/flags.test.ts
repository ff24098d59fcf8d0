/** What follows from a row of a flag table. */
import { expect, test } from "vitest";
import { environmentName, type Flag, flagGroups, flagHelp, flagName, flagTable, flagTables, keyName } from "../../src/settings/flags.ts";

const rows: readonly Flag[] = [
  { key: "maxHead", kind: "text", takes: "bytes", default: "16kb", help: "largest head", group: "Limits" },
  { key: "apiKey", kind: "list", takes: "key|file", otherwise: "any key or none", help: "a key to let in", group: "Access" },
  { key: "stamps", kind: "boolean", default: false, help: "adds times", group: "Limits" },
];

test("names go both ways", () => {
  expect(flagName("maxConcurrentStreams")).toBe("max-concurrent-streams");
  expect(keyName("max-concurrent-streams")).toBe("maxConcurrentStreams");
  expect(environmentName("max-concurrent-streams")).toBe("FAKEAI_MAX_CONCURRENT_STREAMS");
});

test("the help ends in the default", () => {
  expect(rows.map(flagHelp)).toEqual(["largest head (default 16kb)", "a key to let in (default: any key or none)", "adds times"]);
});

test("groups keep the order of the table", () => {
  expect([...flagGroups(rows)].map(([group, flags]) => [group, flags.map(({ key }) => key)])).toEqual([
    ["Limits", ["maxHead", "stamps"]],
    ["Access", ["apiKey"]],
  ]);
});

test("as Markdown", () => {
  expect(flagTables(rows, 2)).toBe(`## Limits

| flag | default | what it does |
| --- | --- | --- |
| \`--max-head <bytes>\` | \`16kb\` | largest head |
| \`--stamps\` |  | adds times |

## Access

| flag | default | what it does |
| --- | --- | --- |
| \`--api-key <key\\|file>\` | any key or none | a key to let in |`);
  expect(flagTable([])).toBe("| flag | default | what it does |\n| --- | --- | --- |");
});
