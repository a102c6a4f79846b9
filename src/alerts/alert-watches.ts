import type { Alert } from "../core/alerts.ts";

/** More than alerts can be there. */
const mostUntold = 20_000;

/** Which alerts somebody wants to hear of. */
export interface AlertFilter {
  /** Null: of all queues. */
  readonly queue: string | null;
}

/** What one subscriber gets: first every alert that has not ended, then each that is another one. */
export type AlertWatch = AsyncIterableIterator<Alert, undefined>;

/** The other end of a watch. */
export interface AlertWatchControl {
  readonly watch: AlertWatch;
  /** Cheap and never blocks, however slow the subscriber is. */
  tell(alert: Alert): void;
  end(): void;
}

/**
 * What is kept for a subscriber is the newest state of each alert that it was not told yet, never a list of pushes: a slow one
 * skips the states in between. Of those that ended it skips the oldest, too, when there are too many.
 */
export function createAlertWatch({ queue }: AlertFilter, onEnd: () => void): AlertWatchControl {
  const untold = new Map<string, Alert>();
  let isEnded = false;
  let pending: PromiseWithResolvers<IteratorResult<Alert, undefined>> | undefined;
  const ended = { done: true, value: undefined } as const;

  function push(): void {
    const [next] = untold.values();
    if (pending === undefined || next === undefined) return;
    untold.delete(next.id);
    const { resolve } = pending;
    pending = undefined;
    resolve({ done: false, value: next });
  }

  /** One that ended long ago is no news any more to somebody who has not heard of so many others. */
  function forgetOldest(): void {
    if (untold.size <= mostUntold) return;
    for (const [id, { state }] of untold) {
      if (state !== "RESOLVED") continue;
      untold.delete(id);
      return;
    }
  }

  function end(): void {
    if (isEnded) return;
    isEnded = true;
    untold.clear();
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
      push();
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
    tell(alert) {
      if (isEnded || (queue !== null && alert.queue !== queue)) return;
      untold.set(alert.id, alert);
      forgetOldest();
      push();
    },
    end,
  };
}
