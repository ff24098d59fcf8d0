/** LiteLLM's proxy server (https://docs.litellm.ai/docs/proxy/configs). */
import { readdirSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Gateway, upstreamUrl } from "./gateway.ts";

const key = "sk-fakeai-litellm";

/** It takes seconds to start only to say its version: the package beside the program says it too. */
function version(program: string): string | null {
  try {
    const library = join(dirname(dirname(realpathSync(program))), "lib");
    for (const python of readdirSync(library).filter((name) => name.startsWith("python"))) {
      const found = readdirSync(join(library, python, "site-packages")).map((name) => /^litellm-([^-]+)\.dist-info$/.exec(name)?.[1]);
      const one = found.find((name) => name !== undefined);
      if (one !== undefined) return one;
    }
  } catch {
    // It is not in a folder of that kind.
  }
  return "present";
}

export const litellm: Gateway = {
  fileName: "litellm.yaml",
  programs: ["litellm"],
  install: 'PyPI: pip install "litellm[proxy]"',
  licence: "MIT",
  clients: ["h1"],
  upstreams: ["1.1"],
  canBuffer: false,
  version,
  config: (settings) => `model_list:
  - model_name: "*"
    litellm_params:
      model: "openai/*"
      api_base: "${upstreamUrl(settings)}/v1"
      api_key: sk-fakeai
general_settings:
  master_key: ${key}
litellm_settings:
  telemetry: false
`,
  args: (configPath, { host, ports }) => ["--config", configPath, "--host", host, "--port", String(ports.h1)],
  env: ({ directory }) => ({ LITELLM_LOCAL_MODEL_COST_MAP: "True", LITELLM_LOG: "ERROR", HOME: directory }),
  headers: () => ({ authorization: `Bearer ${key}` }),
  ready: "/health/liveliness",
  startTimeoutMs: 120_000,
};
