import { type Clock, processClock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
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
  /** It is not read more often than its fastest subscriber wants. */
  minIntervalMs: number;
  readAtMs: number;
  isReading: boolean;
  /** It changed while it was being read. */
  isOutdated: boolean;
  timer: NodeJS.Timeout | undefined;
  timerAtMs: number;
}

const parts: SnapshotParts = { depth: true, scheduled: true, throughput: new Set(), waitTime: new Set() };
const retryMs = 500;
/** Node's timers take at most 2^31 - 1 ms; a queue that is read once more in a day harms nobody. */
const longestTimerMs = 86_400_000;

export function createLive({ feed, read, clock, logger, graceMs = 1_000 }: LiveOptions): Live {
  const watched = new Map<string, Watched>();
  const watches = new Set<WatchControl>();
  /** Since when changes may have been missed; null while all is well. */
  let troubleSinceMs: number | null = null;
  let isAway = false;
  let graceTimer: NodeJS.Timeout | undefined;
  let retryTimer: NodeJS.Timeout | undefined;
  let isStopped = false;

  function latest(queue: string): QueueSnapshot {
    const snapshot = watched.get(queue)?.snapshot;
    if (snapshot === undefined) throw new Error("a queue is read before its subscriber is told of it");
    if (!isAway || troubleSinceMs === null) return ageSnapshot(snapshot, clock.now());
    return { ...ageSnapshot(snapshot, troubleSinceMs), stale: true };
  }

  function readAt(entry: Watched, atMs: number): void {
    if (entry.timer !== undefined && entry.timerAtMs <= atMs) return;
    clearTimeout(entry.timer);
    entry.timerAtMs = atMs;
    const delay = Math.min(Math.max(0, atMs - processClock.now()), longestTimerMs);
    entry.timer = setTimeout(() => {
      entry.timer = undefined;
      readNow(entry);
    }, delay);
  }

  function readSoon(entry: Watched): void {
    if (entry.isReading) entry.isOutdated = true;
    else readAt(entry, entry.readAtMs + entry.minIntervalMs);
  }

  function readNow(entry: Watched): void {
    entry.isReading = true;
    entry.isOutdated = false;
    entry.readAtMs = processClock.now();
    read([entry.queue], parts)
      .then(
        ([snapshot]) => {
          if (snapshot !== undefined) learn(entry, snapshot);
        },
        (error: unknown) => recover(error),
      )
      .finally(() => {
        entry.isReading = false;
        if (entry.isOutdated) readSoon(entry);
      });
  }

  function learn(entry: Watched, snapshot: QueueSnapshot): void {
    const before = entry.snapshot;
    entry.snapshot = snapshot;
    if (entry.watches.size === 0) return;
    if (snapshot.changesAtMs !== null) {
      // By Redis's clock, which we only know roughly: when the timer was early, it is set again.
      const inMs = Math.max(snapshot.changesAtMs - clock.now(), 5);
      readAt(entry, Math.max(processClock.now() + inMs, entry.readAtMs + entry.minIntervalMs));
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
    retryTimer ??= setTimeout(readEverything, error === undefined ? 0 : retryMs);
  }

  function readEverything(): void {
    const entries = [...watched.values()];
    const queues = entries.map((entry) => entry.queue);
    read(queues, parts).then(
      (snapshots) => {
        retryTimer = undefined;
        if (!feed.isConnected) return;
        clearTimeout(graceTimer);
        graceTimer = undefined;
        troubleSinceMs = null;
        const wasAway = isAway;
        isAway = false;
        entries.forEach((entry, i) => {
          const snapshot = snapshots[i];
          if (snapshot !== undefined) learn(entry, snapshot);
        });
        if (wasAway) for (const watch of watches) watch.changedAll();
      },
      (error: unknown) => {
        retryTimer = undefined;
        recover(error);
      },
    );
  }

  function enter(queue: string, control: WatchControl): Watched {
    let entry = watched.get(queue);
    if (entry === undefined) {
      entry = {
        queue,
        watches: new Set(),
        snapshot: undefined,
        minIntervalMs: control.minIntervalMs,
        readAtMs: Number.NEGATIVE_INFINITY,
        isReading: false,
        isOutdated: false,
        timer: undefined,
        timerAtMs: 0,
      };
      watched.set(queue, entry);
    }
    entry.watches.add(control);
    entry.minIntervalMs = Math.min(entry.minIntervalMs, control.minIntervalMs);
    return entry;
  }

  function leave(queue: string, control: WatchControl): void {
    const entry = watched.get(queue);
    if (entry === undefined || !entry.watches.delete(control)) return;
    if (entry.watches.size === 0) {
      clearTimeout(entry.timer);
      watched.delete(queue);
    } else if (control.minIntervalMs === entry.minIntervalMs) {
      entry.minIntervalMs = Math.min(...[...entry.watches].map((each) => each.minIntervalMs));
    }
  }

  feed.listen({
    onChange(queue) {
      const entry = watched.get(queue);
      if (entry !== undefined) readSoon(entry);
    },
    onConnected: () => recover(),
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
          const snapshot = snapshots[i];
          if (snapshot !== undefined) learn(entry, snapshot);
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

function isNews(before: QueueSnapshot, after: QueueSnapshot): boolean {
  return (
    before.state !== after.state ||
    before.oldestSinceMs !== after.oldestSinceMs ||
    before.depth !== after.depth ||
    before.scheduled !== after.scheduled ||
    before.accuracy !== after.accuracy ||
    before.source !== after.source ||
    before.stale !== after.stale
  );
}
