/** Makes a failing session smaller. */
import type { Session, Step } from "./steps.ts";

/** A session with fewer steps that still fails, and that fails no more without any one of them. `fails` is asked for each try. */
export async function shrunk(session: Session, fails: (session: Session) => Promise<boolean>): Promise<Session> {
  const failsWith = (steps: readonly Step[]): Promise<boolean> => fails({ ...session, steps });
  let steps = session.steps;
  // Halves first, then quarters, down to single steps.
  for (let size = Math.ceil(steps.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < steps.length;) {
      const fewer = steps.toSpliced(from, size);
      if (await failsWith(fewer)) steps = fewer;
      else from += size;
    }
  }
  for (const [index, step] of steps.entries()) {
    for (const simpler of simplerThan(step)) {
      const plainer = steps.with(index, simpler);
      if (!(await failsWith(plainer))) continue;
      steps = plainer;
      break;
    }
  }
  return { ...session, steps };
}

/** The same step, plainer: the plainest first. */
function simplerThan(step: Step): Step[] {
  if (step.do !== "request") return [];
  const plain = { ...step, headers: {}, continued: 0, path: 0 };
  return [plain, { ...plain, headers: step.headers }, { ...step, continued: 0 }];
}
