/** `gateway.json`, and what of it is a fault. */
import { join } from "node:path";
import { writeWhole } from "../store.ts";
import type { Certificate, Check, GatewayResult } from "./types.ts";

/** Name of the result within its directory. */
export const gatewayFile = "gateway.json";

/**
 * Writes `gateway.json`, whole or not at all, into a directory that is there.
 * @returns the path of the file.
 */
export async function writeGatewayResult(directory: string, result: GatewayResult): Promise<string> {
  const file = join(directory, gatewayFile);
  await writeWhole(file, `${JSON.stringify(result, null, 1)}\n`);
  return file;
}

/** A check that found a fault, with whose it is. */
export interface Fault {
  readonly certificate: Certificate;
  readonly check: Check;
}

/** All faults, gateway by gateway. */
export function faultsOf({ certificates }: Pick<GatewayResult, "certificates">): Fault[] {
  return certificates.flatMap((certificate) =>
    certificate.checks.filter(({ verdict }) => verdict === "fault").map((check) => ({ certificate, check })),
  );
}
