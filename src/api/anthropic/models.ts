/** GET /v1/models in Anthropic's shape (platform.claude.com/docs/en/api/models-list). */
import type { RouteRequest } from "../../core/seams.ts";
import type { ModelSettings } from "../shared/model-settings.ts";
import { bad } from "./complaints.ts";

/** What is shown when every name is served. */
const defaultModels = ["claude-opus-4-8", "claude-sonnet-5", "claude-haiku-4-5", "fakeai"];

/** A model as Anthropic describes it. What is unknown of it is null. */
export function describeModel(id: string, { maxModelLen }: ModelSettings): object {
  return {
    type: "model",
    id,
    display_name: id,
    // An epoch value, as for models whose release date is unknown.
    created_at: "1970-01-01T00:00:00Z",
    capabilities: null,
    deprecated_at: null,
    lifecycle: "active",
    line: null,
    max_input_tokens: maxModelLen,
    max_tokens: maxModelLen,
    retires_at: null,
  };
}

const mostListed = 1000;

/** One page of the models: `limit` of them, after or before one. Throws ApiError. */
export function listModels(request: RouteRequest, settings: ModelSettings): object {
  const query = new URLSearchParams(request.query);
  const limit = Number(query.get("limit") ?? 20);
  if (!Number.isInteger(limit) || limit < 1 || limit > mostListed)
    throw bad(`limit: Input should be a whole number from 1 to ${mostListed}`);
  const ids = settings.models ?? defaultModels;
  const before = query.get("before_id");
  const after = query.get("after_id");
  if (before !== null && after !== null) throw bad("before_id, after_id: only one of them may be given");
  const at = (name: string, id: string): number => {
    const index = ids.indexOf(id);
    if (index < 0) throw bad(`${name}: no model has this id`);
    return index;
  };
  const end = before === null ? ids.length : at("before_id", before);
  const start = after === null ? (before === null ? 0 : Math.max(0, end - limit)) : at("after_id", after) + 1;
  const page = ids.slice(start, Math.min(end, start + limit));
  return {
    data: page.map((id) => describeModel(id, settings)),
    has_more: before === null ? start + page.length < ids.length : start > 0,
    first_id: page[0] ?? null,
    last_id: page.at(-1) ?? null,
  };
}
