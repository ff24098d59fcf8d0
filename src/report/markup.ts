/** HTML and SVG text: every value is escaped, but for markup that was made here. */
import { printable } from "../base/printable.ts";

/** Markup, escaped already. */
export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** What a template takes in: text and numbers are escaped, null is nothing, a list is its parts one after the other. */
export type Part = Html | string | number | null | readonly Part[];

/** Text as it stands in elements and attributes: none of it is markup, and no control character of a name is in it. */
export function escaped(text: string): string {
  // Two characters that no XML document may hold, and halves of pairs.
  const allowed = printable(text).replace(/[\uFFFE\uFFFF\p{Cs}]/gu, "\uFFFD");
  return allowed.replace(/[&<>"']/gu, (character) => `&#${character.charCodeAt(0)};`);
}

/** A part as markup. */
export function render(part: Part): string {
  if (part === null) return "";
  if (part instanceof Html) return part.text;
  if (typeof part === "object") return part.map(render).join("");
  return escaped(String(part));
}

/** Template of which every value is escaped, but for markup that a template made. Its own line breaks become blanks. */
export function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Html {
  return new Html(strings.reduce((text, string, index) => text + render(parts[index - 1] ?? null) + inLine(string), ""));
}

const blocks = "caption|dd|details|div|dl|dt|figcaption|figure|h1|h2|h3|header|li|main|nav|p|section|summary|table|tbody|td|th|thead|tr|ul";
const besideBlock = new RegExp(`(</?(?:${blocks})\\b[^>]*>)?\\s*\\n\\s*(?=(</?(?:${blocks})\\b)?)`, "gu");

/** Line breaks of the source: nothing beside an element that stands in lines of its own, and a blank elsewhere. */
function inLine(text: string): string {
  if (!text.includes("\n")) return text;
  return text.replaceAll(besideBlock, (_, before: string | undefined, after: string | undefined) =>
    before === undefined && after === undefined ? " " : (before ?? ""),
  );
}
