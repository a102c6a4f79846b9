import type { Axis } from "./axis.ts";

/** In seconds. A log axis has no 0: a shorter duration is drawn at this height. */
export const shortestDuration = 0.001;

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
 * The axis for these durations; what is not known (null) has no part in it. It is linear where a logarithm shows nothing: all
 * values are equal, or there is none.
 */
export function durationAxis(seconds: readonly (number | null)[]): Axis {
  let low = Number.POSITIVE_INFINITY;
  let high = 0;
  for (const value of seconds) {
    if (value === null) continue;
    const shown = Math.max(value, shortestDuration);
    low = Math.min(low, shown);
    high = Math.max(high, shown);
  }
  if (low >= high) return linearAxis(high <= shortestDuration ? 1 : rungAbove(high));
  const min = fine.findLast((rung) => rung <= low) ?? shortestDuration;
  const max = rungAbove(high);
  return { isLog: true, min, max, ticks: ticksOf(min, max) };
}

function linearAxis(max: number): Axis {
  return { isLog: false, min: 0, max, ticks: [0, max / 2, max] };
}

/** Strictly above, so that a line at the highest value is not on the border. */
function rungAbove(seconds: number): number {
  return fine.find((rung) => rung > seconds) ?? seconds * 2;
}

function ticksOf(min: number, max: number): readonly number[] {
  const within = (ladder: readonly number[]) => ladder.filter((rung) => rung >= min && rung <= max);
  const all = [fine, medium, coarse].map(within);
  const fitting = all.find((ticks) => ticks.length >= 2 && ticks.length <= maxTicks);
  if (fitting !== undefined) return fitting;
  const sparse = all.at(-1) ?? [];
  if (sparse.length < 2) return [min, max];
  return sparse.filter((_, i) => i % Math.ceil(sparse.length / maxTicks) === 0);
}
