import type { HistoryPoint } from "../../src/core/history.ts";
import type { QueueSnapshot } from "../../src/core/snapshot.ts";

/** What a step was like, as far as a test cares. */
export interface StepSketch {
  /** At its end. */
  readonly depth?: number;
  /** Of the head, at its end; 0 when no job waits. */
  readonly ageSeconds?: number;
  readonly enqueued?: number;
  readonly dequeued?: number;
  /** How often of ten times a job waited. @default 10 where depth is above 0, else 0 */
  readonly waiting?: number;
  readonly paused?: number;
  /** In how many of its ten samples the queue was INCOMPLETE. */
  readonly incomplete?: number;
  readonly maxDepth?: number;
  readonly isCounted?: boolean;
}

/** A whole number of steps; what is asked of a history is asked now. */
export const nowMs = 1_800_000_300_000;

/** The steps of the five minutes before now, numbered from the oldest: 0 to 29. Where the sketch is null there is a gap. */
export function stepsOf(sketch: (step: number, endsAtSeconds: number) => StepSketch | null): HistoryPoint[] {
  return Array.from({ length: 30 }, (_, step) => {
    const sketched = sketch(step, (step + 1) * 10);
    return sketched === null ? [] : [pointOf(nowMs - 300_000 + step * 10_000, sketched)];
  }).flat();
}

export function pointOf(atMs: number, sketch: StepSketch): HistoryPoint {
  const { depth = 0, ageSeconds = 0, enqueued = 0, dequeued = 0, isCounted = true } = sketch;
  const waitTime = { count: 0, mean: 0, p50: 0, p95: 0, p99: 0, max: 0 };
  return {
    atMs,
    samples: 10,
    waitingSamples: sketch.waiting ?? (depth > 0 ? 10 : 0),
    pausedSamples: sketch.paused ?? 0,
    incompleteSamples: sketch.incomplete ?? 0,
    maxLatencyMs: ageSeconds * 1000,
    meanLatencyMs: ageSeconds * 1000,
    lastLatencyMs: ageSeconds * 1000,
    maxDepth: sketch.maxDepth ?? depth,
    lastDepth: depth,
    counts: isCounted ? { enqueued, dequeued, waitTime } : null,
  };
}

/** The queue as it stands now. */
export function snapshotOf(
  depth: number,
  ageSeconds: number,
  rest: Partial<QueueSnapshot> = {},
): QueueSnapshot {
  return {
    queue: "mail",
    source: "events",
    state: depth > 0 ? "WAITING" : "EMPTY",
    oldestSinceMs: depth > 0 ? nowMs - ageSeconds * 1000 : null,
    latencyMs: ageSeconds * 1000,
    depth,
    scheduled: 0,
    lost: null,
    accuracy: "EXACT",
    measuredAtMs: nowMs,
    stale: false,
    changesAtMs: null,
    clockSkewMs: null,
    throughput: null,
    waitTime: null,
    ...rest,
  };
}
