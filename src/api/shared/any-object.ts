/** What a JSON answer holds where no schema says it. */
export const anyJsonObject: Readonly<Record<string, unknown>> = {
  type: "object",
  properties: { title: { type: "string" }, count: { type: "integer" }, tags: { type: "array", items: { type: "string" }, minItems: 1 } },
  required: ["title", "count", "tags"],
};
