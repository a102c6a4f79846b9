import { type MonotonicClock, monotonicClock, type WallClock, wallClock } from "../runtime/clock.ts";

/** The time of one Redis, known without asking: from the times that came with its recent answers. */
export interface RedisClock {
  /** What time it is there when it is so late by {@link monotonicClock}. */
  at(localMs: number): number;
  /** An answer that has just come says that it was `redisNowMs` when it was given. */
  observe(redisNowMs: number): void;
}

const periodMs = 10_000;
/** No answer is under way for longer: then its command counts as unanswered. */
const maxWayMs = 2_000;

/**
 * Until the first answer it is this machine's time. An answer is always a little old when it comes, so the offset that
 * puts Redis furthest ahead is the best; only those of the last ten to twenty seconds count, so that a clock that drifts is
 * followed. One that was set back by more than an answer can be old is followed at once.
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
    observe(redisNowMs) {
      const localNow = local.now();
      if (localNow >= periodEnds) {
        bestBefore = localNow < periodEnds + periodMs ? best : Number.NEGATIVE_INFINITY;
        best = Number.NEGATIVE_INFINITY;
        periodEnds = localNow + periodMs;
      }
      // Later than any answer comes: the clock was set back.
      if (redisNowMs - localNow < Math.max(best, bestBefore) - maxWayMs) {
        best = Number.NEGATIVE_INFINITY;
        bestBefore = Number.NEGATIVE_INFINITY;
      }
      best = Math.max(best, redisNowMs - localNow);
      offset = Math.max(best, bestBefore);
    },
  };
}
