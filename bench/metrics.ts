/**
 * What a scrape of many queues takes: `node bench/metrics.ts [QUEUES]`, 10,000 if not said; it starts a redis-server and a server of
 * its own.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { QueueEvent } from "../src/core/events.ts";
import { startRedis } from "../test/support/redis.ts";
import { startServer } from "../test/support/server.ts";
import { openTracker } from "../test/support/tracker.ts";

const queues = Number(process.argv[2] ?? 10_000);
const rounds = 15;
const jobsPerQueue = 20;
const queuesPerBatch = 200;

await using redis = await startRedis();
await fill();
await using server = await startServer({
  REDIS_URL: redis.url,
  METRICS_MAX_QUEUES: String(queues),
  LOG_LEVEL: "error",
});

const took: number[] = [];
const held: number[] = [];
let text = "";
for (let round = 0; round < rounds; round++) {
  // Until the last one is not shared any more.
  await delay(1_100);
  const probe = probeLoop();
  const startMs = performance.now();
  text = await (await fetch(`${server.url}/metrics`)).text();
  took.push(performance.now() - startMs);
  held.push(await probe());
}
const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
const cpu = Number(/^process_cpu_seconds_total (.*)$/m.exec(text)?.[1]);
console.log(`${queues} queues: ${lines.length} series, ${(text.length / 1e6).toFixed(1)} MB`);
console.log(`a scrape: ${said(took)} ms`);
console.log(`the longest that another request waited meanwhile: ${said(held)} ms`);
console.log(`CPU of the server, all in all: ${((cpu * 1_000) / rounds).toFixed(0)} ms for each scrape`);

async function fill(): Promise<void> {
  await using opened = await openTracker(redis.url, { prefix: "ql" });
  for (let from = 0; from < queues; from += queuesPerBatch) {
    const events: QueueEvent[] = [];
    for (let i = from; i < Math.min(queues, from + queuesPerBatch); i++) {
      const queue = `team-${i % 50}/queue-${String(i).padStart(6, "0")}`;
      for (let job = 0; job < jobsPerQueue; job++) {
        const jobId = String(job);
        const atMs = Date.now() - job * i;
        events.push({ type: "ENQUEUED", queue, jobId, attempt: 0, atMs, availableAtMs: null });
        if (job % 2 === 0)
          events.push({ type: "DEQUEUED", queue, jobId, attempt: 0, atMs: null, availableAtMs: null });
      }
    }
    await opened.tracker.record(events, null);
  }
}

/** Asks the server something small over and over; the function that is returned ends that. @returns the longest wait, in ms. */
function probeLoop(): () => Promise<number> {
  let isOver = false;
  let longest = 0;
  const running = (async () => {
    while (!isOver) {
      const startMs = performance.now();
      await (await fetch(`${server.url}/health`)).arrayBuffer();
      longest = Math.max(longest, performance.now() - startMs);
      await delay(5);
    }
  })();
  return async () => {
    isOver = true;
    await running;
    return longest;
  };
}

function said(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (q: number) => (sorted[Math.floor(q * (sorted.length - 1))] ?? Number.NaN).toFixed(0);
  return `${at(0.5)} (${at(0)} to ${at(1)})`;
}
