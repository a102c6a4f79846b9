// The summary that script/test prints: `node script/test-summary.ts REPORT`, where REPORT is what vitest's json reporter wrote.
import { readFileSync } from "node:fs";

/** What is read of vitest's json report. */
export interface TestReport {
  readonly testResults: readonly {
    /** Of the test file. */
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

export interface TestSummary {
  /** `2 passed, 1 failed`, with `, 3 skipped` where tests were skipped, or are still to be written. */
  readonly line: string;
  /** Each test that did not run, as `file > name`. */
  readonly skipped: readonly string[];
}

/** Counts a report. A file that failed outside of its tests (on import, in a hook) counts as one failed test. */
export function testSummary({ testResults }: TestReport): TestSummary {
  const tests = testResults.flatMap((file) => file.assertionResults);
  const passed = tests.filter((test) => test.status === "passed").length;
  const brokenFiles = testResults.filter(
    (file) => file.status === "failed" && !file.assertionResults.some((test) => test.status === "failed"),
  );
  const failed = tests.filter((test) => test.status === "failed").length + brokenFiles.length;
  const skipped = testResults.flatMap((file) =>
    file.assertionResults
      .filter((test) => test.status !== "passed" && test.status !== "failed")
      .map((test) => `${file.name} > ${test.fullName}`),
  );
  const counts = [`${passed} passed`, `${failed} failed`];
  if (skipped.length > 0) counts.push(`${skipped.length} skipped`);
  return { line: counts.join(", "), skipped };
}

if (import.meta.main) {
  const report = readFileSync(process.argv[2] ?? "", "utf8");
  if (report === "") {
    console.error("vitest ended before it wrote its report");
    process.exit(1);
  }
  const { line, skipped } = testSummary(JSON.parse(report) as TestReport);
  if (process.env.CI === "true" && skipped.length > 0) {
    console.error(["In CI no test may be skipped, but these were:", ...skipped].join("\n  "));
    process.exitCode = 1;
  }
  console.log(`\n${line}`);
}
