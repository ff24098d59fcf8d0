/** `result.json` on disk. */
import { readFileSync } from "node:fs";
import { readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import type { BenchResult } from "./types.ts";

/** The schema of a result: made of `types.ts`, shipped and published; at the same place from `src/results` and `dist/results`. */
const schemaFile = new URL("../../results/schema.json", import.meta.url);

/** Name of the result within its directory. */
export const resultFile = "result.json";

let compiled: ValidateFunction | undefined;

function validator(): ValidateFunction {
  if (compiled === undefined) {
    const ajv = new Ajv2020({ allowUnionTypes: true });
    ajv.addVocabulary(["unit"]);
    compiled = ajv.compile(JSON.parse(readFileSync(schemaFile, "utf8")) as object);
  }
  return compiled;
}

/**
 * Writes a file that appears whole or not at all: on a full disk one of the same name stays as it was.
 * @throws the system's error: ENOSPC, EFBIG, EROFS, EACCES.
 */
export async function writeWhole(file: string, text: string): Promise<void> {
  const partial = `${file}.${process.pid}.partial`;
  try {
    await writeFile(partial, text);
    await rename(partial, file);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}

/**
 * Writes `result.json`, whole or not at all, into a directory that is there.
 * @returns the path of the file.
 */
export async function writeResult(directory: string, result: BenchResult): Promise<string> {
  const file = path.join(directory, resultFile);
  await writeWhole(file, `${JSON.stringify(result, null, 1)}\n`);
  return file;
}

/**
 * Reads a result from its file, or from the directory that it is in.
 * @throws Error in one line where there is none, or it does not fit the schema.
 */
export async function readResult(place: string): Promise<BenchResult> {
  let file = place;
  let text: string;
  try {
    if ((await stat(place)).isDirectory()) file = path.join(place, resultFile);
    text = await readFile(file, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Error(`${file}: ${code === "ENOENT" ? "no such file" : `cannot be read (${code ?? "unknown"})`}`, { cause: error });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`${file}: not JSON`, { cause: error });
  }
  return checkResult(value, file);
}

/** @throws Error in one line, beginning with `name`, where the value is no result of this version. */
export function checkResult(value: unknown, name: string): BenchResult {
  const { kind, schemaVersion } = (typeof value === "object" && value !== null ? value : {}) as Partial<Record<string, unknown>>;
  if (kind !== "fakeai.bench") throw new Error(`${name}: not a result of fakeai bench`);
  if (schemaVersion !== 1) throw new Error(`${name}: schema version ${JSON.stringify(schemaVersion)}, and this fakeai reads version 1`);
  const validate = validator();
  if (!validate(value)) {
    const [error] = validate.errors ?? [];
    throw new Error(`${name}: ${error?.instancePath === "" ? "the result" : (error?.instancePath ?? "")} ${error?.message ?? "is wrong"}`);
  }
  return value as BenchResult;
}
