import type { ListMarks } from "./list-marks.ts";
import type { ListReading } from "./list-reading.ts";
import { areOneTime, type Span } from "./list-spans.ts";

/** Which elements were pushed to a list, and left it, between two readings. */
export interface ListMoves {
  readonly pushed: number;
  /** From the head on. */
  readonly left: readonly LeftElements[];
  /** Between the two times, in ms. */
  readonly betweenMs: number;
  /**
   * Whether these are all: the element that was the newest is still there, so that none can have come behind it and left. False also where
   * the list was empty at either reading.
   */
  readonly isWhole: boolean;
  /** Whether it was empty at both readings. */
  readonly isIdle: boolean;
}

export interface LeftElements {
  readonly count: number;
  /** From the middle of the readings around their push to the middle of those around their leaving; null: not known. */
  readonly waitMs: number | null;
}

/**
 * A list that is gone at once was purged, rather than emptied by workers, where it was longer than `minPurged`, and than `purgedGrowth` times
 * what left before.
 */
const minPurged = 100;
const purgedGrowth = 10;

/**
 * Marks that one reading advanced. What was purged is not among what left. What was removed otherwise is: a list does not show the
 * difference.
 *
 * @param exactMs two times that differ by no more are as one.
 * @returns null when nothing can be compared.
 */
export function movesBetween(
  before: ListMarks | null,
  after: ListMarks,
  reading: ListReading,
  exactMs: number,
): ListMoves | null {
  if (before === null || before.atMs > after.atMs) return null;
  const { newHit } = reading;
  const betweenMs = after.atMs - before.atMs;
  const isIdle = before.length === 0 && after.length === 0;
  const none: ListMoves = { pushed: 0, left: [], betweenMs, isWhole: reading.isSame, isIdle };
  if (reading.isSame) return none;

  const isGone = after.length === 0 || reading.isWhole;
  const isOther = before.length === 0 || isGone;
  const isPurge = isGone && before.length > Math.max(minPurged, purgedGrowth * before.left);
  const isAllNew = after.length === 0 || after.spans[0]?.afterMs === before.atMs;
  if (isOther && isAllNew) {
    const left = isPurge ? [] : leftOf(before, before.length, betweenMs, exactMs);
    return { ...none, pushed: after.length, left };
  }

  const isNewestThere = newHit !== null && newHit.digest === before.ends[0];
  const isCounted = !isOther && after.spans[0]?.isDoubtful === false && (isNewestThere || newHit === null);
  // Of the others, only how much longer or shorter the list is.
  const pushed = isCounted ? after.newest - before.newest : Math.max(0, after.length - before.length);
  const count = Math.max(0, before.length + pushed - after.length);
  const isKnown = isCounted && isInOrder(after);
  const left = isPurge ? [] : isKnown ? leftOf(before, count, betweenMs, exactMs) : unknown(count);
  return { ...none, pushed, left, isWhole: isCounted && isNewestThere };
}

/** The `count` elements from the head on. */
function leftOf(
  before: ListMarks,
  count: number,
  betweenMs: number,
  exactMs: number,
): readonly LeftElements[] {
  if (!isInOrder(before) || betweenMs > exactMs) return unknown(count);
  const leftAtMs = before.atMs + betweenMs / 2;
  const first = before.newest - (before.length - 1);
  let next = first;
  return before.spans.flatMap((span) => {
    const last = Math.min(span.to, first + count - 1);
    const inSpan = last - next + 1;
    if (inSpan <= 0) return [];
    next = last + 1;
    return [{ count: inSpan, waitMs: waitOf(span, leftAtMs, exactMs) }];
  });
}

function waitOf({ afterMs, byMs, isDoubtful }: Span, leftAtMs: number, exactMs: number): number | null {
  if (afterMs === null || isDoubtful || !areOneTime(afterMs, byMs, leftAtMs, exactMs)) return null;
  return leftAtMs - (afterMs + byMs) / 2;
}

function unknown(count: number): readonly LeftElements[] {
  return count === 0 ? [] : [{ count, waitMs: null }];
}

/** Whether it may be that no element was removed from the middle, nor put at the wrong end. */
function isInOrder({ newest, length, head: [from, to], behind }: ListMarks): boolean {
  const first = newest - (length - 1);
  return behind === null && from <= first && first <= to;
}
