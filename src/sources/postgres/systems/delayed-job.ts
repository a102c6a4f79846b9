import { ageMs, countLimit, type PostgresSystem } from "../system.ts";

/** How many jobs of each priority are looked at, in the order of their times. */
const windowSize = 1_000;
/** `max_run_time`, unless the application sets another one: then a job may be taken from a worker that has died. */
const isFree = "failed_at IS NULL AND (locked_at IS NULL OR locked_at < now() - interval '4 h')";
/** A job without a queue has a name, too. */
const queueName = "coalesce(j.queue, 'default') AS queue";

/**
 * delayed_job, for Ruby, with Active Record. Its index is (priority, run_at), without the queue: of each priority the first
 * jobs are looked at, also those that a worker has and those that failed permanently, which stay in the table. A queue that is not
 * met there is UNKNOWN, where there are more jobs. Rails writes the times: ESTIMATED.
 */
export const delayedJob: PostgresSystem = {
  name: "delayed_job",
  table: "delayed_jobs",
  columns: ["priority", "run_at", "locked_at", "failed_at", "queue", "created_at"],
  heads: (found) => `
    WITH RECURSIVE priorities AS (
      (SELECT priority FROM ${found.table("delayed_jobs")} ORDER BY priority LIMIT 1)
      UNION ALL
      SELECT next.priority FROM priorities CROSS JOIN LATERAL (
        SELECT j.priority FROM ${found.table("delayed_jobs")} j WHERE j.priority > priorities.priority ORDER BY j.priority LIMIT 1) next
    ), looked_at AS (
      SELECT j.*, count(*) FILTER (WHERE is_due) OVER (PARTITION BY priorities.priority) = ${windowSize} AS has_more
      FROM (SELECT * FROM priorities LIMIT 1000) priorities CROSS JOIN LATERAL (
        SELECT ${queueName}, run_at, run_at <= now() AS is_due, ${isFree} AS is_free, created_at, locked_at FROM ${found.table("delayed_jobs")} j
        WHERE j.priority = priorities.priority ORDER BY j.run_at LIMIT ${windowSize}) j
    ), heads AS (
      SELECT queue, min(greatest(run_at, created_at, locked_at + interval '4 h')) FILTER (WHERE is_due AND is_free) AS since,
        bool_or(run_at < created_at - interval '1 s') FILTER (WHERE is_due AND is_free) AS is_backdated
      FROM looked_at GROUP BY queue
    )
    SELECT queue, ${ageMs("since")} AS age_ms, CASE WHEN since IS NULL THEN 'EXACT'
      WHEN is_backdated THEN 'LOWER_BOUND' ELSE 'ESTIMATED' END AS accuracy, false AS paused FROM heads
    UNION ALL SELECT NULL, NULL, 'UNKNOWN', false WHERE EXISTS (SELECT 1 FROM looked_at WHERE has_more)`,
  /** All jobs up to the limit: with more than that no queue's number is known. */
  depths: (found, queues) => `
    WITH jobs AS MATERIALIZED (
      SELECT ${queueName}, run_at <= now() AS is_due, ${isFree} AS is_free FROM ${found.table("delayed_jobs")} j
      ORDER BY priority, run_at LIMIT ${countLimit}
    ), total AS (SELECT count(*) AS n FROM jobs)
    SELECT q.queue, count(*) FILTER (WHERE is_free AND is_due)::int AS depth, n = ${countLimit} AS is_lower_bound,
      CASE WHEN n < ${countLimit} THEN count(*) FILTER (WHERE is_free AND NOT is_due)::int END AS scheduled
    FROM total CROSS JOIN unnest(${queues}) AS q(queue) LEFT JOIN jobs ON jobs.queue = q.queue GROUP BY q.queue, n`,
};
