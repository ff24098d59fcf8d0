/** Values of a JSON schema, as fast-check makes them: what ts-json-schema-generator writes of a client's types. */
import fc from "fast-check";

export interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Schema;
  readonly items?: Schema | readonly Schema[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxLength?: number;
  readonly maxProperties?: number;
  readonly propertyNames?: { readonly maxLength: number };
  readonly definitions?: Readonly<Record<string, Schema>>;
}

/** What a member of this name holds, where its type says too little of it; undefined: what its type says. */
export type Named = (name: string, schema: Schema) => fc.Arbitrary<unknown> | undefined;

/** Below this depth members that may be left out are left out. */
const deepest = 5;

const word = fc.stringMatching(/^[a-z][a-z0-9_]{0,11}$/);

export class SchemaArbitraries {
  readonly #definitions: Readonly<Record<string, Schema>>;
  readonly #named: Named;

  constructor(definitions: Readonly<Record<string, Schema>>, named: Named) {
    this.#definitions = definitions;
    this.#named = named;
  }

  of(schema: Schema, depth = 0): fc.Arbitrary<unknown> {
    if (schema.$ref !== undefined) return this.of(this.#resolve(schema.$ref), depth);
    if (schema.const !== undefined) return fc.constant(schema.const);
    if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
    if (schema.anyOf !== undefined) return this.#oneOf(schema.anyOf, depth);
    if (schema.allOf !== undefined)
      return fc.tuple(...schema.allOf.map((part) => this.of(part, depth))).map((parts) => Object.assign({}, ...parts) as unknown);
    const { type } = schema;
    if (typeof type === "object")
      return this.#oneOf(
        type.map((one) => ({ ...schema, type: one })),
        depth,
      );
    switch (type) {
      case "string":
        return word;
      case "integer":
      case "number":
        return fc.integer({ min: Math.max(1, schema.minimum ?? 1), max: Math.min(20, schema.maximum ?? 20) });
      case "boolean":
        return fc.boolean();
      case "null":
        return fc.constant(null);
      case "array":
        return this.#array(schema, depth);
      case "object":
        return this.#object(schema, depth);
      default:
        // "unknown" and "any".
        return fc.constantFrom<unknown>("x", 1, true, {});
    }
  }

  #resolve(ref: string): Schema {
    const name = decodeURIComponent(ref.slice(ref.lastIndexOf("/") + 1));
    const found = this.#definitions[name];
    if (found === undefined) throw new Error(`no definition ${name}`);
    return found;
  }

  /** The variants that end soonest, where it is deep. */
  #oneOf(variants: readonly Schema[], depth: number): fc.Arbitrary<unknown> {
    const flat = variants.filter(({ $ref, type }) => $ref === undefined && type !== "array" && type !== "object");
    const some = depth > deepest && flat.length > 0 ? flat : variants;
    return fc.nat(some.length - 1).chain((index) => this.of(some[index]!, depth));
  }

  #array({ items }: Schema, depth: number): fc.Arbitrary<unknown> {
    if (items === undefined) return fc.constant([]);
    if (Array.isArray(items)) return fc.tuple(...(items as readonly Schema[]).map((item) => this.of(item, depth + 1)));
    return fc
      .nat(depth > deepest ? 1 : 3)
      .chain((count) => fc.tuple(...Array.from({ length: count }, () => this.of(items as Schema, depth + 1))));
  }

  #object({ properties = {}, required = [], additionalProperties }: Schema, depth: number): fc.Arbitrary<unknown> {
    const names = Object.keys(properties);
    const optional = names.filter((name) => !required.includes(name));
    // A few at a time: each case stays readable, and every pair of members meets over the runs.
    const chosen =
      depth > deepest ? fc.constant<string[]>([]) : fc.subarray(optional, { maxLength: Math.min(optional.length, depth === 0 ? 8 : 3) });
    const members = chosen.chain((some) =>
      fc.record(
        Object.fromEntries(
          [...required, ...some].map((name) => [
            name,
            (properties[name]?.type === "array" ? undefined : this.#named(name, properties[name] ?? {})) ??
              this.of(properties[name] ?? {}, depth + 1),
          ]),
        ),
      ),
    );
    if (typeof additionalProperties !== "object") return members;
    const more = fc.dictionary(word, this.of(additionalProperties, depth + 1), { maxKeys: 2 });
    return fc.tuple(members, more).map(([known, others]) => Object.assign(others, known));
  }
}
