/** Tokens of images and speech, by the examples that the providers publish and the headers of real formats. */
import { expect, test } from "vitest";
import { anthropicImageTokens, imageSize, openAiImageTokens } from "../../src/api/shared/media.ts";
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
  // OpenAI's own examples.
  ["gpt-4o", "high", 1024, 1024, 765],
  ["gpt-4o", "auto", 2048, 4096, 1105],
  ["gpt-4o", "low", 4096, 8192, 85],
  ["gpt-4.1-mini", undefined, 1024, 1024, Math.ceil(1024 * 1.62)],
  ["o4-mini", undefined, 1800, 2400, Math.ceil(1452 * 1.72)],
  ["gpt-5", "high", 512, 512, 70 + 140],
])("%s, %s, %d by %d: %d tokens", (model, detail, width, height, tokens) => {
  expect(openAiImageTokens(model, detail, { width, height })).toBe(tokens);
});

test.each([
  [200, 200, 54],
  [1000, 1000, 1334],
  [1092, 1092, 1590],
  [8000, 8000, 1600],
])("Anthropic, %d by %d: %d tokens", (width, height, tokens) => {
  expect(anthropicImageTokens({ width, height })).toBe(tokens);
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
  expect(usage("/v1/messages", { messages: [{ role: "user", content }] })["input_tokens"]).toBe(1 + 2 * Math.ceil(1024 ** 2 / 750));
});
