import type { JobIdentity } from "./events.ts";
import type { Health } from "./health.ts";

export const queueStates = ["MISSING", "EMPTY", "WAITING", "PAUSED"] as const;
export type QueueState = (typeof queueStates)[number];

export const accuracies = ["EXACT", "ESTIMATED", "LOWER_BOUND", "INCOMPLETE", "UNKNOWN"] as const;
export type Accuracy = (typeof accuracies)[number];

/** The windows that counts and wait times are kept for, with their lengths in seconds. */
export const windowSeconds = { ONE_MINUTE: 60, FIVE_MINUTES: 300, FIFTEEN_MINUTES: 900 } as const;
export type Window = keyof typeof windowSeconds;
export const windows = Object.keys(windowSeconds) as readonly Window[];

/** Mean rates over one window, in events per second. */
export interface Throughput {
  readonly enqueuedPerSecond: number;
  readonly dequeuedPerSecond: number;
  /** Whether more jobs may have come and left than were counted. @default false */
  readonly isLowerBound?: boolean | undefined;
}

/** Wait times of the jobs dequeued in one window, in seconds; all 0 when `count` is 0. */
export interface WaitTime {
  readonly count: number;
  readonly mean: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
  /** Whether jobs that waited only for a short time may not have been counted: all but `count` may be too high. @default false */
  readonly isUpperBound?: boolean;
}

/** What `QueueTotals.waits` is counted by, in ms. tracker/lua/includes/totals.lua and tracker/lua/snapshot.lua have the same. */
export const waitBoundsMs: readonly number[] = [
  ...[10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000],
  ...[300_000, 900_000, 3_600_000, 10_800_000, 43_200_000],
];

/**
 * How many jobs have come and gone since a queue became known. None of these is ever less than it was, unless the queue was
 * forgotten meanwhile, or Redis has lost what it had acknowledged.
 */
export interface QueueTotals {
  readonly enqueued: number;
  readonly dequeued: number;
  /** Also those that turned out to have been dequeued. */
  readonly removed: number;
  /**
   * Jobs dropped because they had waited longer than MAX_WAIT, also those that turned out to have left; null when the
   * source does not report it.
   */
  readonly lost: number | null;
  /** For how long all of `waits` had waited, in ms. */
  readonly waitedMs: number;
  /**
   * Dequeued jobs whose enqueue is known, by how long they had waited: at most as long as the bound of {@link waitBoundsMs}, and
   * longer than the one before; the last entry is of all longer ones.
   */
  readonly waits: readonly number[];
}

/** Which parts of a snapshot are needed; other parts are not read. The head and the state always are. */
export interface SnapshotParts {
  readonly depth: boolean;
  readonly scheduled: boolean;
  readonly lost: boolean;
  /** @default false */
  readonly totals?: boolean;
  readonly throughput: ReadonlySet<Window>;
  readonly waitTime: ReadonlySet<Window>;
}

/** What is known of one queue at one instant. Instants are ms since the epoch by Redis's clock. */
export interface QueueSnapshot {
  readonly queue: string;
  /** "events", or the name of the job system; null when MISSING. */
  readonly source: string | null;
  readonly state: QueueState;
  /** When the head became claimable; null when no job waits, or where `latencyMs` is null. */
  readonly oldestSinceMs: number | null;
  /**
   * Age of the head at `measuredAtMs`, in ms; 0 when no job waits. Never negative. Null when it is not known: `state` is MISSING
   * or `accuracy` UNKNOWN.
   */
  readonly latencyMs: number | null;
  /** Null when MISSING, when the source does not report it, and when not requested. */
  readonly depth: number | null;
  /** Whether the source counted no further, so that more jobs may wait. @default false */
  readonly depthIsLowerBound?: boolean;
  /** Null when MISSING, when the source does not report it, and when not requested. */
  readonly scheduled: number | null;
  /** Number of jobs that were delivered to a worker and are not acknowledged. Absent where the source does not report it. */
  readonly inFlight?: number | undefined;
  /** Since when the oldest of these has been; null when there is none, and where it is not known. Absent as `inFlight`. */
  readonly inFlightSinceMs?: number | null;
  /**
   * Number of waiting jobs that were overtaken: every job that was dequeued in the last minute or longer had been claimable for less long.
   * Absent where that is not known: where `latencyMs` is null, and where the source does not report it.
   */
  readonly overtaken?: number;
  /** When the oldest of the other waiting jobs became claimable; null when there is none. Absent as `overtaken`. */
  readonly inOrderSinceMs?: number | null;
  /**
   * Number of jobs dropped because they had waited longer than MAX_WAIT; null when the source does not report it, or when
   * not requested.
   */
  readonly lost: number | null;
  readonly accuracy: Accuracy;
  readonly measuredAtMs: number;
  readonly stale: boolean;
  /** When this snapshot will change with no event: a scheduled job is due, a ghost expires, a source falls silent, a mark of data loss ends. */
  readonly changesAtMs: number | null;
  /** By how much a producer's clock was ahead of its job system's when it last enqueued, in ms; null: not both are known. */
  readonly clockSkewMs: number | null;
  /**
   * By window, for the windows asked for; null for a window in which a job system dropped events before they were read. Null as
   * a whole where the source does not count, and when that is so of every window.
   */
  readonly throughput: Readonly<Partial<Record<Window, Throughput | null>>> | null;
  readonly waitTime: Readonly<Partial<Record<Window, WaitTime | null>>> | null;
  /** When jobs may last have come and left uncounted. Absent: all were counted, or none is. */
  readonly uncountedAtMs?: number;
  /** Absent when the source does not report it, or when not requested. */
  readonly totals?: QueueTotals;
  /**
   * Its keys in Redis have been changed from outside. `accuracy` is UNKNOWN then, and `state` is what the remaining keys
   * show. @default false
   */
  readonly unreadable?: boolean;
  /**
   * Of a watched queue: when it was last read because a change was received, or when it was first watched; by the monotonic clock.
   * Absent elsewhere.
   */
  readonly changedAtMs?: number;
  /** On a page that needed the health of all queues, the one that it went by. Absent elsewhere. */
  readonly health?: Health;
}

/** Of a queue that is not known. */
export function missingSnapshot(queue: string, nowMs: number): QueueSnapshot {
  return {
    queue,
    source: null,
    state: "MISSING",
    oldestSinceMs: null,
    latencyMs: null,
    depth: null,
    scheduled: null,
    lost: null,
    accuracy: "UNKNOWN",
    measuredAtMs: nowMs,
    stale: false,
    changesAtMs: null,
    clockSkewMs: null,
    throughput: null,
    waitTime: null,
  };
}

/** What each snapshot was last aged to. */
const aged = new WeakMap<QueueSnapshot, QueueSnapshot>();

/**
 * The same snapshot at a later instant, if nothing has happened since: a waiting head has grown older. A stale snapshot
 * stays as it was, since what happened to it is unknown. The same instant returns the same object, so that work derived
 * from it is shared.
 */
export function ageSnapshot(snapshot: QueueSnapshot, nowMs: number): QueueSnapshot {
  if (snapshot.stale || nowMs <= snapshot.measuredAtMs) return snapshot;
  const known = aged.get(snapshot);
  if (known?.measuredAtMs === nowMs) return known;
  const older = { ...snapshot, latencyMs: latencyAt(snapshot, nowMs), measuredAtMs: nowMs };
  aged.set(snapshot, older);
  return older;
}

/** The latency of {@link ageSnapshot}, without the rest. */
export function latencyAt(snapshot: QueueSnapshot, nowMs: number): number | null {
  const { stale, measuredAtMs, oldestSinceMs, latencyMs } = snapshot;
  if (stale || nowMs <= measuredAtMs || oldestSinceMs === null) return latencyMs;
  return Math.max(0, nowMs - oldestSinceMs);
}

/** Age of the oldest waiting job that was not overtaken, in ms; 0 when there is none. Null where `overtaken` is absent. */
export function inOrderLatencyMs(snapshot: QueueSnapshot): number | null {
  const { overtaken, inOrderSinceMs = null, latencyMs, measuredAtMs } = snapshot;
  if (overtaken === undefined) return null;
  if (overtaken === 0) return latencyMs;
  return inOrderSinceMs === null ? 0 : Math.max(0, measuredAtMs - inOrderSinceMs);
}

/** A job that is claimable and has not been taken. */
export interface WaitingJob extends JobIdentity {
  /** When it became claimable, in ms since the epoch by Redis's clock. */
  readonly sinceMs: number;
  /** For how long it has waited, in ms. Never negative. */
  readonly waitedMs: number;
}
