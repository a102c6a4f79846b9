import type { Alert } from "../core/alerts.ts";
import type { Joined, Newer, PushSource } from "../core/push-source.ts";

/** More than there can be alerts. */
const maxWaiting = 20_000;
/** Alerts that were pushed as RESOLVED, and are kept for slow members: as many as the store keeps. */
const maxResolved = 1_000;

/** Which alerts a subscriber wants. */
export interface AlertFilter {
  /** Null: of all queues. */
  readonly queue: string | null;
}

/** What one group of subscribers gets, an alert in each push: first alerts that have not ended, then each that has changed. */
export type AlertWatch = PushSource<Alert>;

/** The other end of a watch. */
export interface AlertWatchControl {
  readonly watch: AlertWatch;
  /** Cheap and never blocks, however slow the subscriber is. */
  push(alert: Alert): void;
  end(): void;
}

/** An alert, and the number of its push. */
interface Pushed {
  readonly push: Alert;
  readonly number: number;
}

/**
 * Keeps the newest state of each alert, never a list of pushes: a slow member skips the states in between. When there are too many, it
 * also skips the alerts that ended longest ago.
 *
 * @param read returns the alerts that a member begins with which joins later than others.
 */
export function createAlertWatch(
  { queue }: AlertFilter,
  read: () => Promise<readonly Alert[]>,
  onEnd: () => void,
): AlertWatchControl {
  // Maps whose entries come and go leave garbage of V8's behind. Here they change with alerts, which is seldom, and not with requests.
  /** Not taken yet. */
  const waiting = new Map<string, Alert>();
  /** The newest pushes, in order: each alert once. */
  const active = new Map<string, Pushed>();
  const resolved = new Map<string, Pushed>();
  let pushes = 0;
  let isEnded = false;
  let pending: PromiseWithResolvers<IteratorResult<Alert, undefined>> | undefined;
  const ended = { done: true, value: undefined } as const;

  function deliver(): void {
    const [next] = waiting.values();
    if (pending === undefined || next === undefined) return;
    waiting.delete(next.id);
    remember(next);
    const { resolve } = pending;
    pending = undefined;
    resolve({ done: false, value: next });
  }

  function remember(push: Alert): void {
    pushes += 1;
    active.delete(push.id);
    resolved.delete(push.id);
    (push.state === "RESOLVED" ? resolved : active).set(push.id, { push, number: pushes });
    const [oldest] = resolved.keys();
    if (resolved.size > maxResolved && oldest !== undefined) resolved.delete(oldest);
  }

  async function join(): Promise<Joined<Alert>> {
    const alerts = await read();
    // Those that wait are pushed to all members.
    return { pushes: isEnded ? [] : alerts.filter(({ id }) => !waiting.has(id)), number: pushes };
  }

  async function since(number: number): Promise<Newer<Alert>> {
    const found = [firstAfter(active, number), firstAfter(resolved, number)];
    const [next] = found.filter((each) => each !== undefined).sort((a, b) => a.number - b.number);
    return next ?? { push: null, number: pushes };
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
    active.clear();
    resolved.clear();
    pending?.resolve(ended);
    pending = undefined;
    onEnd();
  }

  const watch: AlertWatch = {
    minIntervalMs: 0,
    join,
    since,
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

function firstAfter(pushed: ReadonlyMap<string, Pushed>, number: number): Pushed | undefined {
  for (const each of pushed.values()) if (each.number > number) return each;
  return undefined;
}
