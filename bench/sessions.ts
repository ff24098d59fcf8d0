/**
 * Sessions of HTTP/2 at random, as in test/listeners/sessions.test.ts, but many: each does some of what a client may do and some
 * of what it may not, and leaves. Within 1.5 s the server must count nothing of it. A session that fails is shrunk and printed.
 */
import { parseArgs } from "node:util";
import { type Http2Protocol, leftBehind } from "../test/listeners/sessions/play.ts";
import { shrunk } from "../test/listeners/sessions/shrink.ts";
import { randomSession, type Session } from "../test/listeners/sessions/steps.ts";

/** Sessions side by side against one server. */
const batch = 50;
/** A session that fails among others is played so often alone. */
const tries = 5;

const { values } = parseArgs({
  options: {
    sessions: { type: "string", default: "10000" },
    seed: { type: "string", default: String(1 + Math.floor(Math.random() * 2 ** 31)) },
  },
});
const count = Number(values.sessions);
const seed = Number(values.seed);
if (!Number.isInteger(count) || count < 1) throw new Error("--sessions is a whole number above 0");
if (!Number.isInteger(seed) || seed < 0) throw new Error("--seed is a whole number");

async function fails(session: Session, protocol: Http2Protocol): Promise<boolean> {
  for (let attempt = 0; attempt < tries; attempt++) if ((await leftBehind([session], protocol)) !== null) return true;
  return false;
}

/** Resolves to the number of sessions of which something was left. */
async function run(protocol: Http2Protocol): Promise<number> {
  let failed = 0;
  for (let from = 0; from < count; from += batch) {
    const sessions = Array.from({ length: Math.min(batch, count - from) }, (_, index) => randomSession(seed + from + index));
    const left = await leftBehind(sessions, protocol);
    if (left === null) continue;
    let alone = 0;
    for (const [index, session] of sessions.entries()) {
      if (!(await fails(session, protocol))) continue;
      alone++;
      const smallest = await shrunk(session, (smaller) => fails(smaller, protocol));
      console.log(`${protocol}, seed ${seed + from + index}: ${JSON.stringify(smallest)}`);
    }
    if (alone === 0) console.log(`${protocol}, seeds ${seed + from} to ${seed + from + batch - 1} together only: ${JSON.stringify(left)}`);
    failed += Math.max(1, alone);
  }
  return failed;
}

let failed = 0;
for (const protocol of ["h2c", "h2"] as const) {
  const beganMs = performance.now();
  const lost = await run(protocol);
  failed += lost;
  const seconds = ((performance.now() - beganMs) / 1000).toFixed(0);
  console.log(
    `${protocol}: ${count.toLocaleString("en")} sessions from seed ${seed} in ${seconds} s, ${lost} still counted after they had left`,
  );
}
process.exit(failed === 0 ? 0 : 1);
