/** Bytes in the pieces that reads make of them. */

/**
 * The bytes in pieces of these lengths, the rest as one more: each with its place in a larger buffer. As a socket's buffer is
 * used again, a piece is overwritten when the next one is asked for.
 */
export function* inPieces(bytes: Buffer, lengths: readonly number[]): Generator<readonly [buffer: Buffer, start: number, end: number]> {
  const before = 7;
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const piece = bytes.subarray(at, at + (lengths[i] ?? bytes.length));
    const buffer = Buffer.alloc(before + piece.length + 5, 10);
    piece.copy(buffer, before);
    yield [buffer, before, before + piece.length];
    buffer.fill(255);
    at += piece.length;
  }
}
