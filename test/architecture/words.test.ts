/** Comments and documents are plain: words that hide who does what, or that tell of the past or of plans, stay out of them. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { root } from "../support/process.ts";

const forbidden: readonly { readonly word: RegExp; readonly why: string }[] = [
  { word: /\bwhoever\b/i, why: "say which client, reader or server" },
  { word: /\b([Nn]o|[Ss]ome)body\b/, why: "say which client, reader or server does not, or does" },
  { word: /\bgo(es)? for nothing\b/i, why: "a riddle: say what is lost" },
  { word: /\bfor ever\b/i, why: "say until when, or that there is no end" },
  { word: /\b(previously|formerly|of late)\b/i, why: "history: comments describe what is there" },
  { word: /\b(TODO|FIXME|XXX)\b/, why: "work to come belongs into an issue" },
];

const places: readonly string[] = ["src", "bench", "test", "scenarios", "docs", "README.md", "CONTRIBUTING.md"];

/** A file's prose with its line numbers: comments of code, or the whole of a document. Strings of code are not prose. */
function proseOf(path: string, text: string): string {
  const comments = /\.(ts|js|mjs|c)$/.test(path)
    ? /\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$/gm
    : path.endsWith(".py")
      ? /"""[\s\S]*?"""|(?<=^|\s)#.*$/gm
      : null;
  if (comments === null) return path.endsWith(".md") ? text : "";
  let prose = "";
  let end = 0;
  for (const { 0: comment, index } of text.matchAll(comments)) {
    prose += text.slice(end, index).replaceAll(/[^\n]/g, " ") + comment;
    end = index + comment.length;
  }
  return prose;
}

function findings(path: string, text: string): string[] {
  const lines = proseOf(path, text).split("\n");
  return lines.flatMap((line, index) =>
    forbidden.filter(({ word }) => word.test(line)).map(({ word, why }) => `${path}:${index + 1}: ${word.exec(line)![0]} (${why})`),
  );
}

function filesOf(place: string): string[] {
  if (!existsSync(join(root, place))) return [];
  if (place.endsWith(".md")) return [place];
  return readdirSync(join(root, place), { recursive: true, encoding: "utf8" })
    .filter((path) => /\.(ts|js|mjs|c|py|md)$/.test(path) && !path.includes("node_modules"))
    .map((path) => `${place}/${path}`);
}

test("comments and documents are free of them", () => {
  const files = places.flatMap(filesOf).filter((path) => !path.endsWith("test/architecture/words.test.ts"));
  expect(files.length).toBeGreaterThan(90);
  expect(files.flatMap((path) => findings(path, readFileSync(join(root, path), "utf8")))).toEqual([]);
});

test("they are found in comments and documents, and not in code", () => {
  expect(findings("src/a.ts", 'const user = "nobody";\n/** One.\n * Whoever reads. */\nrun(); // TODO\n')).toEqual([
    "src/a.ts:3: Whoever (say which client, reader or server)",
    "src/a.ts:4: TODO (work to come belongs into an issue)",
  ]);
  expect(findings("docs/a.md", "Their work goes for nothing.")).toEqual(["docs/a.md:1: goes for nothing (a riddle: say what is lost)"]);
  expect(findings("test/a.py", 'name = "nobody"\n# for ever\n')).toHaveLength(1);
});
