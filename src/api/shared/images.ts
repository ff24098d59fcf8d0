/** Sizes of images, as the header of their data tells them. */

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** The size of an image that only its address is known of, and of a page. */
export const assumedSize: Size = { width: 1024, height: 1024 };

/** Characters of base64 that are looked at: what a camera writes before the size of a JPEG fits in. */
const headCharacters = 262_144;

function jpegSize(bytes: Buffer): Size | null {
  for (let at = 2; at + 9 < bytes.length;) {
    if (bytes[at] !== 0xff) return null;
    const marker = bytes[at + 1]!;
    // Start of a frame, but for tables and arithmetic conditioning (ITU-T T.81, table B.1).
    if (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc)
      return { height: bytes.readUInt16BE(at + 5), width: bytes.readUInt16BE(at + 7) };
    at += marker === 0xff ? 1 : 2 + bytes.readUInt16BE(at + 2);
  }
  return null;
}

/** RFC 9649: the three forms of a WebP. */
function webpSize(bytes: Buffer): Size | null {
  switch (bytes.toString("latin1", 12, 16)) {
    case "VP8X":
      return { width: 1 + bytes.readUIntLE(24, 3), height: 1 + bytes.readUIntLE(27, 3) };
    case "VP8L": {
      const bits = bytes.readUInt32LE(21);
      return { width: 1 + (bits & 0x3fff), height: 1 + ((bits >>> 14) & 0x3fff) };
    }
    case "VP8 ":
      return { width: bytes.readUInt16LE(26) & 0x3fff, height: bytes.readUInt16LE(28) & 0x3fff };
    default:
      return null;
  }
}

/** The size that the header of a PNG, JPEG, GIF or WebP tells; null: none of them, or cut short. */
export function imageSize(base64: string): Size | null {
  const bytes = Buffer.from(base64.slice(0, headCharacters), "base64");
  if (bytes.length < 30) return null;
  if (bytes.readUInt32BE(0) === 0x89504e47) return { width: bytes.readUInt32BE(16), height: bytes.readUInt32BE(20) };
  if (bytes.readUInt16BE(0) === 0xffd8) return jpegSize(bytes);
  const name = bytes.toString("latin1", 0, 4);
  if (name === "GIF8") return { width: bytes.readUInt16LE(6), height: bytes.readUInt16LE(8) };
  return name === "RIFF" && bytes.toString("latin1", 8, 12) === "WEBP" ? webpSize(bytes) : null;
}

/** The size of an image in base64, or as the address of a page may hold it ("data:..."); where none is told, the assumed one. */
export function sizeOf(image: unknown): Size {
  if (typeof image !== "string") return assumedSize;
  const scheme = /^data:[^,]{0,100};base64,/.exec(image);
  if (scheme === null && image.startsWith("http")) return assumedSize;
  const from = scheme === null ? 0 : scheme[0].length;
  const size = imageSize(image.slice(from, from + headCharacters));
  return size === null || size.width === 0 || size.height === 0 ? assumedSize : size;
}
