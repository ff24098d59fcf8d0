/** Fault specs as texts, and a faulty plan on a fake clock. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SpecError } from "../../../src/core/random/distribution.ts";
import { faultKinds, parseFaults } from "../../../src/core/faults/fault.ts";
import { FaultySink, faultyPlan } from "../../../src/core/faults/faulty.ts";
import { type Cuts, Pieces } from "../../../src/core/faults/pieces.ts";
import { Meter } from "../../../src/core/pacing/meter.ts";
import { Pacer } from "../../../src/core/pacing/pacer.ts";
import type { ResponsePlan } from "../../../src/core/seams.ts";
import { FakeClock, FakeSink } from "../../support/fakes.ts";

const plain = (name: string): string => name;
const parse = (text: string): ReturnType<typeof parseFaults> => parseFaults(text, "--fault", plain);

describe("specs", () => {
  test.each([
    ["rate_limit", "rate_limit", 1],
    [" Rate-Limit @ 10% ", "rate_limit@0.1", 0.1],
    ["status(503, retry-after=2)@.5", "status(status=503,retry_after=2)@0.5", 0.5],
    ["delay(200ms)", "delay(for=200ms)", 1],
    ["content_length(+10)", "content_length(by=+10)", 1],
    ["hang(after=5,key=sk-1,protocol=h1|h2c)", "hang(after=5,key=sha256:sk-1,protocol=h1|h2c)", 1],
  ])("%s", (text, spec, rate) => {
    const [fault, ...others] = parse(text);
    expect(others).toEqual([]);
    expect(fault).toMatchObject({ spec, rate });
    // What is shown reads back to the same.
    expect(parse(spec)).toEqual([fault]);
  });

  test("several, with commas outside of parentheses", () => {
    expect(parse("burst(after=5,silence=2s),no_done;reset(after=3)@1%").map(({ name }) => name)).toEqual(["burst", "no_done", "reset"]);
    expect(parse("")).toEqual([]);
  });

  test.each([
    ["nonsense", /no fault of this name \(there are rate_limit, /],
    ["status", /status: needs status, as in status\(503\)/],
    ["status(200)", /from 400 to 599/],
    ["delay(fast)", /"fast" is no time/],
    ["delay(0ms)", /from 1ms to a day/],
    ["reset(after=-1)", /whole number from 0/],
    ["reset(code=1)", /no option "code": it takes after, key, protocol/],
    ["reset(3)", /what is "3"\?/],
    ["reset(after=1,after=2)", /twice/],
    ["hang@101%", /a rate is/],
    ["hang(after=3", /cannot be read/],
    ["goaway(after=1,requests=2)", /not both/],
    ["content_length(0)", /no difference/],
    ["one_of(rate_limit|hang)", /names of errors/],
    ["hang(protocol=h4)", /h1, h1s, h2c, h2, h3/],
    ["hang(key=)", /once/],
  ])("%s is refused", (text, message) => {
    expect(() => parse(text)).toThrow(SpecError);
    expect(() => parse(text)).toThrow(message);
  });

  test("property: no text makes it throw anything else, and no message shows a key", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.constantFrom(...Object.keys(faultKinds)).map((name) => `${name}(key=TOPSECRET,x`),
        ),
        (text) => {
          try {
            parse(text);
          } catch (error) {
            expect(error).toBeInstanceOf(SpecError);
            expect((error as Error).message).not.toContain("TOPSECRET");
          }
        },
      ),
    );
  });
});

test("a silence is as long as asked, however late the token before it was sent", () => {
  let wakes = 0;
  // Every wake-up is late by more than the silence takes.
  const clock = new FakeClock({ lateUs: () => (++wakes === 2 ? 150_000 : 0) });
  const pacer = new Pacer(clock, new Meter(), { stallTimeoutUs: 8e6 });
  const writes: number[] = [];
  const wire = new FakeSink();
  wire.accepts = () => {
    writes.push(clock.us);
    return true;
  };
  const sink = new FaultySink(wire, parse("burst(after=2,silence=120ms)"), true);
  const plan: ResponsePlan = {
    head: { status: 200, headers: {}, streamed: true },
    frames: { length: 6, tokens: 1, frame: () => new TextEncoder().encode("data: x\n\n") },
    schedule: { nextDueUs: (index) => (index + 1) * 10_000 },
    startUs: clock.us,
    outputTokens: 6,
    promptTokens: 1,
    finishReason: "stop",
  };
  pacer.send(faultyPlan(plan, sink, { made: () => {}, errorEvent: () => "" }), sink);
  clock.run();
  expect(wire.ended).toBe(true);
  const gaps = writes.slice(1).map((us, index) => us - writes[index]!);
  expect(Math.max(...gaps, clock.us - writes.at(-1)!)).toBeGreaterThanOrEqual(120_000);
  expect(clock.us - plan.startUs).toBeGreaterThanOrEqual(20_000 + 150_000 + 120_000);
});

/** All pieces of a text. */
function cut(text: string, cuts: Partial<Cuts>): string[] {
  const pieces = new Pieces();
  pieces.load(new TextEncoder().encode(text), { bytes: false, lines: false, characters: false, ...cuts });
  const found: string[] = [];
  do found.push(Buffer.from(pieces.take()).toString("latin1"));
  while (!pieces.isUsedUp);
  return found;
}

describe("pieces of a frame", () => {
  const latin1 = (text: string): string => Buffer.from(text).toString("latin1");

  test.each([
    ["", { bytes: true }, [""]],
    ["abc", { bytes: true, lines: true }, ["a", "b", "c"]],
    ["abc", {}, ["abc"]],
    ["data: x\n\n", { lines: true }, ["dat", "a: x\n", "\n"]],
    ["\n\nab\ncd", { lines: true }, ["\n", "\na", "b\ncd"]],
    ["aéb😀", { characters: true }, ["aé".slice(0, 1) + "\xc3", "\xa9b\xf0", "\x9f\x98\x80"]],
    ["éé\n", { characters: true, lines: true }, ["\xc3", "\xa9", "\xc3", "\xa9\n"]],
  ] as const)("%j, %j", (text, cuts, expected) => {
    expect(cut(text, cuts)).toEqual(expected);
  });

  test("together they are the frame, none is empty, and each character is cut", () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom("a", "é", "€", "😀", "\n"), { minLength: 1 }).map((characters) => characters.join("")),
        fc.boolean(),
        fc.boolean(),
        (text, lines, characters) => {
          const pieces = cut(text, { lines, characters });
          expect(pieces.join("")).toBe(latin1(text));
          expect(pieces.every((piece) => piece !== "")).toBe(true);
          if (characters)
            expect(pieces.slice(1).filter((piece) => /^[\x80-\xbf]/.test(piece)).length).toBeGreaterThanOrEqual(
              latin1(text).match(/[\xc0-\xff]/g)?.length ?? 0,
            );
        },
      ),
    );
  });
});

test("bytewise: a frame of a megabyte leaves byte by byte, and a reader that stops taking them is cut", () => {
  const clock = new FakeClock();
  const meter = new Meter();
  const pacer = new Pacer(clock, meter, { stallTimeoutUs: 8e6 });
  const wire = new FakeSink();
  wire.accepts = (writes) => writes < 50;
  const sink = new FaultySink(wire, parse("bytewise(every=1ms)"), true);
  const plan: ResponsePlan = {
    head: { status: 200, headers: {}, streamed: true },
    frames: { length: 1, tokens: 1, frame: () => new Uint8Array(1_048_576).fill(120) },
    schedule: { nextDueUs: () => 0 },
    startUs: clock.us,
    outputTokens: 1,
    promptTokens: 1,
    finishReason: "stop",
  };
  pacer.send(faultyPlan(plan, sink, { made: () => {}, errorEvent: () => "" }), sink);
  clock.run();
  expect(wire).toMatchObject({ writes: 50, bytes: 50, wasReset: true });
  expect(meter.stallCutStreams).toBe(1);
  expect(pacer.running).toBe(0);
});
