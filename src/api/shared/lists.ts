/** JSON bodies that are mostly one list: made at once while short, else piece by piece while they are sent. */
import { UnaryFrame } from "../../core/frames/frames.ts";
import { pieceBytes, PieceFrames } from "../../core/frames/pieces.ts";
import { frameSchedule } from "../../core/pacing/schedule.ts";
import type { ResponsePlan, Schedule } from "../../core/seams.ts";

/** A body of more pieces than this is made piece by piece. */
const wholePieces = 8;

/** The text of a body with a list in it. */
export interface ListBody {
  readonly length: number;
  /** Before the first item. */
  readonly opening: string;
  readonly separator: string;
  /** Behind the last item; ends with the brace of the body. */
  readonly closing: string;
  readonly item: (index: number) => string;
  /** About the bytes of an item. */
  readonly bytesOf: (index: number) => number;
}

/** Where the pieces end, as indexes of the items behind them. Each has about `pieceBytes`, and at least one item. */
function endsOf({ length, bytesOf }: ListBody): number[] {
  const ends: number[] = [];
  let bytes = 0;
  for (let index = 0; index < length; index++) {
    const more = bytesOf(index);
    if (bytes > 0 && bytes + more > pieceBytes) {
      ends.push(index);
      bytes = 0;
    }
    bytes += more;
  }
  return [...ends, length];
}

/** The frames of a body, when they are due, and whether its head can announce no length. */
export function listFrames(
  body: ListBody,
  schedule: Schedule,
  stamped: boolean,
): Pick<ResponsePlan, "frames" | "schedule"> & { readonly streamed: boolean } {
  const ends = endsOf(body);
  const piece = (number: number): string => {
    let text = number === 0 ? body.opening : "";
    for (let index = number === 0 ? 0 : ends[number - 1]!; index < ends[number]!; index++)
      text += (index === 0 ? "" : body.separator) + body.item(index);
    return number === ends.length - 1 ? text + body.closing : text;
  };
  if (ends.length <= wholePieces) {
    return { frames: new UnaryFrame(() => ends.map((_end, number) => piece(number)).join(""), 0, stamped), schedule, streamed: false };
  }
  return { frames: new PieceFrames(ends.length, piece, 0, stamped), schedule: frameSchedule(schedule, { next: () => 0 }), streamed: true };
}
