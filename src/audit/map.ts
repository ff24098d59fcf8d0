/** `--map file.yaml`: where the figures of any other tool stand in its JSON, CSV or text. */
import { readFileSync } from "node:fs";
import { RE2JS } from "re2js";
import { parse } from "yaml";
import { didYouMean } from "../base/guess.ts";
import { UsageError } from "../base/usage-error.ts";
import { quantities } from "./quantities.ts";
import { at, isObject, type Json, notAsked, type Output, type Reader } from "./readers/reader.ts";
import { ascending, statisticOf } from "./samples.ts";
import { type Quantity, quantityNames, type Reported, type Statistic, statisticNames } from "./types.ts";

/** Units that a figure may be in, by ours. */
const scales: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000, ns: 1e-6, min: 60_000 };

interface Place {
  readonly quantity: Quantity;
  readonly statistic: Statistic;
  /** JSON: names from the root, "a.b.0" or "/a/b/0". */
  readonly at: string | null;
  /** CSV: a column of values, of which the statistic is taken; with `row`, of the one row. */
  readonly column: string | null;
  readonly row: Json | null;
  /** Text: a pattern of RE2 whose first group is the number. */
  readonly pattern: RE2JS | null;
  readonly scale: number;
  readonly name: string;
}

/** A map as it was read. */
export interface FigureMap {
  readonly tool: string;
  /** End of the path of the file; null: stdout. */
  readonly file: string | null;
  readonly places: readonly Place[];
  readonly asked: { readonly concurrency: string | null; readonly ratePerSecond: string | null };
}

/** Reads a map. Throws UsageError with the member that is wrong. */
export function readMap(path: string): FigureMap {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new UsageError(`--map: cannot read ${path} (${(error as NodeJS.ErrnoException).code ?? "unreadable"})`);
  }
  let value: unknown;
  try {
    value = parse(text);
  } catch (error) {
    throw new UsageError(`${path}: ${(error as Error).message.split("\n")[0]!}`);
  }
  return mapOf(value, path);
}

const members = ["tool", "file", "figures", "asked"] as const;
const placeMembers = ["at", "column", "row", "pattern", "unit", "name"] as const;

function mapOf(value: unknown, path: string): FigureMap {
  const fail = (where: string, why: string): never => {
    throw new UsageError(`${path}: ${where}: ${why}`);
  };
  if (!isObject(value)) return fail("map", 'wants members "file" and "figures" (docs/audit.md has an example)');
  for (const name of Object.keys(value))
    if (!(members as readonly string[]).includes(name)) fail(name, `there is no such member${guess(name, members)}`);
  const { tool, file, figures, asked } = value;
  if (!isObject(figures) || Object.keys(figures).length === 0) return fail("figures", 'wants at least one, such as "ttft.mean"');
  if (file !== undefined && typeof file !== "string") fail("file", "is the name of a file, or left out for stdout");
  const places = Object.entries(figures).map(([key, place]) => placeOf(key, place, (why) => fail(`figures.${key}`, why)));
  const text = (name: string): string | null => {
    const found = at(asked, name);
    return typeof found === "string" ? found : null;
  };
  return {
    tool: typeof tool === "string" ? tool : "mapped",
    file: typeof file === "string" && file !== "-" ? file : null,
    places,
    asked: { concurrency: text("concurrency"), ratePerSecond: text("rate") },
  };
}

function guess(name: string, names: readonly string[]): string {
  const meant = didYouMean(name, names);
  return meant === "" ? `; there are ${names.join(", ")}` : meant;
}

function placeOf(key: string, given: unknown, fail: (why: string) => never): Place {
  const [quantity = "", statistic = "total"] = key.split(".");
  if (!(quantityNames as readonly string[]).includes(quantity))
    fail(`no quantity is called "${quantity}"${guess(quantity, quantityNames)}`);
  if (!(statisticNames as readonly string[]).includes(statistic))
    fail(`no statistic is called "${statistic}"${guess(statistic, statisticNames)}`);
  const place = typeof given === "string" ? { at: given } : given;
  if (!isObject(place)) return fail("wants a path into the JSON, or at, column or pattern");
  for (const name of Object.keys(place))
    if (!(placeMembers as readonly string[]).includes(name)) fail(`there is no member ${name}${guess(name, placeMembers)}`);
  const ways = (["at", "column", "pattern"] as const).filter((way) => place[way] !== undefined);
  if (ways.length !== 1) fail("wants one of at (JSON), column (CSV) and pattern (text)");
  const way = place[ways[0]!];
  if (typeof way !== "string") return fail(`${ways[0]!} is a text`);
  const unit = place["unit"];
  if (unit !== undefined && (typeof unit !== "string" || !Object.hasOwn(scales, unit)))
    fail(`unit is one of ${Object.keys(scales).join(", ")}`);
  if (unit !== undefined && quantities[quantity as Quantity].unit !== "ms") fail("only a time has a unit");
  let pattern: RE2JS | null = null;
  if (ways[0] === "pattern") {
    try {
      pattern = RE2JS.compile(RE2JS.translateRegExp(way), RE2JS.MULTILINE);
    } catch (error) {
      fail(`no pattern of RE2's syntax (${(error as Error).message})`);
    }
    if (pattern.groupCount() < 1) fail("the pattern needs a group in parentheses around the number");
  }
  if (place["row"] !== undefined && (!isObject(place["row"]) || ways[0] !== "column"))
    fail("row stands beside column, and names cells: {name: ttft}");
  return {
    quantity: quantity as Quantity,
    statistic: statistic as Statistic,
    at: ways[0] === "at" ? way : null,
    column: ways[0] === "column" ? way : null,
    row: isObject(place["row"]) ? place["row"] : null,
    pattern,
    scale: typeof unit === "string" ? scales[unit]! : 1,
    name: typeof place["name"] === "string" ? place["name"] : way.slice(0, 80),
  };
}

/** A reader that follows a map. */
export function readerOf(map: FigureMap): Reader {
  return {
    tool: map.tool,
    tested: "by --map",
    documentation: "the file of --map",
    definitions: [],
    read(output) {
      const text = textOf(map, output);
      if (text === null) return null;
      const source = new Source(text);
      const figures = map.places.flatMap((place): Reported[] => {
        const value = source.valueAt(place);
        return value === null
          ? []
          : [{ quantity: place.quantity, statistic: place.statistic, value: value * place.scale, name: place.name }];
      });
      if (figures.length === 0) return null;
      const asked = (path: string | null): number | null => (path === null ? null : source.atPath(path));
      return {
        tool: map.tool,
        version: null,
        figures,
        asked: { ...notAsked, concurrency: asked(map.asked.concurrency), ratePerSecond: asked(map.asked.ratePerSecond) },
        samples: null,
      };
    },
  };
}

function textOf({ file }: FigureMap, { stdout, files }: Output): string | null {
  if (file === null) return stdout;
  return files.find(({ path }) => path === file || path.endsWith(`/${file}`))?.text() ?? null;
}

class Source {
  readonly #text: string;
  #json: unknown;
  #rows: readonly Readonly<Record<string, string>>[] | null = null;

  constructor(text: string) {
    this.#text = text;
  }

  valueAt({ at: path, column, row, pattern, statistic }: Place): number | null {
    if (path !== null) return this.atPath(path);
    if (column !== null) return this.#inColumn(column, row, statistic);
    const matcher = pattern!.matcher(this.#text);
    return matcher.find() ? numberOf(matcher.group(1)) : null;
  }

  /** A number at a path into the JSON. */
  atPath(path: string): number | null {
    if (this.#json === undefined) this.#json = parsedJson(this.#text);
    const names = path.startsWith("/") ? path.slice(1).split("/") : path.split(".");
    let found: unknown = this.#json;
    for (const name of names.map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"))) {
      found = at(found, Array.isArray(found) ? Number(name) : name);
    }
    return typeof found === "number" || typeof found === "string" ? numberOf(String(found)) : null;
  }

  #inColumn(column: string, row: Json | null, statistic: Statistic): number | null {
    this.#rows ??= rowsOf(this.#text);
    const fitting =
      row === null ? this.#rows : this.#rows.filter((one) => Object.entries(row).every(([name, value]) => one[name] === String(value)));
    const values = fitting.flatMap((one) => numberOf(one[column]) ?? []);
    if (row !== null) return values[0] ?? null;
    return statisticOf(ascending(values), statistic)?.value ?? null;
  }
}

function numberOf(text: string | null | undefined): number | null {
  const trimmed = text?.trim().replaceAll(",", "") ?? "";
  return trimmed !== "" && Number.isFinite(Number(trimmed)) ? Number(trimmed) : null;
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Of a log with lines of JSON the last one.
    try {
      return JSON.parse(text.trimEnd().split("\n").at(-1) ?? "");
    } catch {
      return null;
    }
  }
}

/** Rows of a CSV by the names of its first line (RFC 4180). */
function rowsOf(text: string): Record<string, string>[] {
  const [head = [], ...rows] = text
    .replace(/^\uFEFF/, "")
    .split(/\r?\n/)
    .filter((line) => line.trim() !== "")
    .map((line) =>
      [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? ""),
    );
  return rows.map((cells) => Object.fromEntries(head.map((name, index) => [name.trim(), cells[index] ?? ""])));
}
