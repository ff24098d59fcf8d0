/** SETTINGS (RFC 9113, section 6.5; RFC 9218, section 2.1): the identifiers, and reading a payload. */
import { errorCode } from "./frames.ts";
import { maxWindow } from "./windows.ts";

export const setting = {
  tableSize: 1,
  enablePush: 2,
  maxStreams: 3,
  initialWindow: 4,
  maxFrame: 5,
  maxHeaderList: 6,
  noRfc7540Priorities: 9,
} as const;

/** An identifier and its value, 0 to 4,294,967,295. */
export type Setting = readonly [id: number, value: number];

/**
 * Reads the payload of a SETTINGS frame in its order; the same identifier may come more than once, and each value counts.
 * Returns the connection error of the first value that section 6.5.2 forbids, or `errorCode.none`. Unknown identifiers
 * are passed on: the consumer ignores them.
 */
export function readSettings(bytes: Buffer, start: number, end: number, onSetting: (id: number, value: number) => void): number {
  for (let at = start; at < end; at += 6) {
    const id = bytes.readUInt16BE(at);
    const value = bytes.readUInt32BE(at + 2);
    const fault = settingFault(id, value);
    if (fault !== errorCode.none) return fault;
    onSetting(id, value);
  }
  return errorCode.none;
}

function settingFault(id: number, value: number): number {
  switch (id) {
    case setting.enablePush:
    case setting.noRfc7540Priorities:
      return value <= 1 ? errorCode.none : errorCode.protocol;
    case setting.initialWindow:
      return value <= maxWindow ? errorCode.none : errorCode.flowControl;
    case setting.maxFrame:
      return value >= 16_384 && value <= 16_777_215 ? errorCode.none : errorCode.protocol;
    default:
      return errorCode.none;
  }
}
