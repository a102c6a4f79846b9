import type { EventSink } from "./observation.ts";
import type { Accuracy } from "./snapshot.ts";

/**
 * - ENQUEUED: the job became claimable, and had not been scheduled before.
 * - PROMOTED: a scheduled job became claimable, when it was due or before.
 * - SCHEDULED: the job will be claimable at `availableAtMs`.
 * - DEQUEUED: a worker has it. REMOVED: it left in any other way.
 */
export type FollowedKind = "ENQUEUED" | "PROMOTED" | "SCHEDULED" | "DEQUEUED" | "REMOVED";

/** One line of a job system's own log. All times are ms since the epoch by the job system's clock. */
export interface FollowedEvent {
  readonly kind: FollowedKind;
  readonly jobId: string;
  readonly atMs: number;
  /** SCHEDULED only. */
  readonly availableAtMs: number | null;
}

/** A job that was found in the job system's real lists. */
export interface PresentJob {
  readonly jobId: string;
  /**
   * When it became claimable, as far as the job itself says, or when it will; null: nothing says it, so the present
   * counts.
   */
  readonly sinceMs: number | null;
  /**
   * - SCHEDULED: not claimable before `sinceMs`, which is exact.
   * - ESTIMATED: claimable since `sinceMs` by the clock of its producer.
   * - AT_LEAST: claimable since `sinceMs` or earlier: a job that was promoted, retried or put back does not say when.
   */
  readonly kind: "SCHEDULED" | "ESTIMATED" | "AT_LEAST";
}

/**
 * One step of putting the real lists in place of what was counted: first `begin`, then all jobs that are there in any number
 * of steps, in any order and repeated at will, then `sweepFrom` "0" and whatever each answer says until it says null. One step
 * may be all of that. Events go on in the same steps. Of two repairs at once the one that began first goes on, and the steps of the
 * other one are refused, unless the first has stood still for seconds.
 */
export interface RepairStep {
  /** Unique for this repair: a begin that is sent again with the same token is not refused. */
  readonly token: string;
  /** First step: how far the latency can be trusted until the repair has ended; null: a later step. */
  readonly begin: Accuracy | null;
  readonly present: readonly PresentJob[];
  /** Removes, some hundreds at once, the jobs that no step has named and no event brought; null: not yet. */
  readonly sweepFrom: string | null;
}

/** What one queue's log said behind a cursor, counted at most once, whichever process sends it and however often. */
export interface FollowedQueue {
  /** Name of the source, as it stands before the slash. */
  readonly source: string;
  readonly queue: string;
  /** Where the reading began; null: nothing is known of this queue. Unless this is what is stored, nothing is changed. */
  readonly fromCursor: string | null;
  /** What is stored with the events, all or nothing. */
  readonly toCursor: string;
  /** In the order of the log. */
  readonly events: readonly FollowedEvent[];
  /** null: as before. */
  readonly paused: boolean | null;
  /**
   * Events from before this time may be missing from those between the cursors, by the job system's clock: what is counted of
   * a window that begins before it is too small, and null. Null: none is missing.
   */
  readonly missedUntilMs: number | null;
  /** What the job system's clock said at `readAtMs`, give or take `uncertaintyMs`. */
  readonly sourceNowMs: number;
  /** By monotonicClock. */
  readonly readAtMs: number;
  readonly uncertaintyMs: number;
  /** For how long this may be believed, in ms. */
  readonly freshForMs: number;
  readonly repair: RepairStep | null;
  /** Some jobs that are in the lists at `toCursor`: the answer says when one of them is not known. */
  readonly expected: readonly string[];
  /** By how much a producer's clock was ahead of the job system's when it enqueued a job, in ms; null: as before. */
  readonly clockSkewMs: number | null;
}

export interface FollowResult {
  /** False: another reader has been here, go on from `cursor`; where that is `fromCursor`, another repair goes on. */
  readonly applied: boolean;
  readonly cursor: string | null;
  /** All jobs that wait or are scheduled. */
  readonly jobs: number;
  /** The job that has been claimable longest, or will be claimable first. */
  readonly head: string | null;
  /** One of `expected` is not known. */
  readonly lacksExpected: boolean;
  /** Where the next step of a repair's sweep begins; null: it has ended, or none was asked for. */
  readonly sweepFrom: string | null;
  /** A repair, of this process or another one, has not ended. */
  readonly repairing: boolean;
}

/** How far a queue has been followed. */
export interface FollowedCursor {
  readonly cursor: string;
  /** A repair was begun and has not ended. */
  readonly repairing: boolean;
}

/** What a source is handed that reads a log of events, one queue at a time. */
export interface FollowSink extends EventSink {
  /**
   * @throws AppError SERVICE_UNAVAILABLE when it is not known whether it was applied: the same may be sent again.
   * @throws LeaseLostError when another process reads this source now.
   */
  follow(followed: FollowedQueue, fence?: number): Promise<FollowResult>;
  /** How far queues of a source have been followed, by name; those that never were are left out. Without names: all. */
  cursors(source: string, queues?: readonly string[]): Promise<ReadonlyMap<string, FollowedCursor>>;
  /** The `notes` of the queues of a source that were observed with some, by name. */
  notes(source: string): Promise<ReadonlyMap<string, string>>;
  /** The queue has gone from its job system. */
  gone(source: string, queue: string, fence?: number): Promise<void>;
}
