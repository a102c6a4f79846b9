import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { startProgram, type TestProgram } from "./program.ts";

/** Sidekiq's own client, in a Ruby process. */
export interface SidekiqClient {
  /** Enqueues one job for each argument; "fail" makes a job that fails. */
  push(queue: string, args: readonly string[]): Promise<void>;
  /** Schedules one job. */
  pushIn(queue: string, seconds: number): Promise<void>;
  /** What `Sidekiq::Queue` says: its `latency`, in seconds, and its `size`. */
  ask(queue: string): Promise<{ readonly latency: number; readonly size: number }>;
  /** The sizes of the sets of scheduled jobs and of retries. */
  sets(): Promise<{ readonly scheduled: number; readonly retries: number }>;
  /** Removes a queue with its jobs. */
  clear(queue: string): Promise<void>;
}

/** Why tests with Sidekiq are to be skipped; null when they can run, and in CI, where they must. */
export const whyNoSidekiq: string | null = process.env.CI === "true" ? null : whatIsMissing();

const scripts = join(import.meta.dirname, "sidekiq");
const jobsFile = join(scripts, "jobs.rb");

/** Starts the client; it ends with the test. */
export function startSidekiqClient(redisUrl: string): SidekiqClient {
  const { ask: send } = launch("ruby", [join(scripts, "client.rb")], redisUrl);
  return {
    async push(queue, args) {
      await send({ do: "push", queue, args });
    },
    async pushIn(queue, seconds) {
      await send({ do: "pushIn", queue, seconds });
    },
    ask: (queue) => send({ do: "ask", queue }),
    sets: () => send({ do: "sets" }),
    async clear(queue) {
      await send({ do: "clear", queue });
    },
  };
}

/** Starts a Sidekiq process that works these queues off; it ends with the test. */
export function startSidekiqWorker(redisUrl: string, queues: readonly string[]): void {
  const args = ["-r", jobsFile, "-c", "2", "-t", "1", ...queues.flatMap((queue) => ["-q", queue])];
  launch("sidekiq", args, redisUrl);
}

/** It ends by SIGKILL: nothing of what it would tidy up outlives its Redis, and it would take a second. */
function launch(program: string, args: readonly string[], redisUrl: string): TestProgram {
  const launched = startProgram(program, args, { env: { REDIS_URL: redisUrl } });
  onTestFinished(launched.stop);
  return launched;
}

function whatIsMissing(): string | null {
  try {
    execFileSync("ruby", ["-e", 'require "sidekiq/api"'], { stdio: "ignore" });
    execFileSync("sidekiq", ["--version"], { stdio: "ignore" });
    return null;
  } catch {
    return "Sidekiq is not installed: on Debian, apt-get install ruby-sidekiq";
  }
}
