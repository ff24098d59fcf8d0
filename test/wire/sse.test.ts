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
// A lone CR has a test of its own: beside LF it is not seen within a line.
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

/** Streams whose lines end in CR alone, or in any of the three where one of the first has. */
const crStream = fc
  .array(fc.tuple(line, fc.constantFrom("\r", "\r", "\r\n")), { maxLength: 40 })
  .map((lines) => `:\r:\r${lines.flat().join("")}`);

/** The same by the letter of the standard, line by line. */
function eventsByLetter(text: string): string[] {
  const events: string[] = [];
  let data: string[] = [];
  // What follows the last line end is no line.
  for (const line of text.split(/\r\n|\r|\n/).slice(0, -1)) {
    if (line === "") {
      if (data.length > 0) events.push(data.join("\n"));
      data = [];
    } else if (/^data(:|$)/.test(line)) data.push(line.slice(5).replace(/^ /, ""));
  }
  return events;
}

describe("an event stream", () => {
  test("whose lines end in CR alone gives what the standard says, at any cuts", () => {
    fc.assert(
      fc.property(crStream, cuts, (text, cuts) => {
        // The first piece shows that CR ends lines.
        expect(eventsOf(Buffer.from(text), [3, ...cuts])).toEqual(eventsByLetter(Buffer.from(text).toString()));
      }),
      { numRuns: 1000 },
    );
  });

  test("an event that CR alone ends is told at once", () => {
    const events: string[] = [];
    const reader = new EventStreamReader((bytes, start, end) => events.push(bytes.toString("utf8", start, end)));
    const one = Buffer.from("data: a\r\r");
    reader.push(one, 0, one.length);
    expect(events).toEqual(["a"]);
    reader.push(one, 0, one.length);
    expect(events).toEqual(["a", "a"]);
  });

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
    ["a byte order mark at the beginning", "\uFEFFdata: a\n\n\uFEFFdata: b\n\n", ["a"]],
    ["CR alone", "data: a\rdata: b\r\r: ping\r\rdata: c\r\r", ["a\nb", "c"]],
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
