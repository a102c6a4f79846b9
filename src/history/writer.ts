import { type HistoryStep, stepSeconds } from "../core/history.ts";
import type { FinishedStep } from "./sampler.ts";
import { mergeCounts, mergeRecords, type StepCounts } from "./step-record.ts";
import type { StepStore } from "./step-store.ts";

/** Writes what was seen, and makes longer steps of shorter ones when they are over. */
export interface HistoryWriter {
  /**
   * Accepts the same step again. @throws AppError SERVICE_UNAVAILABLE: the step may be missing. Later merges use what is
   * stored.
   */
  write(finished: FinishedStep): Promise<void>;
  /** Drops what is remembered of other queues: how far their steps have been merged. */
  retain(queues: readonly string[]): void;
}

const merges: readonly (readonly [from: HistoryStep, to: HistoryStep])[] = [
  ["TEN_SECONDS", "ONE_MINUTE"],
  ["ONE_MINUTE", "ONE_HOUR"],
];

const stepMs = stepSeconds.TEN_SECONDS * 1000;

/** @param store has one writing process at a time; if two write, the first write of a step wins. */
export function createHistoryWriter(store: StepStore): HistoryWriter {
  /** By queue and length, when the first step begins that has not been merged. */
  const mergedTo = new Map<string, Map<HistoryStep, number>>();

  /** Merges all that is over before `nowMs`, also what was left by a process that died. */
  async function merge(queue: string, from: HistoryStep, to: HistoryStep, nowMs: number): Promise<boolean> {
    const toMs = stepSeconds[to] * 1000;
    const end = nowMs - (nowMs % toMs);
    const ofQueue = mergedTo.get(queue) ?? new Map<HistoryStep, number>();
    mergedTo.set(queue, ofQueue);
    let begin = ofQueue.get(to);
    // Later than now: Redis's clock was ahead.
    if (begin === undefined || begin > end) {
      const newest = await store.newest(queue, to, end);
      begin = newest === null ? 0 : newest + toMs;
    }
    if (begin >= end) {
      ofQueue.set(to, begin);
      return false;
    }
    const shorter = await store.range(queue, from, { fromMs: begin, toMs: end });
    for (const [atMs, steps] of Map.groupBy(shorter, (step) => step.atMs - (step.atMs % toMs))) {
      await store.append(queue, to, { atMs, record: mergeRecords(steps.map(({ record }) => record)) });
    }
    ofQueue.set(to, end);
    return true;
  }

  /** A queue is looked at first a little after it came: its first step has also what was counted in the one before. */
  async function countsOf(queue: string, atMs: number): Promise<StepCounts> {
    const counts = await store.countsOf(queue, atMs);
    const isNew = !mergedTo.has(queue) && (await store.newest(queue, "TEN_SECONDS", atMs)) === null;
    return isNew ? mergeCounts([await store.countsOf(queue, atMs - stepMs), counts]) : counts;
  }

  return {
    async write({ queue, atMs, seen, isCounted }) {
      const counts = isCounted ? await countsOf(queue, atMs) : null;
      await store.append(queue, "TEN_SECONDS", { atMs, record: { ...seen, counts } });
      const nowMs = atMs + stepMs;
      for (const [from, to] of merges) {
        if (!(await merge(queue, from, to, nowMs))) return;
      }
    },
    retain(queues) {
      const kept = new Set(queues);
      for (const queue of mergedTo.keys()) if (!kept.has(queue)) mergedTo.delete(queue);
    },
  };
}
