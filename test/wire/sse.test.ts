/** Event streams: cut anywhere, and read as another parser reads them. */
import { createParser } from "eventsource-parser";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EventStreamReader } from "../../src/wire/sse.ts";
import { inPieces } from "../support/pieces.ts";

function eventsOf(bytes: Buffer, cuts: readonly number[]): string[] {
  const events: string[] = [];
  const reader = new EventStreamReader((bytes, start, end) => events.push(bytes.toString("utf8", start, end)));
  for (const [buffer, start, end] of inPieces(bytes, cuts)) reader.push(buffer, start, end);
  return events;
}

/** What eventsource-parser reads: an implementation of the same specification. */
function expectedOf(text: string): string[] {
  const events: string[] = [];
  const parser = createParser({ onEvent: ({ data }) => events.push(data) });
  parser.feed(text);
  return events;
}

const cuts = fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 60 });
// A lone CR, which ends a line in the specification, is left out of the texts.
const value = fc.string({ unit: "binary", maxLength: 40 }).map((text) => text.replaceAll(/[\r\n]/g, ""));
const line = fc.oneof(
  fc.tuple(fc.constantFrom("data: ", "data:", "data:  ", "data: data: ", "data : "), value).map((parts) => parts.join("")),
  fc.tuple(fc.constantFrom(": ", ":", "event: ", "id: ", "retry: ", "date: ", "dat", ""), value).map((parts) => parts.join("")),
  fc.constantFrom("data", "data:", "data: ", "", "", ""),
);
const stream = fc
  .array(fc.tuple(line, fc.constantFrom("\n", "\r\n")), { maxLength: 40 })
  .map((lines) => lines.flat().join(""))
  // A byte order mark at the very beginning, which the other parser takes away.
  .filter((text) => !text.startsWith("\uFEFF"));

describe("an event stream", () => {
  test("gives the events that eventsource-parser gives, at any cuts", () => {
    fc.assert(
      fc.property(stream, cuts, (text, cuts) => {
        expect(eventsOf(Buffer.from(text), cuts)).toEqual(expectedOf(Buffer.from(text).toString()));
      }),
      { numRuns: 1000 },
    );
  });

  test.each<[string, string, readonly string[]]>([
    ["one space behind the colon is no data", "data: a\n\ndata:  b\n\ndata:c\n\n", ["a", " b", "c"]],
    ["several lines are joined", "data: a\ndata\ndata: b\n\n", ["a\n\nb"]],
    ["CRLF, LF, and one after the other", "data: a\r\n\r\ndata: b\r\n\ndata: c\n\r\n", ["a", "b", "c"]],
    ["comments and other fields", ": ping\n\nevent: x\nid: 7\ndata: a\nretry: 5\n\n", ["a"]],
    ["an event without data is none", "event: ping\n\n\n\n", []],
    ["an empty one is one", "data:\n\ndata\n\n", ["", ""]],
    ["an event without its blank line is not told", "data: a\n\ndata: b\n", ["a"]],
  ])("%s", (_, text, events) => {
    expect(eventsOf(Buffer.from(text), [])).toEqual(events);
    expect(
      eventsOf(
        Buffer.from(text),
        Array.from(text, () => 1),
      ),
    ).toEqual(events);
  });
});
