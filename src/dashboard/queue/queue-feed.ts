import { effect, type ReadonlySignal, signal, untracked } from "@preact/signals";
import { isPaused, observeServerTime } from "../clock.ts";
import type { ApiError } from "../graphql/api-error.ts";
import { subscribe } from "../graphql/client.ts";
import { queueNow } from "../graphql/documents.ts";
import type { ResultOf } from "../graphql/graphql.ts";

export type QueueNow = ResultOf<typeof queueNow>["queueLatency"][number];

/** One queue as the server pushes it. */
export interface QueueFeed {
  /** The last push, or the one that was shown when the display was stopped; null until the first one. */
  readonly now: ReadonlySignal<QueueNow | null>;
  /** Why no push comes; null: they do. */
  readonly error: ReadonlySignal<ApiError | null>;
  stop(): void;
}

export function createQueueFeed(queue: string): QueueFeed {
  const now = signal<QueueNow | null>(null);
  const newest = signal<QueueNow | null>(null);
  const error = signal<ApiError | null>(null);
  const end = subscribe(
    queueNow,
    { queue },
    {
      next({ queueLatency: [pushed] }) {
        if (pushed === undefined) return;
        // The instant of a stale reading is in the past.
        if (!pushed.stale) observeServerTime(pushed.measuredAt);
        newest.value = pushed;
        error.value = null;
      },
      error(refusal) {
        error.value = refusal;
      },
    },
  );
  const endShowing = effect(() => {
    const shown = newest.value;
    if (!isPaused.value || untracked(() => now.value) === null) now.value = shown;
  });
  return {
    now,
    error,
    stop() {
      end();
      endShowing();
    },
  };
}
