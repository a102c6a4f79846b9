import { type MonotonicClock, monotonicClock } from "../runtime/clock.ts";

/** Operations in a second whose spans are sent because a client asks for it. */
const maxOfClient = 10;
const maxOfAll = 100;

/**
 * Bounds the operations whose spans go on from a `traceparent`. A client chooses its flags and its trace id, so that it could have every
 * request sampled. Seconds are those of the clock. It holds at most one entry for each operation that it accepts in a second.
 */
export interface TraceLimit {
  /** Counts an operation. @returns whether its spans may be sent. */
  take(client: string): boolean;
}

export function createTraceLimit(clock: MonotonicClock = monotonicClock): TraceLimit {
  let second = Number.NaN;
  let taken = 0;
  let takenBy = new Map<string, number>();
  return {
    take(client) {
      const now = Math.floor(clock.now() / 1_000);
      if (now !== second) {
        second = now;
        taken = 0;
        takenBy = new Map();
      }
      const ofClient = takenBy.get(client) ?? 0;
      if (taken >= maxOfAll || ofClient >= maxOfClient) return false;
      taken += 1;
      takenBy.set(client, ofClient + 1);
      return true;
    },
  };
}
