/** Flow control (RFC 9113, sections 5.2 and 6.9). */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { maxWindow, ReceiveCredit, type ReceiveWindows, SendWindow, StreamCredit } from "../../../src/wire/h2/windows.ts";

describe("a receiver's credit", () => {
  const windows = { streamBytes: 1000, connectionBytes: 65_535 };

  test("is renewed when half of a window is used, and once only", () => {
    const credit = new ReceiveCredit(windows);
    const stream = new StreamCredit();
    credit.received(500, stream);
    expect(credit.forStream(stream)).toBe(0);
    credit.received(1, stream);
    expect([credit.forStream(stream), credit.forStream(stream)]).toEqual([501, 0]);
    credit.received(40_000, undefined);
    expect([credit.forConnection(), credit.forConnection()]).toEqual([40_501, 0]);
  });

  test.each(["arrival", "read"] as const)("of an unread stream, the connection's by %s", (connectionCredit) => {
    const credit = new ReceiveCredit({ ...windows, connectionCredit });
    const stream = new StreamCredit();
    stream.isRead = false;
    credit.received(65_000, stream);
    expect(credit.forStream(stream)).toBe(0);
    expect(credit.forConnection()).toBe(connectionCredit === "read" ? 0 : 65_000);
    credit.release(stream);
    expect(credit.forStream(stream)).toBe(65_000);
    expect(credit.forConnection()).toBe(connectionCredit === "read" ? 65_000 : 0);
  });
});

describe("a sender's window", () => {
  test("goes below 0 when the peer lowers its initial size (section 6.9.2)", () => {
    const window = new SendWindow(1000);
    window.spend(800);
    expect(window.grow(-900)).toBe(true);
    expect(window.bytes).toBe(-700);
    expect(window.grow(701)).toBe(true);
    expect(window.bytes).toBe(1);
  });

  test("does not pass 2^31 - 1 (section 6.9.1)", () => {
    expect(new SendWindow(0).grow(maxWindow)).toBe(true);
    expect(new SendWindow(1).grow(maxWindow)).toBe(false);
  });
});

test("a sender that keeps to its windows is never stopped for good, and never passes the receiver's", () => {
  const windows: fc.Arbitrary<ReceiveWindows> = fc.record({
    streamBytes: fc.integer({ min: 1, max: 2000 }),
    connectionBytes: fc.integer({ min: 1, max: 4000 }),
    connectionCredit: fc.constantFrom("arrival", "read"),
  });
  const step = fc.record({ stream: fc.nat(2), bytes: fc.integer({ min: 1, max: 3000 }), pause: fc.boolean(), resume: fc.boolean() });
  fc.assert(
    fc.property(windows, fc.array(step, { maxLength: 60 }), (windows, steps) => {
      const receiver = new ReceiveCredit(windows);
      const connection = new SendWindow(windows.connectionBytes);
      const streams = [0, 1, 2].map(() => ({ credit: new StreamCredit(), window: new SendWindow(windows.streamBytes) }));
      const renew = (): void => {
        for (const { credit, window } of streams) expect(window.grow(receiver.forStream(credit))).toBe(true);
        expect(connection.grow(receiver.forConnection())).toBe(true);
      };
      for (const { stream, bytes, pause, resume } of steps) {
        const { credit, window } = streams[stream]!;
        if (pause) credit.isRead = false;
        else if (resume) receiver.release(credit);
        const sent = Math.max(0, Math.min(bytes, window.bytes, connection.bytes));
        window.spend(sent);
        connection.spend(sent);
        expect(receiver.received(sent, credit)).toBe(true);
        renew();
      }
      for (const { credit } of streams) receiver.release(credit);
      renew();
      expect(connection.bytes).toBeGreaterThan(0);
      for (const { window } of streams) expect(window.bytes).toBeGreaterThan(0);
      // One byte beyond what the sender may send is seen.
      const { credit, window } = streams[0]!;
      expect(receiver.received(window.bytes + 1, credit)).toBe(false);
    }),
  );
});

test("a sender that passes the connection's window is seen, on streams that are gone too", () => {
  const receiver = new ReceiveCredit({ streamBytes: 1000, connectionBytes: 65_535 });
  expect(receiver.received(65_535, undefined)).toBe(true);
  expect(receiver.received(1, undefined)).toBe(false);
});
