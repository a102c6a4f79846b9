/**
 * What one queue costs in memory: bytes of Redis per waiting job, and per departure that is still remembered.
 * Run it with `node bench/memory.ts`; it starts a redis-server of its own.
 */
import { randomBytes } from "node:crypto";
import type { QueueEvent, QueueEventType } from "../src/core/events.ts";
import { startRedis } from "../test/support/redis.ts";
import { openTracker, type TestTracker } from "../test/support/tracker.ts";

const jobCount = 200_000;
const batchSize = 1_000;
/** So long that nothing is forgotten while it is measured. */
const eventWindowMs = 3_600_000;
const jobIds = Array.from({ length: jobCount }, () => randomBytes(12).toString("hex"));

interface Row {
  readonly what: string;
  readonly keys: (queue: string, opened: TestTracker) => readonly string[];
  /** What is recorded before it is measured, and what while. */
  readonly before: readonly QueueEventType[];
  readonly measured: readonly QueueEventType[];
}

const waiting: Row["keys"] = (queue, { keys }) => [keys.waiting(queue)];
const departed: Row["keys"] = (queue, { keys }) => keys.departed(queue);
const rows: readonly Row[] = [
  { what: "a waiting job", keys: waiting, before: [], measured: ["ENQUEUED"] },
  { what: "a departure, its enqueue known", keys: departed, before: [], measured: ["ENQUEUED", "DEQUEUED"] },
  { what: "a departure, its enqueue not heard", keys: departed, before: [], measured: ["DEQUEUED"] },
  {
    what: "a waiting job, when it is dequeued",
    keys: departed,
    before: ["ENQUEUED"],
    measured: ["DEQUEUED"],
  },
];

const table: Record<string, Record<string, string>> = {};
for (const { what, keys, before, measured } of rows) {
  await using server = await startRedis();
  await using opened = await openTracker(server.url, { eventWindowMs });
  await record(opened, "other", before.length === 0 ? measured : before, jobIds.slice(0, batchSize));
  for (const type of before) await record(opened, "q", [type], jobIds);
  const start = await usedMemory(opened);
  for (const type of measured) await record(opened, "q", [type], jobIds);
  const grown = (await usedMemory(opened)) - start;
  let ofKeys = 0;
  for (const key of keys("q", opened))
    ofKeys += Number(await opened.redis.call("MEMORY", "USAGE", key, "SAMPLES", "0"));
  table[what] = {
    "bytes more": (grown / jobCount).toFixed(1),
    "bytes of its keys": (ofKeys / jobCount).toFixed(1),
  };
}
console.log(`${jobCount} jobs with ids of ${jobIds[0]?.length} characters; bytes of Redis, per job:`);
console.table(table);

/** All jobs came, or went, within the last ten minutes. */
async function record(
  { tracker }: TestTracker,
  queue: string,
  types: readonly QueueEventType[],
  ids: readonly string[],
): Promise<void> {
  for (const type of types) {
    for (let from = 0; from < ids.length; from += batchSize) {
      const events = ids.slice(from, from + batchSize).map((jobId, i): QueueEvent => {
        const atMs = type === "ENQUEUED" ? Date.now() - ((from + i) % 600_000) : null;
        return { type, queue, jobId, attempt: 0, atMs, availableAtMs: null };
      });
      await tracker.record(events, null);
    }
  }
}

async function usedMemory({ redis }: TestTracker): Promise<number> {
  const used = /^used_memory:(\d+)/m.exec(await redis.info("memory"))?.[1];
  if (used === undefined) throw new Error("expected used_memory in INFO memory");
  return Number(used);
}
