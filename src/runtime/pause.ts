import { setTimeout as delay } from "node:timers/promises";

/** Resolves after so many ms, or at once when the signal is aborted: an abort is no failure of a pause, but its end. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(Math.max(0, ms), undefined, { signal, ref: false }).catch(() => {});
}
