import { expect, test } from "vitest";
import { failedTests, filesToTryAgain, testSummary, withRepeated } from "../../script/test-summary.ts";

const file = (status: string, ...tests: readonly string[]) => ({
  name: "a.test.ts",
  status,
  assertionResults: tests.map((result) => ({ status: result, fullName: `is ${result}` })),
});

test.each([
  { files: [], line: "0 passed, 0 failed", why: "an empty run" },
  {
    files: [file("passed", "passed"), file("passed", "passed")],
    line: "2 passed, 0 failed",
    why: "all files count",
  },
  {
    files: [file("failed", "passed", "failed", "failed")],
    line: "1 passed, 2 failed",
    why: "each test counts",
  },
  { files: [file("failed")], line: "0 passed, 1 failed", why: "a file that cannot be imported has no tests" },
  {
    files: [file("failed", "skipped")],
    line: "0 passed, 1 failed, 1 skipped",
    why: "a hook failed before the test",
  },
  {
    files: [file("passed", "passed", "skipped", "todo", "pending")],
    line: "1 passed, 0 failed, 3 skipped",
    why: "a test to do was not run either",
  },
])("counts `$line`: $why", ({ files, line }) => {
  expect(testSummary({ testResults: files }).line).toBe(line);
});

test("names the tests that did not run", () => {
  const { skipped } = testSummary({ testResults: [file("passed", "passed", "skipped")] });
  expect(skipped).toEqual(["a.test.ts > is skipped"]);
});

const report = (...files: readonly (readonly [name: string, status: string])[]) => ({
  testResults: files.map(([name, status]) => ({ ...file(status, status), name })),
});

test.each([
  { first: report(), files: [], why: "vitest itself failed" },
  { first: report(["a", "passed"], ["b", "failed"]), files: ["b"], why: "one test may be at fault" },
  {
    first: report(["a", "failed"], ["a", "failed"], ["b", "failed"]),
    files: ["a", "b"],
    why: "a file runs in two projects",
  },
  {
    first: report(["a", "failed"], ["b", "failed"], ["c", "failed"]),
    files: [],
    why: "three fail for a cause",
  },
])("tries again $files: $why", ({ first, files }) => {
  expect(filesToTryAgain(first)).toEqual(files);
});

test("counts a file that was tried again once, as it was then", () => {
  const first = report(["a", "passed"], ["b", "failed"], ["c", "failed"]);
  const both = withRepeated(first, report(["b", "passed"], ["c", "failed"]));
  expect(testSummary(both).line).toBe("2 passed, 1 failed");
  expect(failedTests(both)).toEqual(["c > is failed"]);
});

test("names a file that failed outside of its tests", () => {
  expect(failedTests({ testResults: [file("failed", "passed")] })).toEqual(["a.test.ts"]);
});
