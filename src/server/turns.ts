import { type MonotonicClock, monotonicClock } from "../core/clock.ts";

/** Who is worked for: one client that asks for much at once shall not hold up the others. */
export interface Turns {
  /**
   * Begins some work of a client: at once, unless it has had its share of this tick of the event loop. Else its work waits, in
   * order, for later ticks, between which the others are looked after. What is done after the first `await` is not counted.
   */
  begin<T>(client: string, work: () => Promise<T>): Promise<T>;
}

export interface TurnsOptions {
  /** For how long one client is worked for in a tick. What was begun is finished, and taken off its share of the next ticks. */
  readonly shareMs: number;
  readonly clock?: MonotonicClock;
}

export function createTurns({ shareMs, clock = monotonicClock }: TurnsOptions): Turns {
  const usedMs = new Map<string, number>();
  const waiting = new Map<string, (() => void)[]>();
  let isScheduled = false;

  function hasShare(client: string): boolean {
    return (usedMs.get(client) ?? 0) < shareMs;
  }

  function workFor<T>(client: string, work: () => T): T {
    schedule();
    const sinceMs = clock.now();
    try {
      return work();
    } finally {
      usedMs.set(client, (usedMs.get(client) ?? 0) + clock.now() - sinceMs);
    }
  }

  function schedule(): void {
    if (isScheduled) return;
    isScheduled = true;
    // Before the work begins, so that what waits comes before whatever the work puts off to the end of the tick.
    setImmediate(beginTick);
  }

  /** A server with nothing else to do begins the next tick at once, so nobody waits for the sake of nobody. */
  function beginTick(): void {
    isScheduled = false;
    for (const [client, ms] of usedMs) {
      if (ms > shareMs) usedMs.set(client, ms - shareMs);
      else usedMs.delete(client);
    }
    for (const [client, works] of waiting) {
      while (works.length > 0 && hasShare(client)) workFor(client, works.shift() ?? (() => {}));
      if (works.length === 0) waiting.delete(client);
    }
    if (usedMs.size > 0) schedule();
  }

  return {
    begin(client, work) {
      // Whoever has a share left has nothing that waits.
      if (hasShare(client)) return workFor(client, work);
      return new Promise((resolve) => {
        const works = waiting.get(client) ?? [];
        waiting.set(client, works);
        works.push(() => resolve(work()));
      });
    },
  };
}
