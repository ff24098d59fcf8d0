/** Every link of the repository's Markdown points to something, and what a reader of the package can follow is in the package. */
import { existsSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { describe, expect, test } from "vitest";
import { root } from "../support/process.ts";
import { anchorsOf, linksOf, markdownPaths, type Page, readPage } from "./markdown.ts";

const pages = new Map(markdownPaths().map((path) => [path, readPage(path)]));

/** A link inside of the repository: the file it points to, and the anchor, empty if it has none. */
function targetOf(from: string, link: string): { readonly path: string; readonly anchor: string } | null {
  if (/^[a-z]+:/.test(link)) return null;
  const [path, anchor = ""] = link.split("#");
  return { path: path === "" ? from : posix.join(posix.dirname(from), path!), anchor };
}

function broken(page: Page, known: ReadonlyMap<string, Page>): string[] {
  return linksOf(page).filter((link) => {
    const target = targetOf(page.path, link);
    if (target === null) return false;
    if (!known.has(target.path) && !existsSync(join(root, target.path))) return true;
    const linked = known.get(target.path);
    return target.anchor !== "" && (linked === undefined || !anchorsOf(linked).has(target.anchor));
  });
}

/** An entry of package.json's `files`, which names a file, a folder with all in it, or both with "**" for any folders. */
function patternOf(entry: string): RegExp {
  const parts = entry.split(/(\*\*\/|\*)/).map((part) => {
    if (part === "**/") return "(?:[^/]+/)*";
    return part === "*" ? "[^/]*" : part.replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`);
  });
  return new RegExp(`^${parts.join("")}(?:/|$)`);
}

test("there are pages", () => {
  expect(pages.size).toBeGreaterThan(15);
});

test.each([...pages.values()])("$path", (page) => {
  expect(broken(page, pages)).toEqual([]);
});

/** Paths that a page names in code, such as `src/wire`; not those with a placeholder, and not what a run writes. */
const namedPaths = ({ prose }: Page): string[] =>
  [...prose.matchAll(/`((?:src|test|scenarios|results|docs|bench)\/[\w./-]*)`/g)]
    .map((match) => match[1]!)
    .filter((path) => !/^results\/(runs|main)\b/.test(path));

test.each([...pages.values()])("$path names files that are there", (page) => {
  expect(namedPaths(page).filter((path) => !existsSync(join(root, path)))).toEqual([]);
});

test("a link to nothing is found", () => {
  const text = "# One `two`, three\n\n[a](README.md) [b](#one-two-three) [c](#four) [d](nowhere.md) [e](README.md#nowhere)\n";
  const page: Page = { path: "x.md", text, prose: text, blocks: [] };
  expect(broken(page, new Map([...pages, ["x.md", page]]))).toEqual(["#four", "nowhere.md", "README.md#nowhere"]);
  expect(namedPaths({ ...page, prose: "`src/nowhere`, `src/<name>` and `results/runs/`" })).toEqual(["src/nowhere"]);
});

describe("the package", () => {
  const { files } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { files: string[] };
  // npm always packs these.
  const always = new Set(["README.md", "LICENSE", "package.json"]);
  const isPacked = (path: string): boolean =>
    always.has(path) ||
    (files.some((entry) => patternOf(entry).test(path)) &&
      !files.some((entry) => entry.startsWith("!") && patternOf(entry.slice(1)).test(path)));
  const linked = (page: Page): string[] => linksOf(page).flatMap((link) => targetOf(page.path, link)?.path ?? []);

  test("holds what the README links to", () => {
    expect(linked(pages.get("README.md")!).filter((path) => !isPacked(path))).toEqual([]);
  });

  test("holds every file that its documents link to, figures apart", () => {
    const packed = [...pages.values()].filter(({ path }) => isPacked(path));
    expect(packed.length).toBeGreaterThan(15);
    // The results themselves are many megabytes.
    const expected = packed.flatMap(linked).filter((path) => !/^results\/(experiments$|.*\.(json|tsv|txt|csv)$)/.test(path));
    expect(expected.filter((path) => !isPacked(path))).toEqual([]);
  });
});

test("the README is short", () => {
  expect(pages.get("README.md")!.text.trimEnd().split("\n").length).toBeLessThanOrEqual(120);
});
