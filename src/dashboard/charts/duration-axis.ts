import type { Axis } from "./axis.ts";

/** In seconds. What is shorter is drawn as 0. */
const shortestDuration = 0.001;

const minute = 60;
const hour = 60 * minute;
const day = 24 * hour;

/** Round durations. Each list leaves rungs of the one before out; the first with at most six rungs on the axis is used. */
const fine = [
  ...[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30],
  ...[1, 2, 5, 10, 20, 30].map((minutes) => minutes * minute),
  ...[1, 2, 5, 12].map((hours) => hours * hour),
  ...[1, 2, 5, 10, 30, 90, 365, 3_650].map((days) => days * day),
];
const medium = [
  0.001,
  0.01,
  0.1,
  1,
  5,
  15,
  30,
  minute,
  5 * minute,
  15 * minute,
  hour,
  6 * hour,
  day,
  7 * day,
  30 * day,
];
const coarse = [
  0.001,
  0.01,
  0.1,
  1,
  10,
  minute,
  10 * minute,
  hour,
  12 * hour,
  day,
  10 * day,
  90 * day,
  3_650 * day,
];
const maxTicks = 6;

/**
 * The axis for these durations; what is not known (null) has no part in it. A logarithm has no 0: where there is one, it is the lower
 * end, a rung below the shortest of the others. The axis is linear where a logarithm shows nothing: all others are equal, or there is none.
 */
export function durationAxis(seconds: readonly (number | null)[]): Axis {
  let low = Number.POSITIVE_INFINITY;
  let high = 0;
  let hasZero = false;
  for (const value of seconds) {
    if (value === null) continue;
    if (value < shortestDuration) {
      hasZero = true;
      continue;
    }
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low >= high) return linearAxis(high === 0 ? 1 : rungAbove(high));
  const first = fine.findLast((rung) => rung <= low) ?? shortestDuration;
  const max = rungAbove(high);
  if (!hasZero) return { isLog: true, min: first, max, ticks: ticksOf(first, max, maxTicks) };
  const min = fine.findLast((rung) => rung < first) ?? first / 2;
  return { isLog: true, min, max, ticks: [0, ...ticksOf(first, max, maxTicks - 1)] };
}

function linearAxis(max: number): Axis {
  return { isLog: false, min: 0, max, ticks: [0, max / 2, max] };
}

/** Strictly above, so that a line at the highest value is not on the border. */
function rungAbove(seconds: number): number {
  return fine.find((rung) => rung > seconds) ?? seconds * 2;
}

function ticksOf(min: number, max: number, maxCount: number): readonly number[] {
  const within = (ladder: readonly number[]) => ladder.filter((rung) => rung >= min && rung <= max);
  const all = [fine, medium, coarse].map(within);
  const fitting = all.find((ticks) => ticks.length >= 2 && ticks.length <= maxCount);
  if (fitting !== undefined) return fitting;
  const sparse = all.at(-1) ?? [];
  if (sparse.length < 2) return [min, max];
  return sparse.filter((_, i) => i % Math.ceil(sparse.length / maxCount) === 0);
}
