import type { StepGrid } from "./step-grid.ts";

/** A value of each place of the time axis; null: not known, and a gap in the line. */
export type Column = readonly (number | null)[];

/** One line of a chart. */
export interface Line<T> {
  readonly label: string;
  /** Names its colour and its weight in the style sheet. */
  readonly tone: Tone;
  readonly of: (step: T) => number | null;
  /** The value of the running step: what is pushed now. Null: not known, or none is pushed. */
  readonly now: number | null;
}

/** Hue is the subject, weight the percentile. */
export type Tone = "latency" | "p50" | "p95" | "p99" | "depth" | "in" | "out";

export interface LineColumns {
  readonly label: string;
  readonly tone: Tone;
  /** One for each place of `x`. The last one is the running step's, if there is one. */
  readonly values: Column;
  /** All null but for the two ends of the dashed line: the last known step and the running one. */
  readonly running: Column;
}

export interface Columns {
  /** Seconds since the epoch: the middle of each step; the last is now, if `nowMs` is given. */
  readonly x: readonly number[];
  /** Whether the last place is now. */
  readonly hasNow: boolean;
  readonly lines: readonly LineColumns[];
}

/** @param nowMs null: the range ends in the past, and no step runs. */
export function columnsOf<T>(grid: StepGrid<T>, lines: readonly Line<T>[], nowMs: number | null): Columns {
  const middles = grid.startsMs.map((startMs) => (startMs + grid.stepMs / 2) / 1000);
  const hasNow = nowMs !== null;
  return {
    x: hasNow ? [...middles, nowMs / 1000] : middles,
    hasNow,
    lines: lines.map(({ label, tone, of, now }) => {
      const over = grid.steps.map((step) => (step === null ? null : of(step)));
      if (!hasNow) return { label, tone, values: over, running: over.map(() => null) };
      const running: (number | null)[] = [...over.map(() => null), now];
      const last = over.findLastIndex((value) => value !== null);
      // The dashed line begins at the last step; not behind a gap, and not at a step that is known to have no value.
      const isLastStep = last >= 0 && last === grid.steps.findLastIndex((step) => step !== null);
      if (grid.isCurrent && isLastStep && now !== null) running[last] = over[last] ?? null;
      return { label, tone, values: [...over, now], running };
    }),
  };
}

/** What a screen reader says instead of the picture. */
export function summaryOf(
  title: string,
  lines: readonly Pick<LineColumns, "label" | "values">[],
  format: (value: number) => string,
): string {
  const parts = lines.map(({ label, values }) => {
    const known = values.filter((value) => value !== null);
    const [first] = known;
    if (first === undefined) return `${label}: no data`;
    const min = known.reduce((least, value) => Math.min(least, value), first);
    const max = known.reduce((most, value) => Math.max(most, value), first);
    return `${label}: minimum ${format(min)}, maximum ${format(max)}, last ${format(known.at(-1) ?? first)}`;
  });
  return `${title}. ${parts.join("; ")}.`;
}
