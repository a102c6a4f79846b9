/** What several rounds measured: the one in the middle, and between which it lies. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** @throws Error when there are none. */
export function spread(values: readonly number[]): Spread {
  if (values.length === 0) throw new Error("expected at least one round");
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** With linear interpolation between the two nearest; NaN when there are none. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = Float64Array.from(values).sort();
  const at = q * (sorted.length - 1);
  const below = sorted[Math.floor(at)] ?? Number.NaN;
  const above = sorted[Math.ceil(at)] ?? Number.NaN;
  return below + (above - below) * (at - Math.floor(at));
}

/** What each round says of one against the other: what slows a whole round down is not in it. */
export function ratios(ours: readonly number[], theirs: readonly number[]): number[] {
  if (ours.length !== theirs.length) throw new Error("expected as many rounds of both");
  return ours.map((value, round) => value / (theirs[round] ?? Number.NaN));
}
