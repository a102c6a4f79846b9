import type { Health } from "../core/health.ts";
import type { RecentStep } from "../core/history.ts";
import { inOrderLatencyMs, type QueueSnapshot } from "../core/snapshot.ts";
import { isBusy, isSeldomRead, stepMs, windowBefore, windowMs } from "./window.ts";

export interface HealthQuestion {
  /** The steps of ten seconds of the last five minutes, or more; gaps are left out. */
  readonly points: readonly RecentStep[];
  /** How the queue stands, with its depth. */
  readonly now: QueueSnapshot;
  /** How soon jobs should be dequeued, in ms; null: no objective is set. */
  readonly objectiveMs: number | null;
}

/**
 * The worst health that is certain. The window is five minutes however short the trouble is, and what the data do not
 * show is UNKNOWN.
 *
 * - STALLED: for five minutes jobs waited, none left, and the head is the same.
 * - FALLING_BEHIND: over five minutes more jobs came than left, beyond noise, and the head grew older. A burst that is
 *   being drained, or that has just arrived, does not do both all the time.
 * - SLOW: the head is older than the objective, or was overtaken and is older than five minutes. One snapshot is enough.
 * - UNKNOWN: missing, stale or incomplete, or too few or too rare observations to exclude the others.
 * - OK: everything else; a queue that is paused, or in which no job waits.
 *
 * A few jobs that were overtaken make a queue SLOW, and nothing worse: for the other conditions they are left out.
 */
export function healthOf({ points, now, objectiveMs }: HealthQuestion): Health {
  if (now.state === "MISSING" || now.stale) return "UNKNOWN";
  if (now.state === "PAUSED") return "OK";
  // Recorded events that are lost may have ended the wait of the head, too.
  if (now.accuracy === "UNKNOWN" || now.accuracy === "INCOMPLETE") return "UNKNOWN";
  const steps = windowBefore(points, now.measuredAtMs);
  // What has not been read yet only makes the head older.
  const isSlow = isLate(now, steps, objectiveMs ?? defaultObjectiveMs(now));
  if (now.accuracy === "LOWER_BOUND") return isSlow ? "SLOW" : "UNKNOWN";
  if (now.state === "EMPTY") return "OK";

  const thirds = thirdsOf(steps, now.measuredAtMs);
  const isSeen = !isSeldomRead(now) && thirds.every((third) => third.length >= minOfThird);
  const wasBusy = isSeen && steps.every(isBusy);
  const orphaned = hasOrphans(now);
  // The head of the steps is an orphan. A job that is recorded late has not been there since it became claimable.
  const hadOthers = steps.every(({ lastDepth }) => lastDepth > (now.overtaken ?? 0));
  const hasStayed = orphaned ? hadOthers && inOrderMs(now) >= windowMs : isSameHead(steps, now);
  if (wasBusy && didNothingLeave(steps, now) && hasStayed) return "STALLED";
  // An orphan grows older as the clock does, and so the steps do not show whether others do.
  const mayGrow = !orphaned || inOrderMs(now) >= windowMs;
  if (isSeen && mayGrow && isFallingBehind(thirds, now)) return "FALLING_BEHIND";
  if (isSlow) return "SLOW";
  if (orphaned && inOrderMs(now) === 0) return "OK";
  // No job is dequeued, and yet the head changed: it was removed or given up, or dequeues are not reported.
  if (wasBusy && steps.every(({ counts }) => counts?.dequeued === 0)) return "UNKNOWN";
  // Whether more jobs came than left is not seen in a depth that was not counted to its end.
  if (isSeen && now.depthIsLowerBound && isGrowingOlder(thirds, now)) return "UNKNOWN";
  return isSeen || thirds.at(-1)?.some(hasCaughtUp) ? "OK" : "UNKNOWN";
}

/** Whether the health depends on more than the snapshot. */
export function needsHistory({ state, stale, accuracy }: QueueSnapshot): boolean {
  return state === "WAITING" && !stale && accuracy !== "UNKNOWN" && accuracy !== "INCOMPLETE";
}

/**
 * Whether the newest steps, in the order of their times, decide the health, whatever was before them.
 *
 * - In the last third of the window a sample had no waiting job: then not all steps were busy, no trough of the last third is above
 *   one of a third before, and isLate looks no further back than that sample.
 * - All of the last third is known, and too little of it was seen: only isLate may look further back.
 */
export function isDecidedBy(
  newest: readonly RecentStep[],
  { measuredAtMs, accuracy }: QueueSnapshot,
): boolean {
  const lastThird = thirdsOf(windowBefore(newest, measuredAtMs), measuredAtMs).at(-1) ?? [];
  if (lastThird.some(hasCaughtUp)) return true;
  const isKnown = newest.some(({ atMs }) => atMs < measuredAtMs - windowMs / 3);
  return isKnown && lastThird.length < minOfThird && accuracy !== "ESTIMATED";
}

/**
 * Up to this number of overtaken jobs are orphans: left behind by a killed worker, or of a kind that no worker takes. More of them are a part of the
 * queue that is not served, or priorities, and are judged as any other jobs.
 */
const maxOrphans = 10;

function hasOrphans({ overtaken = 0 }: QueueSnapshot): boolean {
  return overtaken > 0 && overtaken <= maxOrphans;
}

/** Age of the oldest job that was not overtaken. */
function inOrderMs(now: QueueSnapshot): number {
  return inOrderLatencyMs(now) ?? 0;
}

/** Where no objective is set: an overtaken job is late once it is older than the window. */
function defaultObjectiveMs({ overtaken = 0 }: QueueSnapshot): number | null {
  return overtaken > 0 ? windowMs : null;
}

/** Steps of ten that must have been seen of each third of the window: a gap in which all may have changed is shorter. */
const minOfThird = 7;

function thirdsOf(steps: readonly RecentStep[], nowMs: number): readonly (readonly RecentStep[])[] {
  const thirdMs = windowMs / 3;
  const thirdOf = ({ atMs }: RecentStep) => Math.floor((atMs - (nowMs - windowMs)) / thirdMs);
  return [0, 1, 2].map((third) => steps.filter((step) => thirdOf(step) === third));
}

/** Whether no job waited in some sample of the step. */
function hasCaughtUp({ samples, waitingSamples }: RecentStep): boolean {
  return waitingSamples < samples;
}

function didNothingLeave(steps: readonly RecentStep[], now: QueueSnapshot): boolean {
  return steps.every(({ counts, maxDepth, lastDepth }, i) => {
    if (counts !== null) return counts.dequeued === 0;
    if (now.depthIsLowerBound) return false;
    // Without reported dequeues the depth shows it: it never fell, neither within the step nor after it.
    const nextDepth = steps[i + 1]?.lastDepth ?? now.depth;
    return nextDepth !== null && maxDepth <= lastDepth && lastDepth <= nextDepth;
  });
}

/** What readings of the same head may differ by: they are rounded, and have been under way. */
const slackMs = 1_000;

/** Whether the current head was the head at the end of each step. Its age then follows from the clock. */
function isSameHead(steps: readonly RecentStep[], { oldestSinceMs }: QueueSnapshot): boolean {
  if (oldestSinceMs === null) return false;
  return steps.every(({ atMs, lastLatencyMs }) => {
    // The last sample of the step was taken at some time within it.
    const minMs = atMs - oldestSinceMs;
    return lastLatencyMs >= minMs - slackMs && lastLatencyMs <= minMs + stepMs + slackMs;
  });
}

/**
 * Whether the troughs of depth and of the head's age rise from third to third. A burst that is being drained has its trough at the
 * end or none before, and one that has just come has not raised two troughs; what comes every minute has a trough in each third.
 */
function isFallingBehind(thirds: readonly (readonly RecentStep[])[], now: QueueSnapshot): boolean {
  if (now.depth === null || !isGrowingOlder(thirds, now)) return false;
  // A depth at the limit of what is counted cannot be seen to rise.
  if (now.depthIsLowerBound) return now.depth >= minLimit;
  const depths = troughs(thirds, ({ lastDepth }) => lastDepth, now.depth);
  return isRising(depths) && growth(depths) > noise(thirds.flat());
}

function isGrowingOlder(thirds: readonly (readonly RecentStep[])[], { latencyMs }: QueueSnapshot): boolean {
  if (thirds.flat().some(({ pausedSamples }) => pausedSamples > 0) || latencyMs === null) return false;
  const ages = troughs(thirds, ({ lastLatencyMs }) => lastLatencyMs, latencyMs);
  return isRising(ages) && growth(ages) > slackMs;
}

/** A depth that is known to be as high is a backlog. A lower one was cut by the size of a few jobs, and says nothing of their number. */
const minLimit = 1_000;

function troughs(
  thirds: readonly (readonly RecentStep[])[],
  of: (step: RecentStep) => number,
  nowValue: number,
): readonly number[] {
  const least = thirds.map((third) => Math.min(...third.map((step) => (hasCaughtUp(step) ? 0 : of(step)))));
  return least.with(-1, Math.min(least.at(-1) ?? 0, nowValue));
}

function isRising(values: readonly number[]): boolean {
  return values.every((value, i) => i === 0 || value > (values[i - 1] ?? 0));
}

function growth(values: readonly number[]): number {
  return (values.at(-1) ?? 0) - (values[0] ?? 0);
}

/**
 * By how many jobs a depth changes by chance: two standard deviations. Of counts that are Poisson's, of which a sum has its mean
 * as variance; where there are none, of the changes from step to step.
 */
function noise(steps: readonly RecentStep[]): number {
  const moved = steps.map(({ counts }) => (counts === null ? null : counts.enqueued + counts.dequeued));
  if (moved.every((jobs) => jobs !== null)) return 2 * Math.sqrt(sum(moved));
  const changes = steps.slice(1).map(({ lastDepth }, i) => lastDepth - (steps[i]?.lastDepth ?? 0));
  const mean = sum(changes) / changes.length;
  return 2 * Math.sqrt(sum(changes.map((change) => (change - mean) ** 2)));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** Whether the head is older than the objective for sure. */
function isLate(now: QueueSnapshot, steps: readonly RecentStep[], objectiveMs: number | null): boolean {
  if (objectiveMs === null || now.latencyMs === null || now.latencyMs <= objectiveMs) return false;
  if (now.accuracy !== "ESTIMATED") return true;
  // By a clock that may be off; but it came after a sample in which no job waited.
  const caughtUp = steps.findLast(hasCaughtUp);
  return caughtUp === undefined || now.measuredAtMs - caughtUp.atMs > objectiveMs;
}
