/** What a client can ask for, read from the product itself: endpoints from its routes, members and headers from its sources. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { administrationRoutes } from "../../../src/api/operations/administration.ts";
import { adminRequestsRoutes } from "../../../src/api/operations/admin-requests.ts";
import { type Dashboard, dashboardRoutes } from "../../../src/api/operations/dashboard/routes.ts";
import { healthRoutes } from "../../../src/api/operations/health.ts";
import { metricsRoute } from "../../../src/api/operations/metrics.ts";
import type { Generator } from "../../../src/api/openai/generate.ts";
import { providerRoutes } from "../../../src/api/routes.ts";
import type { ModelSettings } from "../../../src/api/shared/model-settings.ts";
import { Meter } from "../../../src/core/pacing/meter.ts";
import type { Route } from "../../../src/core/seams.ts";

export type Endpoint = Pick<Route, "method" | "path">;

const sources = fileURLToPath(new URL("../../../src/", import.meta.url));

/** Every endpoint of a server with `--admin`, in the order of its routes. */
export function endpoints(): readonly Endpoint[] {
  const meter = new Meter();
  const sender = { send: () => {} };
  // Only what a route does when it is asked looks into these.
  const settings = { models: null } as ModelSettings;
  const routes = [
    ...providerRoutes({ model: { settings } } as Generator, settings, sender, meter, null, () => 0, new Set()),
    ...healthRoutes(
      meter,
      () => false,
      () => [],
      { name: "", nowUs: () => 0 },
    ),
    metricsRoute(meter, () => ""),
    ...administrationRoutes("/admin/config", { check: () => {}, show: () => ({}), change: () => {} }, meter),
    ...administrationRoutes("/admin/replies", { check: () => {}, show: () => ({}), change: () => {} }, meter),
    ...adminRequestsRoutes({ check: () => {}, page: () => ({ requests: [], hasMore: false }), clear: () => {} }, meter),
    ...dashboardRoutes({} as Dashboard, meter, []),
  ];
  return routes.map(({ method, path }) => ({ method, path }));
}

/** The functions of `src` that make routes. A new one belongs into `endpoints`, by itself or within another. */
export function routeMakers(): readonly string[] {
  return textsOf("")
    .flatMap((text) =>
      [...text.matchAll(/^export function (\w+)\((?:(?!\n(?:export|function) )[^])*?\): (?:readonly )?Route(?:\[\])? \{/gm)].map(
        (match) => match[1]!,
      ),
    )
    .toSorted();
}

/** Names of members that the readers of requests look for. */
export function memberNames(): readonly string[] {
  const names = new Set<string>();
  for (const text of textsOf("api/")) {
    for (const [, name] of text.matchAll(/\["([a-zA-Z_]+)"\]/g)) names.add(name!);
    for (const [, name] of text.matchAll(/(?:optional|required)\w*\(\s*\w+, "([a-z_]+)"/g)) names.add(name!);
    for (const [, list] of text.matchAll(/const \{ ([\w, :]+) \} = \w+;/g)) {
      for (const name of list!.split(",")) if (/^[a-z_]+$/.test(name.trim())) names.add(name.trim());
    }
  }
  return [...names].toSorted();
}

/** Names of the headers that change an answer. */
export function headerNames(): readonly string[] {
  const answers = new Set(["x-fakeai-clock", "x-fakeai-instance"]);
  const found = textsOf("").flatMap((text) => [...text.matchAll(/"(x-fakeai-[a-z-]*[a-z])"/g)].map((match) => match[1]!));
  return [...new Set(found)].filter((name) => !answers.has(name)).toSorted();
}

function textsOf(folder: string): string[] {
  const root = `${sources}${folder}`;
  return readdirSync(root, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts"))
    .map((path) => readFileSync(`${root}${path}`, "utf8"));
}
