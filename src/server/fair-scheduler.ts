import { type MonotonicClock, monotonicClock } from "../runtime/clock.ts";

/** Shares the CPU between clients: deficit round robin, one queue for each client, one round for each tick of the event loop. */
export interface FairScheduler {
  /**
   * Begins work of a client: at once, unless the client has used its share of this tick. Then the work waits, in order, for a
   * later tick, between which other clients and I/O are served. Work after the first `await` is not measured: see `charge`.
   * Within work of the same client it begins at once.
   */
  begin<T>(client: string, work: () => T | Promise<T>): Promise<T>;
  /** Does work that cannot wait, and takes its time off the client's next shares. */
  charge<T>(client: string, work: () => T): T;
}

export interface FairSchedulerOptions {
  /** CPU time of one client in a tick. Work that has begun is finished, and the excess is taken off the next ticks. */
  readonly shareMs: number;
  readonly clock?: MonotonicClock;
}

export function createFairScheduler({
  shareMs,
  clock = monotonicClock,
}: FairSchedulerOptions): FairScheduler {
  const usedMs = new Map<string, number>();
  const queues = new Map<string, (() => void)[]>();
  let isScheduled = false;
  let running: string | null = null;
  /** Since when it runs, or runs on. */
  let runningSinceMs = 0;

  function hasShare(client: string): boolean {
    return (usedMs.get(client) ?? 0) < shareMs;
  }

  function charge<T>(client: string, work: () => T): T {
    if (running === client) return work();
    schedule();
    const outer = running;
    bill();
    running = client;
    try {
      return work();
    } finally {
      bill();
      running = outer;
    }
  }

  /** Work within the work of another client is not that client's. */
  function bill(): void {
    const now = clock.now();
    if (running !== null) usedMs.set(running, (usedMs.get(running) ?? 0) + now - runningSinceMs);
    runningSinceMs = now;
  }

  function schedule(): void {
    if (isScheduled) return;
    isScheduled = true;
    // Before the work begins, so that what is queued comes before anything that the work defers to the end of the tick.
    setImmediate(beginTick);
  }

  /** An idle server begins the next tick at once, so queued work does not wait for nothing. */
  function beginTick(): void {
    isScheduled = false;
    for (const [client, ms] of usedMs) {
      if (ms > shareMs) usedMs.set(client, ms - shareMs);
      else usedMs.delete(client);
    }
    for (const [client, queue] of queues) {
      while (queue.length > 0 && hasShare(client)) charge(client, queue.shift() ?? (() => {}));
      if (queue.length === 0) queues.delete(client);
    }
    if (usedMs.size > 0) schedule();
  }

  return {
    charge,
    begin<T>(client: string, work: () => T | Promise<T>): Promise<T> {
      // A client with a share left has an empty queue.
      if (running === client || hasShare(client)) return promised(() => charge(client, work));
      return new Promise((resolve) => {
        const queue = queues.get(client) ?? [];
        queues.set(client, queue);
        queue.push(() => resolve(promised(work)));
      });
    },
  };
}

/** A promise that the work returns is not wrapped: there is one for each waiting subscriber. */
function promised<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    return Promise.resolve(work());
  } catch (error) {
    return Promise.reject(error);
  }
}
