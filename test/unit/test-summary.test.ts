import { expect, test } from "vitest";
import { testSummary } from "../../script/test-summary.ts";

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
