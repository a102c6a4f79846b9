import { join } from "node:path";
import { onTestFinished } from "vitest";
import { startProgram, type TestProgram } from "./program.ts";
import { isExecutable } from "./programs.ts";

const directory = join(import.meta.dirname, "python-jobs");
const bin = join(import.meta.dirname, "../../.cache/python-jobs/bin");

/** Why tests with the job systems of Python are to be skipped; null when they can run, and in CI, where they must. */
export const whyNoPythonLists =
  process.env.CI === "true" || isExecutable(join(bin, "celery"))
    ? null
    : "they are not installed: run script/install-python-jobs";

/** Runs one of the programs of test/support/python-jobs, which ends with the test. */
export function startPython(file: string, env: Readonly<Record<string, string>>): TestProgram {
  return ending(startProgram(join(bin, "python3"), [join(directory, file)], { env }));
}

/** Runs a program that a job system brings, in the directory of its app; it ends with the test. */
export function startPythonTool(
  name: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): TestProgram {
  const path = { PYTHONPATH: directory, PYTHONDONTWRITEBYTECODE: "1" };
  return ending(startProgram(join(bin, name), args, { env: { ...env, ...path } }));
}

function ending(program: TestProgram): TestProgram {
  onTestFinished(program.stop);
  return program;
}
