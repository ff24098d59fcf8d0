/** The conversation of a Realtime session: its order, its bounds, and that nothing of it is left when it is over. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ApiError } from "../../src/api/errors/api-error.ts";
import {
  Conversation,
  ConversationMemory,
  type Item,
  mostItemBytes,
  mostItems,
  readItem,
} from "../../src/api/openai/realtime/conversation.ts";

const itemOf = (id: string, text = id): Item => ({ id, type: "message", role: "user", content: [{ type: "input_text", text }] });

/** The code of the error that it throws; null: none. */
function codeOf(action: () => unknown): string | null {
  try {
    action();
    return null;
  } catch (error) {
    if (!(error instanceof ApiError) || error.problem.kind !== "request") throw error;
    return error.problem.code;
  }
}

const textsOf = (conversation: Conversation): readonly unknown[] =>
  conversation.inputs().map(({ value }) => (value["content"] as { text: string }[])[0]!.text);

describe("a conversation", () => {
  const id = fc.constantFrom("a", "b", "c", "d", "e");
  const step = fc.oneof(
    fc.record({ do: fc.constant("insert" as const), id, behind: fc.option(fc.oneof(id, fc.constant("root"))) }),
    fc.record({ do: fc.constant("append" as const), id, behind: fc.constant(null) }),
    fc.record({ do: fc.constant("finish" as const), id, behind: fc.constant(null) }),
    fc.record({ do: fc.constant("delete" as const), id, behind: fc.constant(null) }),
  );

  test("is a list of items by id, and counts its bytes", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const memory = new ConversationMemory(Infinity);
        const conversation = new Conversation("conv", memory);
        const model: { id: string; text: string }[] = [];
        const at = (one: string): number => model.findIndex((item) => item.id === one);
        for (const [number, { do: what, id, behind }] of steps.entries()) {
          const text = `${id}${"x".repeat(number)}`;
          if (what === "insert") {
            const place = behind === null ? model.length : behind === "root" ? 0 : at(behind) + 1;
            const isThere = at(id) >= 0;
            const isNowhere = place === 0 && behind !== null && behind !== "root";
            const code = codeOf(() => expect(conversation.insert(itemOf(id, text), behind)).toBe(model[place - 1]?.id ?? null));
            expect(code).toBe(isThere ? "item_create_duplicate_item_id" : isNowhere ? "item_create_invalid_previous_item_id" : null);
            if (code === null) model.splice(place, 0, { id, text });
          } else if (what === "append" && at(id) < 0) {
            expect(conversation.append(itemOf(id, text))).toBe(model.at(-1)?.id ?? null);
            model.push({ id, text });
          } else if (what === "finish") {
            expect(conversation.finish(itemOf(id, text))).toBe(model[at(id) - 1]?.id ?? null);
            if (at(id) >= 0) model[at(id)]!.text = text;
          } else if (what === "delete") {
            expect(codeOf(() => conversation.delete(id))).toBe(at(id) < 0 ? "item_delete_invalid_item_id" : null);
            if (at(id) >= 0) model.splice(at(id), 1);
          }
          expect(textsOf(conversation)).toEqual(model.map((item) => item.text));
        }
        expect(memory.bytes > 0).toBe(model.length > 0);
        conversation.clear();
        // A response that was let in before the end writes after it.
        conversation.append(itemOf("late"));
        expect(memory.bytes).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  test("has so many items, so many bytes, and shares with others", () => {
    const memory = new ConversationMemory(2 * mostItemBytes);
    const [many, large, third] = [1, 2, 3].map((number) => new Conversation(`conv_${number}`, memory));
    for (let number = 0; number < mostItems; number++) many!.insert(itemOf(`${number}`), null);
    expect(codeOf(() => many!.insert(itemOf("more"), null))).toBe("conversation_full");
    expect(codeOf(() => many!.checkRoom())).toBe("conversation_full");
    many!.delete("5");
    expect(codeOf(() => many!.insert(itemOf("more"), null))).toBeNull();
    const big = "x".repeat(mostItemBytes / 4 - 1000);
    large!.insert(itemOf("big", big), null);
    expect(codeOf(() => large!.insert(itemOf("other", big), null))).toBe("conversation_full");
    expect(codeOf(() => third!.insert(itemOf("big", big), null))).toBe("conversation_full");
    large!.clear();
    expect(codeOf(() => third!.insert(itemOf("big", big), null))).toBeNull();
  });
});

test("what items lack they are given, and what nothing reads they lose", () => {
  const made = (prefix: string): string => `${prefix}_new`;
  const call = { type: "function_call", name: "look", arguments: "{}", extra: 1 };
  expect(readItem(call, "item", made)).toEqual({
    id: "item_new",
    type: "function_call",
    status: "completed",
    name: "look",
    call_id: "call_new",
    arguments: "{}",
  });
  const picture = { type: "input_image", image_url: "data:image/png;base64,AA==", detail: "low", audio: "x" };
  expect(readItem({ type: "message", role: "user", id: "mine", content: [picture] }, "item", made)).toMatchObject({
    id: "mine",
    content: [{ type: "input_image", image_url: "data:image/png;base64,AA==", detail: "low" }],
  });
});
