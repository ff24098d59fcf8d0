/** The knobs that may change while the server runs, and the change itself: all of them or none. */
import { unfitFor } from "./fault-injector.ts";
import { ApiError } from "../api/errors/api-error.ts";
import { UsageError } from "../base/usage-error.ts";
import { flagName } from "../settings/flags.ts";
import type { ServerKey } from "../settings/options.ts";
import { type KnobValue, resolveAgain, type ServerConfig, serverFlags, settledOf } from "../settings/server.ts";
import { didYouMean } from "../base/guess.ts";
import type { ProtocolListener } from "../core/seams.ts";
import { checkedValue, type Given, inGivenNames, kindOf, optionsOf, aliases } from "../settings/aliases.ts";

/** The flags that may change: those that /admin/config shows. What listeners are started with (ports, certificates, limits) stays. */
export const runtimeKnobs: readonly { readonly key: ServerKey; readonly live: (config: ServerConfig) => KnobValue }[] = serverFlags.flatMap(
  ({ key, live }) => (live === undefined ? [] : [{ key, live }]),
);

/** The knobs in force, by their flags' names. */
export function showKnobs(config: ServerConfig): Record<string, KnobValue> {
  return Object.fromEntries(runtimeKnobs.map(({ key, live }) => [flagName(key), live(config)]));
}

/**
 * The configuration that follows from `config` and the changes, by flag or alias name. null sets a knob back to its default.
 * Throws ApiError, naming the knob, also for faults that one of `listeners` cannot make. Changes nothing by itself.
 */
export function changedConfig(
  config: ServerConfig,
  changes: Given,
  listeners: readonly Pick<ProtocolListener, "protocol" | "engine">[] = [],
): ServerConfig {
  const names = new Set([...runtimeKnobs.map(({ key }) => flagName(key)), ...aliasesOfKnobs()]);
  const given: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  for (const [name, value] of Object.entries(changes)) {
    const kind = kindOf(name);
    if (!names.has(name) || kind === undefined) {
      const why = kind === undefined ? "is not a knob" : "cannot change while the server runs";
      const guess = kind === undefined ? didYouMean(name, [...names]) : "";
      throw knobError(name, `'${name.slice(0, 60)}' ${why}${guess === "" ? `; these can: ${[...names].join(", ")}` : guess}`);
    }
    given[name] = value === null ? null : asKnobError(name, () => checkedValue(`'${name}'`, kind, value));
  }
  const options = asKnobError(null, () => optionsOf([given], config.options));
  return asKnobError(
    null,
    () => {
      const changed = resolveAgain(options, settledOf(config));
      const unfit = unfitFor(changed.faults, listeners);
      if (unfit !== null) throw new UsageError(unfit);
      return changed;
    },
    given,
  );
}

function aliasesOfKnobs(): string[] {
  return aliases.filter(({ of }) => runtimeKnobs.some(({ key }) => key === of)).map(({ name }) => name);
}

function asKnobError<T>(name: string | null, action: () => T, given: Given = {}): T {
  try {
    return action();
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    const message = inGivenNames(error.message, [given]);
    throw knobError(name ?? /^--([a-z0-9-]+)/.exec(message)?.[1] ?? null, message.replaceAll("--", ""));
  }
}

function knobError(param: string | null, message: string): ApiError {
  return new ApiError(400, message, param?.slice(0, 60) ?? null, "invalid_value");
}
