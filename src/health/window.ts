import type { RecentStep } from "../core/history.ts";
import type { QueueSnapshot } from "../core/snapshot.ts";

/**
 * How far back health and forecasts look: long enough to separate a trend from noise, short enough to describe the
 * present.
 */
export const windowMs = 300_000;

/** Of the history: steps of ten seconds. */
export const stepMs = 10_000;

/** The steps that lie wholly within the window before an instant, in the order of their times, without those whose numbers are uncertain. */
export function windowBefore(points: readonly RecentStep[], nowMs: number): readonly RecentStep[] {
  return points
    .filter(({ atMs }) => atMs >= nowMs - windowMs && atMs + stepMs <= nowMs)
    .filter(({ incompleteSamples }) => incompleteSamples === 0)
    .toSorted((a, b) => a.atMs - b.atMs);
}

/** Whether a job waited in every sample of the step, and the queue was not paused in any. */
export function isBusy({ samples, waitingSamples, pausedSamples }: RecentStep): boolean {
  return waitingSamples === samples && pausedSamples === 0;
}

/** Three readings of a job system, for so long is one believed, that comes once a minute. */
const seldomMs = 180_000;

/**
 * Whether the queue's job system is read less often than once a minute: then most samples only repeat what the last reading said,
 * and a head that stays, or a depth, may have been another one for long. What is known by events is known at once.
 */
export function isSeldomRead({ source, measuredAtMs, changesAtMs }: QueueSnapshot): boolean {
  return source !== "events" && changesAtMs !== null && changesAtMs - measuredAtMs > seldomMs;
}
