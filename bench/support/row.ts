import type { Plan } from "./rounds.ts";

/** A row of the table: one question, and everything that is needed to judge the answer. */
export interface Row {
  /** A number, and a letter where a number has several rows: `3b`. */
  readonly id: string;
  readonly title: string;
  /** What the row is for, in a sentence. */
  readonly purpose: string;
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
  /** Its id. */
  readonly row: string;
  readonly lines: readonly Comparison[];
  /** What else was seen that helps to judge the numbers, in whole sentences. */
  readonly notes: readonly string[];
}

/** One number of ours, in every round, beside the one that it is compared with. */
export interface Comparison {
  readonly what: string;
  readonly unit: string;
  readonly against: string;
  readonly ours: readonly number[];
  readonly theirs: readonly number[];
  /** Null: only there to be known. */
  readonly wanted: Wanted | null;
  /** What it means, in a sentence for users. */
  readonly says: string;
}

/** What the median of the rounds must be: of ours divided by theirs, or of ours itself where `absolute`. */
export type Wanted = ({ readonly atLeast: number } | { readonly atMost: number }) & {
  readonly absolute?: true;
};

/** Whether a figure is as wanted: of three significant digits, as it is shown. */
export function isReached(figure: number, wanted: Wanted): boolean {
  const shown = Number(figure.toPrecision(3));
  return "atLeast" in wanted ? shown >= wanted.atLeast : shown <= wanted.atMost;
}

/** Whether rows belong to a number or an id: `1` stands for `1a` and `1b`. */
export function isRow(id: string, asked: string): boolean {
  return id === asked || /^\d+/.exec(id)?.[0] === asked;
}
