import type { WaitTime } from "./snapshot.ts";

/**
 * Each bucket's upper bound is 4 % above that of the one before, so that the value given for a bucket is within 2 % of
 * every wait in it (the relative-error histogram of DDSketch, Masson et al. 2019). tracker/lua/includes/recent.lua fills them.
 */
export const gamma = 1.04;

/** Wait in ms that stands for all waits of one bucket. Bucket 0 holds those of 0 ms, bucket 1 those of 1 ms. */
function bucketMs(bucket: number): number {
  if (bucket === 0) return 0;
  if (bucket === 1) return 1;
  return (2 * gamma ** (bucket - 1)) / (gamma + 1);
}

/**
 * Wait times from what snapshot.lua counted: `[count, sum, max, bucket, count, bucket, count, ...]`, waits in ms, buckets
 * in any order. Quantiles are nearest-rank and within 2 % of the true ones; count, mean and max are exact.
 *
 * @param msOf wait in ms that stands for all waits of a bucket.
 * @returns seconds; all 0 when nothing was counted.
 */
export function waitTimeOf(
  counted: readonly number[],
  msOf: (bucket: number) => number = bucketMs,
): WaitTime {
  const [count = 0, sumMs = 0, maxMs = 0] = counted;
  if (count === 0) return { count: 0, mean: 0, p50: 0, p95: 0, p99: 0, max: 0 };
  const buckets: [bucket: number, count: number][] = [];
  for (let i = 3; i + 1 < counted.length; i += 2) buckets.push([counted[i] ?? 0, counted[i + 1] ?? 0]);
  buckets.sort(([a], [b]) => a - b);

  const quantile = (q: number): number => {
    let rank = Math.ceil(q * count);
    for (const [bucket, inBucket] of buckets) {
      rank -= inBucket;
      if (rank <= 0) return seconds(Math.min(msOf(bucket), maxMs));
    }
    return seconds(maxMs);
  };
  return {
    count,
    mean: sumMs / count / 1000,
    p50: quantile(0.5),
    p95: quantile(0.95),
    p99: quantile(0.99),
    max: seconds(maxMs),
  };
}

/** To the microsecond: to round to whole ms would be up to 4 % of a short wait. */
function seconds(ms: number): number {
  return Math.round(ms * 1000) / 1e6;
}
