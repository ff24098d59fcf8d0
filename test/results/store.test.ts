/** The store: what is written is read again, and what cannot be read is said in one line. */
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { checkResult, readResult, writeResult } from "../../src/results/store.ts";
import { sampleResult } from "../support/sample-result.ts";

const sample = sampleResult();

describe("the store", () => {
  const directories: string[] = [];
  const fresh = async (): Promise<string> => {
    const directory = await mkdtemp(path.join(os.tmpdir(), "fakeai-results-"));
    directories.push(directory);
    return directory;
  };
  afterAll(async () => {
    for (const directory of directories) await rm(directory, { recursive: true });
  });

  it("reads what it wrote, from the directory or the file, and leaves nothing else", async () => {
    const directory = await fresh();
    const file = await writeResult(directory, sample);
    expect(await readResult(directory)).toEqual(sample);
    expect(await readResult(file)).toEqual(sample);
    expect(await readdir(directory)).toEqual(["result.json"]);
  });

  it("says in one line what is wrong with a file", async () => {
    const directory = await fresh();
    const file = path.join(directory, "x.json");
    await expect(readResult(file)).rejects.toThrow(`${file}: no such file`);
    await expect(readResult(directory)).rejects.toThrow("result.json: no such file");
    await writeFile(file, "{");
    await expect(readResult(file)).rejects.toThrow(`${file}: not JSON`);
    await writeFile(file, "[1]");
    await expect(readResult(file)).rejects.toThrow("not a result of fakeai bench");
    await writeFile(file, JSON.stringify({ ...sample, schemaVersion: 2 }));
    await expect(readResult(file)).rejects.toThrow("schema version 2, and this fakeai reads version 1");
    await writeFile(file, JSON.stringify({ ...sample, scenarios: [{ ...sample.scenarios[0], arms: "none" }] }));
    await expect(readResult(file)).rejects.toThrow("/scenarios/0/arms must be array");
    expect(() => checkResult(null, "it")).toThrow("it: not a result");
    // A later version's field is no error.
    expect(checkResult({ ...sample, later: 1 }, "it")).toHaveProperty("later");
  });
});

it.each(["experiments", "clients", "azure-2023-conversation"])(
  "reads what results/%s publishes, and no path of a machine in it",
  async (name) => {
    const directory = path.join(import.meta.dirname, "..", "..", "results", name);
    const files = (await readdir(directory)).filter((file) => file.endsWith(".json"));
    const read = await Promise.all(files.map(async (file) => readResult(path.join(directory, file))));
    expect(read.length).toBeGreaterThan(0);
    expect(read.filter(({ scenarios }) => scenarios.length === 0)).toEqual([]);
    expect(JSON.stringify(read).match(/"[^"]*\/(?:tmp|home|root|work)\/[^"]*"/gu)).toBeNull();
  },
);
