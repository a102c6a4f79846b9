/** What one reading of a queue's counters said. */
export interface CurveSample {
  readonly atMs: number;
  /** Messages that can be delivered now. */
  readonly ready: number;
  /** How many were ever published to the queue. */
  readonly published: number;
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

interface Point {
  readonly atMs: number;
  /** How many messages had come, counted from the first sample on. */
  readonly came: number;
}

/** @param lagMs how much later than one counter another one may come, in ms. */
export function createCumulativeCurve(lagMs = defaultLagMs): CumulativeCurve {
  let first: CurveSample | null = null;
  let last: CurveSample | null = null;
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

  function restart(sample: CurveSample): void {
    first = sample;
    left = 0;
    recent = [];
    points = [{ atMs: sample.atMs, came: sample.ready }];
    unsureUntil = sample.ready;
  }

  function advance(from: CurveSample, sample: CurveSample): void {
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
    if (came > (points.at(-1)?.came ?? 0)) points.push({ atMs: sample.atMs, came });
    points = thinned(points.slice(Math.max(0, indexOf(points, left + 1) - 1)));
  }

  return {
    add(sample) {
      const wasReset =
        last !== null && (sample.published < last.published || sample.delivered < last.delivered);
      last = sample;
      if (first === null || wasReset || sample.ready === 0) restart(sample);
      else advance(first, sample);
      if (sample.ready === 0) return { ageMs: null, uncertaintyMs: 0, isLowerBound: false };
      const index = Math.min(indexOf(points, left + 1), points.length - 1);
      const atMs = points[index]?.atMs ?? sample.atMs;
      if (left + 1 <= unsureUntil) return { ageMs: sample.atMs - atMs, uncertaintyMs: 0, isLowerBound: true };
      const halfMs = (atMs - (points[index - 1]?.atMs ?? atMs)) / 2;
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
  return points.filter((_, i) => i > points.length / 2 || i % 2 === 0);
}
