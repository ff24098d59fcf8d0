import { printable } from "../base/printable.ts";
import { endsWithParent } from "../base/parent-channel.ts";
import { UsageError } from "../base/usage-error.ts";
import { ownVersion } from "../base/version.ts";
import { type Recorder, type RecorderStats, startRecorder } from "../server/recorder.ts";
import type { ServerOptions } from "../settings/options.ts";
import { settingsOf } from "../settings/parse.ts";
import { recordFlags, type RecordSettings } from "../settings/record.ts";
import { resolveConfig, standardPorts } from "../settings/server.ts";
import { readText } from "../settings/values.ts";
import type { Line } from "./command.ts";
import { refuseUnknownVariables } from "./environment.ts";

/** What was given becomes what a server is told. */
function serverOptions(settings: RecordSettings): ServerOptions {
  const { protocol, port, host, tlsCert, tlsKey, maxBody } = settings;
  return {
    ...(protocol !== null && { protocol }),
    ...(port !== null && { port }),
    ...(host !== null && { host }),
    // uWebSockets.js adds empty lines to event streams: what a client gets is what the server sent.
    h1Engine: "node",
    ...(tlsCert !== null && { tlsCert }),
    ...(tlsKey !== null && { tlsKey }),
    maxBody,
  };
}

/** `fakeai record`: runs until a signal ends it, and says then what is on the tape. */
export async function record({ given }: Line): Promise<void> {
  refuseUnknownVariables(recordFlags);
  const settings = settingsOf(recordFlags, given);
  const { to, out, toProtocol, cacert, insecure, timeout, json } = settings;
  if (to === null) throw new UsageError("--to: name the server to record (for example --to https://api.example.com/v1)");
  if (out === null) throw new UsageError("--out: name a folder for the tape (for example --out tape)");
  const isEncrypted = to.origin.startsWith("https:");
  if (!isEncrypted && (cacert !== null || insecure))
    throw new UsageError(`--${cacert === null ? "insecure" : "cacert"} is for an https: address`);
  const recorder = await startRecorder(
    resolveConfig(serverOptions(settings), standardPorts),
    {
      upstream: {
        origin: to.origin,
        protocol: toProtocol === "h2" ? (isEncrypted ? "h2" : "h2c") : isEncrypted ? "h1s" : "h1",
        ca: cacert === null ? null : readText(cacert, "--cacert"),
        insecure,
        timeoutMs: timeout * 1000,
      },
      base: to.base,
      out,
      bounds: { calls: settings.maxCalls, bytes: settings.maxTape },
      keepHeaders: new Set(settings.keepHeader),
      version: ownVersion(),
    },
    (line) => process.stderr.write(`fakeai: ${printable(line)}\n`),
  );
  // Before anything is printed: its reader may send a signal at once.
  const ended = untilSignalled(recorder);
  const { listening, caPath, ca, file } = recorder;
  if (json) process.stdout.write(`${JSON.stringify({ listening, caPath, ...(caPath === null && ca !== null && { ca }), tape: file })}\n`);
  else {
    for (const { protocol, url } of listening)
      process.stdout.write(`${protocol.padEnd(4)} ${url}  records ${printable(to.origin + to.base)} to ${printable(file)}\n`);
    if (caPath !== null) process.stdout.write(`trust it: curl --cacert ${caPath}   or   export NODE_EXTRA_CA_CERTS=${caPath}\n`);
  }
  const stats = await ended;
  process.stdout.write(json ? `${JSON.stringify(stats)}\n` : `${describe(stats)}\n`);
  process.exit(0);
}

function describe({ recorded, leftOut, aborted, failed, bytes }: RecorderStats): string {
  const others = [
    leftOut === 0 ? "" : `${leftOut} left out`,
    aborted === 0 ? "" : `${aborted} given up by clients`,
    failed === 0 ? "" : `${failed} without an answer`,
  ].filter((part) => part !== "");
  return [`recorded ${recorded} ${recorded === 1 ? "call" : "calls"}, ${bytes} bytes`, ...others].join(", ");
}

/** Milliseconds that answers get to finish. */
const graceMs = 10_000;

/** Closes on SIGTERM or SIGINT, or when a parent with a channel to this process ends. A second signal cuts what is under way. */
function untilSignalled(recorder: Recorder): Promise<RecorderStats> {
  return new Promise((resolve) => {
    let isClosing = false;
    const onSignal = (): void => {
      if (isClosing) return;
      isClosing = true;
      void recorder.close(graceMs).then(resolve);
    };
    process.on("SIGTERM", onSignal);
    process.on("SIGINT", onSignal);
    if (endsWithParent()) process.on("disconnect", onSignal);
  });
}
