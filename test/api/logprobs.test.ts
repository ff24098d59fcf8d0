/** Log probabilities that are printed, beside those that are made as values. */
import { expect, test, vi } from "vitest";
import { LogprobsWriter } from "../../src/api/openai/logprobs.ts";
import { Run } from "../../src/api/shared/run.ts";

test.each([0, 1, 2, 20])("with %i alternatives the text is the JSON of the values", (top) => {
  const choices = [{ seed: { high: 1, low: 2 } }, { seed: { high: 3, low: 4 } }];
  const [printing, making] = [new LogprobsWriter("chat", top, choices), new LogprobsWriter("chat", top, choices)];
  for (const [choice, text] of [
    [0, 'He said "né?\u2028'],
    [1, " the"],
    [0, "\u0000\\ 🤖"],
  ] as const) {
    const texts = Run.of(text).tokenTexts();
    const run = { count: texts.length, text: (index: number) => texts[index]! };
    const printed = printing.write(choice, run as never);
    expect(printed).toBe(JSON.stringify(making.of(choice, texts)));
    const { content } = JSON.parse(printed) as { content: { token: string; top_logprobs: { token: string }[] }[] };
    expect(content).toHaveLength(texts.length);
    for (const { top_logprobs } of content) expect(new Set(top_logprobs.map(({ token }) => token)).size).toBe(top);
  }
});

test.each([0, 1, 2, 20])("with %i alternatives the text of a completion's is that of the values", (top) => {
  const choices = [{ seed: { high: 1, low: 2 } }, { seed: { high: 3, low: 4 } }];
  const [printing, making] = [new LogprobsWriter("text", top, choices), new LogprobsWriter("text", top, choices)];
  for (const [choice, text] of [
    [0, 'He said "né?\u2028'],
    [1, " the __proto__ 12"],
    [0, "7\u0000\\ 🤖"],
  ] as const) {
    const texts = Run.of(text).tokenTexts();
    const run = { count: texts.length, text: (index: number) => texts[index]! };
    const [printed, made] = [printing.write(choice, run as never), making.of(choice, texts)];
    // Whole numbers first, as in an answer in one piece.
    expect(printed).toBe(JSON.stringify(made));
  }
});

test.each(["chat", "text"] as const)("tokens of the corpus are printed once, whatever event of a %s they are in", (kind) => {
  const writer = new LogprobsWriter(kind, 20, [{ seed: { high: 1, low: 2 } }]);
  const run = { count: 20, text: () => " the" };
  const events = (count: number): void => {
    for (let event = 0; event < count; event++) writer.write(0, run as never);
  };
  events(200);
  const print = vi.spyOn(JSON, "stringify");
  try {
    events(20);
    // 8,000 entries of some hundred tokens that were all seen.
    expect(print.mock.calls.length).toBeLessThan(100);
  } finally {
    print.mockRestore();
  }
});
