/** Portkey's gateway (https://github.com/Portkey-AI/gateway). It has no configuration file: the client says where a call goes. */
import { readFileSync, realpathSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { type Gateway, upstreamUrl } from "./gateway.ts";

interface Package {
  readonly name?: string;
  readonly version?: string;
}

/** The package that a program belongs to; null: none can be read. */
function packageOf(program: string): Package | null {
  try {
    return JSON.parse(readFileSync(join(dirname(dirname(realpathSync(program))), "package.json"), "utf8")) as Package;
  } catch {
    return null;
  }
}

export const portkey: Gateway = {
  fileName: "portkey.txt",
  programs: ["portkey-gateway", "gateway", "node_modules/.bin/gateway"],
  isIt: (program) => basename(program) !== "gateway" || packageOf(program)?.name === "@portkey-ai/gateway",
  // Streams fail with @hono/node-server from 1.14 on (Portkey-AI/gateway#1389).
  install: 'npm: npm install @portkey-ai/gateway, with "overrides": {"@hono/node-server": "1.13.7"} in package.json',
  licence: "MIT",
  clients: ["h1"],
  upstreams: ["1.1"],
  canBuffer: false,
  version: (program) => packageOf(program)?.version ?? "present",
  config: () => "",
  args: (_configPath, { ports }) => [`--port=${ports.h1}`, "--headless"],
  headers: (settings) => ({
    authorization: "Bearer sk-fakeai",
    "x-portkey-provider": "openai",
    "x-portkey-custom-host": `${upstreamUrl(settings)}/v1`,
  }),
};
