/** Bytes of a response that wait for their reader, in memory of their own: a slice of a shared block would keep all of it alive. */

/** A second piece is not so soon followed by a third, a third is. */
const secondBytes = 4096;
const furtherBytes = 16_384;
/**
 * Parts of a size that most answers have are used again: memory outside V8's heap that comes and goes makes it collect all of the heap.
 */
const pooledBytes = 32_768;
const keptParts = 64;
const kept: Uint8Array[] = [];

function takePart(bytes: number): Uint8Array {
  if (bytes <= furtherBytes || bytes > pooledBytes) return Buffer.allocUnsafeSlow(bytes);
  return kept.pop() ?? Buffer.allocUnsafeSlow(pooledBytes);
}

function givePart(part: Uint8Array): void {
  if (part.length === pooledBytes && kept.length < keptParts) kept.push(part);
}

export class ByteQueue {
  /** Bytes that wait. */
  length = 0;
  #parts: Uint8Array[] = [];
  /** The first part that is not used up, and what of it is. */
  #first = 0;
  #from = 0;
  /** Bytes of the last part that are filled. */
  #filled = 0;

  /** Adds a copy. */
  push(bytes: Uint8Array): void {
    const parts = this.#parts;
    const last = parts[parts.length - 1];
    const fits = last === undefined ? 0 : Math.min(bytes.length, last.length - this.#filled);
    if (fits > 0) {
      last!.set(fits === bytes.length ? bytes : bytes.subarray(0, fits), this.#filled);
      this.#filled += fits;
    }
    this.length += bytes.length;
    const rest = bytes.length - fits;
    if (rest === 0) return;
    const waiting = parts.length - this.#first;
    const part = takePart(Math.max(rest, waiting === 0 ? 0 : waiting === 1 ? secondBytes : furtherBytes));
    part.set(fits === 0 ? bytes : bytes.subarray(fits), 0);
    parts.push(part);
    this.#filled = rest;
  }

  /** Moves the first bytes, no more than there are, into `into` at `at`. */
  moveTo(into: Uint8Array, at: number, bytes: number): void {
    const parts = this.#parts;
    this.length -= bytes;
    let left = bytes;
    while (left > 0) {
      const part = parts[this.#first]!;
      const end = this.#first === parts.length - 1 ? this.#filled : part.length;
      const moved = Math.min(left, end - this.#from);
      into.set(part.subarray(this.#from, this.#from + moved), at);
      at += moved;
      left -= moved;
      this.#from += moved;
      if (this.#from === end) this.#dropFirst();
    }
    if (this.length === 0) this.clear();
  }

  clear(): void {
    for (const part of this.#parts) givePart(part);
    this.#parts = [];
    this.length = this.#first = this.#from = this.#filled = 0;
  }

  #dropFirst(): void {
    givePart(this.#parts[this.#first]!);
    this.#parts[this.#first++] = nothing;
    this.#from = 0;
    if (this.#first < 64) return;
    this.#parts.splice(0, this.#first);
    this.#first = 0;
  }
}

const nothing = new Uint8Array();
