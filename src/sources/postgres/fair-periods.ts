/**
 * Divides a share of a core between readers: one that needs less than an equal part gets what it needs, and those that need
 * more divide the rest (max-min fairness). So a slow reader is read less often, and delays no other.
 *
 * @param worksMs for how long the database was busy with the last reading of each
 * @param intervalMs from one reading to the next where the share allows it
 * @param share of a core, for all readers together
 * @returns from the beginning of one reading to the next of each, in ms, at least
 */
export function fairPeriodsMs(
  worksMs: readonly number[],
  intervalMs: number,
  share: number,
): readonly number[] {
  let left = share;
  let readers = worksMs.length;
  for (const workMs of worksMs.toSorted((a, b) => a - b)) {
    const part = left / readers;
    // All that follow need more than an equal part, too.
    if (workMs > part * intervalMs) return worksMs.map((each) => Math.max(intervalMs, each / part));
    left -= workMs / intervalMs;
    readers -= 1;
  }
  return worksMs.map(() => intervalMs);
}
