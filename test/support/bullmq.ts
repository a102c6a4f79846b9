import * as five from "bullmq-5";
import * as six from "bullmq-6";
import { Redis } from "ioredis";
import { uniquePrefix } from "./redis.ts";

/** What the tests use of BullMQ is the same in both versions; the types of one stand for both. */
type Bullmq = Pick<typeof five, "Queue" | "Worker" | "FlowProducer">;

export const bullmqVersions: readonly { readonly version: number; readonly bullmq: Bullmq }[] = [
  { version: 5, bullmq: five },
  { version: 6, bullmq: six as unknown as Bullmq },
];

export interface TestQueue extends AsyncDisposable {
  readonly name: string;
  readonly queue: five.Queue;
  /** Jobs that wait or are scheduled, as BullMQ itself counts them; those that are due and not yet promoted wait. */
  counts(): Promise<{ readonly waiting: number; readonly delayed: number }>;
  /** Works until it is closed or the test ends. */
  work(processor: five.Processor, options?: Partial<five.WorkerOptions>): five.Worker;
}

/** A real queue; with its workers it is closed when the test ends. */
export async function openQueue(
  bullmq: Bullmq,
  redis: { readonly port: number },
  options: { readonly name?: string; readonly prefix?: string; readonly maxEvents?: number } = {},
): Promise<TestQueue> {
  const { name = uniquePrefix(), prefix = "bull" } = options;
  const connection = { host: "127.0.0.1", port: redis.port };
  const streams =
    options.maxEvents === undefined ? {} : { streams: { events: { maxLen: options.maxEvents } } };
  const queue = new bullmq.Queue(name, { connection, prefix, ...streams });
  queue.on("error", () => {});
  await queue.waitUntilReady();
  const redisClient = new Redis(connection);
  redisClient.on("error", () => {});
  const workers: five.Worker[] = [];
  return {
    name,
    queue,
    async counts() {
      const counted = await queue.getJobCounts("wait", "paused", "prioritized", "delayed");
      const of = (type: string) => counted[type] ?? 0;
      const due = await redisClient.zcount(queue.toKey("delayed"), "-inf", (Date.now() + 1) * 0x1000 - 1);
      return {
        waiting: of("wait") + of("paused") + of("prioritized") + due,
        delayed: of("delayed") - due,
      };
    },
    work(processor, workerOptions = {}) {
      const worker = new bullmq.Worker(name, processor, { connection, prefix, ...workerOptions });
      worker.on("error", () => {});
      workers.push(worker);
      return worker;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(workers.map((worker) => worker.close(true)));
      await queue.close();
      redisClient.disconnect();
    },
  };
}

/** How long the jobs really waited, as the workers themselves report. */
export interface WaitRecord {
  readonly waitsMs: number[];
  /** Wraps a processor: the job was taken at its `processedOn`, and was claimable since it was added, due or failed. */
  readonly timed: (work: (job: five.Job) => Promise<void>) => five.Processor;
}

export function recordWaits(): WaitRecord {
  const waitsMs: number[] = [];
  const claimableAgain = new Map<string, number>();
  return {
    waitsMs,
    timed: (work) => async (job) => {
      const id = job.id ?? "";
      // BullMQ sets `delay` to 0 when it promotes a job; the options keep it.
      const since = claimableAgain.get(id) ?? job.timestamp + (job.opts.delay ?? 0);
      waitsMs.push(Math.max(0, (job.processedOn ?? 0) - since));
      try {
        await work(job);
      } catch (error) {
        const { backoff } = job.opts;
        const delayMs = typeof backoff === "object" ? (backoff.delay ?? 0) : (backoff ?? 0);
        claimableAgain.set(id, Date.now() + delayMs);
        throw error;
      }
    },
  };
}

/** Nearest rank. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? 0;
}
