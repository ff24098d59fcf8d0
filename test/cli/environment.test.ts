/** Variables of the environment, as a user of the built program meets them. */
import { describe, expect, test } from "vitest";
import { runCli, serve } from "../support/process.ts";

describe("an unknown variable is one line and exit 2", () => {
  test.each<[string, string[], Record<string, string>, string]>([
    ["a typo", ["serve", "--port", "0"], { FAKEAI_TFFT: "3" }, "FAKEAI_TFFT: there is no such variable: did you mean FAKEAI_TTFT?"],
    ["another tool's word", ["serve"], { FAKEAI_LATENCY: "3" }, "FAKEAI_LATENCY: there is no such variable: did you mean FAKEAI_TTFT?"],
    [
      "like nothing",
      ["serve"],
      { FAKEAI_QQQQ: "3" },
      "FAKEAI_QQQQ: there is no such variable (fakeai serve --help-all shows the flags; each has a variable)",
    ],
    [
      "a server's name that is none",
      ["serve"],
      { FAKEAI_SERVER_ID: "fakeai-1\r\nx: y" },
      "FAKEAI_SERVER_ID: it is no UUID in lower case (cat /proc/sys/kernel/random/uuid makes one)",
    ],
    ["for bench", ["bench", "--list"], { FAKEAI_TFFT: "3" }, "FAKEAI_TFFT: there is no such variable: did you mean FAKEAI_TTFT?"],
    [
      "a flag of bench",
      ["bench", "--list"],
      { FAKEAI_ROUNDS: "3" },
      "FAKEAI_ROUNDS: only fakeai serve reads such variables; give --rounds",
    ],
    [
      "a flag of proxy",
      ["proxy", "--to", "127.0.0.1:1"],
      { FAKEAI_RTT: "3" },
      "FAKEAI_RTT: only fakeai serve reads such variables; give --rtt",
    ],
  ])("%s", async (_what, args, env, message) => {
    const { code, stdout, stderr } = await runCli(args, { env }).ended;
    expect([code, stdout, stderr]).toEqual([2, "", `fakeai: ${message}\n`]);
  });

  test("settings of fakeai serve do not stop fakeai bench", async () => {
    expect((await runCli(["bench", "--list"], { env: { FAKEAI_TTFT: "3", FAKEAI_TRACES: "/x" } }).ended).code).toBe(0);
  });
});

test("a pod of a Service called fakeai starts, and says what it left out", async () => {
  const env = { FAKEAI_PORT: "tcp://10.0.0.11:8000", FAKEAI_SERVICE_HOST: "10.0.0.11", FAKEAI_SERVICE_PORT: "8000", FAKEAI_TTFT: "" };
  const server = await serve(["--protocol", "h2c:0"], { env });
  const { code, stderr } = await server.stop();
  expect([code, stderr]).toEqual([
    0,
    "fakeai: FAKEAI_PORT=tcp://10.0.0.11:8000 is a service link of Kubernetes or Docker and no setting: it is left out\n",
  ]);
});
