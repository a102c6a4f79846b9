const whole = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** A number of jobs or queues: `9,999`, `120.5K`. */
export function formatCount(count: number): string {
  return Math.abs(count) < 100_000 ? whole.format(count) : compact.format(count);
}

/** A number that may be greater: `10,000+`. */
export function formatAtLeast(count: number, isLowerBound: boolean): string {
  return isLowerBound ? `${formatCount(count)}+` : formatCount(count);
}

/** Jobs that came and left, per second; each may be greater where it is a lower bound. */
export interface Rates {
  readonly enqueuedPerSecond: number;
  readonly dequeuedPerSecond: number;
  readonly isLowerBound?: boolean;
}

/** A rate per second: `0`, `0.03`, `3.2`, `48`, `1,200`; where it may be greater, `48+`. */
export function formatRate(perSecond: number, isLowerBound = false): string {
  if (isLowerBound) return `${formatRate(perSecond)}+`;
  if (perSecond === 0) return "0";
  if (perSecond < 0.005) return "<0.01";
  if (perSecond < 0.1) return perSecond.toFixed(2);
  return perSecond < 10 ? perSecond.toFixed(1) : formatCount(Math.round(perSecond));
}
