import { type ReadonlySignal, signal } from "@preact/signals";
import { isPaused, observeServerTime } from "../clock.ts";
import type { ApiError } from "../graphql/api-error.ts";
import { subscribe } from "../graphql/client.ts";
import { queuesNow } from "../graphql/documents.ts";
import type { ResultOf } from "../graphql/graphql.ts";

export type AlertedQueue = ResultOf<typeof queuesNow>["queueLatency"][number];

/** How queues are now, as the server pushes it. */
export interface AlertedQueuesFeed {
  readonly queues: ReadonlySignal<ReadonlyMap<string, AlertedQueue>>;
  /** Why no push comes; null: they do. */
  readonly error: ReadonlySignal<ApiError | null>;
  stop(): void;
}

export function createAlertedQueuesFeed(names: readonly string[]): AlertedQueuesFeed {
  const queues = signal<ReadonlyMap<string, AlertedQueue>>(new Map());
  const error = signal<ApiError | null>(null);
  function next({ queueLatency }: ResultOf<typeof queuesNow>): void {
    error.value = null;
    for (const { stale, measuredAt } of queueLatency) if (!stale) observeServerTime(measuredAt);
    if (isPaused.peek() && queues.peek().size > 0) return;
    queues.value = new Map([...queues.peek(), ...queueLatency.map((row) => [row.queue, row] as const)]);
  }
  const end =
    names.length === 0
      ? () => {}
      : subscribe(queuesNow, { queues: [...names] }, { next, error: (failure) => (error.value = failure) });
  return { queues, error, stop: end };
}
