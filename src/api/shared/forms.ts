/**
 * The form of request bodies: which JSON types members have at any depth, which names they take, and in which ranges. The tables are made
 * of the types of the providers' own SDKs and the ranges in their documents (`npm run generate`), and hold no member that the types leave open, as the names of models. Members that no type
 * names are let through, and null where a member may be left out.
 */
import { ownHeaderPrefix } from "../../core/seams.ts";
import type { JsonObject } from "./body.ts";

/** What a value may be. An index stands for another row of the table. */
export interface FormRow {
  /** JSON types, as a sum of `kindBits`. */
  readonly kinds: number;
  /** The strings that it may be; absent: any. */
  readonly values?: readonly string[] | undefined;
  /** The range of a number. */
  readonly least?: number;
  readonly most?: number;
  /** UTF-16 units of a string at most. */
  readonly longest?: number;
  /** Members of a map at most, and UTF-16 units of their names. */
  readonly mostMembers?: number;
  readonly longestName?: number;
  /** Items of an array; absent: anything. */
  readonly items?: number;
  /** Members of an object. */
  readonly members?: Readonly<Record<string, number>>;
  /** All members of an object that is a map. */
  readonly rest?: number | undefined;
  /** The member that tells which of the variants an object is. */
  readonly tag?: string;
  readonly variants?: Readonly<Record<string, number>>;
  /** The variant that has no such member; absent: it must be there. */
  readonly untagged?: number;
  /** true: of an object with another tag nothing is said. */
  readonly others?: boolean;
}

/** A table of forms. */
export interface Forms {
  /** By endpoint. */
  readonly bodies: Readonly<Record<string, number>>;
  readonly rows: readonly FormRow[];
}

/** Places by endpoint: members from the body down, "[]" for the items of a list, "*" for the members of a map, as in "tools.[].type". */
export type Places = Readonly<Record<string, readonly string[]>>;

/** A table in which any name may stand at the places. A place that is not there changes nothing. */
export function opened({ bodies, rows: given }: Forms, places: Places): Forms {
  const rows = [...given];
  const add = (row: FormRow): number => rows.push(row) - 1;
  // Rows are shared by several places: those on the way are copied.
  const open = (index: number, [step, ...rest]: readonly string[]): number => {
    const row = rows[index]!;
    if (step === undefined) return add({ ...row, values: undefined });
    if (step === "[]") return row.items === undefined ? index : add({ ...row, items: open(row.items, rest) });
    if (step === "*") return add({ ...row, rest: undefined });
    const { tag, variants, untagged, members } = row;
    if (variants !== undefined) {
      if (step === tag) return add({ ...row, others: true });
      const changed = Object.entries(variants).map(([name, variant]) => [name, open(variant, [step, ...rest])] as const);
      const bare = untagged === undefined ? {} : { untagged: open(untagged, [step, ...rest]) };
      return add({ ...row, variants: Object.fromEntries(changed), ...bare });
    }
    const member = members?.[step];
    return member === undefined ? index : add({ ...row, members: { ...members, [step]: open(member, rest) } });
  };
  const all = Object.entries(bodies).map(([endpoint, body]) => {
    const inside = places[endpoint] ?? [];
    return [endpoint, inside.reduce((index, place) => open(index, place.split(".")), body)] as const;
  });
  return { bodies: Object.fromEntries(all), rows };
}

export type Kind = Exclude<keyof typeof kindBits, "null">;

export const kindBits = { string: 1, number: 2, boolean: 4, array: 8, object: 16, null: 32 } as const;

/** A step down into a body. */
export type Step = string | number | { readonly variant: string };

/** Where a body departs from its form, and how. */
export interface FormFault {
  /** Names of members, places in arrays, and which variant an object is by its `type`, from the body down. */
  readonly path: readonly Step[];
  readonly value: unknown;
  /** A tag is a name that tells variants apart. */
  readonly what: "type" | "name" | "tag" | "missing tag" | "range" | "length" | "members" | "member name";
  /** JSON types that may stand there, as a sum of `kindBits`, and those of the items where it may be an array; 0: any. */
  readonly kinds: number;
  readonly itemKinds: number;
  /** Names that may stand there. */
  readonly names: readonly string[];
  /** What a value or its length may be; infinite: no such bound. */
  readonly least: number;
  readonly most: number;
}

/** No form of a provider's is as deep. Those that hold themselves, as filters in filters, are looked at down to here. */
const deepest = 64;

/** A row, ready to be walked. */
interface Form {
  readonly kinds: number;
  readonly values: ReadonlySet<string> | null;
  readonly least: number;
  readonly most: number;
  readonly longest: number;
  readonly mostMembers: number;
  readonly longestName: number;
  readonly items: number | undefined;
  readonly members: ReadonlyMap<string, number> | null;
  readonly rest: number | undefined;
  readonly tag: string | undefined;
  readonly variants: ReadonlyMap<string, number> | null;
  readonly untagged: number | undefined;
  readonly others: boolean;
}

const mapOf = (table: Readonly<Record<string, number>> | undefined): ReadonlyMap<string, number> | null =>
  table === undefined ? null : new Map(Object.entries(table));

/** Looks bodies over. Its time grows with the body alone: no place is looked at twice. */
export class FormCheck {
  readonly #json: string;
  readonly #open: Places;
  #table: Forms | null = null;
  readonly #forms: (Form | undefined)[] = [];

  /** `json`: the table, read when the first body is looked at. `open`: where any name may stand. */
  constructor(json: string, open: Places = {}) {
    this.#json = json;
    this.#open = open;
  }

  /** The first fault of a body in the order of its members; null: none. */
  faultOf(endpoint: string, body: JsonObject): FormFault | null {
    this.#table ??= opened(JSON.parse(this.#json) as Forms, this.#open);
    return this.#walk(body, this.#table.bodies[endpoint]!, 0);
  }

  #form(index: number): Form {
    const known = this.#forms[index];
    if (known !== undefined) return known;
    const { kinds, values, items, members, rest, tag, variants, untagged, others = false, ...bounds } = this.#table!.rows[index]!;
    const names = values === undefined ? null : new Set(values);
    return (this.#forms[index] = {
      kinds,
      values: names,
      least: bounds.least ?? -Infinity,
      most: bounds.most ?? Infinity,
      longest: bounds.longest ?? Infinity,
      mostMembers: bounds.mostMembers ?? Infinity,
      longestName: bounds.longestName ?? Infinity,
      items,
      members: mapOf(members),
      rest,
      tag,
      variants: mapOf(variants),
      untagged,
      others,
    });
  }

  #walk(value: unknown, index: number, depth: number): FormFault | null {
    const form = this.#form(index);
    switch (typeof value) {
      case "string":
        if ((form.kinds & kindBits.string) === 0) return this.#fault("type", value, form);
        if (form.values !== null && !form.values.has(value)) return this.#fault("name", value, form);
        return value.length > form.longest ? { ...this.#fault("length", value, form), most: form.longest } : null;
      case "number":
        if ((form.kinds & kindBits.number) === 0) return this.#fault("type", value, form);
        return value < form.least || value > form.most ? this.#fault("range", value, form) : null;
      case "boolean":
        return (form.kinds & kindBits.boolean) === 0 ? this.#fault("type", value, form) : null;
      default:
        if (value === null) return (form.kinds & kindBits.null) === 0 ? this.#fault("type", value, form) : null;
        return Array.isArray(value) ? this.#walkArray(value, form, depth) : this.#walkObject(value as JsonObject, form, depth);
    }
  }

  #walkArray(list: readonly unknown[], form: Form, depth: number): FormFault | null {
    if ((form.kinds & kindBits.array) === 0) return this.#fault("type", list, form);
    if (form.items === undefined || depth === deepest) return null;
    for (let at = 0; at < list.length; at++) {
      const fault = this.#walk(list[at], form.items, depth + 1);
      if (fault !== null) return under(at, fault);
    }
    return null;
  }

  #walkObject(object: JsonObject, form: Form, depth: number): FormFault | null {
    if ((form.kinds & kindBits.object) === 0) return this.#fault("type", object, form);
    if (depth === deepest) return null;
    if (form.variants !== null) return this.#walkVariant(object, form, depth);
    const { members, rest } = form;
    if (members === null && rest === undefined) return null;
    let left = form.mostMembers;
    for (const name in object) {
      // A message over WebSocket has no headers: those of this server stand in its metadata.
      if (members === null && name.startsWith(ownHeaderPrefix)) continue;
      if (--left < 0) return { ...this.#fault("members", object, form), most: form.mostMembers };
      if (name.length > form.longestName) return under(name, { ...this.#fault("member name", name, form), most: form.longestName });
      const index = members?.get(name) ?? rest;
      const value = object[name];
      if (index === undefined || value === null) continue;
      const fault = this.#walk(value, index, depth + 1);
      if (fault !== null) return under(name, fault);
    }
    return null;
  }

  #walkVariant(object: JsonObject, form: Form, depth: number): FormFault | null {
    const tag = form.tag!;
    const value = Object.hasOwn(object, tag) ? object[tag] : undefined;
    if (value === undefined || value === null) {
      if (form.untagged !== undefined) return this.#walk(object, form.untagged, depth);
      return { ...this.#fault("missing tag", value, form), path: [tag] };
    }
    const variant = typeof value === "string" ? form.variants!.get(value) : undefined;
    if (variant !== undefined) {
      const fault = this.#walk(object, variant, depth);
      return fault === null || tag !== "type" ? fault : under({ variant: value as string }, fault);
    }
    if (form.others && typeof value === "string") return null;
    const names = [...form.variants!.keys()];
    return {
      what: typeof value === "string" ? "tag" : "type",
      path: [tag],
      value,
      kinds: kindBits.string,
      itemKinds: 0,
      names,
      least: 0,
      most: 0,
    };
  }

  #fault(what: FormFault["what"], value: unknown, form: Form): FormFault {
    const itemKinds = form.items === undefined ? 0 : this.#form(form.items).kinds;
    const { kinds, least, most } = form;
    return { what, path: [], value, kinds, itemKinds, names: [...(form.values ?? form.variants?.keys() ?? [])], least, most };
  }
}

function under(step: Step, fault: FormFault): FormFault {
  return { ...fault, path: [step, ...fault.path] };
}

/** Names of the JSON types in a sum of bits; null is not among them: it stands for nothing. */
export function kindsIn(kinds: number): Kind[] {
  return (["string", "number", "boolean", "array", "object"] as const).filter((kind) => (kinds & kindBits[kind]) !== 0);
}
