import { randomBytes } from "node:crypto";
import { Redis } from "ioredis";
import type { QueueEvent, QueueEventType } from "../../src/core/events.ts";
import { startRedis } from "../../test/support/redis.ts";
import { openTracker } from "../../test/support/tracker.ts";
import { usedMemory } from "../support/redis-figures.ts";
import { interleave } from "../support/rounds.ts";
import type { RowGroup } from "../support/row.ts";
import { sayMedian } from "../support/say.ts";

/** A quick run takes fewer jobs, and how full Redis's tables happen to be then makes other numbers. */
const fullCount = 200_000;
const batchSize = 1_000;
/** So long that nothing is forgotten while it is measured. */
const eventWindowMs = 3_600_000;

export const memoryRow: RowGroup = {
  rows: [
    {
      id: "9",
      title: "Redis memory of a job",
      purpose: "How much memory Redis needs for a backlog.",
      how: `The growth of \`used_memory\` by ${fullCount.toLocaleString("en-US")} jobs of one queue with random ids of 24 characters, in batches of 1,000, divided by their number, with everything that the tracker keeps of them. The other side: the same ids in one plain sorted set, scored by a time in ms. What is there once for each queue was there before.`,
    },
  ],
  async measure(plan) {
    await using stack = new AsyncDisposableStack();
    const redis = stack.use(await startRedis());
    const { tracker } = stack.use(await openTracker(redis.url, { prefix: "ql", eventWindowMs }));
    const client = new Redis(redis.url);
    stack.defer(() => client.disconnect());
    const count = plan.isQuick ? 20_000 : fullCount;

    const record = async (queue: string, ids: readonly string[], type: QueueEventType) => {
      for (let from = 0; from < ids.length; from += batchSize) {
        const events = ids.slice(from, from + batchSize).map((jobId, i): QueueEvent => {
          const atMs = type === "ENQUEUED" ? timeOf(from + i) : null;
          return { type, queue, jobId, attempt: 0, atMs, availableAtMs: null };
        });
        await tracker.record(events, null);
      }
    };
    const grown = async (
      types: readonly QueueEventType[],
      write: (queue: string, ids: readonly string[], type: QueueEventType) => Promise<void>,
    ) => {
      await client.flushall();
      const ids = Array.from({ length: count }, () => randomBytes(12).toString("hex"));
      // Scripts, connections and the first keys take some, too.
      for (const type of types) await write("other", ids.slice(0, batchSize), type);
      const before = await usedMemory(client);
      for (const type of types) await write("queue", ids, type);
      return ((await usedMemory(client)) - before) / count;
    };
    const plain = async (key: string, ids: readonly string[]) => {
      for (let from = 0; from < ids.length; from += batchSize) {
        const members = ids.slice(from, from + batchSize).flatMap((id, i) => [timeOf(from + i), id]);
        await client.zadd(key, ...members);
      }
    };
    const rounds = await interleave(plan, {
      waiting: () => grown(["ENQUEUED"], record),
      departed: () => grown(["ENQUEUED", "DEQUEUED"], record),
      member: () => grown(["ENQUEUED"], plain),
    });

    const lineOf = (what: string, ours: readonly number[]) => ({
      what,
      unit: "bytes",
      against: "a member of a sorted set",
      ours,
      theirs: rounds.member,
      wanted: { atMost: 1 },
      says: `Redis needs ${sayMedian(ours)} bytes for ${what}; the plainest sorted set of the same ids needs ${sayMedian(rounds.member)} bytes for each.`,
    });
    const lines = [
      lineOf("a waiting job", rounds.waiting),
      lineOf("a departed job that is still remembered", rounds.departed),
    ];
    return [{ row: "9", lines, notes: [] }];
  },
};

/** Within the last ten minutes. */
function timeOf(job: number): number {
  return Date.now() - (job % 600_000);
}
