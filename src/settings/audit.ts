/** The flags of `fakeai audit`. */
import type { ProtocolName } from "../results/types.ts";
import { httpProtocolNames } from "../results/protocols.ts";
import { type FlagTable, positive, several, text, whole } from "./parse.ts";
import { oneOf } from "./values.ts";

export interface AuditSettings {
  /** Path of a folder; null: one with the time in its name. */
  readonly out: string | null;
  readonly budget: number;
  readonly repeats: number;
  /** Names of rungs. */
  readonly rungs: readonly string[] | null;
  readonly protocol: ProtocolName;
  /** Path of a file. */
  readonly map: string | null;
  readonly details: boolean;
  readonly json: boolean;
}

const ladder = "Ladder";
const output = "Output";

export const auditFlags: FlagTable<AuditSettings> = [
  {
    key: "out",
    kind: "text",
    takes: "dir",
    otherwise: "results/runs/<time>-audit",
    parse: text,
    help: "where the audit goes",
    group: output,
    common: true,
  },
  {
    key: "budget",
    kind: "number",
    takes: "s",
    default: 120,
    parse: positive(86_400, "s"),
    help: "time for all; it costs rungs, never repeats",
    group: ladder,
    common: true,
  },
  {
    key: "rungs",
    kind: "text",
    takes: "list",
    otherwise: "what fits the budget",
    parse: several(text),
    help: "rungs, with commas between",
    group: ladder,
    common: true,
  },
  {
    key: "repeats",
    kind: "integer",
    takes: "n",
    default: 3,
    parse: whole(2, 50),
    help: "runs of the command on each rung",
    group: ladder,
    common: true,
  },
  {
    key: "protocol",
    kind: "text",
    takes: "name",
    default: "h1",
    parse: oneOf(httpProtocolNames),
    help: "what the server speaks: h1, h1s, h2c or h2",
    group: ladder,
    common: true,
  },
  {
    key: "map",
    kind: "text",
    takes: "file",
    otherwise: "the tool's reader",
    parse: text,
    help: "where figures stand, as YAML",
    group: output,
    common: true,
  },
  { key: "details", kind: "boolean", help: "the server's records of each run too, as observations.json", group: output },
  { key: "json", kind: "boolean", help: "the audit as JSON on stdout", group: output, common: true },
];
