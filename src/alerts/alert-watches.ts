import type { Alert } from "../core/alerts.ts";

/** More than there can be alerts. */
const maxWaiting = 20_000;

/** Which alerts a subscriber wants. */
export interface AlertFilter {
  /** Null: of all queues. */
  readonly queue: string | null;
}

/** What one subscriber gets: first alerts that have not ended, then each that has changed. */
export type AlertWatch = AsyncIterableIterator<Alert, undefined>;

/** The other end of a watch. */
export interface AlertWatchControl {
  readonly watch: AlertWatch;
  /** Cheap and never blocks, however slow the subscriber is. */
  push(alert: Alert): void;
  end(): void;
}

/**
 * Keeps the newest state of each alert that the subscriber has not received yet, never a list of pushes: a slow subscriber skips
 * the states in between. When there are too many, it also skips the alerts that ended longest ago.
 */
export function createAlertWatch({ queue }: AlertFilter, onEnd: () => void): AlertWatchControl {
  const waiting = new Map<string, Alert>();
  let isEnded = false;
  let pending: PromiseWithResolvers<IteratorResult<Alert, undefined>> | undefined;
  const ended = { done: true, value: undefined } as const;

  function deliver(): void {
    const [next] = waiting.values();
    if (pending === undefined || next === undefined) return;
    waiting.delete(next.id);
    const { resolve } = pending;
    pending = undefined;
    resolve({ done: false, value: next });
  }

  function dropOldestResolved(): void {
    if (waiting.size <= maxWaiting) return;
    for (const [id, { state }] of waiting) {
      if (state !== "RESOLVED") continue;
      waiting.delete(id);
      return;
    }
  }

  function end(): void {
    if (isEnded) return;
    isEnded = true;
    waiting.clear();
    pending?.resolve(ended);
    pending = undefined;
    onEnd();
  }

  const watch: AlertWatch = {
    next() {
      if (isEnded) return Promise.resolve(ended);
      if (pending !== undefined) return pending.promise.then(() => watch.next());
      pending = Promise.withResolvers();
      const { promise } = pending;
      deliver();
      return promise;
    },
    async return() {
      end();
      return ended;
    },
    [Symbol.asyncIterator]: () => watch,
  };

  return {
    watch,
    push(alert) {
      if (isEnded || (queue !== null && alert.queue !== queue)) return;
      waiting.set(alert.id, alert);
      dropOldestResolved();
      deliver();
    },
    end,
  };
}
