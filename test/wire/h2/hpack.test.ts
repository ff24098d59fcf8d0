/** HPACK (RFC 7541): the examples of its appendix C, and that a decoder reads what an encoder writes. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Field } from "../../../src/wire/h2/header-table.ts";
import { HpackDecoder, HpackEncoder, type Indexing } from "../../../src/wire/h2/hpack.ts";
import { HpackError } from "../../../src/wire/h2/hpack-error.ts";

/** The fields of a block, and the size of the list. */
function decode(decoder: HpackDecoder, block: Buffer): { fields: Field[]; size: number } {
  const fields: Field[] = [];
  // As in a read buffer, with other bytes around.
  const around = Buffer.concat([Buffer.from([0x82]), block, Buffer.from([0x82])]);
  const size = decoder.decode(around, 1, around.length - 1, (name, value) => fields.push([name, value]));
  return { fields, size };
}

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");
const encode = (encoder: HpackEncoder, fields: readonly Field[], indexing: Indexing = "incremental"): Buffer => {
  for (const [name, value] of fields) encoder.field(name, value, indexing);
  return encoder.take();
};

/** Appendix C.4 and C.6: with Huffman coding, on one connection each. */
const examples: readonly {
  readonly tableBytes: number;
  readonly blocks: readonly (readonly [block: string, fields: readonly Field[]])[];
}[] = [
  {
    tableBytes: 4096,
    blocks: [
      [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        [
          [":method", "GET"],
          [":scheme", "http"],
          [":path", "/"],
          [":authority", "www.example.com"],
        ],
      ],
      [
        "8286 84be 5886 a8eb 1064 9cbf",
        [
          [":method", "GET"],
          [":scheme", "http"],
          [":path", "/"],
          [":authority", "www.example.com"],
          ["cache-control", "no-cache"],
        ],
      ],
      [
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        [
          [":method", "GET"],
          [":scheme", "https"],
          [":path", "/index.html"],
          [":authority", "www.example.com"],
          ["custom-key", "custom-value"],
        ],
      ],
    ],
  },
  {
    // Entries are evicted. The update to 256 bytes, 3fe101, stands before the first block.
    tableBytes: 256,
    blocks: [
      [
        "3fe1 0148 8264 0258 85ae c377 1a4b 6196 d07a be94 1054 d444 a820 0595 040b 8166 e082 a62d 1bff 6e91 9d29 ad17 1863 c78f 0b97 c8e9 ae82 ae43 d3",
        [
          [":status", "302"],
          ["cache-control", "private"],
          ["date", "Mon, 21 Oct 2013 20:13:21 GMT"],
          ["location", "https://www.example.com"],
        ],
      ],
      [
        "4883 640e ffc1 c0bf",
        [
          [":status", "307"],
          ["cache-control", "private"],
          ["date", "Mon, 21 Oct 2013 20:13:21 GMT"],
          ["location", "https://www.example.com"],
        ],
      ],
      [
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        [
          [":status", "200"],
          ["cache-control", "private"],
          ["date", "Mon, 21 Oct 2013 20:13:22 GMT"],
          ["location", "https://www.example.com"],
          ["content-encoding", "gzip"],
          ["set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"],
        ],
      ],
    ],
  },
];

const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/);
const value = fc.string({ unit: fc.integer({ min: 32, max: 255 }).map((code) => String.fromCharCode(code)), maxLength: 200 });
const known = fc.constantFrom<Field>([":status", "200"], [":status", "429"], ["content-type", "application/json"], ["server", ""]);
const field = fc.oneof(fc.tuple(name, value), fc.tuple(fc.constantFrom("x-a", "x-b"), fc.constantFrom("1", "2")), known);
const indexing = fc.constantFrom<Indexing>("incremental", "without", "never");

describe("the examples of appendix C", () => {
  test.each(examples)("with a table of $tableBytes bytes", ({ tableBytes, blocks }) => {
    const decoder = new HpackDecoder();
    const encoder = new HpackEncoder(tableBytes);
    for (const [block, fields] of blocks) {
      expect(decode(decoder, hex(block)).fields).toEqual(fields);
      // Where the Huffman code is as long as the text (":status: 307") the example has the code, and the encoder the text.
      expect(encode(encoder, fields).toString("hex").replace("4803333037", "4883640eff")).toBe(hex(block).toString("hex"));
    }
  });

  test("a secret is never indexed (C.2.3, with the Huffman code where it is shorter)", () => {
    const decoder = new HpackDecoder();
    expect(decode(decoder, hex("1008 7061 7373 776f 7264 0673 6563 7265 74")).fields).toEqual([["password", "secret"]]);
    const encoder = new HpackEncoder();
    const block = encode(encoder, [["password", "secret"]], "never");
    expect(block[0]).toBe(0x10);
    expect(encode(encoder, [["password", "secret"]], "never")).toEqual(block);
  });
});

describe("a connection", () => {
  test("a decoder reads what an encoder writes, block after block, while the size of the table changes", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.array(fc.tuple(field, indexing), { maxLength: 20 }), fc.array(fc.nat(6000), { maxLength: 3 })), {
          minLength: 1,
          maxLength: 8,
        }),
        fc.constantFrom(0, 100, 4096, 8192),
        (blocks, maxTableBytes) => {
          const encoder = new HpackEncoder(maxTableBytes);
          const decoder = new HpackDecoder();
          for (const [fields, sizes] of blocks) {
            // The decoder's end announces each size; all are acknowledged before the next block.
            for (const size of sizes) {
              encoder.limitTable(size);
              decoder.limitTable(size);
            }
            for (const [[name, value], indexing] of fields) encoder.field(name, value, indexing);
            const { fields: got, size } = decode(decoder, encoder.take());
            expect(got).toEqual(fields.map(([field]) => field));
            expect(size).toBe(got.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0));
          }
        },
      ),
    );
  });

  test("encoded fields mean the same for as long as the table's version is the same", () => {
    fc.assert(
      fc.property(
        fc.array(field, { minLength: 1, maxLength: 6 }),
        fc.array(fc.tuple(field, indexing), { maxLength: 8 }),
        (base, others) => {
          const encoder = new HpackEncoder();
          const decoder = new HpackDecoder();
          decode(decoder, encode(encoder, base));
          const version = encoder.tableVersion;
          const cached = encode(encoder, base);
          expect(encoder.tableVersion).toBe(version);
          decode(decoder, cached);
          for (const [[name, value], indexing] of others) encoder.field(name, value, indexing);
          decode(decoder, encoder.take());
          if (encoder.tableVersion !== version) return;
          encoder.field(":path", "/", "without");
          encoder.append(cached);
          expect(decode(decoder, encoder.take()).fields).toEqual([[":path", "/"], ...base]);
        },
      ),
    );
  });

  test("a size that went down and up again is told twice: entries are gone (section 4.2)", () => {
    const encoder = new HpackEncoder();
    const decoder = new HpackDecoder();
    decode(decoder, encode(encoder, [["a", "b"]]));
    encoder.limitTable(0);
    encoder.limitTable(4096);
    const block = encode(encoder, [["a", "b"]]);
    expect(block.subarray(0, 4).toString("hex")).toBe("203fe11f");
    expect(decode(decoder, block).fields).toEqual([["a", "b"]]);
  });
});

describe("what is refused", () => {
  test.each<[string, string]>([
    ["index 0 (section 6.1)", "80"],
    ["an index beyond the tables (section 2.3.3)", "be"],
    ["a table size above the limit (section 6.3)", "3fe2 1f"],
    ["a size update behind a field (section 4.2)", "8220"],
    ["an integer of more than 32 bits (section 5.1)", "7fff ffff ff7f"],
    ["an integer of endless zeros (section 5.1)", `007f ${"80".repeat(200)} 00`],
    ["an integer that does not end", "7f80"],
    ["a string that does not end", "0005 6162"],
    ["a string without a length", "00"],
    ["EOS in a string (section 5.2)", "0084 ffff fffc 00"],
    ["padding of 8 bits (section 5.2)", "0082 1fff 00"],
    ["padding of zeros (section 5.2)", "0081 1800"],
  ])("%s", (_, block) => {
    expect(() => decode(new HpackDecoder(), hex(block))).toThrow(HpackError);
  });

  test("a block without a size update after our limit went below the size in use", () => {
    const decoder = new HpackDecoder();
    decoder.limitTable(100);
    expect(() => decode(decoder, hex("82"))).toThrow(HpackError);
    expect(decode(new HpackDecoder(), hex("3f45 82")).fields).toEqual([[":method", "GET"]]);
  });

  test("nonsense ends in fields or in HpackError, and in nothing else", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 4 }), (blocks) => {
        const decoder = new HpackDecoder();
        for (const block of blocks) {
          try {
            decode(decoder, Buffer.from(block));
          } catch (error) {
            expect(error).toBeInstanceOf(HpackError);
          }
        }
      }),
    );
  });
});
