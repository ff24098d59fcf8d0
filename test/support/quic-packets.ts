/**
 * What a QUIC client sends first, as bytes (RFC 9000, RFC 9001): for tests that put datagrams on a raw socket. It shares nothing
 * with the engine, and gets no further than the first flight.
 */
import { createCipheriv, createHmac, generateKeyPairSync, randomBytes } from "node:crypto";

/** RFC 9001, section 5.2. */
const initialSalt = Buffer.from("38762cf7f55934b34d179ae6a4c80cadccbb7f0a", "hex");
const version1 = Buffer.from([0, 0, 0, 1]);
/** A datagram that opens a connection is at least as large (RFC 9000, section 14.1), bytes. */
export const initialBytes = 1200;
const tagBytes = 16;

const hmac = (key: Buffer, data: Buffer): Buffer => createHmac("sha256", key).update(data).digest();

/** HKDF-Expand-Label of TLS 1.3, for lengths of up to one block (RFC 8446, section 7.1). */
function expand(secret: Buffer, label: string, length: number): Buffer {
  const name = Buffer.from(`tls13 ${label}`);
  const info = Buffer.concat([Buffer.from([0, length, name.length]), name, Buffer.from([0, 1])]);
  return hmac(secret, info).subarray(0, length);
}

/** A number in two bytes (RFC 9000, section 16). */
const varint2 = (value: number): Buffer => Buffer.from([0x40 | (value >> 8), value & 0xff]);
const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff]);
/** A length in one byte or two, then the bytes. */
const sized1 = (bytes: Buffer): Buffer => Buffer.concat([Buffer.from([bytes.length]), bytes]);
const sized2 = (bytes: Buffer): Buffer => Buffer.concat([u16(bytes.length), bytes]);

/** A ClientHello of TLS 1.3 that asks for h3 (RFC 8446, section 4.1.2), with `scid` in its transport parameters. */
export function clientHello(scid: Buffer): Buffer {
  const { publicKey } = generateKeyPairSync("x25519");
  const share = publicKey.export({ type: "spki", format: "der" }).subarray(-32);
  const extension = (type: number, body: Buffer): Buffer => Buffer.concat([u16(type), sized2(body)]);
  const parameter = (id: number, body: Buffer): Buffer => Buffer.concat([Buffer.from([id]), sized1(body)]);
  const extensions = Buffer.concat([
    extension(0, sized2(Buffer.concat([Buffer.from([0]), sized2(Buffer.from("localhost"))]))),
    extension(10, sized2(u16(0x001d))),
    extension(13, sized2(Buffer.concat([u16(0x0403), u16(0x0804), u16(0x0401)]))),
    extension(16, sized2(sized1(Buffer.from("h3")))),
    extension(43, sized1(u16(0x0304))),
    extension(51, sized2(Buffer.concat([u16(0x001d), sized2(share)]))),
    // initial_max_data, initial_max_stream_data (three), initial_max_streams (two), initial_source_connection_id.
    extension(57, Buffer.concat([...[4, 5, 6, 7, 8, 9].map((id) => parameter(id, varint2(id < 8 ? 10_000 : 100))), parameter(15, scid)])),
  ]);
  const body = Buffer.concat([
    u16(0x0303),
    randomBytes(32),
    sized1(Buffer.alloc(0)),
    sized2(u16(0x1301)),
    sized1(Buffer.from([0])),
    sized2(extensions),
  ]);
  return Buffer.concat([Buffer.from([1, 0]), u16(body.length), body]);
}

export interface Ids {
  readonly dcid: Buffer;
  readonly scid: Buffer;
}

/**
 * Frames, padded and sealed in an Initial packet of `initialBytes` (RFC 9001, section 5), with the token of a Retry or none. The keys
 * come from `dcid` alone. Tokens are of at least 64 bytes, where they are not empty.
 */
export function initialPacket({ dcid, scid }: Ids, frames: Buffer, token: Buffer = Buffer.alloc(0)): Buffer {
  const secret = expand(hmac(initialSalt, dcid), "client in", 32);
  const number = Buffer.from([0]);
  const tokenField = token.length === 0 ? Buffer.from([0]) : Buffer.concat([varint2(token.length), token]);
  const start = Buffer.concat([Buffer.from([0xc0]), version1, sized1(dcid), sized1(scid), tokenField]);
  const payload = Buffer.alloc(Math.max(frames.length, initialBytes - start.length - 2 - number.length - tagBytes));
  frames.copy(payload);
  const header = Buffer.concat([start, varint2(number.length + payload.length + tagBytes), number]);
  const cipher = createCipheriv("aes-128-gcm", expand(secret, "quic key", 16), expand(secret, "quic iv", 12));
  cipher.setAAD(header);
  const sealed = Buffer.concat([cipher.update(payload), cipher.final(), cipher.getAuthTag()]);
  const packet = Buffer.concat([header, sealed]);
  // Header protection (section 5.4), with the sample four bytes behind the packet number's start.
  const numberAt = header.length - number.length;
  const mask = createCipheriv("aes-128-ecb", expand(secret, "quic hp", 16), null).update(packet.subarray(numberAt + 4, numberAt + 20));
  packet[0]! ^= mask[0]! & 0x0f;
  packet[numberAt]! ^= mask[1]!;
  return packet;
}

/** A CRYPTO frame from the start of its stream (RFC 9000, section 19.6). */
export function cryptoFrame(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([6, 0]), varint2(bytes.length), bytes]);
}

/** The datagram with which a client opens a connection: a whole ClientHello. */
export function openingDatagram(ids: Ids = { dcid: randomBytes(8), scid: randomBytes(8) }): Buffer {
  return initialPacket(ids, cryptoFrame(clientHello(ids.scid)));
}

/** What a Retry asks for (RFC 9000, section 17.2.5); null: the datagram is none. */
export function readRetry(datagram: Buffer): { readonly scid: Buffer; readonly token: Buffer } | null {
  if ((datagram[0]! & 0xf0) !== 0xf0) return null;
  const scidAt = 6 + datagram[5]! + 1;
  const tokenAt = scidAt + datagram[scidAt - 1]!;
  return { scid: datagram.subarray(scidAt, tokenAt), token: datagram.subarray(tokenAt, datagram.length - tagBytes) };
}
