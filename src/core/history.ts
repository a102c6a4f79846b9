import type { WaitTime } from "./snapshot.ts";

/** How long a step of the history is, in seconds. Each is a whole number of the one before. */
export const stepSeconds = { TEN_SECONDS: 10, ONE_MINUTE: 60, ONE_HOUR: 3_600 } as const;
export type HistoryStep = keyof typeof stepSeconds;
export const historySteps = Object.keys(stepSeconds) as readonly HistoryStep[];

/** What was observed of one queue in one step. A step without observations has no record: that is a gap, not zero. */
export interface HistoryPoint {
  /** When the step began, in ms since the epoch by Redis's clock: a whole number of steps. */
  readonly atMs: number;
  /** How often the queue was looked at: once a second, or less. At least 1. */
  readonly samples: number;
  /** In how many of these samples a job waited. */
  readonly waitingSamples: number;
  /** In how many of these samples the queue was paused. */
  readonly pausedSamples: number;
  /** In how many of these samples the queue was INCOMPLETE: their numbers may be too high or too low. */
  readonly incompleteSamples: number;
  /** In how many of these samples the depth was a lower bound, so that the depths of the step are, too. @default 0 */
  readonly lowerBoundSamples?: number;
  readonly maxLatencyMs: number;
  /** Over the samples, those in which no job waited counting as 0. */
  readonly meanLatencyMs: number;
  /** In the last sample. */
  readonly lastLatencyMs: number;
  readonly maxDepth: number;
  /** In the last sample. */
  readonly lastDepth: number;
  /** Null when the source does not report it. */
  readonly counts: HistoryCounts | null;
}

/**
 * By the time of arrival, so that every event is in exactly one step, however late it arrives. The first step of a
 * queue also has what came in the step before, when the queue was not known yet.
 */
export interface HistoryCounts {
  readonly enqueued: number;
  readonly dequeued: number;
  /** Of the jobs that were dequeued, and whose enqueue is known; all 0 when there is none. Quantiles within 6 %. */
  readonly waitTime: WaitTime;
}

/** What health and forecasts need of a step. */
export interface RecentStep
  extends Pick<
    HistoryPoint,
    | "atMs"
    | "samples"
    | "waitingSamples"
    | "pausedSamples"
    | "incompleteSamples"
    | "lastLatencyMs"
    | "maxDepth"
    | "lastDepth"
  > {
  readonly counts: Pick<HistoryCounts, "enqueued" | "dequeued"> | null;
}

export interface HistoryRange {
  readonly queue: string;
  readonly step: HistoryStep;
  /** The first step begins here or later. */
  readonly fromMs: number;
  /** The last step begins before this; null: up to the newest. */
  readonly toMs: number | null;
}

export interface HistoryReader {
  /** In the order of their times; gaps are left out. @throws AppError SERVICE_UNAVAILABLE when Redis does not answer. */
  read(range: HistoryRange): Promise<HistoryPoint[]>;
  /**
   * The newest finished steps of ten seconds of some queues that began at `sinceMs` or later, by queue, in the order of their
   * times. One round trip. @throws AppError as `read`.
   *
   * @param max at most this number of each queue, the newest ones. @default all of them
   */
  latest(queues: readonly string[], sinceMs: number, max?: number): Promise<RecentStep[][]>;
}
