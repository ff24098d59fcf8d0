/** What `dist/bundle.cjs` is made of: `fakeai serve`, and a worker of it. The other commands run from their modules. */
export { main } from "./main.ts";
export { work } from "../server/workers/serving.ts";
