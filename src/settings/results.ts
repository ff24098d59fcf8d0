/** The flags of the commands on results that are there: compare, merge and report. */
import { type ExportFormat, exportFormats } from "../results/exports.ts";
import { type FlagTable, text } from "./parse.ts";
import { oneOf } from "./values.ts";

export interface CompareSettings {
  readonly json: boolean;
  readonly all: boolean;
  readonly allowMissing: boolean;
}

const group = "Output";

export const compareFlags: FlagTable<CompareSettings> = [
  { key: "json", kind: "boolean", help: "the comparison as JSON", group, common: true },
  { key: "all", kind: "boolean", help: "equivalent and inconclusive metrics too", group, common: true },
  { key: "allowMissing", kind: "boolean", help: "pass what is in one result only, or cannot be compared", group, common: true },
];

export interface MergeSettings {
  /** Path of a folder. */
  readonly out: string;
  /** The results are parts of one load. */
  readonly shards: boolean;
  readonly json: boolean;
  readonly full: boolean;
  readonly allowMissing: boolean;
}

export const mergeFlags: FlagTable<MergeSettings> = [
  {
    key: "out",
    kind: "text",
    takes: "dir",
    default: "results/runs/merged",
    parse: text,
    help: "where the merged result goes",
    group,
    common: true,
  },
  {
    key: "shards",
    kind: "boolean",
    help: "they are the parts of one load (fakeai bench --shard), and ran at once",
    group,
    common: true,
  },
  { key: "json", kind: "boolean", help: "the result as JSON on stdout", group, common: true },
  { key: "full", kind: "boolean", help: "every figure of every arm before the answers", group, common: true },
  { key: "allowMissing", kind: "boolean", help: "pass requirements that nothing measured", group, common: true },
];

export interface ReportSettings {
  /** Path of a file. */
  readonly out: string | null;
  /** Path of a folder. */
  readonly svg: string | null;
  /** "scenario/arm" or "scenario/variant/arm". */
  readonly vllm: string | null;
  readonly export: ExportFormat | null;
  readonly full: boolean;
}

export const reportFlags: FlagTable<ReportSettings> = [
  { key: "full", kind: "boolean", help: "every figure of every arm before the answers", group, common: true },
  {
    key: "out",
    kind: "text",
    takes: "file",
    otherwise: "beside the result",
    parse: text,
    help: "where the page goes",
    group,
    common: true,
  },
  { key: "svg", kind: "text", takes: "dir", parse: text, help: "its charts as images too, for pages without scripts", group, common: true },
  {
    key: "vllm",
    kind: "text",
    takes: "scenario/arm",
    parse: text,
    help: "instead print one arm as vLLM's benchmark JSON",
    group,
    common: true,
  },
  {
    key: "export",
    kind: "text",
    takes: "format",
    parse: oneOf(exportFormats),
    help: `instead print it for other programs: ${exportFormats.join(", ")}`,
    group,
    common: true,
  },
];
