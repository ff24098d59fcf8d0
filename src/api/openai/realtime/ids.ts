/** Ids that a session makes by itself, as long as the API's. */
import { purpose, Random } from "../../../core/random/random.ts";
import { randomLetters } from "../../shared/ids.ts";

const letters = 21;

export class SessionIds {
  readonly #random: Random;

  constructor() {
    const [high, low] = crypto.getRandomValues(new Uint32Array(2));
    this.#random = new Random({ high: high!, low: low! }, purpose.identity);
  }

  next(prefix: "sess" | "conv" | "event" | "item" | "call"): string {
    return `${prefix}_${randomLetters(this.#random, letters)}`;
  }
}
