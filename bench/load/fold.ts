import { Redis } from "ioredis";
import type { QueueEvent } from "../../src/core/events.ts";
import { openTracker } from "../../test/support/tracker.ts";
import { batchIdOf, batchSize, jobIds } from "./batches.ts";

export interface Writing {
  readonly redisUrl: string;
  /** Each has a batch under way at any time. */
  readonly queues: readonly string[];
  readonly forMs: number;
}

export interface Written {
  /** Events, or values. */
  readonly count: number;
  readonly wallMs: number;
}

/** Our own fold, in this process, with all that it keeps: counters, wait times, tombstones, and the ids of batches. */
export async function foldEvents({ redisUrl, queues, forMs }: Writing): Promise<Written> {
  await using opened = await openTracker(redisUrl, { prefix: "ql" });
  return await writeInTurn(queues, forMs, async (queue, batch) => {
    const { accepted } = await opened.tracker.record(eventsOf(queue, batch), batchIdOf(queue, batch));
    if (accepted !== batchSize) throw new Error(`expected ${batchSize} accepted events, got ${accepted}`);
  });
}

/** As many values as events, each with an LPUSH of its own, a pipeline a batch. */
export async function pushValues({ redisUrl, queues, forMs }: Writing): Promise<Written> {
  const redis = new Redis(redisUrl);
  try {
    return await writeInTurn(queues, forMs, async (queue, batch) => {
      const pipeline = redis.pipeline();
      for (const id of jobIds(batch)) pipeline.lpush(queue, id);
      for (const id of jobIds(batch + 1)) pipeline.lpush(queue, id);
      const replies = await pipeline.exec();
      if (replies?.length !== batchSize) throw new Error(`expected ${batchSize} replies`);
    });
  } finally {
    redis.disconnect();
  }
}

/** Writes the queues' batches, one after the other in each queue, beginning with 1. */
export async function writeInTurn(
  queues: readonly string[],
  forMs: number,
  write: (queue: string, batch: number) => Promise<void>,
): Promise<Written> {
  let batches = 0;
  const startedAtMs = performance.now();
  await Promise.all(
    queues.map(async (queue) => {
      for (let batch = 1; performance.now() - startedAtMs < forMs; batch++) {
        await write(queue, batch);
        batches += 1;
      }
    }),
  );
  return { count: batches * batchSize, wallMs: performance.now() - startedAtMs };
}

function eventsOf(queue: string, batch: number): QueueEvent[] {
  const event = (type: QueueEvent["type"]) => (jobId: string) =>
    ({ type, queue, jobId, attempt: 0, atMs: null, availableAtMs: null }) satisfies QueueEvent;
  return [...jobIds(batch).map(event("ENQUEUED")), ...jobIds(batch - 1).map(event("DEQUEUED"))];
}
