import type { FollowSink } from "../core/log-following.ts";
import { createClockWatch } from "../redis/clock-watch.ts";
import type { RedisClient } from "../redis/connect.ts";
import type { Keys } from "../redis/keys.ts";
import type { MonotonicClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Service } from "../runtime/service.ts";
import { createWriter } from "./acknowledged-writes.ts";
import { createDataLoss, type DataLoss } from "./data-loss.ts";
import { createExpirySweeper } from "./expiry-sweeper.ts";
import { createFollower } from "./follower.ts";
import { createForget, type Forget } from "./forget.ts";
import { createObserver } from "./observer.ts";
import { createQueueChooser, type QueueChooser } from "./queue-choice.ts";
import { createQueueIndex, type QueueIndex } from "./queue-index.ts";
import { createRecordedQueues } from "./recorded-queues.ts";
import { createRecorder, type Recorder } from "./recorder.ts";
import { createSnapshotReader, type SnapshotReader } from "./snapshot-reader.ts";
import { createWaitingList, type WaitingList } from "./waiting-list.ts";

export interface TrackerOptions {
  readonly redis: RedisClient;
  readonly keys: Keys;
  readonly logger: Logger;
  readonly eventWindowMs: number;
  readonly maxWaitMs: number;
  /** How many recorded queues there may be. @default 100_000 */
  readonly maxKnownQueues?: number;
  /** A recorded queue with no jobs and no event for so long is forgotten; at least `eventWindowMs`. @default 604_800_000 // 7 days */
  readonly queueTtlMs?: number;
  /** Names of the sources that are read, as they are now. @default none */
  readonly sources?: () => readonly string[];
  /** What else is kept of a queue that was forgotten, by a request or since it was idle, is to be removed. */
  readonly onForgotten?: (queue: string) => Promise<void>;
  /** How often queues are swept. @default 60_000 // a minute */
  readonly sweepEveryMs?: number;
  /** Tests only: the time instead of Redis's, in ms. */
  readonly now?: () => number;
  /** Called when the clock of a Redis was set: what was read before may be another accuracy now. */
  readonly onClockSet?: () => void;
  /** Tests only: this process's clock, by which it is noticed that Redis's was set. @default monotonicClock, or none beside `now` */
  readonly clock?: MonotonicClock;
}

/** The heart: folds what happened and what was observed into Redis, and reads how each queue stands. */
export interface Tracker
  extends Service,
    FollowSink,
    Pick<Recorder, "record" | "remove">,
    Pick<DataLoss, "reportAll">,
    Pick<QueueIndex, "list" | "count" | "unlist">,
    QueueChooser,
    SnapshotReader {
  /** Removes all that is known of a queue. @returns false when nothing was. */
  forget(queue: string): Promise<boolean>;
  /** Ends the INCOMPLETE accuracy of a queue. @returns false when it had none. */
  trust(queue: string): Promise<boolean>;
  readonly waiting: WaitingList;
}

export function createTracker(options: TrackerOptions): Tracker {
  const {
    redis,
    keys,
    logger,
    eventWindowMs,
    queueTtlMs = 7 * 86_400_000,
    onForgotten = async () => {},
  } = options;
  const index = createQueueIndex(options);
  const recorded = createRecordedQueues(options);
  const writer = createWriter(options);
  const dataLoss = createDataLoss({ ...options, index, recorded, writer });
  const clocks = createClockWatch({ ...options, onSet: options.onClockSet });
  const recorder = createRecorder({
    ...options,
    index,
    recorded,
    writer,
    clocks,
    onDataLoss: dataLoss.reported,
    onRecordedAnew: dataLoss.reportAnew,
  });
  const reader = createSnapshotReader({ ...options, writer, dataLoss, clocks });
  const forget = createForget({ ...options, index, recorded, writer });
  const observer = createObserver({ redis, keys, index, forget, now: options.now });
  const follower = createFollower({ redis, keys, index, forget, now: options.now });
  const forgetAll: Forget = async (queue, condition) => {
    const isForgotten = await forget(queue, condition);
    if (isForgotten || condition === undefined) await onForgotten(queue);
    return isForgotten;
  };
  const sweeper = createExpirySweeper({
    ...{ redis, keys, index, recorded, recorder, dataLoss, logger, forget: forgetAll },
    queueTtlMs: Math.max(queueTtlMs, eventWindowMs),
    ...(options.sweepEveryMs === undefined ? {} : { everyMs: options.sweepEveryMs }),
  });
  return {
    async start() {
      await clocks.start();
      await dataLoss.start();
      await sweeper.start();
    },
    async stop() {
      await sweeper.stop();
      await dataLoss.stop();
      await clocks.stop();
    },
    record: recorder.record,
    remove: recorder.remove,
    observe: observer.observe,
    notes: observer.notes,
    ...follower,
    forget: (queue) => forgetAll(queue),
    trust: dataLoss.clear,
    reportAll: dataLoss.reportAll,
    list: index.list,
    count: index.count,
    unlist: index.unlist,
    ...createQueueChooser({ ...options, index }),
    ...reader,
    waiting: createWaitingList({ ...options, clocks }),
  };
}
