/**
 * Rows of a text file, each with the line that it begins on: CSV (RFC 4180), lines of JSON, or one JSON array. UTF-8, and
 * UTF-16 with a byte order mark. The content tells which it is.
 */
import { readFileSync } from "node:fs";

/** The file cannot be read as what it should be; the message is one line. */
export class RecordError extends Error {}

/** One row: the members of a JSON object, or the texts of a CSV row by the header's names. */
export interface Row {
  /** The line of the file on which it begins, from 1. */
  readonly line: number;
  readonly values: Readonly<Record<string, unknown>>;
}

export interface Table {
  readonly form: "csv" | "json";
  /** Names of a CSV's header; empty for JSON. */
  readonly columns: readonly string[];
  /** In the order of the file. Throws RecordError at a row that cannot be read. */
  readonly rows: Iterable<Row>;
}

const newline = 10;
const carriageReturn = 13;
const quote = 34;
const backslash = 92;

/** Reads a file. `what` is how messages call it: "the trace". Throws RecordError, which names the file. */
export function readBytes(path: string, what: string): Buffer {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new RecordError(`cannot read ${what} ${path} (${(error as NodeJS.ErrnoException).code ?? "unreadable"})`);
  }
  const [first, second] = bytes;
  if (first === 0x1f && second === 0x8b) throw new RecordError(`${path} is gzip: unpack it first (gunzip)`);
  if (first === 0xff && second === 0xfe) return Buffer.from(new TextDecoder("utf-16le").decode(bytes));
  if (first === 0xfe && second === 0xff) return Buffer.from(new TextDecoder("utf-16be").decode(bytes));
  return first === 0xef && second === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes;
}

/** The rows of a file's bytes, which are UTF-8. Throws RecordError, whose message begins with `path`. */
export function tableOf(bytes: Buffer, path: string): Table {
  const start = skipBlank(bytes, 0);
  const opening = String.fromCharCode(bytes[start] ?? 0);
  if (opening === "[") return { form: "json", columns: [], rows: arrayRows(bytes, start, path) };
  if (opening === "{") return { form: "json", columns: [], rows: wholeRow(bytes, start, path) ?? lineRows(bytes, path) };
  return csvTable(textOf(bytes, path, 1), path);
}

/** Throws where the bytes are not UTF-8, or more than a string can hold. */
function textOf(bytes: Buffer, path: string, line: number): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    const isEncoding = (error as NodeJS.ErrnoException).code === "ERR_ENCODING_INVALID_ENCODED_DATA";
    throw new RecordError(`${path}, line ${line}: ${isEncoding ? "not UTF-8 text" : "too long to read: cut the file into parts"}`);
  }
}

function isBlank(byte: number | undefined): boolean {
  return byte === 32 || byte === 9 || byte === newline || byte === carriageReturn;
}

function skipBlank(bytes: Buffer, from: number): number {
  let at = from;
  while (at < bytes.length && isBlank(bytes[at])) at++;
  return at;
}

function objectOf(bytes: Buffer, path: string, line: number): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(textOf(bytes, path, line));
  } catch (error) {
    if (error instanceof RecordError) throw error;
    throw new RecordError(`${path}, line ${line}: not JSON`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new RecordError(`${path}, line ${line}: not a JSON object`);
  return value as Readonly<Record<string, unknown>>;
}

/** The one object that a file is, over several lines; null: it is not, and each line is one. */
function wholeRow(bytes: Buffer, start: number, path: string): Row[] | null {
  const found = bytes.indexOf(newline, start);
  // A line that ends as it began is an object by itself.
  const isLine = found < 0 || bytes.subarray(start, found).toString("latin1").trimEnd().endsWith("}");
  if (isLine) return null;
  const line = 1 + bytes.subarray(0, start).filter((byte) => byte === newline).length;
  return [{ line, values: objectOf(bytes, path, line) }];
}

/** One JSON object a line; blank lines are passed over. */
function* lineRows(bytes: Buffer, path: string): Generator<Row> {
  let line = 0;
  for (let start = 0; start < bytes.length;) {
    const found = bytes.indexOf(newline, start);
    const end = found < 0 ? bytes.length : found;
    line++;
    const from = skipBlank(bytes, start);
    if (from < end) yield { line, values: objectOf(bytes.subarray(from, end), path, line) };
    start = end + 1;
  }
}

/**
 * The elements of an array, one after the other: published sets are larger than the longest string of the engine. Brackets
 * outside of strings show where an element ends; JSON.parse judges the element.
 */
function* arrayRows(bytes: Buffer, start: number, path: string): Generator<Row> {
  let line = 1;
  let at = 0;
  /** To the next byte that is no blank; counts lines. */
  const advance = (to: number): void => {
    for (; at < to; at++) if (bytes[at] === newline) line++;
  };
  const fail = (what: string): never => {
    throw new RecordError(`${path}, line ${line}: ${what}`);
  };
  advance(skipBlank(bytes, start + 1));
  if (bytes[at] === 0x5d) advance(at + 1);
  else
    for (;;) {
      const end = elementEnd(bytes, at);
      if (end === at) fail("a value is missing");
      yield { line, values: objectOf(bytes.subarray(at, end), path, line) };
      advance(skipBlank(bytes, end));
      const mark = bytes[at];
      if (mark !== 0x2c && mark !== 0x5d) fail("the JSON array does not end");
      advance(skipBlank(bytes, at + 1));
      if (mark === 0x5d) break;
    }
  if (skipBlank(bytes, at) < bytes.length) fail("something follows the JSON array");
}

/** Where the element of an array that begins at `start` ends: at a comma or bracket of the array itself. */
function elementEnd(bytes: Buffer, start: number): number {
  let depth = 0;
  let isString = false;
  for (let at = start; at < bytes.length; at++) {
    const byte = bytes[at]!;
    if (isString) {
      if (byte === backslash) at++;
      else if (byte === quote) isString = false;
    } else if (byte === quote) isString = true;
    else if (byte === 0x7b || byte === 0x5b) depth++;
    else if ((byte === 0x7d || byte === 0x5d) && depth > 0) depth--;
    else if (depth === 0 && (byte === 0x2c || byte === 0x5d)) return at;
  }
  return bytes.length;
}

/** Marks that stand between cells, the usual one first. */
const separators = [",", ";", "\t", "|"] as const;

/** A CSV with a header. The separator is the one that cuts the header into the most cells. */
function csvTable(text: string, path: string): Table {
  const headers = separators.map((separator) => ({ separator, header: [...csvRows(text, separator, path, 1)][0] }));
  const best = headers.reduce((most, one) => ((one.header?.cells.length ?? 0) > (most.header?.cells.length ?? 0) ? one : most));
  const columns = best.header?.cells.map((cell) => cell.trim()) ?? [];
  return { form: "csv", columns, rows: namedRows(text, best.separator, columns, path) };
}

function* namedRows(text: string, separator: string, columns: readonly string[], path: string): Generator<Row> {
  let isHeader = true;
  for (const { line, cells } of csvRows(text, separator, path)) {
    if (!isHeader && cells.length > columns.length)
      throw new RecordError(`${path}, line ${line}: ${cells.length} cells, where the header has ${columns.length}`);
    if (!isHeader) yield { line, values: Object.fromEntries(columns.slice(0, cells.length).map((name, i) => [name, cells[i]!])) };
    isHeader = false;
  }
}

/**
 * Rows of RFC 4180: a cell may stand in quotes and then hold separators, line ends and doubled quotes. Beyond it, blank lines
 * are passed over, and a line may end with LF or CR alone. `most`: read so many rows.
 */
export function* csvRows(
  text: string,
  separator: string,
  path: string,
  most: number = Infinity,
): Generator<{ readonly line: number; readonly cells: readonly string[] }> {
  let line = 1;
  let at = 0;
  let made = 0;
  while (at < text.length && made < most) {
    const first = line;
    const cells: string[] = [];
    for (;;) {
      const cell = cellAt(text, at, separator);
      if (cell.fault !== null) throw new RecordError(`${path}, line ${line}: ${cell.fault}`);
      cells.push(cell.value);
      line += cell.lines;
      at = cell.end;
      if (text[at] !== separator) break;
      at++;
    }
    at += text.startsWith("\r\n", at) ? 2 : 1;
    line++;
    if (cells.length === 1 && cells[0]!.trim() === "") continue;
    made++;
    yield { line: first, cells };
  }
}

interface Cell {
  readonly value: string;
  /** Where the mark behind it stands: a separator, a line end, or the end of the text. */
  readonly end: number;
  /** Line ends inside it. */
  readonly lines: number;
  readonly fault: string | null;
}

function cellAt(text: string, start: number, separator: string): Cell {
  const plainEnd = (from: number): number => {
    let end = from;
    while (end < text.length && text[end] !== separator && text[end] !== "\n" && text[end] !== "\r") end++;
    return end;
  };
  if (text[start] !== '"') {
    const end = plainEnd(start);
    return { value: text.slice(start, end), end, lines: 0, fault: null };
  }
  const parts: string[] = [];
  let from = start + 1;
  for (;;) {
    const close = text.indexOf('"', from);
    if (close < 0) return { value: "", end: text.length, lines: 0, fault: "a quote is not closed" };
    parts.push(text.slice(from, close));
    from = close + 1;
    if (text[from] !== '"') break;
    from++;
  }
  const value = parts.join('"');
  const end = plainEnd(from);
  const fault = text.slice(from, end).trim() === "" ? null : "text follows a closing quote";
  return { value, end, lines: value.split(/\r\n|\n|\r/).length - 1, fault };
}
