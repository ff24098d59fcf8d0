/** What a load is made from: arrivals and traces. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { constantArrivalsUs, poissonArrivalsUs } from "../../src/load/arrivals.ts";
import { csvRows } from "../../src/load/records.ts";
import { readTrace, TraceError } from "../../src/load/trace.ts";

describe("arrivals", () => {
  test("a constant rate has equal gaps from 0", () => {
    expect([...constantArrivalsUs(200, 4)]).toEqual([0, 5000, 10_000, 15_000]);
    expect(() => constantArrivalsUs(0, 1)).toThrow(RangeError);
    expect(() => poissonArrivalsUs(Number.NaN, 1, 1)).toThrow(RangeError);
  });

  test("Poisson gaps are exponential with the mean of the rate, the same for the same seed", () => {
    const count = 100_000;
    const at = poissonArrivalsUs(1000, count, 7);
    expect(at).toEqual(poissonArrivalsUs(1000, count, 7));
    expect(at).not.toEqual(poissonArrivalsUs(1000, count, 8));
    const gaps = at.map((us, i) => us - (at[i - 1] ?? 0));
    const mean = at[count - 1]! / count;
    const variance = gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / count;
    // 5 standard errors: 1/sqrt(n) of the mean, and of an exponential's deviation sqrt(2/n) of it.
    expect(Math.abs(mean / 1000 - 1)).toBeLessThan(5 / Math.sqrt(count));
    expect(Math.abs(Math.sqrt(variance) / 1000 - 1)).toBeLessThan(5 * Math.sqrt(2 / count));
    const overMean = gaps.filter((gap) => gap > 1000).length / count;
    expect(Math.abs(overMean - Math.exp(-1))).toBeLessThan(0.01);
    expect(Math.min(...gaps.slice(0, 1000))).toBeGreaterThan(0);
  });
});

/** Published, and not in the repository: the folder that FAKEAI_TRACES names has it. */
const mooncake = join(process.env["FAKEAI_TRACES"] ?? "traces", "mooncake-conversation.jsonl");

describe("traces", () => {
  const directory = mkdtempSync(join(tmpdir(), "fakeai-trace-"));
  afterAll(() => rmSync(directory, { recursive: true }));
  const file = (text: string | Buffer): string => {
    const path = join(directory, "trace");
    writeFileSync(path, text);
    return path;
  };

  test("Azure's CSV: seven fractional digits, no newline at the end", () => {
    const text = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46.6805900,374,44\r\n2023-11-16 18:15:50.9951690,396,109";
    const requests = readTrace(file(text));
    expect(requests.map(({ inputTokens, outputTokens }) => [inputTokens, outputTokens])).toEqual([
      [374, 44],
      [396, 109],
    ]);
    expect(requests[0]!.atMs).toBe(0);
    expect(requests[1]!.atMs).toBeCloseTo(4314.579, 3);
  });

  test("Azure's 2024 form, with offsets and out of order", () => {
    const text = "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:01.5+00:00,2,3\n2024-05-10 01:00:00.000000+01:00,1,1\n";
    expect(readTrace(file(text))).toMatchObject([
      { atMs: 0, inputTokens: 1, outputTokens: 1 },
      { atMs: 1500, inputTokens: 2, outputTokens: 3 },
    ]);
  });

  const azure = "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:01,5,7\n2024-05-10 00:00:02.5,6,8\n";
  const asRead = [
    { atMs: 0, inputTokens: 5, outputTokens: 7 },
    { atMs: 1500, inputTokens: 6, outputTokens: 8 },
  ];
  const utf16 = (text: string): Buffer => Buffer.from(`\u{feff}${text}`, "utf16le");
  test.each<[string, string | Buffer]>([
    ["quotes", 'TIMESTAMP,"ContextTokens","GeneratedTokens"\n"2024-05-10 00:00:01","5",7\r\n2024-05-10 00:00:02.5,6,"8"'],
    ["a quoted cell with line ends, separators and quotes", `note,${azure.replaceAll("\n2", '\n"a ""b"",\n\r\n",2')}`],
    ["blank lines first, between and last", `\n  \n${azure.replaceAll("\n", "\n\n")}\n`],
    ["semicolons", azure.replaceAll(",", ";")],
    ["tabs", azure.replaceAll(",", "\t")],
    ["line ends of CR alone", azure.replaceAll("\n", "\r")],
    ["UTF-8 with a byte order mark", `\u{feff}${azure}`],
    ["UTF-16, little end first", utf16(azure)],
    ["UTF-16, big end first", utf16(azure).swap16()],
    [
      "a JSON array",
      ' [ {"timestamp":1000,"input_length":5,"output_length":7},\n{"timestamp":2500,"input_length":6,"output_length":8} ]\n',
    ],
    [
      "blank lines of JSON",
      '\n{"timestamp":1000,"input_length":5,"output_length":7}\r\n \n{"timestamp":2500,"input_length":6,"output_length":8}',
    ],
    ["a fraction of zero", '{"timestamp":1e3,"input_length":5.0,"output_length":7}\n{"timestamp":2500,"input_length":6,"output_length":8}'],
    [
      "BurstGPT, without its failures",
      "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n1,ChatGPT,5,7,12,API log\n2,GPT-4,9,0,9,API log\n2.5,GPT-4,6,8,14,API log\n",
    ],
    [
      "qwen-bailian",
      '{"chat_id":1,"parent_chat_id":-1,"timestamp":1,"input_length":5,"output_length":7}\n{"chat_id":2,"parent_chat_id":-1,"timestamp":2.5,"input_length":6,"output_length":8}',
    ],
  ])("%s are read", (_what, text) => {
    expect(readTrace(file(text))).toMatchObject(asRead);
  });

  test("where the unit of times is not known, it is asked for", () => {
    const seconds = "timestamp,input_tokens,output_tokens\n1,5,7\n2.5,6,8\n";
    expect(() => readTrace(file(seconds))).toThrow(/line 2: "timestamp" may be seconds or milliseconds: say --trace-unit/);
    expect(readTrace(file(seconds), { unit: "s" })).toMatchObject(asRead);
    expect(readTrace(file(seconds), { unit: "ms" })[1]!.atMs).toBeCloseTo(1.5, 9);
    // guidellm writes Mooncake's members with seconds, AIPerf with milliseconds.
    const mooncake = '{"timestamp":0.5,"input_length":5,"output_length":7}\n';
    expect(() => readTrace(file(mooncake))).toThrow(/--trace-unit/);
  });

  test("turns of a session follow each other: the first at its time, the others after their delays", () => {
    const rows = [
      { session_id: "a", timestamp: 1000, input_length: 100, output_length: 5 },
      { session_id: "b", timestamp: 1500, input_length: 50, output_length: 6 },
      { session_id: "a", delay: 250.5, input_length: 200, output_length: 7 },
      { session_id: "a", delay: 0, input_length: 300, output_length: 8 },
    ];
    const read = readTrace(file(rows.map((row) => JSON.stringify(row)).join("\n")));
    expect(read.map(({ atMs, after, delayMs, session }) => ({ atMs, after, delayMs, session }))).toEqual([
      { atMs: 0, after: null, delayMs: 0, session: "a" },
      { atMs: null, after: 0, delayMs: 250.5, session: "a" },
      { atMs: null, after: 1, delayMs: 0, session: "a" },
      { atMs: 500, after: null, delayMs: 0, session: "b" },
    ]);
  });

  test("qwen-bailian: a turn follows its parent, not before its own time; BurstGPT: the row before it of its session", () => {
    const rows = [
      { chat_id: 1, parent_chat_id: -1, timestamp: 0.5, input_length: 16, output_length: 1, hash_ids: [7] },
      { chat_id: 5, parent_chat_id: 99, timestamp: 1, input_length: 1, output_length: 1, hash_ids: [8] },
      { chat_id: 9, parent_chat_id: 1, timestamp: 3, input_length: 17, output_length: 1, hash_ids: [7, 9] },
    ];
    const read = readTrace(file(rows.map((row) => JSON.stringify(row)).join("\n")));
    expect(read.map(({ atMs, after, blocks }) => ({ atMs, after, blocks }))).toEqual([
      { atMs: 0, after: null, blocks: { ids: [7], tokens: 16 } },
      { atMs: 500, after: null, blocks: { ids: [8], tokens: 16 } },
      { atMs: 2500, after: 0, blocks: { ids: [7, 9], tokens: 16 } },
    ]);
    const burst =
      "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n1,x,1,GPT-4,5,7,12,c\n2,,1,GPT-4,5,7,12,c\n3,x,1,GPT-4,6,8,14,c\n";
    expect(readTrace(file(burst)).map(({ atMs, after }) => ({ atMs, after }))).toEqual([
      { atMs: 0, after: null },
      { atMs: 1000, after: null },
      { atMs: 2000, after: 0 },
    ]);
  });

  test("AIPerf's texts: whole histories as they are, new parts after what was said before", () => {
    const rows = [
      {
        session_id: "c",
        turns: [
          { text: "One", output_length: 3 },
          { text: "Two", delay: 1000 },
        ],
      },
      { session_id: "d", message_mode: "delta", messages: [{ role: "user", content: "Three" }], output_length: 4, timestamp: 0 },
    ];
    const [first, second] = readTrace(file(JSON.stringify(rows[0])));
    expect(first).toMatchObject({
      atMs: null,
      after: null,
      inputTokens: 1,
      outputTokens: 3,
      given: { messages: [{ role: "user", content: "One" }] },
    });
    const { messages } = second!.given!;
    expect(messages.map(({ role }) => role)).toEqual(["user", "assistant", "user"]);
    expect(String(messages[1]!.content).split(" ")).toHaveLength(3);
    expect(second).toMatchObject({ atMs: null, after: 0, delayMs: 1000, outputTokens: null });
    const whole = {
      session_id: "e",
      timestamp: 5,
      messages: [
        { role: "user", content: "a" },
        { role: "assistant", content: "b" },
        { role: "user", content: "c" },
      ],
      output_length: 2,
    };
    expect(readTrace(file(JSON.stringify([rows[1], whole])))).toMatchObject([
      { atMs: 0, outputTokens: 4, given: { messages: [{ role: "user", content: "Three" }] } },
      { atMs: 5, outputTokens: 2, given: { messages: whole.messages } },
    ]);
  });

  test("lengths without times, as Vidur has them of ShareGPT", () => {
    const text = ",num_prefill_tokens,num_decode_tokens,pd_ratio\n0,5,7,0.7\n1,6,8,0.7\n";
    expect(readTrace(file(text)).map(({ atMs, inputTokens, outputTokens }) => [atMs, inputTokens, outputTokens])).toEqual([
      [null, 5, 7],
      [null, 6, 8],
    ]);
  });

  test("all of Mooncake's conversations, with their blocks", ({ skip }) => {
    skip(!existsSync(mooncake), `${mooncake} is missing: set FAKEAI_TRACES to the folder that has it`);
    const read = readTrace(mooncake);
    expect(read).toHaveLength(12_031);
    expect(read.every(({ blocks, inputTokens }) => blocks!.tokens === 512 && blocks!.ids.length === Math.ceil(inputTokens / 512))).toBe(
      true,
    );
  });

  test("Mooncake's JSONL", () => {
    const text =
      '{"timestamp": 27000, "input_length": 10, "output_length": 5, "hash_ids": [0]}\n{"timestamp": 30000, "input_length": 1, "output_length": 2}\n';
    expect(readTrace(file(text))).toMatchObject([
      { atMs: 0, inputTokens: 10, outputTokens: 5 },
      { atMs: 3000, inputTokens: 1, outputTokens: 2 },
    ]);
  });

  test.each([
    ["", /no trace/],
    ["a,b,c\n1,2,3\n", /no trace: expected a header/],
    ["TIMESTAMP,ContextTokens,GeneratedTokens\n", /holds no requests/],
    ["TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,1\n", /line 2: "TIMESTAMP" must be a time, not "yesterday"/],
    ["TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,1\n", /line 2: "GeneratedTokens"/],
    ["TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,-1,2\n", /line 2: "ContextTokens"/],
    ['{"timestamp":0,"input_length":1,"output_length":1}\n{broken\n', /line 2: not JSON/],
    ['{"timestamp":"0","input_length":1,"output_length":1}\n', /line 1: "timestamp"/],
    ['{"timestamp":0,"output_length":1}\n', /line 1: "input_length"/],
    ['{"timestamp":0,"input_length":null,"output_length":1}\n', /line 1: "input_length" must be a whole number.*not null/],
    ['{"timestamp":0,"input_length":true,"output_length":1}\n', /line 1: "input_length".*not true/],
    ['{"timestamp":0,"input_length":[5],"output_length":1}\n', /line 1: "input_length".*not \[5\]/],
    ['{"timestamp":0,"input_length":" ","output_length":1}\n', /line 1: "input_length"/],
    ['{"timestamp":0,"input_length":"5","output_length":1}\n', /line 1: "input_length"/],
    ['{"timestamp":0,"input_length":1.5,"output_length":1}\n', /line 1: "input_length"/],
    ['{"timestamp":0,"input_length":1,"output_length":1e9}\n', /line 1: "output_length" must be a whole number of tokens, up to 10000000/],
    ['\n{"timestamp":1e400,"input_length":1,"output_length":1}\n', /line 2: "timestamp" must be a time/],
    ['{"timestamp":-1,"input_length":1,"output_length":1}\n', /line 1: "timestamp"/],
    ['[{"timestamp":0,"input_length":1,"output_length":1},\n\n5]', /line 3: not a JSON object/],
    ['[{"timestamp":0,"input_length":1,"output_length":1},\n]', /line 2: a value is missing/],
    ['[{"timestamp":0,"input_length":1,"output_length":1}', /line 1: the JSON array does not end/],
    ['[{"timestamp":0,"input_length":1,"output_length":1}] x', /something follows/],
    ["TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,0x10,2\n", /line 2: "ContextTokens"/],
    ["TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46, ,2\n", /line 2: "ContextTokens"/],
    ["TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,1000000000,2\n", /line 2: "ContextTokens"/],
    ["TIMESTAMP,ContextTokens,GeneratedTokens\n2023-02-30 18:15:46,1,2\n", /line 2: "TIMESTAMP" must be a time/],
    ["TIMESTAMP,ContextTokens,GeneratedTokens\n2023-02-03 25:15:46,1,2\n", /line 2: "TIMESTAMP" must be a time/],
    ['TIMESTAMP,ContextTokens,GeneratedTokens\n"2023-11-16 18:15:46,1,2\n', /line 2: a quote is not closed/],
    ['TIMESTAMP,ContextTokens,GeneratedTokens\n"2023-11-16 18:15:46"x,1,2\n', /line 2: text follows a closing quote/],
    ["TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,1,2,3\n", /line 2: 4 cells, where the header has 3/],
    [
      '{"timestamp":0,"input_length":20,"output_length":1,"hash_ids":[1,2]}\n',
      /line 1: 20 tokens are 1 blocks of 512, but "hash_ids" has 2 \(--trace-block-size\)/,
    ],
    ['{"timestamp":0,"input_length":20,"output_length":1,"hash_ids":["1"]}\n', /line 1: "hash_ids" must be a list/],
    ['{"session_id":"a","timestamp":0,"input_length":1,"output_length":1,"delay":-1}\n', /line 1: "delay" must be milliseconds/],
    ['{"session_id":[1],"timestamp":0,"input_length":1,"output_length":1}\n', /line 1: "session_id" must be/],
    ['{"timestamp":0,"input_length":1,"output_length":1}\n{"input_length":1,"output_length":1}\n', /line 2: a time is missing/],
    ['{"session_id":"a","turns":[5]}\n', /line 1: a turn is no object/],
    ['{"timestamp":0,"text_input":5,"output_length":1}\n', /line 1: "text_input" must be a text/],
    [Buffer.from([0x7b, 0xff, 0x7d]), /line 1: not UTF-8 text/],
    [Buffer.from([0x1f, 0x8b, 8, 0]), /is gzip/],
  ])("%j is refused in one line", (text, message) => {
    const path = file(text);
    expect(() => readTrace(path)).toThrow(message);
    expect(() => readTrace(path)).toThrow(/^[^\n]+$/);
  });

  test("a file that is not there", () => {
    expect(() => readTrace(join(directory, "none"))).toThrow(/cannot read the trace .*ENOENT/);
  });

  test("cells of any text come back as RFC 4180 has them written", () => {
    const written = (cell: string): string => `"${cell.replaceAll('"', '""')}"`;
    const cell = fc.string({ unit: fc.constantFrom(",", ";", '"', "\n", "\r", "a", " ", "\u{1f600}"), maxLength: 8 });
    const rows = fc.array(fc.array(cell, { minLength: 2, maxLength: 4 }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(rows, fc.constantFrom(",", ";"), fc.constantFrom("\n", "\r\n", "\r"), (cells, separator, end) => {
        const text = cells.map((row) => row.map(written).join(separator)).join(end);
        expect([...csvRows(text, separator, "x")].map((row) => row.cells)).toEqual(cells);
      }),
      { seed: 13, numRuns: 500 },
    );
  });

  test("whatever a file holds, it is read within bounds or refused in one line", () => {
    const number = fc.constantFrom(
      "0",
      "5",
      "1e400",
      "-0",
      "1e9",
      "null",
      "true",
      "[5]",
      '" "',
      "0x10",
      "1.5",
      '"',
      "",
      "2023-02-30 00:00:00",
      "2023-02-03 00:00:00",
    );
    const more = fc.constantFrom(
      "",
      ',"session_id":"a"',
      ',"session_id":"a","delay":5',
      ',"session_id":null,"delay":-1',
      ',"hash_ids":[1]',
      ',"hash_ids":[1,"x"]',
      ',"chat_id":2,"parent_chat_id":2',
      ',"text_input":"a"',
      ',"session_id":"b","messages":[{"role":"user"}],"message_mode":"delta"',
      ',"messages":[null]',
      ',"turns":[{"text":"a"},{"text":"b","delay":1}]',
      ',"turns":[{"turns":[]}]',
    );
    const json = fc
      .tuple(number, number, number, more)
      .map(([t, i, o, m]) => `{"timestamp":${t},"input_length":${i},"output_length":${o}${m}}`);
    const csv = fc.tuple(number, number, number).map((cells) => cells.join(","));
    const lines = fc.oneof(
      fc.array(json, { maxLength: 4 }).map((all) => all.join("\n")),
      fc.array(json, { maxLength: 4 }).map((all) => `[${all.join(",\n")}]`),
      fc.array(csv, { maxLength: 4 }).map((all) => ["TIMESTAMP,ContextTokens,GeneratedTokens", ...all].join("\n")),
      fc.string({ unit: fc.constantFrom("[", "]", "{", "}", ",", '"', "\\", "\n", ":", "1", "timestamp"), maxLength: 40 }),
    );
    let read = 0;
    fc.assert(
      fc.property(lines, (text) => {
        try {
          for (const [index, { atMs, after, delayMs, inputTokens, outputTokens }] of readTrace(file(text)).entries()) {
            read++;
            expect(atMs === null || (atMs >= 0 && atMs <= 1e13)).toBe(true);
            expect(after === null || after < index).toBe(true);
            expect(delayMs >= 0 && delayMs <= 604_800_000).toBe(true);
            for (const tokens of [inputTokens, outputTokens ?? 0])
              expect(Number.isInteger(tokens) && tokens >= 0 && tokens <= 1e7).toBe(true);
          }
        } catch (error) {
          expect(error).toBeInstanceOf(TraceError);
          expect((error as Error).message).toMatch(/^[^\n\r]+$/);
        }
      }),
      { seed: 13, numRuns: 1000 },
    );
    expect(read).toBeGreaterThan(0);
  });
});
