import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type AddJobFunction, makeWorkerUtils, runOnce } from "graphile-worker";
import { PgBoss } from "pg-boss";
import { startProgram } from "./program.ts";
import { isExecutable } from "./programs.ts";

export interface PushOptions {
  /** In seconds. */
  readonly delay?: number;
  /** 0 is served before 1. */
  readonly priority?: number;
  /** Whether its work fails: it is to be tried again after an hour. */
  readonly fail?: boolean;
}

/** The real producer and worker of one job system, with its tables in an empty database. */
export interface PostgresJobs {
  push(queue: string, options?: PushOptions): Promise<void>;
  /** Runs a worker of that queue until it has worked this number of jobs. */
  work(queue: string, jobs: number): Promise<void>;
  /** Null: the system has no pause. */
  readonly pause: ((queue: string) => Promise<void>) | null;
  stop(): Promise<void>;
}

const support = join(import.meta.dirname, "postgres");
const cache = join(import.meta.dirname, "../../.cache");
const python = join(cache, "python-jobs/bin/python3");
const isCi = process.env.CI === "true";

/** Why tests with the job systems of Python are to be skipped; null when they can run, and in CI, where they must. */
export const whyNoPythonJobs =
  isCi || isExecutable(python) ? null : "they are not installed: run script/install-python-jobs";

/** As `whyNoPythonJobs`. */
export const whyNoRiver =
  isCi || riverProgram() !== null ? null : "it is not installed: run script/install-river";

function riverProgram(): string | null {
  const module = readFileSync(join(support, "river/go.mod"), "utf8");
  const version = /github\.com\/riverqueue\/river v(\S+)$/m.exec(module)?.[1];
  const program = join(cache, `river/river-jobs-${version}`);
  return isExecutable(program) ? program : null;
}

export const startOban = (url: string) => startJobs(python, [join(support, "oban_jobs.py"), url], true);
export const startProcrastinate = (url: string) =>
  startJobs(python, [join(support, "procrastinate_jobs.py"), url], false, -1);
export const startRiver = (url: string) => startJobs(riverProgram() ?? "", [url], true);

async function startJobs(
  program: string,
  args: readonly string[],
  canPause: boolean,
  sign = 1,
): Promise<PostgresJobs> {
  const jobs = startProgram(program, args);
  const ask = async (question: object) => void (await jobs.ask(question));
  // Its tables are there when it answers.
  await ask({ do: "ready", queue: "" });
  return {
    push: (queue, { priority = 0, ...options } = {}) =>
      ask({ do: "push", queue, ...options, priority: priority * sign }),
    work: (queue, jobs) => ask({ do: "work", queue, jobs }),
    pause: canPause ? (queue) => ask({ do: "pause", queue }) : null,
    stop: jobs.stop,
  };
}

export async function startPgBoss(url: string): Promise<PostgresJobs> {
  const boss = new PgBoss({ connectionString: url, supervise: false, schedule: false });
  boss.on("error", () => {});
  await boss.start();
  return {
    async push(queue, { delay = 0, priority = 0, fail = false } = {}) {
      await boss.createQueue(queue);
      const later = delay === 0 ? {} : { startAfter: delay };
      // In pg-boss the greater number is served first, and 0 is the least that is natural.
      await boss.send(
        queue,
        { fail },
        { priority: 10 - priority, retryLimit: 5, retryDelay: 3600, ...later },
      );
    },
    async work(queue, jobs) {
      for (const { id, data } of await boss.fetch<{ fail: boolean }>(queue, { batchSize: jobs })) {
        if (data.fail) await boss.fail(queue, id);
        else await boss.complete(queue, id);
      }
    },
    pause: null,
    stop: () => boss.stop({ graceful: false }),
  };
}

const silent = () => () => {};

export async function startGraphileWorker(url: string): Promise<PostgresJobs> {
  const { Logger } = await import("graphile-worker");
  const logger = new Logger(silent);
  const utils = await makeWorkerUtils({ connectionString: url, logger });
  await utils.migrate();
  const addJob: AddJobFunction = utils.addJob;
  return {
    async push(queue, { delay = 0, priority = 0, fail = false } = {}) {
      const later = delay === 0 ? {} : { runAt: new Date(Date.now() + delay * 1000) };
      const { id } = await addJob(queue, { fail }, { priority, ...later });
      // It waits for e to the power of its attempts, in seconds.
      if (fail) await utils.rescheduleJobs([id], { attempts: 9 });
    },
    async work(queue) {
      const task = async (payload: unknown) => {
        if (Reflect.get(Object(payload), "fail") === true) throw new Error("meant to fail");
      };
      await runOnce({ connectionString: url, logger, taskList: { [queue]: task }, noHandleSignals: true });
    },
    pause: null,
    stop: async () => await utils.release(),
  };
}
