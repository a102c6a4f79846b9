/**
 * How old the jobs are that get dequeued: those of a running period, and of the one before. tracker/lua/includes/served.lua has the
 * same rule, for the jobs that the tracker knows. Instants are ms by one clock, whichever it is.
 */
export interface ServicePeriods {
  readonly fromMs: number;
  /** Jobs that were dequeued since, and the oldest time since when one of these had been claimable. */
  readonly count: number;
  readonly oldestMs: number;
  /** That time of the period before; null: there was none. */
  readonly beforeMs: number | null;
}

/** A period lasts until this is over and it has three jobs: a dequeue that is noticed late is no proof, nor is a single job that came first. */
const minPeriodMs = 60_000;
const minServed = 3;

/** With more jobs, of which the oldest had been claimable since `oldestMs`. */
export function withServed(
  known: ServicePeriods | null,
  { nowMs, count, oldestMs }: { readonly nowMs: number; readonly count: number; readonly oldestMs: number },
): ServicePeriods {
  // What is from before the clock was set back proves nothing.
  if (known === null || known.fromMs > nowMs) return { fromMs: nowMs, count, oldestMs, beforeMs: null };
  if (known.fromMs + minPeriodMs <= nowMs && known.count >= minServed)
    return { fromMs: nowMs, count, oldestMs, beforeMs: known.oldestMs };
  return { ...known, count: known.count + count, oldestMs: Math.min(known.oldestMs, oldestMs) };
}

/** Every job that was dequeued in the last minute or longer had been claimable since then at the earliest; null when that is not known. */
export function servedSinceMs(known: ServicePeriods | null, nowMs: number): number | null {
  if (known === null || known.beforeMs === null) return null;
  const earliestMs = Math.min(known.oldestMs, known.beforeMs);
  return earliestMs <= nowMs ? earliestMs : null;
}
