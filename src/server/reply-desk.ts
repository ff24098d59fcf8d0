/** The rules for answers while a server runs: read at its start, replaced on demand, read again when their file changes. */
import { statSync } from "node:fs";
import { ApiError } from "../api/errors/api-error.ts";
import type { Administration } from "../api/operations/administration.ts";
import { noReplies, Replies, type SettledReplies } from "../api/shared/replies.ts";
import { UsageError } from "../base/usage-error.ts";
import type { ProtocolListener } from "../core/seams.ts";
import { type GivenReplies, settleReplies } from "../settings/replies.ts";
import { unfitFor } from "./fault-injector.ts";

/** Milliseconds between two looks at a file of rules. */
const lookEveryMs = 200;
/** Looks at a file that is not there until that is told. */
const looksBeforeGone = 5;

export interface ReplyDeskOptions {
  /** Latencies follow from the batch: rules may have none. */
  readonly batched: boolean;
  /** Where faults are to be made. */
  readonly places: readonly Pick<ProtocolListener, "protocol" | "engine">[];
  /** Gets a line where a changed file cannot be used. */
  readonly tell: (line: string) => void;
}

export class ReplyDesk {
  readonly replies: Replies = new Replies(noReplies);
  readonly #options: ReplyDeskOptions;
  #looks: NodeJS.Timeout | null = null;

  constructor(options: ReplyDeskOptions) {
    this.#options = options;
  }

  /** Puts rules in force, all of them or none. A file is read again when it changes. Rejects with UsageError. */
  set(given: GivenReplies): Promise<void> {
    return this.#set(given, false);
  }

  async #set(given: GivenReplies, isJson: boolean): Promise<void> {
    // Before it is read: a change in between is seen at the first look.
    const stamp = typeof given === "string" ? stampOf(given) : null;
    const settled = await this.#settle(given, isJson);
    this.close();
    this.replies.set(settled);
    if (typeof given === "string") this.#watch(given, stamp);
  }

  /** What `/admin/replies` does. A file is not taken there: its client could read any. */
  administration(check: Administration["check"]): Administration {
    return {
      check,
      show: () => this.replies.show(),
      change: async (rules) => {
        try {
          await this.#set(rules as unknown as GivenReplies, true);
        } catch (error) {
          throw error instanceof UsageError ? new ApiError(400, error.message, null, "invalid_value") : error;
        }
      },
    };
  }

  /** Looks at no file any more. */
  close(): void {
    if (this.#looks !== null) clearInterval(this.#looks);
    this.#looks = null;
  }

  async #settle(given: GivenReplies, isJson: boolean): Promise<SettledReplies> {
    const { batched, places } = this.#options;
    const settled = await settleReplies(given, batched, isJson);
    for (const [index, { replies }] of settled.rules.entries()) {
      const unfit = unfitFor(
        replies.flatMap(({ faults }) => faults),
        places,
      );
      if (unfit !== null) throw new UsageError(`replies[${index}].reply: ${unfit.replace("--fault", "fault")}`);
    }
    return settled;
  }

  async #readAgain(file: string, looks: NodeJS.Timeout): Promise<void> {
    try {
      const settled = await this.#settle(file, false);
      // Other rules may have come in the meantime.
      if (this.#looks === looks) this.replies.set(settled);
    } catch (error) {
      this.#options.tell(`${(error as Error).message}; the rules before stay in force`);
    }
  }

  #watch(file: string, stamp: string | null): void {
    let seen = stamp;
    let absences = 0;
    const looks = setInterval(() => {
      const now = stampOf(file);
      if (now === null) {
        // An editor may replace a file by removing it first.
        if (++absences === looksBeforeGone) this.#options.tell(`${file}: the file is gone; the rules before stay in force`);
        return;
      }
      absences = 0;
      if (now === seen) return;
      seen = now;
      void this.#readAgain(file, looks);
    }, lookEveryMs);
    looks.unref();
    this.#looks = looks;
  }
}

/** What changes when a file does; null: it is not there, or out of reach, as in a closed folder. */
function stampOf(file: string): string | null {
  try {
    const { mtimeMs, size, ino } = statSync(file);
    return `${mtimeMs} ${size} ${ino}`;
  } catch {
    return null;
  }
}
