/** Tokens of images and speech, by the examples that the providers publish and the headers of real formats. */
import { expect, test } from "vitest";
import { anthropicImageTokens } from "../../src/api/anthropic/media.ts";
import { openAiImageTokens } from "../../src/api/openai/image-tokens.ts";
import { imageSize } from "../../src/api/shared/images.ts";
import { type Endpoint, provider } from "../support/provider.ts";

const bytes = (...parts: (string | readonly number[])[]): Buffer =>
  Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part, "latin1") : Buffer.from(part))));
const rest = Array.from({ length: 40 }, () => 0);
const big = (value: number): number[] => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
const png = (width: number, height: number): Buffer => bytes([0x89], "PNG\r\n\u001a\n", big(13), "IHDR", big(width), big(height), rest);

test.each<[string, Buffer, { width: number; height: number } | null]>([
  ["PNG", png(1300, 700), { width: 1300, height: 700 }],
  ["GIF", bytes("GIF89a", [0x2c, 0x01, 0xc8, 0x00], rest), { width: 300, height: 200 }],
  [
    "JPEG behind its EXIF",
    bytes([0xff, 0xd8, 0xff, 0xe1, 0x00, 0x22], rest.slice(0, 32), [0xff, 0xc2, 0x00, 0x11, 8, 0x02, 0xbc, 0x05, 0x14], rest),
    { width: 1300, height: 700 },
  ],
  [
    "WebP, extended",
    bytes("RIFF", big(0), "WEBPVP8X", [10, 0, 0, 0], big(0), [0x13, 0x05, 0x00, 0xbb, 0x02, 0x00], rest),
    { width: 1300, height: 700 },
  ],
  [
    "WebP, lossy",
    bytes("RIFF", big(0), "WEBPVP8 ", big(0), [0, 0, 0, 0x9d, 0x01, 0x2a, 0x14, 0x05, 0xbc, 0x02], rest),
    { width: 1300, height: 700 },
  ],
  ["WebP, lossless", bytes("RIFF", big(0), "WEBPVP8L", big(0), [0x2f, 0x13, 0xc5, 0xae, 0x00], rest), { width: 1300, height: 700 }],
  ["a header that is cut", png(1, 1).subarray(0, 20), null],
  ["something else", bytes("BM", rest), null],
])("%s", (_what, image, size) => {
  expect(imageSize(image.toString("base64"))).toEqual(size);
});

test.each<[string, unknown, number, number, number]>([
  // OpenAI's own examples, of each edition of its page.
  ["gpt-4o", "high", 1024, 1024, 765],
  ["gpt-4o", "auto", 2048, 4096, 1105],
  ["gpt-4o", "low", 4096, 8192, 85],
  ["o4-mini", undefined, 1800, 2400, Math.ceil(1452 * 1.72)],
  ["gpt-5.4", "high", 1024, 1024, 1229],
  ["gpt-5.4", "high", 2048, 2048, 3000],
  ["gpt-6-astra", "high", 4096, 512, 2458],
  // What the API said on gpt-6-astra and gpt-5.5 (huggingface.co/datasets/JOHNISKING/image-token-cost).
  ["gpt-6-astra", undefined, 256, 256, 77],
  ["gpt-6-astra", "auto", 4032, 3024, 14_364],
  ["gpt-6-astra", "high", 2560, 1440, 2931],
  ["gpt-6-astra", "high", 4032, 3024, 2942],
  ["gpt-5.5", "auto", 3840, 2160, 9792],
  ["gpt-5.5-2026-04-23", undefined, 4032, 3024, 11_868],
  // By the rules.
  ["gpt-6.1-sol", "low", 4032, 3024, Math.ceil(16 * 12 * 1.2)],
  ["gpt-5.6-luna", "high", 4096, 512, Math.ceil(64 * 8 * 1.2)],
  ["gpt-5.4-nano", "low", 2048, 2048, Math.ceil(64 * 64 * 1.2)],
  ["gpt-5.4", undefined, 2048, 2048, 3000],
  ["gpt-5.4-mini", "original", 2048, 2048, Math.ceil(64 * 64 * 1.2)],
  ["gpt-5.2-pro", "original", 2048, 2048, Math.ceil(64 * 64 * 1.2)],
  ["gpt-5-mini", "low", 1024, 1024, 1229],
  ["gpt-5.1-codex-mini", "auto", 2400, 1800, Math.ceil(1452 * 1.2)],
  ["gpt-5-nano", "high", 1024, 1024, 1536],
  ["gpt-4.1-mini", undefined, 1024, 1024, Math.ceil(1024 * 1.62)],
  ["gpt-4.1-mini-2025-04-14", undefined, 320, 160, 81],
  ["gpt-4.1-nano", "low", 1800, 2400, Math.ceil(1452 * 2.46)],
  ["gpt-5", "high", 512, 512, 70 + 140],
  ["gpt-5.1", "low", 512, 512, 70],
  ["openai/gpt-4o-mini", "high", 512, 512, 2833 + 5667],
  ["ft:gpt-4.1-nano:me::1", "high", 32, 32, 3],
  ["o3", "high", 512, 512, 75 + 150],
  ["computer-use-preview", "high", 1024, 768, 65 + 4 * 129],
  ["gpt-image-1", undefined, 1024, 1024, 65 + 129],
  ["llama", "original", 1, 1, 85 + 170],
])("%s, %s, %d by %d: %d tokens", (model, detail, width, height, tokens) => {
  expect(openAiImageTokens(model, detail, { width, height })).toBe(tokens);
});

test("an image of any shape stays within its budget of patches", () => {
  const sides = [1, 31, 33, 500, 1537, 2049, 9999, 65_535, 200_000];
  for (const width of sides) {
    for (const height of sides) {
      const tokens = openAiImageTokens("o4-mini", "high", { width, height });
      expect(tokens).toBeGreaterThan(0);
      expect(tokens).toBeLessThanOrEqual(Math.ceil(1536 * 1.72));
      const visual = anthropicImageTokens("claude-haiku-4-5", { width, height });
      expect(visual).toBeGreaterThan(0);
      expect(visual).toBeLessThanOrEqual(1568);
    }
  }
});

test.each([
  // Anthropic's own table and its example of a page scanned.
  [200, 200, 64, 64],
  [1000, 1000, 1296, 1296],
  [1092, 1092, 1521, 1521],
  [1920, 1080, 1560, 2691],
  [2000, 1500, 1564, 3888],
  [3840, 2160, 1560, 4784],
  [1075, 1520, 33 * 47, 39 * 55],
])("Anthropic, %d by %d: %d tokens, and %d in high resolution", (width, height, standard, high) => {
  const of = (model: string): number => anthropicImageTokens(model, { width, height });
  for (const model of ["claude-sonnet-4-6", "claude-opus-4-20250514", "claude-haiku-4-5-20251001", "claude-3-5-sonnet-latest", "m"])
    expect([model, of(model)]).toEqual([model, standard]);
  for (const model of [
    "claude-opus-4-7",
    "anthropic/claude-opus-4.8",
    "claude-sonnet-5",
    "claude-haiku-5-5",
    "us.anthropic.claude-fable-5-v1:0",
  ])
    expect([model, of(model)]).toEqual([model, high]);
});

const pdf = (text: string): string => Buffer.from(`%PDF-1.7\n${text}`).toString("base64");

test("files count: pages of PDFs as published or as stated, others as their text", () => {
  const two = pdf("1 0 obj <</Type /Pages /Count 2>> endobj <</Type /Page>> <</Type/Page /Parent 1 0 R>>");
  const compressed = pdf("<</Type /ObjStm /Filter /FlateDecode>>");
  const linearized = pdf("<</Linearized 1 /L 9000 /O 5 /E 800 /N 12 /T 700>>");
  const text = Buffer.from("abcdefgh").toString("base64");
  const usage = (options: object, path: Endpoint, body: object): Record<string, number> =>
    (JSON.parse(provider(options).body(path, { model: "gpt-4o", max_tokens: 50, ...body })) as { usage: Record<string, number> }).usage;
  const ask = { type: "text", text: "abcd" };
  const chat = (file: object, options: object = {}): number =>
    usage(options, "/v1/chat/completions", { messages: [{ role: "user", content: [ask, { type: "file", file }] }] })["prompt_tokens"]! - 1;
  expect(chat({ file_data: `data:application/pdf;base64,${two}` })).toBe(2 * 765);
  expect(chat({ file_data: linearized })).toBe(12 * 765);
  expect([chat({ file_data: compressed }), chat({ file_id: "file-1" })]).toEqual([765, 765]);
  expect(chat({ file_data: two }, { pageTokens: 100 })).toBe(200);
  const responses = (file: object): number =>
    usage({}, "/v1/responses", {
      input: [
        {
          role: "user",
          content: [
            { ...ask, type: "input_text" },
            { type: "input_file", ...file },
          ],
        },
      ],
    })["input_tokens"]! - 1;
  expect([responses({ file_data: two }), responses({ file_url: "https://example.com/a.pdf" })]).toEqual([2 * 765, 765]);
  // A zip, as a spreadsheet is, is not read.
  expect([responses({ file_data: text }), responses({ file_data: "UEsDBP//" })]).toEqual([2, 0]);
  const messages = (source: object, options: object = {}): number =>
    usage(options, "/v1/messages", { messages: [{ role: "user", content: [ask, { type: "document", source }] }] })["input_tokens"]! - 1;
  expect(messages({ type: "base64", media_type: "application/pdf", data: two })).toBe(2 * 2333);
  expect(messages({ type: "base64", media_type: "application/pdf", data: two }, { pageTokens: 100 })).toBe(200);
  expect(messages({ type: "text", media_type: "text/plain", data: "abcdefgh" })).toBe(2);
  expect(messages({ type: "content", content: [{ type: "text", text: "abcdefgh" }] })).toBe(2);
  expect(messages({ type: "url", url: "https://example.com/a.pdf" })).toBe(2333);
});

test("they count in the usage of each endpoint, and an address alone counts as 1024 by 1024", () => {
  const data = png(1024, 1024).toString("base64");
  const url = `data:image/png;base64,${data}`;
  const usage = (path: Endpoint, body: object): Record<string, number> =>
    (JSON.parse(provider().body(path, { model: "gpt-4o", max_tokens: 50, ...body })) as { usage: Record<string, number> }).usage;
  const chat = (part: object): number =>
    usage("/v1/chat/completions", { messages: [{ role: "user", content: [{ type: "text", text: "abcd" }, part] }] })["prompt_tokens"]!;
  expect(chat({ type: "image_url", image_url: { url } })).toBe(1 + 765);
  expect(chat({ type: "image_url", image_url: { url: "https://example.com/a.png" } })).toBe(1 + 765);
  expect(chat({ type: "image_url", image_url: { url, detail: "low" } })).toBe(1 + 85);
  const fixed = JSON.parse(
    provider({ imageTokens: 7 }).body("/v1/chat/completions", {
      model: "gpt-4o",
      messages: [
        {
          role: "user",
          content: [
            { type: "text", text: "abcd" },
            { type: "image_url", image_url: { url } },
          ],
        },
      ],
    }),
  ) as { usage: { prompt_tokens: number } };
  expect(fixed.usage.prompt_tokens).toBe(1 + 7);
  // Two seconds of 16 kHz, 16 bit, one channel.
  const wav = bytes(
    "RIFF",
    big(0),
    "WAVEfmt ",
    [16, 0, 0, 0, 1, 0, 1, 0, 0x80, 0x3e, 0, 0, 0, 0x7d, 0, 0, 2, 0, 16, 0],
    "data",
    big(0),
    Array.from({ length: 64_000 }, () => 0),
  );
  expect(chat({ type: "input_audio", input_audio: { data: wav.toString("base64"), format: "wav" } })).toBe(1 + 20);
  const input = [
    {
      role: "user",
      content: [
        { type: "input_text", text: "abcd" },
        { type: "input_image", image_url: url, detail: "auto" },
      ],
    },
  ];
  expect(usage("/v1/responses", { input })["input_tokens"]).toBe(1 + 765);
  const image = { type: "image", source: { type: "base64", media_type: "image/png", data } };
  const content = [{ type: "text", text: "abcd" }, image, { type: "tool_result", tool_use_id: "t", content: [image] }];
  expect(usage("/v1/messages", { messages: [{ role: "user", content }] })["input_tokens"]).toBe(1 + 2 * 37 * 37);
});

test("what tools put out counts as what a user says: screenshots, images in lists, pages that were fetched", () => {
  const url = `data:image/png;base64,${png(1024, 1024).toString("base64")}`;
  const responses = (item: object, options: object = {}): number => {
    const call = { type: "message", role: "user", content: "abcd" };
    const { usage } = JSON.parse(provider(options).body("/v1/responses", { model: "gpt-4o", input: [call, item] })) as {
      usage: { input_tokens: number };
    };
    return usage.input_tokens - 1;
  };
  const screenshot = { type: "computer_call_output", call_id: "c", output: { type: "computer_screenshot", image_url: url } };
  expect([responses(screenshot), responses(screenshot, { imageTokens: 7 })]).toEqual([765, 7]);
  expect(responses({ ...screenshot, output: { type: "computer_screenshot", file_id: "file-1" } })).toBe(765);
  const image = { type: "input_image", image_url: url, detail: "low" };
  const file = { type: "input_file", file_data: pdf("<</Type /Page>>"), detail: "low" };
  for (const type of ["function_call_output", "custom_tool_call_output"])
    expect(responses({ type, call_id: "c", output: [image, image, file] })).toBe(3 * 85);
  const printed = [{ stdout: "abcdefgh", stderr: "ijkl", outcome: { type: "exit", exit_code: 0 } }];
  expect(responses({ type: "shell_call_output", call_id: "c", output: printed })).toBe(3);

  const messages = (block: object): number => {
    const body = { model: "m", max_tokens: 9, messages: [{ role: "user", content: [{ type: "text", text: "abcd" }, block] }] };
    return (JSON.parse(provider().body("/v1/messages", body)) as { usage: { input_tokens: number } }).usage.input_tokens - 1;
  };
  const found = { type: "search_result", title: "t", source: "s", content: [{ type: "text", text: "abcdefgh" }] };
  expect([messages(found), messages({ type: "tool_result", tool_use_id: "t", content: [found] })]).toEqual([2, 2]);
  const source = { type: "base64", media_type: "application/pdf", data: pdf("<</Type /Page>>") };
  const fetched = { type: "web_fetch_result", url: "https://example.com/a.pdf", content: { type: "document", source } };
  expect(messages({ type: "web_fetch_tool_result", tool_use_id: "t", content: fetched })).toBe(2333);
  expect(messages({ type: "tool_result", tool_use_id: "t", content: [{ type: "document", source }] })).toBe(2333);
});

test("Gemini 3 counts by its media resolution, and what a function has answered", () => {
  const inlineData = { mimeType: "image/png", data: png(1024, 1024).toString("base64") };
  const page = { mimeType: "application/pdf", data: pdf("<</Type /Page>>") };
  const details = (model: string, parts: object[], generationConfig: object = {}): unknown => {
    const body = { contents: [{ role: "user", parts: [{ text: "abcd" }, ...parts] }], generationConfig };
    const answer = JSON.parse(provider().body(`/v1beta/models/${model}:generateContent`, body)) as {
      usageMetadata: { promptTokensDetails: { modality: string; tokenCount: number }[] };
    };
    return Object.fromEntries(answer.usageMetadata.promptTokensDetails.map(({ modality, tokenCount }) => [modality, tokenCount]));
  };
  expect(details("gemini-2.5-pro", [{ inlineData }])).toEqual({ TEXT: 1, IMAGE: 4 * 258 });
  expect(details("gemini-3-flash", [{ inlineData }, { inlineData: page }])).toEqual({ TEXT: 1, IMAGE: 1120, DOCUMENT: 560 });
  const low = { mediaResolution: "MEDIA_RESOLUTION_LOW" };
  expect(details("gemini-3-flash", [{ inlineData }, { inlineData: page }], low)).toEqual({ TEXT: 1, IMAGE: 280, DOCUMENT: 280 });
  const own = { inlineData, mediaResolution: { level: "MEDIA_RESOLUTION_ULTRA_HIGH" } };
  expect(details("gemini-3-flash", [own], low)).toEqual({ TEXT: 1, IMAGE: 2240 });
  const answered = (parts?: object[]): object => ({ functionResponse: { name: "look", response: {}, parts } });
  const told = details("gemini-3-flash", [answered()]) as { TEXT: number };
  expect(details("gemini-3-flash", [answered([{ inlineData }])])).toEqual({ TEXT: told.TEXT, IMAGE: 1120 });
});
