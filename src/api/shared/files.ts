/**
 * How many tokens files in a prompt have.
 *
 * OpenAI gives its model the text and an image of each page of a PDF, and of other files their text
 * (developers.openai.com/api/docs/guides/file-inputs, "How it works"); it publishes no number. Here a page counts as an image of 1024 by 1024
 * with high detail, or with low where the file says so: the text of a PDF is not read. Anthropic does the same with each page, and publishes 1,500 to 3,000 tokens a page and an
 * example of 7,000 for three (platform.claude.com/docs/en/build-with-claude/pdf-support, "Document processing modes"), by which a page
 * counts.
 */
import { isObject, type JsonObject, textsOfContent } from "./body.ts";
import { type Tokenizer, tokensOfTexts } from "./prompt.ts";

export interface FileRules {
  /** Of each page of a PDF; null: by the provider's rule. */
  readonly pageTokens: number | null;
  readonly tokenizer?: Tokenizer;
}

/** What a user has settled about tokens of media. */
export interface MediaRules extends FileRules {
  /** Of each image; null: by its size. */
  readonly imageTokens: number | null;
}

/** Tokens of the parts of a message: a list, or one that stands alone. */
export function sumOfParts(content: unknown, tokensOf: (part: JsonObject) => number): number {
  if (isObject(content)) return tokensOf(content);
  if (!Array.isArray(content)) return 0;
  let tokens = 0;
  for (const part of content as unknown[]) if (isObject(part)) tokens += tokensOf(part);
  return tokens;
}

/** Of a page for Anthropic's models. */
const anthropicPageTokens = Math.round(7000 / 3);

/** A PDF of which no page is seen. */
const assumedPages = 1;

/** More of a file is not looked at for its pages. */
const pdfCharacters = 4_194_304;

/**
 * Pages of a PDF: as a linearized one says at its beginning (ISO 32000-2, annex F.3.3), or by the objects of its page tree (section 7.7.3);
 * null: none, or they stand in compressed objects, which are not read.
 */
export function pdfPages(base64: string): number | null {
  const text = Buffer.from(base64.slice(0, pdfCharacters), "base64").toString("latin1");
  if (!text.startsWith("%PDF-")) return null;
  const told = Number(/\/Linearized\b[^>]{0,200}\/N (\d{1,6})\b/.exec(text.slice(0, 1024))?.[1] ?? 0);
  const pages = told > 0 ? told : (text.match(/\/Type\s*\/Page(?![a-zA-Z])/g)?.length ?? 0);
  return pages === 0 ? null : pages;
}

/** How a PDF begins, in base64: "%PDF-". */
const pdfBeginning = "JVBERi";

const strict = new TextDecoder("utf-8", { fatal: true });

function textTokens(texts: readonly string[], tokenizer: Tokenizer | undefined): number {
  return texts.every((text) => text === "") ? 0 : tokensOfTexts(texts, tokenizer);
}

/** Tokens of a file by its bytes; one of a form that is neither PDF nor UTF-8 counts nothing. */
function tokensOfData(base64: string, pageTokens: number, tokenizer: Tokenizer | undefined): number {
  if (base64.startsWith(pdfBeginning)) return (pdfPages(base64) ?? assumedPages) * pageTokens;
  try {
    return textTokens([strict.decode(Buffer.from(base64, "base64"))], tokenizer);
  } catch {
    return 0;
  }
}

export function isOpenAiFile({ type, file }: JsonObject): boolean {
  return type === "input_file" || (type === "file" && isObject(file));
}

/** Tokens of a `file` of a chat or an `input_file` of Responses. What is an id or an address alone counts as one page. */
export function openAiFileTokens(part: JsonObject, imageOfPage: number, { pageTokens, tokenizer }: FileRules): number {
  const file = part["type"] === "file" ? (part["file"] as JsonObject) : part;
  const page = pageTokens ?? imageOfPage;
  const data = file["file_data"];
  if (typeof data === "string") return tokensOfData(data.replace(/^data:[^,]{0,200},/, ""), page, tokenizer);
  return typeof file["file_id"] === "string" || typeof file["file_url"] === "string" ? assumedPages * page : 0;
}

/** Tokens of a `document` of Messages, without the images in it. What is an id or an address alone counts as one page. */
export function anthropicFileTokens({ source, title, context }: JsonObject, { pageTokens, tokenizer }: FileRules): number {
  const page = pageTokens ?? anthropicPageTokens;
  const about = textTokens(
    [title, context].filter((text) => typeof text === "string"),
    tokenizer,
  );
  if (!isObject(source)) return about;
  const { type, data, content } = source;
  if (type === "text" && typeof data === "string") return about + textTokens([data], tokenizer);
  if (type === "base64" && typeof data === "string") return about + tokensOfData(data, page, tokenizer);
  if (type === "content") return about + textTokens(textsOfContent(content), tokenizer);
  return about + assumedPages * page;
}
