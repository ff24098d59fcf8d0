/** HTML and SVG text: every value is escaped, but for markup that was made here. */

/** Markup, escaped already. */
export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** What a template takes in: text and numbers are escaped, null is nothing, a list is its parts one after the other. */
export type Part = Html | string | number | null | readonly Part[];

/** Text as it stands in elements and attributes: none of it is markup. */
export function escaped(text: string): string {
  return text.replace(/[&<>"']/gu, (character) => `&#${character.charCodeAt(0)};`);
}

/** A part as markup. */
export function render(part: Part): string {
  if (part === null) return "";
  if (part instanceof Html) return part.text;
  if (typeof part === "object") return part.map(render).join("");
  return escaped(String(part));
}

/** Template of which every value is escaped, but for markup that a template made. */
export function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Html {
  return new Html(strings.reduce((text, string, index) => text + render(parts[index - 1] ?? null) + string));
}
