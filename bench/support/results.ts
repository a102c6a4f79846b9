import type { Circumstances } from "./machine.ts";
import type { RowResult } from "./row.ts";

/** What was measured last of each row. */
export interface Results {
  readonly circumstances: Circumstances;
  /** By the row's id. */
  readonly rows: Readonly<Record<string, MeasuredRow>>;
}

export interface MeasuredRow extends RowResult {
  /** RFC 3339, to the minute. */
  readonly measuredAt: string;
  readonly commit: string;
  readonly rounds: number;
  /** Why the figures only give an idea: short rounds, or other work on the machine. Left out: they count. */
  readonly indicative?: string;
}

/**
 * Puts a run into what is known. Rows that it did not measure stay, each with its own date; but not when they were measured
 * on another machine or with other versions, since they would stand beside numbers that they cannot be compared with.
 */
export function merge(
  known: Results | null,
  circumstances: Circumstances,
  rows: readonly MeasuredRow[],
): Results {
  const isSame = known !== null && JSON.stringify(known.circumstances) === JSON.stringify(circumstances);
  const measured = Object.fromEntries(rows.map((row) => [row.row, row]));
  return { circumstances, rows: { ...(isSame ? known.rows : {}), ...measured } };
}
