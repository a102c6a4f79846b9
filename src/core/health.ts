/** The health of a queue. health/health.ts defines the values. */
export const healths = ["OK", "SLOW", "FALLING_BEHIND", "STALLED", "UNKNOWN"] as const;
export type Health = (typeof healths)[number];

/**
 * How bad each is, the greater the worse. UNKNOWN is worse than OK and better than what is certain: when a job system falls silent, all
 * its queues become UNKNOWN at once, and must not hide one that is known to be STALLED.
 */
export const severities: Readonly<Record<Health, number>> = {
  OK: 0,
  UNKNOWN: 1,
  SLOW: 2,
  FALLING_BEHIND: 3,
  STALLED: 4,
};

/** A number that is not known for sure: nine times of ten the truth is from `low` to `high`, if what was seen goes on so. */
export interface Estimate {
  readonly low: number;
  readonly likely: number;
  readonly high: number;
}

/** Forecast of a queue, if the last minutes continue; null where no estimate is reliable. */
export interface Forecast {
  /** Until no job waits. */
  readonly drainSeconds: Estimate | null;
  /** Until the head is older than the objective; 0 when it is. */
  readonly breachSeconds: Estimate | null;
  /** The capacity that is needed for the arrivals seen, as a multiple of the capacity seen while jobs waited. */
  readonly capacityRatio: Estimate | null;
  /** More comes than can be taken: it would never drain. */
  readonly unstable: boolean;
}
