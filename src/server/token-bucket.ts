import { type MonotonicClock, monotonicClock } from "../runtime/clock.ts";

export interface TokenBucketOptions {
  readonly perSecond: number;
  /** Capacity of the bucket, which is full at first. */
  readonly burst: number;
  readonly clock?: MonotonicClock;
}

export interface TokenBucket {
  /** Takes one token. @returns whether there was one. */
  take(): boolean;
}

export function createTokenBucket({
  perSecond,
  burst,
  clock = monotonicClock,
}: TokenBucketOptions): TokenBucket {
  let tokens = burst;
  let refilledAtMs = clock.now();
  return {
    take() {
      const now = clock.now();
      tokens = Math.min(burst, tokens + ((now - refilledAtMs) * perSecond) / 1000);
      refilledAtMs = now;
      if (tokens < 1) return false;
      tokens -= 1;
      return true;
    },
  };
}
