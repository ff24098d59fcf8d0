/** The forms that `src/api/shared/forms.ts` checks bodies by, made of JSON schemas: what several schemas allow becomes one form. */
import { type FormRow, type Forms, kindBits } from "../../src/api/shared/forms.ts";
import type { Schema } from "./schema-arbitrary.ts";
import type { Definitions } from "./sdk-types.ts";

const kinds = { ...kindBits, integer: kindBits.number };

/** Members that name the variant of an object. */
const tags = ["type", "role"];

export class FormTable {
  readonly #definitions: Definitions;
  readonly #rows: FormRow[] = [];
  readonly #known = new Map<string, number>();

  constructor(definitions: Definitions) {
    this.#definitions = definitions;
  }

  /** The forms of the bodies, by endpoint; of a member in `open` nothing is said. */
  forms(open: Readonly<Record<string, readonly string[]>>): Forms {
    const bodies = Object.entries(this.#definitions["Asked"]!.properties!).map(([path, schema]) => {
      const index = this.#formOf([schema], open[path])!;
      return [path, index] as const;
    });
    return merged({ bodies: Object.fromEntries(bodies), rows: this.#rows });
  }

  /** Without references and choices. */
  #flat(schema: Schema): Schema[] {
    if (schema.$ref !== undefined) {
      const name = decodeURIComponent(schema.$ref.slice(schema.$ref.lastIndexOf("/") + 1));
      const found = this.#definitions[name];
      if (found === undefined) throw new Error(`no definition ${name}`);
      return this.#flat(found);
    }
    if (schema.anyOf !== undefined) return schema.anyOf.flatMap((one) => this.#flat(one));
    if (schema.allOf !== undefined) throw new Error(`allOf: ${JSON.stringify(schema)}`);
    if (typeof schema.type === "object") return schema.type.map((type) => ({ ...schema, type }));
    return [schema];
  }

  /** The index of the form of what one of the schemas allows; null: anything. `told`: tags that have told objects among them apart. */
  #formOf(schemas: readonly Schema[], open: readonly string[] = [], told: readonly string[] = []): number | null {
    const flat = schemas.flatMap((schema) => this.#flat(schema));
    if (flat.some(({ type }) => type === undefined)) return null;
    const key = JSON.stringify([[...new Set(flat.map((one) => JSON.stringify(one)))].toSorted(), open, told]);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const index = this.#rows.length;
    this.#known.set(key, index);
    const row: { -readonly [K in keyof FormRow]: FormRow[K] } = { kinds: 0 };
    this.#rows.push(row);
    for (const { type } of flat) row.kinds |= kinds[type as keyof typeof kinds];
    const strings = flat.filter(({ type }) => type === "string");
    if (strings.length > 0 && strings.every((one) => one.const !== undefined || one.enum !== undefined))
      row.values = [...new Set(strings.flatMap(valuesOf))];
    const numbers = flat.filter(({ type }) => type === "number" || type === "integer");
    Object.assign(row, {
      ...atLeast("least", numbers, ({ minimum }) => minimum),
      ...atMost("most", numbers, ({ maximum }) => maximum),
      ...atMost("longest", strings, ({ maxLength }) => maxLength),
    });
    const arrays = flat.filter(({ type }) => type === "array");
    if (arrays.length > 0) {
      // Of tuples, and of arrays of anything, nothing is said.
      const items = arrays.flatMap(({ items }) => (items === undefined || Array.isArray(items) ? [] : (items as Schema)));
      const form = items.length === arrays.length ? this.#formOf(items) : null;
      if (form !== null) row.items = form;
    }
    const objects = flat.filter(({ type }) => type === "object");
    if (objects.length > 0) this.#objects(row, objects, open, told);
    return index;
  }

  #objects(
    row: { -readonly [K in keyof FormRow]: FormRow[K] },
    objects: readonly Schema[],
    open: readonly string[],
    told: readonly string[],
  ): void {
    const tag = tags.find((name) => !told.includes(name) && this.#tells(name, objects));
    if (tag !== undefined) {
      const tagsOf = (one: Schema): readonly string[] => this.#tagOf(one, tag) ?? [];
      const values = new Set(objects.flatMap(tagsOf));
      const formOf = (some: readonly Schema[]): number => this.#formOf(some, [], [...told, tag])!;
      row.tag = tag;
      row.variants = Object.fromEntries([...values].map((value) => [value, formOf(objects.filter((one) => tagsOf(one).includes(value)))]));
      const untagged = objects.filter(({ required = [] }) => !required.includes(tag));
      if (untagged.length > 0) row.untagged = formOf(untagged);
      return;
    }
    const names = new Set(objects.flatMap(({ properties = {} }) => Object.keys(properties)));
    const members = [...names].flatMap((name) => {
      if (open.includes(name)) return [];
      const form = this.#formOf(objects.flatMap(({ properties = {} }) => [properties[name]].filter((one) => one !== undefined)));
      return form === null ? [] : [[name, form] as const];
    });
    if (members.length > 0) row.members = Object.fromEntries(members);
    Object.assign(row, {
      ...atMost("mostMembers", objects, ({ maxProperties }) => maxProperties),
      ...atMost("longestName", objects, ({ propertyNames }) => propertyNames?.maxLength),
    });
    const rest = objects.map(({ additionalProperties }) => additionalProperties);
    if (rest.every((one) => typeof one === "object")) {
      const form = this.#formOf(rest);
      if (form !== null) row.rest = form;
    }
  }

  /** Whether the tag tells the objects apart: variants of one value are one form, and so are those where a tag can be anything. */
  #tells(tag: string, objects: readonly Schema[]): boolean {
    const found = objects.map((one) => this.#tagOf(one, tag));
    if (objects.some(({ properties = {} }, index) => found[index] === null && properties[tag] !== undefined)) return false;
    return new Set(found.flatMap((values) => JSON.stringify(values) ?? [])).size > 1;
  }

  /** The names by which an object says of which variant it is; null: it does not. */
  #tagOf({ properties = {} }: Schema, tag: string): readonly string[] | null {
    const schema = properties[tag];
    if (schema === undefined) return null;
    const flat = this.#flat(schema).filter(({ type }) => type !== "null");
    if (flat.some((one) => one.type !== "string" || (one.const === undefined && one.enum === undefined))) return null;
    return flat.flatMap(valuesOf);
  }
}

/** A bound that each of the schemas has: the widest of them. */
function atMost(name: keyof FormRow, schemas: readonly Schema[], of: (schema: Schema) => number | undefined): object {
  const bounds = schemas.map((schema) => of(schema) ?? Infinity);
  const most = Math.max(...bounds);
  return schemas.length === 0 || most === Infinity ? {} : { [name]: most };
}

function atLeast(name: keyof FormRow, schemas: readonly Schema[], of: (schema: Schema) => number | undefined): object {
  const bounds = schemas.map((schema) => of(schema) ?? -Infinity);
  const least = Math.min(...bounds);
  return schemas.length === 0 || least === -Infinity ? {} : { [name]: least };
}

function valuesOf({ const: constant, enum: values }: Schema): string[] {
  return (values ?? [constant]).filter((value) => typeof value === "string");
}

/** With each of several equal rows once, and without those that nothing names. */
function merged({ bodies, rows }: Forms): Forms {
  let of = rows.map((_row, index) => index);
  for (;;) {
    const first = new Map<string, number>();
    const next = rows.map((row, index) => {
      const key = JSON.stringify(mapped(row, (at) => of[at]!));
      const found = first.get(key) ?? index;
      first.set(key, found);
      return found;
    });
    if (next.every((index, at) => index === of[at])) break;
    of = next;
  }
  const places = new Map<number, number>();
  const kept: FormRow[] = [];
  const keep = (index: number): number => {
    const own = of[index]!;
    const place = places.get(own);
    if (place !== undefined) return place;
    const at = kept.push(rows[own]!) - 1;
    places.set(own, at);
    kept[at] = mapped(rows[own]!, keep);
    return at;
  };
  return { bodies: Object.fromEntries(Object.entries(bodies).map(([path, index]) => [path, keep(index)])), rows: kept };
}

/** A row with other indices. */
function mapped(row: FormRow, to: (index: number) => number): FormRow {
  const all = (table: Readonly<Record<string, number>>): Record<string, number> =>
    Object.fromEntries(Object.entries(table).map(([name, index]) => [name, to(index)]));
  return {
    ...row,
    ...(row.items !== undefined && { items: to(row.items) }),
    ...(row.members !== undefined && { members: all(row.members) }),
    ...(row.rest !== undefined && { rest: to(row.rest) }),
    ...(row.variants !== undefined && { variants: all(row.variants) }),
    ...(row.untagged !== undefined && { untagged: to(row.untagged) }),
  };
}
