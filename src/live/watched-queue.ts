import type { QueueSnapshot } from "../core/snapshot.ts";
import { createRedisClock, type RedisClock } from "../redis/redis-clock.ts";
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
    timer: undefined,
    timerAtMs: 0,
  };
}

/** Whether a subscriber that has the one must be pushed the other. */
export function isNews(before: QueueSnapshot, after: QueueSnapshot): boolean {
  return (
    before.state !== after.state ||
    before.oldestSinceMs !== after.oldestSinceMs ||
    before.overtaken !== after.overtaken ||
    before.inOrderSinceMs !== after.inOrderSinceMs ||
    before.depth !== after.depth ||
    before.depthIsLowerBound !== after.depthIsLowerBound ||
    before.scheduled !== after.scheduled ||
    before.lost !== after.lost ||
    before.accuracy !== after.accuracy ||
    before.source !== after.source ||
    before.stale !== after.stale
  );
}
