/** The elements from behind the span before up to a number: they were pushed between two readings. */
export interface Span {
  readonly to: number;
  /** Of the last one; "" where it is not known, or another one has the same. */
  readonly digest: string;
  /** Null: before the first reading. */
  readonly afterMs: number | null;
  readonly byMs: number;
  /** Whether the elements could not be distinguished, so that nothing is known of their times. */
  readonly isDoubtful: boolean;
}

/** Spans are merged while their times then differ by less than this share of their age. */
const mergedShare = 0.02;
const maxSpans = 500;

/** Whether two times are as one: they differ by `exactMs` at most, or by little beside their age. */
export function areOneTime(afterMs: number, byMs: number, nowMs: number, exactMs: number): boolean {
  return byMs - afterMs <= Math.max(exactMs, 2 * mergedShare * Math.max(0, nowMs - byMs));
}

/** The span of the element with this number. */
export function spanOf(spans: readonly Span[], number: number): Span {
  const span = spans.find(({ to }) => number <= to) ?? spans.at(-1);
  if (span === undefined) throw new Error(`expected a span of the element ${number}`);
  return span;
}

/** The same, with fewer spans where their times differ little. */
export function mergedSpans(spans: readonly Span[], nowMs: number): readonly Span[] {
  const result: Span[] = [];
  const excess = spans.length - maxSpans;
  for (const [i, span] of spans.entries()) {
    const last = result.at(-1);
    const canMerge = last !== undefined && last.afterMs !== null && !last.isDoubtful && span.afterMs !== null;
    const isSmall = canMerge && span.byMs - last.afterMs <= mergedShare * (nowMs - span.byMs);
    if (canMerge && (isSmall || i <= excess)) result[result.length - 1] = { ...span, afterMs: last.afterMs };
    else result.push(span);
  }
  return result;
}
