/** Portkey's gateway (https://github.com/Portkey-AI/gateway). It has no configuration file: the client says where a call goes. */
import { readFileSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Gateway, upstreamUrl } from "./gateway.ts";

function version(program: string): string | null {
  try {
    const text = readFileSync(join(dirname(dirname(realpathSync(program))), "package.json"), "utf8");
    return (JSON.parse(text) as { version?: string }).version ?? "present";
  } catch {
    return "present";
  }
}

export const portkey: Gateway = {
  fileName: "portkey.txt",
  programs: ["portkey-gateway", "node_modules/.bin/gateway"],
  // Streams fail with @hono/node-server from 1.14 on (Portkey-AI/gateway#1389).
  install: 'npm: npm install @portkey-ai/gateway, with "overrides": {"@hono/node-server": "1.13.7"} in package.json',
  licence: "MIT",
  clients: ["h1"],
  upstreams: ["1.1"],
  canBuffer: false,
  version,
  config: () => "",
  args: (_configPath, { ports }) => [`--port=${ports.h1}`, "--headless"],
  headers: (settings) => ({
    authorization: "Bearer sk-fakeai",
    "x-portkey-provider": "openai",
    "x-portkey-custom-host": `${upstreamUrl(settings)}/v1`,
  }),
};
