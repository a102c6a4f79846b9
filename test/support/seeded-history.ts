import { type HistoryStep, historySteps, stepSeconds } from "../../src/core/history.ts";
import type { StepRecord } from "../../src/history/step-record.ts";
import { createStepStore } from "../../src/history/step-store.ts";
import { createClient } from "../../src/redis/connect.ts";
import { createKeys } from "../../src/redis/keys.ts";
import { keptMs } from "./history.ts";
import { silentLogger } from "./logger.ts";

export interface SeededStep {
  readonly latencyMs: number;
  readonly depth: number;
  readonly enqueuedPerSecond: number;
  readonly dequeuedPerSecond: number;
}

/**
 * Writes the history of a queue as if a server had run for 90 days, up to a minute ago: what it is at each instant, or null for a gap.
 */
export async function seedHistory(
  { redisUrl, prefix, queue }: { readonly redisUrl: string; readonly prefix: string; readonly queue: string },
  at: (agoMs: number) => SeededStep | null,
): Promise<void> {
  const redis = createClient({ urls: [redisUrl], name: "test", logger: silentLogger });
  await redis.connect();
  const store = createStepStore({ redis, keys: createKeys(prefix), keptMs });
  const nowMs = Date.now();
  for (const step of historySteps) {
    const stepMs = stepSeconds[step] * 1_000;
    const writes: Promise<void>[] = [];
    const endMs = Math.floor((nowMs - 60_000) / stepMs) * stepMs;
    for (let atMs = endMs - Math.min(keptMs[step], 2_160 * stepMs); atMs < endMs; atMs += stepMs) {
      const seen = at(nowMs - atMs);
      if (seen !== null) writes.push(store.append(queue, step, { atMs, record: recordOf(seen, step) }));
    }
    await Promise.all(writes);
  }
  redis.disconnect();
}

function recordOf(seen: SeededStep, step: HistoryStep): StepRecord {
  const samples = stepSeconds[step];
  const { latencyMs, depth } = seen;
  const dequeued = Math.round(seen.dequeuedPerSecond * samples);
  return {
    ...{ samples, waitingSamples: depth > 0 ? samples : 0, pausedSamples: 0, incompleteSamples: 0 },
    ...{ maxLatencyMs: latencyMs, sumLatencyMs: latencyMs * samples, lastLatencyMs: latencyMs },
    ...{ maxDepth: depth, lastDepth: depth },
    counts: {
      ...{ enqueued: Math.round(seen.enqueuedPerSecond * samples), dequeued },
      ...{ waits: dequeued, sumMs: (dequeued * latencyMs) / 2, maxMs: latencyMs },
      buckets: wait(dequeued, latencyMs),
    },
  };
}

/** Most waits are short, a few as long as the latency. */
function wait(count: number, latencyMs: number): ReadonlyMap<number, number> {
  const bucketOf = (ms: number) => Math.max(1, Math.ceil(Math.log(Math.max(ms, 1)) / Math.log(1.04) / 3));
  const buckets = new Map<number, number>();
  for (const [part, share] of [
    [0.2, 0.6],
    [0.6, 0.37],
    [1, 0.03],
  ] as const) {
    const bucket = bucketOf(latencyMs * part);
    buckets.set(bucket, (buckets.get(bucket) ?? 0) + Math.round(count * share));
  }
  return buckets;
}
