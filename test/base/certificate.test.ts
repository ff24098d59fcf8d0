/** The certificate: the user's own, or one of ours, made once and kept where only the user reads its key. */
import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { request as httpsRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import { describe, expect, test } from "vitest";
import { localhostCertificate } from "../../src/base/certificate.ts";
import { serve } from "../support/process.ts";
import { start, targets } from "../support/targets.ts";

const folder = (): string => mkdtempSync(join(tmpdir(), "fakeai-tls-"));

test("the key is for its user alone, and kept", async () => {
  const directory = folder();
  const first = await localhostCertificate(directory);
  expect(statSync(first.keyPath).mode & 0o777).toBe(0o600);
  expect(statSync(join(directory, "tls")).mode & 0o777).toBe(0o700);
  expect(await localhostCertificate(directory)).toEqual(first);
  const { subjectAltName, validTo } = new X509Certificate(first.cert);
  expect(subjectAltName).toBe("DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1");
  expect(Date.parse(validTo)).toBeGreaterThan(Date.now() + 300 * 86_400_000);
});

test("what cannot be used any more is made anew", async () => {
  const directory = folder();
  const first = await localhostCertificate(directory);
  writeFileSync(first.keyPath, readFileSync((await localhostCertificate(folder())).keyPath));
  const second = await localhostCertificate(directory);
  expect(second.cert).not.toBe(first.cert);
  expect(await localhostCertificate(directory)).toEqual(second);
});

test("servers that start together share one pair", async () => {
  const directory = folder();
  const pairs = await Promise.all(Array.from({ length: 4 }, () => localhostCertificate(directory)));
  const kept = readFileSync(pairs[0]!.certPath, "utf8");
  for (const { cert, key } of pairs) expect([cert, key]).toEqual([kept, readFileSync(pairs[0]!.keyPath, "utf8")]);
});

test("a process keeps it in the user's cache directory, and a client that trusts it gets through", async () => {
  const env = { XDG_CACHE_HOME: folder() };
  const seen: string[] = [];
  for (let run = 0; run < 2; run++) {
    const server = await serve(["--protocol", "h1s:0"], { env });
    expect(server.caPath).toBe(join(env.XDG_CACHE_HOME, "fakeai", "tls", "localhost.pem"));
    const ca = readFileSync(server.caPath!, "utf8");
    seen.push(ca);
    const status = await new Promise<number>((resolve, reject) => {
      httpsRequest(`${server.listening[0]!.url}/health`, { ca, agent: false }, (response) => resolve(response.resume().statusCode!))
        .on("error", reject)
        .end();
    });
    expect(status).toBe(200);
    await server.stop();
  }
  expect(seen[1]).toBe(seen[0]);
});

describe.each(targets.filter(({ protocol }) => protocol === "h1s" || protocol === "h2"))("--tls-cert and --tls-key, $name", (target) => {
  test("are what the port shows; no other trust is asked for", async () => {
    const { certPath, keyPath, cert } = await localhostCertificate(folder());
    const running = await start(target, { tlsCert: certPath, tlsKey: keyPath });
    expect(running.server.caPath).toBeNull();
    const { port } = new URL(running.origin);
    const shown = await new Promise<string>((resolve, reject) => {
      const options = { ca: cert, agent: false, ALPNProtocols: ["http/1.1"] };
      httpsRequest(`https://127.0.0.1:${port}/health`, options, (response) => {
        const { socket } = response.resume();
        resolve("getPeerX509Certificate" in socket ? String((socket as TLSSocket).getPeerX509Certificate()) : "");
      })
        .on("error", reject)
        .end();
    });
    expect(shown.trim()).toBe(cert.trim());
    await running.stop();
  });
});
