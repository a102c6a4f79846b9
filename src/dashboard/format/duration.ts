/**
 * A duration in its two largest units: `75 ms`, `4.8 s`, `48 s`, `1 m 30 s`, `2 h 5 m`, `3 d 4 h`. Rounded down: never more than has passed.
 */
export function formatDuration(seconds: number): string {
  if (seconds < 0) return `-${formatDuration(-seconds)}`;
  if (seconds === 0) return "0 s";
  if (seconds < 0.001) return "<1 ms";
  if (seconds < 1) return `${Math.floor(seconds * 1_000 + rounding)} ms`;
  if (seconds < 10) return `${(Math.floor(seconds * 10 + rounding) / 10).toFixed(1)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3_600) return pair(seconds, 60, "m", 1, "s");
  if (seconds < 86_400) return pair(seconds, 3_600, "h", 60, "m");
  return pair(seconds, 86_400, "d", 3_600, "h");
}

/** A wait that may have been shorter: `≤ 4.8 s`. */
export function formatWait(seconds: number, isUpperBound: boolean): string {
  return isUpperBound ? `≤ ${formatDuration(seconds)}` : formatDuration(seconds);
}

/** 0.3 * 10 is a little less than 3. */
const rounding = 1e-6;

function pair(seconds: number, large: number, largeUnit: string, small: number, smallUnit: string): string {
  const count = Math.floor(seconds / large);
  const rest = Math.floor((seconds - count * large) / small);
  return rest === 0 ? `${count} ${largeUnit}` : `${count} ${largeUnit} ${rest} ${smallUnit}`;
}
