/** JSON schemas (draft 2020-12) of our own types: comments become descriptions, tags become keywords. */
import { createGenerator } from "ts-json-schema-generator";
import { metricFacts } from "../../src/results/metrics.ts";
import { root } from "./process.ts";

/** A JSON schema, or a part of one. */
export type Schema = { [keyword: string]: unknown };

/**
 * The schema of an exported type, as text that ends in a newline. Exported types become `$defs`, others are written in place.
 * @param file path from the root of the repository.
 * @param closed whether a member that the type does not name is an error.
 */
export function schemaText(file: string, type: string, closed: boolean): string {
  const generator = createGenerator({
    path: root + file,
    tsconfig: `${root}tsconfig.json`,
    type,
    topRef: false,
    // The type check is a test of its own.
    skipTypeCheck: true,
    additionalProperties: !closed,
    extraTags: ["unit", "dependentRequired"],
  });
  const { $schema: _, definitions = {}, ...top } = generator.createSchema(type) as Schema & { definitions?: Record<string, Schema> };
  describeMetrics(definitions["Metrics"]);
  const numbers = new Map(Object.entries(definitions).filter(([, { type: kind, unit }]) => unit !== undefined && typeof kind === "string"));
  for (const name of numbers.keys()) delete definitions[name];
  const schema = withNumbers({ $schema: "https://json-schema.org/draft/2020-12/schema", ...top, $defs: definitions }, numbers);
  return `${JSON.stringify(schema, null, 2).replaceAll('"#/definitions/', '"#/$defs/')}\n`;
}

/** Numbers with their units stand where they are used: a reader of the schema looks nothing up. */
function withNumbers(value: unknown, numbers: ReadonlyMap<string, Schema>): unknown {
  if (Array.isArray(value)) return value.map((one) => withNumbers(one, numbers));
  if (typeof value !== "object" || value === null) return value;
  const { $ref, ...others } = value as Schema;
  const number = typeof $ref === "string" ? numbers.get($ref.replace("#/definitions/", "")) : undefined;
  if (number !== undefined) return { ...number, ...others };
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, withNumbers(one, numbers)]));
}

/** The members of `Metrics` are names out of a list: what each means is in the table of metrics. */
function describeMetrics(metrics: Schema | undefined): void {
  for (const [name, member] of Object.entries((metrics?.["properties"] ?? {}) as Record<string, Schema>)) {
    const { unit, description } = metricFacts[name as keyof typeof metricFacts];
    Object.assign(member, { unit, description });
  }
}
