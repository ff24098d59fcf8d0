/** Variables that begin with FAKEAI_: settings, others' names, service links and typos. */
import { execFileSync } from "node:child_process";
import { afterEach, describe, expect, test } from "vitest";
import { serveFlags, serveSettings } from "../../src/cli/sources.ts";
import { benchFlags } from "../../src/settings/bench.ts";
import { givenByEnvironment, serviceLinks, unknownVariables } from "../../src/settings/environment.ts";
import { environmentName, flagName } from "../../src/settings/flags.ts";
import { root } from "../support/process.ts";

const variables = serveFlags.map(({ key }) => environmentName(flagName(key)));
const saved = { ...process.env };
afterEach(() => {
  process.env = { ...saved };
});

describe("an empty variable is one that is not set", () => {
  test.each(variables)("%s", async (name) => {
    const unset = await serveSettings({});
    process.env[name] = "";
    const { inGivenNames: _said, ...settings } = await serveSettings({});
    expect({ ...settings, inGivenNames: unset.inGivenNames }).toEqual(unset);
  });

  test("also where a row of fakeai bench names it", () => {
    const named = benchFlags.flatMap(({ environment }) => environment ?? []);
    expect(named).toContain("OPENAI_API_KEY");
    const nameOf = ({ environment }: { readonly environment?: string }): string | undefined => environment;
    for (const name of named) expect(givenByEnvironment(benchFlags, { [name]: "" }, nameOf)).toEqual({});
    expect(givenByEnvironment(benchFlags, { OPENAI_API_KEY: "k" }, nameOf)).toEqual({ apiKey: "k" });
  });

  test("and is no typo", () => {
    expect(unknownVariables(serveFlags, { FAKEAI_TFFT: "" })).toEqual([]);
  });
});

/** As kubelet sets them for a Service with one named port (pkg/kubelet/envvars), and Docker for `--link server:fakeai`. */
const kubernetes = {
  FAKEAI_SERVICE_HOST: "10.0.0.11",
  FAKEAI_SERVICE_PORT: "8000",
  FAKEAI_SERVICE_PORT_HTTP: "8000",
  FAKEAI_PORT: "tcp://10.0.0.11:8000",
  FAKEAI_PORT_8000_TCP: "tcp://10.0.0.11:8000",
  FAKEAI_PORT_8000_TCP_PROTO: "tcp",
  FAKEAI_PORT_8000_TCP_PORT: "8000",
  FAKEAI_PORT_8000_TCP_ADDR: "10.0.0.11",
  FAKEAI_H2_SERVICE_HOST: "fd00::b",
  FAKEAI_H2_SERVICE_PORT: "8443",
  FAKEAI_H2_PORT: "tcp://[fd00::b]:8443",
};
const docker = { ...kubernetes, FAKEAI_NAME: "/web/fakeai", FAKEAI_ENV_NODE_VERSION: "20.19.0" };

describe("service links", () => {
  test.each([
    ["Kubernetes", kubernetes],
    ["Docker", docker],
  ])("of %s are neither settings nor typos", (_who, links) => {
    expect(unknownVariables(serveFlags, links)).toEqual([]);
    expect(givenByEnvironment(serveFlags, links)).toEqual({});
    expect(serviceLinks(serveFlags, links)).toEqual(["FAKEAI_PORT"]);
  });

  test("have a form: what else has such a name is a setting or a typo", () => {
    expect(givenByEnvironment(serveFlags, { FAKEAI_PORT: "8000" })).toEqual({ port: "8000" });
    expect(givenByEnvironment(serveFlags, { FAKEAI_PORT: "http://x" })).toEqual({ port: "http://x" });
    expect(unknownVariables(serveFlags, { FAKEAI_SERVICE_HOST: "my host", FAKEAI_SERVICE_PORT: "x" })).toEqual([
      "FAKEAI_SERVICE_HOST",
      "FAKEAI_SERVICE_PORT",
    ]);
  });
});

describe("a name", () => {
  test("that is no flag's is unknown, also one that every object has", () => {
    const names = { FAKEAI_TFFT: "3", FAKEAI_: "x", FAKEAI_constructor: "x", FAKEAI_ttft: "3" };
    expect(unknownVariables(serveFlags, { ...names, FAKEAI_TTFT: "3", FAKEAITTFT: "3", OTHER: "1" })).toEqual(Object.keys(names));
  });

  test("that any file of the repository uses is a flag's or is listed", () => {
    const used = execFileSync("git", ["grep", "-hoE", "FAKEAI_[A-Z0-9_]*[A-Z0-9]", "--", "src", "scenarios", "bench", ".ci"], {
      cwd: root,
    });
    const names = new Set(used.toString().split("\n").filter(Boolean));
    expect(names.size).toBeGreaterThan(10);
    const set = Object.fromEntries([...names].map((name) => [name, "1"]));
    expect(unknownVariables(serveFlags, set)).toEqual([]);
  });
});
