/** What h2load prints and writes: its result as text and as a file, and its log. */

/** What h2load says at its end. Bytes are of the application, TLS records excluded. */
export interface H2loadOutput {
  readonly negotiated: string | null;
  readonly cipher: string | null;
  readonly requests: {
    readonly total: number;
    readonly started: number;
    readonly done: number;
    readonly succeeded: number;
    readonly failed: number;
    readonly errored: number;
    readonly timeout: number;
  };
  readonly bytes: { readonly total: number; readonly headers: number; readonly data: number };
  /** Microseconds from connecting to a usable connection, with TLS, without SETTINGS; null in printed results, which have no samples. */
  readonly connectUs: readonly number[] | null;
}

/** Reads the result that every version prints. Throws where it is not complete. */
export function parseH2load(text: string): H2loadOutput {
  const counts = /^requests: (\d+) total, (\d+) started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout$/m.exec(
    text,
  );
  // KB are 1,024 bytes and rounded: the exact numbers are in brackets.
  const traffic = /^traffic: \S+ \((\d+)\) total, \S+ \((\d+)\) headers .*, \S+ \((\d+)\) data$/m.exec(text);
  if (!counts || !traffic) throw new Error(`h2load printed no result: ${text.trim().split("\n").at(-1)?.slice(0, 120) ?? ""}`);
  const number = (match: RegExpExecArray, group: number): number => Number(match[group]);
  return {
    ...connectionIn(text),
    requests: {
      total: number(counts, 1),
      started: number(counts, 2),
      done: number(counts, 3),
      succeeded: number(counts, 4),
      failed: number(counts, 5),
      errored: number(counts, 6),
      timeout: number(counts, 7),
    },
    bytes: { total: number(traffic, 1), headers: number(traffic, 2), data: number(traffic, 3) },
    connectUs: null,
  };
}

/**
 * Reads the file of `--output-file` (1.69 and later, format "v1", times in seconds). Protocol and cipher are not in it, and
 * come from what was printed. Throws where it is not such a file.
 */
export function parseH2loadFile(json: string, printed: string): H2loadOutput {
  const { version, measurements } = JSON.parse(json) as {
    readonly version?: unknown;
    readonly measurements?: {
      readonly requests: H2loadOutput["requests"];
      readonly traffic: H2loadOutput["bytes"];
      readonly performance: { readonly connect: { readonly samples: readonly number[] } };
    };
  };
  if (version !== "v1" || measurements === undefined)
    throw new Error(`h2load wrote a result of version ${JSON.stringify(version)}, not "v1"`);
  const { requests, traffic, performance } = measurements;
  return {
    ...connectionIn(printed),
    requests,
    bytes: { total: traffic.total, headers: traffic.headers, data: traffic.data },
    connectUs: performance.connect.samples.map((seconds) => seconds * 1e6),
  };
}

function connectionIn(text: string): Pick<H2loadOutput, "negotiated" | "cipher"> {
  const cipher = /^Cipher: (\S+)$/m.exec(text)?.[1];
  return {
    negotiated: /^Application protocol: (\S+)$/m.exec(text)?.[1] ?? null,
    cipher: cipher === undefined ? null : `${/^TLS Protocol: (\S+)$/m.exec(text)?.[1] ?? "TLS"} ${cipher}`,
  };
}

/** Whether this version writes its measurements as JSON: from 1.69 on. */
export function writesJson(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > 1 || (major === 1 && minor >= 69);
}

/** A request in the log: start as microseconds since 1970, status or -1, microseconds to its end. */
export interface H2loadLogRow {
  readonly startUs: number;
  readonly status: number;
  readonly durationUs: number;
}

export function parseH2loadLog(text: string): H2loadLogRow[] {
  return text.split("\n").flatMap((line) => {
    const [start, status, duration] = line.split("\t");
    return duration === undefined ? [] : [{ startUs: Number(start), status: Number(status), durationUs: Number(duration) }];
  });
}
