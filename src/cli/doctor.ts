import { cpus, totalmem } from "node:os";
import { loadQuic, quicLack } from "../base/quic.ts";
import { ownVersion } from "../base/version.ts";
import { gateways } from "../network/gateways/catalogue.ts";
import { choosePinning, toolVersions } from "../runner/processes/machine.ts";
import { shippedScenarios } from "../runner/plan/scenario.ts";
import { startServerChild } from "../runner/processes/target.ts";

const howToGet: Readonly<Record<string, string>> = {
  h2load: "Debian, Ubuntu: apt-get install nghttp2-client   macOS: brew install nghttp2   Fedora: dnf install nghttp2",
  autocannon: "npm install (it comes with fakeai)",
  taskset: "Debian, Ubuntu, Fedora: util-linux   macOS: has none; both ends then share the cores",
  ...Object.fromEntries(Object.entries(gateways).map(([name, { install }]) => [name, install])),
  curl: "only for trying things out",
};

/** `fakeai doctor`. */
export async function doctor(): Promise<void> {
  process.stdout.write(await diagnose());
}

async function diagnose(): Promise<string> {
  const tools = toolVersions();
  const pinning = choosePinning();
  const uws = await startsUws();
  const quic = loadQuic();
  const lines = [
    `fakeai      ${ownVersion()}, Node ${process.versions.node}, ${process.platform}-${process.arch}`,
    `machine     ${cpus().length} x ${cpus()[0]?.model.trim() ?? "unknown"}, ${Math.round(totalmem() / 1_073_741_824)} GB`,
    `pinning     ${pinning === null ? "no: server and generator share the cores, and figures scatter more" : `server on core ${pinning.server}, generator on core ${pinning.load}`}`,
    `engines     node:http, node:http2 (nghttp2 ${process.versions["nghttp2"] ?? "unknown"}), ${uws.version ?? `no uWebSockets.js: ${uws.lack}`}`,
    `HTTP/3      ${quic === null ? `optional, not here. ${quicLack()}` : `quiche (${quic.version})`}`,
    "",
    "tools",
    ...Object.entries(tools).map(([name, version]) => `  ${name.padEnd(12)}${version ?? `missing. ${howToGet[name] ?? ""}`}`),
    "",
    "scenarios",
    ...shippedScenarios().map(({ id, arms }) => {
      const proxies = new Set(arms.flatMap(({ via }) => (via === undefined ? [] : [typeof via === "string" ? via : via.proxy])));
      const notes = [
        ...(tools["h2load"] === null && arms.some(({ driver }) => driver === "h2load") ? ["h2load is missing: runs on stream"] : []),
        ...[...proxies].filter((proxy) => tools[proxy] === null).map((proxy) => `without the arms through ${proxy}`),
        ...(uws.lack !== null && arms.some(({ engine }) => engine === "uws") ? ["without the arm on uWebSockets.js"] : []),
        ...(quic === null && arms.some(({ engine }) => engine === "quiche") ? ["without the arms over HTTP/3"] : []),
      ];
      return `  ${id.padEnd(20)} ${notes.length === 0 ? "all of it" : notes.join("; ")}`;
    }),
  ];
  return `${lines.join("\n")}\n`;
}

/** The package that uWebSockets.js comes from, with its version; or why it does not run. */
async function startsUws(): Promise<{ readonly version: string | null; readonly lack: string | null }> {
  try {
    const server = await startServerChild({
      protocols: ["h1"],
      engine: "uws",
      ttft: 0,
      itl: 0,
      outputTokens: 1,
      maxConcurrentStreams: 256,
      seed: 1,
      cpu: null,
    });
    await server.close();
    return { version: `uWebSockets.js (${server.engineVersions["uws"]})`, lack: null };
  } catch (error) {
    return { version: null, lack: (error as Error).message };
  }
}
