import { isUnavailable, messageOf } from "../core/errors.ts";
import { ageSnapshot, type QueueSnapshot, type SnapshotParts } from "../core/snapshot.ts";
import { monotonicClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Suspensions } from "./suspensions.ts";
import type { WatchControl } from "./watch.ts";
import { isNews, type WatchedQueue } from "./watched-queue.ts";

/** How the feed of changes is. */
export interface FeedState {
  /** Since when changes may have been missed; null while all are received. */
  readonly disconnectedSinceMs: number | null;
  /** That is longer than the grace, and the subscribers have been pushed it. */
  readonly isStale: boolean;
}

export interface WatchedQueueReaderOptions {
  readonly read: (queues: readonly string[], parts: SnapshotParts) => Promise<QueueSnapshot[]>;
  readonly feed: FeedState;
  readonly suspensions: Suspensions;
  readonly logger: Logger;
  readonly graceMs: number;
  /** After how long a queue is read again though no change of it was received; null: never. */
  readonly rereadMs: number | null;
}

/** Reads the queues that are watched: when they have changed, when they will change, and until they can be read. */
export interface WatchedQueueReader {
  /** The newest that is known of a queue, as of now. */
  latest(entry: WatchedQueue | undefined): QueueSnapshot;
  /** Marks a queue as changed since then, and reads it again when that is needed. */
  outdate(entry: WatchedQueue, sinceMs: number): void;
  /** Reads a queue that has changed when the first of its subscribers may be pushed to. */
  readWhenNeeded(entry: WatchedQueue): void;
  /** Never rejects. */
  readNow(entry: WatchedQueue): Promise<void>;
  /** Reads a queue again in a moment, and pushes it to those whose pushes have counts: the last ones could not be read. */
  retryCounts(entry: WatchedQueue): void;
  /** Reads queues of which a subscriber waits for the first state. @throws AppError SERVICE_UNAVAILABLE. */
  readAll(entries: readonly WatchedQueue[]): Promise<void>;
  /** Reads those that have changed since they were read; null when none has. Never rejects. */
  catchUp(entries: readonly WatchedQueue[]): Promise<void> | null;
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
const minBetweenReadsMs = 50;
/** Node's timers take at most 2^31 - 1 ms; one read of a queue more in a day does no harm. */
const maxTimerMs = 86_400_000;

/** Instants without another word are by {@link monotonicClock}. */
export function createWatchedQueueReader({
  read,
  feed,
  suspensions,
  logger,
  graceMs,
  rereadMs,
}: WatchedQueueReaderOptions): WatchedQueueReader {
  function latest(entry: WatchedQueue | undefined): QueueSnapshot {
    const { disconnectedSinceMs, isStale } = feed;
    if (entry?.snapshot === undefined)
      throw new Error("a queue is read before it is pushed to its subscriber");
    const nowMs = monotonicClock.now();
    const aged = ageSnapshot(
      entry.snapshot,
      entry.clock.at(entry.failsSinceMs ?? disconnectedSinceMs ?? nowMs),
    );
    // The timer of the grace may be late.
    const isLate = disconnectedSinceMs !== null && nowMs >= disconnectedSinceMs + graceMs;
    return aged.stale || !(isStale || isLate || entry.isStale) ? aged : { ...aged, stale: true };
  }

  function outdate(entry: WatchedQueue, sinceMs: number): void {
    entry.outdatedSinceMs = Math.min(entry.outdatedSinceMs ?? sinceMs, sinceMs);
    if (entry.reading === undefined) readWhenNeeded(entry);
  }

  function readAt(entry: WatchedQueue, wantedAtMs: number): void {
    if (entry.watches.size === 0) return;
    const atMs = Math.max(wantedAtMs, entry.readAtMs + minBetweenReadsMs);
    if (entry.timer !== undefined && entry.timerAtMs <= atMs) return;
    clearTimeout(entry.timer);
    entry.timerAtMs = atMs;
    const delay = Math.min(Math.max(0, atMs - monotonicClock.now()), maxTimerMs);
    entry.timer = setTimeout(() => {
      entry.timer = undefined;
      if (entry.reading === undefined && !isReadLater(entry)) void readNow(entry);
    }, delay);
  }

  /** Whether nothing but its counts is to be read, and that is done once changes are received again. */
  function isReadLater({ lacksCounts, outdatedSinceMs, failsSinceMs }: WatchedQueue): boolean {
    return (
      feed.disconnectedSinceMs !== null && lacksCounts && outdatedSinceMs === null && failsSinceMs === null
    );
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
    // What it missed while it could not be read, or no changes were received, is not known.
    const isChange =
      entry.outdatedSinceMs !== null ||
      entry.failsSinceMs !== null ||
      feed.disconnectedSinceMs !== null ||
      entry.lacksCounts;
    if (isChange) entry.changedAtMs = startedAtMs;
    entry.outdatedSinceMs = null;
    entry.lacksCounts = false;
    entry.readAtMs = startedAtMs;
    entry.reading = read([entry.queue], parts)
      .then(
        ([snapshot]) => learn(entry, snapshot, startedAtMs, isChange),
        (error: unknown) => fail(entry, error, lastReadingMs),
      )
      .finally(() => {
        entry.reading = undefined;
        if (entry.outdatedSinceMs !== null) readWhenNeeded(entry);
        // The timer may have fired while this was under way.
        else if (entry.lacksCounts) retryCounts(entry);
      });
    return entry.reading;
  }

  function catchUp(entries: readonly WatchedQueue[]): Promise<void> | null {
    suspensions.look();
    const now = monotonicClock.now();
    if (feed.disconnectedSinceMs !== null && !suspensions.isRecovering()) return null;
    const reads: Promise<void>[] = [];
    for (const entry of entries) {
      // One that cannot be read must not hold up the others.
      if (entry.failsSinceMs !== null) continue;
      const mayBeRead = now >= entry.readAtMs + minBetweenReadsMs;
      if (suspensions.isRecovering() && entry.knownAsOfMs < suspensions.resumedAtMs())
        reads.push(recover(entry));
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
    const isBehind = () => entry.knownAsOfMs < suspensions.resumedAtMs() && entry.failsSinceMs === null;
    entry.recovering ??= (async () => {
      while (isBehind() && entry.watches.size > 0) {
        await (entry.reading ?? readNow(entry));
        if (isBehind()) await new Promise((resolve) => setTimeout(resolve, minBetweenReadsMs));
      }
    })().finally(() => {
      entry.recovering = undefined;
    });
    return entry.recovering;
  }

  /** It is read again until it can be. Its last reading is stale at once, unless its node may only be away for a moment. */
  function fail(entry: WatchedQueue, error: unknown, lastReadingMs: number): void {
    suspensions.look();
    const mayBeOfGap = isUnavailable(error) && suspensions.isRecovering();
    if (mayBeOfGap && entry.failsSinceMs === null) {
      entry.outdatedSinceMs = Math.min(entry.outdatedSinceMs ?? lastReadingMs, lastReadingMs);
      return;
    }
    if (entry.failsSinceMs === null) {
      entry.failsSinceMs = Math.min(lastReadingMs, feed.disconnectedSinceMs ?? lastReadingMs);
      // That Redis is away is said by its connection.
      if (isUnavailable(error)) logger.debug({ err: messageOf(error), queue: entry.queue }, unreadable);
      else logger.error({ err: error, queue: entry.queue }, unreadable);
    }
    const now = monotonicClock.now();
    if (!entry.isStale && (!isUnavailable(error) || now >= entry.failsSinceMs + graceMs)) {
      entry.isStale = true;
      if (!feed.isStale) push(entry);
    }
    readAt(entry, now + retryMs);
  }

  /**
   * @param startedAtMs when the read began.
   * @param isChange whether it was read because something had happened.
   */
  function learn(
    entry: WatchedQueue,
    read: QueueSnapshot | undefined,
    startedAtMs: number,
    isChange: boolean,
  ): void {
    if (read === undefined) return;
    const snapshot = { ...read, changedAtMs: entry.changedAtMs };
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
    // What is stale has no counts: the fresh state is pushed once changes are received again.
    else if (isChange && !feed.isStale) push(entry, ({ hasCounts }) => hasCounts);
  }

  function push(entry: WatchedQueue, isPushed: (watch: WatchControl) => boolean = () => true): void {
    for (const watch of entry.watches) if (isPushed(watch)) watch.changed(entry.queue);
  }

  function retryCounts(entry: WatchedQueue): void {
    entry.lacksCounts = true;
    readAt(entry, monotonicClock.now() + retryMs);
  }

  async function readAll(entries: readonly WatchedQueue[]): Promise<void> {
    const startedAtMs = monotonicClock.now();
    const snapshots = await read(
      entries.map(({ queue }) => queue),
      parts,
    );
    entries.forEach((entry, i) => {
      learn(entry, snapshots[i], startedAtMs, false);
    });
  }

  return { latest, outdate, readWhenNeeded, readNow, retryCounts, readAll, catchUp };
}
