import { faultKinds } from "../core/faults/fault.ts";
import type { Section } from "./command.ts";

/** The part of `fakeai serve --help-all` on faults: `burst(after=,silence=)`, and what each kind does. */
export function faultSection(): Section {
  const rows = Object.entries(faultKinds).map(([name, { options, bare, help }]): [string, string] => {
    const forms = options.map((option) => (option === bare ? `<${option}>` : `${option}=`));
    return [`${name}${forms.length === 0 ? "" : `(${forms.join(",")})`}`, help];
  });
  return {
    heading: "Faults on purpose",
    rows,
    text: 'Given by --fault or, for one request, by the header x-fakeai-fault; several with commas between. Each takes @rate (@10%), key=<api key> and protocol=h1|h2c. "after" counts tokens (default 0); times are 200ms or 2s.',
  };
}
