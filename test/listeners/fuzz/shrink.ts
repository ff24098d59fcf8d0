/** Makes a failing request smaller for as long as it fails. */
import type { RequestCase } from "./requests.ts";
import { jsonOf } from "./values.ts";

/** Each is a whole trial, or three. */
const mostTrials = 60;
const mostMs = 10_000;

/** Smaller forms of a value, the boldest first. */
function* smaller(value: unknown): Generator {
  if (typeof value === "string" && value.length > 8) {
    yield value.slice(0, value.length >> 1);
  } else if (Array.isArray(value)) {
    if (value.length > 1) yield value.slice(0, value.length >> 1);
    if (value.length > 1) yield value.slice(value.length >> 1);
    if (value.length <= 8) for (const index of value.keys()) for (const item of smaller(value[index])) yield value.with(index, item);
  } else if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value);
    if (entries.length > 8) yield Object.fromEntries(entries.slice(0, entries.length >> 1));
    if (entries.length <= 8) {
      for (const [key] of entries) yield Object.fromEntries(entries.filter(([other]) => other !== key));
      for (const [key, inner] of entries) {
        for (const item of smaller(inner)) yield Object.fromEntries(entries.map(([other, kept]) => [other, other === key ? item : kept]));
      }
    }
  }
}

export async function shrink(given: RequestCase, fails: (candidate: RequestCase) => Promise<boolean>): Promise<RequestCase> {
  let best = given;
  let trials = 0;
  const endMs = performance.now() + mostMs;
  for (let improved = true; improved;) {
    improved = false;
    for (const json of smaller(best.json)) {
      if (++trials > mostTrials || performance.now() > endMs) return best;
      const candidate = { ...best, json, body: Buffer.from(jsonOf(json)) };
      if (!(await fails(candidate))) continue;
      best = candidate;
      improved = true;
      break;
    }
  }
  return best;
}
