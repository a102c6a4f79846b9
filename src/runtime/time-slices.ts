import { monotonicClock } from "./clock.ts";

/** Lets long work of many requests take turns with everything else: together they work for one slice, then the event loop turns. */
export interface TimeSlices {
  /** Whether the current slice is not over. When none was begun lately, the first begins at once. */
  has(): boolean;
  /** Resolves in a later turn of the event loop, in order, when a slice begins or what came before has left some of it. */
  next(): Promise<void>;
}

export function createTimeSlices(sliceMs: number): TimeSlices {
  const waiting: (() => void)[] = [];
  let endsAtMs = 0;
  let isScheduled = false;

  function schedule(): void {
    if (isScheduled || waiting.length === 0) return;
    isScheduled = true;
    setImmediate(begin);
  }

  async function begin(): Promise<void> {
    endsAtMs = monotonicClock.now() + sliceMs;
    do {
      waiting.shift()?.();
      // It works until it waits again. Many that have little to do share a slice.
      await null;
    } while (waiting.length > 0 && monotonicClock.now() < endsAtMs);
    isScheduled = false;
    schedule();
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
        schedule();
      });
    },
  };
}
