/**
 * What the first reading of a large backlog costs a watched BullMQ: how long reading it takes, and whether its Redis ever blocks.
 * Run it with `node bench/bullmq-backlog.ts [JOBS]`; it starts its own redis-servers.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import { createBullmqSource } from "../src/sources/bullmq.ts";
import { bullmqVersions, openQueue } from "../test/support/bullmq.ts";
import { silentLogger } from "../test/support/logger.ts";
import { startRedis } from "../test/support/redis.ts";
import { allParts, openTracker } from "../test/support/tracker.ts";

const jobCount = Number(process.argv[2] ?? 200_000);
const slowMs = 10;

await using watched = await startRedis();
await using own = await startRedis();
await using opened = await openTracker(own.url);
const redis = new Redis(watched.url);
for (const { version, bullmq } of bullmqVersions) {
  await redis.flushall();
  await using queue = await openQueue(bullmq, watched, { name: "backlog" });
  for (let n = 0; n < jobCount; n += 1_000) {
    await queue.queue.addBulk(Array.from({ length: 1_000 }, (_, i) => ({ name: "job", data: { n: n + i } })));
  }
  await redis.config("SET", "slowlog-log-slower-than", slowMs * 1_000, "latency-monitor-threshold", slowMs);
  await redis.call("SLOWLOG", "RESET");
  await redis.call("LATENCY", "RESET");
  await redis.config("RESETSTAT");

  const name = `bullmq${version}`;
  const source = createBullmqSource({
    url: watched.url,
    source: name,
    reconcileMs: 10_000,
    sink: opened.tracker,
    logger: silentLogger,
  });
  const startedAt = performance.now();
  await source.start();
  let depth = 0;
  let accuracy = "UNKNOWN";
  while (depth !== jobCount || accuracy === "LOWER_BOUND" || accuracy === "UNKNOWN") {
    await delay(50);
    const [read] = await opened.tracker.read([`${name}/backlog`], allParts);
    depth = read?.depth ?? 0;
    accuracy = read?.accuracy ?? "UNKNOWN";
  }
  const tookSeconds = (performance.now() - startedAt) / 1_000;
  await source.stop();
  const stats = await redis.info("commandstats");
  const [, calls, usecPerCall] =
    /cmdstat_evalsha(?:_ro)?:calls=(\d+),.*?usec_per_call=([\d.]+)/.exec(stats) ?? [];
  const slow = (await redis.call("SLOWLOG", "GET", "100")) as readonly (readonly unknown[])[];
  console.log(
    `BullMQ ${version}: ${jobCount} waiting jobs right after ${tookSeconds.toFixed(1)} s, ${accuracy}`,
  );
  console.log(`  ${calls} script calls, ${(Number(usecPerCall) / 1_000).toFixed(2)} ms each on average`);
  console.log(
    `  slower than ${slowMs} ms: ${slow.length} commands, LATENCY: ${JSON.stringify(await redis.call("LATENCY", "LATEST"))}`,
  );
}
redis.disconnect();
