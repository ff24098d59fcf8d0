/** Variables that begin with FAKEAI_ and mean nothing: a typo, a name that is none, or a wish that only `fakeai serve` would read. */
import { instanceVariable, isInstanceId } from "../base/instance.ts";
import { UsageError } from "../base/usage-error.ts";
import { guessAtName } from "../settings/aliases.ts";
import { unknownVariables, wordOf } from "../settings/environment.ts";
import { environmentName, type Flag, flagName } from "../settings/flags.ts";
import { serveFlags } from "./sources.ts";

/**
 * Throws UsageError for the first unknown one. Settings of `fakeai serve` may stand in the environment of every command. `own` are
 * the flags of a command that reads no variables: one that is called like such a flag was meant to give it.
 */
export function refuseUnknownVariables(own: readonly Flag[] = []): void {
  const serverId = process.env[instanceVariable] ?? "";
  if (serverId !== "" && !isInstanceId(serverId))
    throw new UsageError(`${instanceVariable}: it is no UUID in lower case (cat /proc/sys/kernel/random/uuid makes one)`);
  const [name] = unknownVariables(serveFlags, process.env);
  if (name === undefined) return;
  const word = wordOf(name);
  const flag = own.find(({ key }) => flagName(key) === word);
  if (flag !== undefined) throw new UsageError(`${name}: only fakeai serve reads such variables; give --${word}`);
  const others = serveFlags.map(({ key }) => flagName(key));
  const guess = guessAtName(word, others, environmentName);
  const see = " (fakeai serve --help-all shows the flags; each has a variable)";
  throw new UsageError(`${name.slice(0, 60)}: there is no such variable${guess === "" ? see : guess}`);
}
