/** The Markdown of the repository, read for tests: blocks, commands, links, headings, generated parts. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../support/process.ts";

export interface Block {
  readonly language: string;
  readonly text: string;
}

export interface Page {
  /** From the root of the repository: "docs/serve.md". */
  readonly path: string;
  readonly text: string;
  /** Fenced code. */
  readonly blocks: readonly Block[];
  /** The text without fenced code. */
  readonly prose: string;
}

/** A page by its path from the root. */
export function readPage(path: string): Page {
  const text = readFileSync(join(root, path), "utf8");
  const blocks = [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map((match) => ({ language: match[1]!, text: match[2]! }));
  return { path, text, blocks, prose: text.replace(/^```[\s\S]*?^```$/gm, "") };
}

/** The pages whose commands and programs run as they stand. */
export const guides: readonly Page[] = [
  "README.md",
  "CONTRIBUTING.md",
  ...readdirSync(join(root, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
].map(readPage);

const skippedFolders = new Set(["node_modules", "dist", ".git", "runs", "coverage"]);

/** Every Markdown file of the repository, by its path from the root. */
export function markdownPaths(folder = ""): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) return skippedFolders.has(entry.name) ? [] : markdownPaths(path);
    return entry.name.endsWith(".md") ? [path] : [];
  });
}

/** What a page tells its reader to type: each line of its `sh` blocks and each command in its prose, once, without comments. */
export function commandsOf({ blocks, prose }: Page): string[] {
  const typed = blocks
    .filter(({ language }) => language === "sh")
    .flatMap(({ text }) =>
      text
        .trim()
        .replaceAll(/ \\\n\s+/g, " ")
        .split("\n"),
    );
  const inline = [...prose.matchAll(/`((?:npx|npm|curl) [^`]+)`/g)].map((match) => match[1]!.replace(/\s+/g, " "));
  const single = [...typed, ...inline].flatMap((line) => line.replace(/\s+# .*$/, "").split(" && "));
  return [...new Set(single.map((command) => command.trim()).filter((command) => command !== ""))];
}

/** The targets of the links and images of a page. */
export function linksOf({ prose }: Page): string[] {
  return [...prose.replaceAll(/`[^`]*`/g, "").matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1]!);
}

/** The anchors of a page's headings, as GitHub makes them. */
export function anchorsOf({ prose }: Page): ReadonlySet<string> {
  const anchors = new Set<string>();
  for (const [, heading] of prose.matchAll(/^#{1,6} (.+)$/gm)) {
    const text = heading!.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
    const anchor = text
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
      .trim()
      .replaceAll(/\s/g, "-");
    let name = anchor;
    for (let copy = 1; anchors.has(name); copy++) name = `${anchor}-${copy}`;
    anchors.add(name);
  }
  return anchors;
}
