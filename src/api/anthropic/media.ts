/** How many tokens images and documents have in the content of a message to Anthropic. */
import { isObject, type JsonObject } from "../shared/body.ts";
import { anthropicFileTokens, type MediaRules, sumOfParts } from "../shared/files.ts";
import { type Size, sizeOf } from "../shared/images.ts";

/** What an image is scaled down to. */
interface Tier {
  /** Pixels of its longer side, when it was padded. */
  readonly edge: number;
  readonly tokens: number;
}

/** platform.claude.com/docs/en/build-with-claude/vision, "Resolution and token cost". */
const standard: Tier = { edge: 1568, tokens: 1568 };
const highResolution: Tier = { edge: 2576, tokens: 4784 };

/** "Claude 4.7 and later models" have the high resolution. Dates and what comes before the name do not count. */
function tierOf(model: string): Tier {
  const version = /claude-(?:opus|sonnet|haiku|fable|mythos)-(\d{1,2})(?!\d)(?:[-.](\d{1,2})(?!\d))?/.exec(model);
  if (version === null) return standard;
  const [major, minor] = [Number(version[1]), Number(version[2] ?? 0)];
  return major > 4 || (major === 4 && minor >= 7) ? highResolution : standard;
}

/** Each patch of 28 pixels squared is a token. */
const patch = 28;

function patchesOf({ width, height }: Size): number {
  return Math.ceil(width / patch) * Math.ceil(height / patch);
}

function roundHalfToEven(value: number): number {
  const below = Math.floor(value);
  return value - below === 0.5 ? below + (below % 2) : Math.round(value);
}

/** The size to which an image is scaled: platform.claude.com/docs/en/build-with-claude/vision-coordinates, "How Claude resizes and pads images". */
function resized(size: Size, { edge, tokens }: Tier): Size {
  const fits = (tried: Size): boolean => {
    const longer = Math.max(tried.width, tried.height);
    return Math.ceil(longer / patch) * patch <= edge && patchesOf(tried) <= tokens;
  };
  if (fits(size)) return size;
  const longer = Math.max(size.width, size.height);
  const ratio = longer / Math.min(size.width, size.height);
  const scaled = (side: number): Size => ({ width: side, height: Math.max(1, roundHalfToEven(side / ratio)) });
  let [fitting, tooLong] = [1, longer];
  while (fitting + 1 < tooLong) {
    const middle = Math.floor((fitting + tooLong) / 2);
    if (fits(scaled(middle))) fitting = middle;
    else tooLong = middle;
  }
  return scaled(fitting);
}

/** Tokens of an image that Anthropic's model reads. */
export function anthropicImageTokens(model: string, size: Size): number {
  return patchesOf(resized(size, tierOf(model)));
}

/** Blocks whose content is read for images and documents: a list, or one object. */
const holders: ReadonlySet<unknown> = new Set(["tool_result", "web_fetch_tool_result", "web_fetch_result"]);

function blockTokens(block: JsonObject, model: string, rules: MediaRules): number {
  const { type, source, content } = block;
  if (holders.has(type)) return anthropicMediaTokens(content, model, rules);
  if (type === "document") {
    const own = isObject(source) && source["type"] === "content" ? anthropicMediaTokens(source["content"], model, rules) : 0;
    return own + anthropicFileTokens(block, rules);
  }
  if (type !== "image") return 0;
  return rules.imageTokens ?? anthropicImageTokens(model, sizeOf(isObject(source) ? source["data"] : undefined));
}

/** Tokens of the images and the documents in the content of a message. */
export function anthropicMediaTokens(content: unknown, model: string, rules: MediaRules): number {
  return sumOfParts(content, (block) => blockTokens(block, model, rules));
}
