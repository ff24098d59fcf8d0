/** Whether streamed answers came as they were sent, event by event. */
import type { Fidelity } from "./types.ts";

/** The events of one answer, by their `data`. */
export interface EventsOf {
  readonly sent: readonly string[];
  readonly received: readonly string[];
  /** The answer came to its end. */
  readonly whole: boolean;
}

/** What matters in an event. */
interface Meaning {
  readonly text: string;
  readonly finish: boolean;
  readonly usage: boolean;
  readonly done: boolean;
}

interface Chunk {
  readonly choices?: readonly { readonly delta?: { readonly content?: string | null }; readonly finish_reason?: string | null }[];
  readonly usage?: object | null;
}

function meaningOf(data: string): Meaning {
  if (data.trim() === "[DONE]") return { text: "", finish: false, usage: false, done: true };
  let chunk: Chunk | null = null;
  try {
    chunk = JSON.parse(data) as Chunk | null;
  } catch {
    // Not JSON: its bytes are all there is to compare.
  }
  const choices = Array.isArray(chunk?.choices) ? chunk.choices : [];
  return {
    text: choices.map((choice) => choice.delta?.content ?? "").join(""),
    finish: choices.some((choice) => choice.finish_reason != null),
    usage: chunk?.usage != null,
    done: false,
  };
}

/** Compares answers, each by itself. */
export function compareEvents(answers: readonly EventsOf[]): Fidelity {
  const total = {
    answers: 0,
    sent: 0,
    received: 0,
    identical: 0,
    rewritten: 0,
    lost: 0,
    repeated: 0,
    reordered: 0,
    changed: 0,
    resplit: 0,
    finished: 0,
    withUsage: 0,
    withDone: 0,
    broken: 0,
  };
  for (const answer of answers) addAnswer(answer, total);
  return total;
}

function addAnswer({ sent, received, whole }: EventsOf, total: { -readonly [Key in keyof Fidelity]: number }): void {
  const before = sent.map(meaningOf);
  const after = received.map(meaningOf);
  total.answers++;
  total.sent += sent.length;
  total.received += received.length;
  if (!whole) total.broken++;
  if (after.some(({ finish }) => finish)) total.finished++;
  if (after.some(({ usage }) => usage)) total.withUsage++;
  if (after.some(({ done }) => done)) total.withDone++;
  const bytes = new Map<string, number>();
  for (const data of sent) bytes.set(data, (bytes.get(data) ?? 0) + 1);
  let identical = 0;
  for (const data of received) {
    const left = bytes.get(data) ?? 0;
    if (left > 0) identical++;
    bytes.set(data, left - 1);
  }
  total.identical += identical;
  const texts = before.flatMap(({ text }) => (text === "" ? [] : [text]));
  const came = after.flatMap(({ text }) => (text === "" ? [] : [text]));
  // What is common in its order came as it was sent; of the rest the same text at another place has moved.
  const common = inCommon(texts, came);
  const missing = texts.filter((_, place) => !common.sent.has(place));
  let [repeated, changed, reordered] = [0, 0, 0];
  for (const text of came.filter((_, place) => !common.received.has(place))) {
    const at = missing.indexOf(text);
    if (at >= 0) {
      missing.splice(at, 1);
      reordered++;
    } else if (texts.includes(text)) repeated++;
    else changed++;
  }
  const lost = missing.length;
  // The same text in other pieces: what seems lost and changed is neither.
  if ((lost > 0 || changed > 0) && texts.join("") === came.join("")) {
    total.resplit++;
    return;
  }
  total.lost += lost;
  total.repeated += repeated;
  total.changed += changed;
  total.reordered += reordered;
  const sentData = new Set(sent);
  const sentTexts = new Set(texts);
  total.rewritten += received.filter((data, index) => !sentData.has(data) && sentTexts.has(after[index]!.text)).length;
}

/** Places of the longest common subsequence, by the table of its lengths (Wagner and Fischer 1974): answers of a check are short. */
function inCommon(sent: readonly string[], received: readonly string[]): { readonly sent: Set<number>; readonly received: Set<number> } {
  const width = received.length + 1;
  const lengths = new Uint32Array((sent.length + 1) * width);
  for (let i = sent.length - 1; i >= 0; i--)
    for (let j = received.length - 1; j >= 0; j--)
      lengths[i * width + j] =
        sent[i] === received[j]
          ? lengths[(i + 1) * width + j + 1]! + 1
          : Math.max(lengths[(i + 1) * width + j]!, lengths[i * width + j + 1]!);
  const found = { sent: new Set<number>(), received: new Set<number>() };
  for (let [i, j] = [0, 0]; i < sent.length && j < received.length;) {
    if (sent[i] === received[j]) {
      found.sent.add(i++);
      found.received.add(j++);
    } else if (lengths[(i + 1) * width + j]! >= lengths[i * width + j + 1]!) i++;
    else j++;
  }
  return found;
}
