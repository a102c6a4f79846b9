import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { beforeEach, onTestFinished } from "vitest";
import { startProgram, type TestProgram } from "./program.ts";
import { isExecutable } from "./programs.ts";

const directory = join(import.meta.dirname, "python-jobs");
const cache = join(import.meta.dirname, "../../.cache/python-jobs");

/** Why tests with the job systems of Python are to be skipped; null when they can run, and in CI, where they must. */
export const whyNoPythonLists =
  process.env.CI === "true" || isExecutable(join(cache, "bin/celery"))
    ? null
    : "they are not installed: run script/install-python-jobs";

/** As {@link whyNoPythonLists}, for the older releases, which not every Python can run. */
export const whyNoOlderLists =
  process.env.CI === "true" || existsSync(join(cache, "older/installed"))
    ? null
    : "their older releases are not installed: run script/install-python-jobs";

/** The releases that a program imports: of Celery 5.7 and RQ 2, or of Celery 4.4 and RQ 1.16. The others have one. */
export type Releases = "current" | "older";

/** Skips the tests of a `describe` where these releases are missing. */
export function skipUnlessInstalled(releases: Releases): void {
  beforeEach(({ skip }) => {
    if (releases === "older" && whyNoOlderLists !== null) skip(whyNoOlderLists);
  });
}

/** Runs one of the programs of test/support/python-jobs, which ends with the test. */
export function startPython(
  file: string,
  env: Readonly<Record<string, string>>,
  releases: Releases = "current",
): TestProgram {
  return start([join(directory, file)], env, releases);
}

/** Runs a module that a job system brings as a program, with the modules of test/support/python-jobs; it ends with the test. */
export function startPythonModule(
  name: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  releases: Releases = "current",
): TestProgram {
  return start(["-m", name, ...args], env, releases);
}

function start(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  releases: Releases,
): TestProgram {
  const older = releases === "older" ? [join(directory, "older"), join(cache, "older")] : [];
  const path = { PYTHONPATH: [...older, directory].join(delimiter), PYTHONDONTWRITEBYTECODE: "1" };
  const program = startProgram(join(cache, "bin/python3"), args, { env: { ...env, ...path } });
  onTestFinished(program.stop);
  return program;
}
