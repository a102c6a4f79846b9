import type { StepGrid } from "./step-grid.ts";

/** A value of each place of the time axis; null: not known, and a gap in the line. */
export type Column = readonly (number | null)[];

/** @param isAtLeast whether the true value may be greater. */
export type FormatValue = (value: number, isAtLeast?: boolean) => string;

/** One line of a chart. */
export interface Line<T> {
  readonly label: string;
  /** Names its colour and its weight in the style sheet. */
  readonly tone: Tone;
  readonly of: (step: T) => number | null;
  /** Whether the true value may be greater; absent: it never may. */
  readonly isAtLeast?: (step: T) => boolean;
  /** The value of the running step: what is pushed now. Null: not known, or none is pushed. */
  readonly now: number | null;
  readonly isNowAtLeast?: boolean;
}

/** Hue is the subject, weight the percentile. */
export type Tone = "latency" | "p50" | "p95" | "p99" | "depth" | "in" | "out";

export interface LineColumns {
  readonly label: string;
  readonly tone: Tone;
  /** One for each place of `x`. The last one is the running step's, if there is one. */
  readonly values: Column;
  /** Of each value, whether the true one may be greater. */
  readonly atLeast: readonly boolean[];
  /** All null but for the two ends of the dashed line: the last known step and the running one. */
  readonly running: Column;
}

export interface Columns {
  /** Seconds since the epoch: the middle of each step; the last is now, if `nowMs` is given. */
  readonly x: readonly number[];
  /** Whether the last place is now. */
  readonly hasNow: boolean;
  /** Of each place, whether its values may be too high or too low: Redis had lost events. */
  readonly incomplete: readonly boolean[];
  readonly lines: readonly LineColumns[];
}

export interface ColumnsOptions<T> {
  /** Null: the range ends in the past, and no step runs. */
  readonly nowMs: number | null;
  /** @default none is */
  readonly isIncomplete?: (step: T) => boolean;
  readonly isNowIncomplete?: boolean;
}

export function columnsOf<T>(
  grid: StepGrid<T>,
  lines: readonly Line<T>[],
  { nowMs, isIncomplete = () => false, isNowIncomplete = false }: ColumnsOptions<T>,
): Columns {
  const middles = grid.startsMs.map((startMs) => (startMs + grid.stepMs / 2) / 1000);
  const hasNow = nowMs !== null;
  return {
    x: hasNow ? [...middles, nowMs / 1000] : middles,
    hasNow,
    incomplete: [
      ...grid.steps.map((step) => step !== null && isIncomplete(step)),
      ...(hasNow ? [isNowIncomplete] : []),
    ],
    lines: lines.map(({ label, tone, of, now, isAtLeast = () => false, isNowAtLeast = false }) => {
      const over = grid.steps.map((step) => (step === null ? null : of(step)));
      const overAtLeast = grid.steps.map((step) => step !== null && isAtLeast(step));
      if (!hasNow) return { label, tone, values: over, atLeast: overAtLeast, running: over.map(() => null) };
      const running: (number | null)[] = [...over.map(() => null), now];
      const last = over.findLastIndex((value) => value !== null);
      // The dashed line begins at the last step; not behind a gap, and not at a step that is known to have no value.
      const isLastStep = last >= 0 && last === grid.steps.findLastIndex((step) => step !== null);
      if (grid.isCurrent && isLastStep && now !== null) running[last] = over[last] ?? null;
      return { label, tone, values: [...over, now], atLeast: [...overAtLeast, isNowAtLeast], running };
    }),
  };
}

/** What a screen reader says instead of the picture. */
export function summaryOf(
  title: string,
  lines: readonly Pick<LineColumns, "label" | "values" | "atLeast">[],
  format: FormatValue,
): string {
  const parts = lines.map(({ label, values, atLeast }) => {
    const known = values.flatMap((value, place) =>
      value === null ? [] : [{ value, isAtLeast: atLeast[place] === true }],
    );
    const [first] = known;
    if (first === undefined) return `${label}: no data`;
    const min = known.reduce((least, one) => (one.value < least.value ? one : least), first);
    const max = known.reduce((most, one) => (one.value > most.value ? one : most), first);
    const text = ({ value, isAtLeast }: typeof first) => format(value, isAtLeast);
    return `${label}: minimum ${text(min)}, maximum ${text(max)}, last ${text(known.at(-1) ?? first)}`;
  });
  return `${title}. ${parts.join("; ")}.`;
}
