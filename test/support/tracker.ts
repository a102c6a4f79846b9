import type { Redis } from "ioredis";
import type { SnapshotParts } from "../../src/core/snapshot.ts";
import { createRedis } from "../../src/redis/connect.ts";
import { createKeys, type Keys } from "../../src/redis/keys.ts";
import { createRedisClock } from "../../src/redis/redis-clock.ts";
import { createTracker, type Tracker } from "../../src/tracker/tracker.ts";
import { silentLogger } from "./logger.ts";
import { uniquePrefix } from "./redis.ts";

/** Everything that a snapshot can hold. */
export const allParts: SnapshotParts = {
  depth: true,
  scheduled: true,
  throughput: new Set(["ONE_MINUTE", "FIVE_MINUTES", "FIFTEEN_MINUTES"]),
  waitTime: new Set(["ONE_MINUTE", "FIVE_MINUTES", "FIFTEEN_MINUTES"]),
};

export interface TestTracker extends AsyncDisposable {
  readonly tracker: Tracker;
  readonly redis: Redis;
  readonly keys: Keys;
}

/** A tracker on a real Redis, with keys of its own; `now` puts a clock in place of Redis's. */
export async function openTracker(
  redisUrl: string,
  options: {
    readonly now?: () => number;
    readonly eventWindowMs?: number;
    readonly maxWaitMs?: number;
    readonly prefix?: string;
  } = {},
): Promise<TestTracker> {
  const redis = createRedis({ url: redisUrl, name: "test", logger: silentLogger });
  await redis.connect();
  const keys = createKeys(options.prefix ?? uniquePrefix());
  const { now } = options;
  const tracker = createTracker({
    redis,
    keys,
    clock: createRedisClock(),
    logger: silentLogger,
    eventWindowMs: options.eventWindowMs ?? 5 * 60_000,
    maxWaitMs: options.maxWaitMs ?? 7 * 86_400_000,
    ...(now === undefined ? {} : { now }),
  });
  return {
    tracker,
    redis,
    keys,
    async [Symbol.asyncDispose]() {
      await tracker.stop();
      redis.disconnect();
    },
  };
}
