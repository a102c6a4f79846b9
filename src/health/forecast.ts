import type { Estimate, Forecast } from "../core/health.ts";
import type { HistoryPoint } from "../core/history.ts";
import type { QueueSnapshot } from "../core/snapshot.ts";
import type { HealthQuestion } from "./health.ts";
import { type Measured, secondsToFall, sigmas, trendOf } from "./trend.ts";
import { isBusy, isSeldomRead, stepMs, windowBefore } from "./window.ts";

/**
 * What becomes of a queue if what was seen of it in the last five minutes goes on so. Depth and age of the head are followed since
 * jobs have been waiting without a break, and the queue was not paused: what was before says nothing of how fast it drains. The
 * method is told in trend.ts.
 *
 * @returns null when not even the present is known: MISSING, stale, doubted or incomplete.
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
  if (busy.length < leastSteps || depth === null) {
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

/** A minute: less than that tells no trend. */
const leastSteps = 6;
/** In a longer gap nobody knows whether jobs waited all the time. */
const longestGapMs = 3 * stepMs;

/** The newest steps in which jobs waited all the time, up to now. */
function sinceBusy(steps: readonly HistoryPoint[], nowMs: number): readonly HistoryPoint[] {
  const isBroken = (step: HistoryPoint, i: number) =>
    !isBusy(step) || (steps[i + 1]?.atMs ?? nowMs) - (step.atMs + stepMs) > longestGapMs;
  return steps.slice(steps.findLastIndex(isBroken) + 1);
}

/** One value of each step, at its end, and the one of now. */
function measuredOf(
  steps: readonly HistoryPoint[],
  { measuredAtMs }: QueueSnapshot,
  of: (step: HistoryPoint) => number,
  nowValue: number,
): readonly Measured[] {
  const measured = steps.map((step) => ({
    atSeconds: (step.atMs + stepMs - measuredAtMs) / 1000,
    value: of(step),
  }));
  return [...measured.filter(({ atSeconds }) => atSeconds < 0), { atSeconds: 0, value: nowValue }];
}

function breachSecondsOf(
  busy: readonly HistoryPoint[],
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

/** Fewer jobs than this tell no rate. */
const leastJobs = 10;

/**
 * Arrivals per step over departures per step, the latter of steps in which jobs waited all the time, so that nobody who takes them
 * was idle. The interval is that of the logarithm of a ratio: D. Katz et al., "Obtaining confidence intervals for the risk ratio in
 * cohort studies", Biometrics 34, 1978, with the variances seen in place of the binomial ones.
 *
 * @returns null where the source tells no counts, or too little has come or gone.
 */
function capacityRatioOf(steps: readonly HistoryPoint[]): Estimate | null {
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
  if (jobs.length < leastSteps || sum < leastJobs) return null;
  const mean = sum / jobs.length;
  const variance = jobs.reduce((total, each) => total + (each - mean) ** 2, 0) / (jobs.length - 1);
  return { mean, relativeError: Math.sqrt(variance / jobs.length) / mean };
}
