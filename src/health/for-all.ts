import type { RecentStep } from "../core/history.ts";
import type { QueueSnapshot } from "../core/snapshot.ts";
import { type MonotonicClock, monotonicClock } from "../runtime/clock.ts";
import { createTimeSlices } from "../runtime/time-slices.ts";
import { type HealthQuestion, needsHistory } from "./health.ts";
import type { HistoryWindows } from "./history-windows.ts";

/** All queues at one instant. */
export interface QueueReading {
  /** Each as it was when it was last read: another object when it was read again. */
  readonly snapshots: readonly QueueSnapshot[];
  /** The snapshot at this index as of the reading. */
  agedAt(index: number): QueueSnapshot;
}

export interface ForAllOptions<T> {
  readonly windows: HistoryWindows;
  readonly objectiveMsOf: (queue: string) => number | null;
  /** Gets no steps of a queue whose health depends on the snapshot alone. */
  readonly compute: (question: HealthQuestion) => T;
  /** Whether the newest steps are enough to compute it. @default all steps of the window are needed */
  readonly isEnough?: (newest: readonly RecentStep[], now: QueueSnapshot) => boolean;
  readonly clock?: MonotonicClock;
}

interface Computed<T> {
  readonly value: T;
  /** When it is computed again though the queue has not changed. */
  readonly againAtMs: number;
}

/** A step: what its end changes is seen one step later at most. */
const holdMs = 10_000;
/** Looked at at a stretch. */
const queuesPerTurn = 50;
/** Their steps are decoded at a stretch. */
const readsPerBatch = 100;
/** So that Redis reads some while others are decoded. All replies that have come are decoded in one turn of the event loop. */
const maxBatchesInFlight = 2;
const slices = createTimeSlices(2);

/**
 * Computes something of the history of all queues, once for all who ask about the same reading. For a queue it is computed again when
 * the queue changed, when its head becomes older than its objective, and once a step while a job waits in it: 10,000 queues in which no
 * job waits cost one look each.
 *
 * @returns what computes it, by index.
 */
export function createForAll<T>(options: ForAllOptions<T>): (reading: QueueReading) => Promise<readonly T[]> {
  const { windows, objectiveMsOf, compute, isEnough, clock = monotonicClock } = options;
  const known = new WeakMap<QueueReading, Promise<readonly T[]>>();
  const computed = new WeakMap<QueueSnapshot, Computed<T>>();

  /** @param now the snapshot as of the reading. */
  function computeOf(snapshot: QueueSnapshot, now: QueueSnapshot, points: readonly RecentStep[]): T {
    const objectiveMs = objectiveMsOf(now.queue);
    const value = compute({ points, now, objectiveMs });
    computed.set(snapshot, { value, againAtMs: clock.now() + untilAgain(now, objectiveMs) });
    return value;
  }

  function stepsOf(now: QueueSnapshot): ReturnType<HistoryWindows["of"]> {
    if (!needsHistory(now)) return [];
    const isEnoughNow = isEnough && ((newest: readonly RecentStep[]) => isEnough(newest, now));
    return windows.of(now.queue, now.measuredAtMs, isEnoughNow);
  }

  async function computeAll({ snapshots, agedAt }: QueueReading): Promise<readonly T[]> {
    const values: T[] = [];
    const inFlight: Promise<unknown>[] = [];
    let reads: Promise<void>[] = [];
    let nowMs = clock.now();
    for (let index = 0; index < snapshots.length; index++) {
      if (index % queuesPerTurn === 0) {
        if (!slices.has()) await slices.next();
        nowMs = clock.now();
      }
      const snapshot = snapshots[index] as QueueSnapshot;
      const last = computed.get(snapshot);
      if (last !== undefined && nowMs < last.againAtMs) {
        values[index] = last.value;
        continue;
      }
      const now = agedAt(index);
      const points = stepsOf(now);
      const take = (steps: readonly RecentStep[]) => {
        values[index] = computeOf(snapshot, now, steps);
      };
      if (points instanceof Promise) reads.push(handled(points.then(take)));
      else take(points);
      if (reads.length < readsPerBatch) continue;
      inFlight.push(handled(Promise.all(reads)));
      reads = [];
      if (inFlight.length <= maxBatchesInFlight) continue;
      await inFlight.shift();
      // They may have been computed within this turn of the event loop.
      await slices.next();
    }
    await Promise.all([...inFlight, ...reads]);
    return values;
  }

  return (reading) => {
    const begun = known.get(reading);
    if (begun !== undefined) return begun;
    const values = computeAll(reading);
    known.set(reading, values);
    return values;
  };
}

/** A failure is thrown to the one who awaits it, and is not unhandled until then. */
function handled<P extends Promise<unknown>>(promise: P): P {
  promise.catch(() => {});
  return promise;
}

/** In ms. */
function untilAgain(now: QueueSnapshot, objectiveMs: number | null): number {
  if (!needsHistory(now)) return Number.POSITIVE_INFINITY;
  // Not all at once: what was computed together would always be.
  const nextStepMs = holdMs * (0.75 + Math.random() / 4);
  const youngerByMs = objectiveMs === null ? 0 : objectiveMs - (now.latencyMs ?? 0);
  return youngerByMs > 0 ? Math.min(nextStepMs, youngerByMs) : nextStepMs;
}
