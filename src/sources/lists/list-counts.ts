import type { LeftJobs, ObservedCounts } from "../../core/observation.ts";
import type { ListMoves } from "./list-moves.ts";

/** What came to and left one queue, from one reading to the next. */
export interface ListCounts {
  /**
   * @param moves of each list, in the order in which workers empty them.
   * @returns as in an observation; undefined: there is nothing new.
   */
  add(moves: readonly (ListMoves | null)[], at: CountedAt): ObservedCounts | null | undefined;
  /** What was returned last may not be stored: counting begins anew. */
  restart(): void;
}

export interface CountedAt {
  /** By the clock of the Redis. */
  readonly nowMs: number;
  /** The same, by monotonicClock. */
  readonly readAtMs: number;
}

/** That nothing moves is reported as often as this, so that rates fall. */
const idleEveryMs = 5_000;

/** @param maxGapMs of two readings that are further apart it is not known when the jobs between them came and left. */
export function createListCounts(maxGapMs: number): ListCounts {
  let sinceMs: number | null = null;
  let reportedAtMs = Number.NEGATIVE_INFINITY;
  let mayMissJobs = false;

  return {
    add(moves, { nowMs, readAtMs }) {
      if (moves.length === 0) return undefined;
      const known = moves.filter((each) => each !== null);
      const isGap = known.some(({ betweenMs }) => betweenMs > maxGapMs);
      if (sinceMs === null || isGap || known.length < moves.length) {
        sinceMs = readAtMs;
        mayMissJobs = false;
        return null;
      }
      const enqueued = known.reduce((sum, { pushed }) => sum + pushed, 0);
      const left = known.flatMap(leftJobsAt(readAtMs));
      mayMissJobs ||= !areWhole(known);
      const isDue = readAtMs - reportedAtMs >= idleEveryMs;
      if (enqueued === 0 && left.length === 0 && !isDue) return undefined;
      const counts = { cursor: nowMs, sinceMs, untilMs: readAtMs, enqueued, left, isLowerBound: mayMissJobs };
      reportedAtMs = readAtMs;
      mayMissJobs = false;
      return counts;
    },
    restart() {
      sinceMs = null;
    },
  };
}

function leftJobsAt(readAtMs: number): (moves: ListMoves) => readonly LeftJobs[] {
  return ({ left, betweenMs }) => left.map((jobs) => ({ ...jobs, atMs: readAtMs - betweenMs / 2 }));
}

/** While one list is never empty, no worker takes from those behind it. */
function areWhole(moves: readonly ListMoves[]): boolean {
  const busy = moves.findIndex(({ isWhole }) => isWhole);
  return moves.every(({ isWhole, isIdle }, i) => isWhole || (isIdle && busy !== -1 && i > busy));
}
