import type { SnapshotParts } from "../../src/core/snapshot.ts";
import { createClockSteps } from "../../src/redis/clock-steps.ts";
import { createClient, type RedisClient } from "../../src/redis/connect.ts";
import { createKeys, type Keys } from "../../src/redis/keys.ts";
import type { MonotonicClock } from "../../src/runtime/clock.ts";
import type { Logger } from "../../src/runtime/logger.ts";
import { createWriter } from "../../src/tracker/acknowledged-writes.ts";
import { createQueueIndex } from "../../src/tracker/queue-index.ts";
import { createRecordedQueues } from "../../src/tracker/recorded-queues.ts";
import { createRecorder, type Recorder } from "../../src/tracker/recorder.ts";
import { createTracker, type Tracker } from "../../src/tracker/tracker.ts";
import { silentLogger } from "./logger.ts";
import { uniquePrefix } from "./redis.ts";

/** Everything that a snapshot can hold. */
export const allParts: SnapshotParts = {
  depth: true,
  scheduled: true,
  lost: true,
  throughput: new Set(["ONE_MINUTE", "FIVE_MINUTES", "FIFTEEN_MINUTES"]),
  waitTime: new Set(["ONE_MINUTE", "FIVE_MINUTES", "FIFTEEN_MINUTES"]),
};

export interface TestTracker extends AsyncDisposable {
  readonly tracker: Tracker;
  readonly redis: RedisClient;
  readonly keys: Keys;
  readonly prefix: string;
}

/** Puts everything under a prefix back to how it was when this was called: as Redis is after it has lost what came later. */
export async function savePoint({
  redis,
  prefix,
}: Pick<TestTracker, "redis" | "prefix">): Promise<() => Promise<void>> {
  const saved = await Promise.all(
    (await redis.keys(`${prefix}:*`)).map(async (key) => [key, await redis.dumpBuffer(key)] as const),
  );
  return async () => {
    const keys = await redis.keys(`${prefix}:*`);
    const transaction = redis.multi();
    if (keys.length > 0) transaction.del(...keys);
    for (const [key, dump] of saved) if (dump !== null) transaction.restore(key, 0, dump);
    await transaction.exec();
  };
}

/** A recorder of its own beside a tracker: for what only the sweeper asks of it. */
export function openRecorder(
  { redis, keys }: Pick<TestTracker, "redis" | "keys">,
  options: { readonly eventWindowMs: number; readonly maxWaitMs: number; readonly now: () => number },
): Recorder {
  const index = createQueueIndex({ redis, keys, logger: silentLogger });
  const steps = createClockSteps();
  return createRecorder({
    redis,
    keys,
    index,
    recorded: createRecordedQueues({ redis, keys, logger: silentLogger }),
    ...options,
    writer: createWriter(options),
    clocks: { stepsOf: () => steps },
    onDataLoss: () => {},
    onRecordedAnew: async () => {},
  });
}

/** A tracker on a real Redis, with keys of its own; `now` puts a clock in place of Redis's. */
export async function openTracker(
  redisUrl: string,
  options: {
    readonly now?: () => number;
    /** Beside `now`: this process's clock, by which it is noticed that Redis's was set. */
    readonly clock?: MonotonicClock;
    readonly eventWindowMs?: number;
    readonly maxWaitMs?: number;
    readonly maxKnownQueues?: number;
    readonly queueTtlMs?: number;
    readonly sweepEveryMs?: number;
    readonly onForgotten?: (queue: string) => Promise<void>;
    readonly sources?: () => readonly string[];
    readonly prefix?: string;
    readonly logger?: Logger;
  } = {},
): Promise<TestTracker> {
  const redis = createClient({ urls: redisUrl.split(","), name: "test", logger: silentLogger });
  await redis.connect();
  const prefix = options.prefix ?? uniquePrefix();
  const keys = createKeys(prefix);
  const { prefix: _, ...rest } = options;
  const tracker = createTracker({
    redis,
    keys,
    logger: silentLogger,
    eventWindowMs: 5 * 60_000,
    maxWaitMs: 7 * 86_400_000,
    ...rest,
  });
  return {
    tracker,
    redis,
    keys,
    prefix,
    async [Symbol.asyncDispose]() {
      await tracker.stop();
      redis.disconnect();
    },
  };
}
