/** What Ollama tells of its models and of itself: /api/tags, /api/ps, /api/show, /api/version (docs/api.md). */
import { parseBody } from "../shared/body.ts";
import type { ModelSettings } from "../shared/model-settings.ts";
import { readModel } from "./request.ts";

/** What is shown when every name is served. */
const defaultModels = ["llama3.2", "qwen3", "gpt-oss", "nomic-embed-text", "fakeai"];

/** Of a release of Ollama's that has all that is imitated; the label (PEP 440) says whose answer it is. */
export const ollamaVersion = "0.12.0+fakeai";

const details = {
  parent_model: "",
  format: "gguf",
  family: "fakeai",
  families: ["fakeai"],
  // There are no weights.
  parameter_size: "0B",
  quantization_level: "unknown",
};

const modifiedAt = "2023-11-14T22:13:20Z";
const digest = "0".repeat(64);

function tagged(name: string): string {
  return name.includes(":") ? name : `${name}:latest`;
}

/** JSON text of GET /api/tags. */
export function listTags({ models }: ModelSettings): string {
  const list = (models ?? defaultModels).map((name) => ({
    name: tagged(name),
    model: tagged(name),
    modified_at: modifiedAt,
    size: 0,
    digest,
    details,
  }));
  return JSON.stringify({ models: list });
}

/** JSON text of POST /api/show. Throws ApiError. */
export function showModel(bytes: Uint8Array, { models, maxModelLen }: ModelSettings): string {
  const name = readModel(parseBody(bytes), models);
  return JSON.stringify({
    modelfile: `FROM ${name}`,
    parameters: "",
    template: "{{ .Prompt }}",
    details,
    model_info: { "general.architecture": "fakeai", ...(maxModelLen !== null && { "fakeai.context_length": maxModelLen }) },
    capabilities: ["completion", "tools", "thinking", "embedding"],
    modified_at: modifiedAt,
  });
}
