/** What the makers of instances know of a schema: its keywords, and what is wrong with it. */

/** The schema cannot be followed; the message says why. */
export class SchemaError extends Error {}

export type Schema = Readonly<Record<string, unknown>>;

export function isSchema(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Keywords that decide an instance; `$ref` and `allOf` are followed before. All others are notes. */
const deciding = new Set([
  "type", "const", "enum", "anyOf", "oneOf", "properties", "required", "additionalProperties", "items", "prefixItems", "minItems",
  "maxItems", "uniqueItems", "minLength", "maxLength", "pattern", "format", "minimum", "maximum", "exclusiveMinimum",
  "exclusiveMaximum", "multipleOf",
]); // oxfmt-ignore
/** Keywords that could make an instance invalid. */
const refused = new Set([
  "not", "if", "contains", "patternProperties", "propertyNames", "dependentRequired", "dependentSchemas",
  "unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "minProperties", "maxProperties",
]); // oxfmt-ignore

/**
 * The keywords of a schema that decide its instances. One that is null says nothing: SDKs' types of schemas allow it. Throws
 * SchemaError where one is refused.
 */
export function keywords(schema: Schema): Schema {
  const kept: Record<string, unknown> = {};
  // Most schemas have few of them: to ask for each that there could be takes ten times as long.
  for (const keyword of Object.keys(schema)) {
    if (refused.has(keyword)) throw new SchemaError(`'${keyword}' is not permitted`);
    if (deciding.has(keyword) && (schema[keyword] !== null || keyword === "const")) kept[keyword] = schema[keyword];
  }
  return kept;
}

export function listOf(value: unknown, keyword: string): readonly unknown[] {
  if (!Array.isArray(value) || value.length === 0) throw new SchemaError(`'${keyword}' must be a list of schemas`);
  return value;
}

export function namesOf(value: unknown): readonly string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || !value.every((name) => typeof name === "string"))
    throw new SchemaError("'required' must be a list of names");
  return value;
}
