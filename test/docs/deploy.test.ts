/** What `deploy` holds fits what is there: metrics of the dashboard, flags and files of the compose file, scripts of the action. */
import { execFile } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { standardPorts } from "../../src/settings/server.ts";
import { root, runCli, type Serving, serve } from "../support/process.ts";

const run = promisify(execFile);
const deploy = join(root, "deploy");
const read = (name: string): string => readFileSync(join(deploy, name), "utf8");

interface Panel {
  readonly id: number;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly fieldConfig: { readonly defaults: { readonly unit: string } };
  readonly datasource: { readonly uid: string };
  readonly targets: readonly { readonly refId: string; readonly expr: string }[];
}

describe("the dashboard", () => {
  const { panels } = JSON.parse(read("grafana/dashboard.json")) as { panels: readonly Panel[] };
  let server: Serving;
  let metrics = "";
  beforeAll(async () => {
    server = await serve(["--protocol", "h1:0"]);
    const { url } = server.listening[0]!;
    const body = JSON.stringify({ model: "any", messages: [{ role: "user", content: "Hi" }], stream: true, max_tokens: 3 });
    for (const headers of [{}, { "x-fakeai-fault": "truncate(after=1)" }])
      await (await fetch(`${url}/v1/chat/completions`, { method: "POST", body, headers })).text().catch(() => "");
    metrics = await (await fetch(`${url}/metrics`)).text();
  });
  afterAll(() => server.stop());

  const names = (expr: string): string[] => expr.match(/\b(?:vllm:|fakeai_|process_)\w+/g) ?? [];

  test("asks for metrics that /metrics has, each with the labels that it is grouped by", () => {
    const asked = panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
    expect(asked.filter((expr) => names(expr).length !== 1)).toEqual([]);
    const missing = asked.filter((expr) => {
      const [name] = names(expr);
      const labels = [...expr.matchAll(/ by \((\w+)\)/g)].map((match) => match[1]!);
      const samples = metrics.split("\n").filter((line) => new RegExp(`^${name}[ {]`).test(line));
      return samples.length === 0 || labels.some((label) => !samples.every((line) => line.includes(`${label}="`)));
    });
    expect(missing).toEqual([]);
  });

  test("rates counters and histograms, and nothing else", () => {
    const types = new Map([...metrics.matchAll(/^# TYPE (\S+) (\w+)$/gm)].map((match) => [match[1]!, match[2]!]));
    for (const { expr } of panels.flatMap(({ targets }) => targets)) {
      const type = types.get(names(expr)[0]!.replace(/_bucket$/, ""));
      expect([expr, expr.includes("rate(")]).toEqual([expr, type !== "gauge"]);
      expect([expr, expr.includes("histogram_quantile(")]).toEqual([expr, type === "histogram"]);
    }
  });

  test("has a unit for each panel, ids once, no panel over another, and the data source of the compose file", () => {
    const sources = (parse(read("grafana/datasource.yaml")) as { datasources: { uid: string }[] }).datasources;
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    const places = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, cell) => `${x + (cell % w)},${y + Math.floor(cell / w)}`),
    );
    expect(new Set(places).size).toBe(places.length);
    for (const { title, fieldConfig, datasource, targets, gridPos } of panels) {
      expect([title, fieldConfig.defaults.unit]).not.toContain("");
      expect(datasource.uid).toBe(sources[0]!.uid);
      expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
      expect(new Set(targets.map(({ refId }) => refId)).size).toBe(targets.length);
    }
  });
});

describe("the compose file", () => {
  interface Service {
    readonly command?: readonly string[];
    readonly ports?: readonly string[];
    readonly volumes?: readonly string[];
    readonly depends_on?: Readonly<Record<string, unknown>> | readonly string[];
    readonly build?: { readonly context: string; readonly dockerfile: string };
  }
  const { services } = parse(read("compose.yaml")) as { services: Readonly<Record<string, Service>> };
  const all = Object.values(services);

  test("names files and services that are there", () => {
    const mounted = all.flatMap(({ volumes = [] }) => volumes.map((volume) => volume.split(":")[0]!)).filter((path) => /\.\w+$/.test(path));
    expect(mounted.length).toBeGreaterThan(3);
    expect(mounted.filter((path) => !existsSync(join(deploy, path)))).toEqual([]);
    const needed = all.flatMap(({ depends_on: on = [] }) => (Array.isArray(on) ? (on as string[]) : Object.keys(on)));
    expect(needed.filter((name) => !(name in services))).toEqual([]);
    const { context, dockerfile } = services["serve"]!.build!;
    expect(existsSync(join(deploy, context, dockerfile))).toBe(true);
    expect(read("prometheus.yml")).toContain(`serve:${standardPorts.h1}`);
  });

  test("publishes the ports that it serves on, to this machine alone", () => {
    const protocols = services["serve"]!.command![services["serve"]!.command!.indexOf("--protocol") + 1]!.split(",");
    const served = protocols.map((name) => standardPorts[name as keyof typeof standardPorts]);
    expect(services["serve"]!.ports).toEqual(served.map((port) => `127.0.0.1:${port}:${port}`));
    for (const { ports = [] } of all) expect(ports.filter((port) => !port.startsWith("127.0.0.1:"))).toEqual([]);
  });

  test("starts a server with flags that are flags, and asks a bench of flags that are", async () => {
    const command = services["serve"]!.command!.map((word) => (word === "h1,h2c" ? "h1:0,h2c:0" : word === "0.0.0.0" ? "127.0.0.1" : word));
    const server = await serve(command.slice(1));
    expect((await server.stop()).code).toBe(0);
    // --list ends before anything is measured.
    expect((await runCli([...services["bench"]!.command!, "--list"]).ended).code).toBe(0);
  });

  test("the image has no shell between a signal and fakeai, runs as no root, and asks a port that it serves on", async () => {
    const dockerfile = read("Dockerfile");
    const list = (word: string): string[] => JSON.parse(new RegExp(`^${word} (\\[.*\\])$`, "m").exec(dockerfile)![1]!) as string[];
    expect(list("ENTRYPOINT")).toEqual(["node", "/app/dist/cli.js"]);
    expect(list("CMD")[0]).toBe("serve");
    expect(dockerfile).toMatch(/^USER [1-9]\d*:[1-9]\d*$/m);
    expect(dockerfile).toContain(`http://127.0.0.1:${standardPorts.h1}/health`);
    const copied = [...dockerfile.matchAll(/^COPY --from=build \/src\/(\S+)/gm)].map((match) => match[1]!);
    expect(copied.filter((path) => !existsSync(join(root, path)))).toEqual([]);
    // The program of HEALTHCHECK, as it stands.
    const check = /HEALTHCHECK[^[]*(\[.*\])$/m.exec(dockerfile)![1]!;
    const [node, ...args] = JSON.parse(check) as string[];
    expect(node).toBe("node");
    const server = await serve(["--protocol", "h1:0"]);
    const port = new URL(server.listening[0]!.url).port;
    const ask = async (): Promise<number> =>
      run(
        process.execPath,
        args.map((word) => word.replace(String(standardPorts.h1), port)),
      ).then(
        () => 0,
        ({ code }: { code: number }) => code,
      );
    expect(await ask()).toBe(0);
    await server.stop();
    expect(await ask()).toBe(1);
  });
});

describe.skipIf(process.platform === "win32")("the action", () => {
  interface Step {
    readonly if?: string;
    readonly shell: string;
    readonly env: Readonly<Record<string, string>>;
    readonly run: string;
  }
  const action = parse(read("action/action.yml")) as {
    readonly inputs: Readonly<Record<string, { readonly description: string }>>;
    readonly runs: { readonly using: string; readonly steps: readonly Step[] };
  };
  const folder = mkdtempSync(join(tmpdir(), "fakeai-action-"));

  /** Runs one of its scripts, with an `npx` that tells its words. */
  async function script(name: string, env: Readonly<Record<string, string>>): Promise<{ stdout: string; output: string }> {
    const npx = join(folder, "npx");
    writeFileSync(npx, '#!/bin/sh\nprintf "<%s>" "$@"\n');
    chmodSync(npx, 0o755);
    const output = join(folder, "output");
    writeFileSync(output, "");
    const own = { ...process.env, PATH: `${folder}${delimiter}${process.env["PATH"] ?? ""}`, GITHUB_OUTPUT: output, RUNNER_TEMP: folder };
    const { stdout } = await run("bash", [join(deploy, "action", name)], { env: { ...own, ...env }, cwd: folder });
    return { stdout, output: readFileSync(output, "utf8") };
  }

  test("is composite, uses each input, and puts none into the text of a script", () => {
    expect(action.runs.using).toBe("composite");
    const used = action.runs.steps.flatMap((step) => JSON.stringify(step).match(/inputs\.[\w-]+/g) ?? []).map((name) => name.slice(7));
    expect(new Set(used)).toEqual(new Set(Object.keys(action.inputs)));
    for (const { run: text, shell } of action.runs.steps) {
      expect(text).not.toContain("${{");
      expect(shell).toBe("bash");
      for (const [, file] of text.matchAll(/\$ACTION_PATH\/([\w.]+)/g)) expect(existsSync(join(deploy, "action", file!))).toBe(true);
    }
  });

  test("starts a server that answers when the step ends", async () => {
    const { output } = await script("serve.sh", { ARGS: "--protocol h1:0 --ttft '5'" });
    const url = /^url=(.+)$/m.exec(output)![1]!;
    const pid = Number(/^pid=(.+)$/m.exec(output)![1]!);
    expect((await fetch(`${url}/health`)).status).toBe(200);
    process.kill(pid, "SIGTERM");
  });

  test("fails where the server does not start", async () => {
    await expect(script("serve.sh", { ARGS: "--protocol h9" })).rejects.toMatchObject({
      code: 1,
      stdout: expect.stringContaining("h9") as string,
    });
  });

  test("gives the bench its words, requirements a line each, and runs none of them", async () => {
    const env = { ARGS: "--scenario stream --rounds '5' $(touch ran)", REQUIRE: "stream/h2c/ttft.p99<150ms\n\nfailed<1%", OUT: "out dir" };
    const { stdout, output } = await script("bench.sh", { ...env, PACKAGE: "a@1" });
    expect(stdout).toBe(
      "<--yes><a@1><bench><--out><out dir><--export><csv,junit,github><--scenario><stream><--rounds><5><$(touch><ran)>" +
        "<--require><stream/h2c/ttft.p99<150ms><--require><failed<1%>",
    );
    expect(existsSync(join(folder, "ran"))).toBe(false);
    expect(output).toBe("result=out dir\n");
    const { stdout: least } = await script("bench.sh", { PACKAGE: "a@1", OUT: "out" });
    expect(least).toBe("<--yes><a@1><bench><--out><out><--export><csv,junit,github>");
  });

  test("a step of the bench ends as the bench does", async () => {
    await expect(script("bench.sh", { REQUIRE: "nonsense", OUT: "out" })).rejects.toMatchObject({ code: 2 });
  });

  test("the workflow of docs/deploy.md gives it what it takes", () => {
    const workflow = /^```yaml\n([\s\S]*?)^```$/m.exec(readFileSync(join(root, "docs/deploy.md"), "utf8"))![1]!;
    const { jobs } = parse(workflow) as { jobs: Record<string, { steps: { uses?: string; with?: Record<string, string> }[] }> };
    const steps = Object.values(jobs).flatMap((job) => job.steps.filter(({ uses = "" }) => uses.includes("deploy/action")));
    expect(steps.map((step) => step.with!["command"])).toEqual(["serve", "bench"]);
    expect(steps.flatMap((step) => Object.keys(step.with!)).filter((name) => !(name in action.inputs))).toEqual([]);
  });
});

describe("the plain manifests", () => {
  // helm is not at hand here: deploy/kubernetes/make.sh was run if what the chart writes down as it stands is in them too.
  test.each([
    ["serve", ["--admin", "FAKEAI_ADMIN_TOKEN"]],
    ["bench", []],
  ])("%s.yaml has the flags and variables of the chart", (name, onlyWhenGiven) => {
    const written = (text: string): string[] =>
      [...text.matchAll(/^ *- (?:name: )?(--[a-z-]+|[A-Z_]+)$/gm)]
        .map((match) => match[1]!)
        .filter((word) => !onlyWhenGiven.includes(word));
    const chart = written(read(`helm/fakeai/templates/${name}.yaml`));
    expect(chart.length).toBeGreaterThan(4);
    expect(written(read(`kubernetes/${name}.yaml`)).filter((word) => chart.includes(word))).toEqual(chart);
  });
});
