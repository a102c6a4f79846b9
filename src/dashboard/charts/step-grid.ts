/** One step of the history, as far as a grid reads it. */
export interface Step {
  /** When it began, in ms since the epoch. */
  readonly atMs: number;
}

/** Length of the steps of the history, in ms. */
export const stepMs = { TEN_SECONDS: 10_000, ONE_MINUTE: 60_000, ONE_HOUR: 3_600_000 } as const;
export type StepName = keyof typeof stepMs;

/** Steps at equal distances, from the first to the last; null where none was sampled: a gap, and not a zero. */
export interface StepGrid<T> {
  readonly stepMs: number;
  /** When each began, in ms since the epoch. */
  readonly startsMs: readonly number[];
  readonly steps: readonly (T | null)[];
  /** Whether a line leads from the last step that is known to now: no step between them is missing. */
  readonly isCurrent: boolean;
}

export interface GridRange {
  readonly fromMs: number;
  readonly toMs: number;
  readonly stepMs: number;
}

/** The server lists a step when it is over, and at most this much later. */
export const listedAfterMs = 15_000;

/** Puts steps in their places. Those outside of the range, and the later of two of one time, are left out. */
export function stepGrid<T extends Step>(known: readonly T[], range: GridRange): StepGrid<T> {
  const { fromMs, toMs, stepMs } = range;
  const firstMs = Math.ceil(fromMs / stepMs) * stepMs;
  // A step that is not over has no place: what is known of it is drawn at its end, which is now.
  const count = Math.max(0, Math.floor((toMs - firstMs) / stepMs));
  const steps = new Array<T | null>(count).fill(null);
  for (const step of known) {
    const place = (step.atMs - firstMs) / stepMs;
    if (Number.isInteger(place) && place >= 0 && place < count) steps[place] ??= step;
  }
  const lastKnown = steps.findLastIndex((step) => step !== null);
  const lastEndMs = firstMs + (lastKnown + 1) * stepMs;
  return {
    stepMs,
    startsMs: steps.map((_, place) => firstMs + place * stepMs),
    steps,
    isCurrent: lastKnown >= 0 && toMs - lastEndMs <= stepMs + listedAfterMs,
  };
}

/** Adds steps that were read later; of two of one time the later one counts, and those before `fromMs` are dropped. */
export function mergeSteps<T extends Step>(known: readonly T[], added: readonly T[], fromMs: number): T[] {
  const byStart = new Map<number, T>();
  for (const step of [...known, ...added]) byStart.set(step.atMs, step);
  return [...byStart]
    .filter(([atMs]) => atMs >= fromMs)
    .sort(([a], [b]) => a - b)
    .map(([, step]) => step);
}
