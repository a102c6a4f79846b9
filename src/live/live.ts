import { type Clock, processClock } from "../core/clock.ts";
import { AppError, messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { Service } from "../core/service.ts";
import { ageSnapshot, type QueueSnapshot, type SnapshotParts } from "../core/snapshot.ts";
import type { ChangeFeed } from "./change-feed.ts";
import { createWatch, type Watch, type WatchControl } from "./watch.ts";

export interface WatchRequest {
  readonly minIntervalMs: number;
  readonly refreshMs: number;
}

export interface Live extends Service {
  /**
   * The state of the queues at once, then whatever changes. While Redis is away the last word is pushed as stale; when it
   * is back, a fresh state.
   *
   * @throws AppError SERVICE_UNAVAILABLE when the first state cannot be read.
   */
  watch(queues: readonly string[], request: WatchRequest): Promise<Watch>;
}

export interface LiveOptions {
  readonly feed: ChangeFeed;
  readonly read: (queues: readonly string[], parts: SnapshotParts) => Promise<QueueSnapshot[]>;
  /** Redis's time. */
  readonly clock: Clock;
  readonly logger: Logger;
  /** For how long Redis may be away before what is known counts as stale. @default 1_000 // 1 second */
  readonly graceMs?: number;
}

/** One queue that somebody watches. */
interface Watched {
  readonly queue: string;
  readonly watches: Set<WatchControl>;
  snapshot: QueueSnapshot | undefined;
  /** Since when it cannot be read though Redis answers; null: it can. */
  failsSinceMs: number | null;
  readAtMs: number;
  /** The read that is under way; never rejects. */
  reading: Promise<void> | undefined;
  /** It changed since it was read, or since that began. */
  isOutdated: boolean;
  timer: NodeJS.Timeout | undefined;
  timerAtMs: number;
}

const parts: SnapshotParts = {
  depth: true,
  scheduled: true,
  lost: true,
  throughput: new Set(),
  waitTime: new Set(),
};
const retryMs = 500;
/** Whatever the reason, a queue is not read more often than this. */
const leastBetweenReadsMs = 50;
/** Node's timers take at most 2^31 - 1 ms; a queue that is read once more in a day harms nobody. */
const longestTimerMs = 86_400_000;

export function createLive({ feed, read, clock, logger, graceMs = 1_000 }: LiveOptions): Live {
  const watched = new Map<string, Watched>();
  const watches = new Set<WatchControl>();
  /** Since when changes may have been missed; null while all is well. */
  let troubleSinceMs: number | null = null;
  let isAway = false;
  /** How often the feed has connected: what was read before it last did may be out of date. */
  let connections = 0;
  let graceTimer: NodeJS.Timeout | undefined;
  let retryTimer: NodeJS.Timeout | undefined;
  let isStopped = false;

  function latest(queue: string): QueueSnapshot {
    const entry = watched.get(queue);
    if (entry?.snapshot === undefined) throw new Error("a queue is read before its subscriber is told of it");
    const lastKnownMs = troubleSinceMs ?? entry.failsSinceMs;
    if (lastKnownMs === null) return ageSnapshot(entry.snapshot, clock.now());
    const lastKnown = ageSnapshot(entry.snapshot, lastKnownMs);
    return { ...lastKnown, stale: lastKnown.stale || isAway || entry.failsSinceMs !== null };
  }

  function readAt(entry: Watched, wantedAtMs: number): void {
    if (entry.watches.size === 0) return;
    const atMs = Math.max(wantedAtMs, entry.readAtMs + leastBetweenReadsMs);
    if (entry.timer !== undefined && entry.timerAtMs <= atMs) return;
    clearTimeout(entry.timer);
    entry.timerAtMs = atMs;
    const delay = Math.min(Math.max(0, atMs - processClock.now()), longestTimerMs);
    entry.timer = setTimeout(() => {
      entry.timer = undefined;
      if (entry.reading === undefined) void readNow(entry);
    }, delay);
  }

  /**
   * Reads it when the first of its subscribers may be pushed to: then what is pushed is as new as can be. And not more often
   * than the fastest of them wants, be it that none of them takes what it could have.
   */
  function readWhenNeeded(entry: Watched): void {
    let neededAtMs = Number.POSITIVE_INFINITY;
    let fastestMs = Number.POSITIVE_INFINITY;
    for (const watch of entry.watches) {
      neededAtMs = Math.min(neededAtMs, watch.mayPushAtMs());
      fastestMs = Math.min(fastestMs, watch.minIntervalMs);
    }
    readAt(entry, Math.max(neededAtMs, entry.readAtMs + fastestMs));
  }

  function readNow(entry: Watched): Promise<void> {
    entry.isOutdated = false;
    entry.readAtMs = processClock.now();
    entry.reading = read([entry.queue], parts)
      .then(
        ([snapshot]) => learn(entry, snapshot),
        (error: unknown) => (isUnavailable(error) ? recover(error) : fail(entry, error)),
      )
      .finally(() => {
        entry.reading = undefined;
        if (entry.isOutdated) readWhenNeeded(entry);
      });
    return entry.reading;
  }

  function catchUp(queues: readonly string[]): Promise<void> | null {
    if (troubleSinceMs !== null) return null;
    const now = processClock.now();
    const reads: Promise<void>[] = [];
    for (const queue of queues) {
      const entry = watched.get(queue);
      if (entry === undefined) continue;
      const mayBeRead = now >= entry.readAtMs + leastBetweenReadsMs;
      if (entry.reading !== undefined) reads.push(entry.reading);
      else if (entry.isOutdated && mayBeRead) reads.push(readNow(entry));
    }
    return reads.length === 0 ? null : Promise.all(reads).then(() => {});
  }

  /** Redis answers, but not for this queue: its last word is stale until it can be read again. */
  function fail(entry: Watched, error: unknown): void {
    if (entry.failsSinceMs === null) {
      logger.error({ err: error, queue: entry.queue }, "a watched queue cannot be read");
      entry.failsSinceMs = clock.now();
      for (const watch of entry.watches) watch.changed(entry.queue);
    }
    readAt(entry, processClock.now() + retryMs);
  }

  function learn(entry: Watched, snapshot: QueueSnapshot | undefined): void {
    if (snapshot === undefined) return;
    const before = entry.failsSinceMs === null ? entry.snapshot : undefined;
    entry.snapshot = snapshot;
    entry.failsSinceMs = null;
    if (entry.watches.size === 0) return;
    if (snapshot.changesAtMs !== null) {
      // By Redis's clock, which we only know roughly: when the timer was early, it is set again.
      readAt(entry, processClock.now() + Math.max(snapshot.changesAtMs - clock.now(), 5));
    }
    if (before === undefined || isNews(before, snapshot)) {
      for (const watch of entry.watches) watch.changed(entry.queue);
    }
  }

  /** Something of Redis failed: all is read again until it succeeds, and what is known meanwhile grows stale. */
  function recover(error?: unknown): void {
    if (isStopped) return;
    if (error !== undefined) logger.debug({ err: messageOf(error) }, "could not read watched queues");
    troubleSinceMs ??= clock.now();
    graceTimer ??= setTimeout(() => {
      isAway = true;
      for (const watch of watches) watch.changedAll();
    }, graceMs);
    if (!feed.isConnected) return;
    retryTimer ??= setTimeout(() => void readEverything(), error === undefined ? 0 : retryMs);
  }

  async function readEverything(): Promise<void> {
    const entries = [...watched.values()];
    const connection = connections;
    const reads = await Promise.allSettled(entries.map(({ queue }) => read([queue], parts)));
    retryTimer = undefined;
    const away = reads.find((each) => each.status === "rejected" && isUnavailable(each.reason));
    if (away !== undefined || !feed.isConnected || connection !== connections) {
      recover(away?.status === "rejected" ? away.reason : undefined);
      return;
    }
    clearTimeout(graceTimer);
    graceTimer = undefined;
    troubleSinceMs = null;
    const wasAway = isAway;
    isAway = false;
    entries.forEach((entry, i) => {
      const each = reads[i];
      if (each?.status === "fulfilled") learn(entry, each.value[0]);
      else fail(entry, each?.reason);
    });
    if (wasAway) for (const watch of watches) watch.changedAll();
  }

  function enter(queue: string, control: WatchControl): Watched {
    let entry = watched.get(queue);
    if (entry === undefined) {
      entry = {
        queue,
        watches: new Set(),
        snapshot: undefined,
        failsSinceMs: null,
        readAtMs: Number.NEGATIVE_INFINITY,
        reading: undefined,
        isOutdated: false,
        timer: undefined,
        timerAtMs: 0,
      };
      watched.set(queue, entry);
    }
    entry.watches.add(control);
    // A read that is due when the slowest of the others may be pushed to may be too late for this one.
    if (entry.isOutdated && entry.reading === undefined) readWhenNeeded(entry);
    return entry;
  }

  function leave(queue: string, control: WatchControl): void {
    const entry = watched.get(queue);
    if (entry === undefined || !entry.watches.delete(control)) return;
    if (entry.watches.size > 0) return;
    clearTimeout(entry.timer);
    watched.delete(queue);
  }

  feed.listen({
    onChange(queue) {
      const entry = watched.get(queue);
      if (entry === undefined || entry.isOutdated) return;
      entry.isOutdated = true;
      if (entry.reading === undefined) readWhenNeeded(entry);
    },
    onConnected() {
      connections += 1;
      recover();
    },
    onDisconnected: () => recover(),
  });

  return {
    start: feed.start,
    async stop() {
      isStopped = true;
      clearTimeout(graceTimer);
      clearTimeout(retryTimer);
      for (const watch of [...watches]) watch.end();
      await feed.stop();
    },
    async watch(queues, request) {
      const control = createWatch({
        queues,
        ...request,
        catchUp,
        latest,
        onEnd() {
          watches.delete(control);
          for (const queue of queues) leave(queue, control);
        },
      });
      watches.add(control);
      // Register, then read: a change in between is heard, and at worst read twice.
      const entries = queues.map((queue) => enter(queue, control));
      try {
        const snapshots = await read(queues, parts);
        entries.forEach((entry, i) => {
          learn(entry, snapshots[i]);
        });
      } catch (error) {
        control.end();
        throw error;
      }
      if (isStopped) control.end();
      return control.watch;
    },
  };
}

function isUnavailable(error: unknown): boolean {
  return error instanceof AppError && error.code === "SERVICE_UNAVAILABLE";
}

function isNews(before: QueueSnapshot, after: QueueSnapshot): boolean {
  return (
    before.state !== after.state ||
    before.oldestSinceMs !== after.oldestSinceMs ||
    before.depth !== after.depth ||
    before.scheduled !== after.scheduled ||
    before.lost !== after.lost ||
    before.accuracy !== after.accuracy ||
    before.source !== after.source ||
    before.stale !== after.stale
  );
}
