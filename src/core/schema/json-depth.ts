const quote = 0x22;
const backslash = 0x5c;

/**
 * Whether JSON text (UTF-8) nests arrays and objects deeper than `limit`. JSON.parse itself takes any depth, but
 * whatever walks the value afterwards recurses. The text need not be valid; brackets inside strings do not count.
 */
export function exceedsJsonDepth(bytes: Uint8Array, limit: number): boolean {
  let depth = 0;
  let inString = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]!;
    if (inString) {
      if (byte === backslash) at++;
      else if (byte === quote) inString = false;
    } else if (byte === quote) {
      inString = true;
    } else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > limit) return true;
    } else if (byte === 0x5d || byte === 0x7d) {
      depth--;
    }
  }
  return false;
}
