/**
 * How many tokens media have for Gemini (ai.google.dev/gemini-api/docs/tokens, "Multimodal tokens"; /docs/image-understanding, "Calculating
 * tokens"; /docs/document-processing: a page of a PDF is 258 tokens; /docs/media-resolution, "Token counts": Gemini 3). What no rule
 * counts, or is known by its address alone, counts nothing.
 */
import { isObject, type JsonObject } from "../shared/body.ts";
import { type MediaRules, pdfPages } from "../shared/files.ts";
import { imageSize, type Size } from "../shared/images.ts";

const tokensOfTile = 258;
const smallSide = 384;

/** Two sides of up to 384 pixels are one tile; larger images are cut into tiles, whose side follows from the shorter side. */
export function geminiImageTokens({ width, height }: Size): number {
  if (width <= smallSide && height <= smallSide) return tokensOfTile;
  const side = Math.max(1, Math.min(768, Math.max(256, Math.floor(Math.min(width, height) / 1.5))));
  return Math.ceil(width / side) * Math.ceil(height / side) * tokensOfTile;
}

/** Of Gemini 3 each image and each page has up to so many tokens, by its media resolution. */
const resolutions: ReadonlyMap<unknown, { readonly image: number; readonly page: number }> = new Map([
  ["MEDIA_RESOLUTION_LOW", { image: 280, page: 280 }],
  ["MEDIA_RESOLUTION_MEDIUM", { image: 560, page: 560 }],
  ["MEDIA_RESOLUTION_HIGH", { image: 1120, page: 1120 }],
  ["MEDIA_RESOLUTION_ULTRA_HIGH", { image: 2240, page: 1120 }],
]);
const unspecified = { image: 1120, page: 560 };

/** The model that reads the media, and the resolution that its request gives for all of them. */
export interface Reader {
  readonly model: string;
  readonly resolution: unknown;
}

/** Tokens of an image and of a page for Gemini 3; null: an older model. A part's own resolution comes first. */
function countsOf(part: JsonObject, { model, resolution }: Reader): { readonly image: number; readonly page: number } | null {
  if (!/(?:^|\/)gemini-[3-9]/.test(model)) return null;
  const own = part["mediaResolution"] ?? part["media_resolution"];
  const asked = (isObject(own) ? own["level"] : own) ?? resolution;
  return resolutions.get(typeof asked === "string" ? asked.toUpperCase() : asked) ?? unspecified;
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
  reader: Reader,
  { imageTokens, pageTokens }: MediaRules,
): { readonly modality: Modality; readonly tokens: number } | null {
  const inline = part["inlineData"] ?? part["inline_data"];
  if (!isObject(inline)) return null;
  const type = inline["mimeType"] ?? inline["mime_type"];
  const data = inline["data"];
  if (typeof type !== "string" || typeof data !== "string") return null;
  if (type.startsWith("image/")) {
    const size = imageSize(data);
    const tokens = imageTokens ?? countsOf(part, reader)?.image ?? (size === null ? tokensOfTile : geminiImageTokens(size));
    return { modality: "IMAGE", tokens };
  }
  if (type.startsWith("audio/")) {
    const seconds = audioSeconds(data);
    return seconds === null ? null : { modality: "AUDIO", tokens: Math.ceil(seconds * audioRate) };
  }
  if (type !== "application/pdf") return null;
  const pages = pdfPages(data);
  return pages === null ? null : { modality: "DOCUMENT", tokens: pages * (pageTokens ?? countsOf(part, reader)?.page ?? tokensOfTile) };
}
