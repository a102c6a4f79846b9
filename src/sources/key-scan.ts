import { monotonicClock } from "../runtime/clock.ts";
import { pause } from "../runtime/pause.ts";

export interface KeyScanOptions {
  /** One `SCAN` from a position on, "0" being the begin; resolves to the next position, "0" when all keys were seen. */
  readonly step: (position: string) => Promise<string>;
  /** The share of the watched Redis's time, at most: 0.1 pauses nine times as long as a step takes. */
  readonly maxShare: number;
  /** All keys have been seen, since the last call of this. */
  readonly onPassed: () => void;
  /** A step failed; the next one is tried a second later. */
  readonly onFailed: (error: unknown) => void;
  readonly signal: AbortSignal;
}

/** The first look at all keys may take half of the time: until then nothing is known. */
const firstShare = 0.5;
const minPassMs = 1_000;
const retryMs = 1_000;
const costGrowth = 1.1;

/**
 * Looks through all keys of a Redis again and again, no faster than a share of its time allows and at most once a second. What
 * fails is tried again a second later, from where it was. Resolves when the signal is aborted.
 */
export async function scanKeys({
  step,
  maxShare,
  onPassed,
  onFailed,
  signal,
}: KeyScanOptions): Promise<void> {
  let share = Math.max(firstShare, maxShare);
  let position = "0";
  let passFromMs = monotonicClock.now();
  /** What a step costs that Redis: the shortest of late, since what is on its way, or waits for a processor, costs it nothing. */
  let costMs = Number.POSITIVE_INFINITY;
  while (!signal.aborted) {
    const sentAtMs = monotonicClock.now();
    try {
      position = await step(position);
    } catch (error) {
      onFailed(error);
      await pause(retryMs, signal);
      continue;
    }
    const nowMs = monotonicClock.now();
    costMs = Math.min(nowMs - sentAtMs, costGrowth * costMs);
    let pauseMs = costMs * (1 / share - 1);
    if (position === "0") {
      onPassed();
      share = maxShare;
      pauseMs = Math.max(pauseMs, passFromMs + minPassMs - nowMs);
      passFromMs = nowMs + pauseMs;
    }
    await pause(pauseMs, signal);
  }
}
