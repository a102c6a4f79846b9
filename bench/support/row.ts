import type { Plan } from "./rounds.ts";

/** A row of the table: one question, and everything that is needed to judge the answer. */
export interface Row {
  readonly number: number;
  readonly title: string;
  /** What exactly is measured, and what the other side does, in whole sentences. */
  readonly how: string;
  /** Why it is not reached, and what would reach it; only printed where it is not. */
  readonly obstacle?: string;
}

/** Rows that are measured together, since they stand against the same. */
export interface RowGroup {
  readonly rows: readonly Row[];
  measure(plan: Plan): Promise<readonly RowResult[]>;
}

export interface RowResult {
  readonly row: number;
  readonly lines: readonly Comparison[];
  /** What else was seen that helps to judge the numbers, in whole sentences. */
  readonly notes: readonly string[];
}

/** One number of ours, in every round, beside the one that it is held against. */
export interface Comparison {
  readonly what: string;
  readonly unit: string;
  readonly against: string;
  readonly ours: readonly number[];
  readonly theirs: readonly number[];
  /** Of ours divided by theirs; null: only there to be known. */
  readonly wanted: Wanted | null;
  /** What it means, in a sentence for users. */
  readonly says: string;
}

export type Wanted = { readonly atLeast: number } | { readonly atMost: number };

/** Whether the median of the rounds' ratios is as wanted: of three significant digits, as it is shown. */
export function isReached(ratio: number, wanted: Wanted): boolean {
  const shown = Number(ratio.toPrecision(3));
  return "atLeast" in wanted ? shown >= wanted.atLeast : shown <= wanted.atMost;
}
