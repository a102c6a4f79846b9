const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/**
 * A number and its unit, such as 250ms, 1.5s, 5m, 12h or 7d, in whole ms; null for all else. 0 needs no unit.
 *
 * @param bareUnit the unit of a number that has none; without it, only 0 may have none.
 */
export function durationMs(text: string, bareUnit?: keyof typeof unitMs): number | null {
  const [, amount, unit = bareUnit] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text) ?? [];
  if (amount === undefined) return null;
  if (unit === undefined) return text === "0" ? 0 : null;
  return Math.round(Number(amount) * unitMs[unit as keyof typeof unitMs]);
}
