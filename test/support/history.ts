import type { HistoryStep } from "../../src/core/history.ts";
import { createSampler, type FinishedStep, type Sampler } from "../../src/history/sampler.ts";
import { createStepStore, type StepStore } from "../../src/history/step-store.ts";
import { createHistoryWriter } from "../../src/history/writer.ts";
import { openTracker, type TestTracker } from "./tracker.ts";

export const hourMs = 3_600_000;
export const keptMs: Readonly<Record<HistoryStep, number>> = {
  TEN_SECONDS: 6 * hourMs,
  ONE_MINUTE: 48 * hourMs,
  ONE_HOUR: 90 * 24 * hourMs,
};

/** A step to begin with. */
export const noSamples = {
  ...{ samples: 0, waitingSamples: 0, pausedSamples: 0, incompleteSamples: 0 },
  ...{ maxLatencyMs: 0, sumLatencyMs: 0, lastLatencyMs: 0, maxDepth: 0, lastDepth: 0, counts: null },
};

/** What writes the history, on a clock that the test moves; a new one is a process that took over. */
export interface ManualWriter {
  readonly sampler: Sampler;
  /** A sample of every queue, and what is over by then is written. */
  look(): Promise<void>;
}

export interface ManualHistory extends AsyncDisposable {
  readonly opened: TestTracker;
  readonly store: StepStore;
  nowMs: number;
  openWriter(queues: readonly string[]): ManualWriter;
}

/** @param startMs the first instant, by the clock that stands for Redis's and every process's. */
export async function openHistory(redisUrl: string, startMs: number): Promise<ManualHistory> {
  const now = () => history.nowMs;
  const opened = await openTracker(redisUrl, { now });
  const store = createStepStore({ redis: opened.redis, keys: opened.keys, keptMs, now });
  const history: ManualHistory = {
    opened,
    store,
    nowMs: startMs,
    openWriter(queues) {
      const finished: FinishedStep[] = [];
      const sampler = createSampler({
        read: opened.tracker.read,
        onStep: (step) => finished.push(step),
        now,
      });
      sampler.follow(queues);
      const writer = createHistoryWriter(store);
      return {
        sampler,
        async look() {
          await sampler.sample();
          await Promise.all(finished.splice(0).map(writer.write));
        },
      };
    },
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
  return history;
}
