/**
 * Other fake LLM servers to be held against, each where it is installed. Their answers have a piece of a word for each token of
 * fakeai's; paced, as many as a measurement can read (`pacedTokens`).
 */
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "../../test/support/servers.ts";
import { endOf, spawnOnCore } from "../support/server.ts";
import { ask, cacheFile, ownCore, type Place, type Subject, type Wire } from "./subjects.ts";

/** Where npm and cargo put them: `npm install --prefix bench/speed/peers`, `cargo install --root bench/speed/peers llmposter`. */
const folder = fileURLToPath(new URL("peers/", import.meta.url));

/** What a peer is started for: whole answers at once, or a token in each so many milliseconds. */
interface Wanted {
  /** Cores that it may use. */
  readonly workers: number;
  readonly port: number;
  readonly content: string;
  /** null: without latency. */
  readonly itlMs: number | null;
}

interface Peer {
  /** The command without its arguments; null: it is not installed. */
  readonly find: () => readonly string[] | null;
  readonly args: (wanted: Wanted) => readonly string[];
  readonly env?: (wanted: Wanted) => NodeJS.ProcessEnv;
  /** It keeps a latency of its own between tokens: it has no place in rows without any. */
  readonly onlyUnary?: boolean;
  /** By prior knowledge, on the port of HTTP/1.1. */
  readonly speaksH2c?: boolean;
  /** It can pace streams of a token a write. */
  readonly paces: boolean;
}

function nodeBin(packageName: string, bin: string): readonly string[] | null {
  const at = join(folder, "node_modules", packageName);
  if (!existsSync(at)) return null;
  const { bin: bins } = JSON.parse(readFileSync(join(at, "package.json"), "utf8")) as { bin: Record<string, string> };
  return [process.execPath, join(at, bins[bin]!)];
}

function program(name: string): readonly string[] | null {
  const places = [join(folder, "bin"), process.env["GOBIN"] ?? join(homedir(), "go", "bin"), join(homedir(), ".cargo", "bin")];
  const found = [...places, ...(process.env["PATH"] ?? "").split(delimiter)].map((place) => join(place, name)).find(existsSync);
  return found === undefined ? null : [found];
}

const completion = (content: string): string =>
  JSON.stringify({
    id: "chatcmpl-1",
    object: "chat.completion",
    created: 1,
    model: "m",
    choices: [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }],
  });

/** Tokens of a paced answer: more than a measurement reads. */
export const pacedTokens = 3000;

export type PeerName = "aimock" | "mock-llm" | "llmposter" | "llmsim" | "VidaiMock" | "llm-d";

const peers: Readonly<Record<PeerName, Peer>> = {
  aimock: {
    find: () => nodeBin("@copilotkit/aimock", "llmock"),
    args: ({ port, content }) => {
      const file = cacheFile("aimock.json", JSON.stringify({ fixtures: [{ match: { userMessage: "hi" }, response: { content } }] }));
      return ["-p", String(port), "-f", file, "-c", "5", "--log-level", "silent"];
    },
    paces: false,
  },
  "mock-llm": {
    find: () => nodeBin("@dwmkerr/mock-llm", "mock-llm"),
    args: ({ content }) => {
      const rule = `  - path: "/v1/chat/completions"\n    match: "@"\n    response:\n      status: 200\n      content: '${completion(content)}'\n`;
      return ["--config", cacheFile("mock-llm.yaml", `streaming:\n  chunkSize: 5\n  chunkIntervalMs: 0\nrules:\n${rule}`)];
    },
    env: ({ port }) => ({ PORT: String(port), HOST: "127.0.0.1" }),
    paces: false,
  },
  llmposter: {
    find: () => program("llmposter"),
    args: ({ port, content, itlMs }) => {
      const streaming = { chunk_size: 5, ...(itlMs !== null && { latency: itlMs }) };
      const fixtures = [{ match: { user_message: "hi" }, response: { content }, streaming }];
      // JSON is YAML.
      return ["--fixtures", cacheFile("llmposter.yaml", JSON.stringify({ fixtures })), "--port", String(port)];
    },
    paces: true,
  },
  llmsim: {
    find: () => program("llmsim"),
    args: ({ port, content, itlMs }) => {
      const latency = `[latency]\nttft_mean_ms = ${itlMs ?? 0}\nttft_stddev_ms = 0\ntbt_mean_ms = ${itlMs ?? 0}\ntbt_stddev_ms = 0\n`;
      const response = `[response]\ngenerator = "lorem"\ntarget_tokens = ${content.split(" ").length - 1}\n`;
      const server = `[server]\nport = ${port}\nhost = "127.0.0.1"\n`;
      return ["serve", "--config", cacheFile("llmsim.toml", `${server}${latency}${response}`)];
    },
    paces: true,
  },
  VidaiMock: {
    find: () => program("vidaimock"),
    args: ({ port, workers }) => ["--host", "127.0.0.1", "--port", String(port), "--workers", String(workers), "--mode", "benchmark"],
    onlyUnary: true,
    speaksH2c: true,
    paces: false,
  },
  "llm-d": {
    find: () => program("llm-d-inference-sim"),
    args: ({ port, itlMs }) => {
      const each = `${itlMs ?? 0}ms`;
      return ["--port", String(port), "--model", "m", "--mode", "echo", "--time-to-first-token", each, "--inter-token-latency", each];
    },
    paces: false,
  },
};

/** The peers that are installed and fit a row, by name. */
export function installedPeers(row: "unary" | "unpaced" | "paced"): PeerName[] {
  return (Object.entries(peers) as [PeerName, Peer][]).flatMap(([name, { find, paces, onlyUnary }]) => {
    const fits = row === "paced" ? paces : row === "unary" || onlyUnary !== true;
    return fits && find() !== null ? [name] : [];
  });
}

export function isPeer(name: string): name is PeerName {
  return Object.hasOwn(peers, name);
}

/** The protocol that a subject is asked by in a row of this one. */
export function wireFor(name: string, wire: Wire): Wire {
  return isPeer(name) && peers[name].speaksH2c !== true ? "h1" : wire;
}

/** Starts a peer on core 0, where it is not told otherwise; its answers have so many tokens, with `itlMs` one in each so many milliseconds. */
export async function startPeer(name: PeerName, tokens: number, itlMs: number | null = null, place: Place = ownCore): Promise<Subject> {
  const peer = peers[name];
  const workers = place.core === null ? 2 : 1;
  const wanted: Wanted = { workers, port: await freePort(), content: " word".repeat(tokens), itlMs };
  const [command, ...first] = peer.find()!;
  const startedMs = performance.now();
  const child = spawnOnCore([command!, ...first, ...peer.args(wanted)], "ignore", { ...place, env: peer.env?.(wanted) ?? {} });
  const end = endOf(child);
  // None says on stdout that it is ready: it is when it answers.
  for (let tries = 0; ; tries++) {
    try {
      await ask("h1", wanted.port, '{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true}', 1);
      return { name, pid: child.pid!, port: wanted.port, readyMs: performance.now() - startedMs, ...end };
    } catch {
      if (tries === 200) {
        await end.stop();
        throw new Error(`${name} did not answer`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
