/** Answers what a parent with an IPC channel, `fakeai bench`, asks `fakeai serve`. */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { PauseMeter } from "../base/pauses.ts";
import type { Answered, Asked, Question } from "../base/parent-channel.ts";
import { receivedRecords } from "./received.ts";
import type { StartedServer } from "./server.ts";

/** How often the lateness of the event loop is sampled, milliseconds. */
const delayResolutionMs = 5;

/** Answers the parent. `server` is null where several processes serve: no single one has the whole log. */
export function answerParent(server: StartedServer | null): void {
  const delay = monitorEventLoopDelay({ resolution: delayResolutionMs });
  delay.enable();
  const pauses = new PauseMeter();
  const answerTo = (question: Question): Answered["answer"] => {
    if (question.ask === "pauses") return pauses.read();
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
    if (question.ask === "received") return receivedRecords(server.requests, server.streamLog.read()?.streams ?? []);
    const logged = server.streamLog.read();
    const { listeners } = server.snapshot().live;
    const atStreamLimit = listeners.reduce((sum, { counts }) => sum + counts.bounds["stream-limit"], 0);
    return logged && { ...logged, atStreamLimit };
  };
  process.on("message", ({ number, question }: Asked) => {
    let answer: Answered["answer"] = null;
    try {
      answer = answerTo(question);
    } catch (error) {
      // A wrong question must not end streams.
      process.emitWarning(error as Error);
    }
    process.send?.({ number, answer } satisfies Answered);
  });
  // An open channel must not keep a closed server's process alive.
  process.channel?.unref();
}
