import { describe, expect, onTestFinished, test } from "vitest";
import { bullmqVersions, openQueue, type TestQueue } from "../support/bullmq.ts";
import { useBullmqSource } from "../support/bullmq-source.ts";
import { until } from "../support/until.ts";

const bullmqSource = useBullmqSource();
const { follow, agree } = bullmqSource;

describe.each(bullmqVersions)("of BullMQ $version, a job whose events are gone", ({ bullmq }) => {
  interface Row {
    readonly how: string;
    readonly why: string;
    readonly accuracy: "ESTIMATED" | "LOWER_BOUND";
    /** Resolves when one job waits, to when it became claimable. */
    readonly make: (queue: TestQueue) => Promise<number>;
  }
  const hour = 3_600_000;
  const rows: readonly Row[] = [
    {
      how: "was added",
      why: "its timestamp says when",
      accuracy: "ESTIMATED",
      make: async ({ queue }) => (await queue.add("job", {})).timestamp,
    },
    {
      how: "was added by a producer whose clock is half a minute ahead",
      why: "its timestamp is about right",
      accuracy: "ESTIMATED",
      make: async ({ queue }) => {
        await queue.add("job", {}, { timestamp: Date.now() + 30_000 });
        return Date.now();
      },
    },
    {
      how: "was added by a producer whose clock is an hour ahead",
      why: "its timestamp says nothing",
      accuracy: "LOWER_BOUND",
      make: async ({ queue }) => {
        await queue.add("job", {}, { timestamp: Date.now() + hour });
        return Date.now();
      },
    },
    {
      how: "was delayed, and promoted before it was due",
      why: "its delay is 0 then, and its options say when it was due at the latest",
      accuracy: "LOWER_BOUND",
      make: async ({ queue }) => {
        const job = await queue.add("job", {}, { delay: hour, timestamp: Date.now() - hour + 100 });
        await job.promote();
        return Date.now();
      },
    },
    {
      how: "was delayed, and promoted by promoteJobs()",
      why: "its delay stays then, though it can be claimed",
      accuracy: "LOWER_BOUND",
      make: async ({ queue }) => {
        await queue.add("job", {}, { delay: hour });
        await queue.promoteJobs();
        return Date.now();
      },
    },
    {
      how: "has a delay in its options, long past",
      why: "it is claimable since it was due, not since it was added",
      accuracy: "LOWER_BOUND",
      make: async ({ queue }) => {
        const dueMs = Date.now() - 60_000;
        const job = await queue.add("job", {}, { delay: hour, timestamp: dueMs - hour });
        await until(async () => {
          await job.promote().catch(() => {});
          expect(await job.isWaiting()).toBe(true);
        });
        return dueMs;
      },
    },
    {
      how: "failed and was retried",
      why: "it was taken long ago, which does not say when it was put back",
      accuracy: "LOWER_BOUND",
      make: async (queue) => {
        const job = await queue.queue.add("job", {}, { attempts: 2, timestamp: Date.now() - hour });
        const worker = queue.work(async () => {
          await queue.queue.pause();
          throw new Error("once more");
        });
        await until(async () => {
          expect((await queue.queue.getJob(job.id!))?.attemptsMade).toBe(1);
        });
        await worker.close();
        return Date.now();
      },
    },
    {
      how: "failed permanently, and was retried by retryJobs()",
      why: "that removes when it was taken",
      accuracy: "LOWER_BOUND",
      make: async (queue) => {
        const job = await queue.queue.add("job", {}, { timestamp: Date.now() - hour });
        const worker = queue.work(() => Promise.reject(new Error("never")));
        await until(async () => expect(await job.isFailed()).toBe(true));
        await worker.close();
        await queue.queue.retryJobs({ state: "failed" });
        return Date.now();
      },
    },
    {
      how: "waited for its children",
      why: "it was added before them, and is claimable since the last one is done",
      accuracy: "LOWER_BOUND",
      make: async (queue) => {
        const { port } = bullmqSource.watched;
        const flow = new bullmq.FlowProducer({ connection: { host: "127.0.0.1", port } });
        onTestFinished(() => flow.close());
        const opts = { timestamp: Date.now() - hour };
        const child = { name: "child", queueName: queue.name, data: {} };
        const { job } = await flow.add({ name: "job", queueName: queue.name, opts, children: [child] });
        const worker = queue.work(async () => {
          await queue.queue.pause();
        });
        await until(async () => expect(await job.isWaitingChildren()).toBe(false));
        await worker.close();
        return Date.now();
      },
    },
  ];

  test.each(rows)("that $how: $accuracy, for $why", async ({ accuracy, make }) => {
    const queue = await openQueue(bullmq, bullmqSource.watched);
    onTestFinished(() => queue[Symbol.asyncDispose]());
    const sinceMs = await make(queue);
    await queue.queue.trimEvents(0);
    await follow();
    const read = await agree(queue, { depth: 1, accuracy });
    const trueAgeMs = read.measuredAtMs - sinceMs;
    // By as much the clocks of two Redises may seem to differ on a busy machine; what is wrong is wrong by an hour or a minute.
    const toleranceMs = 20_000;
    expect(read.latencyMs).toBeLessThanOrEqual(trueAgeMs + toleranceMs);
    expect(read.latencyMs).toBeGreaterThanOrEqual(0);
    if (accuracy === "ESTIMATED") expect(read.latencyMs).toBeGreaterThanOrEqual(trueAgeMs - toleranceMs);
  });
});
