/** Gemini's schemas (ai.google.dev/api/caching#Schema), a part of OpenAPI 3.0's, as JSON schemas. */
import { isObject } from "../shared/body.ts";

/** Deeper schemas are refused by the bound on bodies. */
const mostDepth = 200;

/** Counts come as strings too: they are int64 in protocol buffers. */
const counts = ["minItems", "maxItems", "minProperties", "maxProperties", "minLength", "maxLength"] as const;

/** A schema with types in upper case, `nullable`, and members that JSON schema does not have. */
export function jsonSchemaOf(schema: unknown, depth = 0): unknown {
  if (!isObject(schema) || depth > mostDepth) return schema;
  const { type, nullable, propertyOrdering: _order, property_ordering: _named, title: _title, example: _example, ...rest } = schema;
  const converted: Record<string, unknown> = { ...rest };
  const name = typeof type === "string" ? type.toLowerCase() : type;
  if (name !== undefined && name !== "type_unspecified") converted["type"] = nullable === true ? [name, "null"] : name;
  for (const count of counts) if (typeof rest[count] === "string" && /^\d{1,9}$/.test(rest[count])) converted[count] = Number(rest[count]);
  if (isObject(rest["properties"]))
    converted["properties"] = Object.fromEntries(
      Object.entries(rest["properties"]).map(([member, part]) => [member, jsonSchemaOf(part, depth + 1)]),
    );
  if (rest["items"] !== undefined) converted["items"] = jsonSchemaOf(rest["items"], depth + 1);
  const anyOf = rest["anyOf"] ?? rest["any_of"];
  if (Array.isArray(anyOf)) converted["anyOf"] = anyOf.map((part: unknown) => jsonSchemaOf(part, depth + 1));
  // "enum" is the format of an enumeration's text, and says no more than `enum` does.
  if (converted["format"] === "enum") delete converted["format"];
  return converted;
}
