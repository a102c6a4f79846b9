import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { onTestFinished } from "vitest";

/** A program of a job system that is asked one question after the other, a line of JSON each. */
export interface JsonProgram {
  ask<T = unknown>(question: object): Promise<T>;
}

/** It ends with the test. */
export function startJsonProgram(program: string, args: readonly string[]): JsonProgram {
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-4000);
  });
  child.on("error", (error) => {
    said += error.message;
  });
  child.stdin.on("error", () => {});
  // An operator who ends the test process in the middle of a test must leave no program behind.
  const killAtExit = () => child.kill("SIGKILL");
  process.on("exit", killAtExit);
  onTestFinished(async () => {
    process.off("exit", killAtExit);
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  });
  return {
    async ask<T>(question: object) {
      child.stdin.write(`${JSON.stringify(question)}\n`);
      const { value, done } = await answers.next();
      if (done) throw new Error(`the job system's program ended: ${said}`);
      return JSON.parse(value) as T;
    },
  };
}
