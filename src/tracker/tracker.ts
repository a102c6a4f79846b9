import type { FollowSink } from "../core/following.ts";
import type { Logger } from "../core/logger.ts";
import type { Service } from "../core/service.ts";
import type { RedisClient } from "../redis/connect.ts";
import type { Keys } from "../redis/keys.ts";
import { createDoubts, type Doubts } from "./doubts.ts";
import { createFollower } from "./follower.ts";
import { createForget } from "./forget.ts";
import { createObserver } from "./observer.ts";
import { createQueueIndex, type QueueIndex } from "./queue-index.ts";
import { createRecorder, type Recorder } from "./recorder.ts";
import { createSnapshotReader, type SnapshotReader } from "./snapshot-reader.ts";
import { createSweeper } from "./sweeper.ts";
import { createWaitingList, type WaitingList } from "./waiting-list.ts";
import { createWriter } from "./writer.ts";

export interface TrackerOptions {
  readonly redis: RedisClient;
  readonly keys: Keys;
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
    Pick<Recorder, "record" | "remove">,
    Pick<Doubts, "trust">,
    Pick<QueueIndex, "list" | "count">,
    SnapshotReader {
  forget(queue: string): Promise<boolean>;
  readonly waiting: WaitingList;
}

export function createTracker(options: TrackerOptions): Tracker {
  const { redis, keys, logger } = options;
  const index = createQueueIndex(redis, keys);
  const writer = createWriter(options);
  const doubts = createDoubts({ ...options, index, writer });
  const recorder = createRecorder({ ...options, writer, onDoubted: doubts.raised });
  const reader = createSnapshotReader({ ...options, writer, doubts });
  const forget = createForget({ ...options, index, writer });
  const observer = createObserver({ redis, keys, index, forget, now: options.now });
  const follower = createFollower({ redis, keys, index, forget, now: options.now });
  const sweeper = createSweeper({ redis, keys, index, recorder, logger });
  return {
    async start() {
      await doubts.start();
      await sweeper.start();
    },
    async stop() {
      await sweeper.stop();
      await doubts.stop();
    },
    record: recorder.record,
    remove: recorder.remove,
    observe: observer.observe,
    ...follower,
    forget: (queue) => forget(queue),
    trust: doubts.trust,
    list: index.list,
    count: index.count,
    read: reader.read,
    waiting: createWaitingList(options),
  };
}
