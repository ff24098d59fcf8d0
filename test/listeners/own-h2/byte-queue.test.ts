import { describe, expect, test } from "vitest";
import { ByteQueue } from "../../../src/listeners/own-h2/byte-queue.ts";

/** Takes all that waits, in pieces of `piece` bytes. */
function drain(queue: ByteQueue, piece: number): Buffer {
  const into = Buffer.alloc(queue.length);
  for (let at = 0; queue.length > 0;) {
    const bytes = Math.min(piece, queue.length);
    queue.moveTo(into, at, bytes);
    at += bytes;
  }
  return into;
}

describe("bytes that wait", () => {
  test("queues that use memory again, one after the other and at once, mix nothing up", () => {
    const sizes = [27_000, 32_768, 16_385, 100, 40_000, 20_000];
    for (let round = 0; round < 20; round++) {
      const queues = sizes.map(() => new ByteQueue());
      const expected = sizes.map((size, i) => [
        Buffer.alloc(size, round * 16 + i),
        Buffer.alloc(sizes[(i + round) % sizes.length]!, 255 - i),
      ]);
      for (const part of [0, 1]) for (const [i, queue] of queues.entries()) queue.push(expected[i]![part]!);
      // Cut before it has left, as a stream that is reset.
      queues[round % sizes.length]!.clear();
      for (const [i, queue] of queues.entries()) {
        const whole = i === round % sizes.length ? Buffer.alloc(0) : Buffer.concat(expected[i]!);
        expect(drain(queue, 10_000 + round).equals(whole)).toBe(true);
      }
    }
  });
});
