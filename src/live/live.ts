import type { QueueSnapshot, SnapshotParts } from "../core/snapshot.ts";
import { wallClock as machineClock, monotonicClock, type WallClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Service } from "../runtime/service.ts";
import type { ChangeFeed } from "./change-feed.ts";
import { createSuspensions } from "./suspensions.ts";
import { createWatch, type Watch, type WatchControl } from "./watch.ts";
import { createWatchedQueue, type WatchedQueue } from "./watched-queue.ts";
import { createWatchedQueueReader, type FeedState } from "./watched-queue-reader.ts";

export interface WatchRequest {
  readonly minIntervalMs: number;
  readonly refreshMs: number;
  /** How far back the counts reach that each push has, in ms; 0: pushes have none. @default 0 */
  readonly countedMs?: number;
}

export interface Live extends Service {
  /**
   * The state of the queues at once, then whatever changes. While Redis is away, or the node of a Redis Cluster that has a
   * queue, the last reading is pushed as stale; when it is back, a fresh state.
   *
   * @throws AppError SERVICE_UNAVAILABLE when the first state cannot be read.
   */
  watch(queues: readonly string[], request: WatchRequest): Promise<Watch>;
  /** Reads all watched queues again: they may be other than they were, though no change is published. */
  rereadAll(): void;
  /** What is counted of a queue could not be read for a push: it is pushed again when it can be. */
  retryCounts(queue: string): void;
}

export interface LiveOptions {
  readonly feed: ChangeFeed;
  readonly read: (queues: readonly string[], parts: SnapshotParts) => Promise<QueueSnapshot[]>;
  readonly logger: Logger;
  /** For how long Redis may be away before what is known counts as stale. @default 1_000 // 1 second */
  readonly graceMs?: number;
  /**
   * After how long a queue is read again though no change of it was received, for a feed that can lose one unnoticed.
   *
   * @default null // never
   */
  readonly rereadMs?: number | null;
  /** Notices that the machine was suspended. */
  readonly wallClock?: WallClock;
}

/** Instants without another word are by {@link monotonicClock}. */
export function createLive(options: LiveOptions): Live {
  const { feed, graceMs = 1_000, rereadMs = null, wallClock = machineClock } = options;
  const watched = new Map<string, WatchedQueue>();
  const watches = new Set<WatchControl>();
  const state: { -readonly [Key in keyof FeedState]: FeedState[Key] } = {
    disconnectedSinceMs: null,
    isStale: false,
  };
  /** How often the feed has connected: what was read before it last did may be out of date. */
  let connections = 0;
  let graceTimer: NodeJS.Timeout | undefined;
  let isStopped = false;
  // All that is known is read again before it is pushed.
  const suspensions = createSuspensions({ graceMs, wallClock, onResume: outdateAll });
  const reader = createWatchedQueueReader({
    ...{ read: options.read, feed: state, suspensions, logger: options.logger, graceMs, rereadMs },
  });

  function outdateAll(sinceMs: number): void {
    for (const entry of watched.values()) reader.outdate(entry, sinceMs);
  }

  /** In one push each; what is stale by itself has been pushed before, and still is. */
  function pushAll(): void {
    for (const watch of watches) {
      watch.changed(...watch.queues.filter((queue) => watched.get(queue)?.isStale === false));
    }
  }

  function disconnected(): void {
    state.disconnectedSinceMs ??= monotonicClock.now();
    graceTimer ??= setTimeout(() => {
      state.isStale = true;
      pushAll();
    }, graceMs);
  }

  /** Once changes are received again, everything is read: some may have been missed. */
  async function catchUpWithEverything(): Promise<void> {
    const connection = connections;
    await Promise.all(
      [...watched.values()].map(async (entry) => {
        // It may have begun before.
        while (entry.reading !== undefined) await entry.reading;
        await reader.readNow(entry);
      }),
    );
    if (!feed.isConnected || connection !== connections) return;
    clearTimeout(graceTimer);
    graceTimer = undefined;
    state.disconnectedSinceMs = null;
    if (state.isStale) {
      state.isStale = false;
      pushAll();
    }
  }

  function enter(queue: string, control: WatchControl): WatchedQueue {
    let entry = watched.get(queue);
    if (entry === undefined) {
      if (watched.size === 0) suspensions.start();
      entry = createWatchedQueue(queue);
      watched.set(queue, entry);
    }
    entry.watches.add(control);
    // A read that is due when the slowest of the others may be pushed to may be too late for this one.
    if (entry.outdatedSinceMs !== null && entry.reading === undefined) reader.readWhenNeeded(entry);
    return entry;
  }

  function leave(queue: string, control: WatchControl): void {
    const entry = watched.get(queue);
    if (entry === undefined || !entry.watches.delete(control)) return;
    if (entry.watches.size > 0) return;
    clearTimeout(entry.timer);
    watched.delete(queue);
    if (watched.size === 0) suspensions.stop();
  }

  feed.listen({
    onChange(queue) {
      const entry = watched.get(queue);
      if (entry !== undefined && entry.outdatedSinceMs === null) reader.outdate(entry, monotonicClock.now());
    },
    onConnected() {
      connections += 1;
      disconnected();
      void catchUpWithEverything();
    },
    onDisconnected: disconnected,
  });

  return {
    start: feed.start,
    rereadAll: () => outdateAll(monotonicClock.now()),
    retryCounts(queue) {
      const entry = watched.get(queue);
      if (entry !== undefined) reader.retryCounts(entry);
    },
    async stop() {
      isStopped = true;
      clearTimeout(graceTimer);
      for (const watch of [...watches]) watch.end();
      await feed.stop();
    },
    async watch(queues, request) {
      let entries: readonly WatchedQueue[] = [];
      const readAll = () => reader.readAll(entries);
      const control = createWatch({
        queues,
        ...request,
        catchUp: () => reader.catchUp(entries),
        readAll,
        latest: (queue) => reader.latest(watched.get(queue)),
        onEnd() {
          watches.delete(control);
          for (const queue of queues) leave(queue, control);
        },
      });
      watches.add(control);
      // Register, then read: a change in between is received, and at worst read twice.
      entries = queues.map((queue) => enter(queue, control));
      try {
        await readAll();
      } catch (error) {
        control.end();
        throw error;
      }
      if (isStopped) control.end();
      return control.watch;
    },
  };
}
