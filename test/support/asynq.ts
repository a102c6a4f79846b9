import { readFileSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { startProgram } from "./program.ts";
import { isExecutable } from "./programs.ts";

export interface AsynqPush {
  /** In seconds. */
  readonly delay?: number;
  /** What its work does: it fails, and is to be tried again after an hour; or it kills its server, which is this program. */
  readonly payload?: "work" | "fail" | "die";
  /** Is aggregated in this group. */
  readonly group?: string;
}

/** asynq's own client, server and inspector. Times are ms by the clock of this machine. */
export interface AsynqJobs {
  /** Resolves to when it was enqueued. */
  push(queue: string, options?: AsynqPush): Promise<number>;
  /** Runs a server until it has begun this number of tasks; resolves to when it began each. */
  work(queue: string, jobs: number): Promise<readonly number[]>;
  /** A server takes a task, and shuts down while it works it. */
  interrupt(queue: string): Promise<void>;
  pause(queue: string): Promise<void>;
  resume(queue: string): Promise<void>;
  purge(queue: string): Promise<void>;
  latency(queue: string): Promise<{ readonly latencyMs: number; readonly size: number }>;
}

/** Why tests with asynq are to be skipped; null when they can run, and in CI, where they must. */
export const whyNoAsynq: string | null =
  process.env.CI === "true" || asynqProgram() !== null
    ? null
    : "it is not installed: run script/install-asynq";

export function startAsynq(redisUrl: string): AsynqJobs {
  // Its parser takes no slash without a database.
  const program = startProgram(asynqProgram() ?? "", [redisUrl.replace(/\/$/, "")]);
  onTestFinished(program.stop);
  const act = async (action: string, queue: string) => void (await program.ask({ do: action, queue }));
  return {
    async push(queue, options = {}) {
      const { atMs } = await program.ask<{ atMs: number }>({ do: "push", queue, ...options });
      return atMs;
    },
    async work(queue, jobs) {
      const { atMs } = await program.ask<{ atMs: readonly number[] }>({ do: "work", queue, jobs });
      return atMs;
    },
    interrupt: (queue) => act("interrupt", queue),
    pause: (queue) => act("pause", queue),
    resume: (queue) => act("resume", queue),
    purge: (queue) => act("purge", queue),
    latency: (queue) => program.ask({ do: "latency", queue }),
  };
}

function asynqProgram(): string | null {
  const module = readFileSync(join(import.meta.dirname, "asynq/go.mod"), "utf8");
  const version = /github\.com\/hibiken\/asynq v(\S+)$/m.exec(module)?.[1];
  const program = join(import.meta.dirname, `../../.cache/asynq/asynq-jobs-${version}`);
  return isExecutable(program) ? program : null;
}
