/** How many tokens images, speech and files have in the content of a message to OpenAI. */
import { isObject, type JsonObject } from "../shared/body.ts";
import { isOpenAiFile, type MediaRules, openAiFileTokens, sumOfParts } from "../shared/files.ts";
import { assumedSize, sizeOf } from "../shared/images.ts";
import { openAiImageTokens } from "./image-tokens.ts";

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

/** Parts of Responses that are an image: `image_url` is its address, or nothing where `file_id` names it. */
const images: ReadonlySet<unknown> = new Set(["input_image", "computer_screenshot"]);

function partTokens(part: JsonObject, model: string, rules: MediaRules): number {
  const { imageTokens } = rules;
  const { type, detail, image_url: image, input_audio: audio } = part;
  if (isOpenAiFile(part)) return openAiFileTokens(part, openAiImageTokens(model, detail === "low" ? "low" : "high", assumedSize), rules);
  if (images.has(type)) return imageTokens ?? openAiImageTokens(model, detail, sizeOf(image));
  if (type === "image_url" && isObject(image)) return imageTokens ?? openAiImageTokens(model, image["detail"], sizeOf(image["url"]));
  if (!isObject(audio) || typeof audio["data"] !== "string") return 0;
  return Math.ceil(secondsOf(audio["data"]) * tokensPerSecond);
}

/** Tokens of the images, the speech and the files in the content of a message, or in what a tool has put out. */
export function openAiMediaTokens(content: unknown, model: string, rules: MediaRules): number {
  return sumOfParts(content, (part) => partTokens(part, model, rules));
}
