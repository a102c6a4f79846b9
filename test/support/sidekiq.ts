import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { onTestFinished } from "vitest";

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
  const child = launch("ruby", [join(scripts, "client.rb")], redisUrl);
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  let before: Promise<unknown> = Promise.resolve();

  /** One question after the other, since answers come in order. */
  async function send<T>(question: object): Promise<T> {
    const answer = before.then(async () => {
      child.stdin.write(`${JSON.stringify(question)}\n`);
      const { value, done } = await answers.next();
      if (done) throw new Error(`the Sidekiq client ended: ${child.said()}`);
      return JSON.parse(value) as T;
    });
    before = answer.catch(() => {});
    return await answer;
  }
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
  launch("sidekiq", args, redisUrl).stdout.resume();
}

function launch(program: string, args: readonly string[], redisUrl: string) {
  const env = { ...process.env, REDIS_URL: redisUrl };
  const child = spawn(program, args, { env, stdio: ["pipe", "pipe", "pipe"] });
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-4000);
  });
  child.on("error", (error) => {
    said += error.message;
  });
  child.stdin.on("error", () => {});
  // An operator who ends the test process in the middle of a test must not leave a Ruby behind.
  const killAtExit = () => child.kill("SIGKILL");
  process.on("exit", killAtExit);
  onTestFinished(async () => {
    process.off("exit", killAtExit);
    await kill(child);
  });
  return Object.assign(child, { said: () => said });
}

/** By SIGKILL: nothing of what it would tidy up outlives its Redis, and it would take a second. */
async function kill(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
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
