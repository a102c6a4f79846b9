/** What one reading of a queue's counters said. */
export interface CurveSample {
  readonly atMs: number;
  /** Messages that can be delivered now. */
  readonly ready: number;
  /** How many were ever published to the queue; null: not known. Then what was put back counts as published. */
  readonly published: number | null;
  /** How many were ever delivered for the first time. */
  readonly delivered: number;
}

/** What is known of the head after a sample. */
export interface CurveHead {
  /** Age of the head, in ms; null when no message is ready. */
  readonly ageMs: number | null;
  /** It may be off by this much either way. */
  readonly uncertaintyMs: number;
  /** The head is at least so old: it was there before the first sample, or messages were put back. */
  readonly isLowerBound: boolean;
}

/**
 * Finds the age of the head of a FIFO queue from counters alone: how many messages have left says which number the head has, and the
 * curve of how many had come says when a message of that number came, to the distance of two samples.
 */
export interface CumulativeCurve {
  add(sample: CurveSample): CurveHead;
}

/**
 * The counters of a queue are not of one moment: each reaches the management plugin every five seconds, and one that shows more
 * published messages may come before the one that shows them ready.
 */
const defaultLagMs = 10_000;
/** Of more points every other of the older half is left out. */
const maxPoints = 2_000;

type CountedSample = CurveSample & { readonly published: number };

interface Point {
  /** They came after that: at the point before, or as long before this one as a counter may be late, they had not. */
  readonly afterMs: number;
  readonly atMs: number;
  /** How many messages had come, counted from the first sample on. */
  readonly came: number;
}

/** @param lagMs how much later than one counter another one may come, in ms. */
export function createCumulativeCurve(lagMs = defaultLagMs): CumulativeCurve {
  let first: CountedSample | null = null;
  let last: CountedSample | null = null;
  let points: Point[] = [];
  /** How many have left: the head has the next number. */
  let left = 0;
  /** Messages up to this number may be older than the curve says. */
  let unsureUntil = 0;
  /**
   * Of the last samples, from one on that is `lagMs` old: how many seemed to have left by what was published and is not ready, and how
   * many had by all that is known.
   */
  let recent: { readonly atMs: number; readonly seen: number; readonly left: number }[] = [];

  function restart(sample: CountedSample): void {
    first = sample;
    left = 0;
    recent = [];
    points = [{ afterMs: sample.atMs, atMs: sample.atMs, came: sample.ready }];
    unsureUntil = sample.ready;
  }

  function advance(from: CountedSample, sample: CountedSample, lastAtMs: number): void {
    const published = sample.published - from.published;
    const seen = published - (sample.ready - from.ready);
    const since = recent.findLastIndex(({ atMs }) => sample.atMs - atMs >= lagMs);
    recent = recent.slice(Math.max(0, since));
    const spanMs = sample.atMs - (recent[0]?.atMs ?? sample.atMs);
    const byPublished = spanMs >= lagMs / 2 ? Math.min(seen, ...recent.map((each) => each.seen)) : 0;
    left = Math.max(left, byPublished, sample.delivered - from.delivered);
    recent.push({ atMs: sample.atMs, seen, left });
    let came = Math.max(points.at(-1)?.came ?? 0, left + sample.ready, from.ready + published);
    const leftBefore = recent[0]?.left ?? left;
    if (spanMs >= lagMs && recent.every((each) => each.seen < leftBefore)) {
      // More are ready than came and have not left: some were put back, or came without being counted as published.
      came = left + sample.ready;
      unsureUntil = came;
      first = { ...sample, published: sample.published - left, delivered: sample.delivered - left };
      recent = [];
    }
    if (came > (points.at(-1)?.came ?? 0)) {
      const afterMs = Math.max(points.at(-1)?.atMs ?? 0, Math.min(lastAtMs, sample.atMs - lagMs));
      points.push({ afterMs, atMs: sample.atMs, came });
    }
    points = thinned(points.slice(Math.max(0, indexOf(points, left + 1) - 1)));
  }

  /** At least those that were delivered, or can be, at any time. */
  function publishedAt({ ready, published, delivered }: CurveSample): number {
    const before = last === null || delivered < last.delivered ? 0 : last.published;
    return published ?? Math.max(before, delivered + ready);
  }

  return {
    add(read) {
      const sample = { ...read, published: publishedAt(read) };
      const wasReset =
        last !== null && (sample.published < last.published || sample.delivered < last.delivered);
      const lastAtMs = last?.atMs ?? sample.atMs;
      last = sample;
      if (first === null || wasReset || sample.ready === 0) restart(sample);
      else advance(first, sample, lastAtMs);
      if (sample.ready === 0) return { ageMs: null, uncertaintyMs: 0, isLowerBound: false };
      const index = Math.min(indexOf(points, left + 1), points.length - 1);
      const { afterMs, atMs } = points[index] ?? { afterMs: sample.atMs, atMs: sample.atMs };
      if (left + 1 <= unsureUntil) return { ageMs: sample.atMs - atMs, uncertaintyMs: 0, isLowerBound: true };
      const halfMs = (atMs - afterMs) / 2;
      return { ageMs: sample.atMs - atMs + halfMs, uncertaintyMs: halfMs, isLowerBound: false };
    },
  };
}

/** Of the first point at which this number had come. */
function indexOf(points: readonly Point[], number: number): number {
  let [low, high] = [0, points.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((points[middle]?.came ?? 0) >= number) high = middle;
    else low = middle + 1;
  }
  return low;
}

function thinned(points: Point[]): Point[] {
  if (points.length <= maxPoints) return points;
  return points.flatMap((point, i) => {
    if (i > points.length / 2) return [point];
    // What came at the one that is left out came before this one.
    return i % 2 === 0 ? [{ ...point, afterMs: points[i - 1]?.afterMs ?? point.afterMs }] : [];
  });
}
