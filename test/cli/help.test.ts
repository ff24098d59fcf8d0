/** Help screens: what most people need on one screen, everything by --help-all. */
import { describe, expect, test } from "vitest";
import { commands } from "../../src/cli/commands.ts";
import { commandHelp, programHelp } from "../../src/cli/help.ts";
import { environmentName, flagForm, flagName } from "../../src/settings/flags.ts";

/** Screens of a terminal that the first screen fits: columns, and lines with one for the prompt. */
const small = { columns: 80, lines: 24 };
const large = { columns: 80, lines: 46 };
const screenOf = (name: string): typeof small => (name === "serve" || name === "bench" ? large : small);

describe.each(commands.map((command) => [command.name, command] as const))("%s", (name, command) => {
  test("--help fits a screen", async () => {
    const { columns, lines } = screenOf(name);
    const rows = (await commandHelp(command, false, columns)).trimEnd().split("\n");
    expect(rows.length).toBeLessThan(lines);
    for (const row of rows) expect(row.length).toBeLessThanOrEqual(columns);
  });

  test("--help has examples, and says how to see the rest", async () => {
    const help = await commandHelp(command, false, 80);
    expect(help).toContain(`fakeai ${name} --help-all`);
    expect(command.examples.length).toBe(name === "doctor" ? 1 : 3);
    for (const [line] of command.examples) expect(help).toContain(`\n  ${line}`);
  });

  test("--help-all has every flag and the exit codes, within the columns there are", async () => {
    const help = await commandHelp(command, true, 80);
    for (const row of await command.flags()) expect(help).toContain(`  ${flagForm(row)}`);
    expect(help).toContain("\nExit codes:\n  0");
    // A term or an example that is longer is not cut.
    for (const row of help.split("\n")) if (/^ {20,}/.test(row)) expect(row.length).toBeLessThanOrEqual(80);
  });

  test("flags are in the tables once", async () => {
    const names = (await command.flags()).map(({ key }) => flagName(key));
    expect(new Set(names).size).toBe(names.length);
    expect(names).not.toContain("help");
  });
});

test("the program's help names every command and fits a screen", () => {
  const help = programHelp(commands, 80);
  for (const { name, summary } of commands) expect(help).toMatch(new RegExp(`\\n  ${name} .*${summary}\\n`));
  expect(help.trimEnd().split("\n").length).toBeLessThan(small.lines);
});

test("how a variable of a server's flag is called", async () => {
  const help = await commandHelp(
    commands.find(({ name }) => name === "serve")!,
    true,
    80,
  );
  for (const flag of ["ttft", "tokens-per-chunk"]) expect(help).toContain(`${environmentName(flag)}=`);
  expect(
    await commandHelp(
      commands.find(({ name }) => name === "bench")!,
      true,
      80,
    ),
  ).toContain("OPENAI_API_KEY");
});
