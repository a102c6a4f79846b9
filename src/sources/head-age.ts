import type { Observation } from "../core/observation.ts";

/** The clock that wrote a job's time may be ahead of the clock that the time is measured by, but not by more, in ms. */
export const maxAheadMs = 60_000;

/** Whether that age is of a time that lies too far ahead: such a time says nothing of how long the job has waited. */
export function isTooFarAhead(ageMs: number): boolean {
  return ageMs < -maxAheadMs;
}

/**
 * The age of a head that is measured by a time which another clock may have written, in ms; below 0 when that time lies ahead.
 *
 * @param accuracy where the time is not too far ahead. Else the head has waited for 0 at least, which is never a good estimate.
 */
export function headAge(
  ageMs: number,
  accuracy: Observation["accuracy"],
): { readonly headAgeMs: number; readonly accuracy: Observation["accuracy"] } {
  const isLowerBound = accuracy !== "UNKNOWN" && isTooFarAhead(ageMs);
  return { headAgeMs: Math.max(0, ageMs), accuracy: isLowerBound ? "LOWER_BOUND" : accuracy };
}
