import type { Redis } from "ioredis";
import type { FollowSink } from "../core/following.ts";
import type { Logger } from "../core/logger.ts";
import type { Service } from "../core/service.ts";
import type { Keys } from "../redis/keys.ts";
import type { RedisClock } from "../redis/redis-clock.ts";
import { createFollower } from "./follower.ts";
import { createObserver, type Observer } from "./observer.ts";
import { createQueueIndex, type QueueIndex } from "./queue-index.ts";
import { createRecorder, type Recorder } from "./recorder.ts";
import { createSnapshotReader, type SnapshotReader } from "./snapshot-reader.ts";
import { createSweeper } from "./sweeper.ts";

export interface TrackerOptions {
  readonly redis: Redis;
  readonly keys: Keys;
  readonly clock: RedisClock;
  readonly logger: Logger;
  readonly eventWindowMs: number;
  readonly maxWaitMs: number;
  /** Tests only: the time instead of Redis's, in ms. */
  readonly now?: () => number;
}

/** The heart: folds what happened and what was observed into Redis, and reads how each queue stands. */
export interface Tracker
  extends Service,
    FollowSink,
    Pick<Recorder, "record">,
    Pick<Observer, "forget">,
    Pick<QueueIndex, "list">,
    SnapshotReader {}

export function createTracker(options: TrackerOptions): Tracker {
  const { redis, keys, logger } = options;
  const index = createQueueIndex(redis, keys);
  const recorder = createRecorder(options);
  const reader = createSnapshotReader(options);
  const observer = createObserver({ redis, keys, index, now: options.now });
  const follower = createFollower({ redis, keys, index, now: options.now });
  const sweeper = createSweeper({ redis, keys, index, recorder, logger });
  return {
    start: sweeper.start,
    stop: sweeper.stop,
    record: recorder.record,
    observe: observer.observe,
    ...follower,
    forget: observer.forget,
    list: index.list,
    read: reader.read,
  };
}
