import { type MonotonicClock, monotonicClock } from "../core/clock.ts";

export interface AllowanceOptions {
  readonly perSecond: number;
  /** How many may come at once, after a time in which fewer came. */
  readonly burst: number;
  readonly clock?: MonotonicClock;
}

/** A rate that may be used up in bursts. */
export interface Allowance {
  /** Takes one of it. @returns whether there was one. */
  take(): boolean;
}

export function createAllowance({ perSecond, burst, clock = monotonicClock }: AllowanceOptions): Allowance {
  let left = burst;
  let atMs = clock.now();
  return {
    take() {
      const now = clock.now();
      left = Math.min(burst, left + ((now - atMs) * perSecond) / 1000);
      atMs = now;
      if (left < 1) return false;
      left -= 1;
      return true;
    },
  };
}
