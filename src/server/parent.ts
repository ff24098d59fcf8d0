/** Answers what a parent with an IPC channel (`fakeai bench`) asks of `fakeai serve`. */
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Answered, Asked, Question } from "../base/parent-channel.ts";
import type { StartedServer } from "./server.ts";

/** How often the event loop is asked how late it is, milliseconds. */
const delayResolutionMs = 5;

/** Answers the parent, if there is one. `server` is null where several processes serve: nobody has it all then. */
export function answerParent(server: StartedServer | null): void {
  if (process.send === undefined) return;
  const delay = monitorEventLoopDelay({ resolution: delayResolutionMs });
  delay.enable();
  const answerTo = (question: Question): Answered["answer"] => {
    if (question.ask === "delay") {
      const us = Math.max(0, delay.percentile(99) / 1000 - delayResolutionMs * 1000);
      delay.reset();
      return us;
    }
    if (server === null) return null;
    if (question.ask === "record") {
      server.changeKnobs(question.knobs);
      server.streamLog.begin();
      return true;
    }
    const logged = server.streamLog.read();
    const { listeners } = server.snapshot().live;
    const streamsRefused = listeners.reduce((sum, { counts }) => sum + counts.bounds["streams-refused"], 0);
    return logged && { ...logged, streamsRefused };
  };
  process.on("message", ({ number, question }: Asked) => {
    let answer: Answered["answer"] = null;
    try {
      answer = answerTo(question);
    } catch (error) {
      // A parent's mistake ends no stream.
      process.emitWarning(error as Error);
    }
    process.send?.({ number, answer } satisfies Answered);
  });
  // The channel alone keeps no server running whose time has come.
  process.channel?.unref();
}
