import { monotonicClock } from "./clock.ts";

/** Lets long work of many requests take turns with everything else: together they work for one slice, then the event loop turns. */
export interface TimeSlices {
  /** Whether the current slice is not over. When none was begun lately, the first begins at once. */
  has(): boolean;
  /** Resolves when a slice of the caller's own begins, in order. */
  next(): Promise<void>;
}

export function createTimeSlices(sliceMs: number): TimeSlices {
  const waiting: (() => void)[] = [];
  let endsAtMs = 0;

  function begin(): void {
    endsAtMs = monotonicClock.now() + sliceMs;
    waiting.shift()?.();
    if (waiting.length > 0) setImmediate(begin);
  }

  return {
    has() {
      const nowMs = monotonicClock.now();
      if (nowMs < endsAtMs) return true;
      if (waiting.length > 0 || nowMs < endsAtMs + sliceMs) return false;
      endsAtMs = nowMs + sliceMs;
      return true;
    },
    next() {
      return new Promise((resolve) => {
        waiting.push(resolve);
        if (waiting.length === 1) setImmediate(begin);
      });
    },
  };
}
