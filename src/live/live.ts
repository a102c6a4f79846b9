import { isUnavailable, messageOf } from "../core/errors.ts";
import { ageSnapshot, type QueueSnapshot, type SnapshotParts } from "../core/snapshot.ts";
import { wallClock as machineClock, monotonicClock, type WallClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Service } from "../runtime/service.ts";
import type { ChangeFeed } from "./change-feed.ts";
import { createWatch, type Watch, type WatchControl } from "./watch.ts";
import { createWatchedQueue, isNews, type WatchedQueue } from "./watched-queue.ts";

export interface WatchRequest {
  readonly minIntervalMs: number;
  readonly refreshMs: number;
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

const parts: SnapshotParts = {
  depth: true,
  scheduled: true,
  lost: true,
  throughput: new Set(),
  waitTime: new Set(),
};
const retryMs = 500;
const unreadable = "a watched queue cannot be read";
/** Whatever the reason, a queue is not read more often than this. */
const leastBetweenReadsMs = 50;
/** Node's timers take at most 2^31 - 1 ms; one read of a queue more in a day does no harm. */
const longestTimerMs = 86_400_000;

/** Instants without another word are by {@link monotonicClock}. */
export function createLive(options: LiveOptions): Live {
  const { feed, read, logger, graceMs = 1_000, rereadMs = null, wallClock = machineClock } = options;
  const watched = new Map<string, WatchedQueue>();
  const watches = new Set<WatchControl>();
  /** Since when changes may have been missed; null while all are received. */
  let disconnectedSinceMs: number | null = null;
  /** That is longer than the grace, and the subscribers have been pushed it. */
  let isFeedStale = false;
  /** How often the feed has connected: what was read before it last did may be out of date. */
  let connections = 0;
  let graceTimer: NodeJS.Timeout | undefined;
  let isStopped = false;
  let beatTimer: NodeJS.Timeout | undefined;
  /** When this process was last seen to run, by both clocks. */
  let ranAtMs = monotonicClock.now();
  let ranAtEpochMs = wallClock.epochMs();
  /** When the last gap ended. */
  let resumedAtMs = Number.NEGATIVE_INFINITY;

  /**
   * A process that was stopped (SIGSTOP, a suspended machine, a blocked event loop) has received no change meanwhile, and its
   * timers run before what has arrived is read. So all that is known is read again before it is pushed. A suspended machine
   * stops the monotonic clock; a wall clock that is set forward costs one read of each queue.
   */
  function noticeGap(): void {
    const nowMs = monotonicClock.now();
    const nowEpochMs = wallClock.epochMs();
    const gapMs = Math.max(nowMs - ranAtMs, nowEpochMs - ranAtEpochMs);
    const stoppedAtMs = ranAtMs;
    ranAtMs = nowMs;
    ranAtEpochMs = nowEpochMs;
    if (gapMs < graceMs) return;
    resumedAtMs = nowMs;
    outdateAll(stoppedAtMs);
  }

  function outdateAll(sinceMs: number): void {
    for (const entry of watched.values()) {
      entry.outdatedSinceMs = Math.min(entry.outdatedSinceMs ?? sinceMs, sinceMs);
      if (entry.reading === undefined) readWhenNeeded(entry);
    }
  }

  /** Runs while any queue is watched. */
  function beat(): void {
    noticeGap();
    beatTimer = setTimeout(beat, graceMs / 4).unref();
  }

  function latest(queue: string): QueueSnapshot {
    const entry = watched.get(queue);
    if (entry?.snapshot === undefined)
      throw new Error("a queue is read before it is pushed to its subscriber");
    const nowMs = monotonicClock.now();
    const aged = ageSnapshot(
      entry.snapshot,
      entry.clock.at(entry.failsSinceMs ?? disconnectedSinceMs ?? nowMs),
    );
    // The timer of the grace may be late.
    const isLate = disconnectedSinceMs !== null && nowMs >= disconnectedSinceMs + graceMs;
    return aged.stale || !(isFeedStale || isLate || entry.isStale) ? aged : { ...aged, stale: true };
  }

  function readAt(entry: WatchedQueue, wantedAtMs: number): void {
    if (entry.watches.size === 0) return;
    const atMs = Math.max(wantedAtMs, entry.readAtMs + leastBetweenReadsMs);
    if (entry.timer !== undefined && entry.timerAtMs <= atMs) return;
    clearTimeout(entry.timer);
    entry.timerAtMs = atMs;
    const delay = Math.min(Math.max(0, atMs - monotonicClock.now()), longestTimerMs);
    entry.timer = setTimeout(() => {
      entry.timer = undefined;
      if (entry.reading === undefined) void readNow(entry);
    }, delay);
  }

  /**
   * Reads it when the first of its subscribers may be pushed to: then what is pushed is as new as can be. And not more often
   * than the fastest of them wants, even when none of them takes what it could have.
   */
  function readWhenNeeded(entry: WatchedQueue): void {
    let neededAtMs = Number.POSITIVE_INFINITY;
    let fastestMs = Number.POSITIVE_INFINITY;
    for (const watch of entry.watches) {
      neededAtMs = Math.min(neededAtMs, watch.mayPushAtMs());
      fastestMs = Math.min(fastestMs, watch.minIntervalMs);
    }
    readAt(entry, Math.max(neededAtMs, entry.readAtMs + fastestMs));
  }

  function readNow(entry: WatchedQueue): Promise<void> {
    // Whatever the timer was for, this read is: once is enough, and its answer says when the next is due.
    entry.timer = void clearTimeout(entry.timer);
    const startedAtMs = monotonicClock.now();
    const lastReadingMs = entry.outdatedSinceMs ?? startedAtMs;
    entry.outdatedSinceMs = null;
    entry.readAtMs = startedAtMs;
    entry.reading = read([entry.queue], parts)
      .then(
        ([snapshot]) => learn(entry, snapshot, startedAtMs),
        (error: unknown) => fail(entry, error, lastReadingMs),
      )
      .finally(() => {
        entry.reading = undefined;
        if (entry.outdatedSinceMs !== null) readWhenNeeded(entry);
      });
    return entry.reading;
  }

  function isRecovering(nowMs: number): boolean {
    return nowMs < resumedAtMs + graceMs;
  }

  function catchUp(queues: readonly string[]): Promise<void> | null {
    noticeGap();
    const now = monotonicClock.now();
    if (disconnectedSinceMs !== null && !isRecovering(now)) return null;
    const reads: Promise<void>[] = [];
    for (const queue of queues) {
      const entry = watched.get(queue);
      // One that cannot be read must not hold up the others.
      if (entry === undefined || entry.failsSinceMs !== null) continue;
      const mayBeRead = now >= entry.readAtMs + leastBetweenReadsMs;
      if (isRecovering(now) && entry.knownAsOfMs < resumedAtMs) reads.push(recover(entry));
      else if (entry.reading !== undefined) reads.push(entry.reading);
      else if (entry.outdatedSinceMs !== null && mayBeRead) reads.push(readNow(entry));
    }
    return reads.length === 0 ? null : Promise.all(reads).then(() => {});
  }

  /**
   * A read that was under way when the process stopped has what was true then, or fails because the timers of its connection
   * ran out meanwhile. So it is read until it has been read since, for as long as the grace.
   */
  function recover(entry: WatchedQueue): Promise<void> {
    const isBehind = () => entry.knownAsOfMs < resumedAtMs && entry.failsSinceMs === null;
    entry.recovering ??= (async () => {
      while (isBehind() && entry.watches.size > 0) {
        await (entry.reading ?? readNow(entry));
        if (isBehind()) await new Promise((resolve) => setTimeout(resolve, leastBetweenReadsMs));
      }
    })().finally(() => {
      entry.recovering = undefined;
    });
    return entry.recovering;
  }

  /** It is read again until it can be. Its last reading is stale at once, unless its node may only be away for a moment. */
  function fail(entry: WatchedQueue, error: unknown, lastReadingMs: number): void {
    noticeGap();
    const mayBeOfGap = isUnavailable(error) && isRecovering(monotonicClock.now());
    if (mayBeOfGap && entry.failsSinceMs === null) {
      entry.outdatedSinceMs = Math.min(entry.outdatedSinceMs ?? lastReadingMs, lastReadingMs);
      return;
    }
    if (entry.failsSinceMs === null) {
      entry.failsSinceMs = Math.min(lastReadingMs, disconnectedSinceMs ?? lastReadingMs);
      // That Redis is away is said by its connection.
      if (isUnavailable(error)) logger.debug({ err: messageOf(error), queue: entry.queue }, unreadable);
      else logger.error({ err: error, queue: entry.queue }, unreadable);
    }
    const now = monotonicClock.now();
    if (!entry.isStale && (!isUnavailable(error) || now >= entry.failsSinceMs + graceMs)) {
      entry.isStale = true;
      if (!isFeedStale) push(entry);
    }
    readAt(entry, now + retryMs);
  }

  /** @param startedAtMs when the read began. */
  function learn(entry: WatchedQueue, snapshot: QueueSnapshot | undefined, startedAtMs: number): void {
    if (snapshot === undefined) return;
    // Of two reads at once, the one that Redis ran first may be answered last. Reads one after the other need no comparison, and
    // Redis's clock may have been set back between them.
    const isOvertaken =
      entry.snapshot !== undefined &&
      startedAtMs < entry.learnedAtMs &&
      snapshot.measuredAtMs < entry.snapshot.measuredAtMs;
    if (isOvertaken) return;
    const before = entry.isStale ? undefined : entry.snapshot;
    entry.snapshot = snapshot;
    entry.learnedAtMs = monotonicClock.now();
    entry.knownAsOfMs = startedAtMs;
    entry.failsSinceMs = null;
    entry.isStale = false;
    // What is stale was measured long ago.
    if (!snapshot.stale) entry.clock.observe(snapshot.measuredAtMs);
    if (entry.watches.size === 0) return;
    const now = monotonicClock.now();
    if (snapshot.changesAtMs !== null) {
      // By Redis's clock, which we only know roughly: when the timer was early, it is set again.
      readAt(entry, now + Math.max(snapshot.changesAtMs - entry.clock.at(now), 5));
    }
    if (rereadMs !== null) readAt(entry, now + rereadMs);
    if (before === undefined || isNews(before, snapshot)) push(entry);
  }

  function push(entry: WatchedQueue): void {
    for (const watch of entry.watches) watch.changed(entry.queue);
  }

  /** In one push each; what is stale by itself has been pushed before, and still is. */
  function pushAll(): void {
    for (const watch of watches) {
      watch.changed(...watch.queues.filter((queue) => watched.get(queue)?.isStale === false));
    }
  }

  function disconnected(): void {
    disconnectedSinceMs ??= monotonicClock.now();
    graceTimer ??= setTimeout(() => {
      isFeedStale = true;
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
        await readNow(entry);
      }),
    );
    if (!feed.isConnected || connection !== connections) return;
    clearTimeout(graceTimer);
    graceTimer = undefined;
    disconnectedSinceMs = null;
    if (isFeedStale) {
      isFeedStale = false;
      pushAll();
    }
  }

  function enter(queue: string, control: WatchControl): WatchedQueue {
    let entry = watched.get(queue);
    if (entry === undefined) {
      if (watched.size === 0) beat();
      entry = createWatchedQueue(queue);
      watched.set(queue, entry);
    }
    entry.watches.add(control);
    // A read that is due when the slowest of the others may be pushed to may be too late for this one.
    if (entry.outdatedSinceMs !== null && entry.reading === undefined) readWhenNeeded(entry);
    return entry;
  }

  function leave(queue: string, control: WatchControl): void {
    const entry = watched.get(queue);
    if (entry === undefined || !entry.watches.delete(control)) return;
    if (entry.watches.size > 0) return;
    clearTimeout(entry.timer);
    watched.delete(queue);
    if (watched.size === 0) clearTimeout(beatTimer);
  }

  feed.listen({
    onChange(queue) {
      const entry = watched.get(queue);
      if (entry === undefined || entry.outdatedSinceMs !== null) return;
      entry.outdatedSinceMs = monotonicClock.now();
      if (entry.reading === undefined) readWhenNeeded(entry);
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
    async stop() {
      isStopped = true;
      clearTimeout(graceTimer);
      for (const watch of [...watches]) watch.end();
      await feed.stop();
    },
    async watch(queues, request) {
      let entries: readonly WatchedQueue[] = [];
      const readAll = async () => {
        const startedAtMs = monotonicClock.now();
        const snapshots = await read(queues, parts);
        entries.forEach((entry, i) => {
          learn(entry, snapshots[i], startedAtMs);
        });
      };
      const control = createWatch({
        queues,
        ...request,
        catchUp,
        readAll,
        latest,
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
