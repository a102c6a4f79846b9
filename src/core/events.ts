export const eventTypes = ["ENQUEUED", "DEQUEUED", "REMOVED"] as const;

export type QueueEventType = (typeof eventTypes)[number];

/** Together with the queue, the identity of a job's stay in it. */
export interface JobIdentity {
  readonly jobId: string;
  /** Distinguishes a retry of the same job from a repeated event. */
  readonly attempt: number;
}

/** Something that happened to one job. */
export interface QueueEvent extends JobIdentity {
  readonly type: QueueEventType;
  readonly queue: string;
  /** When it happened, in ms since the epoch; null: when it is received. The future is clamped to Redis's now. */
  readonly atMs: number | null;
  /** ENQUEUED only: claimable from then on, in ms since the epoch; null: from `atMs`. */
  readonly availableAtMs: number | null;
}

/** Outcome of a batch. `accepted + duplicates` is its length; the early ones are among the accepted. */
export interface RecordResult {
  readonly accepted: number;
  /** Events that had been received before, and changed nothing. */
  readonly duplicates: number;
  /** Dequeues whose enqueue has not arrived yet: remembered for the event window, so that it is cancelled when it does. */
  readonly early: number;
  /** Enqueues whose job had been claimable for longer than MAX_WAIT: it counts as lost, unless its dequeue arrives. */
  readonly expired: number;
}
