/**
 * How many tokens media have for Gemini (ai.google.dev/gemini-api/docs/tokens, "Multimodal tokens"; /docs/image-understanding, "Calculating
 * tokens"; /docs/document-processing: a page of a PDF is 258 tokens). What no rule counts, or is known by its address alone, counts
 * nothing.
 */
import { isObject, type JsonObject } from "../shared/body.ts";
import { pdfPages } from "../shared/files.ts";
import { imageSize, type MediaRules, type Size } from "../shared/media.ts";

const tokensOfTile = 258;
const smallSide = 384;

/** Two sides of up to 384 pixels are one tile; larger images are cut into tiles, whose side follows from the shorter side. */
export function geminiImageTokens({ width, height }: Size): number {
  if (width <= smallSide && height <= smallSide) return tokensOfTile;
  const side = Math.max(1, Math.min(768, Math.max(256, Math.floor(Math.min(width, height) / 1.5))));
  return Math.ceil(width / side) * Math.ceil(height / side) * tokensOfTile;
}

/** Tokens of a second. */
const audioRate = 32;

/** Of a WAV, by its header; null: its length is not known. */
function audioSeconds(base64: string): number | null {
  const head = Buffer.from(base64.slice(0, 64), "base64");
  if (head.length < 44 || head.toString("latin1", 0, 4) !== "RIFF") return null;
  const perSecond = head.readUInt32LE(28);
  return perSecond === 0 ? null : Math.max(0, (base64.length * 3) / 4 - 44) / perSecond;
}

/** What Gemini calls a kind of token. */
export type Modality = "TEXT" | "IMAGE" | "AUDIO" | "DOCUMENT";

/** The tokens of a part that is no text. null: there is none, or no rule counts it. */
export function mediaTokens(
  part: JsonObject,
  { imageTokens, pageTokens }: MediaRules,
): { readonly modality: Modality; readonly tokens: number } | null {
  const inline = part["inlineData"] ?? part["inline_data"];
  if (!isObject(inline)) return null;
  const type = inline["mimeType"] ?? inline["mime_type"];
  const data = inline["data"];
  if (typeof type !== "string" || typeof data !== "string") return null;
  if (type.startsWith("image/")) {
    const size = imageSize(data);
    return { modality: "IMAGE", tokens: imageTokens ?? (size === null ? tokensOfTile : geminiImageTokens(size)) };
  }
  if (type.startsWith("audio/")) {
    const seconds = audioSeconds(data);
    return seconds === null ? null : { modality: "AUDIO", tokens: Math.ceil(seconds * audioRate) };
  }
  if (type !== "application/pdf") return null;
  const pages = pdfPages(data);
  return pages === null ? null : { modality: "DOCUMENT", tokens: pages * (pageTokens ?? tokensOfTile) };
}
