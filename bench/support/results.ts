import { type Circumstances, notInstalled } from "./machine.ts";
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
  const kept = known !== null && isComparable(known.circumstances, circumstances);
  const measured = Object.fromEntries(rows.map((row) => [row.row, row]));
  return {
    circumstances: kept ? { ...circumstances, ...onlyIn(known.circumstances, circumstances) } : circumstances,
    rows: { ...(kept ? known.rows : {}), ...measured },
  };
}

/** What is not installed in one of the two was not measured there, so it cannot differ. */
function isComparable(a: Circumstances, b: Circumstances): boolean {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].every((name) => {
    return a[name] === b[name] || a[name] === notInstalled || b[name] === notInstalled;
  });
}

/** The values of those of `known` that are not installed now. */
function onlyIn(known: Circumstances, now: Circumstances): Circumstances {
  return Object.fromEntries(Object.entries(known).filter(([name]) => now[name] === notInstalled));
}
