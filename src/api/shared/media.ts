/**
 * How many tokens images and speech in a prompt have, by the providers' published rules
 * (platform.openai.com/docs/guides/images-vision, "Calculating costs"; platform.claude.com/docs/en/build-with-claude/vision,
 * "Calculate image costs"). A size is read from the header of the data; where there is none, `assumed` stands for it.
 */
import { isObject, type JsonObject } from "./body.ts";
import { anthropicFileTokens, type FileRules, isOpenAiFile, openAiFileTokens } from "./files.ts";

/** What a user has settled about tokens of media. */
export interface MediaRules extends FileRules {
  /** Of each image; null: by its size. */
  readonly imageTokens: number | null;
}

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** The size of an image that only its address is known of, and of a page. */
const assumed: Size = { width: 1024, height: 1024 };

/** Characters of base64 that are looked at: what a camera writes before the size of a JPEG fits in. */
const headCharacters = 262_144;

function jpegSize(bytes: Buffer): Size | null {
  for (let at = 2; at + 9 < bytes.length;) {
    if (bytes[at] !== 0xff) return null;
    const marker = bytes[at + 1]!;
    // Start of a frame, but for tables and arithmetic conditioning (ITU-T T.81, table B.1).
    if (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc)
      return { height: bytes.readUInt16BE(at + 5), width: bytes.readUInt16BE(at + 7) };
    at += marker === 0xff ? 1 : 2 + bytes.readUInt16BE(at + 2);
  }
  return null;
}

/** RFC 9649: the three forms of a WebP. */
function webpSize(bytes: Buffer): Size | null {
  switch (bytes.toString("latin1", 12, 16)) {
    case "VP8X":
      return { width: 1 + bytes.readUIntLE(24, 3), height: 1 + bytes.readUIntLE(27, 3) };
    case "VP8L": {
      const bits = bytes.readUInt32LE(21);
      return { width: 1 + (bits & 0x3fff), height: 1 + ((bits >>> 14) & 0x3fff) };
    }
    case "VP8 ":
      return { width: bytes.readUInt16LE(26) & 0x3fff, height: bytes.readUInt16LE(28) & 0x3fff };
    default:
      return null;
  }
}

/** The size that the header of a PNG, JPEG, GIF or WebP tells; null: none of them, or cut short. */
export function imageSize(base64: string): Size | null {
  const bytes = Buffer.from(base64.slice(0, headCharacters), "base64");
  if (bytes.length < 30) return null;
  if (bytes.readUInt32BE(0) === 0x89504e47) return { width: bytes.readUInt32BE(16), height: bytes.readUInt32BE(20) };
  if (bytes.readUInt16BE(0) === 0xffd8) return jpegSize(bytes);
  const name = bytes.toString("latin1", 0, 4);
  if (name === "GIF8") return { width: bytes.readUInt16LE(6), height: bytes.readUInt16LE(8) };
  return name === "RIFF" && bytes.toString("latin1", 8, 12) === "WEBP" ? webpSize(bytes) : null;
}

/** Models that cut an image into patches of 32 pixels, and what a patch costs. */
const patches: readonly (readonly [RegExp, number])[] = [
  [/^gpt-(?:4\.1|5)-mini/, 1.62],
  [/^gpt-(?:4\.1|5)-nano/, 2.46],
  [/^o4-mini/, 1.72],
];

/** What an image and each of its tiles of 512 pixels cost. */
const tiles: readonly (readonly [RegExp, number, number])[] = [
  [/^gpt-5/, 70, 140],
  [/^o[13]/, 75, 150],
  [/^gpt-4o-mini/, 2833, 5667],
];

const mostPatches = 1536;

function patchesOf({ width, height }: Size): number {
  const whole = Math.ceil(width / 32) * Math.ceil(height / 32);
  if (whole <= mostPatches) return whole;
  const shrunk = Math.sqrt((32 * 32 * mostPatches) / (width * height));
  const [columns, rows] = [(width * shrunk) / 32, (height * shrunk) / 32];
  const fitted = Math.min(Math.floor(columns) / columns, Math.floor(rows) / rows);
  return Math.min(mostPatches, Math.max(1, Math.ceil(columns * fitted - 1e-9) * Math.ceil(rows * fitted - 1e-9)));
}

function tilesOf({ width, height }: Size): number {
  const fitted = Math.min(1, 2048 / Math.max(width, height));
  const scale = fitted * Math.min(1, 768 / (Math.min(width, height) * fitted));
  return Math.ceil((width * scale) / 512) * Math.ceil((height * scale) / 512);
}

/** Tokens of an image that OpenAI's model reads. */
export function openAiImageTokens(model: string, detail: unknown, size: Size): number {
  const patch = patches.find(([name]) => name.test(model));
  if (patch !== undefined) return Math.ceil(patchesOf(size) * patch[1]);
  const [, base, tile] = tiles.find(([name]) => name.test(model)) ?? [null, 85, 170];
  return detail === "low" ? base : base + tile * tilesOf(size);
}

/** Tokens of an image that Anthropic's model reads: 750 pixels each, after it was fitted into 1,568 pixels a side and 1,600 tokens. */
export function anthropicImageTokens({ width, height }: Size): number {
  const fitted = Math.min(1, 1568 / Math.max(width, height));
  return Math.min(1600, Math.max(1, Math.ceil((width * height * fitted * fitted) / 750)));
}

/** Speech has ten tokens a second. */
const tokensPerSecond = 10;

/** Seconds of a WAV by its header, of anything else at 128 kbit/s. */
function secondsOf(data: string): number {
  const bytes = (data.length * 3) / 4;
  const head = Buffer.from(data.slice(0, 64), "base64");
  const isWav = head.length >= 44 && head.toString("latin1", 0, 4) === "RIFF";
  const perSecond = isWav ? head.readUInt32LE(28) : 16_000;
  return perSecond === 0 ? 0 : (isWav ? Math.max(0, bytes - 44) : bytes) / perSecond;
}

function sizeOf(url: unknown): Size {
  const data = typeof url === "string" ? /^data:[^,]{0,100};base64,/.exec(url) : null;
  const size = data === null ? null : imageSize((url as string).slice(data[0].length, data[0].length + headCharacters));
  return size === null || size.width === 0 || size.height === 0 ? assumed : size;
}

function openAiPart(part: JsonObject, model: string, rules: MediaRules): number {
  const { imageTokens } = rules;
  if (isOpenAiFile(part)) return openAiFileTokens(part, openAiImageTokens(model, "high", assumed), rules);
  const image = part["image_url"];
  const isImage = (part["type"] === "image_url" && isObject(image)) || part["type"] === "input_image";
  if (isImage && imageTokens !== null) return imageTokens;
  if (part["type"] === "image_url" && isObject(image)) return openAiImageTokens(model, image["detail"], sizeOf(image["url"]));
  if (part["type"] === "input_image") return openAiImageTokens(model, part["detail"], sizeOf(image));
  const audio = part["input_audio"];
  if (!isObject(audio) || typeof audio["data"] !== "string") return 0;
  return Math.ceil(secondsOf(audio["data"]) * tokensPerSecond);
}

function anthropicPart(part: JsonObject, rules: MediaRules): number {
  const { type, source, content } = part;
  const { imageTokens } = rules;
  if (type === "tool_result") return anthropicMediaTokens(content, rules);
  if (type === "document") {
    const own = isObject(source) && source["type"] === "content" ? anthropicMediaTokens(source["content"], rules) : 0;
    return own + anthropicFileTokens(part, rules);
  }
  if (type !== "image") return 0;
  if (imageTokens !== null) return imageTokens;
  const data = isObject(source) ? source["data"] : undefined;
  return anthropicImageTokens((typeof data === "string" ? imageSize(data) : null) ?? assumed);
}

function sumOf(content: unknown, tokensOf: (part: JsonObject) => number): number {
  if (!Array.isArray(content)) return 0;
  let tokens = 0;
  for (const part of content as unknown[]) if (isObject(part)) tokens += tokensOf(part);
  return tokens;
}

/** Tokens of the images, the speech and the files in the content of a message to OpenAI. */
export function openAiMediaTokens(content: unknown, model: string, rules: MediaRules): number {
  return sumOf(content, (part) => openAiPart(part, model, rules));
}

/** Tokens of the images and the documents in the content of a message to Anthropic. */
export function anthropicMediaTokens(content: unknown, rules: MediaRules): number {
  return sumOf(content, (part) => anthropicPart(part, rules));
}
