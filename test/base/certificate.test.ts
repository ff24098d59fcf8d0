/** The certificate: the user's own, or one of ours, made once and kept where only the user reads its key. */
import { X509Certificate } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { request as httpsRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { localhostCertificate } from "../../src/base/certificate.ts";
import { startServerChild } from "../../src/runner/processes/target.ts";
import { runCli, serve } from "../support/process.ts";
import { start, targets } from "../support/targets.ts";

const folder = (): string => mkdtempSync(join(tmpdir(), "fakeai-tls-"));

test("the key is for its user alone, and kept", async () => {
  const directory = folder();
  const first = await localhostCertificate(directory);
  expect(statSync(first.files!.keyPath).mode & 0o777).toBe(0o600);
  expect(statSync(join(directory, "tls")).mode & 0o777).toBe(0o700);
  expect(await localhostCertificate(directory)).toEqual(first);
  const { subjectAltName, validTo } = new X509Certificate(first.cert);
  expect(subjectAltName).toBe("DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1");
  expect(Date.parse(validTo)).toBeGreaterThan(Date.now() + 300 * 86_400_000);
});

test("what cannot be used any more is made anew", async () => {
  const directory = folder();
  const first = await localhostCertificate(directory);
  writeFileSync(first.files!.keyPath, readFileSync((await localhostCertificate(folder())).files!.keyPath));
  const second = await localhostCertificate(directory);
  expect(second.cert).not.toBe(first.cert);
  expect(await localhostCertificate(directory)).toEqual(second);
});

test("one that was made while the clock was a year ahead is made anew, and is valid for clocks that are weeks behind", async () => {
  const directory = folder();
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 366 * 86_400_000 });
  onTestFinished(() => void vi.useRealTimers());
  const ahead = await localhostCertificate(directory);
  vi.useRealTimers();
  const { cert } = await localhostCertificate(directory);
  expect(cert).not.toBe(ahead.cert);
  const { validFrom, validTo } = new X509Certificate(cert);
  expect(Date.parse(validFrom)).toBeLessThan(Date.now() - 29 * 86_400_000);
  // Browsers take no more than 398 days.
  expect(Date.parse(validTo) - Date.parse(validFrom)).toBeLessThan(398 * 86_400_000);
});

test("servers that start together share one pair", async () => {
  const directory = folder();
  const pairs = await Promise.all(Array.from({ length: 4 }, () => localhostCertificate(directory)));
  const kept = readFileSync(pairs[0]!.files!.certPath, "utf8");
  for (const { cert, key } of pairs) expect([cert, key]).toEqual([kept, readFileSync(pairs[0]!.files!.keyPath, "utf8")]);
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

/** Where nothing can be made: below a file, and below a folder of the kernel. */
const nowhere = ["/dev/null/x", ...(process.platform === "linux" ? ["/proc/x"] : [])];

describe("a cache folder that cannot be made", () => {
  const place = nowhere[0]!;
  const health = (url: string, ca: string): Promise<number> =>
    new Promise((resolve, reject) => {
      httpsRequest(`${url}/health`, { ca, agent: false }, (response) => resolve(response.resume().statusCode!))
        .on("error", reject)
        .end();
    });

  test.each([1, 2])("a certificate in the folder for temporary files, with %d workers, removed at the end", async (workers) => {
    const temporary = folder();
    const env = { XDG_CACHE_HOME: place, TMPDIR: temporary };
    const server = await serve(["--protocol", "h1s:0,h2:0", "--workers", String(workers)], { env });
    expect(server.caPath).toMatch(new RegExp(`^${temporary}/fakeai-tls-\\w+/localhost\\.pem$`));
    expect(statSync(server.caPath!.replace(".pem", "-key.pem")).mode & 0o777).toBe(0o600);
    const ca = readFileSync(server.caPath!, "utf8");
    for (let ask = 0; ask < 4; ask++) for (const { url } of server.listening) expect(await health(url, ca)).toBe(200);
    await server.stop();
    expect(readdirSync(temporary)).toEqual([]);
  });

  test("in memory where there is no such folder either: h1s runs on node, and stdout has the certificate", async () => {
    const env = { XDG_CACHE_HOME: place, TMPDIR: "/dev/null/x" };
    const server = await serve(["--protocol", "h1s:0,h2:0"], { env });
    expect(server.caPath).toBeNull();
    const { ca } = JSON.parse(await server.firstLine) as { ca: string };
    for (const { url, engine } of server.listening) expect([engine, await health(url, ca)]).toEqual(["node", 200]);
    await server.stop();
  });

  test.each(nowhere)("a line says so, %s", async (place) => {
    const { child, firstLine, ended } = runCli(["serve", "--protocol", "h2:0"], { env: { XDG_CACHE_HOME: place, TMPDIR: folder() } });
    await firstLine;
    child.kill("SIGTERM");
    const { stdout, code } = await ended;
    expect(stdout).toMatch(/^note no certificate can be kept \((?:ENOTDIR|ENOENT): .+\): this server has one of its own$/m);
    expect(code).toBe(0);
  });

  test("proxy-config asks for one that lasts", async () => {
    const { code, stderr } = await runCli(["proxy-config", "nginx"], { env: { XDG_CACHE_HOME: place } }).ended;
    expect(code).toBe(2);
    expect(stderr).toMatch(/^fakeai: no certificate can be kept \(.+\): give --tls-cert and --tls-key\n$/);
  });
});

test("a bench gets the certificate of its server where no file can be written", async () => {
  vi.stubEnv("XDG_CACHE_HOME", "/dev/null/x");
  vi.stubEnv("TMPDIR", "/dev/null/x");
  onTestFinished(() => void vi.unstubAllEnvs());
  const server = await startServerChild({
    protocols: ["h2"],
    engine: "node",
    ttft: 0,
    itl: 0,
    outputTokens: 1,
    maxConcurrentStreams: 10,
    seed: 1,
    cpu: null,
  });
  onTestFinished(() => server.close());
  expect(server.caPath).toBeNull();
  expect(new X509Certificate(server.tls.ca!).subject).toBe("CN=localhost");
});

describe.each(targets.filter(({ protocol }) => protocol === "h1s" || protocol === "h2"))("--tls-cert and --tls-key, $name", (target) => {
  test("are what the port shows; no other trust is asked for", async () => {
    const { files, cert } = await localhostCertificate(folder());
    const running = await start(target, { tlsCert: files!.certPath, tlsKey: files!.keyPath });
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
