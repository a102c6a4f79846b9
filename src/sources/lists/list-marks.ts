import {
  distinct,
  endsOf,
  type KnownElement,
  type NumberRange,
  newestOf,
  numbered,
} from "./known-elements.ts";
import type { Hit, ListReading } from "./list-reading.ts";
import { areOneTime, mergedSpans, type Span, spanOf } from "./list-spans.ts";

/**
 * Since when the head of a FIFO list waits, where the elements carry no time: from where known elements are, from one reading to the
 * next. Elements are numbered in the order in which they were pushed. No I/O, no clock.
 *
 * - Each reading finds the known elements that are nearest to both ends. What is newer than the one at the pushing end was pushed since
 *   the reading before: a {@link Span} of numbers, with the times of both readings.
 * - The number of the head follows from the known element nearest to it. The older ones that are not found have left, and all before
 *   them, since a list is emptied from its head on.
 * - A number that is not certain is a range, and so is the head's time.
 */
export interface ListMarks {
  /** Of the reading, by the clock of the list's Redis. */
  readonly atMs: number;
  readonly length: number;
  /** The number of the newest element. */
  readonly newest: number;
  readonly head: NumberRange;
  /** The oldest element with a number, while others stand before it that were put at the wrong end; null: none do. */
  readonly behind: NumberRange | null;
  /** Digests of those others. */
  readonly strays: readonly string[];
  /** How many elements left between the last two readings. */
  readonly left: number;
  /** Digests of the newest element and of the head; "" in an empty list. */
  readonly ends: readonly [newest: string, head: string];
  /** Elements near both ends, and samples in between: no two with one digest. */
  readonly known: readonly KnownElement[];
  readonly spans: readonly Span[];
}

export interface HeadAge {
  readonly ageMs: number;
  readonly uncertaintyMs: number;
  readonly accuracy: "EXACT" | "LOWER_BOUND" | "UNKNOWN";
}

/** How many spans' last elements are looked for. */
const comparedSpans = 8;
/** Of a list that is longer than what is known of it, this many times what left before may leave at once. */
const leftGrowth = 2;

/** The elements to look for at the next reading. */
export function comparedElements({ known, spans }: ListMarks): readonly KnownElement[] {
  const ends = spans.slice(0, comparedSpans).filter(({ digest }) => digest !== "");
  return distinct([...known, ...ends.map(({ digest, to }): KnownElement => ({ digest, number: [to, to] }))]);
}

/** @param areDistinct whether no two elements of the list are ever the same. */
export function advanceMarks(
  before: ListMarks | null,
  reading: ListReading,
  areDistinct: boolean,
): ListMarks {
  const { nowMs, length } = reading;
  if (length === 0) return emptyMarks(nowMs);
  if (before === null) return begin(reading, { afterMs: null });
  const earlier = before.atMs > nowMs ? shifted(before, nowMs - before.atMs) : before;
  if (reading.isSame) return { ...earlier, atMs: nowMs, left: 0 };
  if (earlier.length === 0) return begin(reading, { afterMs: earlier.atMs });
  if (reading.newHit === null && reading.oldHit === null) return beginAgain(earlier, reading);
  return goOn(earlier, reading, areDistinct);
}

/**
 * How long the head has waited, or the element with `place` others before it; null when the list is empty. EXACT when the two times
 * between which it was pushed differ by `exactMs` at most, or by little beside its age.
 */
export function headAge(marks: ListMarks, exactMs: number, place = 0): HeadAge | null {
  const { atMs, length, head, behind, spans } = marks;
  if (length === 0) return null;
  const [from, to] = behind ?? head;
  const [first, last] = [spanOf(spans, from + place), spanOf(spans, to + place)];
  const ageMs = Math.max(0, atMs - last.byMs);
  if (first.isDoubtful || last.isDoubtful) return { ageMs, uncertaintyMs: 0, accuracy: "UNKNOWN" };
  const isExact =
    behind === null && first.afterMs !== null && areOneTime(first.afterMs, last.byMs, atMs, exactMs);
  if (!isExact) return { ageMs, uncertaintyMs: 0, accuracy: "LOWER_BOUND" };
  const widthMs = last.byMs - first.afterMs;
  return { ageMs: ageMs + widthMs / 2, uncertaintyMs: widthMs / 2, accuracy: "EXACT" };
}

function emptyMarks(nowMs: number): ListMarks {
  return {
    ...{ atMs: nowMs, length: 0, newest: 0, head: [1, 1], behind: null, strays: [], left: 0 },
    ...{ ends: ["", ""], known: [], spans: [] },
  };
}

interface Beginning {
  readonly afterMs: number | null;
  readonly isDoubtful?: boolean;
  readonly left?: number;
}

/** All elements are of one span. */
function begin(reading: ListReading, { afterMs, isDoubtful = false, left = 0 }: Beginning): ListMarks {
  const { nowMs, length } = reading;
  const known = numbered(reading, ({ place }) => [place + 1, place + 1]);
  return {
    ...{ atMs: nowMs, length, newest: length, head: [1, 1], behind: null, strays: [], left },
    ...{ ends: endsOf(reading), known },
    spans: [{ to: length, digest: newestOf(reading, known), afterMs, byMs: nowMs, isDoubtful }],
  };
}

/** No known element is where it was looked for. */
function beginAgain(earlier: ListMarks, reading: ListReading): ListMarks {
  const isNewestKnown = earlier.known.some(({ digest }) => digest === earlier.ends[0]);
  if (!reading.isWhole || !isNewestKnown) return begin(reading, { afterMs: null, isDoubtful: true });
  const isAllKnown = earlier.known.length >= earlier.length;
  const isUsual = earlier.behind === null && earlier.length <= leftGrowth * earlier.left;
  const afterMs = isAllKnown || isUsual ? earlier.atMs : null;
  return begin(reading, { afterMs, left: earlier.length });
}

function goOn(earlier: ListMarks, reading: ListReading, areDistinct: boolean): ListMarks {
  const { nowMs, length, newHit, oldHit } = reading;
  const compared = comparedElements(earlier);
  const numbers = new Map(compared.map(({ digest, number }) => [digest, number]));
  const numberOf = (hit: Hit | null) => (hit === null ? undefined : numbers.get(hit.digest));
  const [oldNumber, newNumber] = [numberOf(oldHit), numberOf(newHit)];
  const pushed = newHit?.place ?? pushedBehind(earlier, reading, oldNumber);
  const newest = earlier.newest + pushed;
  const left = Math.max(0, earlier.length + pushed - length);

  const gone = compared.filter(({ number }) => oldNumber !== undefined && number[1] < oldNumber[0]);
  const from = Math.max(earlier.head[0], ...gone.map(({ number }) => number[0] + 1));
  const before = oldHit?.place ?? length - 1 - (newHit?.place ?? 0);
  const to = ((oldNumber ?? newNumber)?.[1] ?? newest) - before;
  // More are before it than were pushed before it; or those that were stay, while jobs behind them are removed.
  const first = reading.oldest.slice(0, oldHit?.place ?? 0);
  const isBehind = to < from || first.some((digest) => earlier.strays.includes(digest));
  const behind = oldNumber !== undefined && isBehind ? oldNumber : null;
  const head: NumberRange = [from, Math.max(from, to)];
  const isCounted = behind === null && head[1] === newest - (length - 1);
  if (!areDistinct && !isCounted) return begin(reading, { afterMs: null, isDoubtful: true, left });

  const known = numbered(reading, ({ place, digest }, previous) => {
    const number = numbers.get(digest);
    if (number !== undefined) return number;
    const byLength = newest - (length - 1 - place);
    const isPushedNow = newHit !== null && length - 1 - place < newHit.place;
    if (isPushedNow) return [byLength, byLength];
    const isBeforeHit = oldHit !== null && place < oldHit.place;
    if (isBeforeHit && behind !== null) return null;
    const least = previous === null ? head[0] + place : previous.number[0] + (place - previous.place);
    return [least, Math.max(least, isBeforeHit ? head[1] + place : byLength)];
  });
  const last = earlier.spans.length - 1;
  const spans = earlier.spans.filter((span, i) => span.to >= head[0] || i === last);
  if (pushed > 0) {
    // Of unknown ones that are newer than the hit, some may have been there before.
    const beside = newNumber === undefined ? null : unknownBehind(earlier, compared, newNumber);
    const afterMs = beside === null ? earlier.atMs : spanOf(earlier.spans, beside).afterMs;
    spans.push({ to: newest, digest: newestOf(reading, known), afterMs, byMs: nowMs, isDoubtful: false });
  }
  return {
    ...{ atMs: nowMs, length, newest, head, behind, strays: behind === null ? [] : first, left },
    ...{ ends: endsOf(reading), known },
    spans: mergedSpans(spans, nowMs),
  };
}

/** The first number behind this one of which it is not known that it has left, though it is not newer than the newest; null: none. */
function unknownBehind(
  { newest }: ListMarks,
  compared: readonly KnownElement[],
  number: NumberRange,
): number | null {
  const left = new Set(compared.flatMap(({ number: [from, to] }) => (from === to ? [from] : [])));
  for (let next = number[0] + 1; next <= newest; next++) if (!left.has(next)) return next;
  return null;
}

/** So much was pushed that no known element is near enough to the newest: then as many as the length says. */
function pushedBehind(
  earlier: ListMarks,
  { length, oldHit }: ListReading,
  oldNumber: NumberRange | undefined,
): number {
  if (oldHit === null || oldNumber === undefined) return 0;
  return Math.max(0, length - oldHit.place - (earlier.newest - oldNumber[0] + 1));
}

/** The clock of Redis was set back. */
function shifted(marks: ListMarks, byMs: number): ListMarks {
  const spans = marks.spans.map((span) => ({
    ...span,
    afterMs: span.afterMs === null ? null : span.afterMs + byMs,
    byMs: span.byMs + byMs,
  }));
  return { ...marks, atMs: marks.atMs + byMs, spans };
}
