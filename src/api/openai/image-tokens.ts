/**
 * How many tokens OpenAI's models count for an image: developers.openai.com/api/docs/guides/images-vision, "Model sizing behavior" and
 * "Calculating costs", as of October 2026. Rows that this edition no longer has are as an edition before it had them.
 */
import type { Size } from "../shared/images.ts";

/** What an image is scaled down to. */
interface Limit {
  /** Pixels of its longer side. */
  readonly edge: number;
  /** Patches of 32 pixels squared. */
  readonly patches: number;
}

/** An image is covered with patches, each of which costs `multiplier` tokens. Absent details are as `high`. */
interface PatchRule {
  readonly multiplier: number;
  readonly high: Limit;
  readonly low?: Limit;
  readonly original?: Limit;
  /** What "auto" and nothing said are. */
  readonly auto?: "original";
}

/** An image has `base` tokens, and `tile` more for each square of 512 pixels that it needs. With detail "low" the base alone. */
interface TileRule {
  readonly base: number;
  readonly tile: number;
  /** Pixels to which its shorter side is scaled down. */
  readonly shortSide: number;
}

const thumbnail: Limit = { edge: 512, patches: Number.POSITIVE_INFINITY };
const high: Limit = { edge: 2048, patches: 2500 };
const large: Limit = { edge: 2048, patches: 6144 };
const original: Limit = { edge: 6000, patches: 10_000 };
const whole: Limit = { edge: 65_535, patches: Number.POSITIVE_INFINITY };
/** Of models that the sizing table has dropped: its edition of July 2026. */
const small: Limit = { edge: 2048, patches: 1536 };

/** The first row that fits a name without its provider and dates. */
const patchRules: readonly (readonly [RegExp, PatchRule])[] = [
  // "Model sizing behavior": gpt-6-astra. The page names no other GPT-6; they are taken to be as this one.
  [/^gpt-[6-9]/, { multiplier: 1.2, high: { edge: whole.edge, patches: high.patches }, low: thumbnail, original: whole, auto: "original" }],
  // gpt-5.6-sol, -terra, -luna.
  [/^gpt-5\.[6-9]/, { multiplier: 1.2, high, low: thumbnail, original: whole, auto: "original" }],
  [/^gpt-5\.5/, { multiplier: 1.2, high, low: thumbnail, original, auto: "original" }],
  // gpt-5.4, -mini, -nano: "low" can use more tokens than "high".
  [/^gpt-5\.4/, { multiplier: 1.2, high, low: large, original }],
  // gpt-5.2 with its variants; gpt-5.3-codex stood beside it in July.
  [/^gpt-5\.[23]/, { multiplier: 1.2, high: large }],
  // gpt-5-mini, gpt-5.1-mini, gpt-5-codex-mini, gpt-5.1-codex-mini.
  [/^gpt-5(?:\.1)?(?:-codex)?-mini/, { multiplier: 1.2, high: small }],
  [/^gpt-5-nano/, { multiplier: 1.5, high: small }],
  [/^gpt-4\.1-mini/, { multiplier: 1.62, high: large }],
  [/^gpt-4\.1-nano/, { multiplier: 2.46, high: small }],
  [/^o4-mini/, { multiplier: 1.72, high: small }],
];

/** "Tile-based image tokenization". */
const tileRules: readonly (readonly [RegExp, TileRule])[] = [
  // gpt-5, gpt-5.1 and their variants.
  [/^gpt-5/, { base: 70, tile: 140, shortSide: 768 }],
  [/^gpt-4o-mini/, { base: 2833, tile: 5667, shortSide: 768 }],
  [/^o[13]/, { base: 75, tile: 150, shortSide: 768 }],
  // The edition of July 2026.
  [/^computer-use/, { base: 65, tile: 129, shortSide: 768 }],
  // "GPT Image 1", with input fidelity "low".
  [/^(?:chat)?gpt-image/, { base: 65, tile: 129, shortSide: 512 }],
  // gpt-4o, gpt-4.1, gpt-4.5; and names that the page does not have.
  [/^/, { base: 85, tile: 170, shortSide: 768 }],
];

/** Scaled down, never up, to an edge. */
function fitted({ width, height }: Size, edge: number): Size {
  const scale = Math.min(1, edge / Math.max(width, height));
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}

function patchesOver({ width, height }: Size): number {
  return Math.ceil(width / 32) * Math.ceil(height / 32);
}

/** Patches of an image after steps A to C of "Patch-based image tokenization". */
function patchesOf(size: Size, limit: Limit): number {
  const { width, height } = fitted(size, limit.edge);
  const needed = patchesOver({ width, height });
  if (needed <= limit.patches) return needed;
  const shrink = Math.sqrt((32 * 32 * limit.patches) / (width * height));
  const [columns, rows] = [(width * shrink) / 32, (height * shrink) / 32];
  const adjusted = shrink * Math.min(Math.floor(columns) / columns, Math.floor(rows) / rows);
  return Math.max(1, patchesOver({ width: Math.floor(width * adjusted), height: Math.floor(height * adjusted) }));
}

function tilesOf(size: Size, shortSide: number): number {
  const { width, height } = fitted(size, 2048);
  const scale = Math.min(1, shortSide / Math.min(width, height));
  return Math.ceil(Math.floor(width * scale) / 512) * Math.ceil(Math.floor(height * scale) / 512);
}

function limitOf(rule: PatchRule, detail: unknown): Limit {
  if (detail === "low") return rule.low ?? rule.high;
  if (detail === "original" || (detail !== "high" && rule.auto === "original")) return rule.original ?? rule.high;
  return rule.high;
}

/** Tokens of an image that OpenAI's model reads. `model` may have its provider before it ("openai/gpt-5.5", "ft:gpt-4o:me::1"). */
export function openAiImageTokens(model: string, detail: unknown, size: Size): number {
  const name = model.replace(/^(?:.*\/|ft:)/, "");
  const patch = patchRules.find(([pattern]) => pattern.test(name))?.[1];
  // In hundredths, which are whole: 50 * 1.62 is more than 81.
  if (patch !== undefined) return Math.ceil((patchesOf(size, limitOf(patch, detail)) * Math.round(patch.multiplier * 100)) / 100);
  const { base, tile, shortSide } = tileRules.find(([pattern]) => pattern.test(name))![1];
  return detail === "low" ? base : base + tile * tilesOf(size, shortSide);
}
