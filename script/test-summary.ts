// The summary that script/test prints: `node script/test-summary.ts FIRST [AGAIN]`, where FIRST and AGAIN are what vitest's json
// reporter wrote, of the whole run and of the files that were tried again. `--try-again FIRST` prints the files to try again.
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
  const skipped = named({ testResults }, (status) => status !== "passed" && status !== "failed");
  const counts = [`${passed} passed`, `${failed} failed`];
  if (skipped.length > 0) counts.push(`${skipped.length} skipped`);
  return { line: counts.join(", "), skipped };
}

/** The tests that failed, as `file > name`, and the files that failed outside of their tests. */
export function failedTests(report: TestReport): readonly string[] {
  const tests = named(report, (status) => status === "failed");
  const files = report.testResults.filter(({ status }) => status === "failed").map(({ name }) => name);
  return [...tests, ...files.filter((file) => !tests.some((test) => test.startsWith(`${file} > `)))];
}

function named({ testResults }: TestReport, isMeant: (status: string) => boolean): readonly string[] {
  return testResults.flatMap((file) =>
    file.assertionResults
      .filter(({ status }) => isMeant(status))
      .map(({ fullName }) => `${file.name} > ${fullName}`),
  );
}

/**
 * The files with a failed test, when there are no more than two: a fault of a test that shows once in many runs, rather than one
 * of what is tested. None when vitest failed without a failed file.
 */
export function filesToTryAgain({ testResults }: TestReport): readonly string[] {
  const failed = testResults.filter(({ status }) => status === "failed").map(({ name }) => name);
  const files = [...new Set(failed)];
  return files.length > 2 ? [] : files;
}

/** Both reports as one, in which the files of `again` have the results that they had then. */
export function withRepeated(first: TestReport, again: TestReport): TestReport {
  const names = new Set(again.testResults.map(({ name }) => name));
  return { testResults: [...first.testResults.filter(({ name }) => !names.has(name)), ...again.testResults] };
}

if (import.meta.main) {
  const isTryAgain = process.argv[2] === "--try-again";
  const texts = process.argv.slice(isTryAgain ? 3 : 2).map((path) => readFileSync(path, "utf8"));
  if (texts.length === 0 || texts.includes("")) {
    console.error("vitest ended before it wrote its report");
    process.exit(1);
  }
  const [first, again = { testResults: [] }] = texts.map((text) => JSON.parse(text) as TestReport) as [
    TestReport,
    TestReport?,
  ];
  if (isTryAgain) for (const file of filesToTryAgain(first)) console.log(file);
  else print(first, again);
}

function print(first: TestReport, again: TestReport): void {
  const { line, skipped } = testSummary(withRepeated(first, again));
  if (process.env.CI === "true" && skipped.length > 0) {
    console.error(["In CI no test may be skipped, but these were:", ...skipped].join("\n  "));
    process.exitCode = 1;
  }
  const unsteady = failedTests(first).filter((test) => !failedTests(again).includes(test));
  if (again.testResults.length > 0 && unsteady.length > 0)
    console.log(["\nFailed at first and passed alone: a fault to mend", ...unsteady].join("\n  "));
  console.log(`\n${line}`);
}
