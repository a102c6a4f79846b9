import { type MonotonicClock, monotonicClock, type WallClock, wallClock } from "../core/clock.ts";

/** The time of one Redis, known without asking: from the times that came with its recent answers. */
export interface RedisClock {
  /** What time it is there when it is so late by {@link monotonicClock}. */
  at(localMs: number): number;
  /** An answer that has just come says that it was `redisNowMs` when it was given. */
  heard(redisNowMs: number): void;
}

const periodMs = 10_000;

/**
 * Until the first answer it is this machine's time. An answer is always a little old when it comes, so the offset that
 * puts Redis furthest ahead is the best; only those of the last ten to twenty seconds count, so that a clock that was set
 * back is followed.
 */
export function createRedisClock(
  local: MonotonicClock = monotonicClock,
  wall: WallClock = wallClock,
): RedisClock {
  let offset = wall.epochMs() - local.now();
  let best = Number.NEGATIVE_INFINITY;
  let bestBefore = Number.NEGATIVE_INFINITY;
  let periodEnds = 0;
  return {
    at: (localMs) => Math.floor(localMs + offset),
    heard(redisNowMs) {
      const localNow = local.now();
      if (localNow >= periodEnds) {
        bestBefore = localNow < periodEnds + periodMs ? best : Number.NEGATIVE_INFINITY;
        best = Number.NEGATIVE_INFINITY;
        periodEnds = localNow + periodMs;
      }
      best = Math.max(best, redisNowMs - localNow);
      offset = Math.max(best, bestBefore);
    },
  };
}
