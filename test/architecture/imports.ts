/** Which room of `src` may import which: an allow list, held against the sources. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, posix, relative, sep } from "node:path";

export interface Room {
  /** Rooms that it may import, types included. Its own files always. */
  readonly rooms: readonly string[];
  /** Packages, and node's modules by their full name ("node:fs"); "node:*" stands for all of node's. */
  readonly packages: readonly string[];
}

const node = "node:*";

/** The rooms of `src` and their allow lists. A folder that is not here fails the test. */
export const rooms: Readonly<Record<string, Room>> = {
  core: { rooms: [], packages: [] },
  base: { rooms: ["core"], packages: [node, "gpt-tokenizer", "selfsigned"] },
  wire: { rooms: [], packages: [] },
  results: { rooms: [], packages: ["node:fs", "node:fs/promises", "node:path", "ajv/dist/2020.js", "hdr-histogram-js"] },
  report: { rooms: ["results", "base"], packages: [] },
  api: { rooms: ["core", "base"], packages: [] },
  // A tape is checked by its schema, and its server asked in node's own protocols.
  tape: { rooms: ["core", "base"], packages: [node, "ajv"] },
  listeners: { rooms: ["core", "base", "wire"], packages: [node, "uWebSockets.js", "ws"] },
  // `wire`: faults that are planted into a stream's events are in the chunked coding.
  network: { rooms: ["core", "base", "wire"], packages: [node, "hdr-histogram-js"] },
  load: { rooms: ["base", "wire", "results"], packages: [node, "autocannon"] },
  settings: {
    rooms: ["core", "api", "base", "listeners", "network", "results"],
    packages: ["node:fs", "node:os", "node:path", "ajv", "re2js", "yaml"],
  },
  server: { rooms: ["settings", "api", "listeners", "tape", "core", "base"], packages: [node, "gpt-tokenizer"] },
  // What shards of a load say to each other: both ends, and the merged result of what they handed in.
  shards: { rooms: ["results", "base"], packages: [node] },
  runner: { rooms: ["load", "shards", "results", "network", "settings", "tape", "wire", "core", "base"], packages: [node, "ajv"] },
  // It stands beside the runner: it starts servers as processes and judges what others measured.
  audit: { rooms: ["runner", "load", "results", "report", "settings", "base"], packages: [node, "re2js", "yaml"] },
  cli: {
    rooms: ["settings", "server", "audit", "runner", "shards", "load", "network", "results", "report", "tape", "api", "core", "base"],
    packages: [node, "commander", "yaml"],
  },
};

/** The files that stand in `src` itself, with the rooms that each may import. */
export const doors: Readonly<Record<string, Room>> = {
  "index.ts": { rooms: ["server", "settings", "core", "base"], packages: [] },
  "vitest.ts": { rooms: ["server", "settings"], packages: ["vitest"] },
  "cli.ts": { rooms: ["cli", "base"], packages: ["node:fs"] },
};

/** A file's text by its path from `src`, with slashes: "core/seams.ts". */
export type Sources = ReadonlyMap<string, string>;

export function readSources(folder: string): Sources {
  const paths = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".ts"));
  return new Map(paths.map((path) => [path.split(sep).join("/"), readFileSync(`${folder}/${path}`, "utf8")]));
}

/**
 * What a module imports, by its specifiers: static and dynamic imports, re-exports, type imports, and types of the form
 * `import("x").T`. A statement begins its line, so that code inside a template string does not count.
 */
export function importsOf(text: string): string[] {
  const statements = text.matchAll(/^(?:import|export)\s(?:[^;"'`]*?\sfrom\s*)?"([^"]+)"/gm);
  const calls = text.matchAll(/\bimport\(\s*"([^"]+)"\s*\)/g);
  return [...statements, ...calls].map((match) => match[1]!);
}

/** Every import that no list allows, as "core/pacing/pacer.ts -> api/routes.ts", and every folder or file without a list. */
export function forbidden(sources: Sources): string[] {
  const found: string[] = [];
  for (const [file, text] of sources) {
    const own = roomOf(file);
    const allowed = own === null ? doors[file] : rooms[own];
    if (allowed === undefined) {
      found.push(`${file} stands in no room`);
      continue;
    }
    for (const specifier of importsOf(text)) {
      const isFile = specifier.startsWith(".");
      const target = isFile ? posix.join(dirname(file), specifier) : specifier;
      const fits = isFile ? fitsRoom(target, own, allowed) : fitsPackage(target, allowed);
      if (!fits) found.push(`${file} -> ${target}`);
    }
  }
  return found;
}

/** Files that import each other in a circle, each circle once, by a path through it. */
export function circles(sources: Sources): string[] {
  const next = new Map([...sources].map(([file, text]) => [file, targetsOf(file, text, sources)]));
  const done = new Set<string>();
  const found: string[] = [];
  const visit = (file: string, path: readonly string[]): void => {
    const at = path.indexOf(file);
    if (at >= 0) found.push([...path.slice(at), file].join(" -> "));
    if (at >= 0 || done.has(file)) return;
    for (const target of next.get(file) ?? []) visit(target, [...path, file]);
    done.add(file);
  };
  for (const file of sources.keys()) visit(file, []);
  return found;
}

function targetsOf(file: string, text: string, sources: Sources): string[] {
  return importsOf(text)
    .filter((specifier) => specifier.startsWith("."))
    .map((specifier) => relative(".", posix.join(dirname(file), specifier)))
    .filter((target) => sources.has(target));
}

function roomOf(file: string): string | null {
  return file.includes("/") ? file.slice(0, file.indexOf("/")) : null;
}

function fitsRoom(target: string, own: string | null, { rooms }: Room): boolean {
  const room = roomOf(target);
  // Nothing imports the two ways in, and nothing outside of `src` is there when the package is installed.
  return room !== null && room !== ".." && (room === own || rooms.includes(room));
}

function fitsPackage(name: string, { packages }: Room): boolean {
  if (packages.includes(name) || (name.startsWith("node:") && packages.includes("node:*"))) return true;
  return packages.some((allowed) => name.startsWith(`${allowed}/`));
}
