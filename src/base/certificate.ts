/** The TLS certificate: the user's, or a self-signed one for localhost that is made once and kept where that is possible. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { chmodSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSecureContext } from "node:tls";
import { UsageError } from "./usage-error.ts";
import { cacheDirectory, makeDirectory } from "./directory.ts";

/** Paths of PEM files. */
export interface CertificateFiles {
  readonly certPath: string;
  readonly keyPath: string;
}

/** Both as paths and as texts: uws reads files, node takes texts. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
  /** null: no file could be written. */
  readonly files: CertificateFiles | null;
  /** Whether clients trust it only with `--cacert` or the like. */
  readonly selfSigned: boolean;
  /** Why it ends with this process, in one line; null: it lasts. */
  readonly whyShortLived: string | null;
}

/** A certificate with its files. */
export type FiledCertificate = Certificate & { readonly files: CertificateFiles };

/** Reads the user's pair. Throws UsageError when it cannot be used. */
export function readCertificate(certPath: string, keyPath: string): FiledCertificate {
  const read = (flag: string, path: string): string => {
    try {
      return readFileSync(path, "utf8");
    } catch (error) {
      throw new UsageError(`${flag}: cannot read ${path} (${(error as NodeJS.ErrnoException).code ?? "unreadable"})`);
    }
  };
  const cert = read("--tls-cert", certPath);
  const key = read("--tls-key", keyPath);
  try {
    createSecureContext({ cert, key });
  } catch (error) {
    throw new UsageError(`--tls-cert, --tls-key: not a PEM certificate and its key (${(error as Error).message})`);
  }
  return { cert, key, files: { certPath, keyPath }, selfSigned: false, whyShortLived: null };
}

const oneDayMs = 86_400_000;
/** Together less than 398 days, the most that browsers take (CA/Browser Forum, Ballot SC31). */
const validDays = 365;
/** Valid from so long ago: the clocks of clients, and this one after it was set right, may be behind. */
const pastDays = 30;
const renewDays = 14;

/**
 * The kept certificate for localhost, 127.0.0.1 and ::1. A new one is made where it ends within two weeks, or is not valid yet. Where it cannot be kept
 * there is one for this process, with its files in the system's folder for temporary ones if that can be written to.
 */
export async function localhostCertificate(directory?: string): Promise<Certificate> {
  let pair: Pair | null = null;
  try {
    // Without a home directory there is no place for it either.
    const place = directory ?? cacheDirectory();
    const usable = readKept(join(place, "tls"));
    if (usable !== null) return usable;
    pair = await generatePair();
    return keep(place, pair);
  } catch (error) {
    return (shortLived ??= makeShortLived(pair ?? (await generatePair()), (error as Error).message));
  }
}

/** PEM texts. */
interface Pair {
  readonly cert: string;
  readonly key: string;
}

/** The certificate of this process, where none can be kept. */
let shortLived: Certificate | null = null;

function makeShortLived(pair: Pair, why: string): Certificate {
  const whyShortLived = `no certificate can be kept (${why})`;
  let files: CertificateFiles | null = null;
  try {
    const directory = mkdtempSync(join(tmpdir(), "fakeai-tls-"));
    process.once("exit", () => rmSync(directory, { recursive: true, force: true }));
    files = writePair(directory, pair);
  } catch {
    // It is in memory then.
  }
  return { ...pair, files, selfSigned: true, whyShortLived };
}

async function generatePair(): Promise<Pair> {
  const { generate } = await import("selfsigned");
  const { cert, private: key } = await generate([{ name: "commonName", value: "localhost" }], {
    keyType: "ec",
    curve: "P-256",
    algorithm: "sha256",
    notBeforeDate: new Date(Date.now() - pastDays * oneDayMs),
    notAfterDate: new Date(Date.now() + validDays * oneDayMs),
    extensions: [
      { name: "basicConstraints", cA: false },
      { name: "keyUsage", digitalSignature: true, keyEncipherment: true },
      { name: "extKeyUsage", serverAuth: true },
      {
        name: "subjectAltName",
        altNames: [
          { type: 2, value: "localhost" },
          { type: 7, ip: "127.0.0.1" },
          { type: 7, ip: "::1" },
        ],
      },
    ],
  });
  return { cert, key };
}

const filesIn = (directory: string): CertificateFiles => ({
  certPath: join(directory, "localhost.pem"),
  keyPath: join(directory, "localhost-key.pem"),
});

function writePair(directory: string, { cert, key }: Pair): CertificateFiles {
  const files = filesIn(directory);
  chmodSync(directory, 0o700);
  writeFileSync(files.certPath, cert, { mode: 0o644 });
  writeFileSync(files.keyPath, key, { mode: 0o600 });
  return files;
}

/** Keeps a pair in the folder `tls` of the directory; returns another process's pair where that was first. Throws the system's error. */
function keep(directory: string, pair: Pair): Certificate {
  const kept = join(directory, "tls");
  makeDirectory(directory);
  // The directory is renamed into place whole: two servers that start together never mix their pairs.
  const fresh = mkdtempSync(join(directory, "tls-"));
  try {
    writePair(fresh, pair);
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true });
    throw error;
  }
  try {
    renameSync(fresh, kept);
  } catch {
    const others = readKept(kept);
    if (others) {
      rmSync(fresh, { recursive: true });
      return others;
    }
    rmSync(kept, { recursive: true, force: true });
    renameSync(fresh, kept);
  }
  const made = readKept(kept);
  if (!made) throw new Error(`cannot keep a certificate in ${directory}`);
  return made;
}

function readKept(directory: string): Certificate | null {
  const files = filesIn(directory);
  try {
    const cert = readFileSync(files.certPath, "utf8");
    const key = readFileSync(files.keyPath, "utf8");
    const parsed = new X509Certificate(cert);
    const lasts = Date.parse(parsed.validTo) - Date.now() > renewDays * oneDayMs;
    // One that was made while the clock was far ahead is not valid yet.
    const isValid = lasts && Date.parse(parsed.validFrom) <= Date.now();
    const fits = isValid && parsed.checkPrivateKey(createPrivateKey(key));
    return fits ? { cert, key, files, selfSigned: true, whyShortLived: null } : null;
  } catch {
    return null;
  }
}
