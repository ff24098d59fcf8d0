/** The TLS certificate: the user's, or a self-signed one for localhost that is made once and kept. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { chmodSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { createSecureContext } from "node:tls";
import { UsageError } from "./usage-error.ts";
import { makeDirectory } from "./directory.ts";

/** Both as paths and as texts: uws reads files, node takes texts. */
export interface Certificate {
  readonly certPath: string;
  readonly keyPath: string;
  readonly cert: string;
  readonly key: string;
  /** Whether clients trust it only with `--cacert` or the like. */
  readonly selfSigned: boolean;
}

/** Reads the user's pair. Throws UsageError when it cannot be used. */
export function readCertificate(certPath: string, keyPath: string): Certificate {
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
  return { certPath, keyPath, cert, key, selfSigned: false };
}

function cacheDirectory(): string {
  if (process.env["XDG_CACHE_HOME"]) return join(process.env["XDG_CACHE_HOME"], "fakeai");
  if (process.platform === "darwin") return join(homedir(), "Library", "Caches", "fakeai");
  if (process.platform === "win32" && process.env["LOCALAPPDATA"]) return join(process.env["LOCALAPPDATA"], "fakeai", "Cache");
  return join(homedir(), ".cache", "fakeai");
}

const oneDayMs = 86_400_000;
const validDays = 365;
const renewDays = 14;

/** The kept certificate for localhost, 127.0.0.1 and ::1. A new one is made where it ends within two weeks. */
export async function localhostCertificate(directory: string = cacheDirectory()): Promise<Certificate> {
  const kept = join(directory, "tls");
  const usable = readKept(kept);
  if (usable) return usable;
  const { generate } = await import("selfsigned");
  const pems = await generate([{ name: "commonName", value: "localhost" }], {
    keyType: "ec",
    curve: "P-256",
    algorithm: "sha256",
    notBeforeDate: new Date(Date.now() - oneDayMs),
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
  makeDirectory(directory);
  // The directory is renamed into place whole: two servers that start together never mix their pairs.
  const fresh = mkdtempSync(join(directory, "tls-"));
  chmodSync(fresh, 0o700);
  writeFileSync(join(fresh, "localhost.pem"), pems.cert, { mode: 0o644 });
  writeFileSync(join(fresh, "localhost-key.pem"), pems.private, { mode: 0o600 });
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
  const certPath = join(directory, "localhost.pem");
  const keyPath = join(directory, "localhost-key.pem");
  try {
    const cert = readFileSync(certPath, "utf8");
    const key = readFileSync(keyPath, "utf8");
    const parsed = new X509Certificate(cert);
    const lasts = Date.parse(parsed.validTo) - Date.now() > renewDays * oneDayMs;
    return lasts && parsed.checkPrivateKey(createPrivateKey(key)) ? { certPath, keyPath, cert, key, selfSigned: true } : null;
  } catch {
    return null;
  }
}
