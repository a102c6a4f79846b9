import type { Accuracy } from "./snapshot.ts";

/** Jobs that came, and that left, between two readings of them. A report of counts that were reported before changes nothing. */
export interface ObservedCounts {
  /** Identifies the reading: greater than that of the one before, by the job system's clock in ms. */
  readonly cursor: number;
  /** From when on all were counted, and until when; by {@link monotonicClock}. */
  readonly sinceMs: number;
  readonly untilMs: number;
  /** Null when the source does not report it. */
  readonly enqueued: number | null;
  readonly left: readonly LeftJobs[];
  /** Whether more may have come and left, each within the time that was counted now. @default false */
  readonly isLowerBound?: boolean;
}

/** One job, or several that left at about one time and had waited about as long. */
export interface LeftJobs {
  /** By {@link monotonicClock}. */
  readonly atMs: number;
  /** From claimable to taken; null when that is not known. */
  readonly waitMs: number | null;
  /** @default 1 */
  readonly count?: number;
}

/** Waiting jobs that later ones overtook. */
export interface ObservedOvertaken {
  readonly count: number;
  /** How long the oldest of the other jobs had been claimable, in ms; null when there is none. Of no meaning where `count` is 0. */
  readonly inOrderAgeMs: number | null;
}

/** What a job system itself says of one queue. */
export interface Observation {
  /** The queue's name in its job system; it is presented as `<source>/<queue>`. */
  readonly queue: string;
  /**
   * How long the head had been claimable when it was read, in ms; null when no job waits. With accuracy UNKNOWN: for
   * how long the source has been unable to report it.
   */
  readonly headAgeMs: number | null;
  /** `headAgeMs` may be off by this much either way at `readAtMs`: half a round trip when that is its middle. */
  readonly uncertaintyMs: number;
  /** Null when the source does not report it. */
  readonly depth: number | null;
  /** Whether more jobs may wait: they were counted up to `depth`, which is at least 2 then. @default false */
  readonly depthIsLowerBound?: boolean;
  /** Null when the source does not report it. */
  readonly scheduled: number | null;
  /**
   * How many jobs were delivered to a worker and are not acknowledged: they do not wait. Null when the source does not report
   * it. @default null
   */
  readonly inFlight?: number | null;
  /** How long ago the oldest of these was last delivered, in ms; null when there is none, or it is not known. @default null */
  readonly inFlightIdleMs?: number | null;
  /** Jobs that were left behind, as {@link QueueSnapshot} has them. Null when the source does not report them. @default null */
  readonly overtaken?: ObservedOvertaken | null;
  /** False also when the source does not report it. */
  readonly paused: boolean;
  readonly accuracy: Accuracy;
  /** Absent: nothing new was counted. Null: jobs are not counted, or some were missed, and what was counted before is not shown. */
  readonly counts?: ObservedCounts | null;
  /** When it was read, by {@link monotonicClock}. */
  readonly readAtMs: number;
  /**
   * What the next reader of the source needs to go on from this reading: a text of the source's own, stored with the rest of it.
   * Absent: as before.
   */
  readonly notes?: string;
}

/** Everything that one reading of a job system said. */
export interface ObservedSource {
  /** Name of the source, as it stands before the slash: `faktory`. */
  readonly source: string;
  /** All queues of the source: one that is missing here has gone, and becomes MISSING. */
  readonly queues: readonly Observation[];
  /** For how long this may be believed, in ms; later the queues are stale. */
  readonly freshForMs: number;
  /** When the reading began, by {@link monotonicClock}, for traces. */
  readonly sinceMs?: number;
}

/**
 * Where a source reports what it has read.
 *
 * Every operation takes a `fence` last: the fencing token of the lease under which it was read. Sources leave it out,
 * since the sink that they get adds it (sources/leader-only-source.ts). The tracker stores the newest fence of each queue
 * in the field `fence` of its state, and refuses reports with an older one: a reader that was frozen while another one
 * took over changes nothing. Reports without a fence are not compared with any.
 */
export interface EventSink {
  /**
   * Settles within a few seconds, whatever happens: a source that stops waits for it.
   *
   * @throws AppError SERVICE_UNAVAILABLE when Redis does not answer; the next reading makes up for it.
   * @throws LeaseLostError when another process reads this source now.
   */
  observe(observed: ObservedSource, fence?: number): Promise<void>;
  /** Called after each attempt to read the job system, with whether it answered. */
  answered?(isUp: boolean): void;
}
