/**
 * Two clocks that cannot be passed for each other. Rules take the time as an argument; nothing in them reads a clock.
 * docs/decisions/0003-clocks.md lists which clock each part of the server reads.
 */

/** Measures durations: it only goes forward, at an even pace, whatever is done to the machine's time. */
export interface MonotonicClock {
  /** Milliseconds since an arbitrary instant. Only the difference of two readings in one process means anything. */
  now(): number;
}

/** Reads the time of day: it is set by NTP and by operators, so it may jump in both directions. */
export interface WallClock {
  /** Milliseconds since the Unix epoch. */
  epochMs(): number;
}

/** For timeouts, retries, caches, intervals and leases. On Linux it stands still while the machine is suspended. */
export const monotonicClock: MonotonicClock = { now: () => performance.now() };

/** For instants that leave this process, where Redis's time is not at hand. Never for a duration. */
export const wallClock: WallClock = { epochMs: () => Date.now() };
