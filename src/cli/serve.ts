import type { ModelSettings } from "../api/shared/model-settings.ts";
import type { BatchSettings } from "../core/pacing/scheduler.ts";
import type { Distribution } from "../core/random/distribution.ts";
import { isEveryAddress } from "../base/host.ts";
import { printable } from "../base/printable.ts";
import { UsageError } from "../base/usage-error.ts";
import { serviceLinks } from "../settings/environment.ts";
import { resolveConfig, type ServerConfig, standardPorts } from "../settings/server.ts";
import { limitYoungGeneration } from "../server/heap.ts";
import { endsWithParent } from "../base/parent-channel.ts";
import { describePresets } from "../settings/presets.ts";
import { readRecording, type Recording } from "../settings/recording.ts";
import { uwsMaxHeadVariable } from "../server/listening.ts";
import { startServer } from "../server/server.ts";
import type { Served } from "../server/workers/primary.ts";
import type { Line, Reached } from "./command.ts";
import { refuseUnknownVariables } from "./environment.ts";
import { serveFlags, type ServeSettings, serveSettings } from "./sources.ts";

/** `fakeai serve`: runs until a signal ends it. */
export async function serve({ given }: Line, reached: Reached): Promise<void> {
  refuseUnknownVariables();
  const settings = await serveSettings(given);
  const { preset, latencyFrom } = settings.server;
  if (preset === "list") {
    process.stdout.write(describePresets());
    return;
  }
  const recording = latencyFrom === undefined ? null : await readRecording(latencyFrom);
  const config = configOf(settings, recording);
  const dashboard = settings.dashboard ? await import("./dashboard.ts") : null;
  dashboard?.checkScreen(process.stdout, process.env);
  const complain = (line: string): void => {
    if (!settings.quiet) process.stderr.write(`fakeai: ${printable(line)}\n`);
  };
  for (const name of serviceLinks(serveFlags, process.env))
    complain(`${name}=${process.env[name]!} is a service link of Kubernetes or Docker and no setting: it is left out`);
  enlargeUwsHeads(config);
  const alone = config.workers === 1 ? await startServer(config, null, complain) : null;
  const server: Served = alone ?? (await (await import("../server/workers/primary.ts")).startWorkers(config, complain));
  reached("started");
  if (alone !== null) limitYoungGeneration(alone.listening);
  // Before anything is printed: its reader may send a signal at once.
  const ended = untilSignalled(server, reached);
  const { listening, caPath, ca } = server;
  if (settings.json)
    process.stdout.write(
      `${JSON.stringify({ listening, caPath, ...(caPath === null && ca !== null && { ca }), workers: config.workers })}\n`,
    );
  else if (!settings.quiet) process.stdout.write(describe(server));
  dashboard?.showDashboard(process.stdout, () => server.metrics());
  if (process.send !== undefined) (await import("../server/parent.ts")).answerParent(alone);
  await ended;
}

function configOf({ server, inGivenNames }: ServeSettings, recording: Recording | null): ServerConfig {
  try {
    return resolveConfig(server, standardPorts, recording);
  } catch (error) {
    if (error instanceof UsageError) throw new UsageError(inGivenNames(error.message));
    throw error;
  }
}

/** uWebSockets.js by itself takes heads of 4 kB; node:http takes these. */
const leastHeadBytes = 16_384;

/** Has uWebSockets.js take heads of `--max-head`, in this process and in workers. A size that the user's environment sets stays. */
function enlargeUwsHeads({ limits }: ServerConfig): void {
  process.env[uwsMaxHeadVariable] ||= String(Math.max(leastHeadBytes, limits.maxHeadBytes));
}

function describe(server: Served): string {
  const { model, scheduler, workers, replay } = server.config;
  const made = `${scheduler === null ? describeLatency(model) : describeBatching(scheduler)}, ${model.outputTokens.spec} tokens`;
  // What the tape holds has its own times.
  const kept = replay === null || replay.unmatched === "generate" ? made : "as recorded";
  const lines = server.listening.map(({ protocol, engine, engineVersion, url }) => {
    const engineName = engine !== "uws" ? engine : `${engine} (${engineVersion})`;
    return `${protocol.padEnd(4)} ${url}  ${engineName}  ${kept}`;
  });
  if (server.listening.some(({ engine, protocol }) => engine === "uws" && (protocol === "h1" || protocol === "h1s")))
    lines.push("HTTP/1.0 (ab, nginx without proxy_http_version 1.1) is served with --h1-engine node alone");
  if (isEveryAddress(server.config.host)) lines.push("every address of this machine is listened on");
  if (workers > 1) lines.push(`${workers} workers share the ${server.listening.length === 1 ? "port" : "ports"}`);
  lines.push(...server.notices.map((notice) => `note ${notice}`));
  if (server.caPath !== null) lines.push(`trust it: curl --cacert ${server.caPath}   or   export NODE_EXTRA_CA_CERTS=${server.caPath}`);
  return `${lines.join("\n")}\n`;
}

function describeLatency({ ttft, itl }: ModelSettings): string {
  const milliseconds = ({ constant, spec }: Distribution): string => (constant === null ? spec : `${constant / 1000} ms`);
  const unpaced = ttft.constant === 0 && itl.constant === 0;
  return `TTFT ${milliseconds(ttft)}, ITL ${milliseconds(itl)}${unpaced ? " (set them with --ttft and --itl)" : ""}`;
}

function describeBatching({ stepTime, stepTimePerSeqUs, prefillTimePerTokenUs, maxNumSeqs, maxNumBatchedTokens }: BatchSettings): string {
  const base = stepTime.constant === null ? stepTime.spec : `${stepTime.constant / 1000} ms`;
  const step = `step ${base} + ${stepTimePerSeqUs / 1000} ms a sequence + ${prefillTimePerTokenUs / 1000} ms a prompt token`;
  return `batched: ${step}, up to ${maxNumSeqs} sequences and ${maxNumBatchedTokens} tokens`;
}

/** Ctrl-C under npx comes twice, from the terminal and from npm: two signals within this many milliseconds are one. */
const repeatMs = 100;

/** Milliseconds between two looks at whether npx still runs. */
const lookEveryMs = 250;

/** Read while the module loads: npx may end before the server has started. */
const firstParent = process.ppid;

/**
 * Calls `end` when the npx that started this process is gone: it passes SIGTERM to the shell in between, and not to us.
 * Another program that npx runs, and a script of "npm run", may leave a server in the background on purpose. Their children
 * inherit the same variables, so the script's text is checked too.
 */
function onceNpxIsGone(end: () => void): void {
  const { npm_command: command, npm_lifecycle_event: event, npm_lifecycle_script: script = "" } = process.env;
  if (command !== "exec" || event !== "npx" || !/\bfakeai\b/.test(script)) return;
  const look = setInterval(() => {
    if (process.ppid === firstParent) return;
    clearInterval(look);
    end();
  }, lookEveryMs);
  look.unref();
}

/**
 * Resolves when the server has closed after SIGTERM or SIGINT, or when npx, or a parent that has asked for it, is gone. A
 * second signal ends the process at once.
 */
function untilSignalled(server: Served, reached: Reached): Promise<void> {
  return new Promise((resolve) => {
    let signalledMs: number | null = null;
    const onSignal = (signal: NodeJS.Signals): void => {
      const nowMs = performance.now();
      if (signalledMs !== null) {
        if (nowMs - signalledMs < repeatMs) return;
        process.exit(signal === "SIGINT" ? 130 : 143);
      }
      signalledMs = nowMs;
      void server.close().then(() => {
        resolve();
        reached("ended");
        // Keep-alive timers of the engines would hold up the exit.
        process.exit(0);
      });
    };
    process.on("SIGTERM", onSignal);
    process.on("SIGINT", onSignal);
    const onOrphaned = (): void => {
      if (signalledMs === null) onSignal("SIGTERM");
    };
    if (endsWithParent()) {
      process.on("disconnect", onOrphaned);
      // The parent may have ended before the server started. A process without a channel has no such property.
      if ("connected" in process && !process.connected) onOrphaned();
    }
    onceNpxIsGone(onOrphaned);
  });
}
