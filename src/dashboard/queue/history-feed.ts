import { type ReadonlySignal, signal } from "@preact/signals";
import { listedAfterMs, mergeSteps, stepMs } from "../charts/step-grid.ts";
import { nowMs } from "../clock.ts";
import { type ApiError, apiErrorOf } from "../graphql/api-error.ts";
import { query } from "../graphql/client.ts";
import { queueHistory } from "../graphql/documents.ts";
import type { ResultOf } from "../graphql/graphql.ts";
import { type Range, requestsOf, type StepRange, stepRangeOf } from "./range.ts";

type Point = ResultOf<typeof queueHistory>["queueLatency"][number]["history"][number];

/** A step of the history of a queue. */
export interface HistoryStep extends Point {
  /** When it began, in ms since the epoch. */
  readonly atMs: number;
}

/** The steps of one queue in one range, asked for again when one ends. */
export interface HistoryFeed {
  /** Null until the first answer. */
  readonly steps: ReadonlySignal<readonly HistoryStep[] | null>;
  /** Why the last question was refused; null: it was answered. The steps that are known stay. */
  readonly error: ReadonlySignal<ApiError | null>;
  stop(): void;
}

/** Steps before the newest that are asked for again: after an outage of Redis the server writes some later. */
const stepsAgain = 3;
/** A refused question is asked again after this time. */
const retryMs = 5_000;

export function createHistoryFeed(queue: string, range: Range): HistoryFeed {
  const steps = signal<readonly HistoryStep[] | null>(null);
  const error = signal<ApiError | null>(null);
  const stopping = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;

  async function ask(asked: StepRange): Promise<readonly HistoryStep[]> {
    const parts: HistoryStep[] = [];
    // One after the other: the first one may be refused, and all count towards the client's limits.
    for (const { fromMs, toMs, step } of requestsOf(asked)) {
      const variables = { queue, from: instant(fromMs), to: instant(toMs), step };
      const { queueLatency } = await query(queueHistory, variables, stopping.signal);
      for (const point of queueLatency[0]?.history ?? [])
        parts.push({ ...point, atMs: Date.parse(point.at) });
    }
    return parts;
  }

  async function refresh(): Promise<void> {
    const asked = stepRangeOf(range, nowMs.peek());
    const known = steps.peek() ?? [];
    const newest = known.at(-1);
    const sinceMs = newest === undefined ? 0 : newest.atMs - stepsAgain * stepMs[asked.step];
    try {
      const added = await ask({ ...asked, fromMs: Math.max(asked.fromMs, sinceMs) });
      steps.value = mergeSteps(known, added, asked.fromMs);
      error.value = null;
      plan(asked.step);
    } catch (reason) {
      if (stopping.signal.aborted) return;
      error.value = apiErrorOf(reason);
      timer = setTimeout(refresh, retryMs);
    }
  }

  /** The next question, when the running step has been listed. What has ended does not change. */
  function plan(step: StepRange["step"]): void {
    if (range.last === null || stopping.signal.aborted) return;
    const lengthMs = stepMs[step];
    const sinceListedMs = (nowMs.peek() - listedAfterMs / 3) % lengthMs;
    timer = setTimeout(refresh, Math.max(lengthMs - sinceListedMs, 1_000));
  }

  void refresh();
  return {
    steps,
    error,
    stop() {
      clearTimeout(timer);
      stopping.abort();
    },
  };
}

function instant(ms: number): string {
  return new Date(ms).toISOString();
}
