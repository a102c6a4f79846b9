import type { LeftJobs, ObservedCounts } from "../../core/observation.ts";
import type { Row } from "./connection.ts";
import { type CountedJobs, countLimit, epochMs, lag } from "./system.ts";

/** What one reading of the counts says. */
export interface CountReading {
  /** Where the next one begins: a time, as the database writes it. */
  readonly until: string;
  /** By the database's clock, in ms. */
  readonly untilMs: number;
  readonly nowMs: number;
  /** Whether there was more than is read. */
  readonly isCut: boolean;
  readonly came: ReadonlyMap<string, number>;
  readonly left: ReadonlyMap<string, readonly LeftJobs[]>;
}

/** Where the first reading begins, which finds nothing. */
export const beginning = `now() - ${lag}`;

/** Counts up to two seconds ago. */
export function countsStatement({ left, came }: CountedJobs): string {
  const isUntil = `WHERE at <= now() - ${lag}`;
  const cameJobs = came ?? "SELECT NULL AS queue, now() AS at WHERE false";
  return `
    WITH left_jobs AS MATERIALIZED (SELECT * FROM (${left}) jobs LIMIT ${countLimit}),
      came_jobs AS MATERIALIZED (SELECT * FROM (${cameJobs}) jobs LIMIT ${countLimit})
    SELECT queue, ${epochMs("at")} AS at_ms, wait_ms::float8, NULL::int AS came, NULL AS until FROM left_jobs ${isUntil}
    UNION ALL SELECT queue, NULL, NULL, count(*)::int, NULL FROM came_jobs ${isUntil} GROUP BY queue
    UNION ALL SELECT NULL, ${epochMs(`now() - ${lag}`)}, ${epochMs("clock_timestamp()")},
      ((SELECT count(*) FROM left_jobs) = ${countLimit} OR (SELECT count(*) FROM came_jobs) = ${countLimit})::int, (now() - ${lag})::text`;
}

export function countReading(rows: readonly Row[]): CountReading {
  const came = new Map<string, number>();
  const left = new Map<string, LeftJobs[]>();
  let bounds = { until: "", untilMs: 0, nowMs: 0, isCut: true };
  for (const { queue, at_ms: at, wait_ms: wait, came: count, until } of rows) {
    const name = String(queue);
    if (until !== null)
      bounds = { until: String(until), untilMs: Number(at), nowMs: Number(wait), isCut: count !== 0 };
    else if (count !== null) came.set(name, Number(count));
    else {
      const jobs = left.get(name) ?? [];
      jobs.push({ atMs: Number(at), waitMs: wait === null ? null : Math.max(0, Number(wait)) });
      left.set(name, jobs);
    }
  }
  return { ...bounds, came, left };
}

/**
 * What is reported of one queue.
 *
 * @param readAtMs when the database's clock was `nowMs`, by this process's monotonic clock
 */
export function countsOf(
  queue: string,
  reading: CountReading,
  { readAtMs, sinceMs, hasCame }: { readAtMs: number; sinceMs: number; hasCame: boolean },
): ObservedCounts {
  const { untilMs, nowMs, came, left } = reading;
  const here = (ms: number) => readAtMs - (nowMs - ms);
  return {
    cursor: untilMs,
    sinceMs,
    untilMs: here(untilMs),
    enqueued: hasCame ? (came.get(queue) ?? 0) : null,
    left: (left.get(queue) ?? []).map(({ atMs, waitMs }) => ({ atMs: here(atMs), waitMs })),
  };
}
