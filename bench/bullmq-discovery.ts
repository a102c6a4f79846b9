/**
 * How long a new queue of BullMQ takes to be found in a Redis that keeps many finished jobs, and what looking for queues costs
 * that Redis. Run it with `node bench/bullmq-discovery.ts [KEYS]`; it starts its own redis-servers.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import { createBullmqSource } from "../src/sources/bullmq.ts";
import { bullmqVersions, openQueue } from "../test/support/bullmq.ts";
import { silentLogger } from "../test/support/logger.ts";
import { startRedis } from "../test/support/redis.ts";
import { allParts, openTracker } from "../test/support/tracker.ts";

const keyCount = Number(process.argv[2] ?? 1_000_000);
const rounds = 5;

await using watched = await startRedis();
await using own = await startRedis();
await using opened = await openTracker(own.url);
const redis = new Redis(watched.url);
const [{ bullmq }] = bullmqVersions as [(typeof bullmqVersions)[number]];

/** As BullMQ leaves them: a hash for each job that was completed and is kept. */
for (let from = 0; from < keyCount; from += 5_000) {
  const pipeline = redis.pipeline();
  for (let id = from; id < Math.min(keyCount, from + 5_000); id++) {
    const fields = {
      name: "job",
      data: `{"id":${id}}`,
      opts: '{"attempts":0}',
      delay: 0,
      priority: 0,
      atm: 1,
    };
    const times = { timestamp: 1.79e12, processedOn: 1.79e12, finishedOn: 1.79e12, returnvalue: "null" };
    pipeline.hset(`bull:old:${id}`, { ...fields, ...times });
  }
  await pipeline.exec();
}

const source = createBullmqSource({
  ...{ url: watched.url, reconcileMs: 10_000, sink: opened.tracker, logger: silentLogger },
});

/** Adds a queue, and waits until it is known. @returns how many seconds that took. */
async function find(name: string): Promise<number> {
  await using queue = await openQueue(bullmq, watched, { name });
  await queue.queue.add("job", {});
  const addedAt = performance.now();
  for (;;) {
    const [read] = await opened.tracker.read([`bullmq/${name}`], allParts);
    if (read?.depth === 1) return (performance.now() - addedAt) / 1_000;
    await delay(10);
  }
}

const startedAt = performance.now();
const first = find("first");
await source.start();
console.log(`${await redis.dbsize()} keys`);
console.log(`first look: a queue that was there is known after ${(await first).toFixed(2)} s`);

const took: number[] = [];
await redis.config("RESETSTAT");
const busyBefore = await processorSeconds();
const measuredFrom = performance.now();
for (let round = 0; round < rounds; round++) took.push(await find(`new-${round}`));
const seconds = (performance.now() - measuredFrom) / 1_000;
const [, calls, , usec] =
  /cmdstat_scan:calls=(\d+),usec=(\d+),usec_per_call=([\d.]+)/.exec(await redis.info("commandstats")) ?? [];
console.log(`a new queue is known after ${took.map((each) => each.toFixed(2)).join(", ")} s`);
console.log(`${calls} SCANs in ${seconds.toFixed(1)} s, ${(Number(usec) / 1_000).toFixed(2)} ms each`);
console.log(
  `Redis was busy for ${((((await processorSeconds()) - busyBefore) / seconds) * 100).toFixed(1)} % of a core, all in all`,
);
console.log(`in all ${((performance.now() - startedAt) / 1_000).toFixed(1)} s`);
await source.stop();
redis.disconnect();

async function processorSeconds(): Promise<number> {
  const info = await redis.info("cpu");
  const of = (name: string) => Number(new RegExp(`${name}:([\\d.]+)`).exec(info)?.[1]);
  return of("used_cpu_sys") + of("used_cpu_user");
}
