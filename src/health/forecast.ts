import type { Estimate, Forecast } from "../core/health.ts";
import type { RecentStep } from "../core/history.ts";
import type { QueueSnapshot } from "../core/snapshot.ts";
import type { HealthQuestion } from "./health.ts";
import { type Measured, secondsToFall, sigmas, trendOf } from "./trend.ts";
import { isBusy, isSeldomRead, stepMs, windowBefore } from "./window.ts";

/**
 * Forecasts a queue as if the last five minutes went on. It follows depth and age of the head since jobs have been
 * waiting without a break and the queue was not paused: what was before says nothing about how fast it drains. trend.ts
 * has the method.
 *
 * @returns null when even the present is not known: MISSING, stale or incomplete.
 */
export function forecastOf({ points, now, objectiveMs }: HealthQuestion): Forecast | null {
  const isKnown = now.accuracy === "EXACT" || now.accuracy === "ESTIMATED";
  const { latencyMs, depth } = now;
  if (latencyMs === null || now.stale || !isKnown) return null;
  const steps = windowBefore(points, now.measuredAtMs);
  const isFollowed = now.state === "WAITING" && !isSeldomRead(now);
  const busy = isFollowed ? sinceBusy(steps, now.measuredAtMs) : [];
  const capacityRatio = capacityRatioOf(steps);
  const isBroken = objectiveMs !== null && latencyMs > objectiveMs;
  const brokenSeconds = isBroken ? { low: 0, likely: 0, high: 0 } : null;
  if (busy.length < minSteps || depth === null || now.depthIsLowerBound) {
    const drainSeconds = now.state === "EMPTY" ? { low: 0, likely: 0, high: 0 } : null;
    return { drainSeconds, breachSeconds: brokenSeconds, capacityRatio, unstable: false };
  }

  const trend = trendOf(measuredOf(busy, now, ({ lastDepth }) => lastDepth, depth));
  const drainSeconds = secondsToFall(depth, trend);
  const drainedSeconds = trend.slope < 0 ? -depth / trend.slope : Number.POSITIVE_INFINITY;
  const breachSeconds =
    brokenSeconds ?? breachSecondsOf(busy, { ...now, latencyMs }, objectiveMs, drainedSeconds);
  return { drainSeconds, breachSeconds, capacityRatio, unstable: trend.slope > sigmas * trend.slopeError };
}

/** A minute: a shorter window shows no trend. */
const minSteps = 6;
/** Across a longer gap it is unknown whether jobs waited all the time. */
const maxGapMs = 3 * stepMs;

/** The newest steps in which jobs waited all the time, up to now. */
function sinceBusy(steps: readonly RecentStep[], nowMs: number): readonly RecentStep[] {
  const isBroken = (step: RecentStep, i: number) =>
    !isBusy(step) || (steps[i + 1]?.atMs ?? nowMs) - (step.atMs + stepMs) > maxGapMs;
  return steps.slice(steps.findLastIndex(isBroken) + 1);
}

/** One value of each step, at its end, and the one of now. */
function measuredOf(
  steps: readonly RecentStep[],
  { measuredAtMs }: QueueSnapshot,
  of: (step: RecentStep) => number,
  nowValue: number,
): readonly Measured[] {
  const measured = steps.map((step) => ({
    atSeconds: (step.atMs + stepMs - measuredAtMs) / 1000,
    value: of(step),
  }));
  return [...measured.filter(({ atSeconds }) => atSeconds < 0), { atSeconds: 0, value: nowValue }];
}

function breachSecondsOf(
  busy: readonly RecentStep[],
  now: QueueSnapshot & { readonly latencyMs: number },
  objectiveMs: number | null,
  drainedSeconds: number,
): Estimate | null {
  if (objectiveMs === null) return null;
  // How much younger than the objective the head is: nothing of it is left when the objective is broken.
  const youngerBy = (latencyMs: number) => (objectiveMs - latencyMs) / 1000;
  const left = youngerBy(now.latencyMs);
  const measured = measuredOf(busy, now, ({ lastLatencyMs }) => youngerBy(lastLatencyMs), left);
  const found = secondsToFall(left, trendOf(measured));
  // What is drained before ages no more, be it not sure that it is.
  if (found === null || drainedSeconds <= found.likely) return null;
  // No head ages faster than the clock.
  const { low, likely, high } = found;
  return { low: Math.max(low, left), likely: Math.max(likely, left), high: Math.max(high, left) };
}

/** Fewer jobs than this give no rate. */
const minJobs = 10;

/**
 * Arrivals per step divided by dequeues per step. Dequeues count only in steps in which jobs waited all the time, so
 * that no worker was idle. The interval is that of the logarithm of a ratio: D. Katz et al., "Obtaining confidence
 * intervals for the risk ratio in cohort studies", Biometrics 34, 1978, with the observed variances in place of the
 * binomial ones.
 *
 * @returns null when the source reports no counts, or too few jobs came or left.
 */
function capacityRatioOf(steps: readonly RecentStep[]): Estimate | null {
  const counted = steps.flatMap((step) =>
    step.counts === null ? [] : [{ ...step.counts, isBusy: isBusy(step) }],
  );
  const arrivals = rateOf(counted.map(({ enqueued }) => enqueued));
  const capacity = rateOf(counted.filter((step) => step.isBusy).map(({ dequeued }) => dequeued));
  if (arrivals === null || capacity === null) return null;
  const likely = arrivals.mean / capacity.mean;
  const factor = Math.exp(sigmas * Math.hypot(arrivals.relativeError, capacity.relativeError));
  return { low: likely / factor, likely, high: likely * factor };
}

function rateOf(jobs: readonly number[]): { readonly mean: number; readonly relativeError: number } | null {
  const sum = jobs.reduce((total, each) => total + each, 0);
  if (jobs.length < minSteps || sum < minJobs) return null;
  const mean = sum / jobs.length;
  const variance = jobs.reduce((total, each) => total + (each - mean) ** 2, 0) / (jobs.length - 1);
  return { mean, relativeError: Math.sqrt(variance / jobs.length) / mean };
}
