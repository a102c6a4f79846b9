import type { QueueSnapshot } from "../core/snapshot.ts";
import { createRedisClock, type RedisClock } from "../redis/redis-clock.ts";
import { monotonicClock } from "../runtime/clock.ts";
import type { WatchControl } from "./watch.ts";

/** A queue with at least one subscriber. Instants are by `monotonicClock`. */
export interface WatchedQueue {
  readonly queue: string;
  readonly watches: Set<WatchControl>;
  snapshot: QueueSnapshot | undefined;
  /** When the snapshot came. */
  learnedAtMs: number;
  /** When the read of the snapshot began. */
  knownAsOfMs: number;
  /** The time of the Redis that has it: the nodes of a cluster need not agree. */
  readonly clock: RedisClock;
  /** When its last reading was, while it cannot be read; null: it can. */
  failsSinceMs: number | null;
  /** It is broken, or could not be read for longer than the grace. */
  isStale: boolean;
  readAtMs: number;
  /** The read that is under way; never rejects. */
  reading: Promise<void> | undefined;
  /** Under way after the process was stopped; never rejects. */
  recovering: Promise<void> | undefined;
  /** When it changed after it was read, or after that began; null: no change was received. */
  outdatedSinceMs: number | null;
  /** When it was last read because it had changed; before that, when it was first watched. */
  changedAtMs: number;
  /** What is counted of it could not be read for a push. */
  lacksCounts: boolean;
  timer: NodeJS.Timeout | undefined;
  timerAtMs: number;
}

export function createWatchedQueue(queue: string): WatchedQueue {
  return {
    queue,
    watches: new Set(),
    snapshot: undefined,
    learnedAtMs: Number.NEGATIVE_INFINITY,
    knownAsOfMs: Number.NEGATIVE_INFINITY,
    clock: createRedisClock(),
    failsSinceMs: null,
    isStale: false,
    readAtMs: Number.NEGATIVE_INFINITY,
    reading: undefined,
    recovering: undefined,
    outdatedSinceMs: null,
    changedAtMs: monotonicClock.now(),
    lacksCounts: false,
    timer: undefined,
    timerAtMs: 0,
  };
}

/** Of each field of a queue, whether another value of it is news: not that of what differs in each reading, or with each job. */
const isNewsIn: Readonly<Record<keyof QueueSnapshot, boolean>> = {
  ...{ queue: true, source: true, state: true, accuracy: true, stale: true, unreadable: true },
  ...{ oldestSinceMs: true, overtaken: true, inOrderSinceMs: true, inFlight: true, inFlightSinceMs: true },
  ...{ depth: true, depthIsLowerBound: true, scheduled: true, lost: true },
  ...{ latencyMs: false, measuredAtMs: false, changesAtMs: false, changedAtMs: false, clockSkewMs: false },
  // What is counted is not read with it.
  ...{ throughput: false, waitTime: false, uncountedAtMs: false, totals: false, health: false },
};
const newsFields = (Object.keys(isNewsIn) as (keyof QueueSnapshot)[]).filter((field) => isNewsIn[field]);

/** Whether a subscriber that has the one must be pushed the other. */
export function isNews(before: QueueSnapshot, after: QueueSnapshot): boolean {
  return newsFields.some((field) => before[field] !== after[field]);
}
