/**
 * A time as producers write it: a number of seconds, ms, µs or ns since the epoch, or ISO 8601, which is UTC where it names no zone.
 *
 * @returns ms since the epoch; null when it is none.
 */
export function jobTimeMs(text: string): number | null {
  if (/^\d+(\.\d*)?(e\+?\d+)?$/i.test(text)) return epochMs(Number(text));
  if (!/^\d{4}-\d\d-\d\d[T ]\d\d:\d\d/.test(text)) return null;
  const isZoned = /(Z|[+-]\d\d:?\d\d)$/i.test(text);
  const ms = Date.parse(isZoned ? text : `${text}Z`);
  return Number.isNaN(ms) ? null : ms;
}

/** Each unit's numbers of the years 1973 to 5138 are those of no other unit. */
function epochMs(value: number): number | null {
  const units = [1_000, 1, 1e-3, 1e-6];
  const ms = units.map((unit) => value * unit).find((each) => each >= 1e11 && each < 1e14);
  return ms ?? null;
}
