/** Foreign text on its way to a terminal or into a file name: names from files, words of servers, paths, error messages. */

/** White space but a plain blank: a foreign text gets no lines or columns of its own. */
const spaces = /[\t\n\v\f\r\u0085\u2028\u2029]+/gu;
/**
 * What a terminal acts on: C0, DEL and C1 (ECMA-48), and what changes the direction of text or joins it unseen (Unicode
 * Standard Annex 9).
 */
// oxlint-disable-next-line no-control-regex
const acting = /[\u0000-\u001F\u007F-\u009F\u061C\u200B-\u200F\u202A-\u202E\u2060-\u2069\uFEFF]/gu;

/** The text in one line, harmless and readable: a control character is shown as its escape, "\x1b". */
export function printable(text: string): string {
  return text.replace(spaces, " ").replace(acting, (character) => escapeOf(character));
}

function escapeOf(character: string): string {
  const code = character.codePointAt(0)!;
  return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
}

/** A value as one line of JSON without a character that a terminal acts on. `JSON.parse` gives the same value. */
export function printableJson(value: unknown): string {
  return JSON.stringify(value).replace(acting, (character) => `\\u${character.codePointAt(0)!.toString(16).padStart(4, "0")}`);
}

/** Bytes that every file system takes in a name are 255. */
const longestName = 120;

/** A file name made of foreign text: in any folder it stays there. Different texts may give the same name. */
export function fileNameOf(text: string): string {
  const name = text
    .replaceAll(/[^\w.+-]+/g, "-")
    .replace(/^[.-]+/, "")
    .slice(0, longestName);
  return name === "" ? "unnamed" : name;
}
