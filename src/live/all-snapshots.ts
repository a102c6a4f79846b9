import { isUnavailable } from "../core/errors.ts";
import type { QueueChoice } from "../core/queue-choice.ts";
import { ageSnapshot, type QueueSnapshot, type SnapshotParts, type Window } from "../core/snapshot.ts";
import { createRedisClock, type RedisClock } from "../redis/redis-clock.ts";
import { type MonotonicClock, monotonicClock } from "../runtime/clock.ts";
import type { ChangeFeed } from "./change-feed.ts";

/** All queues at one instant. */
export interface AllQueues {
  /** In the order of the bytes of their names, each as it was when it was last read. */
  readonly snapshots: readonly QueueSnapshot[];
  /** The snapshot at this index as of the reading. */
  agedAt(index: number): QueueSnapshot;
  /** By Redis's clock. */
  readonly measuredAtMs: number;
  /** Known queues that are not here: beyond the maximum, or they could not be read. */
  readonly omitted: number;
}

export interface AllSnapshots {
  /**
   * A reading of all queues that is under way, or began at most `shareMs` ago: all who ask share it.
   *
   * @throws AppError SERVICE_UNAVAILABLE when Redis does not answer.
   */
  read(): Promise<AllQueues>;
  /** The next reading reads every queue: they may be other than they were, though no change is published. */
  outdate(): void;
}

export interface AllSnapshotsOptions {
  readonly feed: Pick<ChangeFeed, "isConnected" | "listen">;
  /** Maximum number of queues: when there are more, those that are in use. */
  readonly choose: (max: number) => Promise<QueueChoice>;
  /** An error in place of a queue that cannot be read. */
  readonly readEach: (
    queues: readonly string[],
    parts: SnapshotParts,
  ) => Promise<readonly (QueueSnapshot | Error)[]>;
  /** Takes names out of the list whose queues turn out to be gone. */
  readonly unlist: (queues: readonly string[]) => Promise<void>;
  /** Whether every node of Redis can be reached; while one is away, every queue is read. @default () => true */
  readonly isWhole?: () => boolean;
  /** Maximum number of queues that are read. */
  readonly maxQueues: number;
  /** What is counted of each. @default nothing */
  readonly counts?: Pick<SnapshotParts, "throughput" | "waitTime">;
  /** @default 990 // once a second, for timers that fire a little early, too */
  readonly shareMs?: number;
  /**
   * For how long the list of queues, and a queue, of which no change was received is not read again at most; a queue for
   * {@link rereadMsPerQueue} for each queue, if that is longer. @default 5_000 // 5 seconds
   */
  readonly rereadMs?: number;
  readonly clock?: MonotonicClock;
}

interface Entry {
  readonly queue: string;
  /** The nodes of a cluster need not agree on the time. */
  readonly clock: RedisClock;
  snapshot: QueueSnapshot | undefined;
  /** When it is read again though no change was received. */
  rereadAtMs: number;
  isOutdated: boolean;
}

interface SharedReading {
  readonly startedAtMs: number;
  readonly reading: Promise<AllQueues>;
  isRunning: boolean;
}

const noCounts = { throughput: new Set<Window>(), waitTime: new Set<Window>() };
/** What was counted in the last minutes becomes less with no event: then a queue is read again after so long at most. */
const recountMs = 10_000;
/** So no more than some hundreds are read a second for nothing. */
const rereadMsPerQueue = 3;
/** Few enough that the event loop does something else in between. */
const queuesPerBatch = 200;
/** After so long without a reading, nothing is kept. */
const keepMs = 60_000;

/**
 * Reads only what may have changed: a queue of which the feed has said nothing has only grown older. So 10,000 queues of which 100
 * change each second are 100 reads a second, and all of them within half a minute, in case a notice was lost.
 */
export function createAllSnapshots(options: AllSnapshotsOptions): AllSnapshots {
  const {
    feed,
    choose,
    readEach,
    unlist,
    isWhole = () => true,
    maxQueues,
    counts = noCounts,
    shareMs = 990,
    rereadMs = 5_000,
    clock = monotonicClock,
  } = options;
  const parts: SnapshotParts = { depth: true, scheduled: true, lost: true, ...counts };
  let entries = new Map<string, Entry>();
  /** Known queues that are beyond the maximum. */
  let beyond = 0;
  let listedAtMs = Number.NEGATIVE_INFINITY;
  const redisClock = createRedisClock(clock);
  let shared: SharedReading | undefined;
  let forgetTimer: NodeJS.Timeout | undefined;

  function outdate(): void {
    listedAtMs = Number.NEGATIVE_INFINITY;
    for (const entry of entries.values()) entry.isOutdated = true;
  }

  feed.listen({
    onChange(queue) {
      const entry = entries.get(queue);
      if (entry !== undefined) entry.isOutdated = true;
      // It is new, unless there are more than are listed.
      else if (beyond === 0) listedAtMs = Number.NEGATIVE_INFINITY;
    },
    onConnected: outdate,
    onDisconnected: outdate,
  });

  function receivesAll(): boolean {
    return feed.isConnected && isWhole();
  }

  function isDue({ isOutdated, snapshot, rereadAtMs, clock: itsClock }: Entry, nowMs: number): boolean {
    if (!receivesAll() || isOutdated || snapshot === undefined || nowMs >= rereadAtMs) return true;
    return snapshot.changesAtMs !== null && snapshot.changesAtMs <= itsClock.at(nowMs);
  }

  /** @throws AppError SERVICE_UNAVAILABLE when none of them could be read, for that reason. */
  async function readEntries(due: readonly Entry[]): Promise<void> {
    const startedAtMs = clock.now();
    const maxAgeMs = Math.max(rereadMs, rereadMsPerQueue * entries.size);
    for (const entry of due) entry.isOutdated = false;
    const queues = due.map(({ queue }) => queue);
    const results = await readEach(queues, parts).catch((error: Error) => queues.map(() => error));
    due.forEach((entry, i) => {
      const result = results[i];
      if (!(result instanceof Error)) {
        entry.snapshot = result;
        // Not all at once: what was read together would always be.
        const keptMs = hasCounts(entry.snapshot) ? Math.min(recountMs, maxAgeMs) : maxAgeMs;
        entry.rereadAtMs = startedAtMs + keptMs * (0.5 + Math.random() / 2);
        if (entry.snapshot?.stale !== false) return;
        for (const each of [entry.clock, redisClock]) each.observe(entry.snapshot.measuredAtMs);
        return;
      }
      entry.isOutdated = true;
      // What was true is not known to be true any more.
      if (entry.snapshot !== undefined) entry.snapshot = { ...entry.snapshot, stale: true };
    });
    const gone = due.filter(({ snapshot }) => snapshot?.state === "MISSING").map(({ queue }) => queue);
    for (const queue of gone) entries.delete(queue);
    // Best effort: the sweep does it as well.
    if (gone.length > 0) unlist(gone).catch(() => {});
    const errors = results.filter((result) => result instanceof Error);
    if (errors.length > 0 && errors.length === due.length && errors.every(isUnavailable)) throw errors[0];
  }

  /** A change of a new queue is received before it is listed, or meanwhile: then all are listed again. */
  async function listAgain(): Promise<void> {
    const startedAtMs = clock.now();
    if (receivesAll() && startedAtMs < listedAtMs + rereadMs) return;
    listedAtMs = startedAtMs;
    const { names, known } = await choose(maxQueues);
    entries = new Map(names.map((queue) => [queue, entries.get(queue) ?? createEntry(queue)]));
    beyond = Math.max(0, known - names.length);
  }

  async function readAll(): Promise<AllQueues> {
    await listAgain();
    const startedAtMs = clock.now();
    const due = [...entries.values()].filter((entry) => isDue(entry, startedAtMs));
    let reading: Promise<void> | undefined;
    for (let i = 0; i < due.length; i += queuesPerBatch) {
      const before = reading;
      reading = readEntries(due.slice(i, i + queuesPerBatch));
      // Redis reads these while those before are taken. When those fail, these are not awaited.
      reading.catch(() => {});
      await before;
    }
    await reading;
    const nowMs = clock.now();
    const readable = [...entries.values()].filter(({ snapshot }) => snapshot !== undefined);
    const clocks = readable.map(({ clock: itsClock }) => itsClock);
    const snapshots = readable.map(({ snapshot }) => snapshot as QueueSnapshot);
    return {
      snapshots,
      agedAt: (index) =>
        ageSnapshot(snapshots[index] as QueueSnapshot, (clocks[index] as RedisClock).at(nowMs)),
      measuredAtMs: redisClock.at(nowMs),
      omitted: beyond + entries.size - readable.length,
    };
  }

  function createEntry(queue: string): Entry {
    return { queue, clock: createRedisClock(clock), snapshot: undefined, rereadAtMs: 0, isOutdated: true };
  }

  return {
    outdate,
    read() {
      const nowMs = clock.now();
      if (shared !== undefined && (shared.isRunning || nowMs < shared.startedAtMs + shareMs))
        return shared.reading;
      const mine: SharedReading = { startedAtMs: nowMs, reading: readAll(), isRunning: true };
      shared = mine;
      mine.reading.then(
        () => {
          mine.isRunning = false;
        },
        // A failure is answered to those who wait for it, and to none after them.
        () => {
          if (shared === mine) shared = undefined;
          listedAtMs = Number.NEGATIVE_INFINITY;
        },
      );
      clearTimeout(forgetTimer);
      forgetTimer = setTimeout(() => {
        entries = new Map();
        listedAtMs = Number.NEGATIVE_INFINITY;
        shared = undefined;
      }, keepMs).unref();
      return mine.reading;
    },
  };
}

/** Whether anything was counted in its windows. */
function hasCounts(snapshot: QueueSnapshot | undefined): boolean {
  const rates = Object.values(snapshot?.throughput ?? {});
  const waits = Object.values(snapshot?.waitTime ?? {});
  return (
    rates.some((each) => each !== null && each.enqueuedPerSecond + each.dequeuedPerSecond > 0) ||
    waits.some((each) => each !== null && each.count > 0)
  );
}
