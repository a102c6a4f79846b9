import { setTimeout as delay } from "node:timers/promises";

/** Resolves after `ms` milliseconds, or at once when the signal is aborted: an abort ends a pause, and is not an error. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(Math.max(0, ms), undefined, { signal, ref: false }).catch(() => {});
}

/** A {@link pause} of one loop that can be ended early. */
export interface WakeablePause {
  /** One at a time. */
  pause(ms: number): Promise<void>;
  /** Ends the pause that lasts now, if any. */
  wake(): void;
}

export function createWakeablePause(stopping: AbortSignal): WakeablePause {
  let waking = new AbortController();
  return {
    pause(ms) {
      waking = new AbortController();
      return pause(ms, AbortSignal.any([stopping, waking.signal]));
    },
    wake: () => waking.abort(),
  };
}
