/**
 * Copies of frames for node:http2, which keeps a chunk until the socket has taken it. A frame belongs to its source again when
 * `write` returns, so every frame is copied, mostly into slices of a slab: one allocation for many frames.
 */

/** Frames up to this size share the small slab. */
const smallBytes = 8192;
const smallSlabBytes = 65_536;
/** Larger ones, mostly joined frames, share this slab, up to half of it: for them an allocation costs more than the copy. */
const largeSlabBytes = 131_072;

let smallSlab = Buffer.allocUnsafeSlow(smallSlabBytes);
let smallUsed = 0;
let largeSlab = Buffer.allocUnsafeSlow(largeSlabBytes);
let largeUsed = 0;

/**
 * Hot path. A copy in a slab. Use it only for a stream with an empty queue: a slice keeps its whole slab alive, and a stalled
 * stream would hold many slabs. No count of buffered bytes includes them.
 */
export function slabCopy(frame: Uint8Array): Buffer {
  const size = frame.length;
  if (size > smallBytes) return size > largeSlabBytes / 2 ? Buffer.from(frame) : largeSlabCopy(frame);
  if (smallUsed + size > smallSlabBytes) {
    smallSlab = Buffer.allocUnsafeSlow(smallSlabBytes);
    smallUsed = 0;
  }
  smallSlab.set(frame, smallUsed);
  return smallSlab.subarray(smallUsed, (smallUsed += size));
}

function largeSlabCopy(frame: Uint8Array): Buffer {
  const size = frame.length;
  if (largeUsed + size > largeSlabBytes) {
    largeSlab = Buffer.allocUnsafeSlow(largeSlabBytes);
    largeUsed = 0;
  }
  largeSlab.set(frame, largeUsed);
  return largeSlab.subarray(largeUsed, (largeUsed += size));
}

/** A copy in memory of its own, for a stream that has frames waiting already. */
export function ownCopy(frame: Uint8Array): Buffer {
  const copy = Buffer.allocUnsafeSlow(frame.length);
  copy.set(frame);
  return copy;
}
