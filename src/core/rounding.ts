/** Seconds of a duration in ms, to the ms. */
export function secondsOf(ms: number): number {
  return Math.round(ms) / 1000;
}

/** Seconds to the ms: no clock here knows more. */
export function roundedSeconds(seconds: number): number {
  return secondsOf(seconds * 1000);
}

/** Four significant digits: no count over a window is surer than that. */
export function roundedRate(value: number): number {
  return Number(value.toPrecision(4));
}
