/** The knobs that may change while the server runs, and the change itself: all of it or nothing. */
import { unfitFor } from "./fault-injector.ts";
import { ApiError } from "../api/errors/api-error.ts";
import { UsageError } from "../base/usage-error.ts";
import { flagName, resolveAgain, type ServerConfig, type ServerOptions, settledOf } from "../settings/server.ts";
import type { ProtocolListener } from "../core/seams.ts";
import { checkedValue, type Given, inGivenNames, kindOf, optionsOf, aliases } from "../settings/aliases.ts";

/** A value as JSON shows it, in a form that a change accepts. null: the default, or none. */
export type KnobValue = string | number | boolean | readonly string[] | null;

interface Knob {
  readonly key: keyof ServerOptions;
  /** What is in force. */
  readonly show: (config: ServerConfig) => KnobValue;
}

/**
 * Every knob that may change at run time. A new one is a line here. `textFile` is not among them: whoever may change knobs
 * would be able to read any file. What listeners are started with (ports, certificates, stream and body limits) stays.
 */
export const runtimeKnobs: readonly Knob[] = [
  // What was recorded is no spec that a change could give.
  { key: "ttft", show: ({ model, options, recording }) => (recording !== null && options.ttft === undefined ? null : model.ttft.spec) },
  { key: "itl", show: ({ model, options, recording }) => (recording !== null && options.itl === undefined ? null : model.itl.spec) },
  { key: "outputTokens", show: ({ model }) => model.outputTokens.spec },
  { key: "seed", show: ({ model }) => model.seed },
  { key: "model", show: ({ model }) => model.models },
  { key: "stamps", show: ({ model }) => model.stamps },
  { key: "mode", show: ({ model }) => model.mode },
  { key: "profile", show: ({ model }) => model.profile },
  { key: "tokensPerChunk", show: ({ model }) => model.tokensPerChunk },
  { key: "maxModelLen", show: ({ model }) => model.maxModelLen },
  {
    key: "rateLimit",
    show: ({ rateLimits: { requests, tokens } }) =>
      [requests === null ? [] : `rpm=${requests}`, tokens === null ? [] : `tpm=${tokens}`].flat().join(",") || null,
  },
  // A key is shown as its digest, which a change accepts as well.
  { key: "fault", show: ({ faults }) => (faults.length === 0 ? null : faults.map(({ spec }) => spec)) },
  { key: "grace", show: ({ graceMs }) => graceMs },
];

/** The knobs in force, by their flags' names. */
export function showKnobs(config: ServerConfig): Record<string, KnobValue> {
  return Object.fromEntries(runtimeKnobs.map(({ key, show }) => [flagName(key), show(config)]));
}

/**
 * The configuration that follows from `config` and the changes, by flag or alias name; null sets a knob back to its default.
 * `listeners` must be able to do what it says. Throws ApiError, naming the knob, and changes nothing by itself.
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
      throw knobError(name, `'${name.slice(0, 60)}' ${why}; these can: ${[...names].join(", ")}`);
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
