/** Reads a tape and checks it: what is wrong is told with its line and member. */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { ErrorObject, ValidateFunction } from "ajv/dist/2020.js";
import { UsageError } from "../base/usage-error.ts";
import { type TapeCall, tapeFile, type TapeHead, tapeVersion } from "./form.ts";

/** A tape that was read. */
export interface Tape {
  readonly head: TapeHead;
  readonly calls: readonly TapeCall[];
  /** The file, for messages. */
  readonly file: string;
}

/** A tape is held in memory while it is replayed. */
const mostBytes = 1_073_741_824;

interface Checks {
  readonly head: ValidateFunction;
  readonly call: ValidateFunction;
}

let checks: Checks | null = null;

async function loadChecks(): Promise<Checks> {
  const { Ajv2020 } = await import("ajv/dist/2020.js");
  const schema = JSON.parse(readFileSync(new URL("../../docs/tape.schema.json", import.meta.url), "utf8")) as object;
  const ajv = new Ajv2020({ allErrors: false, verbose: true }).addSchema(schema, "tape");
  return { head: ajv.compile({ $ref: "tape#/$defs/TapeHead" }), call: ajv.compile({ $ref: "tape#/$defs/TapeCall" }) };
}

/**
 * Reads the tape in a folder, or a file of this form.
 * @param flag how messages call what names it: "--replay".
 * Rejects with UsageError that names the line and the member of the first fault.
 */
export async function readTape(place: string, flag: string): Promise<Tape> {
  let file = place;
  let text: string;
  try {
    if (statSync(place).isDirectory()) file = join(place, tapeFile);
    const { size } = statSync(file);
    if (size > mostBytes) throw new UsageError(`${flag}: ${file} has ${size} bytes, and a tape may have ${mostBytes}`);
    text = readFileSync(file, "utf8");
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${flag}: cannot read ${file} (${(error as NodeJS.ErrnoException).code ?? "unreadable"})`);
  }
  const fail = (line: number, why: string): never => {
    throw new UsageError(`${file}:${line}: ${why}`);
  };
  checks ??= await loadChecks();
  let head: TapeHead | null = null;
  const calls: TapeCall[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    const number = index + 1;
    const value = valueOf(line, (why) => fail(number, why));
    if (head === null) {
      checkHead(value, checks.head, (why) => fail(number, why));
      head = value as TapeHead;
      continue;
    }
    if (!checks.call(value)) fail(number, faultOf(checks.call.errors![0]!));
    checkCall(value as TapeCall, (why) => fail(number, why));
    calls.push(value as TapeCall);
  }
  if (head === null) throw new UsageError(`${file}: is empty, and no tape (fakeai record --to <server> --out <folder> makes one)`);
  if (calls.length === 0) throw new UsageError(`${file}: holds no call`);
  return { head, calls: calls.sort((one, other) => one.call - other.call), file };
}

function valueOf(line: string, fail: (why: string) => never): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return fail("is not JSON; each line of a tape is a JSON object");
  }
}

function checkHead(value: unknown, check: ValidateFunction, fail: (why: string) => never): void {
  const version = (value as { readonly fakeaiTape?: unknown } | null)?.fakeaiTape;
  if (version === undefined) fail('fakeaiTape: is missing; the first line of a tape is {"fakeaiTape":1,...}');
  if (version !== tapeVersion) fail(`fakeaiTape: is ${JSON.stringify(version).slice(0, 20)}, and this fakeai reads ${tapeVersion}`);
  if (!check(value)) fail(faultOf(check.errors![0]!));
}

/** A fault by its member, as programs write it: response.pieces[3].us. */
function faultOf({ instancePath, keyword, params, message = "is wrong" }: ErrorObject): string {
  const path = instancePath
    .split("/")
    .slice(1)
    .map((part) => (/^\d+$/.test(part) ? `[${part}]` : `.${part.replaceAll("~1", "/").replaceAll("~0", "~")}`))
    .join("")
    .replace(/^\./, "");
  const more = params as {
    readonly missingProperty?: string;
    readonly additionalProperty?: string;
    readonly allowedValues?: readonly unknown[];
  };
  const inside = (name: string): string => (path === "" ? name : `${path}.${name}`);
  if (keyword === "required") return `${inside(more.missingProperty!)}: is missing`;
  if (keyword === "additionalProperties") return `${inside(more.additionalProperty!).slice(0, 120)}: there is no such member`;
  if (keyword === "enum") return `${path}: must be one of ${more.allowedValues!.join(", ")}`;
  return `${path === "" ? "the line" : path}: ${message}`;
}

/** Field names and values (RFC 9110, section 5) that can be sent again: no tape makes a head of another shape. */
const fieldName = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
const fieldValue = /^[\t\x20-\x7e\x80-\xff]*$/;

/** What no schema says. */
function checkCall({ request, response }: TapeCall, fail: (why: string) => never): void {
  for (const [part, headers] of [
    ["request", request.headers],
    ["response", response.headers],
  ] as const) {
    headers.forEach(([name, value], index) => {
      if (!fieldName.test(name!)) fail(`${part}.headers[${index}][0]: is no name of a header in lower case`);
      if (!fieldValue.test(value!)) fail(`${part}.headers[${index}][1]: is no value of a header`);
    });
  }
  if (!request.path.startsWith("/")) fail("request.path: must begin with /");
  let lastUs = 0;
  response.pieces.forEach((piece, index) => {
    const at = `response.pieces[${index}]`;
    if ((piece.text === undefined) === (piece.base64 === undefined)) fail(`${at}: must have either text or base64`);
    if (piece.base64 !== undefined && Buffer.from(piece.base64, "base64").toString("base64") !== piece.base64)
      fail(`${at}.base64: is not base64`);
    if (piece.us < lastUs) fail(`${at}.us: ${piece.us} is before ${lastUs}, the time of the piece before it`);
    lastUs = piece.us;
  });
  if (response.endUs < lastUs) fail(`response.endUs: ${response.endUs} is before ${lastUs}, the time of the last piece`);
  const body = request.body;
  if (body !== null && (body.text === undefined) === (body.base64 === undefined)) fail("request.body: must have either text or base64");
}
