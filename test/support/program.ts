import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

export interface TestProgram {
  /** Writes a line of JSON, and resolves to the next one that comes. One after the other. */
  ask<T>(question: object): Promise<T>;
  /** Lines of JSON that came without being asked for. */
  readonly lines: readonly Readonly<Record<string, unknown>>[];
  /** What it wrote to standard error last. */
  said(): string;
  readonly child: ChildProcess;
  /** Kills it; may be called again. */
  stop(): Promise<void>;
}

/** Starts a program that speaks lines of JSON. It does not outlive this process. */
export function startProgram(
  program: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> } = {},
): TestProgram {
  const env = { ...process.env, ...options.env };
  const child = spawn(program, args, { ...options, env, stdio: ["pipe", "pipe", "pipe"] });
  const lines: Record<string, unknown>[] = [];
  const waiting: ((line: string | null) => void)[] = [];
  let said = "";
  let hasEnded = false;
  createInterface({ input: child.stdout }).on("line", (line) => {
    const resolve = waiting.shift();
    if (resolve !== undefined) resolve(line);
    else if (line.startsWith("{")) lines.push(JSON.parse(line));
  });
  child.stderr.on("data", (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-4000);
  });
  child.on("error", (error) => {
    said += error.message;
  });
  child.on("close", () => {
    hasEnded = true;
    for (const resolve of waiting.splice(0)) resolve(null);
  });
  child.stdin.on("error", () => {});
  const killAtExit = () => child.kill("SIGKILL");
  process.on("exit", killAtExit);

  return {
    async ask<T>(question: object) {
      const answer = new Promise<string | null>((resolve) =>
        hasEnded ? resolve(null) : waiting.push(resolve),
      );
      child.stdin.write(`${JSON.stringify(question)}\n`);
      const line = await answer;
      if (line === null) throw new Error(`the program ${program} ended: ${said}`);
      return JSON.parse(line) as T;
    },
    lines,
    said: () => said,
    child,
    async stop() {
      process.off("exit", killAtExit);
      if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
    },
  };
}
