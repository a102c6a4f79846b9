import type { Joined, Newer, PushSource } from "../core/push-source.ts";
import type { QueueSnapshot } from "../core/snapshot.ts";
import { monotonicClock } from "../runtime/clock.ts";

/** The newest state of some queues, for all members of a group, as seldom as they asked for. */
export type Watch = PushSource<QueueSnapshot[]>;

export interface WatchOptions {
  readonly queues: readonly string[];
  /** Two pushes are at least this far apart. */
  readonly minIntervalMs: number;
  /** A queue that moves with no event, such as one in which a job waits, is pushed again this long after it was; 0: never. */
  readonly refreshMs: number;
  /** How far back the counts reach that a push has of its queues, in ms; 0: it has none. @default 0 */
  readonly countedMs?: number;
  /** Reads those of the queues that have changed since they were read; null when none has. Never rejects. */
  readonly catchUp: (queues: readonly string[]) => Promise<void> | null;
  /** Reads all of the queues. @throws AppError SERVICE_UNAVAILABLE. */
  readonly readAll: () => Promise<void>;
  /** The newest that is known of a queue, as of now. */
  readonly latest: (queue: string) => QueueSnapshot;
  readonly onEnd: () => void;
}

/** The other end of a watch, for the source of changes. */
export interface WatchControl {
  readonly watch: Watch;
  readonly queues: readonly string[];
  readonly minIntervalMs: number;
  /** Whether its pushes have counts: they change with events that change nothing else of a queue. */
  readonly hasCounts: boolean;
  /** When the next push may be, by {@link monotonicClock}: what changed before is not needed earlier than that. */
  mayPushAtMs(): number;
  /** These queues have changed. Cheap and never blocks, however slow the subscriber is. */
  changed(...queues: readonly string[]): void;
  end(): void;
}

/** Windows reach back a twentieth further than they are long; the rest is for an event that was published late. */
const windowSlack = 1.1;

/**
 * The first push has every queue, later ones those that changed since the last push, or that move when a refresh is due.
 * What is kept is a set of names and the number of the last push of each queue, never a list of pushes: a slow member gets the newest
 * state and skips what it was too slow for.
 */
export function createWatch(options: WatchOptions): WatchControl {
  const { queues, minIntervalMs, refreshMs, countedMs = 0, catchUp, readAll, latest, onEnd } = options;
  const changed = new Set(queues);
  /** How many pushes have been taken. */
  let pushes = 0;
  /** The last push that had each queue. */
  const pushOf = new Map<string, number>();
  let pushedAtMs = Number.NEGATIVE_INFINITY;
  let refreshedAtMs = Number.NEGATIVE_INFINITY;
  let isFirst = true;
  let isEnded = false;
  let isCatchingUp = false;
  let pending: PromiseWithResolvers<IteratorResult<QueueSnapshot[], undefined>> | undefined;
  let timer: NodeJS.Timeout | undefined;

  /** Whether it will be another one with no event: a job grows older, or counted events leave their window. */
  const isMoving = (queue: string) => {
    const snapshot = latest(queue);
    const { oldestSinceMs, inFlightSinceMs = null, changedAtMs = Number.NEGATIVE_INFINITY } = snapshot;
    if (snapshot.stale || snapshot.state === "MISSING") return false;
    const isGrowing = oldestSinceMs !== null || inFlightSinceMs !== null;
    // Once more when the last event has left the window.
    return isGrowing || (countedMs > 0 && refreshedAtMs < changedAtMs + windowSlack * countedMs);
  };

  /** When the next push is due by {@link monotonicClock}; null when only a change can bring one. */
  function dueAtMs(): number | null {
    const earliest = pushedAtMs + minIntervalMs;
    if (isFirst || changed.size > 0) return earliest;
    if (refreshMs === 0 || !queues.some(isMoving)) return null;
    return Math.max(earliest, refreshedAtMs + refreshMs);
  }

  function pushWhenDue(): void {
    clearTimeout(timer);
    if (pending === undefined || isCatchingUp) return;
    const due = dueAtMs();
    if (due === null) return;
    const now = monotonicClock.now();
    if (due > now) {
      timer = setTimeout(pushWhenDue, Math.ceil(due - now));
      return;
    }
    // What has changed since it was read would be pushed as if it had only grown older: a head that may have gone.
    const caughtUp = catchUp(queues);
    if (caughtUp === null) {
      push(now);
      return;
    }
    isCatchingUp = true;
    void caughtUp.then(() => {
      isCatchingUp = false;
      push(monotonicClock.now());
    });
  }

  function push(now: number): void {
    if (pending === undefined) return;
    const isRefresh = isFirst || (refreshMs > 0 && now >= refreshedAtMs + refreshMs);
    const pushed = queues.filter((queue) => changed.has(queue) || (isRefresh && isMoving(queue))).map(latest);
    if (isRefresh) refreshedAtMs = now;
    if (pushed.length === 0 && !isFirst) {
      // A queue that moved when the push became due has been pushed without it.
      pushWhenDue();
      return;
    }
    changed.clear();
    isFirst = false;
    pushes += 1;
    for (const { queue } of pushed) pushOf.set(queue, pushes);
    pushedAtMs = now;
    const { resolve } = pending;
    pending = undefined;
    resolve({ done: false, value: pushed });
  }

  function end(): void {
    if (isEnded) return;
    isEnded = true;
    clearTimeout(timer);
    pending?.resolve({ done: true, value: undefined });
    pending = undefined;
    onEnd();
  }

  async function join(): Promise<Joined<QueueSnapshot[]>> {
    await readAll();
    return { pushes: isEnded ? [] : [queues.map(latest)], number: pushes };
  }

  async function since(number: number): Promise<Newer<QueueSnapshot[]>> {
    await catchUp(queues);
    const newer = isEnded ? [] : queues.filter((queue) => (pushOf.get(queue) ?? 0) > number);
    return { push: newer.length === 0 ? null : newer.map(latest), number: pushes };
  }

  const watch: Watch = {
    minIntervalMs,
    join,
    since,
    next() {
      if (isEnded) return Promise.resolve({ done: true, value: undefined });
      if (pending !== undefined) return pending.promise.then(() => watch.next());
      pending = Promise.withResolvers();
      const { promise } = pending;
      pushWhenDue();
      return promise;
    },
    async return() {
      end();
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]: () => watch,
  };

  return {
    watch,
    queues,
    minIntervalMs,
    hasCounts: countedMs > 0,
    mayPushAtMs: () => pushedAtMs + minIntervalMs,
    changed(...names) {
      for (const name of names) changed.add(name);
      pushWhenDue();
    },
    end,
  };
}
