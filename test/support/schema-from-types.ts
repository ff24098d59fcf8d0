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
  const schema = { $schema: "https://json-schema.org/draft/2020-12/schema", ...top, $defs: definitions };
  return `${JSON.stringify(schema, null, 2).replaceAll('"#/definitions/', '"#/$defs/')}\n`;
}

/** The members of `Metrics` are names out of a list: what each means is in the table of metrics. */
function describeMetrics(metrics: Schema | undefined): void {
  for (const [name, member] of Object.entries((metrics?.["properties"] ?? {}) as Record<string, Schema>)) {
    const { unit, description } = metricFacts[name as keyof typeof metricFacts];
    Object.assign(member, { unit, description });
  }
}
