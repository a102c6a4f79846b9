/**
 * What a Redis Cluster costs more than one Redis: microseconds of this process for each queue of a batch, or of a read. Both run
 * on this machine, so that a round trip takes next to nothing. Run it with `node bench/cluster.ts`; it starts both itself.
 */
import type { SnapshotParts } from "../src/core/snapshot.ts";
import { startCluster } from "../test/support/cluster.ts";
import { startRedis } from "../test/support/redis.ts";
import { openTracker } from "../test/support/tracker.ts";

const rounds = 300;
const queues = Array.from({ length: 100 }, (_, i) => `queue-${i}`);
/** As a watched queue is read. */
const parts: SnapshotParts = {
  ...{ depth: true, scheduled: true, lost: true },
  ...{ throughput: new Set(), waitTime: new Set() },
};

await using one = await startRedis();
await using cluster = await startCluster();
for (const [what, url] of [
  ["one Redis", one.url],
  ["a cluster", cluster.url],
] as const) {
  await using opened = await openTracker(url);
  const record = async (count: number, jobId: string) => {
    const events = queues.slice(0, count).map((queue) => ({
      ...{ type: "ENQUEUED" as const, queue, jobId, attempt: 0, atMs: null, availableAtMs: null },
    }));
    await opened.tracker.record(events, null);
  };
  const read = (count: number) => opened.tracker.read(queues.slice(0, count), parts);
  for (let i = 0; i < 50; i++) await Promise.all([record(100, `warm-up-${i}`), read(100)]);
  for (const count of [1, 100]) {
    await measure(`${what}: read ${count}`, count, () => read(count));
    await measure(`${what}: record ${count}`, count, (round) => record(count, `job-${round}`));
  }
}

async function measure(
  what: string,
  count: number,
  work: (round: number) => Promise<unknown>,
): Promise<void> {
  const cpu = process.cpuUsage();
  const startedAtMs = performance.now();
  for (let round = 0; round < rounds; round++) await work(round);
  const wallUs = (performance.now() - startedAtMs) * 1_000;
  const { user, system } = process.cpuUsage(cpu);
  const each = (us: number) => `${(us / rounds / count).toFixed(0)} µs`;
  console.log(`${what}: ${each(user + system)} of CPU, ${each(wallUs)} in all, for each queue`);
}
