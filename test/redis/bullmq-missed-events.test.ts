import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import type { FollowSink } from "../../src/core/log-following.ts";
import type { QueueSnapshot } from "../../src/core/snapshot.ts";
import { bullmqVersions, openQueue, recordWaits, type TestQueue } from "../support/bullmq.ts";
import { addAll, jobs, useBullmqSource } from "../support/bullmq-source.ts";
import { recordingLogger } from "../support/logger.ts";
import { until } from "../support/until.ts";

const bullmqSource = useBullmqSource();
const { follow, snapshot, agree } = bullmqSource;
let redis: Redis;
beforeAll(() => {
  redis = new Redis(bullmqSource.watched.url);
});
afterAll(() => redis?.disconnect());

describe.each(bullmqVersions)("of BullMQ $version", ({ bullmq }) => {
  async function newQueue(maxEvents?: number): Promise<TestQueue> {
    const queue = await openQueue(bullmq, bullmqSource.watched, maxEvents === undefined ? {} : { maxEvents });
    onTestFinished(() => queue[Symbol.asyncDispose]());
    return queue;
  }

  /** Ways in which jobs leave with no event of their own. */
  const ways: readonly {
    readonly how: string;
    readonly add: (queue: TestQueue, round: number) => Promise<unknown>;
    readonly leave: (queue: TestQueue, round: number) => Promise<unknown>;
  }[] = [
    {
      how: "drain()",
      add: ({ queue }) => queue.addBulk(jobs(26)),
      leave: ({ queue }) => queue.drain(),
    },
    {
      how: "upsertJobScheduler() with another interval",
      add: ({ queue }, round) => queue.upsertJobScheduler("tick", { every: 60_000 + round }),
      leave: ({ queue }, round) => queue.upsertJobScheduler("tick", { every: 90_000 + round }),
    },
    {
      how: "upsertJobScheduler() with another pattern",
      add: ({ queue }, round) => queue.upsertJobScheduler("tick", { pattern: `0 ${round} 3 * * *` }),
      leave: ({ queue }, round) => queue.upsertJobScheduler("tick", { pattern: `0 ${round} 4 * * *` }),
    },
    {
      how: "clean()",
      add: ({ queue }) => queue.addBulk(jobs(30)),
      leave: ({ queue }) => queue.clean(0, 20, "wait"),
    },
    {
      how: "keys deleted by hand",
      add: ({ queue }) => queue.addBulk(jobs(5, { priority: 2 })),
      leave: async ({ queue }) => redis.del(queue.toKey("prioritized")),
    },
  ];

  test.each(ways)("jobs that leave by $how are noticed each time", async ({ add, leave }) => {
    // Longer than the test: each round is corrected by the comparison of lengths and ends alone.
    await follow({ reconcileMs: 60_000 });
    const queue = await newQueue();
    for (let round = 0; round < 4; round++) {
      await add(queue, round);
      await agree(queue, { accuracy: "EXACT" });
      await leave(queue, round);
      await agree(queue, { accuracy: "EXACT" });
    }
  });

  test("a large backlog that left with no event is UNKNOWN until it is corrected", async () => {
    const queue = await newQueue();
    let seen: QueueSnapshot[] = [];
    const sink: FollowSink = {
      ...bullmqSource.tracker,
      async follow(followed) {
        const result = await bullmqSource.tracker.follow(followed);
        seen.push(await snapshot(queue));
        return result;
      },
    };
    await follow({ sink });
    await addAll(queue, 3_000);
    await agree(queue, { accuracy: "EXACT", depth: 3_000 });
    seen = [];
    await redis.ltrim(queue.queue.toKey("wait"), 0, 1_499);
    await agree(queue, { accuracy: "EXACT", depth: 1_500 });
    expect(seen.filter(({ accuracy }) => accuracy === "EXACT").map(({ depth }) => depth)).toSatisfy(
      (depths: number[]) => depths.every((depth) => depth === 3_000 || depth === 1_500),
    );
    expect(seen.some(({ accuracy }) => accuracy === "UNKNOWN")).toBe(true);
  });

  test("counts of a stream that is trimmed before it was read are null, and the setting is logged once", async () => {
    const logger = recordingLogger();
    await follow({ logger });
    const queue = await newQueue(100);
    await queue.queue.add("job", {});
    const first = await agree(queue, { depth: 1, accuracy: "EXACT" });
    expect(first.throughput?.ONE_MINUTE).not.toBeUndefined();
    const record = recordWaits();
    queue.work(
      record.timed(async () => {}),
      { concurrency: 20 },
    );
    const trimmed = () => logger.lines.filter(({ message }) => message.startsWith("missed events"));
    await until(async () => {
      await queue.queue.addBulk(jobs(500));
      expect(trimmed()).not.toEqual([]);
    });
    await queue.queue.addBulk(jobs(2_000));
    await until(async () => {
      expect((await queue.counts()).waiting).toBe(0);
    });
    const read = await agree(queue, { state: "EMPTY", accuracy: "EXACT" });
    expect(read).toMatchObject({ throughput: null, waitTime: null });
    expect(read.totals).toBeUndefined();
    expect(trimmed()).toMatchObject([
      { level: "warn", fields: { queue: queue.name, setting: "streams.events.maxLen", value: 100 } },
    ]);
  });

  test("counts of a window that began before the queue's stream are null", async () => {
    const queue = await newQueue();
    await queue.queue.addBulk(jobs(50));
    await queue.queue.trimEvents(0);
    await queue.queue.add("job", {});
    await follow();
    expect(await agree(queue, { depth: 51 })).toMatchObject({ throughput: null, waitTime: null });
  });

  test("a stream that was trimmed after it was read takes nothing from the counts", async () => {
    await follow();
    const queue = await newQueue();
    for (let round = 1; round <= 3; round++) {
      await queue.queue.addBulk(jobs(50));
      await agree(queue, { depth: 50 * round, accuracy: "EXACT" });
      await queue.queue.trimEvents(0);
    }
    await queue.queue.add("job", {});
    const read = await agree(queue, { depth: 151, accuracy: "EXACT" });
    expect(Math.round((read.throughput?.FIFTEEN_MINUTES?.enqueuedPerSecond ?? 0) * 900)).toBe(151);
  });
});
