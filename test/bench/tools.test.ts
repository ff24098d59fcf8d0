/** `npm run measure -- tools`: how the reports of tools are read, and what happens without a tool. No tool is started. */
import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { type Reading, type ToolProtocol, tools } from "../../bench/tools/tools.ts";
import { root } from "../support/process.ts";

/** What a tool's report is read as: "metric statistic" to value. */
function read(name: string, stdout: string, protocol: ToolProtocol = "h1"): Record<string, number> {
  const tool = tools.find((tool) => tool.name === name)!;
  const readings: readonly Reading[] = tool.read(stdout, { protocol, url: "http://h/v1/chat/completions", bodyPath: "", folder: "" });
  return Object.fromEntries(readings.map(({ metric, statistic, value }) => [`${metric} ${statistic}`, Number(value.toFixed(3))]));
}

test("curl: seconds become milliseconds, and another version of HTTP is an error", () => {
  expect(read("curl", "1.1 0.119347 0.504467\n1.1 0.101653 0.495533\n")).toEqual({ "ttftMs mean": 110.5, "e2eMs mean": 500 });
  expect(() => read("curl", "1.1 0.119347 0.504467\n", "h2c")).toThrow("not every answer came over HTTP/2");
});

const ab = (more: string): string => `Complete requests:      20
Failed requests:        0
${more}Requests per second:    9.56 [#/sec] (mean)
Time per request:       522.9 [ms] (mean)

Connection Times (ms)
              min  mean[+/-sd] median   max
Connect:        0    0   0.0      0       0
Processing:   482  491   4.1    491     498
Waiting:      101  110   4.0    109     118
Total:        482  492   4.1    491     498
`;

test("ab: means of its table; a refusal is no measurement", () => {
  expect(read("ab", ab(""))).toEqual({ "ttftMs mean": 110, "e2eMs mean": 492, "requestsPerSecond mean": 9.56 });
  expect(() => read("ab", ab("Non-2xx responses:      20\n"))).toThrow("ab was refused");
});

test("wrk: units of each figure", () => {
  const printed = `  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   496.61ms   10.05ms 520.20ms   70.00%
    Req/Sec     9.00      3.00    20.00     66.67%
  Latency Distribution
     50%  495.00ms
     75%  500.00ms
     90%  510.00ms
     99%    1.02s 
  29 requests in 3.00s, 201.00KB read
Requests/sec:      9.71
`;
  expect(read("wrk", printed)).toEqual({ "e2eMs mean": 496.61, "e2eMs p50": 495, "e2eMs p99": 1020, "requestsPerSecond mean": 9.71 });
});

const h2load = (succeeded: number): string => `finished in 650.12ms, 15.38 req/s, 101.73KB/s
requests: 20 total, 20 started, 20 done, ${succeeded} succeeded, ${20 - succeeded} failed, 0 errored, 0 timeout
                     min         max         mean         sd        +/- sd
time for request:   528.41ms       1.02s    587.55ms     54.36ms    40.00%
time for connect:      199us      2.71ms      1.45ms      1.77ms   100.00%
time to 1st byte:   186.18ms    225.81ms       999us     28.02ms   100.00%
req/s           :       7.74        9.04        8.39        0.92   100.00%
`;

test("h2load: means with their units; it ends with 0 whatever failed, so failures are read", () => {
  expect(read("h2load", h2load(20), "h2c")).toEqual({ "ttftMs mean": 0.999, "e2eMs mean": 587.55, "requestsPerSecond mean": 15.38 });
  expect(() => read("h2load", h2load(19), "h2c")).toThrow("h2load counts a request as failed");
});

test("locust: averages of its entries, and a failure is an error", () => {
  const entry = (name: string, failures = 0): object => {
    return { name, num_requests: 4, num_failures: failures, total_response_time: 420, response_times: { "100": 3, "120": 1 } };
  };
  const printed = `a warning\n${JSON.stringify(["ttft", "itl", "e2e"].map((name) => entry(name)))}`;
  expect(read("locust", printed)).toEqual({ "ttftMs mean": 105, "ttftMs p50": 100, "itlMs mean": 105, "e2eMs mean": 105 });
  expect(() => read("locust", JSON.stringify([entry("ttft", 1)]))).toThrow("failures in it");
});

test("what has another form is an error and no figure", () => {
  for (const { name } of tools)
    expect(() => read(name, "Segmentation fault")).toThrow(
      /in what the tool printed|not every answer|counts a request|no entry|Unexpected (token|end)|no such file/,
    );
});

test("a tool that is not on the PATH is left out, with how to install it", () => {
  const { status, stdout } = spawnSync(process.execPath, ["--import", "tsx", "bench/tools/run.ts", "hey"], {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, PATH: "/nonexistent" },
  });
  expect({ status, stdout }).toEqual({
    status: 0,
    stdout: "hey: left out, it is not on the PATH (go install github.com/rakyll/hey@latest)\n",
  });
});

test("a tool that nothing is known of: one line, exit 2", () => {
  const { status, stderr } = spawnSync(process.execPath, ["--import", "tsx", "bench/measure.ts", "tools", "wrkk"], {
    cwd: root,
    encoding: "utf8",
  });
  expect({ status, stderr }).toEqual({
    status: 2,
    stderr: expect.stringMatching(/^measure: tool "wrkk" is not one of .*did you mean wrk\?\n$/),
  });
});
