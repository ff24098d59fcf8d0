/** The service tier of a request: what was asked for, and what the answer says. */
import { type JsonObject, optionalName } from "../shared/body.ts";

const serviceTiers = ["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"] as const;

/** A tier as requests name it. */
export type ServiceTier = (typeof serviceTiers)[number];

/** A tier as answers name it. */
export type ServedTier = Exclude<ServiceTier, "auto">;

/** The tier that a request asks for. */
export function readServiceTier(body: JsonObject): ServiceTier {
  return optionalName(body, "service_tier", serviceTiers) ?? "auto";
}

/** The tier that serves a request: "auto" is what the project has set. */
export function servedTier(asked: ServiceTier): ServedTier {
  return asked === "auto" ? "default" : asked;
}
