/** What the plans of all endpoints have alike. */
import type { ResponseHead, ResponsePlan } from "../../core/seams.ts";
import type { Answer } from "./ask.ts";

/** The plan of an answer without its bytes and times. `receivedUs`: when its request had arrived. */
export function planWithout(
  { ask, outputTokens, choices }: Answer,
  head: ResponseHead,
  receivedUs: number,
): Omit<ResponsePlan, "frames" | "schedule"> {
  return {
    head,
    startUs: receivedUs,
    outputTokens,
    promptTokens: ask.promptTokens,
    finishReason: choices[0]!.finish === "length" ? "length" : "stop",
  };
}

/** The arguments of a call as a value. Those that the limit cut are not JSON: they are empty. */
export function argumentsOf(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return {};
  }
}
