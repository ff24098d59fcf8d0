/** What a parent with an IPC channel (`fakeai bench`) may ask of `fakeai serve`, and the answers. */
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { StartedServer } from "./server.ts";
import type { StreamLogged } from "./stream-log.ts";

/**
 * Environment of a server that is to end when the channel to its parent does. Any other parent may let go of the channel and
 * leave its server running.
 */
export const endWithParent = { FAKEAI_END_WITH_PARENT: "1" } as const;

/** Whether the parent has asked for that. */
export function endsWithParent(): boolean {
  return process.env["FAKEAI_END_WITH_PARENT"] === endWithParent.FAKEAI_END_WITH_PARENT;
}

export type Question =
  /** 99th percentile of the event loop's delay since it was last asked, microseconds. */
  | { readonly ask: "delay" }
  /** Record every streamed answer from now on; what was recorded before is forgotten. Changes these knobs first. */
  | { readonly ask: "record"; readonly knobs: Readonly<Record<string, string | number>> }
  /** What was recorded, and HTTP/2 streams refused so far. */
  | { readonly ask: "recorded" };

export interface Answers {
  readonly delay: number;
  readonly record: true;
  readonly recorded: StreamLogged & { readonly streamsRefused: number };
}

/** As it crosses the channel: the number pairs an answer with its question. */
export interface Asked {
  readonly number: number;
  readonly question: Question;
}
/** `answer` is null where the server cannot tell. */
export interface Answered {
  readonly number: number;
  readonly answer: Answers[keyof Answers] | null;
}

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
