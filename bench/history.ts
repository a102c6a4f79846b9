/**
 * How much of Redis a queue's history takes when all that is ever kept of it is there, for queues of different liveliness:
 * `node bench/history.ts`; it starts a redis-server of its own. Waits are drawn from an exponential distribution; every step of
 * ten seconds of the last six hours, every minute of the last 48 hours and every hour of the last 90 days is there.
 */
import { type HistoryStep, historySteps, stepSeconds } from "../src/core/history.ts";
import { historyBucket, type StepRecord } from "../src/history/step-record.ts";
import { createStepStore } from "../src/history/step-store.ts";
import { keptMs } from "../test/support/history.ts";
import { startRedis } from "../test/support/redis.ts";
import { openTracker } from "../test/support/tracker.ts";

const queuesOfAKind = 2;
const kinds = [
  { name: "nothing happens, ever", jobsPerSecond: 0, meanWaitMs: 0 },
  { name: "a job a minute", jobsPerSecond: 1 / 60, meanWaitMs: 2_000 },
  { name: "a job a second", jobsPerSecond: 1, meanWaitMs: 2_000 },
  { name: "100 jobs a second", jobsPerSecond: 100, meanWaitMs: 2_000 },
];

await using server = await startRedis();
await using opened = await openTracker(server.url);
const store = createStepStore({ redis: opened.redis, keys: opened.keys, keptMs });
const usedMemory = async () => Number(/^used_memory:(\d+)/m.exec(await opened.redis.info("memory"))?.[1]);

/** This number of waits is enough to know the buckets that are used: in an hour of a lively queue they are all used anyway. */
const drawnAtMost = 5_000;
function recordOf({ jobsPerSecond, meanWaitMs }: (typeof kinds)[number], seconds: number): StepRecord {
  const jobs = Math.floor(jobsPerSecond * seconds + Math.random());
  const buckets = new Map<number, number>();
  const share = Math.max(1, jobs / drawnAtMost);
  let maxMs = 0;
  for (let i = 0; i < jobs / share; i++) {
    const wait = Math.floor(-Math.log(1 - Math.random()) * meanWaitMs);
    maxMs = Math.max(maxMs, wait);
    const bucket = historyBucket(wait === 0 ? 0 : 1 + Math.ceil(Math.log(wait) / Math.log(1.04)));
    buckets.set(bucket, (buckets.get(bucket) ?? 0) + Math.round(share));
  }
  const isLively = jobs > 0;
  return {
    samples: seconds,
    waitingSamples: isLively ? seconds : 0,
    pausedSamples: 0,
    incompleteSamples: 0,
    maxLatencyMs: maxMs,
    sumLatencyMs: isLively ? seconds * meanWaitMs : 0,
    lastLatencyMs: isLively ? Math.floor(Math.random() * meanWaitMs) : 0,
    maxDepth: Math.ceil(jobsPerSecond * 3),
    lastDepth: Math.ceil(jobsPerSecond * 2),
    counts: { enqueued: jobs, dequeued: jobs, waits: jobs, sumMs: jobs * meanWaitMs, maxMs, buckets },
  };
}

async function fill(queue: string, step: HistoryStep, kind: (typeof kinds)[number]): Promise<void> {
  const ms = stepSeconds[step] * 1000;
  const now = Date.now() - (Date.now() % ms);
  for (let from = now - keptMs[step]; from < now; from += 100 * ms) {
    const steps = Array.from({ length: 100 }, (_, i) => from + i * ms).filter((atMs) => atMs < now);
    await Promise.all(
      steps.map((atMs) => store.append(queue, step, { atMs, record: recordOf(kind, stepSeconds[step]) })),
    );
  }
}

for (const kind of kinds) {
  const parts: string[] = [];
  let total = 0;
  for (const step of historySteps) {
    const before = await usedMemory();
    for (let i = 0; i < queuesOfAKind; i++) await fill(`${kind.name}-${i}`, step, kind);
    const kb = ((await usedMemory()) - before) / queuesOfAKind / 1000;
    total += kb;
    parts.push(`${step} ${kb.toFixed(0)}`);
  }
  console.log(`${kind.name}: ${total.toFixed(0)} kB a queue (${parts.join(", ")})`);
}
