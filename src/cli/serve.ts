import { Command } from "commander";
import { resolveConfig, serverFlags, standardPorts } from "../config.ts";
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
  addFlags(command, serverFlags);
  return command
    .option("--json", "one line of JSON on stdout when ready, nothing else")
    .option("--quiet", "print nothing")
    .addHelpText("after", examples)
    .action(async () => {
      const settings = settingsOf(command, serverFlags);
      const server = await startServer(resolveConfig(settings, standardPorts));
      // Before anybody learns that it runs: a signal may follow at once.
      const ended = untilSignalled(server);
      if (settings["json"]) process.stdout.write(`${JSON.stringify({ listening: server.listening, caPath: server.caPath })}\n`);
      else if (!settings["quiet"]) process.stdout.write(describe(server));
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

/** Resolves when the server has closed after SIGTERM or SIGINT; a second signal ends the process at once. */
function untilSignalled(server: FakeAiServer): Promise<void> {
  return new Promise((resolve) => {
    let signalled = false;
    const onSignal = (signal: NodeJS.Signals): void => {
      if (signalled) process.exit(signal === "SIGINT" ? 130 : 143);
      signalled = true;
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
