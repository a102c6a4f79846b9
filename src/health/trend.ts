import type { Estimate } from "../core/health.ts";

/** Something that was measured at some time, in seconds. */
export interface Measured {
  readonly atSeconds: number;
  readonly value: number;
}

/** By how much something grows, and how surely. */
export interface Trend {
  /** Per second. */
  readonly slope: number;
  /** Standard error of the slope. */
  readonly slopeError: number;
  /** By how much the value varies round the slope within one second, squared. */
  readonly variancePerSecond: number;
  /** For how long it was looked at. */
  readonly spanSeconds: number;
}

/** Nine of ten lie within this number of standard deviations. */
export const sigmas = 1.645;

/**
 * The slope is the median of the slopes of all pairs, which a few outliers do not move: H. Theil, "A rank-invariant method of
 * linear and polynomial regression analysis", 1950; P. K. Sen, "Estimates of the regression coefficient based on Kendall's tau",
 * Journal of the American Statistical Association 63, 1968.
 *
 * Sen's interval, though, takes what is left beside the line for independent, which a depth is not: it is the sum of all that came
 * and went before. So the error is that of a trend of a random walk, 6/5 of the variance of its steps over its length (S. N.
 * Durlauf and P. C. B. Phillips, "Trends versus random walks in time series analysis", Econometrica 56, 1988): theirs is of the
 * least-squares slope, and the median's was 1.1 to 1.2 in a simulation of 8 to 30 steps.
 *
 * @param measured at least two, in the order of their times, which are all different.
 */
export function trendOf(measured: readonly Measured[]): Trend {
  const slope = median(slopesOf(measured));
  const variances = measured.slice(1).map((later, i) => {
    const earlier = measured[i] as Measured;
    return (later.atSeconds - earlier.atSeconds) * (slopeOf(earlier, later) - slope) ** 2;
  });
  const variancePerSecond = variances.reduce((sum, variance) => sum + variance, 0) / variances.length;
  const spanSeconds = (measured.at(-1)?.atSeconds ?? 0) - (measured[0]?.atSeconds ?? 0);
  return {
    slope,
    slopeError: Math.sqrt((1.2 * variancePerSecond) / spanSeconds),
    variancePerSecond,
    spanSeconds,
  };
}

/**
 * Forecasts reach at most this many times as far ahead as the data reach back: later, other things will have happened.
 */
const furthest = 6;

/**
 * How many seconds it takes a random walk with this trend to go down by `distance`. The ends are where what is expected at that
 * time, give or take the error of the slope and the walk's own until then, still touches the goal: the roots of
 * `(distance + slope * t)² = sigmas² (variance * t + slopeError² * t²)`, after E. C. Fieller, "Some problems in interval
 * estimation", Journal of the Royal Statistical Society B 16, 1954.
 *
 * @returns null when it need not go down at all, or may get there in too long a time to speak of.
 */
export function secondsToFall(distance: number, trend: Trend): Estimate | null {
  const { slope, slopeError, variancePerSecond, spanSeconds } = trend;
  const likely = -distance / slope;
  const a = slope ** 2 - (sigmas * slopeError) ** 2;
  if (slope >= 0 || a <= 0) return null;
  const noise = sigmas ** 2 * variancePerSecond;
  const b = 2 * distance * slope - noise;
  // b² - 4 a distance² is never negative, but for rounding.
  const root = Math.sqrt(Math.max(0, b ** 2 - 4 * a * distance ** 2));
  const high = (-b + root) / (2 * a);
  if (high > furthest * spanSeconds) return null;
  // The product of both is distance² / a: no small difference of large numbers.
  const low = high === 0 ? 0 : distance ** 2 / a / high;
  return { low: Math.min(low, likely), likely, high: Math.max(high, likely) };
}

function slopeOf(earlier: Measured, later: Measured): number {
  return (later.value - earlier.value) / (later.atSeconds - earlier.atSeconds);
}

/** Of all pairs. Each row of a page has hundreds, so that no list of lists is made of them. */
function slopesOf(measured: readonly Measured[]): Float64Array {
  const slopes = new Float64Array((measured.length * (measured.length - 1)) / 2);
  let next = 0;
  for (const [i, later] of measured.entries())
    for (let j = 0; j < i; j++) slopes[next++] = slopeOf(measured[j] as Measured, later);
  return slopes;
}

function median(values: Float64Array): number {
  // Sorts numbers as such, with no function to call for each pair.
  const sorted = values.sort();
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2;
}
