import { Command } from "commander";
import { resolveConfig, standardPorts } from "../config.ts";
import { type FakeAiServer, startServer } from "../server.ts";
import { addFlags, settingsOf } from "./settings.ts";

const examples = `
Examples:
  fakeai serve --ttft 100 --itl 20
  fakeai serve --protocol h1,h2c,h2 --ttft 'lognormal(200,0.5)' --itl 20:10
  fakeai serve --config fakeai.yaml
Every flag can also be an environment variable (FAKEAI_TTFT=100) or a key of the configuration file (ttft: 100).
The command line wins over the environment, the environment over the file.`;

export function serveCommand(): Command {
  const command = new Command("serve").description("start the fake model server");
  addFlags(command);
  return command.addHelpText("after", examples).action(async () => {
    const settings = settingsOf(command);
    const server = await startServer(resolveConfig(settings.server, standardPorts));
    // Before anything is printed: whoever reads that line may signal at once.
    const ended = untilSignalled(server);
    if (settings.json) process.stdout.write(`${JSON.stringify({ listening: server.listening, caPath: server.caPath })}\n`);
    else if (!settings.quiet) process.stdout.write(describe(server));
    await ended;
  });
}

function describe(server: FakeAiServer): string {
  const { model } = server.config;
  const milliseconds = (us: number | null, spec: string): string => (us === null ? spec : `${us / 1000} ms`);
  const latency = `TTFT ${milliseconds(model.ttft.constant, model.ttft.spec)}, ITL ${milliseconds(model.itl.constant, model.itl.spec)}`;
  const unpaced = model.ttft.constant === 0 && model.itl.constant === 0;
  const kept = `${latency}${unpaced ? " (set them with --ttft and --itl)" : ""}, ${model.outputTokens.spec} tokens`;
  const lines = server.listening.map(({ protocol, engine, url }) => `${protocol.padEnd(4)} ${url}  ${engine}  ${kept}`);
  lines.push(...server.notices.map((notice) => `note ${notice}`));
  if (server.caPath !== null) lines.push(`trust it: curl --cacert ${server.caPath}   or   export NODE_EXTRA_CA_CERTS=${server.caPath}`);
  return `${lines.join("\n")}\n`;
}

/** Ctrl-C under npx comes twice, from the terminal and from npm: what comes within this is the same signal. */
const repeatMs = 100;

/** Resolves when the server has closed after SIGTERM or SIGINT; a second signal ends the process at once. */
function untilSignalled(server: FakeAiServer): Promise<void> {
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
        // Keep-alive timers of engines must not hold up an exit that everybody waits for.
        process.exit(0);
      });
    };
    process.on("SIGTERM", onSignal);
    process.on("SIGINT", onSignal);
  });
}
