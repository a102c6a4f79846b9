import type { Observation } from "../../core/observation.ts";
import type { Accuracy } from "../../core/snapshot.ts";
import { isTooFarAhead } from "../head-age.ts";

/** What a SELECT of the operator's says of one queue. */
export interface QueryRow {
  readonly queue: string;
  /** Of the oldest job that waits, in ms; null when none does. */
  readonly age: unknown;
  readonly depth?: unknown;
  readonly depth_is_lower_bound?: unknown;
  readonly scheduled?: unknown;
  readonly paused?: unknown;
}

type Standing = Pick<
  Observation,
  "headAgeMs" | "accuracy" | "depth" | "depthIsLowerBound" | "scheduled" | "paused"
>;

const maxCount = 2_147_483_647;

/**
 * How the queue stands. A row that contradicts itself says nothing: UNKNOWN.
 *
 * @param accuracy of the age, where a job waits
 */
export function standingOf(row: QueryRow, accuracy: Accuracy): Standing {
  const scheduled = countOf(row.scheduled);
  const paused = row.paused === true;
  const depth = countOf(row.depth);
  const age = row.age === null ? null : Number(row.age);
  const isDepthWrong = depth === null && row.depth !== null;
  // With no depth beside it, "no job" is not certain. A job that waits is one, at least.
  const isContradiction = age === null ? depth !== 0 : depth === 0;
  if (isDepthWrong || isContradiction || (age !== null && (isTooFarAhead(age) || !Number.isFinite(age))))
    return { headAgeMs: 0, accuracy: "UNKNOWN", depth: null, scheduled, paused };
  if (age === null) return { headAgeMs: null, accuracy: "EXACT", depth: 0, scheduled, paused };
  const isLowerBound = row.depth_is_lower_bound === true;
  const counted = isLowerBound
    ? { depth: (depth ?? 0) > 1 ? depth : null, depthIsLowerBound: (depth ?? 0) > 1 }
    : { depth };
  return { headAgeMs: Math.max(0, age), accuracy, ...counted, scheduled, paused };
}

/** Null when there is none, or it is no number of jobs. */
function countOf(value: unknown): number | null {
  const count = value === null || value === undefined ? Number.NaN : Number(value);
  return Number.isInteger(count) && count >= 0 && count <= maxCount ? count : null;
}
