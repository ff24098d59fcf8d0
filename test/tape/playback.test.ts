/** How a recorded call is sent again: its head, its pieces, and when each is due. No clock, no socket. */
import { expect, test } from "vitest";
import type { TapeCall } from "../../src/tape/form.ts";
import { planOf, playableOf, replayedBytes } from "../../src/tape/playback.ts";

const request: TapeCall["request"] = { protocol: "h1", method: "POST", path: "/v1/x", query: "", headers: [], body: null };

function callOf(type: string, more: Partial<TapeCall["response"]>, length?: number): TapeCall {
  const headers = [["content-type", type], ...(length === undefined ? [] : [["content-length", String(length)]])];
  const response = { status: 200, headers, headUs: 5000, pieces: [], endUs: 90_000, end: "finished", ...more } as const;
  return { call: 1, atUs: 0, connectUs: null, heldBack: false, request, response };
}

const events = [
  { us: 40_000, text: 'data: {"a":1}\n\n' },
  { us: 60_000, text: "data: [DONE]\n\n" },
];
const halves = [
  { us: 40_000, text: '{"a":' },
  { us: 60_000, text: "1}" },
];

/** What a plan writes: each piece with when it is due, microseconds; and its head. */
function written(call: TapeCall, headAlone: boolean, stamped = false): { readonly head: unknown; readonly writes: [number, string][] } {
  const stamps = stamped ? { "x-fakeai-clock": "c" } : null;
  const cuts: number[] = [];
  const { head, frames, schedule } = planOf(playableOf(call), { startUs: 0, speed: 1, stamps, headAlone, cut: () => cuts.push(1) });
  const writes: [number, string][] = [];
  for (let index = 0; index < Math.min(frames.length, 10) && cuts.length === 0; index++) {
    const dueUs = schedule.nextDueUs(index);
    const text = Buffer.from(frames.frame(index, 7, 8)).toString("utf8");
    writes.push([dueUs, cuts.length > 0 ? "cut" : text.replaceAll(/"(due|sent)": *\d/g, '"$1":1')]);
  }
  return { head: { streamed: head.streamed, length: head.headers["content-length"] ?? null }, writes };
}

const stamp = ',"fakeai":{"due":1,"sent":1}';

test.each<[string, TapeCall, boolean, boolean, object, [number, string][]]>([
  [
    "a head that came before its events",
    callOf("text/event-stream", { pieces: events }),
    true,
    false,
    { streamed: true, length: null },
    [
      [5000, ""],
      [40_000, events[0]!.text],
      [60_000, events[1]!.text],
    ],
  ],
  [
    "one that came with them",
    callOf("text/event-stream", { pieces: events, headUs: 39_500 }),
    true,
    false,
    { streamed: true, length: null },
    [
      [40_000, events[0]!.text],
      [60_000, events[1]!.text],
    ],
  ],
  [
    "an engine that sends no head alone",
    callOf("text/event-stream", { pieces: events }),
    false,
    false,
    { streamed: true, length: null },
    [
      [40_000, events[0]!.text],
      [60_000, events[1]!.text],
    ],
  ],
  [
    "stamps, which make events longer than was announced",
    callOf("text/event-stream", { pieces: events }, 29),
    true,
    true,
    { streamed: true, length: null },
    [
      [5000, ""],
      [40_000, `data: {"a":1${stamp}}\n\n`],
      [60_000, events[1]!.text],
    ],
  ],
  [
    "a body of a known length",
    callOf("application/json", { pieces: halves }, 7),
    true,
    false,
    { streamed: true, length: "7" },
    [
      [5000, ""],
      [40_000, '{"a":'],
      [60_000, "1}"],
    ],
  ],
  [
    "the same without a head alone",
    callOf("application/json", { pieces: halves }, 7),
    false,
    false,
    { streamed: false, length: null },
    [[60_000, '{"a":1}']],
  ],
  [
    "the same with stamps",
    callOf("application/json", { pieces: halves }, 7),
    true,
    true,
    { streamed: true, length: String(7 + ',"fakeai":{"due":                ,"sent":                }'.length) },
    [
      [5000, ""],
      [60_000, `{"a":1${stamp}}`],
    ],
  ],
  [
    "one that broke off",
    callOf("application/json", { pieces: halves.slice(0, 1), end: "cut" }, 7),
    true,
    false,
    { streamed: true, length: "7" },
    [
      [5000, ""],
      [40_000, '{"a":'],
      [90_000, "cut"],
    ],
  ],
  [
    "one that broke off behind its head",
    callOf("application/json", { end: "cut" }),
    true,
    false,
    { streamed: true, length: null },
    [
      [5000, ""],
      [90_000, "cut"],
    ],
  ],
  ["one without a body", callOf("application/json", { status: 204 }), true, false, { streamed: false, length: null }, [[90_000, ""]]],
])("%s", (_, call, headAlone, stamped, head, writes) => {
  expect(written(call, headAlone, stamped)).toEqual({ head, writes });
});

test("the bytes of a replay are known beforehand", () => {
  const call = playableOf(callOf("application/json", { pieces: halves }, 7));
  const { head } = planOf(call, { startUs: 0, speed: 1, stamps: { a: "b" }, headAlone: true, cut: () => {} });
  expect([replayedBytes(call, false), String(replayedBytes(call, true))]).toEqual([7, head.headers["content-length"]]);
});
