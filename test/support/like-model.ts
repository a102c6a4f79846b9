import { Redis } from "ioredis";
import { expect } from "vitest";
import type { QueueEvent } from "../../src/core/events.ts";
import { createKeys } from "../../src/redis/keys.ts";
import { ask } from "./server.ts";
import { exactWaitTime, type TrackerModel } from "./tracker-model.ts";

/** Events as `recordEvents` takes them. */
export function asInput(events: readonly QueueEvent[]): readonly object[] {
  const instant = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString());
  return events.map(({ atMs, availableAtMs, ...event }) => {
    return { ...event, at: instant(atMs), availableAt: instant(availableAtMs) };
  });
}

/** What a server answers of each queue, and what its Redis has counted, is what the model says of the same instant. */
export async function expectLikeModel(
  { url, redisUrl, prefix }: { readonly url: string; readonly redisUrl: string; readonly prefix: string },
  model: TrackerModel,
  queues: readonly string[],
): Promise<void> {
  const { body } = await ask(
    url,
    `query ($queues: [String!]!) { queueLatency(queues: $queues) {
      queue state latency oldestSince depth scheduled accuracy stale measuredAt
      throughput(window: FIFTEEN_MINUTES) { enqueuedPerSecond dequeuedPerSecond }
      waitTime(window: FIFTEEN_MINUTES) { count mean max }
    } }`,
    { queues },
  );
  expect(body.errors).toBeUndefined();
  const redis = new Redis(redisUrl);
  try {
    for (const { measuredAt, throughput, waitTime, ...row } of body.data.queueLatency) {
      const expected = model.snapshot(row.queue, Date.parse(measuredAt));
      const since = expected.oldestSinceMs;
      expect(row).toEqual({
        queue: expected.queue,
        state: expected.state,
        latency: expected.latencyMs === null ? null : expected.latencyMs / 1000,
        oldestSince: since === null ? null : new Date(since).toISOString(),
        depth: expected.depth,
        scheduled: expected.scheduled,
        accuracy: expected.accuracy,
        stale: false,
      });
      const { source: _, ...counted } = await redis.hgetall(createKeys(prefix).state(row.queue));
      const totals = model.totals(row.queue);
      const named = Object.keys(totals).map((name) => [name, Number(counted[name] ?? 0)]);
      expect({ queue: row.queue, ...Object.fromEntries(named) }).toEqual({ queue: row.queue, ...totals });
      if (expected.throughput === null || expected.waitsMs === null) continue;
      const { enqueuedPerSecond, dequeuedPerSecond } = expected.throughput.FIFTEEN_MINUTES!;
      // The API gives rates to four significant digits, and times to the millisecond.
      expectRate(throughput.enqueuedPerSecond, enqueuedPerSecond);
      expectRate(throughput.dequeuedPerSecond, dequeuedPerSecond);
      const { count, mean, max } = exactWaitTime(expected.waitsMs.FIFTEEN_MINUTES);
      expect(waitTime).toEqual({ count, mean: roundedTo(mean), max: roundedTo(max) });
    }
  } finally {
    redis.disconnect();
  }
}

/** To the millisecond; half of one away where it lies between two, and a little more for the sum's own rounding. */
function roundedTo(seconds: number): unknown {
  return expect.toSatisfy((rounded: number) => Math.abs(rounded - seconds) < 0.000_501, `about ${seconds}`);
}

function expectRate(perSecond: number, exactPerSecond: number): void {
  expect(Math.abs(perSecond - exactPerSecond)).toBeLessThanOrEqual(exactPerSecond * 5.001e-4);
}
