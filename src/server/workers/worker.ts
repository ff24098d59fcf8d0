/**
 * The program of a worker. Without the bundle it loads its modules in steps: node reads all that one imports at the same time, and
 * each read holds a file, so that one step would end the process where few files may be open (`ulimit -n 64`).
 */
import { loadBundle } from "../../base/bundle.ts";
import { beginSmall } from "../../base/young-generation.ts";
import type { work as workOf } from "./serving.ts";

beginSmall();
const bundle = loadBundle<{ readonly work: typeof workOf }>("worker");
if (bundle === null) {
  await import("../../settings/server.ts");
  await import("../server.ts");
}
const { work } = bundle?.program ?? (await import("./serving.ts"));
work(bundle?.keep);
