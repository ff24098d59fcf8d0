/**
 * The end of a CI run: the tests that passed at a second try only, by name, then "N passed, N failed" alone on its line.
 * Its argument is the exit code of the tests under other versions of Node. Exit code 1 where anything failed.
 */
import { readdirSync, readFileSync } from "node:fs";

const folder = "node_modules/.cache/";
const read = (name) => JSON.parse(readFileSync(`${folder}${name}`, "utf8"));
const files = readdirSync(folder).filter((name) => /^test-results.*\.json$/.test(name));

// vitest keeps the failure of a first try with the test.
const retried = files.flatMap((name) =>
  read(name).testResults.flatMap(({ assertionResults }) =>
    assertionResults.filter(({ status, failureMessages }) => status === "passed" && failureMessages.length > 0),
  ),
);
if (retried.length > 0) console.log(`${retried.length} passed at a second try only:`);
for (const { fullName, failureMessages } of retried) console.log(`  ${fullName}: ${failureMessages[0].split("\n")[0]}`);

// vitest writes none when it cannot start.
const none = { numPassedTests: 0, numFailedTests: 1, numFailedTestSuites: 0 };
const { numPassedTests, numFailedTests, numFailedTestSuites } = files.includes("test-results.json") ? read("test-results.json") : none;
// A failure without a failed test, of a suite that does not load or a Node that does not start, counts as one.
const failed = numFailedTests + (numFailedTests === 0 ? numFailedTestSuites : 0) + (process.argv[2] === "0" ? 0 : 1);
console.log(`${numPassedTests} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
