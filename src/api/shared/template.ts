/** JSON that differs between events in a few places only: printed and encoded once, and filled in for each. */

const encoder = new TextEncoder();

/** Stands in a template for what is filled in; no client can guess it. */
const nonce = crypto.randomUUID().replaceAll("-", "");

/** What is printed in place of a text: inside of the quotation marks. */
export function textSlot(name: string): string {
  return `${nonce}text${name}`;
}

/** What is printed in place of a number or of another value: with its quotation marks, which go too. */
export function valueSlot(name: string): string {
  return `${nonce}value${name}`;
}

const slots = new RegExp(`"${nonce}value\\w+"|${nonce}text\\w+`, "g");

/** The encoded pieces between the slots, in their order: one more than there are slots. */
export function piecesOf(json: string): readonly Uint8Array[] {
  return json.split(slots).map((piece) => encoder.encode(piece));
}
